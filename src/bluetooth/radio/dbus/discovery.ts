import { Variant } from '@particle/dbus-next';
import type { Pulse } from '../../central.ts';
import type { Bluetoothd } from './bluetoothd.ts';
import { ADAPTER } from './bluez.ts';
import { isBluez } from './failures.ts';

/** Without an advertisement of anybody for this long, discovery is begun anew. */
export const SILENCE_MS = 20_000;
/**
 * As a multiple of the patience: discovery is begun anew all the same. bluetoothd says nothing of a device whose strength is the
 * same as before, and forgets the strengths when discovery ends.
 */
const RENEWAL = 1.5;
/** After a refusal. */
const RETRY_MS = 1000;
/** A start that fails this often in a row is taken for one that a fresh process may make. */
const MOST_REFUSALS = 10;

/** Keeps bluetoothd discovering while it is wanted, and ours alone: other programs have sessions of their own. */
export class Discovery {
  readonly #bluetoothd: Bluetoothd;
  readonly #onRefused: (reason: string) => void;
  /** How long nobody at all may be heard. */
  patienceMs = SILENCE_MS;
  #wanted = false;
  /** Ours is on, as far as bluetoothd said. */
  #running = false;
  #busy = false;
  #refusals = 0;
  #notBefore = 0;
  #since = 0;
  #heardAt: number | undefined;
  #rescans = 0;

  /** `onRefused`: bluetoothd refuses to begin, again and again. */
  constructor(bluetoothd: Bluetoothd, onRefused: (reason: string) => void) {
    this.#bluetoothd = bluetoothd;
    this.#onRefused = onRefused;
  }

  want(on: boolean): void {
    this.#wanted = on;
    this.#act();
  }

  /** The adapter went off, and every session with it. */
  forget(): void {
    this.#running = false;
    this.#refusals = 0;
    this.#notBefore = 0;
  }

  /** What the adapter says of itself; that it discovers may also be for another program. */
  onDiscovering(on: boolean): void {
    if (on || !this.#running || this.#busy) return;
    this.#running = false;
    if (this.#wanted) this.#rescans += 1;
    this.#act();
  }

  /** An advertisement of anybody. */
  onReport(): void {
    this.#heardAt = performance.now();
  }

  pulse(): Omit<Pulse, 'rss'> {
    const heardMs = this.#wanted && this.#heardAt !== undefined ? performance.now() - this.#heardAt : undefined;
    return { rescans: this.#rescans, ...(heardMs !== undefined ? { heardMs } : {}) };
  }

  /** Called every second or so. */
  tend(): void {
    const now = performance.now();
    const isSilent = now - Math.max(this.#since, this.#heardAt ?? 0) >= this.patienceMs;
    const isOld = now - this.#since >= this.patienceMs * RENEWAL;
    if (!this.#running || !this.#wanted || !(isSilent || isOld)) {
      this.#act();
      return;
    }
    this.#since = now;
    if (isSilent) this.#rescans += 1;
    this.#do(async () => {
      await this.#stop();
      await this.#start();
    });
  }

  #act(): void {
    if (!this.#bluetoothd.isOn || this.#wanted === this.#running || performance.now() < this.#notBefore) return;
    this.#do(() => (this.#wanted ? this.#start() : this.#stop()));
  }

  /** One thing at a time; what was wanted meanwhile is done after it. */
  #do(work: () => Promise<void>): void {
    if (this.#busy) return;
    this.#busy = true;
    work()
      .then(
        () => {
          this.#refusals = 0;
        },
        (thrown: unknown) => this.#refused(thrown),
      )
      .finally(() => {
        this.#busy = false;
        this.#act();
      });
  }

  #refused(thrown: unknown): void {
    this.#running = false;
    this.#notBefore = performance.now() + RETRY_MS;
    if (!this.#bluetoothd.isOn) return;
    this.#refusals += 1;
    this.#rescans += 1;
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    if (this.#refusals % MOST_REFUSALS === 0) this.#onRefused(`discovery does not start: ${why}`);
  }

  async #start(): Promise<void> {
    const filter = { Transport: new Variant('s', 'le'), DuplicateData: new Variant('b', true) };
    const { path } = this.#bluetoothd;
    await this.#bluetoothd.call(path, ADAPTER, 'SetDiscoveryFilter', { signature: 'a{sv}', body: [filter] });
    await this.#bluetoothd.call(path, ADAPTER, 'StartDiscovery').catch((thrown: unknown) => {
      // Ours runs already, or is just being begun.
      if (!isBluez(thrown, 'InProgress')) throw thrown;
    });
    this.#running = true;
    this.#since = performance.now();
  }

  async #stop(): Promise<void> {
    this.#running = false;
    await this.#bluetoothd.call(this.#bluetoothd.path, ADAPTER, 'StopDiscovery').catch(() => {
      // "No discovery started", or the adapter is off: either way none of ours runs.
    });
  }
}
