import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import type { TokenProfile } from '../token-profile.ts';
import { isObject, parseObject } from './json.ts';
import { isAllowedAlgorithm } from './jwk.ts';

/** What a token says, in our words. Nothing of it is true before its signature was verified. Times are seconds since 1970. */
export interface TokenClaims {
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly subject: string;
  readonly clientId: string;
  readonly scopes: readonly string[];
  readonly expiresAt: number;
  readonly issuedAt?: number | undefined;
  readonly notBefore?: number | undefined;
  /** RFC 9396, each with its `type`. */
  readonly authorizationDetails: readonly Readonly<Record<string, unknown>>[];
  /** `cnf` (RFC 7800): the token is bound to a key. `jkt` is there when it is bound by a DPoP key's thumbprint. */
  readonly confirmation?: { readonly jkt?: string | undefined } | undefined;
}

/** A token whose form is right; its signature has not been looked at. */
export interface ReadToken {
  readonly alg: string;
  readonly kid: string | undefined;
  readonly claims: TokenClaims;
}

/** As long as the largest command: real access tokens are 1-4 KiB. */
export const MAX_TOKEN_LENGTH = 16 * 1024;
const COMPACT_JWS = /^[\w-]+\.[\w-]+\.[\w-]+$/;
const COMPACT_JWE = /^[\w-]+(\.[\w-]*){4}$/;
/** The last second of JavaScript's calendar. Later ones, and infinity, are no time. */
const LAST_SECOND = 8.64e12;

const NumericDate = z.number().min(0).max(LAST_SECOND);
const Name = z.string().min(1).max(1024);
const Claims = z.object({
  iss: Name,
  sub: Name,
  exp: NumericDate,
  iat: NumericDate.optional(),
  nbf: NumericDate.optional(),
  jti: Name.optional(),
  authorization_details: z.array(z.looseObject({ type: z.string() })).optional(),
  cnf: z.looseObject({ jkt: z.string().optional() }).optional(),
});
/** RFC 7662 section 2.2 requires `active` alone. */
const Introspected = Claims.partial({ iss: true, sub: true, exp: true }).extend({
  active: z.boolean(),
  token_type: z.string().optional(),
});
/** What servers call an access token there: RFC 6749 section 7.1, RFC 9449 section 5, Salesforce. */
const ACCESS_TOKEN_TYPES = ['bearer', 'dpop', 'access_token'];

export const invalid = (message: string): PorchlightError => new PorchlightError('token_invalid', message);

/**
 * Takes a token apart without believing it: cheap, so that a flood of nonsense costs little. Rejects `token_invalid` with
 * the reason; no text of the token ever gets into an error.
 */
export function readToken(token: string, profile: TokenProfile): ReadToken {
  if (token.length > MAX_TOKEN_LENGTH) throw invalid(`The token is longer than ${MAX_TOKEN_LENGTH} characters.`);
  if (COMPACT_JWE.test(token)) throw invalid('The token is encrypted; this gateway reads signed tokens only.');
  if (!COMPACT_JWS.test(token)) throw invalid('The token is not a signed JWT.');
  const [header = '', payload = '', signature = ''] = token.split('.');
  const { alg, kid } = readHeader(parseObject(decoded(header)), profile);
  decoded(signature);
  return { alg, kid, claims: readClaims(parseObject(decoded(payload)), profile) };
}

/** Base64url in its one canonical spelling: otherwise bits of a token could change without its meaning changing. */
function decoded(part: string): Uint8Array {
  const bytes = Buffer.from(part, 'base64url');
  if (bytes.toString('base64url') !== part) throw invalid('The token is not correctly encoded.');
  return bytes;
}

type Members = Readonly<Record<string, unknown>>;

