import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  type Bench,
  type BenchOptions,
  bench,
  Drawer,
  freezeTime,
  ISSUER,
  metadata,
  pass,
  Script,
  storedRecord,
  tokenAnswer,
  until,
} from './script.ts';

beforeEach(freezeTime);
const running: Bench[] = [];
afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
  vi.useRealTimers();
});

const scopes = ['openid', 'offline_access'];
const old = generateKeyPairSync('ed25519');
const current = generateKeyPairSync('ed25519');
const jwk = (key: KeyObject, kid: string): object => ({ ...key.export({ format: 'jwk' }), kid });
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

function idToken(sub: string, more: object = {}): string {
  const iat = Math.floor(Date.now() / 1000);
  const claims = { iss: ISSUER, aud: 'porchlight', sub, iat, exp: iat + 600, ...more };
  const text = `${part({ alg: 'EdDSA', kid: 'current' })}.${part(claims)}`;
  return `${text}.${sign(null, Buffer.from(text), current.privateKey).toString('base64url')}`;
}

async function begin({ options, ...more }: BenchOptions): Promise<Bench> {
  const made = bench({ ...more, options: { scopes, ...options } });
  running.push(made);
  await pass(0);
  return made;
}
const approvedBy = (sub: string, more: object = {}): Script =>
  new Script()
    .answer('/jwks', { keys: [jwk(current.publicKey, 'current')] })
    .answer('/token', () => ({ ...tokenAnswer, id_token: idToken(sub, more) }));
const revoked = ({ script }: Bench): (string | null)[] => script.at('/revoke').map(({ body }) => body.get('token'));
const ended = { ended: { reason: 'revoked', at: 1 }, access_token: undefined, refresh_token: undefined };

/** The person has approved, and the session has made up its mind about it. */
async function decided(made: Bench): Promise<void> {
  await pass(5_000);
  await until(() => made.session.status.code_expires_at === undefined && made.session.status.state !== 'pending');
}

