/** First wait after a connection was lost: a broker that restarts is back in about this time. */
const FIRST_MS = 500;
/** Longest ordinary wait: a person who mends the network sees it heal within half a minute. */
const LONGEST_MS = 30_000;
/** Shortest wait after a refusal or a takeover: neither mends itself, and brokers ban those who insist. */
const SLOW_MS = 30_000;
/** A connection that lived this long was a good one: the waits start again from the shortest. */
const GOOD_MS = 2_000;

/** How long to wait before the next try to connect. `random` gives 0 up to 1, so that many gateways do not come back as one. */
export class BackOff {
  readonly #random: () => number;
  #next = FIRST_MS;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** A connection has ended that lived `ms` milliseconds. */
  lived(ms: number): void {
    if (ms >= GOOD_MS) this.#next = FIRST_MS;
  }

  /** Milliseconds to wait now; `slow`: at least 30 s, up to 45 s. */
  wait(slow: boolean): number {
    if (slow) return SLOW_MS * (1 + this.#random() / 2);
    const wait = this.#next * (0.75 + this.#random() / 4);
    this.#next = Math.min(this.#next * 2, LONGEST_MS);
    return wait;
  }
}
