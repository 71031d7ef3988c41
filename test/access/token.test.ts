import { beforeAll, describe, expect, test } from 'vitest';
import { PorchlightError } from '../../src/errors.ts';
import { RFC_9068 } from '../../src/token-profile.ts';
import {
  AUDIENCE,
  bench,
  codeOf,
  ISSUER,
  type Members,
  NOW,
  OWN_CLIENT,
  OWNER,
  PHONE,
  type Signer,
  signer,
  tokenOf,
  withAlgorithm,
} from './fixtures.ts';

let es: Signer;
let rs: Signer;
let ed: Signer;
beforeAll(async () => {
  [es, rs, ed] = await Promise.all([signer('ES256', 'es-1'), signer('RS256', 'rs-1'), signer('EdDSA', 'ed-1')]);
});

test('a good token of each key type names its principal', async () => {
  const { verifier, server } = bench([es, rs, ed]);
  for (const by of [es, rs, ed]) {
    const principal = await verifier.verify(await tokenOf(by), 'control');
    expect(principal).toEqual({
      by: 'owner',
      subject: OWNER,
      clientId: PHONE,
      scopes: ['openid', 'lights:control', 'lights:read'],
      expiresAt: (NOW + 300) * 1000,
      authorizationDetails: [],
    });
  }
  expect(server.requests).toBe(1);
});

test.each(['RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES384', 'ES512', 'Ed25519'])('%s is accepted', async (alg) => {
  const by = alg.startsWith('E') ? await signer(alg, 'k') : await withAlgorithm(rs, alg);
  const { verifier } = bench([by]);
  expect(await codeOf(verifier.verify(await tokenOf(by), 'control'))).toBe('accepted');
});

