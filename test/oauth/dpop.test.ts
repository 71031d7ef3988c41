import { EmbeddedJWK, jwtVerify } from 'jose';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { challengedError } from '../../src/oauth/challenge.ts';
import { DpopKey, Nonces } from '../../src/oauth/dpop.ts';
import type { AuthorizationOptions } from '../../src/oauth/options.ts';
import {
  type Asked,
  type Bench,
  bench,
  clock,
  Drawer,
  error,
  freezeTime,
  ISSUER,
  metadata,
  pass,
  Script,
  storedRecord,
  tokenAnswer,
  until,
} from './script.ts';

const dpopMetadata = {
  ...metadata,
  userinfo_endpoint: `${ISSUER}/me`,
  dpop_signing_alg_values_supported: ['RS256', 'ES256'],
};
const bound = { ...tokenAnswer, token_type: 'DPoP' };
const signal = new AbortController().signal;

/** What RFC 9449 section 4.3 has a server check of the form of a proof. */
async function checked(proof: string): Promise<{ claims: Record<string, unknown>; jwk: Record<string, unknown> }> {
  const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, {
    typ: 'dpop+jwt',
    algorithms: ['ES256'],
    currentDate: new Date(),
  });
  return { claims: payload, jwk: { ...protectedHeader.jwk } };
}

const proofOf = (asked: Asked | undefined): string => asked?.headers.get('dpop') ?? '';

describe('a proof (RFC 9449 section 4.2)', () => {
  it('names method and address without query and fragment, a time, a fresh jti, and the public key alone', async () => {
    const key = await DpopKey.generate();
    const request = { method: 'POST', url: 'https://auth.example.com:8443/a/token?x=1#y' } as const;
    const { claims, jwk } = await checked(await key.prove(request, clock));
    expect(claims).toEqual({
      htm: 'POST',
      htu: 'https://auth.example.com:8443/a/token',
      iat: expect.any(Number),
      jti: expect.stringMatching(/^.{16,}$/),
    });
    expect(Math.abs(Number(claims['iat']) - Date.now() / 1000)).toBeLessThan(2);
    expect(Object.keys(jwk).sort()).toEqual(['crv', 'kty', 'x', 'y']);
    expect(jwk).toMatchObject({ kty: 'EC', crv: 'P-256' });
    const proofs = await Promise.all(Array.from({ length: 50 }, () => key.prove(request, clock)));
    const jtis = await Promise.all(proofs.map(async (proof) => (await checked(proof)).claims['jti']));
    expect(new Set(jtis).size).toBe(50);
  });

  it('carries the hash of the access token at a resource: the example of RFC 9449 section 7.1', async () => {
    const key = await DpopKey.generate();
    const proof = await key.prove({ method: 'GET', url: 'https://resource.example.org/protectedresource' }, clock, {
      accessToken: 'Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU',
    });
    expect((await checked(proof)).claims).toMatchObject({
      ath: 'fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo',
      htm: 'GET',
      htu: 'https://resource.example.org/protectedresource',
    });
  });

  it('is signed by the same key after it was stored', async () => {
    const key = await DpopKey.generate();
    const again = DpopKey.from(JSON.parse(JSON.stringify(key.jwk)));
    const request = { method: 'GET', url: 'https://a.example/' } as const;
    const [one, other] = [
      await checked(await key.prove(request, clock)),
      await checked(await again.prove(request, clock)),
    ];
    expect(other.jwk).toEqual(one.jwk);
  });

  it.each([
    ['nothing', {}],
    ['a text', 'key'],
    ['an RSA key', { kty: 'RSA', n: 'AQAB', e: 'AQAB', d: 'AQAB' }],
    [
      'a public key',
      {
        kty: 'EC',
        crv: 'P-256',
        x: 'l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs',
        y: '9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA',
      },
    ],
    ['a point off the curve', { kty: 'EC', crv: 'P-256', x: 'AAAA', y: 'AAAA', d: 'AAAA' }],
  ])('does not take %s for a stored key', (_, stored) => {
    expect(() => DpopKey.from(stored)).toThrow(expect.objectContaining({ code: 'state_unusable' }));
  });
});

