import { LONGEST_NAME, LONGEST_VALUE, MOST_SERVICE_DATA, MOST_UUIDS } from '../limits.ts';
import { canonicalUuid } from '../uuid.ts';
import { addressAt } from './hci-events.ts';

/** The longest advertisement there is: what is sent in parts (Core specification, Vol 6, Part B, 2.3.4.9). */
export const LONGEST_ADVERTISEMENT = 1650;

/** One advertising report as the controller gave it. `data` is a view of the packet: whoever keeps it copies it. */
export interface Report {
  readonly address: string;
  readonly addressType: 'public' | 'random';
  readonly connectable: boolean;
  readonly scanResponse: boolean;
  /** More of the same advertisement follows (extended advertising). */
  readonly partial: boolean;
  /** dBm; 127 is not known. */
  readonly rssi: number;
  readonly data: Buffer;
}

/** The AD structures that tell lamps apart. */
export interface Advertised {
  localName?: string;
  serviceUuids: string[];
  manufacturerData?: string;
  serviceData: (readonly [uuid: string, hex: string])[];
}

/**
 * The reports of an LE Advertising Report (subevent 0x02; Core specification, Vol 4, Part E, 7.7.65.2). Whatever does not
 * fit its announced length ends the list, and who has no address is left out: nothing here throws.
 */
export function legacyReports(packet: Buffer): Report[] {
  const reports: Report[] = [];
  let at = 5;
  for (let left = packet[4] ?? 0; left > 0; left -= 1) {
    const length = packet[at + 8];
    if (length === undefined || packet.length < at + 10 + length) break;
    const type = packet[at] ?? 0;
    const addressType = ADDRESS_TYPES[packet[at + 1] ?? 0xff];
    if (type <= 4 && addressType !== undefined) {
      reports.push({
        address: addressAt(packet, at + 2),
        addressType,
        // ADV_IND and ADV_DIRECT_IND; a scan response says nothing of it.
        connectable: type === 0 || type === 1,
        scanResponse: type === 4,
        partial: false,
        rssi: packet.readInt8(at + 9 + length),
        data: packet.subarray(at + 9, at + 9 + length),
      });
    }
    at += 10 + length;
  }
  return reports;
}

/** The same of an LE Extended Advertising Report (subevent 0x0d; Vol 4, Part E, 7.7.65.13). */
export function extendedReports(packet: Buffer): Report[] {
  const reports: Report[] = [];
  let at = 5;
  for (let left = packet[4] ?? 0; left > 0; left -= 1) {
    const length = packet[at + 23];
    if (length === undefined || packet.length < at + 24 + length) break;
    const type = packet.readUInt16LE(at);
    const addressType = ADDRESS_TYPES[packet[at + 2] ?? 0xff];
    if (addressType !== undefined) {
      reports.push({
        address: addressAt(packet, at + 3),
        addressType,
        connectable: (type & 0x01) !== 0,
        scanResponse: (type & 0x08) !== 0,
        partial: ((type >> 5) & 3) === 1,
        rssi: packet.readInt8(at + 13),
        data: packet.subarray(at + 24, at + 24 + length),
      });
    }
    at += 24 + length;
  }
  return reports;
}

/** 0 and 2 are public (device and identity), 1 and 3 random. Whoever advertises anonymously (0xff) can be no lamp. */
const ADDRESS_TYPES = ['public', 'random', 'public', 'random'] as const;

/** The AD structures of an advertisement or scan response (Core specification, Vol 3, Part C, 11; Supplement, Part A). */
export function parseAdvertised(data: Buffer): Advertised {
  const found: Advertised = { serviceUuids: [], serviceData: [] };
  let at = 0;
  while (at + 1 < data.length) {
    const length = data[at] ?? 0;
    if (length === 0 || at + 1 + length > data.length) break;
    take(found, data[at + 1] ?? 0, data.subarray(at + 2, at + 1 + length));
    at += 1 + length;
  }
  return found;
}

function take(found: Advertised, type: number, value: Buffer): void {
  switch (type) {
    case 0x02:
    case 0x03:
      takeUuids(found, value, 2);
      return;
    case 0x04:
    case 0x05:
      takeUuids(found, value, 4);
      return;
    case 0x06:
    case 0x07:
      takeUuids(found, value, 16);
      return;
    case 0x08:
      // A shortened name never replaces a complete one.
      found.localName ??= nameOf(value);
      return;
    case 0x09:
      found.localName = nameOf(value);
      return;
    case 0x16:
      takeServiceData(found, value, 2);
      return;
    case 0x20:
      takeServiceData(found, value, 4);
      return;
    case 0x21:
      takeServiceData(found, value, 16);
      return;
    case 0xff:
      if (value.length >= 2) found.manufacturerData = value.subarray(0, LONGEST_VALUE).toString('hex');
      return;
    default:
      return;
  }
}

const nameOf = (value: Buffer): string => value.toString('utf8').slice(0, LONGEST_NAME);
const uuidOf = (value: Buffer): string => canonicalUuid(Buffer.from(value).reverse().toString('hex'));

function takeUuids(found: Advertised, value: Buffer, size: number): void {
  for (let at = 0; at + size <= value.length && found.serviceUuids.length < MOST_UUIDS; at += size) {
    const uuid = uuidOf(value.subarray(at, at + size));
    if (!found.serviceUuids.includes(uuid)) found.serviceUuids.push(uuid);
  }
}

function takeServiceData(found: Advertised, value: Buffer, size: number): void {
  if (value.length < size || found.serviceData.length >= MOST_SERVICE_DATA) return;
  found.serviceData.push([uuidOf(value.subarray(0, size)), value.subarray(size, size + LONGEST_VALUE).toString('hex')]);
}
