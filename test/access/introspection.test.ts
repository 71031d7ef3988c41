import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import Provider from 'oidc-provider';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AskingLine } from '../../src/access/asking-line.ts';
import { Introspection, type IntrospectionOptions } from '../../src/access/introspection.ts';
import { TokenVerifier } from '../../src/access/token.ts';
import { asPorchlightError, PorchlightError } from '../../src/errors.ts';
import { createLog } from '../../src/log.ts';
import { NO_JWT, RFC_9068 } from '../../src/token-profile.ts';
import {
  AUDIENCE,
  bench,
  codeOf,
  FakeClock,
  ISSUER,
  type Members,
  NOW,
  OWN_CLIENT,
  OWNER,
  PHONE,
  type Signer,
  signer,
  silent,
  tokenOf,
} from './fixtures.ts';

const GOOD = 'opaque-token-of-the-owner_0123456789';

const active = (more: Members = {}): Members =>
  JSON.parse(
    JSON.stringify({
      active: true,
      iss: ISSUER,
      aud: AUDIENCE,
      sub: OWNER,
      client_id: PHONE,
      exp: NOW + 300,
      scope: 'lights:control',
      token_type: 'Bearer',
      ...more,
    }),
  );

interface Rig {
  readonly verifier: TokenVerifier;
  readonly introspection: Introspection;
  readonly clock: FakeClock;
  /** The tokens that the server was asked about. */
  readonly asked: string[];
  /** Lets the clock run in small steps, timers and promises with it. */
  advance(ms: number): Promise<void>;
}

type Answer = (token: string, signal: AbortSignal) => unknown;

