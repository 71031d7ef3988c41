/** Lets one thing through per `period_ms` and counts the rest. `now` is monotonic, in milliseconds. */
export class Limiter {
  readonly #period_ms: number;
  #next = Number.NEGATIVE_INFINITY;
  #swallowed = 0;

  constructor(period_ms: number) {
    this.#period_ms = period_ms;
  }

  /** How many were not let through since the start. */
  get swallowed(): number {
    return this.#swallowed;
  }

  /** May this one pass? */
  pass(now: number): boolean {
    if (now < this.#next) {
      this.#swallowed += 1;
      return false;
    }
    this.#next = now + this.#period_ms;
    return true;
  }
}
