import { CompactEncrypt, importSPKI } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import { NO_JWT } from '../../src/token-profile.ts';
import {
  AUDIENCE,
  bench,
  codeOf,
  goodClaims,
  ISSUER,
  type Members,
  NOW,
  OWN_CLIENT,
  type Signer,
  signer,
  signText,
  tokenOf,
  withAlgorithm,
} from './fixtures.ts';

// RFC 8725 (JSON Web Token Best Current Practices), section 3, point by point, and RFC 9068 section 4. What each demands is tried
// on the real verifier; the long tables of hostile tokens are in token.test.ts and forged.test.ts.

let es: Signer;
let rs: Signer;
let stranger: Signer;
beforeAll(async () => {
  [es, rs, stranger] = await Promise.all([signer('ES256', 'es-1'), signer('RS256', 'rs-1'), signer('ES256', 'es-1')]);
});

const verify = (token: string, signers: readonly Signer[] = [es, rs]): Promise<string> =>
  codeOf(bench(signers).verifier.verify(token, 'control'));
const json = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const withClaims = async (claims: Members): Promise<string> => await verify(await tokenOf(es, claims));

describe('RFC 8725', () => {
  test('section 3.1, perform algorithm verification: only allowed ones, and only the one that the key is for', async () => {
    const [, payload, signature] = (await tokenOf(rs)).split('.');
    for (const alg of ['none', 'HS256', 'RS512', 'PS256', 'ES256']) {
      expect(await verify(`${json({ alg, typ: 'at+jwt', kid: 'rs-1' })}.${payload}.${signature}`)).toBe(
        'token_invalid',
      );
    }
    expect(await verify(await tokenOf(rs))).toBe('accepted');
  });

  test('section 3.2, use appropriate algorithms: asymmetric ones, and never none', async () => {
    for (const alg of ['none', 'HS256', 'HS384', 'HS512', 'RSA1_5', 'ES256K', 'RS1']) {
      const head = json({ alg, typ: 'at+jwt', kid: 'es-1' });
      for (const signature of ['', 'AAAA'])
        expect(await verify(`${head}.${json(goodClaims())}.${signature}`)).toBe('token_invalid');
    }
    for (const by of [es, rs, await withAlgorithm(rs, 'PS256'), await signer('EdDSA', 'ed-1')]) {
      expect(await verify(await tokenOf(by), [by])).toBe('accepted');
    }
  });

  test('section 3.3, validate all cryptographic operations: one that fails refuses the whole token', async () => {
    const inner = await tokenOf(es);
    const nested = await signText(stranger, '{"alg":"ES256","typ":"at+jwt","kid":"es-1","cty":"JWT"}', inner);
    expect(await verify(nested)).toBe('token_invalid');
    expect(await verify(await signText(es, '{"alg":"ES256","typ":"at+jwt","kid":"es-1","cty":"JWT"}', inner))).toBe(
      'token_invalid',
    );
    expect(await verify(await tokenOf(stranger))).toBe('token_invalid');
  });

  test('section 3.4, validate cryptographic inputs: a point that is not on the curve is no key', async () => {
    const { verifier, server } = bench([]);
    server.keys = [{ ...es.jwk, y: es.jwk.x }];
    expect(await codeOf(verifier.verify(await tokenOf(es), 'control'))).toBe('token_invalid');
  });

  test('section 3.5, ensure cryptographic keys have sufficient entropy: symmetric keys and short RSA keys are not used', async () => {
    const { verifier, server } = bench([]);
    server.keys = [
      { kty: 'oct', k: json('password'), kid: 'es-1', alg: 'ES256' },
      { kty: 'RSA', n: 'AQAB', e: 'AQAB', kid: 'es-1' },
    ];
    expect(await codeOf(verifier.verify(await tokenOf(es), 'control'))).toBe('token_invalid');
  });

  test('section 3.6, avoid compression of encryption inputs: encrypted tokens are not read at all', async () => {
    const key = await importSPKI(rs.pem, 'RSA-OAEP-256');
    const jwe = await new CompactEncrypt(Buffer.from(await tokenOf(es)))
      .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM' })
      .encrypt(key);
    expect(await verify(jwe)).toBe('token_invalid');
  });

  test('section 3.7, use UTF-8: other bytes are refused', async () => {
    const text = JSON.stringify({ ...goodClaims(), note: '#' });
    const header = '{"alg":"ES256","typ":"at+jwt","kid":"es-1"}';
    const bytes = Buffer.from(text);
    bytes[text.indexOf('#')] = 0xff;
    expect(await verify(await signText(es, header, bytes))).toBe('token_invalid');
    expect(await verify(await signText(es, header, Buffer.from(text, 'utf16le')))).toBe('token_invalid');
    expect(await verify(await signText(es, header, text.replace('#', '\u00e4\u{1f4a1}')))).toBe('accepted');
  });

  test('section 3.8, validate issuer and subject', async () => {
    for (const iss of [undefined, 'https://evil.example', `${ISSUER}/`, ISSUER.toUpperCase()]) {
      expect(await withClaims({ iss })).toBe('token_invalid');
    }
    expect(await withClaims({ sub: undefined })).toBe('token_invalid');
    expect(await withClaims({ sub: 'stranger' })).toBe('principal_unknown');
  });

  test('section 3.9, use and validate audience', async () => {
    for (const aud of [
      undefined,
      'https://other.example',
      [],
      ['https://other.example'],
      `${AUDIENCE}/`,
      { 0: AUDIENCE },
    ]) {
      expect(await withClaims({ aud })).toBe('token_audience');
    }
    expect(await withClaims({ aud: ['https://other.example', AUDIENCE] })).toBe('accepted');
  });

  test('section 3.10, do not trust received claims: a key or an address in the header is not followed, a kid is only compared', async () => {
    const { verifier, server } = bench([es]);
    const brought = {
      jwk: stranger.jwk,
      jku: 'https://evil.example/jwks',
      x5u: 'https://evil.example/cert',
      x5c: ['MIIB'],
    };
    expect(await codeOf(verifier.verify(await tokenOf(stranger, {}, brought), 'control'))).toBe('token_invalid');
    for (const kid of ["' OR 1=1 --", '../../etc/passwd', '__proto__', '(&(uid=*))']) {
      expect(await codeOf(verifier.verify(await tokenOf(stranger, {}, { kid }), 'control'))).toBe('token_invalid');
    }
    expect(server.requests).toBe(1);
  });

  test('section 3.11, use explicit typing', async () => {
    for (const typ of [undefined, 'JWT', 'logout+jwt', 'porchlight-command+jwt', 'dpop+jwt']) {
      expect(await verify(await tokenOf(es, {}, { typ }))).toBe('token_invalid');
    }
    for (const typ of ['at+jwt', 'application/at+jwt', 'AT+JWT'])
      expect(await verify(await tokenOf(es, {}, { typ }))).toBe('accepted');
  });

  test('section 3.12, mutually exclusive rules for different kinds: an id_token commands nothing, whatever its header says', async () => {
    const idToken = { aud: OWN_CLIENT, nonce: 'n', client_id: undefined, scope: undefined, jti: undefined };
    for (const typ of ['JWT', 'at+jwt']) expect(await verify(await tokenOf(es, idToken, { typ }))).not.toBe('accepted');
    const none = bench([es], { profile: NO_JWT }).verifier;
    expect(await codeOf(none.verify(await tokenOf(es), 'control'))).toBe('token_invalid');
  });
});

