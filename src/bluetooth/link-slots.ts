import type { Line, Phase } from './link-line.ts';

/** What the adapter taught about its room is believed for this long; then one more link is tried. */
const BELIEF_MS = 60_000;

/**
 * Who holds one of the adapter's links, and how many there may be: as many as configured, or fewer for a while after the adapter
 * said that it has no room. Other programs' links count against the same room, so what was learned is tried anew, one link at a
 * time.
 */
export class Slots {
  readonly max: number;
  readonly #lines = new Set<Line>();
  #learned: { limit: number; until: number } | undefined;

  constructor(max: number) {
    this.max = max;
  }

  get used(): number {
    return this.#lines.size;
  }

  [Symbol.iterator](): IterableIterator<Line> {
    return this.#lines.values();
  }

  /** A line holds a slot from the begin of its attempt until its link is gone. */
  file(line: Line): void {
    if (line.phase === 'none') this.#lines.delete(line);
    else this.#lines.add(line);
  }

  count(phase: Phase): number {
    let count = 0;
    for (const line of this.#lines) if (line.phase === phase) count += 1;
    return count;
  }

  /** Below zero where more are held than the adapter is now thought to have room for. */
  free(now: number): number {
    return this.limit(now) - this.#lines.size;
  }

  /** When another link is tried than the adapter had room for; Infinity: no such thing is known. */
  get triedAnewAt(): number {
    return this.#learned?.until ?? Number.POSITIVE_INFINITY;
  }

  limit(now: number): number {
    const learned = this.#learned;
    if (learned === undefined) return this.max;
    if (now >= learned.until) {
      learned.limit += 1;
      learned.until = now + BELIEF_MS;
    }
    if (learned.limit < this.max) return learned.limit;
    this.#learned = undefined;
    return this.max;
  }

  /** The adapter had no room for one more beside those that are held. True where that is less than was thought. */
  refuse(now: number): boolean {
    const limit = Math.max(1, this.#lines.size);
    if (limit >= this.max) return false;
    const isNews = limit < this.limit(now);
    this.#learned = { limit, until: now + BELIEF_MS };
    return isNews;
  }
}
