import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { AuthorizationStatus } from '../../src/oauth/status.ts';
import {
  type Bench,
  type BenchOptions,
  bench,
  clock,
  Drawer,
  deviceAnswer,
  error,
  freezeTime,
  pass,
  pending,
  Script,
  storedRecord,
  type Turn,
  tokenAnswer,
} from './script.ts';

beforeEach(freezeTime);
const running: Bench[] = [];
afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
  vi.useRealTimers();
});

const HOUR = 3_600_000;
const away = (): Turn => new TypeError('fetch failed', { cause: Object.assign(new Error(), { code: 'ECONNREFUSED' }) });
const fresh =
  (number: number, more: object = {}): Turn =>
  () => ({
    ...tokenAnswer,
    access_token: `access-${number}`,
    refresh_token: `refresh-${number}`,
    ...more,
  });

async function begin(options: BenchOptions = {}): Promise<Bench> {
  const made = bench(options);
  running.push(made);
  await pass(0);
  return made;
}
/** A session that was approved earlier; its refreshes get `turns`. */
const restarted = (turns: Turn[], record: object = {}, more: BenchOptions = {}): Promise<Bench> =>
  begin({ ...more, store: new Drawer(storedRecord(record)), script: new Script().answer('/token', ...turns) });
const refreshes = ({ script }: Bench): (string | null)[] =>
  script.at('/token').map(({ body }) => body.get('refresh_token'));

