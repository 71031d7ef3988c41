import {
  type AuthorizationServer,
  type Client,
  processGenericTokenEndpointResponse,
  type TokenEndpointResponse,
} from 'oauth4webapi';
import { asResponse, nonsense } from './wire.ts';

/** A token endpoint's answer, bounded. The access token is opaque to its client: nothing here looks into it. */
export interface TokenAnswer {
  readonly access_token: string;
  readonly refresh_token?: string;
  readonly id_token?: string;
  readonly scope?: string;
  /** Seconds, positive; absent when the server did not say (or said nothing usable). */
  readonly expires_in?: number;
}

/** Refreshing once a month is little enough: a longer life is not believed. */
const LONGEST_LIFE = 30 * 86_400;
/** JWTs with many groups reach 8 KiB; headers of most servers end at 16. */
const LONGEST_TOKEN = 16_384;

/**
 * Reads a token response (RFC 6749 section 5.1). Bearer tokens only. Throws `server_answer`.
 * The id_token is set aside: it is judged by its own rules and our own clock.
 */
export async function readTokens(
  as: AuthorizationServer,
  client: Client,
  body: Readonly<Record<string, unknown>>,
): Promise<TokenAnswer> {
  const { id_token, expires_in, refresh_token, scope, ...rest } = body;
  const life = readLife(expires_in);
  const answer: TokenEndpointResponse = await processGenericTokenEndpointResponse(
    as,
    client,
    asResponse({ ...rest, ...present({ refresh_token, scope }) }),
  );
  if (answer.token_type !== 'bearer') throw nonsense('its tokens are not of type Bearer');
  for (const token of [answer.access_token, answer.refresh_token ?? 'none'])
    if (!/^[\x21-\x7e]+$/.test(token) || token.length > LONGEST_TOKEN) throw nonsense('a token in it can not be used');
  return {
    access_token: answer.access_token,
    ...(answer.refresh_token === undefined ? {} : { refresh_token: answer.refresh_token }),
    ...(answer.scope === undefined ? {} : { scope: answer.scope.slice(0, 2048) }),
    ...(typeof id_token === 'string' && id_token !== '' ? { id_token } : {}),
    ...(life === undefined ? {} : { expires_in: life }),
  };
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
