import { ATT_ERROR, OP, Refusal } from './att.ts';
import { type Attribute, TYPE, uuidBytes, uuidFrom } from './gatt.ts';

/** Finding one's way in an attribute table (Core Specification, Vol 3 Part F sections 3.4.3, 3.4.4.1 and 3.4.4.9). */

/** The table as one client sees it. */
export interface AttributeView {
  readonly table: readonly Attribute[];
  readonly mtu: number;
  valueOf(attribute: Attribute): Uint8Array;
}

/** Find Information (3.4.3.1): handles and types. */
export function findInformation(view: AttributeView, pdu: Buffer): Buffer | Refusal {
  if (pdu.length !== 5) return new Refusal(ATT_ERROR.INVALID_PDU);
  const range = rangeOf(view, pdu);
  if (range instanceof Refusal) return range;
  const width = uuidBytes(range.found[0]?.type ?? '0000').length;
  const entries = range.found.map((entry) => Buffer.concat([handleBytes(entry.handle), uuidBytes(entry.type)]));
  const list = listed(view, entries, 2 + width);
  if (list === undefined) return new Refusal(ATT_ERROR.ATTRIBUTE_NOT_FOUND, range.start);
  return Buffer.concat([Buffer.from([OP.FIND_INFORMATION + 1, width === 2 ? 0x01 : 0x02]), list]);
}

/** Find By Type Value (3.4.3.3): the groups that begin with this value. */
export function findByTypeValue(view: AttributeView, pdu: Buffer): Buffer | Refusal {
  if (pdu.length < 7) return new Refusal(ATT_ERROR.INVALID_PDU);
  const range = rangeOf(view, pdu);
  if (range instanceof Refusal) return range;
  const type = uuidFrom(pdu.subarray(5, 7));
  const value = pdu.subarray(7);
  const found = range.found.filter((entry) => entry.type === type && value.equals(view.valueOf(entry)));
  const list = listed(
    view,
    found.map((entry) => Buffer.concat([handleBytes(entry.handle), handleBytes(entry.groupEnd ?? entry.handle)])),
    4,
    1,
  );
  if (list === undefined) return new Refusal(ATT_ERROR.ATTRIBUTE_NOT_FOUND, range.start);
  return Buffer.concat([Buffer.from([OP.FIND_BY_TYPE_VALUE + 1]), list]);
}

/** Read By Type (3.4.4.1): handles and values of one type. */
export function readByType(view: AttributeView, pdu: Buffer): Buffer | Refusal {
  if (pdu.length !== 7 && pdu.length !== 21) return new Refusal(ATT_ERROR.INVALID_PDU);
  const range = rangeOf(view, pdu);
  if (range instanceof Refusal) return range;
  const type = uuidFrom(pdu.subarray(5));
  const found = range.found.filter((entry) => entry.type === type);
  const first = found[0];
  if (first === undefined) return new Refusal(ATT_ERROR.ATTRIBUTE_NOT_FOUND, range.start);
  if (!first.readable) return new Refusal(ATT_ERROR.READ_NOT_PERMITTED, first.handle);
  const room = Math.min(view.mtu - 4, 253);
  // One that may not be read ends the list (section 3.4.4.1).
  const unreadable = found.findIndex((entry) => !entry.readable);
  const readable = unreadable === -1 ? found : found.slice(0, unreadable);
  const entries = readable.map((entry) =>
    Buffer.concat([handleBytes(entry.handle), view.valueOf(entry).subarray(0, room)]),
  );
  return list(view, OP.READ_BY_TYPE + 1, entries);
}

/** Read By Group Type (3.4.4.9): the services and where they end. */
export function readByGroupType(view: AttributeView, pdu: Buffer): Buffer | Refusal {
  if (pdu.length !== 7 && pdu.length !== 21) return new Refusal(ATT_ERROR.INVALID_PDU);
  const range = rangeOf(view, pdu);
  if (range instanceof Refusal) return range;
  const type = uuidFrom(pdu.subarray(5));
  if (type !== TYPE.PRIMARY_SERVICE && type !== TYPE.SECONDARY_SERVICE) {
    return new Refusal(ATT_ERROR.UNSUPPORTED_GROUP_TYPE, range.start);
  }
  const found = range.found.filter((entry) => entry.type === type);
  if (found.length === 0) return new Refusal(ATT_ERROR.ATTRIBUTE_NOT_FOUND, range.start);
  const entries = found.map((entry) =>
    Buffer.concat([
      handleBytes(entry.handle),
      handleBytes(entry.groupEnd ?? entry.handle),
      view.valueOf(entry).subarray(0, Math.min(view.mtu - 6, 251)),
    ]),
  );
  return list(view, OP.READ_BY_GROUP_TYPE + 1, entries);
}

/** The attributes of the handle range that stands at bytes 1-4. */
function rangeOf(
  view: AttributeView,
  pdu: Buffer,
): { readonly start: number; readonly found: readonly Attribute[] } | Refusal {
  const start = pdu.readUInt16LE(1);
  const end = pdu.readUInt16LE(3);
  if (start === 0 || start > end) return new Refusal(ATT_ERROR.INVALID_HANDLE, start);
  return { start, found: view.table.slice(start - 1, end) };
}

/** As many leading entries of exactly `width` bytes as fit beside `header` bytes; undefined when none does. */
function listed(view: AttributeView, entries: readonly Buffer[], width: number, header = 2): Buffer | undefined {
  const fit = Math.floor((view.mtu - header) / width);
  const odd = entries.findIndex((entry) => entry.length !== width);
  const same = entries.slice(0, Math.min(fit, odd === -1 ? entries.length : odd));
  return same.length === 0 ? undefined : Buffer.concat(same);
}

/** A response that names the width of its entries: those that are as wide as the first. */
function list(view: AttributeView, opcode: number, entries: readonly Buffer[]): Buffer {
  const width = entries[0]?.length ?? 0;
  return Buffer.concat([Buffer.from([opcode, width]), listed(view, entries, width) ?? Buffer.alloc(0)]);
}

function handleBytes(handle: number): Buffer {
  return Buffer.from([handle & 0xff, handle >> 8]);
}
