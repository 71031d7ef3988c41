import type { ErrorCode, PorchlightError } from '../errors.ts';
import type { Link } from './central.ts';

/** The first wait after a failure of the air, and the longest: it doubles in between. */
const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 4000;
/** A radio that restarts or an adapter that is off: the scheduler waits for its word, this only prevents a busy loop. */
const ADAPTER_WAIT_MS = 50;
/** A lamp that nobody hears is tried again without an advert after this long: adverts can be missed. */
const UNHEARD_WAIT_MS = 5000;
/** An advert younger than this means that the lamp is there. */
const FRESH_MS = 30_000;

const RETRIED: ReadonlySet<ErrorCode> = new Set([
  'unreachable',
  'out_of_slots',
  'connect_failed',
  'link_lost',
  'timed_out',
  'adapter_off',
  'adapter_stuck',
  'radio_restarting',
]);

/** Whether another attempt can help. Refusals of the lamp, and mistakes of ours, stay what they are. */
export const isRetried = (error: PorchlightError): boolean => RETRIED.has(error.code);

/** One who wants the link: settled exactly once. */
export interface Use {
  /** Monotonic ms. */
  readonly until: number;
  readonly turn: (link: Link) => Promise<void>;
  readonly fail: (error: PorchlightError) => void;
  readonly isOver: () => boolean;
  last: PorchlightError | undefined;
}

/** Everything about the link to one address: who waits for it, and what was learned from earlier attempts. */
export class Line {
  readonly address: string;
  readonly uses: Use[] = [];
  link: Link | undefined;
  /** Whose turn is under way. */
  current: Use | undefined;
  /** The link is being given back. */
  releasing = false;
  /** The attempt under way, if any. */
  attempt: { readonly cancel: AbortController; readonly startedAt: number } | undefined;
  linkedAt = 0;
  lastUsedAt = 0;
  lastAttemptAt = Number.NEGATIVE_INFINITY;
  /** When the first of those who wait now began to wait. */
  waitingSince = 0;
  /** Monotonic ms before which no attempt is made. */
  notBefore = 0;
  heardAt = Number.NEGATIVE_INFINITY;
  idleTimer: NodeJS.Timeout | undefined;
  #failures = 0;
  #waitsForAdvert = false;

  constructor(address: string) {
    this.address = address;
  }

  get running(): boolean {
    return this.current !== undefined;
  }

  get takesSlot(): boolean {
    return this.link !== undefined || this.attempt !== undefined || this.releasing;
  }

  get isIdle(): boolean {
    return this.link !== undefined && this.uses.length === 0 && !this.running && !this.releasing;
  }

  wantsLink(): boolean {
    return this.uses.length > 0 && !this.takesSlot && !this.running;
  }

  isFresh(now: number): boolean {
    return now - this.heardAt < FRESH_MS;
  }

  hear(now: number): void {
    this.heardAt = now;
    if (!this.#waitsForAdvert) return;
    this.#waitsForAdvert = false;
    this.notBefore = now;
  }

  succeed(): void {
    this.#failures = 0;
    this.#waitsForAdvert = false;
    this.notBefore = 0;
  }

  /** Sets the wait that this failure asks for. */
  backOff(error: PorchlightError, now: number): void {
    if (error.code === 'radio_restarting' || error.code === 'adapter_off') {
      this.notBefore = now + ADAPTER_WAIT_MS;
    } else if (error.code === 'unreachable' && !this.isFresh(now)) {
      this.#waitsForAdvert = true;
      this.notBefore = now + UNHEARD_WAIT_MS;
    } else {
      this.notBefore = now + Math.min(FIRST_WAIT_MS * 2 ** this.#failures, LONGEST_WAIT_MS);
      this.#failures = Math.min(this.#failures + 1, 10);
    }
  }
}