describe('who approved', () => {
  it('is named by the verified id_token, stored and pinned', async () => {
    const made = await begin({ script: approvedBy('ada') });
    await decided(made);
    expect(made.session.status).toMatchObject({ state: 'authorized', subject: 'ada' });
    expect(Object(made.store.record).subject).toBe('ada');
    expect(JSON.stringify(made.store.record)).not.toContain('id_token');
  });

  it.each([
    ['the configured owner', {}, { owner: 'ada' }],
    ['the owner of a grant that is lost', ended, {}],
  ])('must be %s', async (_, record, more) => {
    const stored = Object.keys(record).length === 0 ? undefined : storedRecord(record);
    const made = await begin({ script: approvedBy('eve'), store: new Drawer(stored), options: more });
    const code = made.session.requestCode();
    await pass(0);
    await code;
    await decided(made);
    expect(made.session.status).toMatchObject({
      state: 'relink_needed',
      reason: 'owner_mismatch',
      problem: { code: 'approval_denied' },
    });
    expect(revoked(made)).toEqual(['refresh-1']);
    await expect(made.session.accessToken()).rejects.toMatchObject({ code: 'not_authorized' });
    expect(made.store.saved).toHaveLength(0);
    made.script.answer('/token', () => ({ ...tokenAnswer, id_token: idToken('ada') }));
    const again = made.session.requestCode();
    await pass(0);
    await again;
    await decided(made);
    expect(made.session.status).toMatchObject({ state: 'authorized', subject: 'ada' });
  });

  it('can not take over a grant that works', async () => {
    const made = await begin({ script: approvedBy('eve'), store: new Drawer(storedRecord()) });
    const code = made.session.requestCode();
    await pass(0);
    await code;
    await decided(made);
    await until(() => made.session.status.problem !== undefined);
    expect(made.session.status).toMatchObject({
      state: 'authorized',
      subject: 'ada',
      problem: { code: 'approval_denied' },
    });
    expect(await made.session.accessToken()).toBe('access-0');
    expect(revoked(made)).toEqual(['refresh-1']);
  });

  it('must be known where an owner is configured', async () => {
    const script = new Script().answer('/token', () => ({ ...tokenAnswer }));
    const made = await begin({ script, options: { owner: 'ada', scopes: ['profile'] } });
    await decided(made);
    expect(made.session.status).toMatchObject({ state: 'relink_needed', reason: 'owner_mismatch' });
    expect(revoked(made)).toEqual(['refresh-1']);
  });

  it('may be anybody after a logout', async () => {
    const made = await begin({ script: approvedBy('eve'), store: new Drawer(storedRecord()) });
    await made.session.revoke();
    const code = made.session.requestCode();
    await pass(0);
    await code;
    await decided(made);
    expect(made.session.status).toMatchObject({ state: 'authorized', subject: 'eve' });
  });

  it.each([
    ['issued by another server', { iss: 'https://other.example' }],
    ['for another client', { aud: 'other' }],
    ['expired', { exp: 1_600_000_000 }],
  ])('is not believed from an id_token that is %s, and nothing is used', async (_, more) => {
    const made = await begin({ script: approvedBy('ada', more) });
    await decided(made);
    expect(made.session.status).toMatchObject({ state: 'unauthorized', problem: { code: 'server_answer' } });
    expect(made.store.saved).toHaveLength(0);
    await pass(3_600_000);
    expect(made.script.at('/device/auth')).toHaveLength(1);
  });

  it('is found out even when the keys are out of reach for a while', async () => {
    const script = approvedBy('ada');
    script.answer('/jwks', new TypeError('fetch failed'), new TypeError('fetch failed'), {
      keys: [jwk(current.publicKey, 'current')],
    });
    const made = await begin({ script });
    await pass(5_000);
    expect(made.session.status).toMatchObject({ state: 'pending', problem: { code: 'server_unreachable' } });
    await pass(3_000);
    await until(() => made.session.status.state !== 'pending');
    expect(made.session.status).toMatchObject({ state: 'authorized', subject: 'ada' });
  });

  it('is verified with fresh keys after the server has changed them, fetched once more and not again and again', async () => {
    const script = approvedBy('ada');
    script.answer('/jwks', { keys: [jwk(old.publicKey, 'old')] });
    const made = await begin({ script });
    await decided(made);
    expect(made.session.status).toMatchObject({ state: 'unauthorized', problem: { code: 'server_answer' } });
    expect(script.at('/jwks')).toHaveLength(1);
    script.answer('/jwks', { keys: [jwk(current.publicKey, 'current')] });
    const code = made.session.requestCode();
    await pass(0);
    await code;
    await decided(made);
    expect(made.session.status.state).toBe('authorized');
  });

  it('can not change with a refresh', async () => {
    const made = await begin({ script: approvedBy('eve'), store: new Drawer(storedRecord()) });
    await made.session.renew();
    expect(made.session.status).toMatchObject({ state: 'relink_needed', reason: 'owner_mismatch', subject: 'ada' });
    expect(revoked(made)).toEqual(['refresh-1']);
  });

  it('stays known when the id_token of a refresh can not be verified: the rotated tokens are not thrown away', async () => {
    const script = approvedBy('ada').answer('/jwks', new TypeError('fetch failed'));
    const made = await begin({ script, store: new Drawer(storedRecord()) });
    await made.session.renew();
    expect(made.session.status).toMatchObject({ state: 'authorized', subject: 'ada' });
    expect(await made.session.accessToken()).toBe('access-1');
  });

  it('can not be found out where the server publishes no keys', async () => {
    const script = approvedBy('ada').answer('/.well-known/oauth-authorization-server', {
      ...metadata,
      jwks_uri: undefined,
    });
    const made = await begin({ script, options: { scopes: ['profile'] } });
    await decided(made);
    expect(made.session.status).toMatchObject({ state: 'unauthorized', problem: { code: 'server_answer' } });
  });
});
