import { ATT_ERROR, OP, Refusal } from './att.ts';
import { type AttributeView, findByTypeValue, findInformation, readByGroupType, readByType } from './att-find.ts';
import { type Attribute, TYPE } from './gatt.ts';

/** The server's side of the Attribute Protocol (Core Specification, Vol 3 Part F section 3.4) for one link. */

const COMMAND_FLAG = 0x40;
const LONGEST_VALUE = 512;
/** Small parts keep few prepared writes; 64 hold the longest value at the smallest MTU. */
const PREPARE_QUEUE = 64;

/** What the lamp behind the server decides. Both return 0, or the ATT error that answers a request. */
export interface AttOwner {
  /** A value was written; `characteristic` is canonical. */
  written(characteristic: string, bytes: Buffer, kind: 'request' | 'command'): number;
  /** The client turned notifications or indications of a characteristic on or off. */
  subscribed(characteristic: string, on: boolean): void;
  /** Asked before each MTU exchange. */
  mtuRefused(): number;
}

interface Prepared {
  readonly attribute: Attribute;
  readonly offset: number;
  readonly bytes: Buffer;
}

export class AttServer {
  readonly #table: readonly Attribute[];
  readonly #owner: AttOwner;
  readonly #ownMtu: number;
  readonly #values = new Map<number, Uint8Array>();
  #mtu = 23;
  #prepared: Prepared[] = [];

  constructor(table: readonly Attribute[], owner: AttOwner, mtu: number) {
    this.#table = table;
    this.#owner = owner;
    this.#ownMtu = mtu;
  }

  /** The answer to one PDU; undefined where none is due. */
  handle(pdu: Buffer): Buffer | undefined {
    const opcode = pdu[0];
    if (opcode === undefined) return undefined;
    const answer = this.#answer(opcode, pdu);
    if (answer instanceof Refusal) {
      return Buffer.from([OP.ERROR, opcode, answer.handle & 0xff, answer.handle >> 8, answer.code]);
    }
    return answer;
  }

