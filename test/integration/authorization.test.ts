import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose';
import { afterAll, describe, expect, it, vi } from 'vitest';
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from '../../src/demo/authorization-server.ts';
import type { Clock } from '../../src/lights/port.ts';
import { createLog } from '../../src/log.ts';
import type { ShownCode } from '../../src/oauth/device-code.ts';
import { discover } from '../../src/oauth/discovery.ts';
import type { GrantRecord, TokenStore } from '../../src/oauth/grant.ts';
import type { AuthorizationOptions } from '../../src/oauth/options.ts';
import { Session, type SessionParts } from '../../src/oauth/session.ts';

const AUDIENCE = 'https://porchlight.example/porch-pi';
const clock: Clock = { monotonic: () => performance.now(), wall: () => Date.now() };

/** Keeps what was saved, in order; saving takes a turn of the event loop, as a disk does. */
class Drawer implements TokenStore {
  readonly saved: GrantRecord[] = [];
  record: GrantRecord | undefined;
  async load(): Promise<unknown> {
    return this.record;
  }
  async save(record: GrantRecord): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.saved.push(record);
    this.record = record;
  }
  async clear(): Promise<void> {
    this.record = undefined;
  }
}

const stops: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function serve(options: Partial<AuthorizationServerOptions> = {}): Promise<AuthorizationServer> {
  const server = await startAuthorizationServer({
    gatewayClientId: 'porchlight',
    audience: AUDIENCE,
    intervalSeconds: 1,
    ...options,
  });
  stops.push(() => server.close());
  return server;
}

interface Running {
  readonly session: Session;
  readonly store: Drawer;
  /** What was shown, in order; `hidden` each time the code was taken away. */
  readonly codes: (ShownCode | 'hidden')[];
  /** The address and the code of the last one shown. */
  address(): string;
  userCode(): string;
  readonly lines: string[];
  stop(): Promise<void>;
  until(condition: () => boolean, ms?: number): Promise<void>;
}

