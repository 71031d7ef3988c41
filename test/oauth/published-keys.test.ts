import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { expect, it } from 'vitest';
import { standard } from '../../src/oauth/dialects/standard.ts';
import { PublishedKeys } from '../../src/oauth/published-keys.ts';

const NOW = 1_700_000_000;
const expected = { issuer: 'https://auth.example.com', client_id: 'porchlight', now: NOW * 1000 };
const pair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
const published = (key: KeyObject) => ({ keys: [{ ...key.export({ format: 'jwk' }), kid: 'the-name' }] });

function idToken(key: KeyObject): string {
  const claims = { iss: expected.issuer, aud: 'porchlight', sub: 'ada', iat: NOW, exp: NOW + 3600 };
  const text = [{ alg: 'ES256', kid: 'the-name' }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

it('asks for the keys again when a signature does not fit those of an earlier day, once for each id_token', async () => {
  const [before, after] = [pair(), pair()];
  let serves = before.publicKey;
  let asked = 0;
  const fetch = async (): Promise<Response> => {
    asked += 1;
    return Response.json(published(serves));
  };
  const keys = new PublishedKeys();
  const wire = { fetch, dialect: standard, signal: new AbortController().signal };
  const whose = (key: KeyObject) => keys.identityOf(idToken(key), wire, 'https://auth.example.com/keys', expected);

  expect(await whose(before.privateKey)).toMatchObject({ kind: 'answered', value: { subject: 'ada' } });
  serves = after.publicKey;
  expect(await whose(after.privateKey)).toMatchObject({ kind: 'answered', value: { subject: 'ada' } });
  expect(asked).toBe(2);
  expect(await whose(pair().privateKey)).toMatchObject({ kind: 'nonsense', problem: { code: 'server_answer' } });
  expect(asked).toBe(3);
  expect(await whose(after.privateKey)).toMatchObject({ kind: 'answered' });
});
