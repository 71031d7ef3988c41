import { type ErrorCode, PorchlightError } from '../../src/errors.ts';
import { pinned } from '../../src/families/index.ts';
import type { Frame } from '../../src/lights/family.ts';
import { Light } from '../../src/lights/light.ts';
import type { Clock, Identity, LampAtHand, LampPort } from '../../src/lights/port.ts';
import { TIMING, type Timing } from '../../src/lights/timing.ts';

/** A clock that stands still until it is moved; what is due happens in order, and promises settle in between. */
export class HandClock implements Clock {
  #now = 1000;
  #timers: { readonly at: number; readonly run: () => void }[] = [];

  monotonic(): number {
    return this.#now;
  }

  wall(): number {
    return Date.UTC(2026, 0, 1) + this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, ms), run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  get waiting(): number {
    return this.#timers.length;
  }

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settled();
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
      await settled();
    }
    this.#now = end;
  }
}

/** Lets every promise that can settle do so. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export function timingOf(clock: HandClock): Timing {
  return { ...TIMING, after: (ms, run) => clock.after(ms, run) };
}

/** A lamp in memory, and the road to it. Like the real road it retries until the deadline and takes one turn at a time. */
export class MemoryLamp implements LampPort {
  identity: Identity | undefined;
  reachable = true;
  hears = true;
  /** A lamp that hears writes but never answers a question. */
  mute = false;
  /** A lamp that does not do what it is told. */
  obeys = true;
  writeMs = 0;
  answerMs = 10;
  failure: ErrorCode = 'unreachable';
  /** Each is thrown once, at the next writes. */
  readonly failures: ErrorCode[] = [];
  readonly written: { readonly at: number; readonly hex: string }[] = [];
  readonly bulb = { power: false, rgb: [255, 255, 255], white: 0, effect: 0 };
  mostTurns = 0;
  mostWrites = 0;
  light: Light | undefined;
  #turns = 0;
  #writes = 0;
  readonly #clock: HandClock;
  readonly #real: Identity;

  constructor(clock: HandClock, model: string, known = true) {
    this.#clock = clock;
    this.#real = pinned(model);
    this.identity = known ? this.#real : undefined;
  }

  async reach<T>(until: number, turn: (lamp: LampAtHand) => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      if (this.reachable) {
        try {
          return await this.#takeTurn(turn);
        } catch (thrown) {
          const final = ['refused_by_light', 'unsupported', 'identity_mismatch'];
          if (!(thrown instanceof PorchlightError) || final.includes(thrown.code)) throw thrown;
          if (this.#clock.monotonic() >= until) throw thrown;
        }
      }
      if (this.#clock.monotonic() >= until) throw new PorchlightError(this.failure);
      await this.#rest(Math.min(100, until - this.#clock.monotonic()), signal);
    }
  }

  #rest(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const cancel = this.#clock.after(ms, done);
      signal.addEventListener('abort', done);
    });
  }

  async #takeTurn<T>(turn: (lamp: LampAtHand) => Promise<T>): Promise<T> {
    this.#turns += 1;
    this.mostTurns = Math.max(this.mostTurns, this.#turns);
    this.identity = this.#real;
    const layout = this.#real.family.gatt[0];
    if (layout === undefined) throw new Error('no layout');
    try {
      return await turn({ ...this.#real, layout, hears: this.hears, write: (...frames) => this.#writeAll(frames) });
    } finally {
      this.#turns -= 1;
    }
  }

  async #writeAll(frames: readonly Frame[]): Promise<void> {
    for (const frame of frames) await this.#write(frame);
  }

  async #write(frame: Frame): Promise<void> {
    this.#writes += 1;
    this.mostWrites = Math.max(this.mostWrites, this.#writes);
    await this.#clock.sleep(this.writeMs);
    this.#writes -= 1;
    const failure = this.failures.shift();
    if (failure !== undefined) throw new PorchlightError(failure);
    const hex = Buffer.from(frame.bytes).toString('hex');
    this.written.push({ at: this.#clock.monotonic(), hex });
    this.#obey([...frame.bytes]);
  }

  /** A Triones bulb, from what madhead/saberlight writes of its protocol. */
  #obey(bytes: readonly number[]): void {
    const text = Buffer.from(bytes).toString('hex');
    if (text === 'ef0177') {
      if (!this.mute) this.#clock.after(this.answerMs, () => this.report());
    }
    if (!this.obeys) return;
    if (text === 'cc2333') this.bulb.power = true;
    if (text === 'cc2433') this.bulb.power = false;
    if (bytes[0] === 0x56 && bytes[5] === 0xf0)
      Object.assign(this.bulb, { rgb: bytes.slice(1, 4), white: 0, effect: 0 });
    if (bytes[0] === 0x56 && bytes[5] === 0x0f)
      Object.assign(this.bulb, { rgb: [0, 0, 0], white: bytes[4], effect: 0 });
    if (bytes[0] === 0xbb) this.bulb.effect = bytes[1] ?? 0;
  }

  /** Sends a notification, as the lamp does when asked or when somebody else changed it. */
  report(): void {
    const { power, rgb, white, effect } = this.bulb;
    const bytes = [0x66, 0x15, power ? 0x23 : 0x24, effect || 0x41, 0x20, 0, ...rgb, white, 6, 0x99];
    const said = this.#real.family.decode?.(Uint8Array.from(bytes), this.#real.model);
    if (said !== undefined) this.light?.observe(said);
  }

  hexes(): readonly string[] {
    return this.written.map(({ hex }) => hex);
  }

  /** The changes that reached it, without the questions. */
  changes(): readonly string[] {
    return this.hexes().filter((hex) => hex !== 'ef0177');
  }
}

export interface Bench {
  readonly clock: HandClock;
  readonly lamp: MemoryLamp;
  readonly light: Light;
}

export function bench(model = 'triones', known = true): Bench {
  const clock = new HandClock();
  const lamp = new MemoryLamp(clock, model, known);
  const light = new Light({ id: 'porch', port: lamp, clock, timing: timingOf(clock) });
  lamp.light = light;
  return { clock, lamp, light };
}

/** Who asks, for `ms` from now. */
export function asked(clock: Clock, ms = 30_000, by = 'owner'): { readonly by: string; readonly until: number } {
  return { by, until: clock.monotonic() + ms };
}
