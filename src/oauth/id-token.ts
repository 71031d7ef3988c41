import { createLocalJWKSet, errors, type JSONWebKeySet, jwtVerify } from 'jose';
import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import { printable } from '../log.ts';
import { nonsense } from './wire.ts';

/** Signatures only: never `none`, never HS256 and its kin (the key would be the client secret, or the public key mistaken for one). */
const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];
/** FAPI 2.0 section 5.3.2.1 lets clocks differ by up to a minute. */
const SKEW = 60;

const Keys = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).max(100) });

/** A JWK Set (RFC 7517 section 5) as it came over the wire. Throws `server_answer`. */
export function readKeys(body: unknown): JSONWebKeySet {
  const parsed = Keys.safeParse(body);
  if (!parsed.success) throw nonsense('its keys are not a JWK Set');
  return parsed.data;
}

export interface Expected {
  readonly issuer: string;
  readonly client_id: string;
  /** Wall clock, ms since 1970. */
  readonly now: number;
}

/** `stale_keys`: signed with a key that the set does not have; fetch the set again. */
export type IdTokenVerdict = { readonly subject: string } | 'stale_keys';

/**
 * Verifies an id_token (OpenID Connect Core section 3.1.3.7: signature, issuer, audience, authorized party, expiry) and says who
 * approved. Throws `server_answer`.
 */
export async function verifyIdToken(token: string, keys: JSONWebKeySet, expected: Expected): Promise<IdTokenVerdict> {
  try {
    const { payload } = await jwtVerify(token, createLocalJWKSet(keys), {
      issuer: expected.issuer,
      audience: expected.client_id,
      algorithms: ALGORITHMS,
      currentDate: new Date(expected.now),
      clockTolerance: SKEW,
      requiredClaims: ['sub', 'exp', 'iat'],
    });
    const several = Array.isArray(payload.aud) && payload.aud.length > 1;
    if ((several || payload['azp'] !== undefined) && payload['azp'] !== expected.client_id)
      throw nonsense('its id_token was issued to another client');
    const subject = payload.sub;
    // OpenID Connect Core section 2: at most 255 ASCII characters.
    if (subject === undefined || subject === '' || subject.length > 255 || printable(subject, 255) !== subject)
      throw nonsense('its id_token names nobody');
    return { subject };
  } catch (thrown) {
    if (thrown instanceof PorchlightError) throw thrown;
    if (thrown instanceof errors.JWKSNoMatchingKey) return 'stale_keys';
    if (
      thrown instanceof errors.JWTExpired ||
      (thrown instanceof errors.JWTClaimValidationFailed && thrown.claim === 'nbf')
    )
      throw new PorchlightError('server_answer', 'The id_token is not of this hour.', {
        hint: 'Is the clock of this machine right? See "porchlight status".',
        cause: thrown,
      });
    throw nonsense('its id_token does not verify', 'server_answer', thrown);
  }
}
