import type { FileHandle } from 'node:fs/promises';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PorchlightError } from '../../src/errors.ts';
import { type GrantRecord, readStored, recordOf } from '../../src/oauth/grant.ts';
import { GrantKeeper, type GrantServer } from '../../src/oauth/keeper.ts';
import type { AuthorizationOptions } from '../../src/oauth/options.ts';
import type { TokenAnswer } from '../../src/oauth/tokens.ts';
import type { Reply } from '../../src/oauth/wire.ts';
import { realFileSystem } from '../../src/storage/file-system.ts';
import { StateDirectory } from '../../src/storage/state-directory.ts';
import { keptLog } from '../support/log.ts';
import { clock, Drawer, ISSUER, options, storedRecord } from './script.ts';

const signal = new AbortController().signal;
const answered = <T>(value: T): Reply<T> => ({ kind: 'answered', value });
const tokens = (number: number, more: Partial<TokenAnswer> = {}): TokenAnswer => ({
  access_token: `access-${number}`,
  refresh_token: `refresh-${number}`,
  expires_in: 3600,
  ...more,
});
const refused = (error: string, status = 400, description?: string): Reply<never> => ({
  kind: 'refused',
  error,
  status,
  ...(description === undefined ? {} : { description }),
});
/** As undici fails: what went wrong is the cause. */
const failed = (code: string): Reply<never> => ({
  kind: 'fault',
  problem: new PorchlightError('server_unreachable', 'It failed.', {
    cause: new TypeError('fetch failed', { cause: Object.assign(new TypeError(code), { code }) }),
  }),
});
const away = failed('ECONNREFUSED');

interface Rig {
  readonly keeper: GrantKeeper;
  readonly store: Drawer;
  /** The refresh tokens that the server was shown, and the others things that happened, in order. */
  readonly events: string[];
  readonly keys: unknown[];
  renew(): Promise<void>;
}

/** A keeper over a drawer and a server that answers refreshes in turn; `identityOf` names `ada` unless told otherwise. */
async function rig(
  record: object | undefined,
  replies: Reply<TokenAnswer>[],
  more: { options?: Partial<AuthorizationOptions>; identityOf?: GrantServer['identityOf']; store?: Drawer } = {},
): Promise<Rig> {
  const store = more.store ?? new Drawer(record === undefined ? undefined : storedRecord(record));
  const events: string[] = [];
  const keys: unknown[] = [];
  const save = store.save.bind(store);
  store.save = async (one) => {
    await save(one);
    const notes = [
      one.previous_refresh_token === undefined ? '' : ` after ${one.previous_refresh_token}`,
      one.refreshing_since === undefined ? '' : ' with intent',
    ];
    events.push(one.ended === undefined ? `stored ${one.refresh_token}${notes.join('')}` : `ended ${one.ended.reason}`);
  };
  const server: GrantServer = {
    refresh: async (token, _, key) => {
      events.push(`sent ${token}`);
      keys.push(key);
      return replies.shift() ?? away;
    },
    revoke: async (token) => {
      events.push(`revoked ${token}`);
      return answered(true);
    },
    identityOf: more.identityOf ?? (async () => answered({ subject: 'ada', claims: { zoneinfo: 'Europe/Berlin' } })),
  };
  const keeper = new GrantKeeper({
    options: { ...options, ...more.options },
    store,
    server,
    clock,
    random: () => 0,
    log: keptLog().log,
    onChange: () => undefined,
    onProblem: () => undefined,
  });
  await keeper.load();
  const renew = async (): Promise<void> => {
    await keeper.renew(signal);
  };
  return { keeper, store, events, keys, renew };
}
const sent = ({ events }: Rig): string[] => events.filter((event) => event.startsWith('sent '));
const stored = ({ store }: Rig): GrantRecord => Object(store.record);

