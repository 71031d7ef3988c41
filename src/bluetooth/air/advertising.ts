import { uuidBytes } from './gatt.ts';

/** What a lamp says: in its two legacy packets, 31 bytes at most each, or in one extended advert (Vol 3 Part C section 11). */
export interface AdvertisingData {
  readonly advertisement: Buffer;
  readonly scanResponse: Buffer;
}

export interface Says {
  readonly name: string;
  readonly serviceUuids: readonly string[];
  readonly manufacturerData: Uint8Array;
}

/** AD types of the Assigned Numbers, section 2.3. */
const AD = { FLAGS: 0x01, UUIDS_16: 0x03, SHORT_NAME: 0x08, NAME: 0x09, MANUFACTURER: 0xff } as const;
const LONGEST = 31;
const EMPTY = Buffer.alloc(0);
/** General discoverable, no BR/EDR. */
const FLAGS = structure(AD.FLAGS, Uint8Array.of(0x06));

/** Flags and services first; the name in the scan response, cut where it is too long; manufacturer data (29 bytes at most) where it fits. */
export function advertisingData(says: Says): AdvertisingData {
  const { uuids, manufacturer } = parts(says);
  const advertisement = Buffer.concat([FLAGS, uuids]);
  const both = Buffer.concat([advertisement, manufacturer]);
  if (both.length <= LONGEST) return { advertisement: both, scanResponse: nameStructure(says.name, LONGEST) };
  const scanResponse = Buffer.concat([nameStructure(says.name, LONGEST - manufacturer.length), manufacturer]);
  return { advertisement, scanResponse };
}

/** All of it in one advert, which a chain of packets carries; a connectable one has no scan response. */
export function extendedAdvertisingData(says: Says): AdvertisingData {
  const { uuids, manufacturer } = parts(says);
  const name = structure(AD.NAME, Buffer.from(says.name, 'utf8'));
  return { advertisement: Buffer.concat([FLAGS, uuids, manufacturer, name]), scanResponse: EMPTY };
}

function parts({ serviceUuids, manufacturerData }: Says): { readonly uuids: Buffer; readonly manufacturer: Buffer } {
  return {
    uuids: serviceUuids.length > 0 ? structure(AD.UUIDS_16, Buffer.concat(serviceUuids.map(uuidBytes))) : EMPTY,
    manufacturer: manufacturerData.length > 0 ? structure(AD.MANUFACTURER, manufacturerData) : EMPTY,
  };
}

/** The name in at most `room` bytes, marked as shortened where it does not fit. */
function nameStructure(name: string, room: number): Buffer {
  const bytes = Buffer.from(name, 'utf8');
  if (bytes.length + 2 <= room) return structure(AD.NAME, bytes);
  return room > 2 ? structure(AD.SHORT_NAME, bytes.subarray(0, room - 2)) : EMPTY;
}

function structure(type: number, data: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([data.length + 1, type]), data]);
}