describe('getting approved', () => {
  it('asks for a code, shows it, polls, stores and is authorized', async () => {
    const script = new Script().answer('/token', pending, fresh(1));
    const { session, shown, store } = await begin({ script });
    expect(session.status).toMatchObject({
      state: 'pending',
      code_expires_at: new Date(Date.now() + 600_000).toISOString(),
    });
    expect(shown).toEqual([
      expect.objectContaining({ user_code: 'WDJB-MJHT', expires_at: Date.now() + 600_000, interval: 5 }),
    ]);
    await expect(session.accessToken()).rejects.toMatchObject({ code: 'not_authorized' });
    await pass(10_000);
    expect(session.status).toMatchObject({
      state: 'authorized',
      scopes: ['profile'],
      expires_at: new Date(Date.now() + HOUR).toISOString(),
    });
    expect(session.status.problem).toBeUndefined();
    expect(session.status.code_expires_at).toBeUndefined();
    expect(shown).toHaveLength(2);
    expect(shown[1]).toBeUndefined();
    expect(store.saved).toHaveLength(1);
    expect(await session.accessToken()).toBe('access-1');
  });

  it('is not authorized before the tokens are stored, and goes on storing while the disk is full', async () => {
    const store = new Drawer();
    store.failures = 3;
    const { session } = await begin({ store, script: new Script().answer('/token', fresh(1)) });
    await pass(5_000);
    expect(session.status).toMatchObject({ state: 'pending', problem: { code: 'state_unusable' } });
    await expect(session.accessToken()).rejects.toMatchObject({ code: 'not_authorized' });
    await pass(1_000 + 2_000 + 4_000);
    expect(session.status.state).toBe('authorized');
    expect(store.saved).toHaveLength(1);
  });

  it('keeps trying while the server is away at start, says so, and never fails', async () => {
    const script = new Script().answer('/device/auth', away(), away(), away(), deviceAnswer);
    const { session } = await begin({ script });
    expect(session.status).toMatchObject({ state: 'unauthorized', problem: { code: 'server_unreachable' } });
    await pass(1_000 + 2_000 + 4_000);
    expect(script.gaps('/device/auth')).toEqual([1_000, 2_000, 4_000]);
    expect(session.status.state).toBe('pending');
    expect(session.status.problem).toBeUndefined();
  });

  it('discovers again and again while the whole server is away, at most every 30 seconds', async () => {
    const script = new Script().answer('/.well-known/oauth-authorization-server', away());
    const { session } = await begin({ script });
    await pass(300_000);
    expect(script.gaps('/.well-known/oauth-authorization-server').at(-1)).toBe(30_000);
    script.answer('/.well-known/oauth-authorization-server', { ...(await import('./script.ts')).metadata });
    await pass(30_000);
    expect(session.status.state).toBe('pending');
  });

  it('replaces an expired code six times in the first hour, then waits for a person', async () => {
    const script = new Script().answer('/device/auth', { ...deviceAnswer, expires_in: 300 });
    const { session, shown } = await begin({ script });
    await pass(10 * HOUR);
    expect(script.at('/device/auth')).toHaveLength(7);
    expect(session.status).toMatchObject({ state: 'unauthorized', problem: { code: 'approval_expired' } });
    expect(shown.at(-1)).toBeUndefined();
    const code = session.requestCode();
    await pass(0);
    expect((await code).user_code).toBe('WDJB-MJHT');
    await pass(HOUR);
    expect(script.at('/device/auth')).toHaveLength(8);
  });

  it('replaces no code after the first hour, however few there were', async () => {
    const script = new Script().answer('/device/auth', { ...deviceAnswer, expires_in: 1800 });
    await begin({ script });
    await pass(10 * HOUR);
    expect(script.at('/device/auth')).toHaveLength(2);
  });

  it('goes on replacing at a terminal, but never faster than once a minute', async () => {
    const script = new Script().answer('/device/auth', { ...deviceAnswer, expires_in: 2 });
    await begin({ script, interactive: true });
    await pass(600_000);
    const gaps = script.gaps('/device/auth');
    expect(gaps.length).toBeGreaterThan(10);
    expect(Math.min(...gaps.slice(7))).toBeGreaterThanOrEqual(60_000);
  });

  it('asks for no further code after a denial, until a person does', async () => {
    const script = new Script().answer('/token', error('access_denied'), pending);
    const { session, shown } = await begin({ script });
    await pass(5_000);
    expect(session.status).toMatchObject({
      state: 'relink_needed',
      reason: 'denied',
      problem: { code: 'approval_denied' },
    });
    expect(shown.at(-1)).toBeUndefined();
    await pass(24 * HOUR);
    expect(script.at('/device/auth')).toHaveLength(1);
    const code = session.requestCode();
    await pass(0);
    await code;
    expect(session.status).toMatchObject({ state: 'pending' });
    expect(session.status.problem).toBeUndefined();
  });

  it('asks for no further code when the server does not know the client, until a person does', async () => {
    const script = new Script().answer('/device/auth', error('invalid_client', 401), deviceAnswer);
    const { session } = await begin({ script });
    expect(session.status).toMatchObject({
      state: 'unauthorized',
      problem: { code: 'server_refused', message: expect.stringContaining('invalid_client') },
    });
    await pass(24 * HOUR);
    expect(script.at('/device/auth')).toHaveLength(1);
    const code = session.requestCode();
    await pass(0);
    expect((await code).user_code).toBe('WDJB-MJHT');
  });

  it('waits when the start itself is throttled with slow_down', async () => {
    const script = new Script().answer('/device/auth', error('slow_down', 429), deviceAnswer);
    const { session } = await begin({ script });
    await pass(30_000);
    expect(script.gaps('/device/auth')).toEqual([30_000]);
    expect(session.status.state).toBe('pending');
  });

  it('survives those who show codes and watch the status badly', async () => {
    const { session } = await begin({
      script: new Script().answer('/token', fresh(1)),
      show: () => {
        throw new TypeError('the terminal is gone');
      },
    });
    session.onChange(() => {
      throw new TypeError('the watcher is broken');
    });
    await pass(5_000);
    expect(session.status.state).toBe('authorized');
  });

  it('writes no code, token or device code to the log or the status', async () => {
    const script = new Script().answer(
      '/token',
      away(),
      error('slow_down'),
      fresh(1),
      error('invalid_grant', 400, { error_description: 'refresh-1 is unknown' }),
    );
    const { session, lines } = await begin({ script });
    const seen: AuthorizationStatus[] = [session.status];
    session.onChange((status) => seen.push(status));
    await pass(60_000);
    await session.renew();
    expect(session.status.state).toBe('relink_needed');
    const all = lines.join('') + JSON.stringify(seen);
    for (const secret of ['WDJB', 'device-code-secret', 'access-1', 'refresh-1']) expect(all).not.toContain(secret);
  });
});

