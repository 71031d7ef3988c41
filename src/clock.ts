import { readdir, readFile } from 'node:fs/promises';
import * as z from 'zod';
import type { Clock } from './lights/port.ts';
import type { Log } from './log.ts';
import type { StateFile } from './storage/state-directory.ts';
import { sleep, type Task } from './task-group.ts';

export type { Clock } from './lights/port.ts';

/** The machine's own clocks. */
export const systemClock: Clock = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
};

/** How far two clocks may differ and still agree, ms; also how far back a clock may be set without losing trust. */
const TOLERANCE_MS = 60_000;
/** No clock that is right shows less: this program is younger (2025-01-01). A Pi without network boots in 1970. */
const FLOOR_MS = 1_735_689_600_000;
/** Someone is waiting for the clock: synchronising takes a Pi some seconds after its network is up. */
const PROBE_MS = 5_000;
const PROBE_TRUSTED_MS = 60_000;
/** Often enough to notice a clock that was set back over a restart, seldom enough for an SD card. */
const SAVE_MS = 3_600_000;

const SYNCHRONISED = '/run/systemd/timesync/synchronized';
const RTC = '/sys/class/rtc';
/** Below this a Pi 5's battery connector is empty, microvolts; a fresh cell has three volts. */
const BATTERY_MICROVOLTS = 1_500_000;

const HighWater = z.object({ wall: z.number().int().min(0).max(8.64e15) });

/** How files are looked at; undefined: there is none, or it cannot be read. */
export interface ClockFiles {
  read(path: string): Promise<string | undefined>;
  list(folder: string): Promise<readonly string[]>;
}

const realFiles: ClockFiles = {
  // Kernel files that are not there, or whose driver answers with an error, say the same: nothing.
  read: (path) => readFile(path, 'utf8').catch(() => undefined),
  list: (folder) => readdir(folder).catch(() => []),
};

export interface ClockTrustOptions {
  /** `clock.trust` of the configuration. */
  readonly trust: 'auto' | 'system';
  readonly clock: Clock;
  /** Keeps the latest time that was trusted, so that a clock set back over a restart is noticed. */
  readonly highWater: Pick<StateFile, 'load' | 'save'>;
  readonly log: Log;
  readonly files?: ClockFiles;
  readonly sleep?: typeof sleep;
}

/** Another clock, read at a moment: what it must show now follows from the monotonic clock. */
interface Reading {
  readonly wall: number;
  readonly monotonic: number;
}

type Listener = (trusted: boolean, why: string) => void;

/**
 * Is the wall clock to be trusted? Asked before a token's times are judged or a schedule fires. Trusted when systemd-timesyncd
 * has synchronised it, a battery-backed clock agrees, or an HTTP `Date` over verified TLS agrees within 60 s; never when it is
 * behind the latest time that was trusted, now or in an earlier run.
 */
export class ClockTrust {
  readonly #options: ClockTrustOptions;
  readonly #listeners = new Set<Listener>();
  #trusted: boolean;
  #why: string;
  #synchronised = false;
  #rtc: Reading | undefined;
  #server: Reading | undefined;
  /** The latest trusted wall time; undefined until the saved one was read. */
  #mark: number | undefined;
  #last: Reading | undefined;
  #savedAt: number | undefined;

  constructor(options: ClockTrustOptions) {
    this.#options = options;
    this.#trusted = options.trust === 'system';
    this.#why = this.#trusted ? 'clock.trust is system' : 'the clock has not been looked at yet';
  }

  /** Judged anew at every call: the clock may have been set a moment ago. */
  get trusted(): boolean {
    this.#judge();
    return this.#trusted;
  }

  /** One sentence part for `status`: what the trust, or its lack, stands on. */
  get why(): string {
    this.#judge();
    return this.#why;
  }

