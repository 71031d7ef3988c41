import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readKeys, verifyIdToken } from '../../src/oauth/id-token.ts';

const NOW = 1_700_000_000;
const expected = { issuer: 'https://auth.example.com', client_id: 'porchlight', now: NOW * 1000 };
const claims = { iss: expected.issuer, aud: 'porchlight', sub: 'ada', iat: NOW, exp: NOW + 3600 };
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ed = generateKeyPairSync('ed25519');
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const keys = {
  keys: [
    { ...ec.publicKey.export({ format: 'jwk' }), kid: 'ec', alg: 'ES256', use: 'sig' },
    { ...ed.publicKey.export({ format: 'jwk' }), kid: 'ed' },
    { ...rsa.publicKey.export({ format: 'jwk' }), kid: 'rsa' },
  ],
};
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

function token(body: object, header: object = {}, key = ec.privateKey): string {
  const text = `${part({ alg: 'ES256', kid: 'ec', ...header })}.${part(body)}`;
  const hash = key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  return `${text}.${sign(hash, Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

describe('the id_token', () => {
  it('names the owner, signed with any of the usual algorithms', async () => {
    expect(await verifyIdToken(token(claims), readKeys(keys), expected)).toEqual({ subject: 'ada' });
    expect(
      await verifyIdToken(token(claims, { alg: 'EdDSA', kid: 'ed' }, ed.privateKey), readKeys(keys), expected),
    ).toEqual({ subject: 'ada' });
    expect(
      await verifyIdToken(token(claims, { alg: 'RS256', kid: 'rsa' }, rsa.privateKey), readKeys(keys), expected),
    ).toEqual({ subject: 'ada' });
  });

  it.each([
    ['another issuer', { iss: 'https://auth.example.com/' }],
    ['another audience', { aud: 'somebody-else' }],
    ['no audience', { aud: undefined }],
    ['no subject', { sub: undefined }],
    ['an empty subject', { sub: '' }],
    ['a subject that is a number', { sub: 5 }],
    ['a subject with an escape byte', { sub: 'a\u001b[31m' }],
    ['a subject of 256 characters', { sub: 'a'.repeat(256) }],
    ['no expiry', { exp: undefined }],
    ['an expiry of two minutes ago', { exp: NOW - 120 }],
    ['a beginning in two minutes', { nbf: NOW + 120 }],
    ['two audiences and no authorized party', { aud: ['porchlight', 'other'] }],
    ['another authorized party', { azp: 'other' }],
  ])('is refused with %s', async (_, wrong) => {
    await expect(verifyIdToken(token({ ...claims, ...wrong }), readKeys(keys), expected)).rejects.toMatchObject({
      code: 'server_answer',
    });
  });

  it('is taken with two audiences when the authorized party is this client', async () => {
    const body = { ...claims, aud: ['other', 'porchlight'], azp: 'porchlight' };
    expect(await verifyIdToken(token(body), readKeys(keys), expected)).toEqual({ subject: 'ada' });
  });

  it('bears clocks that differ by less than a minute', async () => {
    expect(await verifyIdToken(token({ ...claims, exp: NOW - 50 }), readKeys(keys), expected)).toEqual({
      subject: 'ada',
    });
  });

  it('hints at the clock when the time is wrong', async () => {
    const late = verifyIdToken(token(claims), readKeys(keys), { ...expected, now: (NOW + 10_000_000) * 1000 });
    await expect(late).rejects.toMatchObject({ hint: expect.stringContaining('clock') });
  });

  it('is refused unsigned, with a shared-secret algorithm, with a changed body, with a foreign signature', async () => {
    const unsigned = `${part({ alg: 'none' })}.${part(claims)}.`;
    const text = `${part({ alg: 'HS256', kid: 'ec' })}.${part(claims)}`;
    const pem = ec.publicKey.export({ format: 'pem', type: 'spki' });
    const confused = `${text}.${createHmac('sha256', pem).update(text).digest('base64url')}`;
    const [head, , tail] = token(claims).split('.');
    const changed = `${head}.${part({ ...claims, sub: 'eve' })}.${tail}`;
    const foreign = token(claims, {}, other.privateKey);
    const embedded = token(
      claims,
      { kid: undefined, jwk: other.publicKey.export({ format: 'jwk' }) },
      other.privateKey,
    );
    for (const bad of [unsigned, confused, changed, foreign, embedded, 'x.y.z', '', 'no token'])
      await expect(verifyIdToken(bad, readKeys(keys), expected)).rejects.toMatchObject({ code: 'server_answer' });
  });

  it('asks for fresh keys when it is signed with one that is not known', async () => {
    expect(await verifyIdToken(token(claims, { kid: 'new' }), readKeys(keys), expected)).toBe('stale_keys');
  });

  it.each([{}, { keys: 'none' }, { keys: [5] }, { keys: Array.from({ length: 101 }, () => ({ kty: 'EC' })) }])(
    'is not judged by %j',
    (body) => {
      expect(() => readKeys(body)).toThrow(expect.objectContaining({ code: 'server_answer' }));
    },
  );
});