describe('a person who asks for a code', () => {
  it('gets the one being shown while it has more than a minute, and a new one afterwards', async () => {
    const script = new Script();
    const { session } = await begin({ script });
    await pass(539_000);
    expect((await session.requestCode()).user_code).toBe('WDJB-MJHT');
    expect(script.at('/device/auth')).toHaveLength(1);
    await pass(2_000);
    script.answer('/device/auth', { ...deviceAnswer, user_code: 'NEWC-ODEE' });
    const again = [session.requestCode(), session.requestCode()];
    await pass(0);
    expect((await Promise.all(again)).map((code) => code.user_code)).toEqual(['NEWC-ODEE', 'NEWC-ODEE']);
    expect(script.at('/device/auth')).toHaveLength(2);
  });

  it('is told at once when the server is away, and need not wait for the back-off', async () => {
    const script = new Script().answer('/device/auth', away());
    const { session } = await begin({ script });
    await pass(100_000);
    const before = script.at('/device/auth').length;
    const failed = expect(session.requestCode()).rejects.toMatchObject({ code: 'server_unreachable' });
    await pass(0);
    await failed;
    expect(script.at('/device/auth')).toHaveLength(before + 1);
  });

  it('does not endanger a grant that works: it stays until the new one is stored', async () => {
    const { session, script } = await restarted([pending]);
    const code = session.requestCode();
    await pass(0);
    await code;
    expect(session.status).toMatchObject({ state: 'authorized', code_expires_at: expect.any(String) });
    expect(await session.accessToken()).toBe('access-0');
    script.answer('/token', error('access_denied'));
    await pass(5_000);
    expect(session.status).toMatchObject({ state: 'authorized', problem: { code: 'approval_denied' } });
    expect(await session.accessToken()).toBe('access-0');
  });

  it('is told that the session does not run, before and after', async () => {
    const made = await begin();
    await made.stop();
    await expect(made.session.requestCode()).rejects.toMatchObject({ code: 'stopping' });
  });
});

