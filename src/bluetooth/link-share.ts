import type { Attempt, Line } from './link-line.ts';

/** An attempt's deadline when nobody else waits: some lamps advertise every few seconds only. */
export const ATTEMPT_MS = 10_000;
/** When others wait: a lamp that was heard answers in less. */
const TRUSTED_MS = 4000;
/** While another that was heard waits, and it is known how long a connection takes here: this one may just have lost its power. */
const TRUSTED_BEFORE_TRUSTED_MS = 1000;
/** A lamp that is not heard, or that has failed, must not hold up those that were. */
const DOUBTFUL_MS = 2000;
/** The same, while a lamp waits that was heard and has not failed; */
const FAILED_BEFORE_TRUSTED_MS = 1000;
/** and for one that is not heard, so that most likely there is nobody, once it is known how long a connection takes here. */
const UNHEARD_BEFORE_TRUSTED_MS = 250;
/** An air that is slow for everyone lengthens the shorter shares, at most to that of a lamp that was heard. */
const SLACK = 3;
/** How much of the slowest success is remembered at the next one. */
const MEMORY = 0.9;

/** How much time an attempt may take of what others wait for: the adapter's one attempt while connecting, then a link. */
export class Shares {
  #connecting = 0;
  #discovering = 0;

  /** Milliseconds that a connection took, or the reading of characteristics after it. */
  learn(what: 'connecting' | 'discovering', ms: number): void {
    if (what === 'connecting') this.#connecting = Math.max(ms, this.#connecting * MEMORY);
    else this.#discovering = Math.max(ms, this.#discovering * MEMORY);
  }

  /**
   * What is left to an attempt at `now`, for which others wait; `trustedWaits`: one of them was heard and has not failed. A lamp
   * that may only be slow to name its characteristics gets twice as long after each time that it was cut short.
   */
  left(line: Line, { startedAt, connectedAt }: Attempt, now: number, trustedWaits: boolean): number {
    if (connectedAt === undefined) return startedAt + this.connecting(line, startedAt, trustedWaits) - now;
    const least = line.isTrusted(connectedAt) ? TRUSTED_MS : DOUBTFUL_MS * 2 ** line.cuts;
    return connectedAt + Math.max(least, Math.min(this.#discovering * SLACK, TRUSTED_MS)) - now;
  }

  /** For making the connection. */
  connecting(line: Line, now: number, trustedWaits: boolean): number {
    if (line.isTrusted(now)) {
      if (!trustedWaits || this.#connecting === 0) return TRUSTED_MS;
      return Math.min(TRUSTED_MS, Math.max(TRUSTED_BEFORE_TRUSTED_MS, this.#connecting * SLACK));
    }
    return Math.max(this.#least(line, now, trustedWaits), Math.min(this.#connecting * SLACK, TRUSTED_MS));
  }

  #least(line: Line, now: number, trustedWaits: boolean): number {
    if (!trustedWaits) return DOUBTFUL_MS;
    return line.isFresh(now) || this.#connecting === 0 ? FAILED_BEFORE_TRUSTED_MS : UNHEARD_BEFORE_TRUSTED_MS;
  }
}
