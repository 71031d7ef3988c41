import { PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';

export interface AskingLineOptions {
  /** Questions a second, over any longer time. */
  readonly perSecond: number;
  /** Questions that are under way together. */
  readonly atOnce: number;
  /** Who may wait; whoever else comes replaces somebody, or is refused. */
  readonly waiting: number;
  readonly clock: Clock;
  /** Calls `run` once after `ms`. */
  readonly after: (ms: number, run: () => void) => void;
  /** 0 to 1. */
  readonly random: () => number;
}

interface Waiting {
  readonly rank: number;
  readonly enter: () => void;
  readonly refuse: () => void;
}

/**
 * Lets questions to a server through, a few a second. Who comes first does not matter, or a flood would have all the places: the
 * higher rank goes first, and where there is no room chance decides who of the lowest rank has to go.
 */
export class AskingLine {
  readonly #options: AskingLineOptions;
  readonly #waiting: Waiting[] = [];
  #busy = 0;
  /** Questions that may be asked now, at most `perSecond`; as of `#countedAt`. */
  #allowance: number;
  #countedAt: number;
  #timed = false;

  constructor(options: AskingLineOptions) {
    this.#options = options;
    this.#allowance = options.perSecond;
    this.#countedAt = options.clock.monotonic();
  }

  /** Runs `ask` when it is its turn. Rejects `token_invalid` when there is no room to wait. */
  async run<T>(rank: number, ask: () => Promise<T>): Promise<T> {
    await this.#turn(rank);
    try {
      return await ask();
    } finally {
      this.#busy -= 1;
      this.#next();
    }
  }

  #turn(rank: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ rank, enter: resolve, refuse: () => reject(crowded()) });
      this.#next();
      if (this.#waiting.length > this.#options.waiting) this.#takeOut(this.#oneOf(lowest(this.#waiting)))?.refuse();
    });
  }

  #next(): void {
    const { atOnce, perSecond, after } = this.#options;
    this.#count();
    while (this.#waiting.length > 0 && this.#busy < atOnce && this.#allowance >= 1) {
      this.#busy += 1;
      this.#allowance -= 1;
      this.#takeOut(this.#oneOf(highest(this.#waiting)))?.enter();
    }
    if (this.#waiting.length === 0 || this.#busy >= atOnce || this.#timed) return;
    this.#timed = true;
    after(Math.ceil(((1 - this.#allowance) * 1000) / perSecond), () => {
      this.#timed = false;
      this.#next();
    });
  }

  #count(): void {
    const { clock, perSecond } = this.#options;
    const now = clock.monotonic();
    this.#allowance = Math.min(perSecond, this.#allowance + ((now - this.#countedAt) * perSecond) / 1000);
    this.#countedAt = now;
  }

  /** The place of one of those with this rank. */
  #oneOf(rank: number): number {
    const places = this.#waiting.flatMap((waiting, place) => (waiting.rank === rank ? [place] : []));
    return places[Math.floor(this.#options.random() * places.length)] ?? 0;
  }

  #takeOut(place: number): Waiting | undefined {
    return this.#waiting.splice(place, 1)[0];
  }
}

const lowest = (waiting: readonly Waiting[]): number => Math.min(...waiting.map(({ rank }) => rank));
const highest = (waiting: readonly Waiting[]): number => Math.max(...waiting.map(({ rank }) => rank));

function crowded(): PorchlightError {
  const hint = 'Send it again in a moment; if this stays, somebody floods this gateway with tokens.';
  return new PorchlightError('token_invalid', 'Too many unknown tokens are being asked about.', { hint });
}
