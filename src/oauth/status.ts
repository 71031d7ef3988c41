import type { ErrorCode, PorchlightError } from '../errors.ts';
import type { Grant } from './grant.ts';

export type AuthorizationState = 'unauthorized' | 'pending' | 'authorized' | 'grace' | 'relink_needed';

/** Why a person must approve again. */
export type RelinkReason = 'expired' | 'revoked' | 'denied' | 'lost_in_crash' | 'owner_mismatch';

/** What is wrong, in words for a person. */
export interface Problem {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
}

/** How the gateway stands with its authorization server. Never contains a token or a code. */
export interface AuthorizationStatus {
  readonly state: AuthorizationState;
  /** With `relink_needed` only. */
  readonly reason?: RelinkReason;
  /** When this state began (ISO 8601). */
  readonly since: string;
  readonly subject?: string;
  readonly scopes?: readonly string[];
  /** End of the access token's life (ISO 8601), where the server said. */
  readonly expires_at?: string;
  /** End of the life of a code that is being shown (ISO 8601); also while an older grant still works. */
  readonly code_expires_at?: string;
  readonly problem?: Problem;
}

/** An error as a status shows it. */
export function asProblem({ code, message, hint }: PorchlightError): Problem {
  return { code, message, hint };
}

/** What a status is made from. */
export interface StatusFacts {
  readonly grant: Grant | undefined;
  /** There is an access token and it has not expired. */
  readonly live: boolean;
  /** Why there is no grant any more, and since when (wall clock, ms since 1970). */
  readonly lost: { readonly reason: RelinkReason; readonly at: number } | undefined;
  readonly subject: string | undefined;
  /** A code is shown, or its approval is being verified and stored. */
  readonly pending: boolean;
  /** End of the last shown code's life (wall clock, ms since 1970). */
  readonly codeExpires: number | undefined;
  readonly problem: PorchlightError | undefined;
}

/** The status now (`wall`: ms since 1970), after the one before: a state that lasts keeps its beginning. */
export function deriveStatus(facts: StatusFacts, before: AuthorizationStatus, wall: number): AuthorizationStatus {
  const { grant, lost, subject, pending, codeExpires, problem } = facts;
  const state = stateOf(facts);
  const reason = state === 'relink_needed' ? lost?.reason : undefined;
  const same = state === before.state && reason === before.reason;
  const { scope, expires_at } = grant?.record ?? {};
  const began = beginning(state, facts, wall);
  return {
    state,
    ...(reason === undefined ? {} : { reason }),
    since: same ? before.since : new Date(began).toISOString(),
    ...(subject === undefined ? {} : { subject }),
    ...(scope === undefined ? {} : { scopes: scope.split(' ') }),
    ...(expires_at === undefined ? {} : { expires_at: new Date(expires_at).toISOString() }),
    ...(pending && codeExpires !== undefined ? { code_expires_at: new Date(codeExpires).toISOString() } : {}),
    ...(problem === undefined ? {} : { problem: asProblem(problem) }),
  };
}

/** When a state that was just entered began: a grant may have been lost, or its token expired, before this process did. */
function beginning(state: AuthorizationState, { lost, grant }: StatusFacts, wall: number): number {
  if (state === 'relink_needed') return lost?.at ?? wall;
  return state === 'grace' ? Math.min(wall, grant?.record.expires_at ?? wall) : wall;
}

function stateOf({ grant, live, pending, lost }: StatusFacts): AuthorizationState {
  if (grant !== undefined) return live ? 'authorized' : 'grace';
  if (pending) return 'pending';
  return lost === undefined ? 'unauthorized' : 'relink_needed';
}
