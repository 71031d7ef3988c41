import type { PorchlightError } from '../errors.ts';
import type { Link } from './central.ts';
import { RETRIES, UNHEARD_WAIT_MS, waitAfter } from './link-retry.ts';
import type { Use } from './link-use.ts';

/** A sign of life younger than this means that the lamp is there. */
const FRESH_MS = 30_000;
/** A lamp that failed stands in the queue as if it had come this much later, */
const FAILED_HANDICAP_MS = 4000;
/** and one that nobody hears, this much. */
const UNHEARD_HANDICAP_MS = 2000;
/** Turns that follow each other within this time are one run: a slider is being moved. */
const RUN_GAP_MS = 250;
/** As many turns make a run. */
const RUN_TURNS = 3;
/** A failure so shortly before the adapter went away was the adapter's. */
const BLAME_MS = 250;

/** `connecting` holds the adapter's one attempt; `discovering` only a link. */
export type Phase = 'none' | 'connecting' | 'discovering' | 'linked' | 'releasing';

/** An attempt under way. */
export interface Attempt {
  readonly cancel: AbortController;
  readonly startedAt: number;
  /** When its characteristics began to be read. */
  connectedAt: number | undefined;
}

/** Everything about the link to one address: who waits for it, where it stands, and what earlier attempts taught. */
export class Line {
  readonly address: string;
  readonly uses: Use[] = [];
  phase: Phase = 'none';
  link: Link | undefined;
  attempt: Attempt | undefined;
  /** Whose turn is under way. */
  current: Use | undefined;
  /** When it came to wait for a link. */
  waitingSince = 0;
  /** Monotonic ms before which no attempt is made. */
  notBefore = 0;
  lastUsedAt = 0;
  idleTimer: NodeJS.Timeout | undefined;
  #seenAt = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #failedAt = Number.NEGATIVE_INFINITY;
  /** Attempts that were ended while the lamp was naming its characteristics: the next one gets longer. */
  #cuts = 0;
  #run = 0;
  #waitsForAdvert = false;

  constructor(address: string) {
    this.address = address;
  }

  get wantsLink(): boolean {
    return this.uses.length > 0 && this.phase === 'none' && this.current === undefined;
  }

  get isIdle(): boolean {
    return this.phase === 'linked' && this.uses.length === 0 && this.current === undefined;
  }

  /** Until then the next turn of a run may come: giving the link back in between would only cost a new one. */
  get runEnds(): number {
    return this.#run < RUN_TURNS ? Number.NEGATIVE_INFINITY : this.lastUsedAt + RUN_GAP_MS;
  }

  get cuts(): number {
    return this.#cuts;
  }

  /** It was heard or linked lately, and its last attempt did not fail. */
  isTrusted(now: number): boolean {
    return this.#failures === 0 && this.isFresh(now);
  }

  isFresh(now: number): boolean {
    return now - this.#seenAt < FRESH_MS;
  }

  /** Its place in the queue: the lamp of the smallest is next. It never grows while a lamp waits, save when it is not heard any more. */
  place(now: number): number {
    const since = Math.max(this.waitingSince, this.notBefore);
    if (this.#failures > 0) return since + FAILED_HANDICAP_MS;
    return this.isFresh(now) ? since : since + UNHEARD_HANDICAP_MS;
  }

  /** The lamp gave a sign of life. True where an attempt waited for it. */
  see(now: number): boolean {
    this.#seenAt = now;
    if (!this.#waitsForAdvert) return false;
    this.#waitsForAdvert = false;
    this.notBefore = now;
    return true;
  }

  beginTurn(use: Use, now: number): void {
    clearTimeout(this.idleTimer);
    this.#run = now - this.lastUsedAt < RUN_GAP_MS ? this.#run + 1 : 1;
    this.current = use;
  }

  endTurn(now: number): void {
    this.current = undefined;
    this.lastUsedAt = now;
  }

  /** The lamp did or said something: whatever it failed at before is forgiven. */
  succeed(now: number): void {
    this.#failures = 0;
    this.#cuts = 0;
    this.#waitsForAdvert = false;
    this.#seenAt = now;
    this.notBefore = 0;
  }

  /** It is there, but is not what it should be: others go first. */
  distrust(): void {
    this.#failures = Math.max(1, this.#failures);
  }

  /** Sets the wait that this failure of the lamp's own asks for. */
  backOff({ code }: PorchlightError, now: number): void {
    const retry = RETRIES[code];
    if (retry === undefined) return;
    const unheard = retry.untilHeard === true && !this.isFresh(now);
    this.#waitsForAdvert = unheard;
    this.notBefore = now + (unheard ? UNHEARD_WAIT_MS : waitAfter(retry, this.#failures));
    this.#failures += 1;
    this.#failedAt = now;
  }

  cut(): void {
    this.#cuts = Math.min(this.#cuts + 1, 2);
  }

  /** The adapter went away: a failure of that very moment was not the lamp's. */
  forgive(now: number): void {
    if (now - this.#failedAt > BLAME_MS) return;
    this.#failures = Math.max(0, this.#failures - 1);
    this.#failedAt = Number.NEGATIVE_INFINITY;
    this.#waitsForAdvert = false;
    this.notBefore = now;
  }
}
