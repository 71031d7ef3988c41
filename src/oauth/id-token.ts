import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose';
import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import { printable } from '../log.ts';
import { type Identity, readClaims } from './identity.ts';
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

const Keys = z.object({ keys: z.array(z.unknown()).max(100) });
const Key = z.looseObject({ kty: z.string() });

/** A JWK Set as it came over the wire, without what is no key (RFC 7517 section 5 says to ignore it). Throws `server_answer`. */
export function readKeys(body: unknown): JSONWebKeySet {
  const parsed = Keys.safeParse(body);
  if (!parsed.success) throw nonsense('its keys are not a JWK Set');
  return { keys: parsed.data.keys.flatMap((key) => Key.safeParse(key).data ?? []) };
}

export interface Expected {
  readonly issuer: string;
  readonly client_id: string;
  /** Wall clock, ms since 1970. */
  readonly now: number;
  /** How this kind of server names people, when not by `sub` (TokenProfile). */
  readonly person?: ((claims: Readonly<Record<string, unknown>>) => string | undefined) | undefined;
}

/** `stale_keys`: signed with a key that the set does not have; fetch the set again. */
export type IdTokenVerdict = Identity | 'stale_keys';

/**
 * Verifies an id_token (OpenID Connect Core section 3.1.3.7: signature, issuer, audience, authorized party, expiry) and says who
 * approved, and where they are at home. Throws `server_answer`.
 */
export async function verifyIdToken(token: string, keys: JSONWebKeySet, expected: Expected): Promise<IdTokenVerdict> {
  try {
    const payload = await verified(token, keys, {
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
    const subject = expected.person?.(payload) ?? payload.sub;
    // OpenID Connect Core section 2: at most 255 ASCII characters.
    if (subject === undefined || subject === '' || subject.length > 255 || printable(subject, 255) !== subject)
      throw nonsense('its id_token names nobody');
    return { subject, claims: readClaims(payload) };
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
    if (thrown instanceof errors.JWTClaimValidationFailed && thrown.claim === 'iss') throw anotherIssuer(thrown);
    throw nonsense('its id_token does not verify', 'server_answer', thrown);
  }
}

/** An id_token that does not name its key may be of any that fits (RFC 7515 section 4.1.4: `kid` is optional). */
async function verified(token: string, keys: JSONWebKeySet, options: JWTVerifyOptions): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, createLocalJWKSet(keys), options)).payload;
  } catch (thrown) {
    if (!(thrown instanceof errors.JWKSMultipleMatchingKeys)) throw thrown;
    for await (const key of thrown) {
      try {
        return (await jwtVerify(token, key, options)).payload;
      } catch (wrong) {
        if (!(wrong instanceof errors.JWSSignatureVerificationFailed)) throw wrong;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

/**
 * Salesforce's login host issues in the name of My Domain, and Entra's `common` in that of a tenant. A signed text can not be put into
 * other words by a dialect, and who approved is not believed from another issuer: the configuration must name the right one.
 */
function anotherIssuer(failure: errors.JWTClaimValidationFailed): PorchlightError {
  const { iss } = failure.payload;
  const named = typeof iss === 'string' ? ` (${printable(iss, 100)})` : '';
  return new PorchlightError(
    'server_answer',
    `The id_token comes from another issuer${named} than authorization.issuer.`,
    {
      hint: 'Set authorization.issuer to that address if it is yours (Salesforce: My Domain), or leave "openid" out of the scopes.',
      cause: failure,
    },
  );
}
