import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import * as z from 'zod';

/** Signature algorithms that a token may use: asymmetric ones only (RFC 8725 section 3.1), and the key that each needs. */
const KEY_FOR: ReadonlyMap<string, { readonly kty: string; readonly crv?: string }> = new Map([
  ['RS256', { kty: 'RSA' }],
  ['RS384', { kty: 'RSA' }],
  ['RS512', { kty: 'RSA' }],
  ['PS256', { kty: 'RSA' }],
  ['PS384', { kty: 'RSA' }],
  ['PS512', { kty: 'RSA' }],
  ['ES256', { kty: 'EC', crv: 'P-256' }],
  ['ES384', { kty: 'EC', crv: 'P-384' }],
  ['ES512', { kty: 'EC', crv: 'P-521' }],
  ['EdDSA', { kty: 'OKP', crv: 'Ed25519' }],
  ['Ed25519', { kty: 'OKP', crv: 'Ed25519' }],
]);

/** Only exact names: "none", "HS256" and every other spelling are not in the list. */
export function isAllowedAlgorithm(alg: unknown): alg is string {
  return typeof alg === 'string' && KEY_FOR.has(alg);
}

/** RFC 7518 section 3.3 asks for 2048 bits; above 8192 a signature check takes so long that it becomes a way to stop us. */
const RSA_BITS = { min: 2048, max: 8192 };

const common = {
  kid: z.string().optional(),
  use: z.literal('sig').optional(),
  alg: z.string().optional(),
  key_ops: z.array(z.string()).optional(),
  // A set that publishes a private half lets everybody sign.
  d: z.never().optional(),
};
const Jwk = z.discriminatedUnion('kty', [
  z.object({ ...common, kty: z.literal('RSA'), n: z.string(), e: z.string() }),
  z.object({ ...common, kty: z.literal('EC'), crv: z.string(), x: z.string(), y: z.string() }),
  z.object({ ...common, kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: z.string() }),
]);

/** A public key of the authorization server. `identity` tells whether two sets publish the very same key. */
export interface VerificationKey {
  readonly identity: string;
  readonly kty: string;
  readonly crv?: string | undefined;
  readonly kid?: string | undefined;
  readonly alg?: string | undefined;
  readonly key: KeyObject;
}

/** One member of a JWK Set as a key to verify signatures with; undefined: it is none (RFC 7517 section 5 says to ignore it). */
export function verificationKey(published: unknown): VerificationKey | undefined {
  const parsed = Jwk.safeParse(published);
  if (!parsed.success) return undefined;
  const { kid, alg, key_ops, use: _use, d: _d, ...members } = parsed.data;
  if (key_ops !== undefined && !key_ops.includes('verify')) return undefined;
  const key = publicKey(members);
  if (key === undefined) return undefined;
  const crv = 'crv' in members ? members.crv : undefined;
  return { identity: JSON.stringify([kid, alg, members]), kty: members.kty, crv, kid, alg, key };
}

function publicKey(members: JsonWebKey): KeyObject | undefined {
  try {
    const key = createPublicKey({ key: members, format: 'jwk' });
    if (key.asymmetricKeyType !== 'rsa') return key;
    const { modulusLength: bits = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
    // With the exponent 1 a signature is its own message, and anyone could write one.
    const sound = bits >= RSA_BITS.min && bits <= RSA_BITS.max && publicExponent >= 3n && publicExponent % 2n === 1n;
    return sound ? key : undefined;
  } catch {
    return undefined;
  }
}

/** RFC 9864 renamed EdDSA over this curve. */
const sameAlgorithm = (alg: string): string => (alg === 'EdDSA' ? 'Ed25519' : alg);

/** May this key have made a signature of algorithm `alg` under the name `kid`? A token without `kid` may be of any key. */
export function fits(key: VerificationKey, kid: string | undefined, alg: string): boolean {
  const needed = KEY_FOR.get(alg);
  if (needed === undefined || key.kty !== needed.kty) return false;
  if (needed.crv !== undefined && key.crv !== needed.crv) return false;
  if (key.alg !== undefined && sameAlgorithm(key.alg) !== sameAlgorithm(alg)) return false;
  return kid === undefined || key.kid === kid;
}
