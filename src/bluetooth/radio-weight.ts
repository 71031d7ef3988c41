export interface WeightTimings {
  /** Bytes of a radio that is replaced when nobody needs it; at twice as much, at once. */
  readonly recycleBytes: number;
  /** Between two replacements that could wait. */
  readonly recycleMs: number;
}

/** A fresh radio on another machine may be larger than ours (50 MB); what it gains is what counts. */
const HEADROOM = 48 * 1024 * 1024;

/** When a radio that has grown is replaced, before it becomes a burden: it remembers what the air makes it remember. */
export class RadioWeight {
  readonly #timings: WeightTimings;
  #bound: number | undefined;
  #replacedAt = Number.NEGATIVE_INFINITY;

  constructor(timings: WeightTimings) {
    this.#timings = timings;
  }

  /** Another radio: its first weight is what it weighs at least. */
  begin(): void {
    this.#bound = undefined;
  }

  /** Is the radio of `rss` bytes to be replaced now (monotonic ms)? `busy`: a command is under way. Says so once in its time. */
  isTooMuch(rss: number, now: number, busy: () => boolean): boolean {
    const { recycleBytes, recycleMs } = this.#timings;
    this.#bound ??= Math.max(recycleBytes, rss + HEADROOM);
    if (rss <= this.#bound) return false;
    const canWait = rss <= 2 * this.#bound;
    if (canWait && (busy() || now - this.#replacedAt < recycleMs)) return false;
    this.#replacedAt = now;
    return true;
  }
}