describe('nonces', () => {
  it('are kept for each origin, the newest counts, and nonsense is not taken up', () => {
    const nonces = new Nonces();
    nonces.learn('https://a.example/token', 'one');
    nonces.learn('https://b.example/token', 'two');
    nonces.learn('https://a.example/other', 'three');
    for (const odd of [null, '', 'with space', 'quote"d', 'back\\slash', 'ü', 'x'.repeat(513)])
      nonces.learn('https://a.example/', odd);
    expect(nonces.for('https://a.example/me')).toBe('three');
    expect(nonces.for('https://b.example/')).toBe('two');
    expect(nonces.for('https://a.example:8443/')).toBeUndefined();
  });

  it('are kept for a bounded number of origins', () => {
    const nonces = new Nonces();
    for (let count = 0; count < 100; count += 1) nonces.learn(`https://h${count}.example/`, 'n');
    expect(nonces.for('https://h0.example/')).toBeUndefined();
    expect(nonces.for('https://h99.example/')).toBe('n');
  });
});

describe('the error of a WWW-Authenticate header', () => {
  it.each([
    ['DPoP error="use_dpop_nonce", error_description="nonce needed"', 'use_dpop_nonce'],
    ['Bearer realm="a, error=\\"x\\"", error="invalid_token"', 'invalid_token'],
    ['Bearer error=insufficient_scope', 'insufficient_scope'],
    ['Bearer error_description="error=invalid_token"', undefined],
    ['Bearer realm="x"', undefined],
    ['Basic', undefined],
  ])('%s', (header, found) => {
    expect(challengedError(new Headers({ 'www-authenticate': header }))).toBe(found);
  });
});

