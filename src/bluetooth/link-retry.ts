import type { ErrorCode, PorchlightError } from '../errors.ts';

/** What follows a failure of the air. Milliseconds. */
export interface Retry {
  /** Whose doing it was: the lamp's own wait grows, or everybody waits for the adapter and no lamp's wait grows. */
  readonly fault: 'lamp' | 'adapter';
  /** The first wait; the next ones grow by `growth` up to `longestMs`. */
  readonly firstMs: number;
  readonly growth: number;
  readonly longestMs: number;
  /** A lamp that nobody has heard lately waits for its advert instead, or for `UNHEARD_WAIT_MS`. */
  readonly untilHeard?: true;
}

const quick = { fault: 'lamp', firstMs: 200, growth: 2, longestMs: 4000 } as const;
/** The adapter's word is waited for; this only prevents a busy loop, should nobody say that it is back. */
const away = { fault: 'adapter', firstMs: 50, growth: 2, longestMs: 500 } as const;

/**
 * Every failure that another attempt can heal. A code that is absent stays what it is: refusals of the lamp (`refused_by_light`,
 * `unsupported`, `identity_mismatch`), mistakes of ours, and the end.
 */
export const RETRIES: Readonly<Partial<Record<ErrorCode, Retry>>> = {
  unreachable: { ...quick, untilHeard: true },
  connect_failed: quick,
  link_lost: quick,
  // It took the connection and then said nothing: each attempt costs a link for seconds, so they become rare.
  timed_out: { fault: 'lamp', firstMs: 1000, growth: 2, longestMs: 15_000 },
  // Somebody else has its links; asking does not free them.
  out_of_slots: { fault: 'adapter', firstMs: 500, growth: 2, longestMs: 4000 },
  adapter_stuck: { fault: 'adapter', firstMs: 500, growth: 2, longestMs: 10_000 },
  adapter_off: away,
  radio_restarting: away,
};

/** Adverts can be missed: a lamp that nobody hears is tried again without one after this long. */
export const UNHEARD_WAIT_MS = 5000;

/** Whether another attempt can help. */
export const isRetried = ({ code }: PorchlightError): boolean => RETRIES[code] !== undefined;

export const isAdaptersFault = ({ code }: PorchlightError): boolean => RETRIES[code]?.fault === 'adapter';

/** How long to wait after `failures` earlier ones in a row. */
export function waitAfter({ firstMs, growth, longestMs }: Retry, failures: number): number {
  return Math.min(firstMs * growth ** Math.min(failures, 16), longestMs);
}

/** The pause that the adapter asks of everybody. It ends at once when the adapter speaks well again. */
export class AdapterPause {
  #failures = 0;
  #until = Number.NEGATIVE_INFINITY;

  /** Monotonic ms until which no attempt is made. */
  get until(): number {
    return this.#until;
  }

  /** Several attempts that failed of one cause, while a pause lasts, lengthen nothing. */
  fail({ code }: PorchlightError, now: number): void {
    const retry = RETRIES[code];
    if (retry === undefined || now < this.#until) return;
    this.#until = now + waitAfter(retry, this.#failures);
    this.#failures += 1;
  }

  end(): void {
    this.#failures = 0;
    this.#until = Number.NEGATIVE_INFINITY;
  }
}