describe('RFC 9068 section 4', () => {
  test('typ is at+jwt, and nothing else', async () => {
    expect(await verify(await tokenOf(es, {}, { typ: 'JWT' }))).toBe('token_invalid');
  });

  test('iss is exactly the issuer', async () => {
    expect(await withClaims({ iss: `${ISSUER}/` })).toBe('token_invalid');
  });

  test('aud names this resource', async () => {
    expect(await withClaims({ aud: 'https://other.example' })).toBe('token_audience');
  });

  test('the signature is checked, by a key of the issuer, and alg none is refused', async () => {
    expect(await verify(await tokenOf(stranger))).toBe('token_invalid');
    expect(await verify(`${json({ alg: 'none', typ: 'at+jwt' })}.${json(goodClaims())}.`)).toBe('token_invalid');
  });

  test('the time is before exp: F-CK-04, no leeway there, and 60 s for clocks that are ahead', async () => {
    expect(await withClaims({ exp: NOW })).toBe('token_expired');
    expect(await withClaims({ exp: NOW + 1 })).toBe('accepted');
    expect(await withClaims({ iat: NOW + 10 })).toBe('accepted');
    expect(await withClaims({ iat: NOW + 61 })).toBe('token_invalid');
  });

  test.each(['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti'])('section 2.2: %s is required', async (claim) => {
    expect(await withClaims({ [claim]: undefined })).not.toBe('accepted');
  });
});

test('a subject or client that is called like a word of ours does not become it', async () => {
  for (const name of ['owner', 'local', 'broker', 'schedule']) {
    const { verifier } = bench([es], { principals: [name], owner: () => 'somebody' });
    expect(await codeOf(verifier.verify(await tokenOf(es, { sub: name, client_id: 'x' }), 'control'))).toBe(
      'principal_unknown',
    );
    expect(await codeOf(verifier.verify(await tokenOf(es, { sub: 'x', client_id: name }), 'control'))).toBe(
      'principal_unknown',
    );
  }
});
