import { MOST_SERVICE_DATA, MOST_UUIDS } from '../limits.ts';
import { type Advertised, LONGEST_ADVERTISEMENT, parseAdvertised, type Report } from './adverts.ts';

/** Everyone else in the air, when everyone is asked for: a flood of made-up addresses must not fill the memory. */
const MOST_STRANGERS = 1000;
/** An advert that says nothing new is worth a message only for its signal strength and as a sign of life. */
const QUIET_MS = 1000;
const MOST_CHANGES_PER_SECOND = 5;
/** Of all strangers together, and of all whom we know: the gateway takes a radio that says more for one that has gone mad. */
const MOST_TOLD_PER_SECOND = 400;

type Side = 'advert' | 'response';

/** What is known of one address in the air. */
export interface Sighting {
  readonly address: string;
  addressType: 'public' | 'random';
  connectable: boolean;
  rssi: number;
  advert: Advertised;
  response: Advertised;
  /** What came of an advertisement in parts. */
  parts: Buffer | undefined;
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

/**
 * Remembers who was heard, and decides which reports are worth telling the gateway.
 *
 * Invariants: it keeps those who were asked for by name, and of strangers the `MOST_STRANGERS` heard last, with at most
 * `LONGEST_ADVERTISEMENT` octets each; in a second it tells at most `MOST_CHANGES_PER_SECOND` changes of one address and
 * `MOST_TOLD_PER_SECOND` reports of strangers, and no more of the others, so that no flood of strangers hides a lamp.
 */
export class Directory {
  readonly #now: () => number;
  readonly #known = new Map<string, Sighting>();
  readonly #strangers = new Map<string, Sighting>();
  /** Whom the gateway last named; they stay known while everyone is listened to. */
  #names: ReadonlySet<string> = new Set();
  #everyone = false;
  readonly #told = { known: new Second(), strangers: new Second() };

  constructor(now: () => number) {
    this.#now = now;
  }

  /** `only`: the addresses that matter; undefined: everyone, as far as there is room. */
  listenFor(only: ReadonlySet<string> | undefined): void {
    this.#everyone = only === undefined;
    if (only === undefined) return;
    this.#names = only;
    for (const [address, sighting] of this.#strangers) if (only.has(address)) this.#known.set(address, sighting);
    this.#strangers.clear();
    for (const address of this.#known.keys()) if (!only.has(address)) this.#known.delete(address);
  }

  find(address: string): Sighting | undefined {
    return this.#known.get(address) ?? this.#strangers.get(address);
  }

  /** What to tell the gateway of this report, if anything. */
  hear(report: Report): Told | undefined {
    if (this.#names.has(report.address)) return this.#take(this.#meet(this.#known, report), report, this.#told.known);
    if (!this.#everyone) return undefined;
    const sighting = this.#meet(this.#strangers, report);
    this.#makeRoom(sighting);
    return this.#take(sighting, report, this.#told.strangers);
  }

  #take(sighting: Sighting, report: Report, second: Second): Told | undefined {
    const now = this.#now();
    sighting.addressType = report.addressType;
    sighting.rssi = report.rssi;
    if (!report.scanResponse) sighting.connectable = report.connectable;
    const side: Side = report.scanResponse ? 'response' : 'advert';
    const data = join(sighting, report);
    if (data === undefined || isNothingNew(sighting, side, data, now)) return undefined;
    if (sighting.heard[side]?.equals(data) !== true) {
      sighting.heard[side] = Buffer.from(data);
      sighting[side] = parseAdvertised(data);
    }
    return tell(sighting, second, now);
  }

  #meet(among: Map<string, Sighting>, report: Report): Sighting {
    const met = among.get(report.address);
    if (met !== undefined) return met;
    const sighting: Sighting = {
      address: report.address,
      addressType: report.addressType,
      connectable: report.connectable,
      rssi: report.rssi,
      advert: NOTHING,
      response: NOTHING,
      parts: undefined,
      heard: {},
      told: '',
      toldAt: Number.NEGATIVE_INFINITY,
      changes: 0,
    };
    among.set(report.address, sighting);
    return sighting;
  }

  /** The one heard just now is the newest, and whoever was not heard for longest goes. */
  #makeRoom(sighting: Sighting): void {
    this.#strangers.delete(sighting.address);
    this.#strangers.set(sighting.address, sighting);
    for (const address of this.#strangers.keys()) {
      if (this.#strangers.size <= MOST_STRANGERS) return;
      this.#strangers.delete(address);
    }
  }
}

/** Counts what was told within a second. */
class Second {
  #since = Number.NEGATIVE_INFINITY;
  #told = 0;

  hasRoom(now: number): boolean {
    if (now - this.#since >= 1000) {
      this.#since = now;
      this.#told = 0;
    }
    return this.#told < MOST_TOLD_PER_SECOND;
  }

  count(): void {
    this.#told += 1;
  }
}

/**
 * The whole advertisement, or undefined while more of it follows. Parts are cut anywhere (Core specification, Vol 4, Part E,
 * 7.7.65.13); of one that never ends its beginning is taken, when it ends.
 */
function join(sighting: Sighting, report: Report): Buffer | undefined {
  const { parts } = sighting;
  if (parts === undefined && !report.partial) return report.data;
  const room = LONGEST_ADVERTISEMENT - (parts?.length ?? 0);
  const whole = Buffer.concat([parts ?? Buffer.alloc(0), report.data.subarray(0, room)]);
  sighting.parts = report.partial ? whole : undefined;
  return report.partial ? undefined : whole;
}

function isNothingNew(sighting: Sighting, side: Side, data: Buffer, now: number): boolean {
  return now - sighting.toldAt < QUIET_MS && sighting.heard[side]?.equals(data) === true;
}

function tell(sighting: Sighting, second: Second, now: number): Told | undefined {
  // First: in a flood this is what most come to.
  if (!second.hasRoom(now)) return undefined;
  const all = both(sighting.advert, sighting.response);
  const text = JSON.stringify(all);
  if (now - sighting.toldAt >= QUIET_MS) sighting.changes = 0;
  else if (text === sighting.told || sighting.changes >= MOST_CHANGES_PER_SECOND) return undefined;
  else sighting.changes += 1;
  second.count();
  if (sighting.changes === 0) sighting.toldAt = now;
  sighting.told = text;
  const { address, rssi, connectable } = sighting;
  const { serviceData, ...rest } = all;
  return { address, rssi, connectable, ...rest, ...(serviceData.length > 0 ? { serviceData } : {}) };
}

/** Both sides' words; the later one's win where there can be only one. */
function both(first: Advertised, second: Advertised): Advertised {
  const localName = second.localName ?? first.localName;
  const manufacturerData = second.manufacturerData ?? first.manufacturerData;
  return {
    ...(localName !== undefined ? { localName } : {}),
    ...(manufacturerData !== undefined ? { manufacturerData } : {}),
    serviceUuids: [...new Set([...first.serviceUuids, ...second.serviceUuids])].slice(0, MOST_UUIDS),
    serviceData: [...first.serviceData, ...second.serviceData].slice(0, MOST_SERVICE_DATA),
  };
}
