import { PorchlightError } from '../errors.ts';
import type { AuthorizationOptions } from './options.ts';
import type { Reply } from './wire.ts';

/** What a request without tokens means for a grant that no person gives. */
export type MachineRefusal =
  | { readonly passes: true; readonly problem: PorchlightError; readonly retryAfter?: number }
  | {
      readonly passes: false;
      readonly problem: PorchlightError;
      readonly retryAfter?: number;
      /** Why the grant is over, if it is: what is stored of it is given up (`revoked`), or kept for better days (`denied`). */
      readonly ends?: 'revoked' | 'denied';
    };

/** Only these say that the grant itself is no more (RFC 6749 section 5.2; Salesforce: inactive_user, inactive_org). */
const REVOKED = new Set(['invalid_grant', 'access_denied', 'inactive_user', 'inactive_org', 'interaction_required']);
const UNWELCOME = new Set(['invalid_client', 'unauthorized_client']);
/** OAuth's ways of saying: later (RFC 6749 section 4.1.2.1, RFC 8628 section 3.5). */
const LATER = new Set(['temporarily_unavailable', 'server_error', 'slow_down', 'authorization_pending']);

/** Sorts what came instead of tokens, and says in words what an installer must do about it. */
export function judgeRefusal(
  reply: Exclude<Reply<unknown>, { kind: 'answered' }>,
  options: AuthorizationOptions,
): MachineRefusal {
  const patience = 'retryAfter' in reply && reply.retryAfter !== undefined ? { retryAfter: reply.retryAfter } : {};
  if (reply.kind === 'fault') return { passes: true, problem: reply.problem, ...patience };
  // A server in mid-update heals; a wrong configuration does not.
  if (reply.kind === 'nonsense') return { passes: reply.problem.code === 'server_answer', problem: reply.problem };
  const { error, description, status } = reply;
  const words = description === undefined ? '.' : `: ${description}${/[.!?]$/.test(description) ? '' : '.'}`;
  if (status >= 500 || status === 429 || LATER.has(error)) {
    const problem = new PorchlightError(
      'server_unreachable',
      `The authorization server has no time (${error})${words}`,
    );
    return { passes: true, problem, ...patience };
  }
  const [what, hint] = explain(error, options);
  const problem = new PorchlightError('server_refused', `${what} (${error})${words}`, { hint });
  const ends = REVOKED.has(error) ? 'revoked' : UNWELCOME.has(error) ? 'denied' : undefined;
  return { passes: false, problem, ...patience, ...(ends === undefined ? {} : { ends }) };
}

/** What has happened, and what whoever installs must do. */
function explain(error: string, { grant, client_id, client_authentication }: AuthorizationOptions): [string, string] {
  const signed = grant === 'jwt_bearer' || client_authentication === 'private_key_jwt';
  const proof = signed ? 'the public half of client_key' : 'its secret';
  if (REVOKED.has(error))
    return grant === 'jwt_bearer'
      ? [
          'The authorization server does not accept that this gateway acts for its owner',
          `The installer must approve the client "${client_id}" for authorization.assertion.subject at the server, give it ${proof}, and see that assertion.audience is what it expects.`,
        ]
      : [
          'The authorization server gives this gateway nothing',
          `The installer must allow client_credentials to the client "${client_id}" at the server.`,
        ];
  if (error === 'invalid_client')
    return [
      'The authorization server does not accept this gateway as its client',
      `The installer must register the client "${client_id}" with ${proof} at the server; check client_authentication.`,
    ];
  if (error === 'unauthorized_client' || error === 'unsupported_grant_type')
    return [
      `The authorization server does not let this client use ${grant ?? 'this grant'}`,
      `The installer must allow the grant ${grant ?? ''} to the client "${client_id}" at the server.`,
    ];
  if (error === 'invalid_scope')
    return [
      'The authorization server does not give a scope that is asked for',
      'Check authorization.scopes with whoever runs the server.',
    ];
  if (error === 'invalid_target')
    return [
      'The authorization server does not know the resource that is asked for',
      'Check authorization.resource with whoever runs the server.',
    ];
  return [
    'The authorization server refused this gateway',
    'Check client_id, client_authentication and scopes with whoever runs the server.',
  ];
}