describe('the refresh token before the present one', () => {
  it('is kept until the present access token has worked, and not dropped for an older one', async () => {
    const made = await rig({}, [answered(tokens(1))]);
    await made.renew();
    expect(stored(made).previous_refresh_token).toBe('refresh-0');
    await made.keeper.worked('access-0');
    expect(stored(made).previous_refresh_token).toBe('refresh-0');
    await made.keeper.worked('access-1');
    expect(stored(made)).toMatchObject({ access_token: 'access-1', refresh_token: 'refresh-1' });
    expect(stored(made).previous_refresh_token).toBeUndefined();
    const writes = made.store.saved.length;
    await made.keeper.worked('access-1');
    expect(made.store.saved).toHaveLength(writes);
  });

  it('goes when the next refresh shows that the present one works', async () => {
    const made = await rig({}, [answered(tokens(1)), answered(tokens(2))]);
    await made.renew();
    await made.renew();
    expect(stored(made)).toMatchObject({ refresh_token: 'refresh-2', previous_refresh_token: 'refresh-1' });
    expect(JSON.stringify(made.store.record)).not.toContain('refresh-0');
  });

  it.each([{ refresh_token: 'refresh-0' }, { refresh_token: undefined }])(
    'does not exist at a server that does not rotate (%j)',
    async (answer) => {
      const { refresh_token, ...rest } = tokens(1);
      expect(refresh_token).toBeDefined();
      const made = await rig({}, [
        answered({ ...rest, ...(answer.refresh_token === undefined ? {} : { refresh_token: 'refresh-0' }) }),
      ]);
      await made.renew();
      expect(stored(made)).toMatchObject({ access_token: 'access-1', refresh_token: 'refresh-0' });
      expect(stored(made).previous_refresh_token).toBeUndefined();
    },
  );

  it('stays, without harm, while the disk is full', async () => {
    const made = await rig({}, [answered(tokens(1))]);
    await made.renew();
    made.store.failures = 1;
    await made.keeper.worked('access-1');
    expect(stored(made).previous_refresh_token).toBe('refresh-0');
    await made.keeper.worked('access-1');
    expect(stored(made).previous_refresh_token).toBeUndefined();
  });

  it('is tried once when its successor never worked and is refused, and takes its place in the store before it is sent', async () => {
    const made = await rig({ refresh_token: 'refresh-1', previous_refresh_token: 'refresh-0' }, [
      refused('invalid_grant'),
      answered(tokens(2)),
    ]);
    await made.renew();
    expect(made.events).toEqual([
      'stored refresh-1 after refresh-0 with intent',
      'sent refresh-1',
      'stored refresh-0 with intent',
      'sent refresh-0',
      'stored refresh-2 after refresh-0',
    ]);
    expect(made.keeper.lost).toBeUndefined();
  });

  it('ends with its successor when it is refused too', async () => {
    const made = await rig({ refresh_token: 'refresh-1', previous_refresh_token: 'refresh-0' }, [
      refused('invalid_grant', 400, 'token expired'),
      refused('invalid_grant'),
    ]);
    await made.renew();
    await made.renew();
    expect(sent(made)).toEqual(['sent refresh-1', 'sent refresh-0']);
    expect(made.keeper.lost?.reason).toBe('revoked');
    expect(JSON.stringify(made.store.record)).not.toMatch(/refresh-|access-/);
  });

  it('is the one that is tried again after a fault, and its successor never', async () => {
    const made = await rig({ refresh_token: 'refresh-1', previous_refresh_token: 'refresh-0' }, [
      refused('invalid_grant'),
      away,
      failed('ECONNRESET'),
    ]);
    await made.renew();
    await made.renew();
    // The process is killed here, and another one starts.
    const next = await rig(undefined, [refused('invalid_grant')], { store: made.store });
    await next.renew();
    expect([...sent(made), ...sent(next)]).toEqual([
      'sent refresh-1',
      'sent refresh-0',
      'sent refresh-0',
      'sent refresh-0',
    ]);
    expect(next.keeper.lost?.reason).toBe('lost_in_crash');
  });

  it('is not sent while it can not take its successor’s place in the store', async () => {
    const made = await rig({ refresh_token: 'refresh-1', previous_refresh_token: 'refresh-0', refreshing_since: 1 }, [
      refused('invalid_grant'),
    ]);
    made.store.failures = 1;
    expect(await made.keeper.renew(signal)).toMatchObject({ kind: 'later', problem: { code: 'state_unusable' } });
    expect(sent(made)).toEqual(['sent refresh-1']);
  });

  it.each([
    ['a fault', away],
    ['a server error', refused('invalid_grant', 503)],
    ['throttling', refused('invalid_grant', 429)],
    ['a refused client', refused('invalid_client', 401)],
    ['another refusal', refused('invalid_scope')],
  ])('is not tried after %s, and nothing stored is lost by it', async (_, reply) => {
    const made = await rig({ refresh_token: 'refresh-1', previous_refresh_token: 'refresh-0' }, [reply]);
    await made.renew();
    expect(sent(made)).toEqual(['sent refresh-1']);
    expect(stored(made)).toMatchObject({ refresh_token: 'refresh-1', previous_refresh_token: 'refresh-0' });
  });

  it('does not outlive a new approval', async () => {
    const made = await rig({ refresh_token: 'refresh-1', previous_refresh_token: 'refresh-0' }, []);
    await made.keeper.accept(tokens(7, { id_token: 'signed' }), signal);
    expect(stored(made)).toMatchObject({ refresh_token: 'refresh-7', subject: 'ada' });
    expect(JSON.stringify(made.store.record)).not.toMatch(/refresh-[01]/);
  });
});

