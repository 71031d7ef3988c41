import * as z from 'zod';
import type { Clock } from '../lights/port.ts';
import type { Log } from '../log.ts';
import type { StateFile } from '../storage/state-directory.ts';
import { laterOf } from './replay.ts';

/** How often the mark is moved along for proofs that need no mark: seldom enough for an SD card. */
const MOVE_MS = 60_000;

/** `until`: seconds since 1970. `open`: the process that wrote this may have used later ones. */
const Kept = z.object({ until: z.number().min(0).max(8.64e12), open: z.boolean() });

/** What earlier processes left. */
export interface Left {
  /** Seconds since 1970: proofs issued up to then may have been used. Undefined: none were. */
  readonly until: number | undefined;
  /** Later ones were not. Otherwise (a crash) everything up to the start of this process may have been. */
  readonly exact: boolean;
}

/**
 * Up to when proofs may have been used, kept over a restart. A process refuses what was issued before it trusted its clock, but times
 * are in seconds and senders' clocks may be ahead. So the first use in a process is noted durably before it counts, and every use
 * of a proof that is dated ahead of the clock; a clean stop notes the last one. In between the mark follows a minute behind, for
 * the day on which the clock is set back between two runs.
 */
export class ProofMark {
  readonly #file: Pick<StateFile, 'load' | 'save'>;
  readonly #clock: Clock;
  readonly #log: Log;
  /** The latest that was used, and the latest that is durably noted: seconds since 1970. */
  #used = Number.NEGATIVE_INFINITY;
  #noted = Number.NEGATIVE_INFINITY;
  #opened: Promise<void> | undefined;
  #notedAt = Number.NEGATIVE_INFINITY;

  constructor(file: Pick<StateFile, 'load' | 'save'>, clock: Clock, log: Log) {
    this.#file = file;
    this.#clock = clock;
    this.#log = log;
  }

  /** Rejects when nobody can tell. */
  async load(): Promise<Left> {
    const found = await this.#file.load();
    if (found === undefined) return { until: undefined, exact: true };
    const kept = Kept.safeParse(found);
    return { until: kept.data?.until, exact: kept.data?.open === false };
  }

  /** Call before a proof that was issued then (seconds since 1970) is used. Rejects when it must not be used. */
  async pass(issuedAt: number): Promise<void> {
    const mark = Math.ceil(issuedAt);
    this.#used = laterOf(this.#used, mark);
    this.#opened ??= this.#note();
    try {
      await this.#opened;
    } catch (thrown) {
      this.#opened = undefined;
      throw thrown;
    }
    if (laterOf(this.#noted, mark) === this.#noted) return;
    if (issuedAt * 1000 > this.#clock.wall()) return await this.#note();
    if (this.#clock.monotonic() - this.#notedAt < MOVE_MS) return;
    this.#note().catch((err: unknown) => this.#log.warn({ err }, 'how far proofs were used cannot be saved'));
  }

  /** Notes the last use; no more may follow. */
  async close(): Promise<void> {
    if (this.#opened === undefined) return;
    try {
      await this.#file.save({ until: this.#used, open: false });
    } catch (err) {
      this.#log.warn({ err }, 'how far proofs were used cannot be saved');
    }
  }

  async #note(): Promise<void> {
    this.#notedAt = this.#clock.monotonic();
    const until = this.#used;
    await this.#file.save({ until, open: true });
    this.#noted = until;
  }
}