function rig(answer: Answer, options: Partial<IntrospectionOptions> = {}, profile = RFC_9068): Rig {
  const clock = new FakeClock();
  const asked: string[] = [];
  let timers: { at: number; run: () => void }[] = [];
  const introspection = new Introspection({
    introspect: async (token, signal) => {
      asked.push(token);
      return (await answer(token, signal)) as Members | 'not_offered';
    },
    issuer: ISSUER,
    profile,
    clock,
    log: silent,
    after: (ms, run) => void timers.push({ at: clock.mono + ms, run }),
    random: seeded(),
    ...options,
  });
  const advance = async (ms: number): Promise<void> => {
    for (const end = clock.mono + ms; clock.mono < end; clock.advance(Math.min(10, end - clock.mono))) {
      const due = timers.filter(({ at }) => at <= clock.mono);
      timers = timers.filter(({ at }) => at > clock.mono);
      for (const { run } of due) run();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { ...bench([], { introspection, clock, profile }), introspection, clock, asked, advance };
}

/** A small linear congruential generator: a test's chance is the same every time. */
function seeded(): () => number {
  let state = 1;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

const codeFor = async (answer: Members, token = GOOD): Promise<string> =>
  await codeOf(rig(() => answer).verifier.verify(token, 'control'));

describe('what the server says is judged as a JWT is', () => {
  test('an active token names its principal', async () => {
    const { verifier } = rig(() => active({ authorization_details: [{ type: 'porchlight', lights: ['porch'] }] }));
    expect(await verifier.verify(GOOD, 'control')).toEqual({
      by: 'owner',
      subject: OWNER,
      clientId: PHONE,
      scopes: ['lights:control'],
      expiresAt: (NOW + 300) * 1000,
      authorizationDetails: [{ type: 'porchlight', lights: ['porch'] }],
    });
  });

  const ANSWERS: readonly [string, Members, string][] = [
    ['not active', { active: false }, 'token_invalid'],
    ['active as text', active({ active: 'true' }), 'token_invalid'],
    ['active as a number', active({ active: 1 }), 'token_invalid'],
    ['nothing at all', {}, 'token_invalid'],
    ['no iss', active({ iss: undefined }), 'accepted'],
    ['another iss', active({ iss: 'https://evil.example' }), 'token_invalid'],
    ['no aud', active({ aud: undefined }), 'token_audience'],
    ['another aud', active({ aud: 'https://other.example' }), 'token_audience'],
    ['aud array', active({ aud: ['https://other.example', AUDIENCE] }), 'accepted'],
    ['expired, whatever it says', active({ exp: NOW }), 'token_expired'],
    ['exp as text', active({ exp: String(NOW + 300) }), 'token_invalid'],
    ['not valid yet', active({ nbf: NOW + 61 }), 'token_invalid'],
    ['no client', active({ client_id: undefined }), 'token_invalid'],
    ['our own client', active({ client_id: OWN_CLIENT }), 'token_invalid'],
    ['another subject', active({ sub: 'stranger' }), 'principal_unknown'],
    ['no subject: the client itself, which is not the owner', active({ sub: undefined }), 'principal_unknown'],
    ['no scope', active({ scope: undefined }), 'token_scope'],
    ['the scope that reads', active({ scope: 'lights:read' }), 'token_scope'],
    ['a refresh token', active({ token_type: 'refresh_token' }), 'token_invalid'],
    ['an access token, as Salesforce says', active({ token_type: 'access_token' }), 'accepted'],
    ['a DPoP token', active({ token_type: 'DPoP', cnf: { jkt: 'x' } }), 'accepted'],
    ['bound by a certificate', active({ cnf: { 'x5t#S256': 'x' } }), 'proof_missing'],
    ['details that are none', active({ authorization_details: 'all' }), 'token_invalid'],
    ['very large details', active({ authorization_details: [{ type: 'x', x: 'x'.repeat(20_000) }] }), 'token_invalid'],
    ['unknown members', active({ groups: ['a'], username: 'o' }), 'accepted'],
  ];
  test.each(ANSWERS)('%s', async (_what, answer, code) => {
    expect(await codeFor(answer)).toBe(code);
  });

  test('a bound token keeps its key', async () => {
    const { verifier } = rig(() => active({ token_type: 'DPoP', cnf: { jkt: 'thumb' } }));
    expect(await verifier.verify(GOOD, 'control')).toMatchObject({ keyThumbprint: 'thumb' });
  });

  test('a token without an end ends with the answer', async () => {
    const { verifier } = rig(() => active({ exp: undefined }));
    expect(await verifier.verify(GOOD, 'control')).toMatchObject({ expiresAt: (NOW + 60) * 1000 });
  });
});

describe('what is asked about', () => {
  let es: Signer;
  beforeAll(async () => {
    es = await signer('ES256', 'es-1');
  });

  test('a signed JWT never, however wrong it is', async () => {
    const { verifier, asked } = rig(() => active());
    for (const token of [
      await tokenOf(es),
      await tokenOf(es, {}, { typ: 'JWT' }),
      `${(await tokenOf(es)).slice(0, -4)}AAAA`,
    ]) {
      expect(await codeOf(verifier.verify(token, 'control'))).toBe('token_invalid');
    }
    expect(asked).toEqual([]);
  });

  test('a JWT too, where the server has no JWTs for us', async () => {
    const { verifier, asked } = rig(() => active(), {}, NO_JWT);
    expect(await codeOf(verifier.verify(await tokenOf(es), 'control'))).toBe('accepted');
    expect(asked).toHaveLength(1);
  });

  test.each([
    ['a short word', 'abc'],
    ['a space', 'opaque token of the owner'],
    ['a line end', `${GOOD}\n`],
    ['letters of elsewhere', `${GOOD}\u0435`],
    ['17 KiB', 'x'.repeat(17 * 1024)],
    ['nothing', ''],
  ])('%s never', async (_what, token) => {
    const { verifier, asked } = rig(() => active());
    expect(await codeOf(verifier.verify(token, 'control'))).toMatch(/^token_(invalid|missing)$/);
    expect(asked).toEqual([]);
  });

  test.each([
    '00D5g000007xyz!AQEAQJKLmnop.qr_st',
    'gho_16C7e42F292c6912E7710c838347Ae178B4a',
    'a.b.cdefghijk',
    'abc+/=~defgh',
  ])('%s is asked about', async (token) => {
    const { verifier, asked } = rig(() => active());
    expect(await codeOf(verifier.verify(token, 'control'))).toBe('accepted');
    expect(asked).toEqual([token]);
  });

  test('nobody, where the server offers nothing, or introspection is off: refused as before', async () => {
    const offered = rig(() => 'not_offered').verifier;
    const off = bench([]).verifier;
    for (const verifier of [offered, off]) {
      await expect(verifier.verify(GOOD, 'control')).rejects.toMatchObject({
        code: 'token_invalid',
        message: 'The token is not a signed JWT.',
      });
    }
  });

  test('nobody while the gateway itself may not judge', async () => {
    const b = rig(() => active());
    const closed = new TokenVerifier({ ...options(b), authorized: () => false });
    expect(await codeOf(closed.verify(GOOD, 'control'))).toBe('not_authorized');
    const timeless = new TokenVerifier({ ...options(b), clockTrusted: () => false });
    expect(await codeOf(timeless.verify(GOOD, 'control'))).toBe('clock_untrusted');
    expect(b.asked).toEqual([]);
  });

  const options = ({ introspection, clock }: Rig) => ({
    issuer: ISSUER,
    audience: AUDIENCE,
    controlScope: 'lights:control',
    readScope: 'lights:read',
    ownClientId: OWN_CLIENT,
    principals: ['owner'],
    owner: () => OWNER,
    authorized: () => true,
    jwks: {
      find: () => Promise.reject(new PorchlightError('internal')),
      findOthers: async () => [],
      holds: () => false,
    },
    clock,
    clockTrusted: () => true,
    introspection,
  });
});

describe('how long an answer is believed', () => {
  test('60 s, and in use it is renewed before, so that no command waits; what was revoked ends then', async () => {
    let good = true;
    const b = rig(() => (good ? active({ exp: NOW + 3600 }) : { active: false }));
    const verify = (): Promise<string> => codeOf(b.verifier.verify(GOOD, 'control'));
    expect(await verify()).toBe('accepted');
    await b.advance(44_000);
    expect(await verify()).toBe('accepted');
    expect(b.asked).toHaveLength(1);
    await b.advance(2_000);
    expect(await verify()).toBe('accepted');
    await b.advance(100);
    expect(b.asked).toHaveLength(2);
    good = false;
    await b.advance(44_000);
    expect(await verify()).toBe('accepted');
    await b.advance(2_000);
    // Known at 45 s already: the answer of the renewal counts.
    expect(await verify()).toBe('accepted');
    await b.advance(100);
    expect(await verify()).toBe('token_invalid');
  });

  test('not in use it is asked about anew after 60 s, before it counts', async () => {
    let good = true;
    const b = rig(() => (good ? active({ exp: NOW + 3600 }) : { active: false }));
    expect(await codeOf(b.verifier.verify(GOOD, 'control'))).toBe('accepted');
    good = false;
    await b.advance(60_000);
    expect(await codeOf(b.verifier.verify(GOOD, 'control'))).toBe('token_invalid');
    expect(b.asked).toHaveLength(2);
  });

  test('not longer than the token lives, and its end is said without asking', async () => {
    const b = rig(() => active({ exp: NOW + 20 }));
    expect(await codeOf(b.verifier.verify(GOOD, 'control'))).toBe('accepted');
    await b.advance(20_000);
    expect(await codeOf(b.verifier.verify(GOOD, 'control'))).toBe('token_expired');
    expect(b.asked).toHaveLength(1);
  });

  test('a no for ten seconds', async () => {
    let good = false;
    const b = rig(() => (good ? active() : { active: false }));
    for (let n = 0; n < 20; n += 1) expect(await codeOf(b.verifier.verify(GOOD, 'control'))).toBe('token_invalid');
    good = true;
    await b.advance(9_900);
    expect(await codeOf(b.verifier.verify(GOOD, 'control'))).toBe('token_invalid');
    expect(b.asked).toHaveLength(1);
    await b.advance(100);
    expect(await codeOf(b.verifier.verify(GOOD, 'control'))).toBe('accepted');
  });

  test('the same token a hundred times at once costs one question', async () => {
    const b = rig(() => active());
    const all = await Promise.all(Array.from({ length: 100 }, () => codeOf(b.verifier.verify(GOOD, 'control'))));
    expect(new Set(all)).toEqual(new Set(['accepted']));
    expect(b.asked).toHaveLength(1);
  });
});

describe('a server that is away', () => {
  test.each<[string, Answer]>([
    ['refuses the connection', () => Promise.reject(new TypeError('fetch failed'))],
    ['hangs and ignores the abort', () => new Promise(() => undefined)],
    ['rejects with text', () => Promise.reject('no')],
  ])('%s: denied, with what to do, and it is left alone for two seconds', async (_what, answer) => {
    const b = rig(answer, { deadlineMs: 30 });
    for (const token of [GOOD, `${GOOD}2`]) {
      await expect(b.verifier.verify(token, 'control')).rejects.toMatchObject({
        code: 'token_invalid',
        message: expect.stringContaining('cannot be asked'),
        hint: expect.stringContaining('again in a moment'),
      });
    }
    expect(b.asked).toHaveLength(1);
    await b.advance(2_000);
    await codeOf(b.verifier.verify(GOOD, 'control'));
    expect(b.asked).toHaveLength(2);
  });

  test('what was answered goes on for its 60 s, and not longer', async () => {
    let away = false;
    const b = rig(() => (away ? Promise.reject(new TypeError('fetch failed')) : active()));
    expect(await codeOf(b.verifier.verify(GOOD, 'control'))).toBe('accepted');
    away = true;
    await b.advance(59_000);
    expect(await codeOf(b.verifier.verify(GOOD, 'control'))).toBe('accepted');
    await b.advance(1_000);
    expect(await codeOf(b.verifier.verify(GOOD, 'control'))).toBe('token_invalid');
    away = false;
    await b.advance(2_000);
    expect(await codeOf(b.verifier.verify(GOOD, 'control'))).toBe('accepted');
  });

  test('is logged once, and no log line holds a token', async () => {
    const lines: string[] = [];
    const log = createLog('info', { write: (line) => void lines.push(line) });
    const b = rig(() => Promise.reject(new TypeError('fetch failed')), { log });
    for (let n = 0; n < 5; n += 1) {
      await codeOf(b.verifier.verify(`${GOOD}${n}`, 'control'));
      await b.advance(2_000);
    }
    expect(lines).toHaveLength(1);
    expect(lines.join('')).not.toContain(GOOD);
  });
});

describe('a flood of junk', () => {
  const junk = (n: number): string => `junk-${n}-${'x'.repeat(20)}`;

  test('costs the server ten questions a second, and memory for a thousand', async () => {
    const b = rig(() => ({ active: false }));
    const codes: string[] = [];
    for (let second = 0; second < 5; second += 1) {
      for (let n = 0; n < 100; n += 1) {
        for (let k = 0; k < 10; k += 1) {
          void b.verifier
            .verify(junk(second * 1000 + n * 10 + k), 'control')
            .catch((error: unknown) => codes.push(asPorchlightError(error).code));
        }
        await b.advance(10);
      }
    }
    await b.advance(5_000);
    expect(b.asked.length).toBeGreaterThan(40);
    // Ten at the start, ten for each of five seconds, and those who still waited.
    expect(b.asked.length).toBeLessThanOrEqual(10 + 50 + 20);
    expect(codes).toHaveLength(5000);
    expect(new Set(codes)).toEqual(new Set(['token_invalid']));
    expect(b.introspection.remembered).toBeLessThanOrEqual(2000);
  });

  /** Floods for `seconds` and sends `token` once in each; how many of those were accepted, and the longest wait. */
  async function under(
    b: Rig,
    token: (second: number) => string,
    seconds: number,
  ): Promise<{ accepted: number; longest: number }> {
    let accepted = 0;
    let longest = 0;
    for (let second = 0; second < seconds; second += 1) {
      for (let n = 0; n < 100; n += 1) {
        for (let k = 0; k < 10; k += 1)
          b.verifier.verify(junk(second * 1000 + n * 10 + k), 'control').catch(() => undefined);
        if (n === 50) {
          const sent = b.clock.mono;
          b.verifier.verify(token(second), 'control').then(
            () => {
              accepted += 1;
              longest = Math.max(longest, b.clock.mono - sent);
            },
            () => undefined,
          );
        }
        await b.advance(10);
      }
    }
    return { accepted, longest };
  }
  const server = (token: string): Members =>
    token.startsWith('opaque') ? active({ exp: NOW + 3600 }) : { active: false };

  test('a token that was good goes on, also over the renewals of its answer', async () => {
    const b = rig(server);
    expect(await codeOf(b.verifier.verify(GOOD, 'control'))).toBe('accepted');
    await b.advance(42_000);
    expect(await under(b, () => GOOD, 6)).toEqual({ accepted: 6, longest: 0 });
    await b.advance(70_000);
    // Even after its answer became too old: it has a line of its own.
    const { accepted, longest } = await under(b, () => GOOD, 3);
    expect(accepted).toBe(3);
    expect(longest).toBeLessThanOrEqual(20);
  });

  test('a new one that looks like one that was good goes before the junk', async () => {
    const b = rig(server);
    expect(await codeOf(b.verifier.verify(GOOD, 'control'))).toBe('accepted');
    const { accepted, longest } = await under(b, (second) => `${GOOD.slice(0, -1)}${(second + 1) % 10}`, 5);
    expect(accepted).toBe(5);
    expect(longest).toBeLessThan(1_500);
  });
});

test('of equals chance decides who waits, and the higher rank goes first', async () => {
  const clock = new FakeClock();
  const runs: (() => void)[] = [];
  const line = new AskingLine({
    perSecond: 1,
    atOnce: 1,
    waiting: 2,
    clock,
    random: () => 0,
    after: (_ms, run) => void runs.push(run),
  });
  const done: string[] = [];
  const go = (name: string, rank: number): Promise<void> =>
    line.run(rank, async () => void done.push(name)).catch(() => void done.push(`no ${name}`));
  const all = [go('first', 0), go('second', 0), go('third', 0), go('high', 1)];
  for (let n = 0; n < 4; n += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(1000);
    runs.shift()?.();
  }
  await Promise.all(all);
  expect(done).toEqual(['first', 'no second', 'high', 'third']);
});

describe('a real server (oidc-provider)', () => {
  let server: Server;
  let issuer: string;
  const SECRET = 'a-secret-of-the-test';
  const basic = (id: string): string => `Basic ${Buffer.from(`${id}:${SECRET}`).toString('base64')}`;

  beforeAll(async () => {
    server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const client = {
      client_secret: SECRET,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    };
    const provider = new Provider(issuer, {
      clients: ['phone', 'porchlight'].map((client_id) => ({ ...client, client_id })),
      features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        revocation: { enabled: true },
        introspection: { enabled: true, allowedPolicy: () => true },
        resourceIndicators: {
          enabled: true,
          getResourceServerInfo: () => ({
            audience: AUDIENCE,
            scope: 'lights:control lights:read',
            accessTokenFormat: 'opaque',
            accessTokenTTL: 60,
          }),
        },
      },
    });
    server.on('request', provider.callback());
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  const post = async (path: string, id: string, fields: Record<string, string>): Promise<Members> => {
    const response = await fetch(`${issuer}${path}`, {
      method: 'POST',
      headers: { authorization: basic(id) },
      body: new URLSearchParams(fields),
    });
    const text = await response.text();
    return text === '' ? {} : JSON.parse(text);
  };

  test('its opaque tokens pass, and not after they are revoked', async () => {
    const clock = { monotonic: () => performance.now(), wall: () => Date.now() };
    const introspection = (): Introspection =>
      new Introspection({
        introspect: (token) => post('/token/introspection', 'porchlight', { token }),
        issuer,
        profile: RFC_9068,
        clock,
        log: silent,
      });
    const verify = (token: string): Promise<string> =>
      codeOf(
        bench([], { issuer, clock, principals: ['phone'], introspection: introspection() }).verifier.verify(
          token,
          'control',
        ),
      );
    const grant = { grant_type: 'client_credentials', resource: 'https://resource.example/', scope: 'lights:control' };
    const token = String((await post('/token', 'phone', grant))['access_token']);
    expect(token).not.toContain('.');
    expect(await verify(token)).toBe('accepted');
    const reading = String((await post('/token', 'phone', { ...grant, scope: 'lights:read' }))['access_token']);
    expect(await verify(reading)).toBe('token_scope');
    const own = String((await post('/token', 'porchlight', grant))['access_token']);
    expect(await verify(own)).toBe('token_invalid');
    await post('/token/revocation', 'phone', { token });
    expect(await verify(token)).toBe('token_invalid');
    expect(await verify('never-issued-by-anybody_0123456789')).toBe('token_invalid');
  });
});