function start(
  server: AuthorizationServer,
  more: Partial<AuthorizationOptions> = {},
  parts: Partial<SessionParts> = {},
  store = new Drawer(),
): Running {
  const codes: (ShownCode | 'hidden')[] = [];
  const last = (): ShownCode | undefined => codes.findLast((code) => code !== 'hidden');
  const lines: string[] = [];
  const controller = new AbortController();
  const session = new Session({
    options: {
      issuer: server.issuer,
      ...server.gateway,
      client_authentication: 'none',
      scopes: ['openid', 'offline_access', 'profile'],
      ...more,
    },
    store,
    fetch,
    clock,
    show: (code) => codes.push(code),
    hide: () => codes.push('hidden'),
    log: createLog('trace', { write: (line: string) => void lines.push(line) }),
    interactive: false,
    ...parts,
  });
  const ended = session.run(controller.signal);
  const stop = async (): Promise<void> => {
    controller.abort();
    await ended;
  };
  stops.push(stop);
  const until = async (condition: () => boolean, ms = 8_000): Promise<void> => {
    const deadline = performance.now() + ms;
    while (!condition()) {
      if (performance.now() > deadline) throw new Error(`never came: ${JSON.stringify(session.status)}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const address = (): string => last()?.verification_uri_complete ?? '';
  const userCode = (): string => last()?.user_code ?? '';
  return { session, store, codes, address, userCode, lines, stop, until };
}

async function approved(server: AuthorizationServer, running: Running, account?: string): Promise<void> {
  await running.until(() => running.codes.length > 0);
  await server.approve(running.address(), account);
  await running.until(() => running.session.status.state !== 'pending');
}

describe.concurrent('against a real authorization server (oidc-provider)', () => {
  it('is approved through the HTML forms, names the owner and stores before use', async () => {
    const server = await serve();
    const running = start(server);
    await approved(server, running);
    const { session, store } = running;
    expect(session.status).toMatchObject({ state: 'authorized', subject: 'owner' });
    expect(session.subject).toBe('owner');
    expect(await session.accessToken()).toBe(store.record?.access_token);
    expect(store.record?.refresh_token).toBeTypeOf('string');
    expect(running.codes.at(-1)).toBe('hidden');
    const told = running.lines.join('') + JSON.stringify(session.status);
    for (const secret of [store.record?.access_token, store.record?.refresh_token]) expect(told).not.toContain(secret);
  });

  it('refreshes with rotation, once for ten callers, and goes on after a restart without a person', async () => {
    const server = await serve();
    const first = start(server);
    await approved(server, first);
    const before = first.store.record;
    await Promise.all(Array.from({ length: 10 }, () => first.session.renew()));
    const after = first.store.record;
    expect(after?.refresh_token).not.toBe(before?.refresh_token);
    expect(after?.subject).toBe('owner');
    expect(first.session.status.state).toBe('authorized');
    await first.stop();
    const second = start(server, {}, {}, first.store);
    await second.until(() => second.session.status.state === 'authorized');
    await second.session.renew();
    expect(second.session.status).toMatchObject({ state: 'authorized', subject: 'owner' });
    expect(second.codes).toHaveLength(0);
  });

  it('revokes: the refresh token is dead at the server', async () => {
    const server = await serve();
    const running = start(server);
    await approved(server, running);
    const record = running.store.record;
    expect(await running.session.revoke()).toEqual({ revokedAtServer: true });
    expect(running.store.record).toBeUndefined();
    const again = new Drawer();
    again.record = record;
    const thief = start(server, {}, {}, again);
    await thief.until(() => thief.session.status.state === 'authorized');
    await thief.session.renew();
    expect(thief.session.status).toMatchObject({ state: 'relink_needed', subject: 'owner' });
  });

  it('notices that the owner has removed it in their account', async () => {
    const server = await serve();
    const running = start(server);
    await approved(server, running);
    server.revokeGrants();
    await running.session.renew();
    expect(running.session.status).toMatchObject({ state: 'relink_needed', reason: 'revoked' });
    await expect(running.session.accessToken()).rejects.toMatchObject({ code: 'not_authorized' });
  });

  it('stops at a denial', async () => {
    const server = await serve();
    const running = start(server);
    await running.until(() => running.codes.length > 0);
    expect(await server.deny(running.address())).toContain('Nothing was allowed');
    await running.until(() => running.session.status.state !== 'pending');
    expect(running.session.status).toMatchObject({
      state: 'relink_needed',
      reason: 'denied',
      problem: { code: 'approval_denied' },
    });
    expect(running.codes).toHaveLength(2);
  });

  it('replaces a code that expires, and the new one can be approved', async () => {
    const server = await serve({ codeTtlSeconds: 2 });
    const running = start(server);
    await running.until(() => running.codes.length > 2);
    expect(running.codes[1]).toBe('hidden');
    await server.approve(running.address());
    await running.until(() => running.session.status.state === 'authorized');
  });

  it('does not let a stranger take the gateway', async () => {
    const server = await serve();
    const running = start(server, { owner: 'owner' });
    await approved(server, running, 'stranger');
    expect(running.session.status).toMatchObject({ state: 'relink_needed', reason: 'owner_mismatch' });
    expect(running.store.record).toBeUndefined();
  });

  it.each(['client_secret_basic', 'client_secret_post'] as const)('authenticates itself with %s', async (method) => {
    const server = await serve({ gatewaySecret: 'a secret: with %&+ signs', gatewayAuthentication: method });
    const running = start(server, { client_authentication: method });
    await approved(server, running);
    await running.session.renew();
    expect(running.session.status).toMatchObject({ state: 'authorized', subject: 'owner' });
  });

  it('slows down by five seconds when told to, and keeps it', async () => {
    const server = await serve({ slowDowns: 1 });
    const polls: number[] = [];
    const counting = (url: string, init: RequestInit): Promise<Response> => {
      if (url.endsWith('/token')) polls.push(performance.now());
      return fetch(url, init);
    };
    const running = start(server, {}, { fetch: counting });
    await running.until(() => running.codes.length > 0);
    await server.approve(running.address());
    await running.until(() => running.session.status.state === 'authorized', 20_000);
    expect((polls[1] ?? 0) - (polls[0] ?? 0)).toBeGreaterThan(5_990);
  });

  it('says that its secret is wrong', async () => {
    const server = await serve({ gatewaySecret: 'right' });
    const running = start(server, { client_authentication: 'client_secret_basic', client_secret: 'wrong' });
    await running.until(() => running.session.status.problem !== undefined);
    expect(running.session.status).toMatchObject({ state: 'unauthorized', problem: { code: 'server_refused' } });
  });

  it('gets a token for the resource it names, and keeps getting it', async () => {
    const server = await serve();
    const running = start(server, {
      resource: 'https://broker.example/',
      scopes: ['openid', 'offline_access', 'lights:read'],
    });
    await approved(server, running);
    await running.session.renew();
    const claims = decodeJwt(await running.session.accessToken());
    expect(claims).toMatchObject({ aud: 'https://broker.example/', client_id: 'porchlight' });
  });

  it('finds the server when it comes up late', async () => {
    const first = await serve();
    const port = Number(new URL(first.issuer).port);
    await first.close();
    const running = start(first);
    await running.until(() => running.session.status.problem !== undefined);
    expect(running.session.status).toMatchObject({ state: 'unauthorized', problem: { code: 'server_unreachable' } });
    const late = await serve({ port });
    await running.until(() => running.codes.length > 0);
    await late.approve(running.address());
    await running.until(() => running.session.status.state === 'authorized');
  });
});

describe('the demo authorization server', () => {
  it.each(['ES256', 'RS256', 'EdDSA'] as const)(
    'issues command tokens as JWTs (RFC 9068), signed with %s',
    async (algorithm) => {
      const server = await serve({ algorithm });
      const { jwks_uri = '' } = await discover(server.issuer, {
        fetch,
        signal: new AbortController().signal,
        needs: ['jwks_uri'],
      });
      const keys = createRemoteJWKSet(new URL(jwks_uri));
      const checks = { issuer: server.issuer, audience: AUDIENCE, typ: 'at+jwt', algorithms: [algorithm] };
      const { payload } = await jwtVerify(await server.tokenFor(), keys, checks);
      expect(payload).toMatchObject({
        sub: 'owner',
        client_id: 'demo-phone',
        scope: 'lights:read lights:control',
        jti: expect.any(String),
      });
      const minted = server.mint({ ...payload, sub: 'eve' });
      expect((await jwtVerify(minted, keys, checks)).payload.sub).toBe('eve');
    },
  );

  it('issues what tests of a resource server need', async () => {
    const server = await serve({ accessTokenTtlSeconds: 7 });
    const [audience, scope, stranger, machine, own] = await Promise.all([
      server.tokenFor({ audience: 'https://other.example/' }),
      server.tokenFor({ scope: 'lights:read' }),
      server.tokenFor({ account: 'stranger' }),
      server.tokenFor({ grant: 'client_credentials' }),
      server.tokenFor({ client: 'gateway' }),
    ]);
    expect(decodeJwt(audience).aud).toBe('https://other.example/');
    expect(decodeJwt(scope)['scope']).toBe('lights:read');
    expect(decodeJwt(stranger).sub).toBe('stranger');
    expect(decodeJwt(machine).sub).toBe('demo-phone');
    expect(decodeJwt(own)['client_id']).toBe('porchlight');
    expect((decodeJwt(own).exp ?? 0) - (decodeJwt(own).iat ?? 0)).toBe(7);
  });

  it('shows a person who asks for what, and nothing from elsewhere', async () => {
    const server = await serve();
    const running = start(server);
    await running.until(() => running.codes.length > 0);
    const typed = await (await fetch(`${server.issuer}/device`)).text();
    expect(typed).toContain('name="user_code"');
    expect(typed).not.toMatch(/(src|href)="http|@import|url\(/);
    expect(await (await fetch(server.issuer)).text()).toContain('/device');
    expect(await server.approve('WRNG-CODE')).toContain('not known');
    expect(await server.approve(running.userCode())).toContain('Connected');
  });

  it('says nothing on the console', async () => {
    const said: unknown[] = [];
    for (const method of ['log', 'info', 'warn', 'error'] as const)
      vi.spyOn(console, method).mockImplementation((...words) => void said.push(words));
    const server = await serve();
    await server.tokenFor();
    vi.restoreAllMocks();
    expect(said).toEqual([]);
  });
});
