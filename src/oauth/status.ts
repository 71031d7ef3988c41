import type { ErrorCode, PorchlightError } from '../errors.ts';

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
