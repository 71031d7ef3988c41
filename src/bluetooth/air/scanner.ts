import { type Duty, isOpen } from './channels.ts';
import { addressBytes, LE_EVENT, STATUS, u16 } from './hci.ts';
import type { VirtualLamp } from './lamp.ts';

/** Event types of legacy reports (Vol 4 Part E section 7.7.65.2). */
const LEGACY = { ADV_IND: 0x00, ADV_SCAN_IND: 0x02, ADV_NONCONN_IND: 0x03, SCAN_RSP: 0x04 } as const;
/** Bits of the event type of extended reports (section 7.7.65.13), and where its data status begins. */
const EXTENDED = { CONNECTABLE: 0x01, SCANNABLE: 0x02, SCAN_RSP: 0x08, LEGACY: 0x10, STATUS: 5 } as const;
const DATA = { COMPLETE: 0, MORE: 1 } as const;

/** Of one report event, parameters fit into 255 octets: the subevent and the number of reports, and 24 octets before the data. */
const LONGEST_PIECE = 255 - 2 - 24;
const ROOM = 255 - 2;
const ROUND_MS = 10;

type Report = (subevent: number, parameters: readonly number[]) => void;

/** Reports that wait for others, to be told in one event. */
class Batch {
  readonly #report: Report;
  readonly #most: number;
  #subevent = 0;
  #waiting: (readonly number[])[] = [];
  #length = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(report: Report, most: number) {
    this.#report = report;
    this.#most = most;
  }

  add(subevent: number, entry: readonly number[]): void {
    if (this.#most === 1) {
      this.#report(subevent, [1, ...entry]);
      return;
    }
    if (subevent !== this.#subevent || this.#length + entry.length > ROOM) this.flush();
    this.#subevent = subevent;
    this.#waiting.push(entry);
    this.#length += entry.length;
    if (this.#waiting.length >= this.#most) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), ROUND_MS);
  }

  flush(): void {
    const entries = this.#waiting;
    this.clear();
    if (entries.length > 0) this.#report(this.#subevent, [entries.length, ...entries.flat()]);
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting = [];
    this.#length = 0;
  }
}

/** The controller's scanner: what it was told, and whom it has reported already. */
export class Scanner {
  readonly #batch: Batch;
  #enabled = false;
  #extended = false;
  #active = false;
  #duty: Duty = { intervalMs: 10, windowMs: 10 };
  #since = 0;
  #filterDuplicates = false;
  #seen = new Set<string>();

  constructor(report: Report, reportsPerEvent: number) {
    this.#batch = new Batch(report, reportsPerEvent);
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  /** What kind of scan runs. */
  get form(): 'legacy' | 'extended' | undefined {
    if (!this.#enabled) return undefined;
    return this.#extended ? 'extended' : 'legacy';
  }

  /** Parameters stand while scanning is off only (section 7.8.10). Returns the status. */
  setParameters(active: boolean, duty: Duty): number {
    if (this.#enabled) return STATUS.COMMAND_DISALLOWED;
    this.#active = active;
    this.#duty = duty;
    return STATUS.SUCCESS;
  }

  enable(on: boolean, filterDuplicates: boolean, extended: boolean): void {
    this.#enabled = on;
    this.#filterDuplicates = filterDuplicates;
    this.#extended = extended;
    this.#since = performance.now();
    this.#seen = new Set();
    if (!on) this.#batch.clear();
  }

  reset(): void {
    this.enable(false, false, false);
    this.#active = false;
    this.#duty = { intervalMs: 10, windowMs: 10 };
  }

  /** A lamp has advertised. */
  hear(lamp: VirtualLamp): void {
    if (!this.#enabled || !isOpen(this.#duty, this.#since, performance.now())) return;
    const { advertisement, scanResponse } = lamp.advertising;
    if (lamp.spec.advertises === 'extended') {
      if (this.#extended) this.#tellExtended(lamp, advertisement);
      return;
    }
    this.#tell(lamp, false, advertisement);
    // One that cannot be scanned has no response; ours can unless they neither connect nor say more.
    if (this.#active && isScannable(lamp)) this.#tell(lamp, true, scanResponse);
  }

  /** A legacy advert, in the form of the scan. */
  #tell(lamp: VirtualLamp, response: boolean, data: Buffer): void {
    if (this.#isDuplicate(lamp, response ? 'response' : 'advert')) return;
    if (this.#extended) {
      // A response carries the type of what it answers (table 7.65.13).
      const type = EXTENDED.LEGACY | kindOf(lamp) | (response ? EXTENDED.SCAN_RSP : 0);
      this.#batch.add(LE_EVENT.EXTENDED_ADVERTISING_REPORT, extendedEntry(lamp, type, 0x00, 0xff, data));
      return;
    }
    const { rssi } = lamp.spec;
    this.#batch.add(LE_EVENT.ADVERTISING_REPORT, [
      response ? LEGACY.SCAN_RSP : legacyType(lamp),
      ...addressOf(lamp),
      data.length,
      ...data,
      rssi & 0xff,
    ]);
  }

  /** An advert on the secondary channels, in as many reports as its data needs. */
  #tellExtended(lamp: VirtualLamp, data: Buffer): void {
    if (this.#isDuplicate(lamp, 'advert')) return;
    const type = lamp.connectable ? EXTENDED.CONNECTABLE : 0;
    for (let at = 0; at === 0 || at < data.length; at += LONGEST_PIECE) {
      const piece = data.subarray(at, at + LONGEST_PIECE);
      const status = at + LONGEST_PIECE < data.length ? DATA.MORE : DATA.COMPLETE;
      // Secondary PHY 1M, advertising set 0.
      const entry = extendedEntry(lamp, type | (status << EXTENDED.STATUS), 0x01, 0x00, piece);
      this.#batch.add(LE_EVENT.EXTENDED_ADVERTISING_REPORT, entry);
    }
  }

  #isDuplicate(lamp: VirtualLamp, what: string): boolean {
    if (!this.#filterDuplicates) return false;
    const { address, addressType } = lamp.onAir;
    const key = `${address} ${addressType} ${what}`;
    if (this.#seen.has(key)) return true;
    this.#seen.add(key);
    return false;
  }
}

/** Whoever can be connected to by legacy adverts can be scanned (ADV_IND); of the others, who has more to say (ADV_SCAN_IND). */
function isScannable(lamp: VirtualLamp): boolean {
  return lamp.connectable || lamp.advertising.scanResponse.length > 0;
}

function legacyType(lamp: VirtualLamp): number {
  if (lamp.connectable) return LEGACY.ADV_IND;
  return isScannable(lamp) ? LEGACY.ADV_SCAN_IND : LEGACY.ADV_NONCONN_IND;
}

function kindOf(lamp: VirtualLamp): number {
  return (lamp.connectable ? EXTENDED.CONNECTABLE : 0) | (isScannable(lamp) ? EXTENDED.SCANNABLE : 0);
}

function addressOf(lamp: VirtualLamp): readonly number[] {
  const { address, addressType } = lamp.onAir;
  return [addressType === 'random' ? 1 : 0, ...addressBytes(address)];
}

function extendedEntry(lamp: VirtualLamp, type: number, phy: number, set: number, data: Buffer): readonly number[] {
  // Primary PHY 1M, TX power not known, not periodic, not directed.
  const middle = [0x01, phy, set, 0x7f, lamp.spec.rssi & 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  return [...u16(type), ...addressOf(lamp), ...middle, data.length, ...data];
}
