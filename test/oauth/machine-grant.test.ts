import { generateKeyPairSync } from 'node:crypto';
import { decodeJwt, jwtVerify } from 'jose';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { AuthorizationOptions } from '../../src/oauth/options.ts';
import {
  type Bench,
  bench,
  Drawer,
  error,
  freezeTime,
  ISSUER,
  metadata,
  pass,
  Script,
  storedRecord,
  until,
} from './script.ts';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const client_key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const byAssertion: Partial<AuthorizationOptions> = {
  grant: 'jwt_bearer',
  client_key,
  scopes: ['lights:read'],
  assertion: { subject: 'ada' },
};
const byCredentials: Partial<AuthorizationOptions> = {
  grant: 'client_credentials',
  client_authentication: 'client_secret_basic',
  client_secret: 's',
  scopes: ['lights:read'],
};
/** A server without device flow and refresh tokens: each token of its own. */
const tokens = (more: object = {}): (() => Record<string, unknown>) => {
  let count = 0;
  return () => {
    count += 1;
    return { access_token: `machine-${count}`, token_type: 'Bearer', expires_in: 3600, ...more };
  };
};
const server = (...turns: Parameters<Script['answer']>[1][]): Script =>
  new Script()
    .answer('/.well-known/oauth-authorization-server', { ...metadata, device_authorization_endpoint: undefined })
    .answer('/token', ...turns);

let made: Bench;
beforeEach(freezeTime);
afterEach(async () => {
  await made?.stop();
  vi.useRealTimers();
});
const authorized = (): Promise<void> => until(() => made.session.status.state === 'authorized');
const asked = (): number => made.script.at('/token').length;

describe('jwt_bearer (RFC 7523 section 2.1)', () => {
  it('sends an assertion of a short life, once only, for whom the configuration names', async () => {
    made = bench({ script: server(tokens()), options: byAssertion });
    await authorized();
    await made.session.renew();
    const assertions = made.script.at('/token').map(({ body }) => {
      expect(body.get('grant_type')).toBe('urn:ietf:params:oauth:grant-type:jwt-bearer');
      expect(body.get('scope')).toBe('lights:read');
      expect(body.get('client_id')).toBe('porchlight');
      return body.get('assertion') ?? '';
    });
    const claims = await Promise.all(
      assertions.map(async (assertion) => (await jwtVerify(assertion, publicKey, { currentDate: new Date() })).payload),
    );
    expect(claims).toHaveLength(2);
    for (const { iss, sub, aud, iat = 0, exp = 0 } of claims) {
      expect({ iss, sub, aud }).toEqual({ iss: 'porchlight', sub: 'ada', aud: `${ISSUER}/token` });
      expect(exp - iat).toBeLessThanOrEqual(180);
    }
    expect(claims[0]?.jti).not.toBe(claims[1]?.jti);
    expect(made.session.subject).toBe('ada');
    expect(made.shown).toEqual([]);
    expect(made.lines.join('')).not.toMatch(/eyJ|machine-/);
  });

  it('says what the configuration says of issuer, audience and owner', async () => {
    const assertion = { subject: 'installer@example.com', issuer: 'fleet', audience: 'https://login.example.com' };
    made = bench({ script: server(tokens()), options: { ...byAssertion, assertion, owner: 'ada' } });
    await authorized();
    const { iss, sub, aud } = decodeJwt(made.script.at('/token')[0]?.body.get('assertion') ?? '');
    expect({ iss, sub, aud }).toEqual({
      iss: 'fleet',
      sub: 'installer@example.com',
      aud: 'https://login.example.com',
    });
    expect(made.session.subject).toBe('ada');
    await made.stop();
    made = bench({ script: server(tokens()), options: { ...byAssertion, assertion: undefined, owner: 'bea' } });
    await authorized();
    expect(decodeJwt(made.script.at('/token')[0]?.body.get('assertion') ?? '').sub).toBe('bea');
    expect(made.session.subject).toBe('bea');
  });

  it('goes on with a stored token only for whom the configuration vouches now', async () => {
    const assertion = { subject: 'installer@example.com' };
    made = bench({ script: server(tokens()), options: { ...byAssertion, assertion, owner: 'ada' } });
    await authorized();
    const stored = made.store.record;
    await made.stop();
    made = bench({
      script: server(tokens()),
      options: { ...byAssertion, assertion, owner: 'ada' },
      store: new Drawer(stored),
    });
    await authorized();
    expect(asked()).toBe(0);
    await made.stop();
    const away = server(new TypeError('fetch failed'));
    made = bench({
      script: away,
      options: { ...byAssertion, assertion: { subject: 'bea' } },
      store: new Drawer(stored),
    });
    await until(() => made.session.status.problem !== undefined);
    expect(made.session.status.state).toBe('unauthorized');
    expect(made.session.subject).toBeUndefined();
  });

  it('that is refused while the clock is not trusted is tried again soon, and ends nothing', async () => {
    let trusted = false;
    const script = server(() => (trusted ? tokens()() : error('invalid_grant')));
    made = bench({ script, options: byAssertion, clockTrusted: () => trusted });
    await until(() => made.session.status.problem !== undefined);
    expect(made.session.status.state).toBe('unauthorized');
    expect(made.session.status.problem?.message).toContain('clock');
    trusted = true;
    await pass(1_000);
    await authorized();
  });
});

