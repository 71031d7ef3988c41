import type { PorchlightError } from '../errors.ts';
import { verdict } from './device-flow.ts';
import type { Reply } from './wire.ts';

/** What a refresh that brought no tokens means for the grant. */
export type Setback =
  /** It may pass. `answerLost`: the server may have done its part, and a rotating one has then used up the refresh token. */
  | {
      readonly kind: 'later';
      readonly problem: PorchlightError;
      readonly retryAfter?: number;
      readonly answerLost: boolean;
    }
  /** The refresh token is dead, and the grant with it. */
  | { readonly kind: 'dead'; readonly reason: 'expired' | 'revoked' }
  /** This client is not welcome; its tokens may be good. */
  | { readonly kind: 'unwelcome'; readonly problem: PorchlightError };

/** Only `invalid_grant` ends a grant (RFC 6749 section 5.2), and only a refused client shares its fate for now. */
export function setback(reply: Exclude<Reply<unknown>, { kind: 'answered' }>): Setback {
  if (reply.kind !== 'refused') return { ...reply, kind: 'later', answerLost: wasAnswerLost(reply) };
  const { error, description, status } = reply;
  const problem = verdict(error, description);
  // 5xx and 429 decide nothing, whatever they say.
  if (status >= 500 || status === 429) return { kind: 'later', problem, answerLost: false };
  if (error === 'invalid_grant') return { kind: 'dead', reason: reasonOf(description) };
  if (error === 'invalid_client' || error === 'unauthorized_client') return { kind: 'unwelcome', problem };
  return { kind: 'later', problem, answerLost: false };
}

/** Codes of failures that come after the request may have been read: Node's, undici's, and of a deadline. */
const AFTER_SENDING = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'UND_ERR_SOCKET', 'UND_ERR_BODY_TIMEOUT']);

function wasAnswerLost({ kind, problem }: { readonly kind: string; readonly problem: PorchlightError }): boolean {
  if (problem.code === 'config_invalid') return false;
  if (kind === 'nonsense' || problem.code === 'server_answer') return true;
  for (let error: unknown = problem.cause, depth = 0; error instanceof Error && depth < 5; depth += 1) {
    if (error.name === 'AbortError' || ('code' in error && AFTER_SENDING.has(String(error.code)))) return true;
    error = error.cause;
  }
  return false;
}

/** invalid_grant is one code for many ends (RFC 6749 section 5.2); some servers say in words which it was. */
function reasonOf(description: string | undefined): 'expired' | 'revoked' {
  return /\bexpired?\b/i.test(description ?? '') && !/revoked/i.test(description ?? '') ? 'expired' : 'revoked';
}
