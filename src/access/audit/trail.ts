import type { PorchlightError } from '../../errors.ts';
import { unusable } from '../../storage/file-system.ts';
import { sleep } from '../../task-group.ts';
import { Chain, type ChainOptions, type Noted, timeOf, type Waiting } from './chain.ts';
import type { Entry } from './record.ts';

/** How the trail is; `problem` while records wait for the disk. */
export interface TrailStatus {
  /** The last record that was written. */
  readonly seq: number;
  /** Records that wait in memory. */
  readonly waiting: number;
  /** Records that there was no room for, since the start. */
  readonly lost: number;
  readonly problem?: { readonly code: 'state_unusable'; readonly message: string; readonly hint: string };
}

/** Longer than any healthy disk takes to accept a line. Commands then no longer wait for theirs. */
const PATIENCE_MS = 500;
/** Records that wait for a disk that takes none. Each is some hundred bytes. */
const MAX_WAITING = 5_000;
const MAX_BATCH = 500;
const RETRY_FIRST_MS = 1_000;
const RETRY_LONGEST_MS = 30_000;
/** At the end, a disk that hangs is not waited for: stopping takes at most 5 s in all. */
const CLOSING_MS = 1_500;

/**
 * The writer of the trail. What is noted in one turn of the event loop is one write; what is written is durable within about a second.
 *
 * **When the disk takes nothing** (full, read-only, broken) commands go on: a lamp in the dark helps nobody. Up to 5,000 records wait in
 * memory, later ones are counted, and the first record that can be written again, `resumed`, says how many were lost and why.
 */
export class Trail {
  readonly #options: ChainOptions;
  readonly #chain: Chain;
  #waiting: Waiting[] = [];
  /** Entries ever accepted, and those of them that were written. */
  #accepted = 0;
  #written = 0;
  #barriers: { readonly upTo: number; readonly promise: Promise<void>; readonly open: () => void }[] = [];
  #flushing: Promise<void> | undefined;
  /** Commands do not wait for a disk like this. */
  #slow = false;
  #problem: PorchlightError | undefined;
  #failures = 0;
  #retryAt = Number.NEGATIVE_INFINITY;
  #lost = 0;
  #untold = 0;
  /** Rings when something is due earlier than it was. */
  #onSooner: () => void = () => undefined;

  constructor(options: ChainOptions) {
    this.#options = options;
    this.#chain = new Chain(options);
  }

