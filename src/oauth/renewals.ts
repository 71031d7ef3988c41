import { asPorchlightError, type PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import type { Log } from '../log.ts';
import { type BackOff, backOff } from './back-off.ts';
import type { Grant } from './grant.ts';
import { Wake } from './wake.ts';

/** A refresh that failed in a way that may pass is tried again after 1, 2, 4 ... 300 s. */
const RETRY: BackOff = { first: 1_000, longest: 300_000 };

/** However short the life that a server gives its tokens, it is not asked more often than this. */
const PACE = 1_000;

/**
 * When told to stop in mid-refresh, the answer is waited for this long: it may hold the only refresh token that still works
 * (RFC 9700 section 4.14.2, rotation). The whole daemon has 5 s to stop.
 */
const LAST_WORDS = 3_000;

/** How one refresh went. */
export type Renewal =
  /** There is a new access token, or there is nothing to refresh any more. */
  | { readonly kind: 'done' }
  /** The grant is lost. */
  | { readonly kind: 'ended'; readonly problem: PorchlightError }
  /** It may pass. */
  | { readonly kind: 'later'; readonly problem: PorchlightError; readonly retryAfter?: number };

export interface RenewalParts {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly grant: () => Grant | undefined;
  /** One refresh, stored before it is used. */
  readonly renew: (signal: AbortSignal) => Promise<Renewal>;
  /** The access token has reached the end of its life. */
  readonly onExpired: () => Promise<void>;
  readonly onProblem: (problem: PorchlightError | undefined) => void;
}

/** Keeping the access token fresh: refreshes ahead of its end, one refresh at a time, and backs off while the server is away. */
export class Renewals {
  readonly #parts: RenewalParts;
  readonly #wake = new Wake();
  #signal: AbortSignal | undefined;
  #underWay: Promise<void> | undefined;
  #faults = 0;
  #retryAt = Number.NEGATIVE_INFINITY;
  #lastAt = Number.NEGATIVE_INFINITY;

  constructor(parts: RenewalParts) {
    this.#parts = parts;
  }

  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    const { clock, grant, onExpired } = this.#parts;
    while (!signal.aborted) {
      const now = clock.monotonic();
      const current = grant();
      if (current !== undefined && now >= current.expires) await onExpired();
      const due = this.#due(current);
      if (due <= now) await this.now();
      else {
        const end = current !== undefined && current.expires > now ? current.expires : Number.POSITIVE_INFINITY;
        await this.#wake.wait(Math.min(due, end) - now, signal);
      }
    }
    await this.#underWay;
    this.#signal = undefined;
  }

  /** True while the last refresh failed and the next is being waited for. */
  get backingOff(): boolean {
    return this.#faults > 0;
  }

  get underWay(): Promise<void> | undefined {
    return this.#underWay;
  }

  /** Refreshes now, or joins the refresh under way. Resolves when it has ended, well or not. */
  now(): Promise<void> {
    const signal = this.#signal;
    if (signal === undefined || signal.aborted) return Promise.resolve();
    this.#underWay ??= this.#attempt(signal).finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  /** There is another grant, or none: what is due is judged anew. */
  reconsider(): void {
    this.#faults = 0;
    this.#retryAt = Number.NEGATIVE_INFINITY;
    this.#wake.ring();
  }

  #due(current: Grant | undefined): number {
    if (current?.record.refresh_token === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(current.due, this.#retryAt, this.#lastAt + PACE);
  }

  async #attempt(signal: AbortSignal): Promise<void> {
    const { clock, random, log, renew, onProblem } = this.#parts;
    let renewal: Renewal;
    this.#lastAt = clock.monotonic();
    try {
      renewal = await patiently(signal, renew);
    } catch (thrown) {
      renewal = { kind: 'later', problem: asPorchlightError(thrown) };
    }
    if (signal.aborted) return;
    if (renewal.kind !== 'later') {
      if (this.#faults > 0) log.info('the authorization server answers again');
      this.#faults = 0;
      this.#retryAt = Number.NEGATIVE_INFINITY;
      onProblem(renewal.kind === 'ended' ? renewal.problem : undefined);
    } else {
      this.#faults += 1;
      this.#retryAt = clock.monotonic() + backOff(RETRY, this.#faults, random, renewal.retryAfter);
      const { code, message } = renewal.problem;
      if (this.#faults === 1)
        log.warn({ code, problem: message }, 'the access token could not be renewed; trying again');
      onProblem(renewal.problem);
    }
    this.#wake.ring();
  }
}

/** Runs `work` with a signal that aborts LAST_WORDS after `signal` does. */
async function patiently<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const stopping = (): void => {
    timer = setTimeout(() => late.abort(), LAST_WORDS);
  };
  signal.addEventListener('abort', stopping, { once: true });
  try {
    return await work(late.signal);
  } finally {
    signal.removeEventListener('abort', stopping);
    clearTimeout(timer);
  }
}
