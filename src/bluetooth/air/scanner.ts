import { addressBytes, LE_EVENT, STATUS, u16 } from './hci.ts';
import type { VirtualLamp } from './lamp.ts';

/** Advertising event types, legacy (Vol 4 Part E section 7.7.65.2) and extended (7.7.65.13: legacy PDUs, bit 4). */
const LEGACY = { ADVERTISEMENT: 0x00, SCAN_RESPONSE: 0x04 } as const;
const EXTENDED = { ADVERTISEMENT: 0x0013, SCAN_RESPONSE: 0x001b } as const;

/** The controller's scanner: what it was told, and whom it has reported already. */
export class Scanner {
  readonly #report: (subevent: number, parameters: readonly number[]) => void;
  #enabled = false;
  #extended = false;
  #active = false;
  #filterDuplicates = false;
  #seen = new Set<string>();

  constructor(report: (subevent: number, parameters: readonly number[]) => void) {
    this.#report = report;
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  /** Parameters stand while scanning is off only (section 7.8.10). Returns the status. */
  setParameters(active: boolean): number {
    if (this.#enabled) return STATUS.COMMAND_DISALLOWED;
    this.#active = active;
    return STATUS.SUCCESS;
  }

  enable(on: boolean, filterDuplicates: boolean, extended: boolean): void {
    this.#enabled = on;
    this.#filterDuplicates = filterDuplicates;
    this.#extended = extended;
    this.#seen = new Set();
  }

  reset(): void {
    this.enable(false, false, false);
    this.#active = false;
  }

  /** A lamp has advertised. */
  hear(lamp: VirtualLamp): void {
    if (!this.#enabled) return;
    const { advertisement, scanResponse } = lamp.advertising;
    this.#tell(lamp, false, advertisement);
    if (this.#active) this.#tell(lamp, true, scanResponse);
  }

  #tell(lamp: VirtualLamp, response: boolean, data: Buffer): void {
    const { address, addressType, rssi } = lamp.spec;
    if (this.#filterDuplicates) {
      const key = `${address} ${addressType} ${response}`;
      if (this.#seen.has(key)) return;
      this.#seen.add(key);
    }
    const from = [addressType === 'random' ? 1 : 0, ...addressBytes(address)];
    if (this.#extended) {
      const type = response ? EXTENDED.SCAN_RESPONSE : EXTENDED.ADVERTISEMENT;
      // Primary PHY 1M, no secondary, no SID, TX power not known, not periodic, not directed.
      const middle = [0x01, 0x00, 0xff, 0x7f, rssi & 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0];
      this.#report(LE_EVENT.EXTENDED_ADVERTISING_REPORT, [1, ...u16(type), ...from, ...middle, data.length, ...data]);
    } else {
      const type = response ? LEGACY.SCAN_RESPONSE : LEGACY.ADVERTISEMENT;
      this.#report(LE_EVENT.ADVERTISING_REPORT, [1, type, ...from, data.length, ...data, rssi & 0xff]);
    }
  }
}

/** When lamps advertise: each once per interval, one after the other; nothing runs while nobody listens. */
export class AdvertisingChannels {
  readonly #lamps: readonly VirtualLamp[];
  readonly #intervalMs: number;
  readonly #hear: (lamp: VirtualLamp) => void;
  #timer: NodeJS.Timeout | undefined;
  #turn = 0;

  constructor(lamps: readonly VirtualLamp[], intervalMs: number, hear: (lamp: VirtualLamp) => void) {
    this.#lamps = lamps;
    this.#intervalMs = intervalMs;
    this.#hear = hear;
  }

  listen(on: boolean): void {
    if (!on) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      return;
    }
    if (this.#timer !== undefined || this.#lamps.length === 0) return;
    const step = Math.max(1, this.#intervalMs / this.#lamps.length);
    const each = Math.ceil((this.#lamps.length * step) / this.#intervalMs);
    this.#timer = setInterval(() => {
      for (let count = 0; count < each && this.#timer !== undefined; count++) this.#next();
    }, step);
  }

  /** Every lamp advertises now, on a later turn of the event loop. */
  burst(): void {
    setImmediate(() => {
      for (const lamp of this.#lamps) if (this.#timer !== undefined) this.#hear(lamp);
    });
  }

  #next(): void {
    const lamp = this.#lamps[this.#turn % this.#lamps.length];
    this.#turn += 1;
    if (lamp !== undefined) this.#hear(lamp);
  }
}