  /** Calls back whenever the answer changes. Returns how to stop that. */
  onChange(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The `Date` header (RFC 9110 section 6.6.1) of an answer that just came. Counts only where TLS proved who sent it. */
  observeDateHeader(date: string | null | undefined, overVerifiedTls: boolean): void {
    if (!overVerifiedTls || !date) return;
    const wall = parseHttpDate(date);
    if (wall === undefined) return;
    this.#server = { wall, monotonic: this.#options.clock.monotonic() };
    this.#judge();
  }

  /** Looks again every few seconds until the clock is trusted, then every minute; keeps the high-water mark. */
  readonly run: Task = async (signal) => {
    const wait = this.#options.sleep ?? sleep;
    while (!signal.aborted) {
      if (this.#options.trust === 'auto') await this.#probe();
      await wait(this.trusted ? PROBE_TRUSTED_MS : PROBE_MS, signal);
    }
  };

  async #probe(): Promise<void> {
    const { clock, files = realFiles } = this.#options;
    if (this.#mark === undefined) await this.#loadMark();
    this.#synchronised = (await files.read(SYNCHRONISED)) !== undefined;
    this.#rtc = await readRtc(files, clock);
    this.#judge();
    await this.#saveMark();
  }

  #judge(): void {
    if (this.#options.trust === 'system') return;
    const { clock } = this.#options;
    const now: Reading = { wall: clock.wall(), monotonic: clock.monotonic() };
    // Set back since the last look: the mark moves to where the clock would be, so that it counts however small the gap.
    if (this.#trusted && this.#last !== undefined && this.#mark !== undefined) {
      const expected = projected(this.#last, now);
      if (now.wall < expected - TOLERANCE_MS) this.#mark = Math.max(this.#mark, expected);
    }
    this.#last = now;
    const [trusted, why] = this.#verdict(now);
    if (trusted && this.#mark !== undefined) this.#mark = Math.max(this.#mark, now.wall);
    const changed = trusted !== this.#trusted;
    this.#trusted = trusted;
    this.#why = why;
    if (!changed) return;
    this.#options.log[trusted ? 'info' : 'warn'](
      { why },
      trusted ? 'the clock is trusted' : 'the clock is not trusted',
    );
    for (const listener of this.#listeners) listener(trusted, why);
  }

  #verdict(now: Reading): readonly [boolean, string] {
    if (this.#mark === undefined) return [false, 'the clock has not been looked at yet'];
    if (!(now.wall >= FLOOR_MS)) return [false, `the clock shows ${iso(now.wall)}, which is long past`];
    if (now.wall < this.#mark - TOLERANCE_MS) {
      return [false, `the clock shows ${iso(now.wall)}, but it was trusted at ${iso(this.#mark)}: it was set back`];
    }
    if (this.#synchronised) return [true, 'synchronised over the network'];
    if (agrees(this.#rtc, now)) return [true, 'a battery-backed clock agrees'];
    if (agrees(this.#server, now)) return [true, "a server's clock agrees (Date over verified TLS)"];
    if (this.#server !== undefined) {
      const seconds = Math.round((now.wall - projected(this.#server, now)) / 1000);
      return [false, `the clock is ${Math.abs(seconds)} s ${seconds < 0 ? 'behind' : 'ahead of'} a server's clock`];
    }
    return [false, 'the clock is not synchronised yet'];
  }

  async #loadMark(): Promise<void> {
    try {
      this.#mark = HighWater.safeParse(await this.#options.highWater.load()).data?.wall ?? 0;
    } catch (thrown) {
      // Without the mark nobody knows whether the clock was set back; it is tried again at the next look.
      this.#options.log.warn({ err: thrown }, 'the latest trusted time cannot be read');
    }
  }

  async #saveMark(): Promise<void> {
    const { clock, highWater, log } = this.#options;
    const now = clock.monotonic();
    if (!this.#trusted || this.#mark === undefined) return;
    if (this.#savedAt !== undefined && now - this.#savedAt < SAVE_MS) return;
    this.#savedAt = now;
    try {
      await highWater.save({ wall: Math.floor(this.#mark) });
    } catch (thrown) {
      log.warn({ err: thrown }, 'the latest trusted time cannot be saved');
    }
  }
}

function projected(reading: Reading, now: Reading): number {
  return reading.wall + (now.monotonic - reading.monotonic);
}

function agrees(reading: Reading | undefined, now: Reading): boolean {
  return reading !== undefined && Math.abs(now.wall - projected(reading, now)) <= TOLERANCE_MS;
}

/** A date as people read it; clocks can show times that have no ISO form. */
function iso(ms: number): string {
  return Number.isFinite(ms) && Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : 'no date at all';
}

/**
 * The first real-time clock that can be believed. What tells a real one from one that only counts since power-on: its driver's
 * name (test and "virtual" ones), a Pi 5's empty battery connector (raspberrypi/linux: drivers/rtc/rtc-rpi.c), an unreadable
 * time (drivers refuse it once the oscillator had stopped), or a time long past. `hctosys` proves nothing: the kernel also
 * takes 1970 from a clock without battery, and Raspberry Pi's kernels never set it. The caller compares it with the wall clock.
 */
async function readRtc(files: ClockFiles, clock: Clock): Promise<Reading | undefined> {
  for (const device of [...(await files.list(RTC))].sort()) {
    if (!/^rtc\d+$/.test(device)) continue;
    const read = (name: string) => files.read(`${RTC}/${device}/${name}`);
    const name = (await read('name')) ?? '';
    if (/test|fake|dummy|vrtc|virtual/i.test(name)) continue;
    const battery = (await read('battery_voltage'))?.trim();
    if (battery !== undefined && /^\d+$/.test(battery) && Number(battery) < BATTERY_MICROVOLTS) continue;
    const seconds = (await read('since_epoch'))?.trim();
    if (seconds === undefined || !/^\d{1,11}$/.test(seconds)) continue;
    const reading = { wall: Number(seconds) * 1000, monotonic: clock.monotonic() };
    if (reading.wall < FLOOR_MS || !agrees(reading, { wall: clock.wall(), monotonic: reading.monotonic })) continue;
    return reading;
  }
  return undefined;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const IMF_FIXDATE = /^[A-Z][a-z]{2}, (\d{2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT$/;

/** Milliseconds of an IMF-fixdate (RFC 9110 section 5.6.7), the only form that senders may write; undefined for all else. */
function parseHttpDate(date: string): number | undefined {
  const [, day, month = '', year, hour, minute, second] = IMF_FIXDATE.exec(date.trim()) ?? [];
  if (second === undefined || !MONTHS.includes(month)) return undefined;
  const ms = Date.UTC(Number(year), MONTHS.indexOf(month), Number(day), Number(hour), Number(minute), Number(second));
  return Number.isFinite(ms) ? ms : undefined;
}
