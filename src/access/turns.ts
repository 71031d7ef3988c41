import type { PorchlightError } from '../errors.ts';

/** libuv's crypto threads: more at once would only wait there, unbounded. */
const AT_ONCE = 4;
/** At 0.1-1 ms each this is at most a quarter of a second; whoever comes later is refused at once. */
const MAX_WAITING = 256;

/** Work that a few may do at a time and a bounded number may wait for, so that no flood crowds out everything else. */
export class Turns {
  readonly #crowded: () => PorchlightError;
  readonly #waiting: (() => void)[] = [];
  #busy = 0;

  /** `crowded`: what is said to whom no place to wait is left. */
  constructor(crowded: () => PorchlightError) {
    this.#crowded = crowded;
  }

  /** Resolves with what `work` resolves with, when its turn has come. Rejects with `crowded` when too many wait already. */
  async take<T>(work: () => Promise<T>): Promise<T> {
    await this.#enter();
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  async #enter(): Promise<void> {
    if (this.#busy < AT_ONCE) {
      this.#busy += 1;
      return;
    }
    if (this.#waiting.length >= MAX_WAITING) throw this.#crowded();
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #leave(): void {
    const next = this.#waiting.shift();
    // The place goes straight to the one who waited longest.
    if (next === undefined) this.#busy -= 1;
    else next();
  }
}
