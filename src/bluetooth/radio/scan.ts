import type { Pulse } from '../central.ts';
import type { Noble } from './noble.ts';

/** A scan that has not started after this long never will in this process. */
const START_MS = 5000;
const RETRY_MS = 2000;
/** Not one report from anybody: noble's and controllers' scans end without a word (noble/noble#474, #598). */
const SILENCE_MS = 20_000;

/**
 * Keeps the scan as wanted. noble's own idea of it cannot be trusted: it stops silently, says that it started where the
 * controller refused, and after some refusals never starts again. What the controller answers decides.
 */
export class Scan {
  readonly #noble: Noble;
  readonly #fatal: (reason: string) => void;
  #wanted = false;
  #started = false;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #reportAt = 0;
  #heardAt: number | undefined;
  #rescans = 0;
  /** How long nobody at all may be heard. */
  patienceMs = SILENCE_MS;

  constructor(noble: Noble, fatal: (reason: string) => void) {
    this.#noble = noble;
    this.#fatal = fatal;
    noble.on('scanStop', () => {
      this.#started = false;
    });
  }

  want(on: boolean): void {
    this.#wanted = on;
    if (on && !this.#started) this.#start();
    else if (!on) this.#stop();
  }

  /** An advertising report of anybody. */
  onReport(now: number): void {
    this.#reportAt = now;
    this.#heardAt = now;
  }

  pulse(now: number): Omit<Pulse, 'rss'> {
    const heardMs = this.#wanted && this.#heardAt !== undefined ? Math.max(0, now - this.#heardAt) : undefined;
    return { rescans: this.#rescans, ...(heardMs !== undefined ? { heardMs } : {}) };
  }

  /** Called now and then: a scan that has gone silent is begun anew. */
  check(now: number): void {
    if (!this.#started || !this.#wanted || now - this.#reportAt < this.patienceMs) return;
    this.#reportAt = now;
    this.#restart();
  }

  /** The controller's answer to a scan command: the one that switched it on is the last of each start. */
  onEnabled(status: number): void {
    if (status === 0 || !this.#wanted) return;
    // Refused: somebody else holds the scan, or it is being switched. Begin from the beginning.
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#again(), RETRY_MS);
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#again(), START_MS);
    this.#noble.startScanning([], true, (error) => {
      if (error !== undefined && error !== null) return;
      clearTimeout(this.#timer);
      this.#started = true;
      this.#failures = 0;
      this.#reportAt = performance.now();
    });
  }

  #stop(): void {
    clearTimeout(this.#timer);
    if (this.#started) this.#noble.stopScanning();
    this.#started = false;
  }

  #again(): void {
    if (!this.#wanted) return;
    this.#failures += 1;
    if (this.#failures > 2) {
      this.#fatal('the scan does not start');
      return;
    }
    this.#restart();
  }

  #restart(): void {
    this.#rescans += 1;
    clearTimeout(this.#timer);
    this.#started = false;
    this.#noble.stopScanning();
    this.#timer = setTimeout(() => this.#wanted && this.#start(), 200);
  }
}