  get status(): TrailStatus {
    const head = { seq: this.#chain.seq, waiting: this.#waiting.length, lost: this.#lost };
    if (this.#problem === undefined) return head;
    const { message, hint } = this.#problem;
    return {
      ...head,
      problem: { code: 'state_unusable', message: `The audit trail can not be written: ${message}`, hint },
    };
  }

  /** Puts `entry` on record, soon. `of`: the record that it is about. */
  note(entry: Entry, of?: Noted): Noted {
    const waiting: Waiting = { entry, at: timeOf(this.#options.clock), of, seq: undefined };
    if (this.#waiting.length >= MAX_WAITING) {
      this.#lost += 1;
      this.#untold += 1;
      return waiting;
    }
    this.#waiting.push(waiting);
    this.#accepted += 1;
    this.#flushSoon();
    return waiting;
  }

  /** Resolves when all that was noted is written; also when the disk takes too long for that, or takes nothing. */
  async written(): Promise<void> {
    if (this.#waiting.length === 0 || this.#slow) return;
    let barrier = this.#barriers.at(-1);
    if (barrier?.upTo !== this.#accepted) {
      let open = (): void => undefined;
      const promise = new Promise<void>((resolve) => {
        open = resolve;
      });
      barrier = { upTo: this.#accepted, promise, open };
      this.#barriers.push(barrier);
    }
    await barrier.promise;
  }

  /** Opens the trail, if it can be, and tells whether the run before this one came to no orderly end. */
  async start(): Promise<{ readonly unclean: boolean }> {
    await this.#flush();
    return { unclean: this.#chain.unclean };
  }

  /** When `tick` has something to do, monotonic ms. */
  get next(): number {
    return this.#problem === undefined ? this.#chain.next : Math.min(this.#chain.next, this.#retryAt);
  }

  onSooner(listener: () => void): void {
    this.#onSooner = listener;
  }

  /** Does what is due: tries again what failed, makes durable what was written. */
  async tick(): Promise<void> {
    const now = this.#options.clock.monotonic();
    if (this.#problem !== undefined && now >= this.#retryAt) await this.#flush();
    if (!(await this.#chain.tick())) this.#flushSoon();
  }

  /** Writes what waits, durably, and lets go of the files; within 1.5 s, whatever the disk does. */
  async close(): Promise<void> {
    const enough = new AbortController();
    await Promise.race([this.#finish(), sleep(CLOSING_MS, enough.signal)]);
    enough.abort();
    const { status } = this;
    if (status.waiting + this.#untold > 0)
      this.#options.log.error({ lost: status.waiting + this.#untold }, 'records of the audit trail are lost');
  }

  async #finish(): Promise<void> {
    await this.#flush();
    await this.#chain.close();
  }

  /** At the end of this turn of the event loop, so that what it notes is one write. */
  #flushSoon(): void {
    if (this.#flushing !== undefined || this.#problem !== undefined) return;
    this.#flushing = new Promise((resolve) => {
      setImmediate(() => resolve(this.#flushAll()));
    });
  }

  async #flush(): Promise<void> {
    this.#flushing ??= this.#flushAll();
    await this.#flushing;
  }

  async #flushAll(): Promise<void> {
    try {
      do {
        const batch = this.#waiting.slice(0, MAX_BATCH);
        const untold = this.#untold;
        const next = this.#chain.next;
        await this.#patiently(() => this.#chain.write(this.#lossesToTell(), batch));
        if (this.#chain.next < next) this.#onSooner();
        this.#untold -= untold;
        this.#waiting.splice(0, batch.length);
        this.#written += batch.length;
        this.#slow = false;
        this.#openBarriers(this.#written);
      } while (this.#waiting.length > 0);
      this.#recovered();
    } catch (thrown) {
      this.#failed(unusable(this.#options.folder, thrown));
    } finally {
      this.#flushing = undefined;
    }
    // What came in this very turn.
    if (this.#waiting.length > 0 && this.#problem === undefined) this.#flushSoon();
  }

  async #patiently(work: () => Promise<void>): Promise<void> {
    const timer = setTimeout(() => {
      const wasSlow = this.#slow;
      this.#slow = true;
      this.#openBarriers(Number.POSITIVE_INFINITY);
      if (!wasSlow) this.#options.log.warn('the disk is slow to take the audit trail; commands do not wait for it');
    }, PATIENCE_MS);
    try {
      await work();
    } finally {
      clearTimeout(timer);
    }
  }

  #openBarriers(upTo: number): void {
    while (this.#barriers[0] !== undefined && this.#barriers[0].upTo <= upTo) this.#barriers.shift()?.open();
  }

  #lossesToTell(): readonly Entry[] {
    if (this.#untold === 0) return [];
    const why = this.#problem?.message;
    return [{ event: 'resumed', by: 'gateway', lost: this.#untold, ...(why !== undefined && { why }) }];
  }

  #failed(problem: PorchlightError): void {
    const { clock, log } = this.#options;
    if (this.#problem?.message !== problem.message)
      log.error({ hint: problem.hint }, `the audit trail can not be written: ${problem.message}`);
    this.#problem = problem;
    this.#slow = true;
    this.#failures += 1;
    this.#retryAt = clock.monotonic() + Math.min(RETRY_FIRST_MS * 2 ** (this.#failures - 1), RETRY_LONGEST_MS);
    this.#openBarriers(Number.POSITIVE_INFINITY);
    this.#onSooner();
  }

  #recovered(): void {
    if (this.#problem === undefined) return;
    this.#problem = undefined;
    this.#failures = 0;
    this.#options.log.info('the audit trail can be written again');
  }
}
