import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readKeys, verifyIdToken } from '../../src/oauth/id-token.ts';
import { readClaims } from '../../src/oauth/identity.ts';

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
    expect(await verifyIdToken(token(claims), readKeys(keys), expected)).toMatchObject({ subject: 'ada' });
    expect(
      await verifyIdToken(token(claims, { alg: 'EdDSA', kid: 'ed' }, ed.privateKey), readKeys(keys), expected),
    ).toMatchObject({ subject: 'ada' });
    expect(
      await verifyIdToken(token(claims, { alg: 'RS256', kid: 'rsa' }, rsa.privateKey), readKeys(keys), expected),
    ).toMatchObject({ subject: 'ada' });
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
    expect(await verifyIdToken(token(body), readKeys(keys), expected)).toMatchObject({ subject: 'ada' });
  });

  it('bears clocks that differ by less than a minute', async () => {
    expect(await verifyIdToken(token({ ...claims, exp: NOW - 50 }), readKeys(keys), expected)).toMatchObject({
      subject: 'ada',
    });
  });

  it('hints at the clock when the time is wrong', async () => {
    const late = verifyIdToken(token(claims), readKeys(keys), { ...expected, now: (NOW + 10_000_000) * 1000 });
    await expect(late).rejects.toMatchObject({ hint: expect.stringContaining('clock') });
  });

  it('of another issuer names it, so that the configuration can be put right, and without what a terminal obeys', async () => {
    const iss = 'https://acme.my.salesforce.example\u001b[2J';
    await expect(verifyIdToken(token({ ...claims, iss }), readKeys(keys), expected)).rejects.toMatchObject({
      message:
        'The id_token comes from another issuer (https://acme.my.salesforce.example\ufffd[2J) than authorization.issuer.',
      hint: expect.stringContaining('My Domain'),
    });
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

  it('tells where its owner is at home, in the standard claims and nothing else', async () => {
    const address = { street_address: '1 Main St\nFlat 2', locality: 'Berlin', country: 'DE', planet: 'Earth' };
    const body = { ...claims, address, zoneinfo: 'Europe/Berlin', locale: 'de-DE', email: 'ada@example.com' };
    expect(await verifyIdToken(token(body), readKeys(keys), expected)).toEqual({
      subject: 'ada',
      claims: {
        address: { street_address: '1 Main St Flat 2', locality: 'Berlin', country: 'DE' },
        zoneinfo: 'Europe/Berlin',
        locale: 'de-DE',
      },
    });
  });

  it.each<[string, unknown, object]>([
    ['an address as one text', { address: ' 1 Main St,\r\nBerlin ' }, { address: { formatted: '1 Main St, Berlin' } }],
    [
      'members of wrong types',
      { address: { locality: 5, country: 'DE' }, zoneinfo: [], locale: {} },
      { address: { country: 'DE' } },
    ],
    ['an address that says nothing', { address: { locality: '', region: null } }, {}],
    ['an address that is a list', { address: ['Berlin'] }, {}],
    ['an address of five megabytes', { address: { formatted: 'x'.repeat(5_000_000) } }, {}],
    [
      'what a terminal obeys',
      { address: { locality: 'Ber\u001b[31mlin\u202e' } },
      { address: { locality: 'Ber\ufffd[31mlin\ufffd' } },
    ],
    ['nothing', {}, {}],
    ['no object', 'Berlin', {}],
  ])('with %s is read as far as it makes sense', (_, body, read) => {
    expect(readClaims(body)).toEqual(read);
  });

  it('without a key name is tried with each key that fits, and only with those', async () => {
    const two = readKeys({ keys: [{ ...other.publicKey.export({ format: 'jwk' }), kid: 'new' }, ...keys.keys] });
    const nameless = { kid: undefined };
    expect(await verifyIdToken(token(claims, nameless), two, expected)).toMatchObject({ subject: 'ada' });
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await expect(verifyIdToken(token(claims, nameless, stranger.privateKey), two, expected)).rejects.toMatchObject({
      code: 'server_answer',
    });
    await expect(verifyIdToken(token({ ...claims, aud: 'x' }, nameless), two, expected)).rejects.toThrow();
  });

  it('is verified although the set also holds what is no key', async () => {
    const odd = readKeys({
      keys: [null, 5, {}, { kty: 7 }, { kid: 'ec' }, { kty: 'new-kind', kid: 'x' }, ...keys.keys],
    });
    expect(await verifyIdToken(token(claims), odd, expected)).toMatchObject({ subject: 'ada' });
  });

  it('asks for fresh keys when it is signed with one that is not known', async () => {
    expect(await verifyIdToken(token(claims, { kid: 'new' }), readKeys(keys), expected)).toBe('stale_keys');
  });

  it.each([{}, { keys: 'none' }, { keys: Array.from({ length: 101 }, () => ({ kty: 'EC' })) }])(
    'is not judged by %j',
    (body) => {
      expect(() => readKeys(body)).toThrow(expect.objectContaining({ code: 'server_answer' }));
    },
  );
});