// One claim wrong at a time: [what, claims, code].
const CLAIMS: readonly [string, Members, string][] = [
  ['iss absent', { iss: undefined }, 'token_invalid'],
  ['iss of another server', { iss: 'https://evil.example' }, 'token_invalid'],
  ['iss with a slash more', { iss: `${ISSUER}/` }, 'token_invalid'],
  ['iss in capitals', { iss: ISSUER.toUpperCase() }, 'token_invalid'],
  ['iss with a look-alike letter', { iss: ISSUER.replace('a', '\u0430') }, 'token_invalid'],
  ['iss as array', { iss: [ISSUER] }, 'token_invalid'],
  ['aud absent', { aud: undefined }, 'token_audience'],
  ['aud null', { aud: null }, 'token_audience'],
  ['aud of another', { aud: 'https://other.example' }, 'token_audience'],
  ['aud empty', { aud: '' }, 'token_audience'],
  ['aud empty array', { aud: [] }, 'token_audience'],
  ['aud a prefix of ours', { aud: AUDIENCE.slice(0, -1) }, 'token_audience'],
  ['aud longer than ours', { aud: `${AUDIENCE}/` }, 'token_audience'],
  ['aud a list in a string', { aud: `${AUDIENCE} other` }, 'token_audience'],
  ['aud nested', { aud: [[AUDIENCE]] }, 'token_audience'],
  ['aud with something that is no string', { aud: [AUDIENCE, 5] }, 'token_audience'],
  ['aud array with extras', { aud: ['https://other.example', AUDIENCE] }, 'accepted'],
  ['exp absent', { exp: undefined }, 'token_invalid'],
  ['exp null', { exp: null }, 'token_invalid'],
  ['exp a string', { exp: String(NOW + 300) }, 'token_invalid'],
  ['exp a date', { exp: '2099-01-01T00:00:00Z' }, 'token_invalid'],
  ['exp true', { exp: true }, 'token_invalid'],
  ['exp beyond the calendar', { exp: 1e300 }, 'token_invalid'],
  ['exp negative', { exp: -1 }, 'token_invalid'],
  ['exp zero', { exp: 0 }, 'token_expired'],
  ['exp a second ago', { exp: NOW - 1 }, 'token_expired'],
  ['exp now', { exp: NOW }, 'token_expired'],
  ['exp with a fraction', { exp: NOW + 0.5 }, 'accepted'],
  ['iat absent', { iat: undefined }, 'token_invalid'],
  ['iat a string', { iat: String(NOW) }, 'token_invalid'],
  ['iat 10 s ahead', { iat: NOW + 10 }, 'accepted'],
  ['iat 60 s ahead', { iat: NOW + 60 }, 'accepted'],
  ['iat 61 s ahead', { iat: NOW + 61 }, 'token_invalid'],
  ['iat long ago', { iat: 0 }, 'accepted'],
  ['nbf 10 s ahead', { nbf: NOW + 10 }, 'accepted'],
  ['nbf 61 s ahead', { nbf: NOW + 61 }, 'token_invalid'],
  ['nbf a string', { nbf: '0' }, 'token_invalid'],
  ['sub absent', { sub: undefined }, 'token_invalid'],
  ['sub empty', { sub: '' }, 'token_invalid'],
  ['sub a number', { sub: 7 }, 'token_invalid'],
  ['sub of a stranger', { sub: 'stranger' }, 'principal_unknown'],
  ['sub the word owner', { sub: 'owner' }, 'principal_unknown'],
  ['sub the word local', { sub: 'local' }, 'principal_unknown'],
  ['sub in other case', { sub: OWNER.toUpperCase() }, 'principal_unknown'],
  ['sub with a look-alike letter', { sub: OWNER.replace('o', '\u043e') }, 'principal_unknown'],
  ['sub with an invisible letter', { sub: `${OWNER}\u200b` }, 'principal_unknown'],
  ['client_id absent', { client_id: undefined }, 'token_invalid'],
  ['client_id only as azp', { client_id: undefined, azp: PHONE }, 'token_invalid'],
  ['client_id empty', { client_id: '' }, 'token_invalid'],
  ['client_id an array', { client_id: [PHONE] }, 'token_invalid'],
  ['client_id our own', { client_id: OWN_CLIENT }, 'token_invalid'],
  ['client_id the owner, and nobody else', { client_id: OWNER, sub: 'stranger' }, 'principal_unknown'],
  ['a client speaking for itself under the name of the owner', { client_id: OWNER, sub: OWNER }, 'principal_unknown'],
  ['jti absent', { jti: undefined }, 'token_invalid'],
  ['jti a number', { jti: 1 }, 'token_invalid'],
  ['scope absent', { scope: undefined }, 'token_scope'],
  ['scope empty', { scope: '' }, 'token_scope'],
  ['scope of reading only', { scope: 'lights:read' }, 'token_scope'],
  ['scope that begins like ours', { scope: 'lights:controller' }, 'token_scope'],
  ['scope in capitals', { scope: 'LIGHTS:CONTROL' }, 'token_scope'],
  ['scopes parted by commas', { scope: 'lights:control,lights:read' }, 'token_scope'],
  ['scopes parted by a tab', { scope: 'openid\tlights:control' }, 'token_scope'],
  ['scope as array', { scope: ['lights:control'] }, 'token_invalid'],
  ['scope only as scp', { scope: undefined, scp: 'lights:control' }, 'token_scope'],
  // Its proof is the gate's affair.
  ['cnf with a DPoP key', { cnf: { jkt: 'AAAA' } }, 'accepted'],
  ['cnf with a certificate', { cnf: { 'x5t#S256': 'AAAA' } }, 'proof_missing'],
  ['cnf empty', { cnf: {} }, 'proof_missing'],
  ['cnf no object', { cnf: 'AAAA' }, 'token_invalid'],
  ['cnf null', { cnf: null }, 'token_invalid'],
  ['authorization_details of ours', { authorization_details: [{ type: 'porchlight', lights: ['hall'] }] }, 'accepted'],
  ['authorization_details of others', { authorization_details: [{ type: 'payment' }] }, 'accepted'],
  ['authorization_details without type', { authorization_details: [{}] }, 'token_invalid'],
  ['authorization_details with what is no object', { authorization_details: ['porchlight'] }, 'token_invalid'],
  ['authorization_details null', { authorization_details: null }, 'token_invalid'],
  ['authorization_details no array', { authorization_details: { type: 'porchlight' } }, 'token_invalid'],
  ['unknown claims', { groups: ['a'], nested: { a: { b: 1 } }, toString: 1 }, 'accepted'],
];

