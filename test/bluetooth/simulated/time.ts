import { vi } from 'vitest';
import type { Clock } from '../../../src/lights/port.ts';

interface Timer {
  readonly at: number;
  readonly number: number;
  readonly run: () => void;
  off: boolean;
}

const turnOfTheLoop = setImmediate;
/** So often vitest gets its turn too. */
const STEPS_PER_TURN = 2000;

/**
 * Time that passes only when everything that could happen at a moment has happened. It takes the place of the global timers, so
 * hours of it cost seconds; vitest's own fake timers cost a real millisecond for each.
 */
export class SimulatedTime implements Clock {
  #now = 0;
  #count = 0;
  #steps = 0;
  #off = 0;
  /** A binary heap by moment, then by order of making. */
  #heap: Timer[] = [];

  install(): void {
    vi.stubGlobal('setTimeout', (run: (...given: unknown[]) => void, ms = 0, ...given: unknown[]) =>
      // As Node does: whole milliseconds, at least one.
      this.at(Math.max(1, Math.trunc(Number(ms) || 0)), () => run(...given)),
    );
    vi.stubGlobal('clearTimeout', (timer: unknown) => {
      if (typeof timer !== 'object' || timer === null || !('off' in timer) || timer.off === true) return;
      timer.off = true;
      this.#off += 1;
      if (this.#off > 1000 && this.#off > this.#heap.length / 2) this.#sweep();
    });
  }

  uninstall(): void {
    vi.unstubAllGlobals();
  }

  monotonic(): number {
    return this.#now;
  }

  wall(): number {
    return Date.UTC(2026, 0, 1) + this.#now;
  }

  /** Calls `run` in `ms`, which may be a fraction. */
  at(ms: number, run: () => void): Timer {
    const timer = { at: this.#now + ms, number: this.#count++, run, off: false };
    this.#heap.push(timer);
    this.#up(this.#heap.length - 1);
    return timer;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.at(ms, resolve));
  }

  /** Lets `ms` pass. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    await this.#settle();
    for (let next = this.#heap[0]; next !== undefined && next.at <= end; next = this.#heap[0]) await this.#step();
    this.#now = end;
  }

  /** Lets time pass until `promise` has settled, at most `ms`. */
  async until<T>(promise: Promise<T>, ms = 3_600_000): Promise<T> {
    let over = false;
    const done = (): void => {
      over = true;
    };
    promise.then(done, done);
    const end = this.#now + ms;
    await this.#settle();
    while (!over && this.#heap.length > 0 && (this.#heap[0]?.at ?? end) <= end) await this.#step();
    if (!over) throw new Error(`nothing more can happen at ${this.#now} ms, and what was waited for has not`);
    return promise;
  }

  async #step(): Promise<void> {
    const timer = this.#pop();
    if (timer === undefined || timer.off) return;
    this.#now = Math.max(this.#now, timer.at);
    timer.run();
    await this.#settle();
  }

  /** A tick that is asked for while promises settle comes when all of them have. */
  #settle(): Promise<void> {
    this.#steps += 1;
    if (this.#steps % STEPS_PER_TURN === 0) return new Promise((resolve) => turnOfTheLoop(resolve));
    return new Promise((resolve) => process.nextTick(resolve));
  }

  /** Forgets timers that were taken back; what is sorted is a heap. */
  #sweep(): void {
    this.#heap = this.#heap.filter(({ off }) => !off).sort((a, b) => a.at - b.at || a.number - b.number);
    this.#off = 0;
  }

  #before(a: number, b: number): boolean {
    const [left, right] = [this.#heap[a], this.#heap[b]];
    if (left === undefined || right === undefined) return false;
    return left.at === right.at ? left.number < right.number : left.at < right.at;
  }

  #swap(a: number, b: number): void {
    const [left, right] = [this.#heap[a], this.#heap[b]];
    if (left === undefined || right === undefined) return;
    this.#heap[a] = right;
    this.#heap[b] = left;
  }

  #up(from: number): void {
    let at = from;
    for (let above = (at - 1) >> 1; at > 0 && this.#before(at, above); above = (at - 1) >> 1) {
      this.#swap(at, above);
      at = above;
    }
  }

  #pop(): Timer | undefined {
    const first = this.#heap[0];
    this.#swap(0, this.#heap.length - 1);
    this.#heap.pop();
    let at = 0;
    for (;;) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      const least = this.#before(right, left) ? right : left;
      if (!this.#before(least, at)) return first;
      this.#swap(least, at);
      at = least;
    }
  }
}

/** Random numbers that are the same for the same seed (mulberry32). */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  return {
    next,
    between: (least, most) => least + next() * (most - least),
    whole: (least, most) => least + Math.floor(next() * (most - least + 1)),
    chance: (probability) => next() < probability,
  };
}

export interface Random {
  /** 0 up to, but not including, 1. */
  next(): number;
  between(least: number, most: number): number;
  /** Both ends included. */
  whole(least: number, most: number): number;
  chance(probability: number): boolean;
}
