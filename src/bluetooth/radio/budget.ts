/** So many of a kind per second, and as many at once after a quiet second. `now` is monotonic, in milliseconds. */
export class Budget {
  readonly #perSecond: number;
  #left: number;
  #at: number;

  constructor(perSecond: number, now: number) {
    this.#perSecond = perSecond;
    // At least one fits, however rare they are to be.
    this.#left = Math.max(1, perSecond);
    this.#at = now;
  }

  /** May one more pass? */
  take(now: number): boolean {
    const grown = this.#left + ((now - this.#at) / 1000) * this.#perSecond;
    this.#left = Math.min(Math.max(1, this.#perSecond), grown);
    this.#at = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