test.each(CLAIMS)('%s', async (_what, claims, code) => {
  const { verifier } = bench([es]);
  expect(await codeOf(verifier.verify(await tokenOf(es, claims), 'control'))).toBe(code);
});

const HEADERS: readonly [string, Members, string][] = [
  ['typ absent', { typ: undefined }, 'token_invalid'],
  ['typ of an ID token', { typ: 'JWT' }, 'token_invalid'],
  ['typ of a logout token', { typ: 'logout+jwt' }, 'token_invalid'],
  ['typ of a command proof', { typ: 'porchlight-command+jwt' }, 'token_invalid'],
  ['typ a number', { typ: 5 }, 'token_invalid'],
  ['typ an array', { typ: ['at+jwt'] }, 'token_invalid'],
  ['typ with a space', { typ: 'at+jwt ' }, 'token_invalid'],
  ['typ with application/ twice', { typ: 'application/application/at+jwt' }, 'token_invalid'],
  ['typ in full', { typ: 'application/at+jwt' }, 'accepted'],
  ['typ in capitals', { typ: 'AT+JWT' }, 'accepted'],
  ['kid a number', { kid: 1 }, 'token_invalid'],
  ['kid null', { kid: null }, 'token_invalid'],
  ['kid unknown', { kid: 'other' }, 'token_invalid'],
  ['kid empty', { kid: '' }, 'token_invalid'],
  ['kid a path', { kid: '../../../../dev/null' }, 'token_invalid'],
  ['kid an SQL injection', { kid: "es-1' OR '1'='1" }, 'token_invalid'],
  ['kid a member of every object', { kid: '__proto__' }, 'token_invalid'],
  ['kid very long', { kid: 'k'.repeat(10_000) }, 'token_invalid'],
  ['kid absent, one key', { kid: undefined }, 'accepted'],
  ['jku of a stranger', { jku: 'https://evil.example/jwks' }, 'accepted'],
  ['x5u of a stranger', { x5u: 'https://evil.example/cert' }, 'accepted'],
];

test.each(HEADERS)('%s', async (_what, header, code) => {
  const { verifier, server } = bench([es]);
  expect(await codeOf(verifier.verify(await tokenOf(es, {}, header), 'control'))).toBe(code);
  expect(server.requests).toBeLessThanOrEqual(1);
});

test('a token without kid is tried with every key that fits its algorithm', async () => {
  const second = await signer('ES256', 'es-2');
  const { verifier } = bench([es, rs, second]);
  expect(await codeOf(verifier.verify(await tokenOf(second, {}, { kid: undefined }), 'control'))).toBe('accepted');
  const stranger = await signer('ES256', 'es-3');
  expect(await codeOf(verifier.verify(await tokenOf(stranger, {}, { kid: undefined }), 'control'))).toBe(
    'token_invalid',
  );
});

describe('who may command', () => {
  const verify = async (options: Parameters<typeof bench>[1], claims: Members = {}): Promise<string> => {
    const { verifier } = bench([es], options);
    try {
      return (await verifier.verify(await tokenOf(es, claims), 'control')).by;
    } catch (thrown) {
      return thrown instanceof PorchlightError ? thrown.code : 'stranger';
    }
  };

  test('subjects and clients are named as the configuration names them', async () => {
    expect(await verify({ principals: ['alice'] }, { sub: 'alice' })).toBe('alice');
    expect(await verify({ principals: [PHONE] }, { sub: 'anyone' })).toBe(PHONE);
    expect(await verify({ principals: ['alice', PHONE] }, { sub: 'alice' })).toBe('alice');
    expect(await verify({ principals: ['service'] }, { sub: 'service', client_id: 'service' })).toBe('service');
  });

  test('the owner needs the word', async () => {
    expect(await verify({ principals: [] })).toBe('principal_unknown');
    expect(await verify({ principals: ['alice'] })).toBe('principal_unknown');
  });

  test('while the owner is not known, nobody is the owner', async () => {
    expect(await verify({ owner: () => undefined })).toBe('principal_unknown');
    expect(await verify({ owner: () => undefined }, { sub: 'undefined' })).toBe('principal_unknown');
  });

  test('our own client is refused even where the configuration lists it', async () => {
    expect(await verify({ principals: [OWN_CLIENT, 'owner'] }, { client_id: OWN_CLIENT })).toBe('token_invalid');
  });
});