describe('DPoP in the device flow', () => {
  let made: Bench;
  beforeEach(freezeTime);
  afterEach(async () => {
    await made?.stop();
    vi.useRealTimers();
  });

  const start = async (script: Script, dpop: AuthorizationOptions['dpop'] = 'auto'): Promise<void> => {
    made = bench({ script, options: { dpop } });
    await until(() => made.shown.length > 0);
  };
  const polled = (count: number): Promise<void> => until(() => made.script.at('/token').length >= count);
  const script = (): Script => new Script().answer('/.well-known/oauth-authorization-server', dpopMetadata);
  const nonceWanted =
    (nonce: string, status = 400): (() => Response) =>
    () =>
      Response.json({ error: 'use_dpop_nonce' }, { status, headers: { 'dpop-nonce': nonce } });

  it('asks again at once with the nonce, and once only; the next request brings the newest nonce by itself', async () => {
    await start(
      script().answer(
        '/token',
        nonceWanted('n1'),
        () => Response.json({ error: 'authorization_pending' }, { status: 400, headers: { 'dpop-nonce': 'n2' } }),
        bound,
      ),
    );
    await pass(5_000);
    await polled(2);
    expect(made.script.at('/token')).toHaveLength(2);
    await pass(5_000);
    await until(() => made.session.status.state === 'authorized');
    const proofs = await Promise.all(made.script.at('/token').map((asked) => checked(proofOf(asked))));
    expect(proofs.map(({ claims }) => claims['nonce'])).toEqual([undefined, 'n1', 'n2']);
    expect(new Set(proofs.map(({ claims }) => claims['jti'])).size).toBe(3);
    expect(new Set(proofs.map(({ jwk }) => jwk['x'])).size).toBe(1);
    expect(proofs.every(({ claims }) => claims['htu'] === `${ISSUER}/token` && claims['htm'] === 'POST')).toBe(true);
    expect(made.store.saved[0]).toMatchObject({ token_type: 'DPoP', dpop_key: { kty: 'EC', crv: 'P-256' } });
    expect(made.store.saved[0]?.dpop_key?.['x']).toBe(proofs[0]?.jwk['x']);
  });

  it('never loops: a server that wants one nonce after the other is asked twice a poll, and the flow goes on', async () => {
    let count = 0;
    const insatiable = (): Response => {
      count += 1;
      return nonceWanted(`n${count}`)();
    };
    await start(script().answer('/token', ...Array.from({ length: 4 }, () => insatiable), bound));
    await pass(5_000);
    await polled(2);
    await until(() => made.session.status.problem !== undefined);
    expect(made.script.at('/token')).toHaveLength(2);
    expect(made.session.status).toMatchObject({ state: 'pending', problem: { code: 'server_answer' } });
    await pass(40_000);
    await polled(4);
    await pass(80_000);
    await until(() => made.session.status.state === 'authorized');
    expect(made.script.at('/token')).toHaveLength(5);
  });

  it('does not ask again when the refusal brought no other nonce', async () => {
    await start(script().answer('/token', () => error('use_dpop_nonce')));
    await pass(5_000);
    await polled(1);
    await pass(1);
    expect(made.script.at('/token')).toHaveLength(1);
    expect(made.session.status.state).toBe('pending');
  });

  it('says that it may be the clock when a proof is refused, and goes on', async () => {
    await start(script().answer('/token', () => error('invalid_dpop_proof'), bound));
    await pass(5_000);
    await until(() => made.session.status.problem !== undefined);
    expect(made.session.status).toMatchObject({ state: 'pending', problem: { code: 'server_refused' } });
    expect(made.session.status.problem?.hint).toContain('clock');
    await pass(10_000);
    await until(() => made.session.status.state === 'authorized');
  });

  it.each([
    ['says nothing of DPoP', metadata],
    ['knows only other algorithms', { ...dpopMetadata, dpop_signing_alg_values_supported: ['RS256', 'EdDSA'] }],
    ['says it in a wrong type', { ...dpopMetadata, dpop_signing_alg_values_supported: 'ES256' }],
  ])('sends no proof to a server that %s, and takes no bound token from it', async (_, published) => {
    const odd = new Script().answer('/.well-known/oauth-authorization-server', published).answer('/token', bound);
    await start(odd);
    await pass(5_000);
    // The approval is spent, and another would end the same: a person is told, and not asked again.
    await until(() => made.session.status.problem?.code === 'server_refused');
    expect(made.script.at('/device/auth')).toHaveLength(1);
    expect(proofOf(made.script.at('/token')[0])).toBe('');
    expect(made.store.saved).toEqual([]);
    expect(made.lines.join('')).toContain('bound to a key (DPoP)');
  });

  it('takes DPoP in any case, and refuses token types that it does not know', async () => {
    await start(script().answer('/token', { ...bound, token_type: 'dPoP' }));
    await pass(5_000);
    await until(() => made.session.status.state === 'authorized');
    expect(made.store.saved[0]?.token_type).toBe('DPoP');
    await made.stop();
    await start(script().answer('/token', { ...bound, token_type: 'mac' }));
    await pass(5_000);
    await until(() => made.session.status.problem?.code === 'server_refused');
    expect(made.store.saved).toEqual([]);
  });

  it('where a bearer token comes all the same, the key stays for the refresh token alone (section 5)', async () => {
    await start(
      script()
        .answer('/token', tokenAnswer, { ...tokenAnswer, access_token: 'access-2', refresh_token: 'refresh-2' })
        .answer('/me', { sub: 'ada' }),
    );
    await pass(5_000);
    await until(() => made.session.status.state === 'authorized');
    await made.session.renew();
    const [redeemed, refreshed] = await Promise.all(made.script.at('/token').map((asked) => checked(proofOf(asked))));
    expect(refreshed?.jwk).toEqual(redeemed?.jwk);
    await made.session.resource('userinfo', `${ISSUER}/me`, signal);
    const [info] = made.script.at('/me');
    expect(info?.headers.get('authorization')).toBe('Bearer access-2');
    expect(info?.headers.get('dpop')).toBeNull();
  });

  it('where it is required, gives a bearer token back and stores nothing', async () => {
    await start(script().answer('/token', tokenAnswer), 'required');
    await pass(5_000);
    await until(() => made.session.status.state === 'unauthorized');
    expect(made.script.at('/revoke').map(({ body }) => body.get('token'))).toEqual(['refresh-1', 'access-1']);
    expect(made.session.status).toMatchObject({ state: 'unauthorized', problem: { code: 'server_refused' } });
    expect(made.store.saved).toEqual([]);
  });
});

