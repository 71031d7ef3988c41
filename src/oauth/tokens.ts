import {
  type AuthorizationServer,
  type Client,
  processGenericTokenEndpointResponse,
  type TokenEndpointResponse,
} from 'oauth4webapi';
import { asPorchlightError, PorchlightError } from '../errors.ts';
import { printable } from '../log.ts';
import type { Dialect } from './dialects/dialect.ts';
import type { DpopJwk } from './dpop.ts';
import { asResponse, nonsense } from './wire.ts';

/** A token endpoint's answer, bounded. The access token is opaque to its client: nothing here looks into it. */
export interface TokenAnswer {
  readonly access_token: string;
  readonly refresh_token?: string;
  readonly id_token?: string;
  readonly scope?: string;
  /** Seconds, positive; absent when the server did not say (or said nothing usable). */
  readonly expires_in?: number;
  /** How the access token is shown at resources (RFC 9449 section 7.1). Default: Bearer. */
  readonly token_type?: 'Bearer' | 'DPoP';
  /**
   * The private key that the request was signed with (RFC 9449). The refresh token of a public client is bound to it even where the
   * access token is not (section 5), so it is kept with both kinds, and shown to nobody.
   */
  readonly dpop_key?: DpopJwk;
  /** Who approved, where the server says so beside the tokens and not in an id_token. */
  readonly approver?: string;
  /** Members that the dialect keeps, as texts. */
  readonly kept?: Readonly<Record<string, string>>;
}

/** Refreshing once a month is little enough: a longer life is not believed. */
const LONGEST_LIFE = 30 * 86_400;
/** JWTs with many groups reach 8 KiB; headers of most servers end at 16. */
const LONGEST_TOKEN = 16_384;
/** Addresses, mostly. */
const LONGEST_KEPT = 2048;

/** What a token answer is read with. */
export interface TokenReading {
  /** What the request was signed with. */
  readonly dpop_key?: DpopJwk | undefined;
  readonly dialect?: Pick<Dialect, 'keeps' | 'approver'> | undefined;
}

/**
 * Reads a token response (RFC 6749 section 5.1, RFC 9449 section 5). The id_token is set aside: it is judged by its own rules and our
 * own clock. Throws `server_answer`; `server_refused` when there is a token in it and yet it can not be used: the approval is spent,
 * and asking a person for another would end the same.
 */
export async function readTokens(
  as: AuthorizationServer,
  client: Client,
  body: Readonly<Record<string, unknown>>,
  reading: TokenReading = {},
): Promise<TokenAnswer> {
  try {
    return await readAnswer(as, client, body, reading);
  } catch (thrown) {
    const problem = asPorchlightError(thrown, 'server_answer');
    if (!Object.hasOwn(body, 'access_token')) throw problem;
    const wrong = ['access_token', 'token_type', 'refresh_token', 'scope'].filter((name) => isOdd(body[name], name));
    const what = wrong.length === 0 ? problem.message : `Missing or malformed: ${wrong.join(', ')}.`;
    throw new PorchlightError('server_refused', `The authorization server sent tokens that can not be used. ${what}`, {
      hint: 'Ask whoever runs the server to mend its token answer; then approve anew with "porchlight login".',
      cause: thrown,
    });
  }
}

/** Both tokens and the type are texts; the first two members must be there. */
function isOdd(value: unknown, name: string): boolean {
  const absent = value === undefined || value === null || value === '';
  return absent ? name === 'access_token' || name === 'token_type' : typeof value !== 'string';
}

async function readAnswer(
  as: AuthorizationServer,
  client: Client,
  body: Readonly<Record<string, unknown>>,
  { dpop_key, dialect }: TokenReading,
): Promise<TokenAnswer> {
  const { id_token, expires_in, refresh_token, scope, ...rest } = body;
  const life = readLife(expires_in);
  const answer: TokenEndpointResponse = await processGenericTokenEndpointResponse(
    as,
    client,
    asResponse({ ...rest, ...present({ refresh_token, scope }) }),
  );
  const bound = answer.token_type === 'dpop';
  if (bound && dpop_key === undefined) throw nonsense('its tokens are bound to a key (DPoP) that it was not given');
  const kept = readKept(body, dialect?.keeps ?? []);
  const approver = kept && dialect?.approver?.(kept);
  for (const token of [answer.access_token, answer.refresh_token ?? 'none'])
    if (!/^[\x21-\x7e]+$/.test(token) || token.length > LONGEST_TOKEN) throw nonsense('a token in it can not be used');
  const scopes = readScopes(answer);
  return {
    access_token: answer.access_token,
    ...(answer.refresh_token === undefined ? {} : { refresh_token: answer.refresh_token }),
    ...(scopes === undefined ? {} : { scope: scopes }),
    ...(typeof id_token === 'string' && id_token !== '' ? { id_token } : {}),
    ...(life === undefined ? {} : { expires_in: life }),
    ...(bound ? { token_type: 'DPoP' } : {}),
    ...(dpop_key === undefined ? {} : { dpop_key }),
    ...(kept === undefined ? {} : { kept }),
    ...(approver === undefined ? {} : { approver }),
  };
}

/** Texts of one line and of a bounded length; anything else counts as not said. */
function readKept(
  body: Readonly<Record<string, unknown>>,
  names: readonly string[],
): Readonly<Record<string, string>> | undefined {
  const kept: Record<string, string> = {};
  for (const name of names) {
    const value = body[name];
    if (typeof value === 'string' && value !== '' && printable(value, LONGEST_KEPT) === value) kept[name] = value;
  }
  return Object.keys(kept).length === 0 ? undefined : kept;
}

/** Some servers write null or an empty text where the RFC leaves a member out. */
function present(members: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(members).filter(([, value]) => value !== undefined && value !== null && value !== ''),
  );
}

/** A number or a decimal text, positive; anything else counts as not said, so that a wrong number never costs the grant. */
function readLife(value: unknown): number | undefined {
  const seconds =
    typeof value === 'number' ? value : typeof value === 'string' && /^\d+(\.\d+)?$/.test(value) ? Number(value) : 0;
  return seconds > 0 ? Math.min(seconds, LONGEST_LIFE) : undefined;
}

/** Scopes are shown to people, so only what the grammar allows (RFC 6749 section 3.3), and none that is a token of this answer. */
function readScopes({ scope, access_token, refresh_token, id_token }: TokenEndpointResponse): string | undefined {
  const secrets = [access_token, refresh_token, id_token];
  return scope
    ?.slice(0, 2048)
    .split(' ')
    .filter((word) => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(word) && !secrets.includes(word))
    .join(' ');
}