/** `jwk`, `jku`, `x5u` and `x5c` are not read: a token does not choose the key it is judged by (RFC 8725 section 3.10). */
function readHeader(header: Members | undefined, profile: TokenProfile): { alg: string; kid: string | undefined } {
  if (header === undefined) throw invalid('The header of the token is not a JSON object.');
  const { alg, typ, kid, crit } = header;
  if (!isAllowedAlgorithm(alg)) throw invalid('The token is signed with an algorithm that is not allowed.');
  if (profile.types.length === 0) {
    const hint = 'Set access.issuer to a server that issues JWT access tokens for this gateway.';
    throw new PorchlightError('token_invalid', 'This issuer has no JWT access tokens.', { hint });
  }
  const type = typ === undefined ? '' : typ;
  if (typeof type !== 'string' || !profile.types.includes(type.toLowerCase().replace(/^application\//, ''))) {
    throw invalid('The token is not an access token: the "typ" of its header says something else.');
  }
  // We understand no extension, and what is critical and not understood must be refused (RFC 7515 section 4.1.11).
  if (crit !== undefined) throw invalid('The token has critical header members that this gateway does not understand.');
  if (kid !== undefined && typeof kid !== 'string') throw invalid('The "kid" of the token is not a string.');
  return { alg, kid };
}

function readClaims(payload: Members | undefined, profile: TokenProfile): TokenClaims {
  if (payload === undefined) throw invalid('The payload of the token is not a JSON object.');
  const parsed = Claims.safeParse(payload);
  if (!parsed.success) {
    const claim = String(parsed.error.issues[0]?.path[0]);
    throw invalid(`The claim "${claim}" of the token is missing or malformed.`);
  }
  const { iss, sub, exp, iat, nbf, jti, cnf } = parsed.data;
  for (const [claim, value] of Object.entries({ iat, jti })) {
    const mayLack = profile.optional.some((name) => name === claim);
    if (value === undefined && !mayLack) throw invalid(`The claim "${claim}" of the token is missing.`);
  }
  judgeMarks(payload, profile);
  return {
    issuer: iss,
    audiences: readAudiences(payload['aud']),
    subject: Name.safeParse(profile.person?.(payload)).data ?? sub,
    clientId: readClient(payload, profile),
    scopes: readScopes(payload, profile),
    expiresAt: exp,
    issuedAt: iat,
    notBefore: nbf,
    authorizationDetails: readDetails(payload),
    confirmation: cnf,
  };
}

/** As they stand: a parsed copy could have lost a member (`__proto__`) that narrows. */
function readDetails({ authorization_details: details = [] }: Members): readonly Members[] {
  return Array.isArray(details) ? details.filter(isObject) : [];
}

/**
 * What a server says of a token that only it can read (RFC 7662 section 2.2), as claims; undefined: it is not active. The answer
 * holds for `lifeS` seconds from `nowS` on, and so does a token of which no end is told. Throws `token_invalid`.
 */
export function readIntrospected(
  answer: Members,
  profile: TokenProfile,
  context: { readonly issuer: string; readonly nowS: number; readonly lifeS: number },
): TokenClaims | undefined {
  const parsed = Introspected.safeParse(answer);
  if (!parsed.success) {
    const member = String(parsed.error.issues[0]?.path[0]);
    throw invalid(`What the authorization server says of the token is malformed (its "${member}").`);
  }
  const { active, token_type, iss = context.issuer, exp = context.nowS + context.lifeS, iat, nbf, cnf } = parsed.data;
  if (!active) return undefined;
  // A refresh token is active too, and is nobody's right to command (RFC 7662 section 4).
  if (token_type !== undefined && !ACCESS_TOKEN_TYPES.includes(token_type.toLowerCase())) {
    throw invalid('The token is not an access token, says the authorization server.');
  }
  for (const [claim, values] of Object.entries(profile.marks ?? {})) {
    if (answer[claim] !== undefined && !values.some((value) => value === answer[claim])) {
      throw invalid('The token is not an access token, says the authorization server.');
    }
  }
  const { clientClaims, scopeClaims } = profile;
  const names = { ...profile, clientClaims: ['client_id', ...clientClaims], scopeClaims: ['scope', ...scopeClaims] };
  const clientId = readClient(answer, names);
  return {
    issuer: iss,
    audiences: readAudiences(answer['aud']),
    // A client that speaks for itself has no other subject (RFC 9068 section 2.2).
    subject: Name.safeParse(profile.person?.(answer)).data ?? parsed.data.sub ?? clientId,
    clientId,
    scopes: readScopes(answer, names),
    expiresAt: exp,
    issuedAt: iat,
    notBefore: nbf,
    authorizationDetails: readDetails(answer),
    confirmation: cnf,
  };
}

/** Visible ASCII, as RFC 6749 appendix A.12 has it; nobody's tokens are shorter. */
const OPAQUE = /^[\x21-\x7e]{8,}$/;

/** Is this a token that only its server can read? A signed JWT is ours to judge, and is never asked about. */
export function isOpaque(token: string, profile: TokenProfile): boolean {
  if (token.length > MAX_TOKEN_LENGTH || !OPAQUE.test(token)) return false;
  if (profile.types.length === 0 || !COMPACT_JWS.test(token)) return true;
  return parseObject(Buffer.from(token.slice(0, token.indexOf('.')), 'base64url')) === undefined;
}

/** RFC 8725 section 3.12: the tokens of one issuer are signed by the same keys, and an id_token commands nothing. */
function judgeMarks(payload: Members, { marks = {} }: TokenProfile): void {
  for (const [claim, values] of Object.entries(marks)) {
    const value = Object.hasOwn(payload, claim) ? payload[claim] : undefined;
    const right = values.length === 0 ? value === undefined : values.some((one) => one === value);
    if (!right) throw invalid(`The token is not an access token: its claim "${claim}" says something else.`);
  }
}

/** A string or an array of strings (RFC 7519 section 4.1.3); anything else names nobody. */
function readAudiences(aud: unknown): readonly string[] {
  const names: unknown = typeof aud === 'string' ? [aud] : aud;
  return Array.isArray(names) && names.every((name) => typeof name === 'string') ? names : [];
}

function firstOf(payload: Members, claims: readonly string[]): { claim: string; value: unknown } | undefined {
  const claim = claims.find((name) => Object.hasOwn(payload, name));
  return claim === undefined ? undefined : { claim, value: payload[claim] };
}

function readClient(payload: Members, profile: TokenProfile): string {
  const client = firstOf(payload, profile.clientClaims);
  const parsed = Name.safeParse(client?.value);
  const claim = client?.claim ?? profile.clientClaims[0];
  if (!parsed.success) throw invalid(`The claim "${claim}" of the token is missing or malformed.`);
  return parsed.data;
}

function readScopes(payload: Members, profile: TokenProfile): readonly string[] {
  const scope = firstOf(payload, profile.scopeClaims);
  if (scope === undefined) return [];
  const { claim, value } = scope;
  if (typeof value === 'string') return value.split(' ').filter((name) => name !== '');
  if (profile.scopeArrays && Array.isArray(value) && value.every((name) => typeof name === 'string')) return value;
  throw invalid(`The claim "${claim}" of the token is malformed.`);
}
