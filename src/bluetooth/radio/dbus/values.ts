import { Variant } from '@particle/dbus-next';

/**
 * What bluetoothd says is parsed from the air, and whoever may own its name can say anything: types are looked at one by
 * one, and what is not of the documented type is as good as absent.
 */
export type Properties = ReadonlyMap<string, unknown>;

/** BlueZ's longest interface has 25 properties. */
const MOST_PROPERTIES = 64;
/** Entries of a list or dictionary; the readers keep far fewer. */
const MOST_ENTRIES = 256;

/** The members of a dictionary of variants (`a{sv}`); those of another shape are left out. */
export function propertiesOf(raw: unknown): Map<string, unknown> {
  const found = new Map<string, unknown>();
  for (const [name, value] of entriesOf(raw)) {
    if (found.size < MOST_PROPERTIES && value instanceof Variant) found.set(name, value.value);
  }
  return found;
}

/** The entries of a dictionary of variants that hold bytes: manufacturer data by company, service data by UUID. */
export function bytesByKey(raw: unknown): [key: string, bytes: Buffer][] {
  return entriesOf(raw).flatMap(([key, value]): [string, Buffer][] => {
    const bytes = value instanceof Variant ? value.value : undefined;
    return Buffer.isBuffer(bytes) ? [[key, bytes]] : [];
  });
}

/** A dictionary's keys and values. Only its own: the library makes plain objects of foreign keys. */
function entriesOf(raw: unknown): [string, unknown][] {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw) || Buffer.isBuffer(raw)) return [];
  return Object.entries(raw).slice(0, MOST_ENTRIES);
}

export const stringOf = (raw: unknown): string | undefined => (typeof raw === 'string' ? raw : undefined);

/** A whole number from `least` to `most`. */
export const wholeOf = (raw: unknown, least: number, most: number): number | undefined =>
  typeof raw === 'number' && Number.isInteger(raw) && raw >= least && raw <= most ? raw : undefined;

export const stringsOf = (raw: unknown): string[] =>
  Array.isArray(raw) ? raw.slice(0, MOST_ENTRIES).filter((one): one is string => typeof one === 'string') : [];