describe('an answer that never came', () => {
  it.each([
    ['the connection broke', failed('ECONNRESET')],
    ['the socket closed', failed('UND_ERR_SOCKET')],
    ['it was nonsense', { kind: 'nonsense', problem: new PorchlightError('server_answer') }],
    ['it was a page', { kind: 'fault', problem: new PorchlightError('server_answer') }],
  ] as [string, Reply<never>][])(
    '(%s) may have used up the refresh token, and that is then the reason',
    async (_, reply) => {
      const made = await rig({}, [reply, refused('invalid_grant')]);
      await made.renew();
      expect(made.keeper.grant).toBeDefined();
      await made.renew();
      expect(made.keeper.lost?.reason).toBe('lost_in_crash');
    },
  );

  it.each(['ECONNREFUSED', 'ENOTFOUND', 'EHOSTUNREACH', 'CERT_HAS_EXPIRED'])(
    'because nothing was sent (%s) is no such reason',
    async (code) => {
      const made = await rig({}, [failed(code), refused('invalid_grant')]);
      await made.renew();
      await made.renew();
      expect(made.keeper.lost?.reason).toBe('revoked');
    },
  );

  it('is forgotten once a refresh has worked', async () => {
    const made = await rig({}, [
      failed('ECONNRESET'),
      answered(tokens(1)),
      refused('invalid_grant'),
      refused('invalid_grant'),
    ]);
    for (let n = 0; n < 3; n += 1) await made.renew();
    expect(made.keeper.lost?.reason).toBe('revoked');
  });

  it('is forgotten at a new approval', async () => {
    const made = await rig({ refreshing_since: 1 }, [refused('invalid_grant')]);
    await made.keeper.accept(tokens(7, { id_token: 'signed' }), signal);
    await made.renew();
    expect(made.keeper.lost?.reason).toBe('revoked');
  });
});

describe('a stored refresh', () => {
  it('never gives way to the token before it, whatever its id_token does', async () => {
    const made = await rig({}, [answered(tokens(1, { id_token: 'signed' })), answered(tokens(2))], {
      identityOf: () => Promise.reject(new PorchlightError('stopping')),
    });
    await made.renew();
    await made.renew();
    expect(sent(made)).toEqual(['sent refresh-0', 'sent refresh-1']);
  });

  it('of a stranger is ended in the store before it is given back', async () => {
    const made = await rig({}, [answered(tokens(1, { id_token: 'signed' }))], {
      identityOf: async () => answered({ subject: 'eve', claims: {} }),
    });
    await made.renew();
    expect(made.events.slice(-2)).toEqual(['ended owner_mismatch', 'revoked refresh-1']);
    expect(made.keeper.identity).toBeUndefined();
  });
});

