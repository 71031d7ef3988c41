import { createHash } from 'node:crypto';
import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import { isObject, parseObject } from './json.ts';
import { fits, isAllowedAlgorithm, type VerificationKey, verificationKey } from './jwk.ts';

/** What a proof says. Nothing of it is true before its signature was verified. Times are seconds since 1970. */
export interface ProofClaims {
  readonly iat: number;
  readonly jti: string;
  /** `gateway.id` of the gateway that is meant. */
  readonly gateway: string;
  readonly topic: string;
  readonly response_topic?: string | undefined;
  /** Base64url SHA-256 of the token (RFC 9449 section 4.2). */
  readonly ath: string;
  /** Base64url SHA-256 of the payload's bytes. */
  readonly payload: string;
  readonly exp?: number | undefined;
  readonly nbf?: number | undefined;
}

/** A proof whose form is right; its signature has not been looked at. */
export interface ReadProof {
  /** As it stands in the JWT: a sender's is the same in all its proofs. */
  readonly header: string;
  readonly claims: ProofClaims;
}

/** The key that a proof names, and the algorithm that it says it was signed with. */
export interface ProofKey {
  readonly alg: string;
  readonly key: VerificationKey;
  /** RFC 7638, SHA-256. */
  readonly thumbprint: string;
}

/** `typ` of a proof's header. */
export const PROOF_TYPE = 'porchlight-command+jwt';

/** An RSA key of 8192 bits is 1366 characters, and so is its signature; a topic as long as MQTT allows is not meant. */
const MAX_PROOF_LENGTH = 8 * 1024;
const COMPACT_JWS = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/;
/** The last second of JavaScript's calendar. */
const LAST_SECOND = 8.64e12;

const NumericDate = z.number().min(0).max(LAST_SECOND);
const Text = z.string().min(1).max(1024);
const Hash = z.string().length(43);
const Claims = z.object({
  iat: NumericDate,
  jti: Text,
  gateway: Text,
  topic: Text,
  response_topic: z.string().max(1024).optional(),
  ath: Hash,
  payload: Hash,
  exp: NumericDate.optional(),
  nbf: NumericDate.optional(),
});

/** A refusal; it never holds text of the proof. */
export function invalidProof(message: string, hint?: string): PorchlightError {
  return new PorchlightError('proof_invalid', message, hint === undefined ? {} : { hint });
}

/** Takes a proof apart without believing it. Throws `proof_invalid` with the reason. */
export function readProof(jwt: string): ReadProof {
  if (jwt.length > MAX_PROOF_LENGTH) throw invalidProof(`The proof is longer than ${MAX_PROOF_LENGTH} characters.`);
  const [, header, payload, signature] = COMPACT_JWS.exec(jwt) ?? [];
  if (header === undefined || payload === undefined || signature === undefined) {
    throw invalidProof('The proof is not a signed JWT.');
  }
  decoded(signature);
  const claims = Claims.safeParse(parseObject(decoded(payload)));
  if (!claims.success) {
    const claim = claims.error.issues[0]?.path[0];
    if (claim === undefined) throw invalidProof('The payload of the proof is not a JSON object.');
    throw invalidProof(`The claim "${String(claim)}" of the proof is missing or malformed.`);
  }
  return { header, claims: claims.data };
}

/** Base64url in its one canonical spelling: otherwise one proof could be written in several ways. */
function decoded(part: string): Uint8Array {
  const bytes = Buffer.from(part, 'base64url');
  if (bytes.toString('base64url') !== part) throw invalidProof('The proof is not correctly encoded.');
  return bytes;
}

/** Members of a JWK that are private or secret (RFC 7518 section 6, RFC 8037 section 2). */
const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'] as const;

/** The key of a proof's header, and how it signs. Throws `proof_invalid`. */
export function readProofKey(header: string): ProofKey {
  const members = parseObject(decoded(header));
  if (members === undefined) throw invalidProof('The header of the proof is not a JSON object.');
  const { alg, typ, crit, jwk } = members;
  if (typ !== PROOF_TYPE) throw invalidProof(`The "typ" of the proof is not ${PROOF_TYPE}.`);
  if (!isAllowedAlgorithm(alg)) throw invalidProof('The proof is signed with an algorithm that is not allowed.');
  // We understand no extension, and what is critical and not understood must be refused (RFC 7515 section 4.1.11).
  if (crit !== undefined) throw invalidProof('The proof has critical header members that are not understood.');
  if (!isObject(jwk)) throw invalidProof('The header of the proof names no key (its "jwk").');
  if (PRIVATE.some((name) => Object.hasOwn(jwk, name))) {
    throw invalidProof('The "jwk" of the proof holds a private key.', 'Make a new key and send its public half only.');
  }
  const key = verificationKey(jwk);
  if (key === undefined) throw invalidProof('The "jwk" of the proof is not a public key that can be used here.');
  if (!fits(key, undefined, alg)) throw invalidProof('The "jwk" of the proof does not fit its algorithm.');
  return { alg, key, thumbprint: thumbprintOf(jwk, key.kty) };
}

/** RFC 7638 section 3.2 and RFC 8037 section 2, in lexicographic order. */
const THUMBPRINT_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  RSA: ['e', 'kty', 'n'],
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
};

function thumbprintOf(jwk: Readonly<Record<string, unknown>>, kty: string): string {
  const members = (THUMBPRINT_MEMBERS[kty] ?? []).map((name) => [name, jwk[name]]);
  return base64urlSha256(JSON.stringify(Object.fromEntries(members)));
}

/** As `ath`, `payload` and thumbprints are written. */
export function base64urlSha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('base64url');
}
