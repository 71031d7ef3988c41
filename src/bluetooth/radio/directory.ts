import { MOST_SERVICE_DATA, MOST_UUIDS } from '../limits.ts';
import { type Advertised, parseAdvertised, type Report } from './adverts.ts';

/** Everyone else in the air, when everyone is asked for: a flood of made-up addresses must not fill the memory. */
const MOST_STRANGERS = 1000;
/** An advert that says nothing new is worth a message only for its signal strength and as a sign of life. */
const QUIET_MS = 1000;
const MOST_CHANGES_PER_SECOND = 5;
/** Of all addresses together: the gateway takes a radio that says more for one that has gone mad. */
const MOST_TOLD_PER_SECOND = 500;

/** What is known of one address in the air. */
export interface Sighting {
  readonly address: string;
  addressType: 'public' | 'random';
  connectable: boolean;
  rssi: number;
  advert: Advertised;
  response: Advertised;
  partial: boolean;
  /** The bytes that `advert` and `response` were read from: lamps say the same ten times a second. */
  readonly heard: { advert?: Buffer; response?: Buffer };
  /** Last report, as told on. */
  told: string;
  toldAt: number;
  changes: number;
}

const NOTHING: Advertised = { serviceUuids: [], serviceData: [] };

/** Advertisement and scan response as one. */
export interface Told {
  readonly address: string;
  readonly rssi: number;
  readonly connectable: boolean;
  readonly localName?: string;
  readonly serviceUuids: readonly string[];
  readonly manufacturerData?: string;
  readonly serviceData?: readonly (readonly [string, string])[];
}

/** Remembers who was heard, and decides which reports are worth telling the gateway. */
export class Directory {
  readonly #now: () => number;
  readonly #sightings = new Map<string, Sighting>();
  #only: ReadonlySet<string> | undefined = new Set();
  #second = { since: Number.NEGATIVE_INFINITY, told: 0 };

  constructor(now: () => number) {
    this.#now = now;
  }

  /** `only`: the addresses that matter; undefined: everyone, as far as there is room. */
  listenFor(only: ReadonlySet<string> | undefined): void {
    this.#only = only;
    for (const address of this.#sightings.keys()) {
      if (only !== undefined && !only.has(address)) this.#sightings.delete(address);
    }
  }

  find(address: string): Sighting | undefined {
    return this.#sightings.get(address);
  }

  /** What to tell the gateway of this report, if anything. */
  hear(report: Report): Told | undefined {
    const sighting = this.#sightings.get(report.address) ?? this.#meet(report);
    if (sighting === undefined) return undefined;
    if (this.#only === undefined) this.#makeRoom(sighting);
    sighting.addressType = report.addressType;
    sighting.rssi = report.rssi;
    if (!report.scanResponse) sighting.connectable = report.connectable;
    const side = report.scanResponse ? 'response' : 'advert';
    if (this.#isNothingNew(sighting, side, report)) return undefined;
    sighting.heard[side] = Buffer.from(report.data);
    const parsed = parseAdvertised(report.data);
    sighting[side] = sighting.partial ? join(sighting[side], parsed) : parsed;
    sighting.partial = report.partial;
    return report.partial ? undefined : this.#tell(sighting);
  }

  #isNothingNew(sighting: Sighting, side: 'advert' | 'response', report: Report): boolean {
    if (report.partial || sighting.partial || this.#now() - sighting.toldAt >= QUIET_MS) return false;
    return sighting.heard[side]?.equals(report.data) === true;
  }

  #meet(report: Report): Sighting | undefined {
    if (this.#only?.has(report.address) === false) return undefined;
    const sighting: Sighting = {
      address: report.address,
      addressType: report.addressType,
      connectable: report.connectable,
      rssi: report.rssi,
      advert: NOTHING,
      response: NOTHING,
      partial: false,
      heard: {},
      told: '',
      toldAt: Number.NEGATIVE_INFINITY,
      changes: 0,
    };
    this.#sightings.set(report.address, sighting);
    return sighting;
  }

  /** The one heard just now is the newest, and whoever was not heard for longest goes. */
  #makeRoom(sighting: Sighting): void {
    this.#sightings.delete(sighting.address);
    this.#sightings.set(sighting.address, sighting);
    for (const address of this.#sightings.keys()) {
      if (this.#sightings.size <= MOST_STRANGERS) return;
      this.#sightings.delete(address);
    }
  }

  #tell(sighting: Sighting): Told | undefined {
    const all = join(sighting.advert, sighting.response);
    const text = JSON.stringify(all);
    const now = this.#now();
    if (now - sighting.toldAt >= QUIET_MS) sighting.changes = 0;
    else if (text === sighting.told || sighting.changes >= MOST_CHANGES_PER_SECOND) return undefined;
    else sighting.changes += 1;
    if (now - this.#second.since >= 1000) this.#second = { since: now, told: 0 };
    if (this.#second.told >= MOST_TOLD_PER_SECOND) return undefined;
    this.#second.told += 1;
    if (sighting.changes === 0) sighting.toldAt = now;
    sighting.told = text;
    const { address, rssi, connectable } = sighting;
    const { serviceData, ...rest } = all;
    return { address, rssi, connectable, ...rest, ...(serviceData.length > 0 ? { serviceData } : {}) };
  }
}

/** Both sides' words; the later one's win where there can be only one. */
function join(first: Advertised, second: Advertised): Advertised {
  const localName = second.localName ?? first.localName;
  const manufacturerData = second.manufacturerData ?? first.manufacturerData;
  return {
    ...(localName !== undefined ? { localName } : {}),
    ...(manufacturerData !== undefined ? { manufacturerData } : {}),
    serviceUuids: [...new Set([...first.serviceUuids, ...second.serviceUuids])].slice(0, MOST_UUIDS),
    serviceData: [...first.serviceData, ...second.serviceData].slice(0, MOST_SERVICE_DATA),
  };
}