  /** A notification PDU, cut to the MTU; undefined when nobody has subscribed (`unasked`: all the same). */
  notification(characteristic: string, value: Uint8Array, unasked = false): Buffer | undefined {
    const cccd = this.#table.find((entry) => entry.type === TYPE.CCCD && entry.characteristic === characteristic);
    const target = this.#table.find((entry) => entry.type === characteristic);
    if (cccd === undefined || target === undefined) return undefined;
    if (!unasked && ((this.#valueOf(cccd)[0] ?? 0) & 0x01) === 0) return undefined;
    return Buffer.concat([
      Buffer.from([OP.NOTIFICATION, target.handle & 0xff, target.handle >> 8]),
      value.subarray(0, this.#mtu - 3),
    ]);
  }

  #answer(opcode: number, pdu: Buffer): Buffer | Refusal | undefined {
    switch (opcode) {
      case OP.WRITE_COMMAND:
        return this.#writeCommand(pdu);
      case OP.WRITE:
        return this.#write(pdu);
      case OP.MTU:
        return this.#exchangeMtu(pdu);
      case OP.FIND_INFORMATION:
        return findInformation(this.#view, pdu);
      case OP.FIND_BY_TYPE_VALUE:
        return findByTypeValue(this.#view, pdu);
      case OP.READ_BY_TYPE:
        return readByType(this.#view, pdu);
      case OP.READ_BY_GROUP_TYPE:
        return readByGroupType(this.#view, pdu);
      case OP.READ:
        return this.#read(pdu);
      case OP.READ_BLOB:
        return this.#readBlob(pdu);
      case OP.READ_MULTIPLE:
        return this.#readMultiple(pdu);
      case OP.PREPARE_WRITE:
        return this.#prepare(pdu);
      case OP.EXECUTE_WRITE:
        return this.#execute(pdu);
      default:
        // Unknown commands are ignored; responses, notifications and confirmations (odd, and 0x1E) are not for a server.
        if ((opcode & COMMAND_FLAG) !== 0 || opcode % 2 === 1 || opcode === 0x1e) return undefined;
        return new Refusal(ATT_ERROR.REQUEST_NOT_SUPPORTED);
    }
  }

  #exchangeMtu(pdu: Buffer): Buffer | Refusal {
    if (pdu.length !== 3) return new Refusal(ATT_ERROR.INVALID_PDU);
    const refused = this.#owner.mtuRefused();
    if (refused !== 0) return new Refusal(refused);
    this.#mtu = Math.max(23, Math.min(pdu.readUInt16LE(1), this.#ownMtu));
    return Buffer.from([OP.MTU + 1, this.#ownMtu & 0xff, this.#ownMtu >> 8]);
  }

  #read(pdu: Buffer): Buffer | Refusal {
    if (pdu.length !== 3) return new Refusal(ATT_ERROR.INVALID_PDU);
    const attribute = this.#readable(pdu.readUInt16LE(1));
    if (attribute instanceof Refusal) return attribute;
    return Buffer.concat([Buffer.from([OP.READ + 1]), this.#valueOf(attribute).subarray(0, this.#mtu - 1)]);
  }

  #readBlob(pdu: Buffer): Buffer | Refusal {
    if (pdu.length !== 5) return new Refusal(ATT_ERROR.INVALID_PDU);
    const attribute = this.#readable(pdu.readUInt16LE(1));
    if (attribute instanceof Refusal) return attribute;
    const offset = pdu.readUInt16LE(3);
    const value = this.#valueOf(attribute);
    if (offset > value.length) return new Refusal(ATT_ERROR.INVALID_OFFSET, attribute.handle);
    return Buffer.concat([Buffer.from([OP.READ_BLOB + 1]), value.subarray(offset, offset + this.#mtu - 1)]);
  }

  #readMultiple(pdu: Buffer): Buffer | Refusal {
    if (pdu.length < 5 || pdu.length % 2 === 0) return new Refusal(ATT_ERROR.INVALID_PDU);
    const values: Uint8Array[] = [];
    for (let offset = 1; offset < pdu.length; offset += 2) {
      const attribute = this.#readable(pdu.readUInt16LE(offset));
      if (attribute instanceof Refusal) return attribute;
      values.push(this.#valueOf(attribute));
    }
    return Buffer.concat([Buffer.from([OP.READ_MULTIPLE + 1]), Buffer.concat(values).subarray(0, this.#mtu - 1)]);
  }

  #write(pdu: Buffer): Buffer | Refusal {
    if (pdu.length < 3) return new Refusal(ATT_ERROR.INVALID_PDU);
    const handle = pdu.readUInt16LE(1);
    const attribute = this.#table[handle - 1];
    if (attribute === undefined) return new Refusal(ATT_ERROR.INVALID_HANDLE, handle);
    const refused = this.#store(attribute, pdu.subarray(3), 'request');
    return refused === 0 ? Buffer.from([OP.WRITE + 1]) : new Refusal(refused, handle);
  }

  #writeCommand(pdu: Buffer): undefined {
    if (pdu.length < 3) return;
    const attribute = this.#table[pdu.readUInt16LE(1) - 1];
    // A command that is not permitted, or too long for the link, is dropped without a word (section 3.4.5.3).
    if (attribute?.writable.command !== true || pdu.length > this.#mtu) return;
    this.#store(attribute, pdu.subarray(3), 'command');
  }

  #prepare(pdu: Buffer): Buffer | Refusal {
    if (pdu.length < 5) return new Refusal(ATT_ERROR.INVALID_PDU);
    const handle = pdu.readUInt16LE(1);
    const attribute = this.#table[handle - 1];
    if (attribute === undefined) return new Refusal(ATT_ERROR.INVALID_HANDLE, handle);
    if (!attribute.writable.request) return new Refusal(ATT_ERROR.WRITE_NOT_PERMITTED, handle);
    if (this.#prepared.length >= PREPARE_QUEUE) return new Refusal(ATT_ERROR.PREPARE_QUEUE_FULL, handle);
    // The bytes are kept past this call, so they are copied out of the receive buffer.
    this.#prepared.push({ attribute, offset: pdu.readUInt16LE(3), bytes: Buffer.from(pdu.subarray(5)) });
    return Buffer.concat([Buffer.from([OP.PREPARE_WRITE + 1]), pdu.subarray(1)]);
  }

  #execute(pdu: Buffer): Buffer | Refusal {
    const flags = pdu[1];
    if (pdu.length !== 2 || flags === undefined || flags > 1) return new Refusal(ATT_ERROR.INVALID_PDU);
    const prepared = this.#prepared;
    this.#prepared = [];
    if (flags === 0) return Buffer.from([OP.EXECUTE_WRITE + 1]);
    const values = new Map<Attribute, Buffer>();
    for (const { attribute, offset, bytes } of prepared) {
      const before = values.get(attribute) ?? Buffer.alloc(0);
      if (offset > before.length) return new Refusal(ATT_ERROR.INVALID_OFFSET, attribute.handle);
      const after = Buffer.concat([before.subarray(0, offset), bytes]);
      if (after.length > LONGEST_VALUE) return new Refusal(ATT_ERROR.INVALID_VALUE_LENGTH, attribute.handle);
      values.set(attribute, after);
    }
    for (const [attribute, bytes] of values) {
      const refused = this.#store(attribute, bytes, 'request');
      if (refused !== 0) return new Refusal(refused, attribute.handle);
    }
    return Buffer.from([OP.EXECUTE_WRITE + 1]);
  }

  /** Takes a value in, and returns 0 or the ATT error. */
  #store(attribute: Attribute, bytes: Buffer, kind: 'request' | 'command'): number {
    if (!attribute.writable[kind] || attribute.characteristic === undefined) return ATT_ERROR.WRITE_NOT_PERMITTED;
    if (attribute.type === TYPE.CCCD) {
      if (bytes.length !== 2) return ATT_ERROR.INVALID_VALUE_LENGTH;
      this.#values.set(attribute.handle, Buffer.from(bytes));
      this.#owner.subscribed(attribute.characteristic, ((bytes[0] ?? 0) & 0x03) !== 0);
      return 0;
    }
    if (bytes.length > LONGEST_VALUE) return ATT_ERROR.INVALID_VALUE_LENGTH;
    const refused = this.#owner.written(attribute.characteristic, bytes, kind);
    if (refused === 0 && attribute.readable) this.#values.set(attribute.handle, Buffer.from(bytes));
    return refused;
  }

  get #view(): AttributeView {
    return { table: this.#table, mtu: this.#mtu, valueOf: (attribute) => this.#valueOf(attribute) };
  }

  #valueOf(attribute: Attribute): Uint8Array {
    return this.#values.get(attribute.handle) ?? attribute.value;
  }

  #readable(handle: number): Attribute | Refusal {
    const attribute = this.#table[handle - 1];
    if (attribute === undefined) return new Refusal(ATT_ERROR.INVALID_HANDLE, handle);
    return attribute.readable ? attribute : new Refusal(ATT_ERROR.READ_NOT_PERMITTED, handle);
  }
}
