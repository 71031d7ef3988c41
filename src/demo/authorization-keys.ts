import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

export type Algorithm = 'ES256' | 'RS256' | 'EdDSA';

export interface SigningKey {
  readonly kid: string;
  readonly key: KeyObject;
}

/** A new key; it lives as long as the server. */
export function signingKey(algorithm: Algorithm): SigningKey {
  const kid = randomBytes(6).toString('hex');
  if (algorithm === 'RS256') return { kid, key: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey };
  if (algorithm === 'EdDSA') return { kid, key: generateKeyPairSync('ed25519').privateKey };
  return { kid, key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey };
}

/** Any JWT, signed. */
export function mint(
  { key, kid }: SigningKey,
  alg: Algorithm,
  claims: Readonly<Record<string, unknown>>,
  header: Readonly<Record<string, unknown>>,
): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ alg, kid, typ: 'at+jwt', ...header })}.${part(claims)}`;
  const signature = sign(alg === 'EdDSA' ? null : 'sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
  return `${text}.${signature.toString('base64url')}`;
}