describe('keeping the grant', () => {
  it('needs nobody after a restart', async () => {
    const { session, script } = await restarted([pending]);
    expect(session.status).toMatchObject({ state: 'authorized', subject: 'ada' });
    expect(await session.accessToken()).toBe('access-0');
    expect(script.asked).toHaveLength(0);
  });

  it.each([
    [0, 0.5],
    [0.5, 0.65],
    [0.999, 0.8],
  ])('refreshes between half and four fifths of the life (random %d)', async (random, part) => {
    const { session, script } = await restarted([fresh(1)], {}, { random: () => random });
    await pass(part * HOUR - 5_000);
    expect(script.at('/token')).toHaveLength(0);
    await pass(10_000);
    expect(script.at('/token')).toHaveLength(1);
    expect(await session.accessToken()).toBe('access-1');
  });

  it('stores the intent before it asks, and the new refresh token before the new access token is used', async () => {
    const order: string[] = [];
    const store = new Drawer(storedRecord());
    const save = store.save.bind(store);
    store.save = async (record) => {
      await save(record);
      order.push(`stored ${record.refresh_token}${record.refreshing_since === undefined ? '' : ' with intent'}`);
    };
    const script = new Script().answer('/token', () => {
      order.push('asked');
      return { ...tokenAnswer };
    });
    const { session } = await begin({ store, script });
    await session.renew();
    order.push(await session.accessToken());
    expect(order).toEqual(['stored refresh-0 with intent', 'asked', 'stored refresh-1', 'access-1']);
  });

  it('refreshes once for ten who ask at the same time', async () => {
    const made = await restarted([fresh(1)], { expires_at: Date.now() + 1 });
    await pass(2);
    const tokens = await Promise.all(Array.from({ length: 10 }, () => made.session.accessToken()));
    expect(new Set(tokens)).toEqual(new Set(['access-1']));
    await Promise.all(Array.from({ length: 10 }, () => made.session.renew()));
    expect(refreshes(made)).toEqual(['refresh-0', 'refresh-1']);
  });

  it('uses each rotated refresh token once, and keeps the old one where the server does not rotate', async () => {
    const made = await restarted([fresh(1), fresh(2, { refresh_token: undefined }), fresh(3)]);
    for (let i = 0; i < 3; i += 1) await made.session.renew();
    expect(refreshes(made)).toEqual(['refresh-0', 'refresh-1', 'refresh-1']);
  });

  it.each([
    ['the network', away()],
    ['a server error', () => new Response('oops', { status: 500 })],
    ['invalid_grant with status 503', error('invalid_grant', 503)],
    ['throttling', error('slow_down', 429)],
    ['a page', () => new Response('<html>')],
    ['an answer without token', () => ({ token_type: 'Bearer' })],
    ['a refusal that is about the request', error('invalid_scope')],
  ] as [string, Turn][])('never loses a token to %s', async (_, turn) => {
    const made = await restarted([turn, fresh(1)]);
    await made.session.renew();
    expect(made.session.status.state).toBe('authorized');
    expect(made.session.status.problem).toBeDefined();
    expect(Object(made.store.record).refresh_token).toBe('refresh-0');
    await pass(HOUR / 2);
    expect(await made.session.accessToken()).toBe('access-1');
    expect(made.session.status.problem).toBeUndefined();
  });

  it('backs off to five minutes while the server is away, is in grace when the token has expired, and heals', async () => {
    const made = await restarted([away()]);
    const { session, script } = made;
    await pass(HOUR);
    expect(script.gaps('/token').slice(0, 4)).toEqual([1_000, 2_000, 4_000, 8_000]);
    expect(Math.max(...script.gaps('/token'))).toBe(300_000);
    const expired = new Date(1_700_000_000_000 + HOUR).toISOString();
    expect(session.status).toMatchObject({ state: 'grace', since: expired, problem: { code: 'server_unreachable' } });
    const before = script.at('/token').length;
    await expect(session.accessToken()).rejects.toMatchObject({ code: 'not_authorized' });
    expect(script.at('/token')).toHaveLength(before);
    await pass(24 * HOUR);
    expect(session.status).toMatchObject({ state: 'grace', since: expired });
    script.answer('/token', fresh(1));
    await pass(300_000);
    expect(session.status.state).toBe('authorized');
    expect(await session.accessToken()).toBe('access-1');
  });

  it.each([
    ['refresh token is expired', 'expired'],
    ['Token has been revoked', 'revoked'],
    ['Token has been expired or revoked.', 'revoked'],
    [undefined, 'revoked'],
  ])(
    'loses the grant at invalid_grant (%s) and asks for no code by itself, not even after a restart',
    async (error_description, reason) => {
      const made = await restarted([error('invalid_grant', 400, { error_description })]);
      await made.session.renew();
      expect(made.session.status).toMatchObject({ state: 'relink_needed', reason, subject: 'ada' });
      await expect(made.session.accessToken()).rejects.toMatchObject({ code: 'not_authorized' });
      expect(JSON.stringify(made.store.record)).not.toMatch(/access-0|refresh-0/);
      await pass(24 * HOUR);
      const again = await begin({ store: new Drawer(made.store.record) });
      await pass(24 * HOUR);
      expect(again.session.status).toMatchObject({ state: 'relink_needed', reason, subject: 'ada' });
      expect([...made.script.at('/device/auth'), ...again.script.at('/device/auth')]).toHaveLength(0);
    },
  );

  it('tells an unknown client from a lost grant, and keeps the tokens for when the secret is right again', async () => {
    const made = await restarted([error('invalid_client', 401)]);
    await made.session.renew();
    expect(made.session.status).toMatchObject({
      state: 'relink_needed',
      reason: 'denied',
      problem: { code: 'server_refused' },
    });
    expect(Object(made.store.record).refresh_token).toBe('refresh-0');
  });

  it('knows that a crash in mid-refresh may have used up the refresh token', async () => {
    const lost = await restarted([error('invalid_grant')], { refreshing_since: Date.now() - 1_000 });
    expect(lost.session.status).toMatchObject({ state: 'relink_needed', reason: 'lost_in_crash' });
    const kept = await restarted([fresh(1)], { refreshing_since: Date.now() - 1_000 });
    expect(kept.session.status.state).toBe('authorized');
    expect(await kept.session.accessToken()).toBe('access-1');
  });

  it('waits for the answer of a refresh under way when it is stopped, for it may hold the only live refresh token', async () => {
    const made = await restarted([
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 2_000));
        return tokenAnswer;
      },
    ]);
    const renewed = made.session.renew();
    await pass(500);
    const stopped = made.stop();
    await pass(1_500);
    await Promise.all([renewed, stopped]);
    expect(Object(made.store.record)).toMatchObject({ refresh_token: 'refresh-1', access_token: 'access-1' });
  });

  it('does not wait for ever for it', async () => {
    const made = await restarted([() => new Promise<Response>(() => undefined)]);
    const renewed = made.session.renew();
    const stopped = made.stop();
    await pass(3_000);
    await Promise.all([renewed, stopped]);
    expect(Object(made.store.record)).toMatchObject({
      refresh_token: 'refresh-0',
      refreshing_since: expect.any(Number),
    });
  });

  it('does not ask while the intent can not be stored', async () => {
    const made = await restarted([fresh(1)]);
    made.store.failures = 1;
    await made.session.renew();
    expect(refreshes(made)).toEqual([]);
    expect(made.session.status).toMatchObject({ state: 'authorized', problem: { code: 'state_unusable' } });
    await pass(HOUR / 2);
    expect(refreshes(made)).toEqual(['refresh-0']);
  });

  it('loses nothing when the new tokens can not be stored at once, and does not use them before', async () => {
    const made = await restarted([
      () => {
        made.store.failures = 2;
        return tokenAnswer;
      },
    ]);
    const renewed = made.session.renew();
    await pass(500);
    expect(Object(made.store.record)).toMatchObject({
      refresh_token: 'refresh-0',
      refreshing_since: expect.any(Number),
    });
    expect(made.session.status.problem?.code).toBe('state_unusable');
    const token = made.session.accessToken();
    await pass(1_000 + 2_000);
    await renewed;
    expect(await token).toBe('access-1');
    expect(Object(made.store.record).refresh_token).toBe('refresh-1');
  });

  it('works until the end without a refresh token, and then needs a person', async () => {
    const made = await restarted([pending], { refresh_token: undefined });
    await pass(HOUR - 1);
    expect(await made.session.accessToken()).toBe('access-0');
    await pass(1);
    expect(made.session.status).toMatchObject({ state: 'relink_needed', reason: 'expired' });
    expect(made.script.asked).toHaveLength(0);
  });

  it('refreshes after an hour, or when told to, where the server names no life', async () => {
    const made = await restarted([fresh(1, { expires_in: undefined })], { expires_at: undefined });
    expect(made.session.status.expires_at).toBeUndefined();
    await pass(HOUR - 1);
    expect(refreshes(made)).toHaveLength(0);
    await pass(1);
    expect(refreshes(made)).toHaveLength(1);
    await made.session.renew();
    expect(refreshes(made)).toHaveLength(2);
    expect(made.session.status.state).toBe('authorized');
  });

  it('is not misled by a wall clock that jumps', async () => {
    let offset = 0;
    const made = await restarted(
      [fresh(1)],
      {},
      { clock: { monotonic: clock.monotonic, wall: () => clock.wall() + offset } },
    );
    offset = 20 * 365 * 24 * HOUR;
    await pass(1_000);
    expect(await made.session.accessToken()).toBe('access-0');
    offset = -20 * 365 * 24 * HOUR;
    await pass(HOUR / 2 - 1_000);
    expect(refreshes(made)).toHaveLength(1);
  });

  it('refreshes at once when the wall clock stands before the stored grant (a clock without battery)', async () => {
    const made = await restarted([fresh(1)], {
      obtained_at: Date.now() + 24 * HOUR,
      expires_at: Date.now() + 25 * HOUR,
    });
    expect(refreshes(made)).toHaveLength(1);
  });
});

