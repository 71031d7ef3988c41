import { type DeniedCode, ERRORS, type FailedCode, PorchlightError } from '../errors.ts';

/** Who commands: `by` is what outcomes and states show (`owner`, a subject, a client id, `local`, `broker`, `schedule`). */
export interface Principal {
  readonly by: string;
}

/**
 * What became of a command; every command gets exactly one. `confirmed`: the lamp said so. `assumed`: written, and the lamp
 * cannot say. `superseded`: a newer command replaced each of its attributes first. `expired`: its own `expires_in` passed.
 */
export interface Outcome {
  readonly id?: string;
  readonly target: string;
  readonly outcome: 'confirmed' | 'assumed' | 'superseded' | 'expired' | 'denied' | 'failed';
  readonly code?: DeniedCode | FailedCode;
  readonly message?: string;
  readonly hint?: string;
  readonly by?: string;
  /** From arrival to outcome, whole milliseconds. */
  readonly took_ms: number;
  /** A group's or scene's members, each with its own outcome. */
  readonly members?: readonly Outcome[];
}

/** The members of an Outcome that an error decides. A stranger becomes `internal`: its text stays in the log. */
export function outcomeOf(thrown: unknown): Pick<Outcome, 'outcome' | 'code' | 'message' | 'hint'> {
  if (thrown instanceof PorchlightError) {
    const entry = ERRORS[thrown.code];
    if (entry.kind === 'denied' || entry.kind === 'failed') {
      return {
        outcome: entry.kind,
        code: thrown.code as DeniedCode | FailedCode,
        message: thrown.message,
        hint: thrown.hint,
      };
    }
  }
  const { message, hint } = ERRORS.internal;
  return { outcome: 'failed', code: 'internal', message, hint };
}
