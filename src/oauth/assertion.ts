import { createPrivateKey, type KeyObject, randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import type { AuthorizationOptions } from './options.ts';

type Algorithm = NonNullable<AuthorizationOptions['client_key_algorithm']>;

/** The private key that this client signs with: its algorithm, and the name that the server knows its public half by. */
export interface SigningKey {
  readonly key: KeyObject;
  readonly alg: Algorithm;
  readonly kid?: string;
}

/** Who says what to whom (RFC 7523 section 3). */
export interface AssertionClaims {
  readonly iss: string;
  readonly sub: string;
  readonly aud: string;
}

/**
 * How long an assertion lives, in seconds: time enough for one request over a slow line, with a clock that is half a minute off.
 * Salesforce takes none that lives longer than three minutes (help.salesforce.com, "OAuth 2.0 JWT Bearer Flow").
 */
const LIFE = 120;
/** RSA keys are not signed with below this (RFC 7518 section 3.3). */
const SHORTEST_RSA = 2048;

const CURVES: Readonly<Record<string, Algorithm>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' };
const Jwk = z.looseObject({ kty: z.string(), kid: z.string().min(1).max(200).optional().catch(undefined) });

/**
 * Reads `client_key`: PEM (PKCS #8, PKCS #1, SEC 1) without passphrase, or one private JWK. The algorithm is the one configured, else
 * what fits the key; the `kid` is the one configured, else the JWK's own. Throws `config_invalid` in words for a person.
 */
export function readSigningKey(options: AuthorizationOptions): SigningKey {
  const { client_key, client_key_id, client_key_algorithm: wished } = options;
  if (client_key === undefined || client_key.trim() === '')
    throw wrong('There is no key to sign with.', 'Give authorization.client_key_file: PEM, or a private JWK.');
  const { key, kid } = parse(client_key.trim());
  const fitting = algorithmsOf(key);
  const [usual] = fitting;
  if (usual === undefined)
    throw wrong(
      'The key under authorization.client_key is of a kind that can not sign for OAuth.',
      'Use RSA with at least 2048 bits, EC on P-256, P-384 or P-521, or Ed25519.',
    );
  if (wished !== undefined && !fitting.includes(wished))
    throw wrong(
      `The key under authorization.client_key can not sign with ${wished}.`,
      `Set authorization.client_key_algorithm to ${fitting.join(' or ')}, or leave it out.`,
    );
  const name = client_key_id ?? kid;
  return { key, alg: wished ?? usual, ...(name === undefined ? {} : { kid: name }) };
}

/** A signed assertion, good for one request: every one has a `jti` of its own. */
export function signAssertion(
  { key, alg, kid }: SigningKey,
  { iss, sub, aud }: AssertionClaims,
  clock: Clock,
): Promise<string> {
  const now = Math.floor(clock.wall() / 1000);
  return new SignJWT({})
    .setProtectedHeader({ alg, typ: 'JWT', ...(kid === undefined ? {} : { kid }) })
    .setIssuer(iss)
    .setSubject(sub)
    .setAudience(aud)
    .setJti(randomUUID())
    .setIssuedAt(now)
    .setExpirationTime(now + LIFE)
    .sign(key);
}

function parse(text: string): { readonly key: KeyObject; readonly kid?: string | undefined } {
  try {
    if (!text.startsWith('{')) return { key: createPrivateKey(text) };
    const jwk = Jwk.parse(JSON.parse(text));
    return { key: createPrivateKey({ key: jwk, format: 'jwk' }), kid: jwk.kid };
  } catch {
    // What a parser says about a key may quote it, so nothing of that is kept.
    throw wrong(
      'The key under authorization.client_key can not be read.',
      'It must be PEM without a passphrase (-----BEGIN PRIVATE KEY-----), or one private JWK.',
    );
  }
}

/** What a key can sign with, the usual one first. */
function algorithmsOf(key: KeyObject): readonly Algorithm[] {
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return modulusLength >= SHORTEST_RSA ? ['RS256', 'PS256'] : [];
    case 'ec': {
      const alg = CURVES[namedCurve];
      return alg === undefined ? [] : [alg];
    }
    case 'ed25519':
      // RFC 9864 names it Ed25519; servers in the field know it as EdDSA (RFC 8037).
      return ['EdDSA', 'Ed25519'];
    default:
      return [];
  }
}

function wrong(message: string, hint: string): PorchlightError {
  return new PorchlightError('config_invalid', message, { hint });
}