describe('client_credentials (RFC 6749 section 4.4)', () => {
  it('asks with its own credentials; the owner is nobody, or whom the configuration names', async () => {
    made = bench({ script: server(tokens()), options: { ...byCredentials, resource: 'https://mqtt.example/' } });
    await authorized();
    const [{ body, headers } = { body: new URLSearchParams(), headers: new Headers() }] = made.script.at('/token');
    expect([...body.keys()].sort()).toEqual(['grant_type', 'resource', 'scope']);
    expect(body.get('grant_type')).toBe('client_credentials');
    expect(headers.get('authorization')).toMatch(/^Basic /);
    expect(made.session.subject).toBeUndefined();
    expect(made.session.status).not.toHaveProperty('subject');
    await made.stop();
    made = bench({ script: server(tokens()), options: { ...byCredentials, owner: 'ada' } });
    await authorized();
    expect(made.session.subject).toBe('ada');
  });
});

// Over long times: what is signed takes real time, which a frozen clock does not give.
describe('a gateway authorized by itself, over hours', () => {
  const options = byCredentials;

  it('keeps its token while the server is away, says grace at its end, and comes back by itself', async () => {
    let away = false;
    const give = tokens();
    made = bench({ script: server(() => (away ? new TypeError('fetch failed') : give())), options });
    await authorized();
    away = true;
    await pass(1_801_000);
    await until(() => made.session.status.problem !== undefined);
    expect(made.session.status).toMatchObject({ state: 'authorized', problem: { code: 'server_unreachable' } });
    expect(await made.session.accessToken()).toBe('machine-1');
    await pass(1_900_000);
    expect(made.session.status.state).toBe('grace');
    // 1, 2, 4 ... 300 s: seven requests in the first two minutes, then one in five.
    expect(asked()).toBeLessThan(20);
    away = false;
    await pass(300_000);
    await authorized();
    expect(made.session.status.problem).toBeUndefined();
  });

  it('whose grant is ended says so at once, asks more and more rarely, and is back when an installer has mended it', async () => {
    let mended = false;
    const give = tokens();
    const script = server(give(), () => (mended ? give() : error('invalid_grant', 400, { error_description: 'gone' })));
    made = bench({ script, options });
    await authorized();
    await made.session.renew();
    expect(made.session.status).toMatchObject({ state: 'relink_needed', reason: 'revoked' });
    expect(made.session.status.problem?.hint).toContain('The installer must');
    expect(made.session.status.problem?.message).toContain('gone');
    await expect(made.session.accessToken()).rejects.toMatchObject({ code: 'not_authorized' });
    expect(made.store.saved.at(-1)).not.toHaveProperty('access_token');
    const before = asked();
    await pass(3_600_000);
    // After 1, 3, 7, 15 and 31 minutes.
    expect(asked() - before).toBe(5);
    await pass(86_400_000);
    expect(asked() - before).toBeLessThan(31);
    expect(made.session.status).toMatchObject({ state: 'relink_needed', reason: 'revoked' });
    mended = true;
    await pass(3_600_000);
    await authorized();
    expect(made.session.status.problem).toBeUndefined();
  });
});

