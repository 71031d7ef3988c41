import { type Client, type ClientAuth, clientCredentialsGrantRequest, genericTokenEndpointRequest } from 'oauth4webapi';
import { PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import { type SigningKey, signAssertion } from './assertion.ts';
import type { ServerMetadata } from './discovery.ts';
import type { AuthorizationOptions } from './options.ts';
import type { Reply, SendOptions } from './wire.ts';

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

/** Is this gateway authorized without a person's approval? */
export function isMachine(options: Pick<AuthorizationOptions, 'grant'>): boolean {
  return grantName(options) !== undefined;
}

/** The grant as a record names it; undefined where a person approves. */
export function grantName({
  grant,
}: Pick<AuthorizationOptions, 'grant'>): 'jwt_bearer' | 'client_credentials' | undefined {
  return grant === 'jwt_bearer' || grant === 'client_credentials' ? grant : undefined;
}

/**
 * On whose behalf the tokens of a machine grant are: the configuration vouches for it, there is nobody to approve. Undefined for a
 * grant that a person approves; without a subject: nobody's.
 */
export function vouchedFor(
  options: Pick<AuthorizationOptions, 'grant' | 'owner' | 'assertion'>,
): { readonly subject?: string | undefined } | undefined {
  if (!isMachine(options)) return undefined;
  const asserted = options.grant === 'jwt_bearer' ? options.assertion?.subject : undefined;
  return { subject: options.owner ?? asserted };
}

/**
 * Asks for tokens without a person: an authorization grant that this client signs itself (RFC 7523 section 2.1), or its own
 * credentials (RFC 6749 section 4.4). Throws `config_invalid`.
 */
export async function machineRequest(
  parts: {
    readonly options: AuthorizationOptions;
    readonly clock: Clock;
    readonly metadata: ServerMetadata;
    readonly client: Client;
    readonly signingKey: () => SigningKey;
  },
  authentication: ClientAuth,
  wishes: URLSearchParams,
  send: SendOptions,
): Promise<Response> {
  const { options, clock, metadata, client, signingKey } = parts;
  if (options.grant !== 'jwt_bearer')
    return clientCredentialsGrantRequest(metadata, client, authentication, wishes, send);
  const sub = options.assertion?.subject ?? options.owner;
  if (sub === undefined)
    throw new PorchlightError('config_invalid', 'The grant jwt_bearer does not say on whose behalf.', {
      hint: 'Set authorization.assertion.subject, or authorization.owner.',
    });
  const iss = options.assertion?.issuer ?? options.client_id;
  // RFC 7523 section 3, rule 3: the token endpoint's address MAY be the audience, and is what most servers know.
  const aud = options.assertion?.audience ?? metadata.token_endpoint ?? metadata.issuer;
  wishes.set('assertion', await signAssertion(signingKey(), { iss, sub, aud }, clock));
  return genericTokenEndpointRequest(metadata, client, authentication, JWT_BEARER, wishes, send);
}

/** An assertion that is refused while the clock is not trusted decides nothing: its times may be wrong. Undefined for other refusals. */
export function blamedOnClock(
  { client_authentication, grant }: AuthorizationOptions,
  error: string,
): Extract<Reply<never>, { kind: 'fault' }> | undefined {
  const client = error === 'invalid_client' && client_authentication === 'private_key_jwt';
  const assertion = error === 'invalid_grant' && grant === 'jwt_bearer';
  if (!client && !assertion) return undefined;
  const problem = new PorchlightError(
    'server_refused',
    `The authorization server refuses what this gateway signs (${error}), and the clock of this machine is not set yet.`,
    { hint: 'Wait for the time to be synchronised, or see "porchlight status"; the gateway keeps trying.' },
  );
  return { kind: 'fault', problem };
}