describe('what is stored', () => {
  it.each([{ issuer: 'https://other.example' }, { client_id: 'other' }])(
    'is not used when it is of another %j, and asks anew',
    async (more) => {
      const made = await restarted([pending], more);
      expect(made.session.status.state).toBe('pending');
      expect(made.session.subject).toBeUndefined();
      expect(made.lines.join('')).toContain('another issuer or client');
      expect(made.store.saved).toHaveLength(0);
      expect(made.store.cleared).toBe(0);
    },
  );

  it.each([
    ['is of a newer version', { version: 2 }, 'newer version'],
    ['has no tokens', { access_token: undefined }, 'damaged'],
    ['has a number as token', { access_token: 5 }, 'damaged'],
    ['has no version', { version: undefined }, 'damaged'],
    ['has an absurd time', { obtained_at: 1e300 }, 'damaged'],
  ])('is left alone when it %s, and only a person asks for a code', async (_, more, word) => {
    const made = await restarted([pending], more);
    await pass(HOUR);
    expect(made.session.status).toMatchObject({
      state: 'unauthorized',
      problem: { code: 'state_unusable', message: expect.stringContaining(word) },
    });
    expect(made.script.asked).toHaveLength(0);
    expect([made.store.saved.length, made.store.cleared]).toEqual([0, 0]);
    const code = made.session.requestCode();
    await pass(0);
    await code;
  });

  it.each(['text', 5, [], true])('may be anything at all (%j)', async (record) => {
    const { session } = await begin({ store: new Drawer(record) });
    expect(session.status).toMatchObject({ state: 'unauthorized', problem: { code: 'state_unusable' } });
  });

  it('may be out of reach', async () => {
    const store = new Drawer();
    store.load = () => Promise.reject(new TypeError('permission denied'));
    const { session } = await begin({ store });
    expect(session.status).toMatchObject({ state: 'unauthorized', problem: { code: 'state_unusable' } });
  });

  it('is not used when it belongs to somebody other than the configured owner', async () => {
    const made = await restarted([pending], {}, { options: { owner: 'bob' } });
    expect(made.session.status).toMatchObject({ state: 'relink_needed', reason: 'owner_mismatch' });
    expect(made.store.saved).toHaveLength(0);
  });
});