describe.each([
  ['jwt_bearer', byAssertion],
  ['client_credentials', byCredentials],
])('a gateway authorized by %s', (_, options) => {
  it('needs no device endpoint, shows no code, and answers "login" with what it has', async () => {
    made = bench({ script: server(tokens()), options });
    await authorized();
    await expect(made.session.requestCode()).rejects.toMatchObject({
      code: 'wrong_use',
      message: expect.stringMatching(/nothing to approve.*is authorized/),
    });
    expect(made.script.at('/device/auth')).toHaveLength(0);
    expect(made.shown).toEqual([]);
  });

  it.each([
    [0, 1_800_000],
    [0.999_999, 2_880_000],
  ])('asks anew within 50 to 80 %% of the life (jitter %d)', async (jitter, due) => {
    made = bench({ script: server(tokens()), options, random: () => jitter });
    await authorized();
    await pass(due - 1_000);
    expect(asked()).toBe(1);
    await pass(2_000);
    await until(() => asked() === 2);
    await until(() => made.store.saved.at(-1)?.access_token === 'machine-2');
    expect(await made.session.accessToken()).toBe('machine-2');
  });

  it('asks no server more often than every five seconds, whatever life its tokens have', async () => {
    made = bench({ script: server(tokens({ expires_in: 0.001 })), options });
    await until(() => asked() === 1);
    await pass(60_000);
    expect(asked()).toBeLessThanOrEqual(13);
  });

  it('is asked about again at once when a person says "login", and they hear how it went', async () => {
    let mended = false;
    const give = tokens();
    made = bench({ script: server(() => (mended ? give() : error('unauthorized_client'))), options });
    await until(() => made.session.status.problem !== undefined);
    expect(made.session.status).toMatchObject({ state: 'relink_needed', reason: 'denied' });
    await expect(made.session.requestCode()).rejects.toMatchObject({
      code: 'server_refused',
      message: expect.stringContaining('nothing to approve'),
      hint: expect.stringContaining('The installer must'),
    });
    expect(asked()).toBe(2);
    mended = true;
    await expect(made.session.requestCode()).rejects.toMatchObject({ code: 'wrong_use' });
    expect(made.session.status.state).toBe('authorized');
  });

  it.each([
    ['invalid_scope', 400, 'unauthorized'],
    ['invalid_client', 401, 'relink_needed'],
    ['unauthorized_client', 400, 'relink_needed'],
    ['access_denied', 403, 'relink_needed'],
    ['unsupported_grant_type', 400, 'unauthorized'],
    ['something_new', 400, 'unauthorized'],
    ['slow_down', 400, 'unauthorized'],
    ['invalid_grant', 503, 'unauthorized'],
    ['invalid_client', 429, 'unauthorized'],
  ])('is told %s (HTTP %d) and is then %s', async (name, status, state) => {
    made = bench({ script: server(() => error(name, status)), options });
    await until(() => made.session.status.problem !== undefined);
    expect(made.session.status.state).toBe(state);
    expect(made.session.status.problem?.hint).toMatch(/\w/);
  });

  it('keeps a token that still works when only its configuration is refused, and waits for days to be told otherwise', async () => {
    made = bench({ script: server(tokens()(), () => error('invalid_scope')), options });
    await authorized();
    await made.session.renew();
    expect(made.session.status).toMatchObject({ state: 'authorized', problem: { code: 'server_refused' } });
    expect(await made.session.accessToken()).toBe('machine-1');
  });

  it('that was logged out asks for nothing until somebody wishes it', async () => {
    made = bench({ script: server(tokens()), options });
    await authorized();
    expect(await made.session.revoke()).toEqual({ revokedAtServer: true });
    expect(made.script.at('/revoke').map(({ body }) => body.get('token'))).toEqual(['machine-1']);
    await pass(86_400_000);
    expect(asked()).toBe(1);
    expect(made.session.status.state).toBe('unauthorized');
    await expect(made.session.requestCode()).rejects.toMatchObject({ code: 'wrong_use' });
    expect(made.session.status.state).toBe('authorized');
  });

  it('gives back tokens that come after it was logged out', async () => {
    let release: (() => void) | undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const give = tokens();
    made = bench({
      script: server(give(), async () => {
        await held;
        return give();
      }),
      options,
    });
    await authorized();
    const renewing = made.session.renew();
    await until(() => asked() === 2);
    const out = made.session.revoke();
    await pass(10);
    release?.();
    await Promise.all([renewing, out]);
    expect(
      made.script
        .at('/revoke')
        .map(({ body }) => body.get('token'))
        .sort(),
    ).toEqual(['machine-1', 'machine-2']);
    expect(made.store.record).toBeUndefined();
    expect(made.session.status.state).toBe('unauthorized');
  });

  it('goes on with its stored token after a restart, but not with one of another kind or for somebody else', async () => {
    made = bench({ script: server(tokens()), options });
    await authorized();
    const stored = made.store.record;
    await made.stop();
    made = bench({ script: server(tokens()), options, store: new Drawer(stored) });
    await authorized();
    expect(asked()).toBe(0);
    expect(await made.session.accessToken()).toBe('machine-1');
    await made.stop();
    for (const [record, more] of [
      [storedRecord({ subject: 'ada' }), {}],
      [stored, { owner: 'bea' }],
    ] as const) {
      made = bench({ script: server(tokens()), options: { ...options, ...more }, store: new Drawer(record) });
      await until(() => asked() === 1);
      await authorized();
      expect(await made.session.accessToken()).toBe('machine-1');
      expect(made.session.subject).toBe(more.owner ?? (options === byAssertion ? 'ada' : undefined));
      await made.stop();
    }
    // And the other way about: a person is asked.
    made = bench({
      options: { ...options, grant: 'device_code', client_authentication: 'none' },
      store: new Drawer(stored),
    });
    await until(() => made.shown.length > 0);
    expect(made.session.status.state).toBe('pending');
    expect(made.session.subject).toBeUndefined();
  });

  it('replaces a stored file that can not be read: the configuration vouches, nobody needs to be asked', async () => {
    made = bench({ script: server(tokens()), options, store: new Drawer({ version: 1, odd: true }) });
    await authorized();
    expect(made.session.status.problem).toBeUndefined();
  });
});