describe('the key that tokens are bound to, and what a dialect keeps', () => {
  const key = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y', d: 'private' } as const;

  it('are stored with the tokens, handed to each refresh, and carried over where an answer leaves them out', async () => {
    const made = await rig(undefined, [answered(tokens(1)), answered(tokens(2, { kept: { id: 'new' } }))], {
      options: { scopes: [] },
    });
    await made.keeper.accept(
      tokens(0, { dpop_key: key, kept: { instance_url: 'https://a.example', id: 'old' } }),
      signal,
    );
    await made.renew();
    await made.renew();
    expect(made.keys).toEqual([key, key]);
    expect(stored(made)).toMatchObject({
      dpop_key: key,
      kept: { instance_url: 'https://a.example', id: 'new' },
      refresh_token: 'refresh-2',
    });
    const next = await rig(undefined, [answered(tokens(3))], { store: made.store });
    await next.renew();
    expect(next.keys).toEqual([key]);
  });

  it('go with a grant that is lost', async () => {
    const made = await rig({ dpop_key: key, kept: { id: 'somebody' } }, [refused('invalid_grant')]);
    await made.renew();
    expect(Object.keys(stored(made)).sort()).toEqual(
      ['client_id', 'ended', 'issuer', 'obtained_at', 'scope', 'subject', 'version'].sort(),
    );
  });

  it('are not taken over from the grant before at a new approval', async () => {
    const made = await rig({ dpop_key: key, kept: { id: 'old' } }, []);
    await made.keeper.accept(tokens(1, { id_token: 'signed' }), signal);
    expect(stored(made).dpop_key).toBeUndefined();
    expect(stored(made).kept).toBeUndefined();
  });
});

describe('tokens that no person approved', () => {
  it('are of whom the configuration names', async () => {
    const made = await rig(undefined, []);
    await made.keeper.accept(tokens(1), signal, { vouched: { subject: 'installer@example.com' } });
    expect(made.keeper.subject).toBe('installer@example.com');
    expect(made.keeper.live).toBe(true);
  });

  it('are of the configured owner before anybody else, also after a restart', async () => {
    const owner = { options: { owner: 'bob' } };
    const made = await rig({ subject: 'ada' }, [], owner);
    expect(made.keeper.lost?.reason).toBe('owner_mismatch');
    await made.keeper.accept(tokens(1), signal, { vouched: { subject: 'installer@example.com' } });
    const next = await rig(undefined, [], { ...owner, store: made.store });
    expect(next.keeper.lost).toBeUndefined();
    expect(next.keeper.subject).toBe('bob');
  });

  it('may be nobody’s', async () => {
    const made = await rig(undefined, []);
    await made.keeper.accept(tokens(1), signal, { vouched: {} });
    expect(made.keeper.subject).toBeUndefined();
    expect(made.keeper.live).toBe(true);
  });
});

describe('who the owner is', () => {
  it('is known with their claims after an approval or a refresh, in memory only, and forgotten at a logout', async () => {
    const made = await rig(undefined, [answered(tokens(1, { id_token: 'signed' }))]);
    await made.keeper.accept(tokens(0, { id_token: 'signed' }), signal);
    const identity = { subject: 'ada', claims: { zoneinfo: 'Europe/Berlin' } };
    expect(made.keeper.identity).toEqual(identity);
    expect(JSON.stringify(made.store.record)).not.toContain('Berlin');
    const next = await rig(undefined, [answered(tokens(1, { id_token: 'signed' }))], { store: made.store });
    expect(next.keeper.identity).toBeUndefined();
    await next.renew();
    expect(next.keeper.identity).toEqual(identity);
    await next.keeper.forget();
    expect(next.keeper.identity).toBeUndefined();
  });
});

