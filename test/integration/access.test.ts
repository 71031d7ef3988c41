import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LampInput } from '../../src/bluetooth/air/messages.ts';
import { AUDIENCE, HALL, type Home, LAMPS, PORCH, senderFor, startHome } from '../support/home.ts';
import { mosquittoMissing } from '../support/mosquitto.ts';
import type { Sender } from '../support/sender.ts';

const ON = { state: 'ON' };
/** Without a letter that RFC 6749 section 2.3.1 would write in another way. */
const SECRET = 'TheSecretOfTheGateway';
const FAR: LampInput = { address: 'be:ff:20:00:99:99', name: 'Triones:FAR', family: 'triones' };
const authorization = {
  client_id: 'porchlight',
  client_authentication: 'client_secret_basic',
  client_secret: SECRET,
  scopes: ['openid', 'offline_access', 'profile'],
};
const server = { gatewaySecret: SECRET, accessTokenTtlSeconds: 6 };

/** Whose right it is, from the first approval to its end at the server. The tests build on each other, as the days of a home do. */
describe.skipIf(mosquittoMissing() !== undefined)('who may command', () => {
  let home: Home;
  let phone: Sender;
  let opaque: IntrospectionServer;
  /** Of the phone, for the owner: signed by the server, and longer than this test. */
  let token: string;
  const narrowed = (...details: object[]): string =>
    home.server.mint({ ...decodeJwt(token), authorization_details: details });
  const detail = (members: object): object => ({ type: 'porchlight', ...members });

  beforeAll(async () => {
    opaque = await IntrospectionServer.start();
    home = await startHome({ server, lamps: [...LAMPS, FAR] });
    await home.air.fault({ kind: 'out-of-range' }, { lamp: FAR.address });
    await home.daemon.configure({
      ...home.config,
      lights: [
        { id: 'porch', address: PORCH },
        { id: 'hall', address: HALL },
        { id: 'far', address: FAR.address },
      ],
      authorization: {
        ...authorization,
        issuer: home.server.issuer,
        owner: 'owner',
        endpoints: { introspection: opaque.url },
      },
      access: {
        audience: AUDIENCE,
        max_age: '10s',
        unsigned: 'allow',
        policy: [
          { principals: ['owner'], lights: ['porch'], actions: ['on', 'off'] },
          { principals: ['owner'], lights: ['hall'], actions: ['on'], hours: ['00:00-12:00', '12:00-24:00'] },
          { principals: ['owner'], lights: ['hall'], scopes: ['lights:read'], actions: ['effect'] },
          { principals: ['owner'], lights: ['far'] },
          { principals: ['broker'], lights: ['hall'] },
        ],
      },
    });
    home.daemon.start();
    phone = await senderFor(home);
    const claims = decodeJwt(await home.server.tokenFor());
    token = home.server.mint({ ...claims, exp: (claims.iat ?? 0) + 3600 });
  });

  afterAll(async () => {
    await phone?.close();
    await home?.close();
    await opaque?.stop();
  });

  const local = (target: string, change: object) => home.daemon.ask('POST', `/api/lights/${target}/set`, change);
  const authorizationIs = (state: string, reason?: string) =>
    home.daemon.until(
      (status) =>
        status.authorization.state === state && status.authorization.reason === reason && status.broker.connected,
      `${state} ${reason}`,
    );

  it('a stranger who approves first does not become the owner; commands stay closed, local ones go on', async () => {
    await home.server.approve(await home.daemon.code(), 'stranger');
    await authorizationIs('relink_needed', 'owner_mismatch');
    const strangers = home.server.mint({ ...decodeJwt(token), sub: 'stranger' });
    for (const sent of [token, strangers]) {
      await pause(sent === token ? 0 : 1050);
      expect(await phone.command('porch', ON, { token: sent })).toMatchObject({
        outcome: 'denied',
        code: 'not_authorized',
      });
    }
    expect(await local('porch', ON)).toMatchObject({ outcome: 'confirmed', by: 'local' });
  });

  it('the owner approves a new code, and commands pass as far as the table goes', async () => {
    const { user_code } = await home.daemon.ask('POST', '/api/authorization/code');
    await home.server.approve(user_code);
    await authorizationIs('authorized');
    const cells: readonly [string, object, object][] = [
      ['porch', { state: 'OFF' }, { outcome: 'confirmed', by: 'owner' }],
      ['porch', { state: 'TOGGLE' }, { outcome: 'confirmed' }],
      ['porch', { brightness: 40 }, { outcome: 'denied', code: 'policy', by: 'owner' }],
      ['porch', { state: 'ON', color: { r: 0, g: 0, b: 0 } }, { outcome: 'denied', code: 'policy' }],
      ['hall', ON, { outcome: 'assumed', by: 'owner' }],
      ['hall', { state: 'OFF' }, { outcome: 'denied', code: 'policy' }],
      ['hall', { state: 'TOGGLE' }, { outcome: 'denied', code: 'policy' }],
      ['evening', ON, { outcome: 'assumed', by: 'owner' }],
      ['evening', { state: 'OFF' }, { outcome: 'denied', code: 'policy' }],
      ['scene/movie', {}, { outcome: 'denied', code: 'policy' }],
      ['attic', ON, { outcome: 'failed', code: 'unknown_target' }],
    ];
    for (const [target, change, outcome] of cells) {
      const before = (await home.air.written()).length;
      expect([target, change, await phone.command(target, change, { token })]).toMatchObject([target, change, outcome]);
      if (!('code' in outcome)) continue;
      expect((await home.air.written()).slice(before).filter(({ lamp }) => lamp === HALL)).toEqual([]);
    }
  });

  it('rows that name the local tree narrow it; the socket is the administrator', async () => {
    expect(await phone.command('porch', ON, { local: true })).toMatchObject({ outcome: 'denied', code: 'policy' });
    expect(await phone.command('hall', ON, { local: true })).toMatchObject({ outcome: 'assumed', by: 'broker' });
    expect(await local('porch', { state: 'ON', brightness: 77 })).toMatchObject({ outcome: 'confirmed', by: 'local' });
  });

  it("a token's authorization_details narrow it, and never widen the table", async () => {
    const cases: readonly [string, string, object, object][] = [
      ['the porch only', narrowed(detail({ lights: ['porch'] })), { porch: ON }, { outcome: 'confirmed' }],
      ['the porch only', narrowed(detail({ lights: ['porch'] })), { hall: ON }, { code: 'policy' }],
      [
        'more than the table',
        narrowed(detail({ actions: ['brightness'] })),
        { porch: { brightness: 3 } },
        { code: 'policy' },
      ],
      [
        'two add up',
        narrowed(detail({ lights: ['hall'] }), detail({ actions: ['off'] })),
        { porch: { state: 'OFF' } },
        { outcome: 'confirmed' },
      ],
      ['elsewhere', narrowed(detail({ locations: ['https://elsewhere.example'] })), { porch: ON }, { code: 'policy' }],
      ['not understood', narrowed(detail({ colour: 'red' })), { porch: ON }, { code: 'policy' }],
      ['of others', narrowed({ type: 'payment_initiation' }), { porch: ON }, { outcome: 'confirmed' }],
    ];
    for (const [what, sent, command, outcome] of cases) {
      const [target = '', change = {}] = Object.entries(command)[0] ?? [];
      expect([what, await phone.command(target, change, { token: sent })]).toMatchObject([what, outcome]);
    }
  });

  it('a token that is no JWT is asked about at the server (RFC 7662), once for many commands', async () => {
    opaque.answers.set('opaque-of-the-owner', { sub: 'owner' });
    opaque.answers.set('opaque-narrowed-0001', { sub: 'owner', authorization_details: [detail({ lights: ['hall'] })] });
    opaque.answers.set('opaque-for-another-1', { sub: 'owner', aud: 'https://other.example' });
    for (const state of ['OFF', 'ON', 'OFF']) {
      expect(await phone.command('porch', { state }, { token: 'opaque-of-the-owner' })).toMatchObject({
        outcome: 'confirmed',
        by: 'owner',
      });
    }
    expect(opaque.asked.filter((sent) => sent === 'opaque-of-the-owner')).toHaveLength(1);
    expect(opaque.credentials).toEqual(new Set([`Basic ${Buffer.from(`porchlight:${SECRET}`).toString('base64')}`]));
    for (const [sent, code] of [
      ['opaque-narrowed-0001', 'policy'],
      ['opaque-for-another-1', 'token_audience'],
      ['opaque-of-nobody-001', 'token_invalid'],
    ] as const) {
      // Whoever is known is answered at once, strangers once a second.
      await pause(code === 'token_invalid' ? 1050 : 0);
      expect(await phone.command('porch', ON, { token: sent })).toMatchObject({ outcome: 'denied', code });
    }
  });

  it('a lamp that is away while the token expires hears nothing of the command afterwards', async () => {
    const exp = Math.floor(Date.now() / 1000) + 3;
    const sent = phone.command('far', ON, { token: home.server.mint({ ...decodeJwt(token), exp }) });
    await pause(3_200);
    await home.air.fault({ kind: 'out-of-range' }, { lamp: FAR.address, on: false });
    // When the deadline is noticed a moment before the token's, the lamp's own failure is told.
    expect(await sent).toMatchObject({ code: 'token_expired' });
    await pause(1_500);
    expect((await home.air.written()).filter(({ lamp }) => lamp === FAR.address)).toEqual([]);
    expect(await phone.command('far', ON, { token })).toMatchObject({ outcome: 'confirmed' });
  });

  it('revoked at the server: remote commands end within the life of its token, local ones go on', async () => {
    const revokedAt = Date.now();
    home.server.revokeGrants();
    await authorizationIs('relink_needed', 'revoked');
    expect(Date.now() - revokedAt).toBeLessThan(server.accessTokenTtlSeconds * 1000 + 2_000);
    for (const sent of [token, 'opaque-of-the-owner']) {
      await pause(sent === token ? 0 : 1050);
      expect(await phone.command('porch', ON, { token: sent })).toMatchObject({
        outcome: 'denied',
        code: 'not_authorized',
      });
    }
    expect(await phone.command('hall', ON, { local: true })).toMatchObject({ outcome: 'assumed', by: 'broker' });
    expect(await local('porch', { state: 'OFF' })).toMatchObject({ outcome: 'confirmed' });
  });

  it('who was the owner stays it: a stranger cannot take over a gateway whose grant was lost', async () => {
    const { user_code } = await home.daemon.ask('POST', '/api/authorization/code');
    await home.server.approve(user_code, 'stranger');
    await authorizationIs('relink_needed', 'owner_mismatch');
    expect(await phone.command('porch', ON, { token })).toMatchObject({ outcome: 'denied', code: 'not_authorized' });
  });
});

