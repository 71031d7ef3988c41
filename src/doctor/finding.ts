import { asPorchlightError, ERRORS, type ErrorCode } from '../errors.ts';
import { sleep } from '../task-group.ts';

/** What one look found. `fail`: it cannot work like this. `warn`: it may, but somebody should know, or it could not be looked at. */
export interface Finding {
  /** What was looked at: `broker`, `adapter`, … */
  readonly check: string;
  readonly status: 'ok' | 'warn' | 'fail';
  readonly message: string;
  /** What to do. */
  readonly cure?: string;
  /** With `fail`: it decides the exit status. */
  readonly code?: ErrorCode;
}

export function ok(check: string, message: string): Finding {
  return { check, status: 'ok', message };
}

export function warn(check: string, message: string, cure?: string): Finding {
  return { check, status: 'warn', message, ...(cure !== undefined && { cure }) };
}

export function fail(check: string, code: ErrorCode, message: string, cure: string = ERRORS[code].hint): Finding {
  return { check, status: 'fail', code, message, ...(cure !== '' && { cure }) };
}

/** No look takes longer, ms. */
export const LONGEST_LOOK = 5000;
/** Some parts of a look have their own deadline at `LONGEST_LOOK`, and say more when they miss it than this one can. */
const GRACE_MS = 500;

/** A look, or why there is none: it took too long, or failed in a way that nobody foresaw. Never rejects. */
export async function bounded(
  check: string,
  look: (signal: AbortSignal) => Promise<readonly Finding[]>,
  signal: AbortSignal,
  longest = LONGEST_LOOK,
): Promise<readonly Finding[]> {
  const late = new AbortController();
  const done = new AbortController();
  const tooLate = sleep(longest + GRACE_MS, AbortSignal.any([done.signal, signal])).then((): readonly Finding[] => {
    late.abort();
    return [
      warn(
        check,
        `This took longer than ${longest / 1000} s and was given up.`,
        'Try again when the machine has less to do.',
      ),
    ];
  });
  try {
    const found = await Promise.race([look(AbortSignal.any([signal, late.signal])), tooLate]);
    return found;
  } catch (thrown) {
    const error = asPorchlightError(thrown);
    return error.code === 'internal'
      ? [warn(check, `This could not be looked at: ${reason(error.cause ?? error)}.`)]
      : [fail(check, error.code, error.message, error.hint)];
  } finally {
    done.abort();
  }
}

function reason(thrown: unknown): string {
  return thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'an error inside Porchlight';
}

/** How a fraction of a second or some seconds are said. */
export function seconds(ms: number): string {
  const whole = Math.abs(ms) / 1000;
  if (whole < 120) return `${Math.round(whole)} s`;
  if (whole < 7200) return `${Math.round(whole / 60)} min`;
  if (whole < 172_800) return `${Math.round(whole / 3600)} h`;
  return `${Math.round(whole / 86_400)} days`;
}
