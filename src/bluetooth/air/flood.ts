import { randomFillSync } from 'node:crypto';
import { eventPacket, LE_EVENT, u16 } from './hci.ts';

/** How often a share of the flood leaves. */
const ROUND_MS = 5;
/** Random octets are got in one piece for so many. */
const POOL = 64 * 1024;

export interface FloodOptions {
  /** Adverts in all, and of them in a second. */
  readonly total: number;
  readonly perSecond: number;
  /** Reports in one event, as far as they fit. */
  readonly reportsPerEvent: number;
  /** Random addresses: static ones, resolvable private ones, or every other so. */
  readonly addresses: 'static' | 'resolvable' | 'both';
}

/** The controller that reports the flood, while there is one and it scans. */
export interface FloodPort {
  /** What the host scans with; undefined: it does not scan, or reads too slowly. */
  readonly form: 'legacy' | 'extended' | undefined;
  send(packet: Buffer): void;
}

/**
 * A crowd of advertisers, each heard once: every advert from an address of its own, with a name and manufacturer data of its
 * own. Goes on through restarts of the host until the total was reported.
 */
export class Flood {
  readonly #options: FloodOptions;
  readonly #port: () => FloodPort | undefined;
  readonly #onDone: () => void;
  readonly #pool = Buffer.alloc(POOL);
  #at = POOL;
  #sent = 0;
  #owed = 0;
  #last = performance.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: FloodOptions, port: () => FloodPort | undefined, onDone: () => void) {
    this.#options = options;
    this.#port = port;
    this.#onDone = onDone;
  }

  start(): void {
    this.#timer = setInterval(() => this.#round(), ROUND_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #round(): void {
    const now = performance.now();
    const { perSecond, total } = this.#options;
    // What the host did not read in time was not heard, and is not owed.
    this.#owed = Math.min(this.#owed + ((now - this.#last) * perSecond) / 1000, perSecond / 10, total - this.#sent);
    this.#last = now;
    for (let port = this.#port(); this.#owed >= 1; port = this.#port()) {
      if (port?.form === undefined) break;
      const reports = Math.min(this.#options.reportsPerEvent, Math.floor(this.#owed));
      const packet = this.#event(port.form, reports);
      port.send(packet);
      this.#sent += packet[4] ?? 0;
      this.#owed -= packet[4] ?? 0;
    }
    if (this.#sent < total) return;
    this.stop();
    this.#onDone();
  }

  #event(form: 'legacy' | 'extended', most: number): Buffer {
    const reports: number[] = [];
    let count = 0;
    for (; count < most; count += 1) {
      const one = this.#report(form);
      if (2 + reports.length + one.length > 255) break;
      reports.push(...one);
    }
    const subevent = form === 'legacy' ? LE_EVENT.ADVERTISING_REPORT : LE_EVENT.EXTENDED_ADVERTISING_REPORT;
    return eventPacket(0x3e, [subevent, count, ...reports]);
  }

  #report(form: 'legacy' | 'extended'): readonly number[] {
    const address = [...this.#random(6)];
    const { addresses } = this.#options;
    const resolvable = addresses === 'both' ? this.#sent % 2 === 0 : addresses === 'resolvable';
    // The two upper bits tell the kinds apart (Vol 6 Part B section 1.3.2).
    address[5] = ((address[5] ?? 0) & 0x3f) | (resolvable ? 0x40 : 0xc0);
    const name = this.#random(4).toString('hex');
    const data = [2, 1, 6, name.length + 1, 9, ...Buffer.from(name), 5, 0xff, ...this.#random(4)];
    // Connectable; -70 dBm.
    if (form === 'legacy') return [0x00, 1, ...address, data.length, ...data, 0xba];
    return [...u16(0x13), 1, ...address, 1, 0, 0xff, 0x7f, 0xba, 0, 0, 0, 0, 0, 0, 0, 0, 0, data.length, ...data];
  }

  #random(length: number): Buffer {
    if (this.#at + length > POOL) {
      randomFillSync(this.#pool);
      this.#at = 0;
    }
    this.#at += length;
    return this.#pool.subarray(this.#at - length, this.#at);
  }
}