describe('a resource', () => {
  let made: Bench;
  beforeEach(freezeTime);
  afterEach(async () => {
    await made?.stop();
    vi.useRealTimers();
  });

  async function authorized(script: Script, record: object = {}): Promise<void> {
    made = bench({ script, store: new Drawer(storedRecord(record)) });
    await until(() => made.session.status.state === 'authorized');
  }
  const challenge =
    (text: string, more: Record<string, string> = {}): (() => Response) =>
    () =>
      new Response('', { status: 401, headers: { 'www-authenticate': text, ...more } });
  const ask = (url = `${ISSUER}/me?fields=all`): ReturnType<typeof made.session.resource> =>
    made.session.resource('userinfo', url, signal);

  it('sees a bound token with a proof, and gets the nonce that it asks for', async () => {
    const { jwk } = await DpopKey.generate();
    const script = new Script().answer('/me', challenge('DPoP error="use_dpop_nonce"', { 'dpop-nonce': 'r1' }), {
      sub: 'ada',
    });
    await authorized(script, { token_type: 'DPoP', dpop_key: jwk });
    expect(await ask()).toEqual({ kind: 'answered', value: { sub: 'ada' } });
    const asked = made.script.at('/me');
    expect(asked.map(({ headers }) => headers.get('authorization'))).toEqual(['DPoP access-0', 'DPoP access-0']);
    const proofs = await Promise.all(asked.map((one) => checked(proofOf(one))));
    expect(proofs.map(({ claims }) => claims['nonce'])).toEqual([undefined, 'r1']);
    expect(proofs[0]?.claims).toMatchObject({ htm: 'GET', htu: `${ISSUER}/me`, ath: expect.any(String) });
    expect(proofs[0]?.jwk['x']).toBe(jwk.x);
    expect(made.script.at('/token')).toHaveLength(0);
  });

  it('that does not take the token any more gets a new one, once', async () => {
    const script = new Script()
      .answer('/me', challenge('Bearer error="invalid_token"'), { sub: 'ada' })
      .answer('/token', { ...tokenAnswer, access_token: 'access-new' });
    await authorized(script);
    expect(await ask()).toEqual({ kind: 'answered', value: { sub: 'ada' } });
    expect(made.script.at('/me').map(({ headers }) => headers.get('authorization'))).toEqual([
      'Bearer access-0',
      'Bearer access-new',
    ]);
    expect(made.script.at('/token')).toHaveLength(1);
  });

  it.each([
    ['an empty 401', () => new Response(null, { status: 401 })],
    ['a 401 with a page', () => new Response('<h1>no</h1>', { status: 401 })],
    ['invalid_token in the body', () => error('invalid_token', 401)],
  ])('that never takes it (%s) is asked twice, and the answer is its refusal', async (_, turn) => {
    const script = new Script().answer('/me', turn).answer('/token', { ...tokenAnswer, access_token: 'access-new' });
    await authorized(script);
    expect(await ask()).toMatchObject({ kind: 'refused', error: 'invalid_token', status: 401 });
    expect(made.script.at('/me')).toHaveLength(2);
    expect(made.script.at('/token')).toHaveLength(1);
  });

  it.each([
    ['insufficient_scope', 403, 'refused'],
    ['server trouble', 503, 'fault'],
    ['a redirect', 302, 'fault'],
    ['a page', 200, 'fault'],
  ])('answers %s without a renewal', async (what, status, kind) => {
    const headers = { 'www-authenticate': `Bearer error="${what}"`, location: 'https://evil.example/' };
    await authorized(new Script().answer('/me', () => new Response('<html>', { status, headers })));
    expect((await ask()).kind).toBe(kind);
    expect(made.script.at('/token')).toHaveLength(0);
    expect(made.script.asked.every(({ path }) => path === '/me')).toBe(true);
  });

  it.each([
    'http://auth.example.com/me',
    'http://127.0.0.1/me',
    'https://user@auth.example.com/me',
    'ftp://auth.example.com/me',
    'javascript:alert(1)',
    '/me',
    '',
  ])('at %j gets no token', async (url) => {
    await authorized(new Script());
    expect(await ask(url)).toMatchObject({ kind: 'nonsense', problem: { code: 'server_answer' } });
    expect(made.script.asked).toHaveLength(0);
  });

  it('gets nothing while there is no token to show', async () => {
    made = bench();
    await until(() => made.shown.length > 0);
    await expect(ask()).rejects.toMatchObject({ code: 'not_authorized' });
  });

  it('gets nothing when the stored key is damaged, in words', async () => {
    await authorized(new Script(), { token_type: 'DPoP', dpop_key: { kty: 'EC' } });
    await expect(ask()).rejects.toMatchObject({ code: 'state_unusable', hint: expect.stringContaining('login') });
  });
});
