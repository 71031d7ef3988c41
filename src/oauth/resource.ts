import { customFetch } from 'oauth4webapi';
import { PorchlightError } from '../errors.ts';
import { isTrustworthy } from './discovery.ts';
import type { GrantRecord } from './grant.ts';
import { ask, type Reply, type Wire } from './wire.ts';

/** A resource's answer: one JSON object, as the dialect has it. */
export type ResourceReply = Reply<Readonly<Record<string, unknown>>>;

/** What is shown at a resource. */
export interface Credential extends Pick<GrantRecord, 'token_type' | 'dpop_key'> {
  readonly access_token: string;
}

/**
 * A GET at a resource with an access token (RFC 6750 section 2.1; RFC 9449 section 7.1 where the wire has a prover). A token goes
 * only to https, or to this machine where the issuer is on it; anything else is `nonsense`.
 */
export async function askResource(
  wire: Wire,
  purpose: 'userinfo' | 'home',
  { url, issuer }: { readonly url: string; readonly issuer: URL },
  { access_token, token_type }: Credential,
): Promise<ResourceReply> {
  if (!isTrustworthy(url, issuer))
    return {
      kind: 'nonsense',
      problem: new PorchlightError(
        'server_answer',
        'A token is not sent to an address that can not be trusted (https without user name).',
      ),
    };
  const headers = { accept: 'application/json', authorization: `${token_type ?? 'Bearer'} ${access_token}` };
  return ask(
    wire,
    purpose,
    (send) => send[customFetch](url, { method: 'GET', headers }),
    (body) => body,
  );
}

/** A resource does not take the token (RFC 6750 section 3.1): it has expired, or was revoked, or is for something else. */
export function isTokenRefused(reply: ResourceReply): boolean {
  return reply.kind === 'refused' && (reply.error === 'invalid_token' || reply.status === 401);
}

/** Asks with the token at hand; one that is refused is renewed once, and the question asked once more. */
export async function askWithRenewal(parts: {
  /** Rejects with `not_authorized`. */
  readonly credential: () => Promise<Credential>;
  readonly ask: (credential: Credential) => Promise<ResourceReply>;
  readonly renew: () => Promise<void>;
  readonly worked: (accessToken: string) => Promise<void>;
}): Promise<ResourceReply> {
  let credential = await parts.credential();
  let reply = await parts.ask(credential);
  if (isTokenRefused(reply)) {
    const before = credential.access_token;
    await parts.renew();
    credential = await parts.credential();
    if (credential.access_token === before) return reply;
    reply = await parts.ask(credential);
  }
  if (reply.kind === 'answered') await parts.worked(credential.access_token);
  return reply;
}