describe('logging out', () => {
  it('revokes the refresh token first, forgets, and asks for no code without a person', async () => {
    const made = await restarted([pending]);
    expect(await made.session.revoke()).toEqual({ revokedAtServer: true });
    expect(made.script.at('/revoke').map(({ body }) => [body.get('token'), body.get('token_type_hint')])).toEqual([
      ['refresh-0', 'refresh_token'],
      ['access-0', 'access_token'],
    ]);
    expect(made.store.record).toBeUndefined();
    expect(made.session.status.state).toBe('unauthorized');
    expect(made.session.subject).toBeUndefined();
    await pass(24 * HOUR);
    expect(made.script.at('/device/auth')).toHaveLength(0);
    const code = made.session.requestCode();
    await pass(0);
    await code;
  });

  it.each([
    ['is away', away()],
    ['is broken', () => new Response('', { status: 503 })],
    ['refuses', error('unsupported_token_type')],
    ['hangs', () => new Promise<Response>(() => undefined)],
  ] as [string, Turn][])('forgets even when the server %s, and says so', async (_, turn) => {
    const made = await restarted([pending]);
    made.script.answer('/revoke', turn);
    const outcome = made.session.revoke();
    await pass(11_000);
    expect(await outcome).toMatchObject({ revokedAtServer: false, message: expect.any(String) });
    expect(made.store.record).toBeUndefined();
    await expect(made.session.accessToken()).rejects.toMatchObject({ code: 'not_authorized' });
  });

  it('takes the code off the screen, and gives back an approval that comes too late', async () => {
    const script = new Script().answer('/token', async () => {
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      return tokenAnswer;
    });
    const made = await begin({ script });
    await pass(5_500);
    const outcome = made.session.revoke();
    await pass(5_000);
    expect(await outcome).toEqual({ revokedAtServer: false, message: expect.stringContaining('no authorization') });
    expect(made.session.status.state).toBe('unauthorized');
    expect(made.shown.at(-1)).toBeUndefined();
    expect(script.at('/revoke').map(({ body }) => body.get('token'))).toEqual(['refresh-1']);
    expect(made.store.record).toBeUndefined();
  });

  it('says so where the server offers no revocation', async () => {
    const script = new Script();
    script.answer('/.well-known/oauth-authorization-server', {
      ...(await import('./script.ts')).metadata,
      revocation_endpoint: undefined,
    });
    const made = await begin({ script, store: new Drawer(storedRecord()) });
    expect(await made.session.revoke()).toMatchObject({
      revokedAtServer: false,
      message: expect.stringContaining('offers no revocation'),
    });
  });

  it('waits for a refresh under way, so that the new token is the one that is revoked', async () => {
    const made = await restarted([
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        return tokenAnswer;
      },
    ]);
    const renewed = made.session.renew();
    await pass(500);
    const outcome = made.session.revoke();
    await pass(1_000);
    await Promise.all([renewed, outcome]);
    expect(made.script.at('/revoke')[0]?.body.get('token')).toBe('refresh-1');
    expect(made.store.record).toBeUndefined();
    expect(made.session.status.state).toBe('unauthorized');
  });
});

