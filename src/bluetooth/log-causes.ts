import { Limiter } from '../limiter.ts';

/** As the journal of a Pi, and whoever reads it, can bear. */
const PERIOD_MS = 60_000;
/** The air may make up causes; beyond this many at a time they share one. */
const MOST_CAUSES = 50;
const OTHERS = 'others';

interface Cause {
  readonly limiter: Limiter;
  at: number;
  told: number;
}

/** At most one log line a minute per cause, for everything that the air can cause as often as it likes. */
export class LogCauses {
  readonly #periodMs: number;
  readonly #causes = new Map<string, Cause>();

  constructor(periodMs = PERIOD_MS) {
    this.#periodMs = periodMs;
  }

  /**
   * May a line of this cause be written at `now` (monotonic ms)? Then these are fields for it: how many of the same cause were
   * swallowed before it, if any. Texts that differ in numbers and addresses only are one cause.
   */
  pass(cause: string, now: number): { readonly swallowed?: number } | undefined {
    const known = this.#cause(kindOf(cause), now);
    if (!known.limiter.pass(now)) return undefined;
    const swallowed = known.limiter.swallowed - known.told;
    known.told = known.limiter.swallowed;
    known.at = now;
    return swallowed > 0 ? { swallowed } : {};
  }

  #cause(kind: string, now: number): Cause {
    const known = this.#causes.get(kind);
    if (known !== undefined) return known;
    if (this.#causes.size >= MOST_CAUSES) this.#forget(now);
    if (this.#causes.size >= MOST_CAUSES && kind !== OTHERS) return this.#cause(OTHERS, now);
    const cause = { limiter: new Limiter(this.#periodMs), at: now, told: 0 };
    this.#causes.set(kind, cause);
    return cause;
  }

  /** Those whose time is over would pass anyway. */
  #forget(now: number): void {
    for (const [kind, { at }] of this.#causes) if (now - at >= this.#periodMs) this.#causes.delete(kind);
  }
}

const kindOf = (cause: string): string =>
  cause
    .slice(0, 120)
    .replaceAll(/[0-9a-f]{2}(?::[0-9a-f]{2})+/gi, '#')
    .replaceAll(/\b(?:0x)?[0-9a-f]*[0-9][0-9a-f]*\b/gi, '#');