describe('a record', () => {
  const text = (longest: number) => fc.string({ minLength: 1, maxLength: longest });
  const answer: fc.Arbitrary<TokenAnswer> = fc.record(
    {
      access_token: fc.oneof(text(50), fc.constant('a'.repeat(16_384))),
      refresh_token: text(50),
      scope: fc.string({ maxLength: 2048 }),
      expires_in: fc.oneof(fc.double({ min: 0.001, max: 2_592_000, noNaN: true }), fc.constant(2_592_000)),
      dpop_key: fc.record({
        kty: fc.constant('EC' as const),
        crv: fc.constant('P-256' as const),
        x: text(50),
        y: text(50),
        d: text(50),
      }),
      kept: fc.dictionary(fc.oneof(text(10), text(100)), fc.oneof(text(10), fc.constant('x'.repeat(4000))), {
        maxKeys: 40,
      }),
    },
    { requiredKeys: ['access_token'] },
  );

  it('of any answer can be read again', () => {
    fc.assert(
      fc.property(answer, answer, (first, second) => {
        const before = recordOf(first, { issuer: ISSUER, client_id: 'porchlight', subject: 'ada' }, clock);
        for (const record of [before, recordOf(second, before, clock)]) {
          const read: unknown = JSON.parse(JSON.stringify(record));
          const judged = readStored(read, options);
          expect(judged.kind).toBe('usable');
          expect(isDeepStrictEqual(judged, { kind: 'usable', record: read })).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });

  it.each([
    ['a token of five megabytes', { refresh_token: 'x'.repeat(5_000_000) }],
    ['five megabytes of what a dialect keeps', { kept: { id: 'x'.repeat(5_000_000) } }],
    ['a key that is no key', { dpop_key: { kty: 5 } }],
    ['an empty refresh token', { refresh_token: '' }],
    ['a former refresh token that is a list', { previous_refresh_token: [] }],
    ['an intent that is a text', { refreshing_since: 'now' }],
    ['an end of no known reason', { ended: { reason: 'bored', at: 1 } }],
    ['an access token that is null', { access_token: null }],
    ['a subject of 256 characters', { subject: 'x'.repeat(256) }],
  ])('with %s is not used, and said to be damaged', (_, wrong) => {
    expect(readStored(storedRecord(wrong), options)).toMatchObject({ kind: 'unreadable' });
  });

  it('with members of nobody is used without them', () => {
    const read = readStored(storedRecord({ surprise: 1, __proto__: { admin: true } }), options);
    expect(read.kind).toBe('usable');
    expect(JSON.stringify(read)).not.toContain('surprise');
  });
});

describe('a refresh over a real disk', () => {
  it.each(['ENOSPC', 'EIO'])('loses nothing and heals, whichever call of its saves fails with %s', async (code) => {
    const calls = await refreshOver(Number.POSITIVE_INFINITY, code);
    expect(calls).toBeGreaterThan(15);
    await Promise.all(Array.from({ length: calls }, (_, n) => refreshOver(n + 1, code)));
  });
});

/** One refresh, and what shows that it worked, with a disk whose n-th call fails. Answers with how many calls there were. */
async function refreshOver(n: number, code: string): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'porchlight-keeper-'));
  let calls = 0;
  let armed = false;
  const wrap = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(object, name) {
        const member: unknown = Reflect.get(object, name);
        if (typeof member !== 'function') return member;
        return async (...args: unknown[]) => {
          if (armed) calls += 1;
          const fails = armed && calls === n;
          // A real close frees the descriptor even when it reports an error.
          if (fails && name !== 'close') throw Object.assign(new TypeError(code), { code });
          const result: unknown = await Reflect.apply(member, object, args);
          if (fails) throw Object.assign(new TypeError(code), { code });
          return name === 'open' ? wrap(result as FileHandle) : result;
        };
      },
    });
  const fs = wrap({ ...realFileSystem });
  const directory = await StateDirectory.open(folder, { log: keptLog().log, fs, uid: process.getuid?.() ?? 0 });
  const file = directory.file('authorization.json', { ifDamaged: 'reject' });
  await file.save(storedRecord());
  const sentTokens: string[] = [];
  const keeper = new GrantKeeper({
    options,
    store: file,
    server: {
      refresh: async (token) => {
        sentTokens.push(token);
        return answered(tokens(1));
      },
      revoke: async () => answered(true),
      identityOf: async () => answered({ subject: 'ada', claims: {} }),
    },
    clock,
    random: () => 1,
    log: keptLog().log,
    onChange: () => undefined,
    onProblem: () => undefined,
  });
  await keeper.load();
  armed = true;
  const first = await keeper.renew(signal);
  // Where the intent could not be stored nothing was sent, and the next attempt is as good as the first.
  expect(sentTokens).toHaveLength(first.kind === 'later' ? 0 : 1);
  if (first.kind === 'later') await keeper.renew(signal);
  expect(sentTokens, `call ${n}`).toEqual(['refresh-0']);
  await keeper.worked('access-1');
  armed = false;
  await keeper.worked('access-1');
  expect(await file.load(), `call ${n}`).toMatchObject({ access_token: 'access-1', refresh_token: 'refresh-1' });
  expect(keeper.grant?.record.previous_refresh_token, `call ${n}`).toBeUndefined();
  expect(Object(await file.load()).refreshing_since).toBeUndefined();
  await directory.close();
  await rm(folder, { recursive: true });
  return calls;
}
