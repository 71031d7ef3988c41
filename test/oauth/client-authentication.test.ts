import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readSigningKey, signAssertion } from '../../src/oauth/assertion.ts';
import type { AuthorizationOptions } from '../../src/oauth/options.ts';
import {
  type Bench,
  bench,
  clock,
  Drawer,
  error,
  freezeTime,
  ISSUER,
  metadata,
  options,
  pass,
  Script,
  storedRecord,
  tokenAnswer,
  until,
} from './script.ts';

const RSA = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const P256 = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const P384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
const P521 = generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey;
const ED = generateKeyPairSync('ed25519').privateKey;
const pem = (key: KeyObject, type: 'pkcs8' | 'pkcs1' | 'sec1' = 'pkcs8'): string =>
  key.export({ type: type as 'pkcs8', format: 'pem' }).toString();
const jwk = (key: KeyObject, more: object = {}): string =>
  JSON.stringify({ ...key.export({ format: 'jwk' }), ...more });

type Signing = Partial<AuthorizationOptions>;
const signing = (more: Signing): AuthorizationOptions => ({
  ...options,
  client_authentication: 'private_key_jwt',
  ...more,
});

describe('the key of a client', () => {
  it.each<[string, KeyObject, Signing, string, string | undefined]>([
    ['RSA, PEM', RSA, { client_key: pem(RSA) }, 'RS256', undefined],
    ['RSA, PKCS #1', RSA, { client_key: pem(RSA, 'pkcs1') }, 'RS256', undefined],
    ['RSA for PS256', RSA, { client_key: pem(RSA), client_key_algorithm: 'PS256' }, 'PS256', undefined],
    ['P-256, SEC 1', P256, { client_key: pem(P256, 'sec1') }, 'ES256', undefined],
    ['P-384', P384, { client_key: pem(P384) }, 'ES384', undefined],
    ['P-521', P521, { client_key: pem(P521) }, 'ES512', undefined],
    ['Ed25519', ED, { client_key: pem(ED), client_key_id: 'k1' }, 'EdDSA', 'k1'],
    ['Ed25519 by its newer name', ED, { client_key: pem(ED), client_key_algorithm: 'Ed25519' }, 'Ed25519', undefined],
    ['a JWK with a kid', P256, { client_key: jwk(P256, { kid: 'mine', use: 'sig' }) }, 'ES256', 'mine'],
    [
      'a JWK whose kid is overruled',
      RSA,
      { client_key: jwk(RSA, { kid: 'mine' }), client_key_id: 'k2' },
      'RS256',
      'k2',
    ],
    ['a JWK with blanks around it', ED, { client_key: `\n ${jwk(ED)}\n` }, 'EdDSA', undefined],
  ])('may be %s', async (_, key, more, alg, kid) => {
    const claims = { iss: 'porchlight', sub: 'porchlight', aud: ISSUER };
    const assertion = await signAssertion(readSigningKey(signing(more)), claims, clock);
    const { payload, protectedHeader } = await jwtVerify(assertion, createPublicKey(key), { algorithms: [alg] });
    expect(protectedHeader).toEqual({ alg, typ: 'JWT', ...(kid !== undefined && { kid }) });
    expect(payload).toMatchObject(claims);
  });

  it.each<[string, Signing, RegExp]>([
    ['none at all', {}, /no key to sign with/],
    ['an empty text', { client_key: '  ' }, /no key to sign with/],
    ['nonsense', { client_key: 'SECRET-NONSENSE' }, /can not be read/],
    ['half a JWK', { client_key: '{"kty":"EC","crv":"P-256","d":"SECRET"' }, /can not be read/],
    [
      'a public key',
      { client_key: createPublicKey(RSA).export({ type: 'spki', format: 'pem' }).toString() },
      /can not be read/,
    ],
    [
      'one with a passphrase',
      { client_key: RSA.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }).toString() },
      /can not be read/,
    ],
    ['a symmetric JWK', { client_key: '{"kty":"oct","k":"U0VDUkVU"}' }, /can not be read/],
    [
      'X25519, which does not sign',
      { client_key: pem(generateKeyPairSync('x25519').privateKey) },
      /can not sign for OAuth/,
    ],
    [
      'secp256k1',
      { client_key: pem(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey) },
      /can not sign for OAuth/,
    ],
    [
      'RSA with 1024 bits',
      { client_key: pem(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey) },
      /can not sign for OAuth/,
    ],
    [
      'another kind than the algorithm',
      { client_key: pem(P256), client_key_algorithm: 'RS256' },
      /can not sign with RS256/,
    ],
    [
      'another curve than the algorithm',
      { client_key: pem(P384), client_key_algorithm: 'ES256' },
      /can not sign with ES256/,
    ],
  ])('is refused in words, and without a word of it, when it is %s', (_, more, message) => {
    let thrown: unknown;
    try {
      readSigningKey(signing(more));
    } catch (problem) {
      thrown = problem;
    }
    expect(thrown).toMatchObject({ code: 'config_invalid', message: expect.stringMatching(message) });
    expect(String(thrown) + JSON.stringify(thrown)).not.toMatch(/SECRET|U0VDUkVU/);
  });
});