describe('client authentication (RFC 6749 section 2.3)', () => {
  it.each([
    ['client_secret_basic', `Basic ${Buffer.from('porch+light:s%3Acret').toString('base64')}`, null],
    ['client_secret_post', null, 's:cret'],
  ] as const)('%s', async (client_authentication, header, parameter) => {
    const { script } = await begin({
      options: { client_id: 'porch light', client_secret: 's:cret', client_authentication },
    });
    await pass(5_000);
    for (const request of [...script.at('/device/auth'), ...script.at('/token')]) {
      expect(request.headers.get('authorization')).toBe(header);
      expect(request.body.get('client_secret')).toBe(parameter);
    }
    expect(script.at('/token')).toHaveLength(1);
  });

  it('says that the secret is missing, and asks nobody', async () => {
    const { session } = await begin({ options: { client_authentication: 'client_secret_post' } });
    expect(session.status).toMatchObject({ state: 'unauthorized', problem: { code: 'config_invalid' } });
  });

  it('names the resource in every request that may carry it (RFC 8707)', async () => {
    const script = new Script().answer('/token', pending, fresh(1), fresh(2));
    const { session } = await begin({ script, options: { resource: 'https://broker.example/' } });
    await pass(10_000);
    await session.renew();
    expect(script.at('/token')).toHaveLength(3);
    for (const request of [...script.at('/device/auth'), ...script.at('/token')])
      expect(request.body.get('resource')).toBe('https://broker.example/');
  });
});