describe('the gateway itself', () => {
  test('without audience every token is refused, naming the key to set', async () => {
    const { verifier, server } = bench([es], { audience: undefined });
    const refusal = await verifier.verify(await tokenOf(es, { aud: undefined }), 'control').catch((error) => error);
    expect(refusal).toMatchObject({ code: 'token_audience', hint: expect.stringContaining('access.audience') });
    expect(server.requests).toBe(0);
  });

  test('not authorized, no clock, no token: each has its own code', async () => {
    const token = await tokenOf(es);
    expect(await codeOf(bench([es], { authorized: () => false }).verifier.verify(token, 'control'))).toBe(
      'not_authorized',
    );
    expect(await codeOf(bench([es], { clockTrusted: () => false }).verifier.verify(token, 'control'))).toBe(
      'clock_untrusted',
    );
    expect(await codeOf(bench([es]).verifier.verify(undefined, 'control'))).toBe('token_missing');
    expect(await codeOf(bench([es]).verifier.verify('', 'control'))).toBe('token_missing');
  });

  test('reading needs the scope that reads', async () => {
    const { verifier } = bench([es]);
    const reading = await tokenOf(es, { scope: 'lights:read' });
    expect(await codeOf(verifier.verify(reading, 'read'))).toBe('accepted');
    expect(await codeOf(verifier.verify(reading, 'control'))).toBe('token_scope');
    const controlling = await tokenOf(es, { scope: 'lights:control' });
    expect(await codeOf(verifier.verify(controlling, 'read'))).toBe('token_scope');
  });
});

test('what changed while the keys were being fetched counts', async () => {
  const states = { authorized: true, clockTrusted: true };
  const changes = { not_authorized: { authorized: false }, clock_untrusted: { clockTrusted: false } };
  for (const [code, change] of Object.entries(changes)) {
    const state = { ...states };
    const { verifier, server } = bench([es], {
      authorized: () => state.authorized,
      clockTrusted: () => state.clockTrusted,
    });
    server.respond = () => {
      Object.assign(state, change);
      return Response.json({ keys: server.keys });
    };
    expect(await codeOf(verifier.verify(await tokenOf(es), 'control'))).toBe(code);
  }
});

test('a token that expires while the keys are being fetched has expired', async () => {
  const { verifier, server, clock } = bench([es]);
  server.respond = () => {
    clock.advance(5_000);
    return Response.json({ keys: server.keys });
  };
  expect(await codeOf(verifier.verify(await tokenOf(es, { exp: NOW + 4 }), 'control'))).toBe('token_expired');
});

describe('verified tokens are remembered', () => {
  test('the signature only: expiry is judged for each command', async () => {
    const { verifier, clock, server } = bench([es]);
    const token = await tokenOf(es);
    expect(await codeOf(verifier.verify(token, 'control'))).toBe('accepted');
    clock.advance(299_999);
    expect(await codeOf(verifier.verify(token, 'control'))).toBe('accepted');
    clock.advance(1);
    expect(await codeOf(verifier.verify(token, 'control'))).toBe('token_expired');
    expect(server.requests).toBe(1);
  });

  test('owner, authorization and clock are asked for each command', async () => {
    let owner: string | undefined = OWNER;
    let authorized = true;
    let clockTrusted = true;
    const { verifier, clock } = bench([es], {
      owner: () => owner,
      authorized: () => authorized,
      clockTrusted: () => clockTrusted,
    });
    const token = await tokenOf(es);
    expect(await codeOf(verifier.verify(token, 'control'))).toBe('accepted');
    owner = 'someone-else';
    expect(await codeOf(verifier.verify(token, 'control'))).toBe('principal_unknown');
    owner = OWNER;
    authorized = false;
    expect(await codeOf(verifier.verify(token, 'control'))).toBe('not_authorized');
    authorized = true;
    clockTrusted = false;
    expect(await codeOf(verifier.verify(token, 'control'))).toBe('clock_untrusted');
    clockTrusted = true;
    clock.epoch -= 3_600_000;
    expect(await codeOf(verifier.verify(token, 'control'))).toBe('token_invalid');
    clock.epoch += 3_600_000;
    expect(await codeOf(verifier.verify(token, 'control'))).toBe('accepted');
  });

  test('at most a thousand of them', async () => {
    const { verifier } = bench([ed]);
    const one = async (n: number): Promise<unknown> =>
      await verifier.verify(await tokenOf(ed, { jti: `token-${n}` }), 'control');
    for (let n = 0; n < 1010; n += 101) await Promise.all(Array.from({ length: 101 }, (_, more) => one(n + more)));
    expect(verifier.remembered).toBe(1000);
  });

  test('refused tokens are not', async () => {
    const { verifier } = bench([es]);
    const stranger = await signer('ES256', 'es-1');
    for (let n = 0; n < 5; n += 1) {
      expect(await codeOf(verifier.verify(await tokenOf(stranger, { jti: `${n}` }), 'control'))).toBe('token_invalid');
    }
    expect(verifier.remembered).toBe(0);
  });

  test('recalling one takes microseconds', async () => {
    const { verifier } = bench([rs]);
    const token = await tokenOf(rs);
    for (let n = 0; n < 2000; n += 1) await verifier.verify(token, 'control');
    const samples: number[] = [];
    for (let n = 0; n < 2000; n += 1) {
      const start = performance.now();
      await verifier.verify(token, 'control');
      samples.push(performance.now() - start);
    }
    samples.sort((a, b) => a - b);
    // 2-5 us where nothing else runs; the bound leaves room for a busy machine, and is a tenth of a signature check.
    expect(samples[1000]).toBeLessThan(0.02);
  });
});

