import { PorchlightError } from '../../../errors.ts';
import type { Bluetoothd } from './bluetoothd.ts';
import { DEVICE, devicePath } from './bluez.ts';
import { connectFailure, isAbsent, isBluez } from './failures.ts';
import type { Leaving } from './leaving.ts';
import type { Properties } from './values.ts';

/** How long a cancelled attempt is waited for: the kernel has to take it back from the controller. */
const CANCEL_MS = 3000;
/** bluetoothd's own idea of how long it may take is up to 40 s; ours decides. */
const CONNECT_MS = 60_000;

export interface Connected {
  readonly path: string;
  /** What is known of the device. */
  readonly known: Properties;
  /** It was connected already, and not by us. */
  readonly foreign: boolean;
}

interface Attempt {
  readonly address: string;
  readonly until: number;
  readonly signal: AbortSignal;
}

interface Begun<T> {
  readonly made: Promise<T>;
  /** Resolves with bluetoothd's answer, whatever it is. */
  readonly asked: Promise<unknown>;
  /** Makes nothing of a connection that comes after all. */
  readonly stop: () => void;
}

/** Makes connections one at a time, as controllers do, each with a deadline of ours and a Disconnect to cancel it. */
export class DbusConnects {
  readonly #bluetoothd: Bluetoothd;
  readonly #leaving: Leaving;
  readonly #onBusy: () => void;
  /** Devices that this process connected, or tried to: a link of theirs is ours. */
  readonly #ours = new Set<string>();
  readonly #failing = new Set<(thrown: PorchlightError) => void>();
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #listening = false;

  /** `onBusy`: `busy` or `listening` has changed. */
  constructor(bluetoothd: Bluetoothd, leaving: Leaving, onBusy: () => void) {
    this.#bluetoothd = bluetoothd;
    this.#leaving = leaving;
    this.#onBusy = onBusy;
  }

  /** True while attempts run or wait. */
  get busy(): boolean {
    return this.#waiting > 0;
  }

  /** A lamp that bluetoothd does not know is waited for. */
  get listening(): boolean {
    return this.#listening;
  }

  /**
   * `make` is called in the very moment of the connection. Rejects with `unreachable` at the deadline (`until`, monotonic ms),
   * `connect_failed`, `out_of_slots`, `adapter_off`.
   */
  async connect<T>(address: string, until: number, signal: AbortSignal, make: (connected: Connected) => T): Promise<T> {
    this.#waiting += 1;
    this.#onBusy();
    const mine = this.#tail.then(() => this.#attempt({ address, until, signal }, make));
    this.#tail = mine.catch(() => undefined);
    try {
      return await mine;
    } finally {
      this.#waiting -= 1;
      this.#onBusy();
    }
  }

  /** A link that an earlier life of this process left behind counts as ours; `on` false: there is none after all. */
  claim(path: string, on: boolean): void {
    if (on) this.#ours.add(path);
    else this.#ours.delete(path);
  }

  giveUp(reason: PorchlightError): void {
    for (const fail of this.#failing) fail(reason);
  }

  async #attempt<T>(attempt: Attempt, make: (connected: Connected) => T): Promise<T> {
    const path = devicePath(this.#bluetoothd.adapter, attempt.address);
    const within = <R>(what: (giveUp: Promise<never>) => Promise<R>): Promise<R> => this.#within(attempt, what);
    await within((giveUp) => Promise.race([this.#leaving.settled(), giveUp]));
    const known = await within((giveUp) => this.#find(path, giveUp));
    if (known.get('Connected') === true) return make({ path, known, foreign: !this.#ours.has(path) });
    this.#ours.add(path);
    const { made, asked, stop } = this.#begin(path, make);
    try {
      return await within((giveUp) => Promise.race([made, giveUp]));
    } catch (thrown) {
      stop();
      // Whatever ended it: bluetoothd must not go on, and has its one attempt free before the next is made.
      await Promise.race([Promise.all([this.#leaving.leave(path), asked]), pause(CANCEL_MS)]);
      throw thrown;
    }
  }

  /** What bluetoothd knows of the device; waits for one that was never heard. */
  async #find(path: string, giveUp: Promise<never>): Promise<Properties> {
    let appeared = (): void => undefined;
    const added = new Promise<void>((resolve) => {
      appeared = resolve;
    });
    const unwatch = this.#bluetoothd.watch(path, { onAdded: appeared });
    try {
      const known = await Promise.race([this.#knownOf(path), giveUp]);
      if (known !== undefined) return known;
      this.#listen(true);
      await Promise.race([added, giveUp]);
      return (await Promise.race([this.#knownOf(path), giveUp])) ?? new Map();
    } finally {
      unwatch();
      this.#listen(false);
    }
  }

  #listen(on: boolean): void {
    if (on === this.#listening) return;
    this.#listening = on;
    this.#onBusy();
  }

  async #knownOf(path: string): Promise<Properties | undefined> {
    try {
      return await this.#bluetoothd.properties(path, DEVICE);
    } catch (thrown) {
      if (isAbsent(thrown)) return undefined;
      throw connectFailure(thrown);
    }
  }

  /** Asks for the connection, which stands when the device says so; the answer to the asking (`asked`) comes later. */
  #begin<T>(path: string, make: (connected: Connected) => T): Begun<T> {
    let stop = (): void => undefined;
    const asked = this.#bluetoothd
      .call(path, DEVICE, 'Connect', { deadlineMs: CONNECT_MS })
      .catch((thrown: unknown) => {
        if (!isBluez(thrown, 'AlreadyConnected')) throw thrown;
      });
    const made = new Promise<T>((resolve, reject) => {
      let over = false;
      const end = (finish: () => void): void => {
        if (over) return;
        over = true;
        unwatch();
        finish();
      };
      const succeed = (known: Properties): void => end(() => resolve(make({ path, known, foreign: false })));
      const fail = (thrown: unknown): void => end(() => reject(connectFailure(thrown)));
      stop = () => end(() => undefined);
      const unwatch = this.#bluetoothd.watch(path, {
        onChanged: (of, changed) => {
          if (of === DEVICE && changed.get('Connected') === true) succeed(changed);
        },
        onRemoved: () => fail(new PorchlightError('unreachable')),
      });
      asked
        .then(() => (over ? new Map<string, unknown>() : this.#bluetoothd.properties(path, DEVICE)))
        .then((known) => {
          if (known.get('Connected') === true) succeed(known);
          else fail(new PorchlightError('connect_failed'));
        })
        .catch(fail);
    });
    return { made, asked: asked.catch(() => undefined), stop };
  }

  /** Until the deadline, the caller's word, or the adapter's end. */
  async #within<R>({ until, signal }: Attempt, what: (giveUp: Promise<never>) => Promise<R>): Promise<R> {
    let fail = (_: PorchlightError): void => undefined;
    const giveUp = new Promise<never>((_, reject) => {
      fail = reject;
    });
    giveUp.catch(() => undefined);
    const unreachable = (): void => fail(new PorchlightError('unreachable'));
    const timer = setTimeout(unreachable, Math.max(0, until - performance.now()));
    signal.addEventListener('abort', unreachable, { once: true });
    if (signal.aborted) unreachable();
    if (!this.#bluetoothd.isOn) fail(new PorchlightError('adapter_off'));
    this.#failing.add(fail);
    try {
      return await what(giveUp);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', unreachable);
      this.#failing.delete(fail);
    }
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
