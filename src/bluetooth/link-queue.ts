import type { Line } from './link-line.ts';

/** A lamp in constant use gives way to one that has stood in the queue for this long. */
export const PATIENCE_MS = 2000;
/** Of lamps that may not be there, links are made free for so many at once: the attempts come one after the other. */
const DOUBTFUL = 3;

/** What the queue comes to at one moment. */
export interface Look {
  /** Whose turn it is to connect; undefined: nobody may yet. */
  readonly next: Line | undefined;
  /** How many links those who may connect now could use at once. */
  readonly demand: number;
  /** How many of them have waited longer than their patience. */
  readonly overdue: number;
  /** One of them was heard lately and has not failed. */
  readonly trusted: boolean;
  /** When the first of those who may not yet may; Infinity: there are none. */
  readonly laterAt: number;
}

/**
 * The lamps that somebody wants and that have no link. First come, first served, save that a lamp stands from when its back-off
 * ends, and one that failed or is not heard stands some seconds behind (`Line.place`). Looking costs one walk over those who
 * wait, which is done when a link could be made or given up, not with every use.
 */
export class Queue {
  readonly #lines = new Set<Line>();

  get size(): number {
    return this.#lines.size;
  }

  [Symbol.iterator](): IterableIterator<Line> {
    return this.#lines.values();
  }

  /** Lets it stand in the queue exactly while it wants a link. */
  file(line: Line, now: number): void {
    if (!line.wantsLink) this.#lines.delete(line);
    else if (!this.#lines.has(line)) {
      line.waitingSince = now;
      this.#lines.add(line);
    }
  }

  look(now: number): Look {
    let next: Line | undefined;
    let first = Number.POSITIVE_INFINITY;
    let laterAt = Number.POSITIVE_INFINITY;
    let trusted = 0;
    let doubtful = 0;
    let overdue = 0;
    for (const line of this.#lines) {
      if (line.notBefore > now) {
        laterAt = Math.min(laterAt, line.notBefore);
        continue;
      }
      const place = line.place(now);
      if (place < first) {
        first = place;
        next = line;
      }
      if (line.isTrusted(now)) trusted += 1;
      else doubtful += 1;
      if (now - place > PATIENCE_MS) overdue += 1;
    }
    const demand = trusted + Math.min(doubtful, DOUBTFUL);
    return { next, demand, overdue, trusted: trusted > 0, laterAt };
  }
}
