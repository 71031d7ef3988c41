import type { VirtualLamp } from './lamp.ts';

/** How much of the time a receiver listens: for `windowMs` of each `intervalMs`. */
export interface Duty {
  readonly intervalMs: number;
  readonly windowMs: number;
}

/** Is the receiver, which began at `since`, listening at `now`? */
export function isOpen({ intervalMs, windowMs }: Duty, since: number, now: number): boolean {
  return windowMs >= intervalMs || (now - since) % intervalMs < windowMs;
}

/** The random part of the time between two advertising events is up to 10 ms (Vol 6 Part B section 4.4.2.2.1). */
const MOST_DELAY_MS = 10;
/** Spreads what comes in turn evenly, without chance. */
const GOLDEN = 0.618034;

/**
 * When lamps advertise: each at its own interval, all the time, and in no step with the others; but no timer runs while nobody
 * listens.
 */
export class AdvertisingChannels {
  readonly #lamps: readonly VirtualLamp[];
  readonly #hear: (lamp: VirtualLamp) => void;
  readonly #intervals: readonly number[];
  /** When each advertises next, by `performance.now()`. */
  readonly #due: Float64Array;
  #timer: NodeJS.Timeout | undefined;
  #events = 0;

  constructor(lamps: readonly VirtualLamp[], intervalMs: number, hear: (lamp: VirtualLamp) => void) {
    this.#lamps = lamps;
    this.#hear = hear;
    this.#intervals = lamps.map(({ spec }) => spec.advertisingIntervalMs ?? intervalMs);
    const now = performance.now();
    this.#due = Float64Array.from(this.#intervals, (interval, at) => now + ((at * GOLDEN) % 1) * interval);
  }

  listen(on: boolean): void {
    if (!on) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      return;
    }
    if (this.#timer !== undefined || this.#lamps.length === 0) return;
    const now = performance.now();
    for (const [at, interval] of this.#intervals.entries()) {
      const due = this.#due[at] ?? now;
      if (due < now) this.#due[at] = due + Math.ceil((now - due) / interval) * interval;
    }
    this.#schedule(now);
  }

  /** Every lamp advertises now, on a later turn of the event loop. */
  burst(): void {
    setImmediate(() => {
      for (const lamp of this.#lamps) if (this.#timer !== undefined) this.#hear(lamp);
    });
  }

  #schedule(now: number): void {
    clearTimeout(this.#timer);
    const next = this.#due.reduce((least, due) => Math.min(least, due), Number.POSITIVE_INFINITY);
    this.#timer = setTimeout(() => this.#advertise(), Math.max(1, next - now));
  }

  #advertise(): void {
    const now = performance.now();
    for (const [at, lamp] of this.#lamps.entries()) {
      const interval = this.#intervals[at] ?? 0;
      const due = this.#due[at] ?? now;
      if (due > now) continue;
      this.#events += 1;
      const delay = interval > 2 * MOST_DELAY_MS ? ((this.#events * GOLDEN) % 1) * MOST_DELAY_MS : 0;
      // Events that the timer has slept through are gone, as on the air.
      this.#due[at] = due + Math.ceil((now - due + 0.001) / interval) * interval + delay;
      this.#hear(lamp);
      // Whoever heard it may have stopped listening.
      if (this.#timer === undefined) return;
    }
    this.#schedule(performance.now());
  }
}