test('a hundred commands with one new token at once cost one signature check', async () => {
  const { verifier, server } = bench([es]);
  const token = await tokenOf(es);
  const principals = await Promise.all(Array.from({ length: 100 }, () => verifier.verify(token, 'control')));
  expect(new Set(principals.map(({ by }) => by))).toEqual(new Set(['owner']));
  expect(server.requests).toBe(1);
  expect(verifier.remembered).toBe(1);
});

test('a flood of forged tokens is held back while a known one goes on', async () => {
  const { verifier } = bench([es]);
  const good = await tokenOf(es);
  await verifier.verify(good, 'control');
  const body = good.slice(0, good.lastIndexOf('.'));
  const forged = Array.from({ length: 1000 }, (_, n) => {
    const signature = Buffer.alloc(64, 1);
    signature.writeUInt32BE(n, 0);
    return `${body}.${signature.toString('base64url')}`;
  });
  const flood = forged.map((token) => verifier.verify(token, 'control').catch((error: Error) => error.message));
  expect(await codeOf(verifier.verify(good, 'control'))).toBe('accepted');
  const reasons = await Promise.all(flood);
  // 4 are under way and 256 wait; nobody else gets as far as a signature check.
  expect(reasons.filter((reason) => reason === 'The signature of the token is wrong.')).toHaveLength(260);
  expect(reasons.filter((reason) => reason === 'Too many tokens are being verified.')).toHaveLength(740);
  expect(await codeOf(verifier.verify(await tokenOf(es, { jti: 'after' }), 'control'))).toBe('accepted');
});

test('a dialect may loosen the type, the scope and the client claim, and nothing else', async () => {
  const profile = {
    ...RFC_9068,
    types: ['jwt'],
    scopeClaims: ['scp'],
    scopeArrays: true,
    clientClaims: ['azp'],
    optional: ['jti'] as const,
  };
  const { verifier } = bench([es], { profile });
  const claims = { jti: undefined, scope: undefined, scp: ['lights:control'], client_id: undefined, azp: PHONE };
  const header = { typ: 'JWT' };
  expect(await codeOf(verifier.verify(await tokenOf(es, claims, header), 'control'))).toBe('accepted');
  expect(await codeOf(verifier.verify(await tokenOf(es, { ...claims, azp: OWN_CLIENT }, header), 'control'))).toBe(
    'token_invalid',
  );
  expect(await codeOf(verifier.verify(await tokenOf(es, { ...claims, aud: undefined }, header), 'control'))).toBe(
    'token_audience',
  );
  expect(await codeOf(verifier.verify(await tokenOf(es, { ...claims, scp: [5] }, header), 'control'))).toBe(
    'token_invalid',
  );
});
