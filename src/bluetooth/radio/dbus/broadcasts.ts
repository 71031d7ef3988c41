import { MOST_SERVICE_DATA, MOST_UUIDS } from '../../limits.ts';
import { canonicalUuid } from '../../uuid.ts';
import type { Report } from '../adverts.ts';
import { bytesByKey, type Properties, stringOf, stringsOf, wholeOf } from './values.ts';

/** As many as the directory keeps of strangers. */
const MOST_DEVICES = 1000;
/** Devices that bluetoothd knew before we came are read once, this many at a time. */
const MOST_READS = 8;
/** One AD structure has one octet for its length, and one is its type (Core specification, Vol 3, Part C, 11). */
const LONGEST_STRUCTURE = 254;

/** What bluetoothd says only because an advertisement came in; all else it may say of its memory or of a link. */
const SIGNS: readonly string[] = [
  'RSSI',
  'ManufacturerData',
  'ServiceData',
  'TxPower',
  'AdvertisingFlags',
  'AdvertisingData',
];

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

interface Known {
  readonly properties: Map<string, unknown>;
  /** The company whose manufacturer data is the latest: bluetoothd keeps those of all that a device ever spoke as. */
  company: string | undefined;
}

export const isAdvertised = (changed: Properties): boolean => SIGNS.some((sign) => changed.has(sign));

/**
 * Makes advertising reports of what bluetoothd says. It says only what changed, and keeps devices for long that are gone, so
 * what it said of each is kept here, and only news counts as heard.
 */
export class Broadcasts {
  readonly #read: (address: string) => Promise<Properties>;
  readonly #onReport: (report: Report) => void;
  readonly #known = new Map<string, Known>();
  #reads = 0;
  #only: ReadonlySet<string> | undefined = new Set();

  constructor(read: (address: string) => Promise<Properties>, onReport: (report: Report) => void) {
    this.#read = read;
    this.#onReport = onReport;
  }

  listenFor(only: ReadonlySet<string> | undefined): void {
    this.#only = only;
    for (const address of this.#known.keys()) if (only?.has(address) === false) this.#known.delete(address);
  }

  forget(): void {
    this.#known.clear();
  }

  take(address: string, changed: Properties, dropped: readonly string[], added: boolean): void {
    if (this.#only?.has(address) === false) return;
    const known: Known | undefined = added ? { properties: new Map(), company: undefined } : this.#known.get(address);
    if (known === undefined) {
      if (isAdvertised(changed)) this.#meet(address);
      return;
    }
    known.company = latestCompany(changed, known);
    for (const [name, value] of changed) known.properties.set(name, value);
    for (const name of dropped) known.properties.delete(name);
    this.#keep(address, known);
    if (isAdvertised(changed)) this.#onReport(reportOf(address, known));
  }

  /** The newest is last, and whoever was silent for longest goes. */
  #keep(address: string, known: Known): void {
    this.#known.delete(address);
    this.#known.set(address, known);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MOST_DEVICES) return;
      this.#known.delete(oldest);
    }
  }

  /** A device that was known to bluetoothd before, of which only the news was said. */
  #meet(address: string): void {
    if (this.#reads >= MOST_READS) return;
    this.#reads += 1;
    this.#read(address).then(
      (properties) => {
        this.#reads -= 1;
        if (!this.#known.has(address)) this.take(address, properties, [], true);
      },
      () => {
        this.#reads -= 1;
      },
    );
  }
}

function reportOf(address: string, { properties, company }: Known): Report {
  return {
    address,
    addressType: properties.get('AddressType') === 'random' ? 'random' : 'public',
    // BlueZ does not tell.
    connectable: true,
    scanResponse: false,
    partial: false,
    rssi: wholeOf(properties.get('RSSI'), -128, 127) ?? 127,
    data: advertisementOf(properties, company),
  };
}

/** Written down as the advertisement that it came from, so that the rules and bounds for those hold for it. */
export function advertisementOf(known: Properties, company?: string): Buffer {
  const structures: Buffer[] = [];
  const add = (type: number, ...values: Buffer[]): void => {
    const value = Buffer.concat(values);
    if (value.length <= LONGEST_STRUCTURE) structures.push(Buffer.of(value.length + 1, type), value);
  };
  const name = stringOf(known.get('Name'));
  if (name !== undefined) add(0x09, Buffer.from(name.slice(0, 248)).subarray(0, 248));
  for (const uuid of stringsOf(known.get('UUIDs')).filter(isUuid).slice(0, MOST_UUIDS)) {
    const bytes = uuidBytes(uuid);
    add(bytes.length === 2 ? 0x03 : 0x07, bytes);
  }
  for (const [uuid, bytes] of bytesByKey(known.get('ServiceData')).slice(0, MOST_SERVICE_DATA)) {
    if (!isUuid(uuid)) continue;
    const key = uuidBytes(uuid);
    add(key.length === 2 ? 0x16 : 0x21, key, bytes);
  }
  const said = bytesByKey(known.get('ManufacturerData'));
  const [key, bytes] = said.find(([one]) => one === company) ?? said[0] ?? [];
  const id = wholeOf(Number(key), 0, 0xffff);
  if (id !== undefined && bytes !== undefined) add(0xff, Buffer.of(id & 0xff, id >> 8), bytes);
  return Buffer.concat(structures);
}

/** The company whose data is new in this change; else the one before. */
function latestCompany(changed: Properties, { properties, company }: Known): string | undefined {
  const before = new Map(bytesByKey(properties.get('ManufacturerData')));
  const said = bytesByKey(changed.get('ManufacturerData'));
  return said.find(([key, bytes]) => before.get(key)?.equals(bytes) !== true)?.[0] ?? company;
}

const isUuid = (text: string): boolean => UUID.test(text);

/** Little-endian, as on the air. */
const uuidBytes = (uuid: string): Buffer => Buffer.from(canonicalUuid(uuid).replaceAll('-', ''), 'hex').reverse();