describe('private_key_jwt (RFC 7523 section 2.2)', () => {
  let made: Bench;
  beforeEach(freezeTime);
  afterEach(async () => {
    await made?.stop();
    vi.useRealTimers();
  });
  const client = signing({ client_key: pem(P256), client_key_id: 'k' });

  it('proves the client in every request, each time with another assertion of a short life', async () => {
    const script = new Script().answer('/token', error('authorization_pending'), tokenAnswer);
    made = bench({ script, options: client });
    await until(() => made.shown.length > 0);
    await pass(5_000);
    await until(() => script.at('/token').length === 1);
    await pass(5_000);
    await until(() => made.session.status.state === 'authorized');
    await made.session.renew();
    await made.session.revoke();
    const asked = script.asked.filter(({ path }) => !path.startsWith('/.well-known'));
    expect(asked.map(({ path }) => path)).toEqual(['/device/auth', '/token', '/token', '/token', '/revoke', '/revoke']);
    const jtis = new Set<unknown>();
    for (const { body, headers } of asked) {
      expect(body.get('client_id')).toBe('porchlight');
      expect(body.get('client_assertion_type')).toBe('urn:ietf:params:oauth:client-assertion-type:jwt-bearer');
      expect(headers.get('authorization')).toBeNull();
      expect(body.get('client_secret')).toBeNull();
      const { iat = 0, exp = 0, jti, aud } = decodeJwt(body.get('client_assertion') ?? '');
      expect(aud).toBe(ISSUER);
      expect(Math.abs(iat * 1000 - Date.now())).toBeLessThan(15_000);
      expect(exp - iat).toBeGreaterThan(0);
      expect(exp - iat).toBeLessThanOrEqual(180);
      jtis.add(jti);
    }
    expect(jtis.size).toBe(asked.length);
    expect(made.lines.join('')).not.toContain('eyJ');
  });

  it('makes a new assertion when a nonce for DPoP makes it ask again: the first one is used up', async () => {
    const script = new Script()
      .answer('/.well-known/oauth-authorization-server', { ...metadata, dpop_signing_alg_values_supported: ['ES256'] })
      .answer(
        '/token',
        () => Response.json({ error: 'use_dpop_nonce' }, { status: 400, headers: { 'dpop-nonce': 'n' } }),
        { ...tokenAnswer, token_type: 'DPoP' },
      );
    made = bench({ script, options: { ...client, dpop: 'auto' } });
    await until(() => made.shown.length > 0);
    await pass(5_000);
    await until(() => made.session.status.state === 'authorized');
    const [first, second] = script.at('/token').map(({ body }) => decodeJwt(body.get('client_assertion') ?? '').jti);
    expect(first).not.toBe(second);
  });

  it('may be addressed to the token endpoint, where a dialect says so, or to whom the configuration names', async () => {
    const { standard } = await import('../../src/oauth/dialects/standard.ts');
    const script = new Script();
    made = bench({ script, options: client, dialect: { ...standard, assertionAudience: 'token_endpoint' } });
    await until(() => made.shown.length > 0);
    const assertion = script.at('/device/auth')[0]?.body.get('client_assertion') ?? '';
    expect(decodeJwt(assertion).aud).toBe(`${ISSUER}/token`);
    expect(decodeProtectedHeader(assertion).kid).toBe('k');
    await made.stop();
    const named = new Script();
    made = bench({ script: named, options: { ...client, assertion: { audience: 'urn:server' } } });
    await until(() => made.shown.length > 0);
    expect(decodeJwt(named.at('/device/auth')[0]?.body.get('client_assertion') ?? '').aud).toBe('urn:server');
  });

  it('that is refused while the clock is not trusted ends nothing: it is said, and tried again', async () => {
    let trusted = false;
    const script = new Script().answer('/token', () =>
      trusted ? Response.json(tokenAnswer) : error('invalid_client', 401),
    );
    made = bench({ script, options: client, store: new Drawer(storedRecord()), clockTrusted: () => trusted });
    await until(() => made.session.status.state === 'authorized');
    await made.session.renew();
    expect(made.session.status).toMatchObject({ state: 'authorized', problem: { code: 'server_refused' } });
    expect(made.session.status.problem?.message).toContain('clock');
    trusted = true;
    await made.session.renew();
    expect(made.session.status.problem).toBeUndefined();
    await expect(made.session.accessToken()).resolves.toBe('access-1');
  });

  it('that is refused while the clock is trusted is what it is', async () => {
    const script = new Script().answer('/token', error('invalid_client', 401));
    made = bench({ script, options: client, store: new Drawer(storedRecord()), clockTrusted: () => true });
    await until(() => made.session.status.state === 'authorized');
    await made.session.renew();
    expect(made.session.status).toMatchObject({ state: 'relink_needed', reason: 'denied' });
  });

  it('asks nobody while the key is missing, and says so', async () => {
    const script = new Script();
    made = bench({ script, options: signing({}) });
    await until(() => made.session.status.problem !== undefined);
    expect(made.session.status).toMatchObject({ state: 'unauthorized', problem: { code: 'config_invalid' } });
    expect(script.asked.every(({ path }) => path.startsWith('/.well-known'))).toBe(true);
  });
});