describe.skipIf(mosquittoMissing() !== undefined)('while the authorization server is away', () => {
  it('remote commands go on within offline_grace, then they end; local ones go on', async () => {
    const home = await startHome({ server: { ...server, accessTokenTtlSeconds: 3 } });
    let phone: Sender | undefined;
    try {
      const config = {
        ...home.config,
        authorization: { ...authorization, issuer: home.server.issuer, offline_grace: '2s' },
      };
      await home.daemon.configure(config);
      home.daemon.start();
      phone = await senderFor(home);
      await home.server.approve(await home.daemon.code());
      await home.daemon.until(
        (status) => status.authorization.state === 'authorized' && status.broker.connected,
        'authorized',
      );
      const claims = decodeJwt(await home.server.tokenFor());
      const token = home.server.mint({ ...claims, exp: (claims.iat ?? 0) + 3600 });
      expect(await phone.command('porch', ON, { token })).toMatchObject({ outcome: 'confirmed' });
      await home.server.close();
      await home.daemon.until((status) => status.authorization.state === 'grace', 'grace');
      expect(await phone.command('porch', { state: 'OFF' }, { token })).toMatchObject({ outcome: 'confirmed' });
      await pause(2_100);
      expect(await phone.command('porch', ON, { token })).toMatchObject({ outcome: 'denied', code: 'not_authorized' });
      const status = await home.daemon.status();
      expect(status.authorization.state).toBe('grace');
      expect(await home.daemon.ask('POST', '/api/lights/porch/set', ON)).toMatchObject({ outcome: 'confirmed' });
      expect((await home.air.lamp(PORCH)).lamp).toBe(PORCH);
    } finally {
      await phone?.close();
      await home.close();
    }
  });
});

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The introspection endpoint of a server whose tokens are opaque, as RFC 7662 sections 2.1 and 2.2 describe it. */
class IntrospectionServer {
  readonly url: string;
  readonly answers = new Map<string, object>();
  readonly asked: string[] = [];
  readonly credentials = new Set<string>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/introspect`;
  }

  static async start(): Promise<IntrospectionServer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const introspection = new IntrospectionServer(server);
    server.on('request', (request, response) => {
      void bodyOf(request).then((body) => {
        introspection.credentials.add(request.headers.authorization ?? 'none');
        const token = body.get('token') ?? '';
        introspection.asked.push(token);
        const known = introspection.answers.get(token);
        const answer = known === undefined ? { active: false } : { ...introspection.#active(), ...known };
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
      });
    });
    return introspection;
  }

  #active(): object {
    const exp = Math.floor(Date.now() / 1000) + 600;
    return { active: true, aud: AUDIENCE, client_id: 'demo-phone', scope: 'lights:control', exp, token_type: 'Bearer' };
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

async function bodyOf(request: IncomingMessage): Promise<URLSearchParams> {
  let text = '';
  for await (const piece of request) text += String(piece);
  return new URLSearchParams(text);
}
