import { PorchlightError } from '../../errors.ts';

/** Packet types of the UART transport layer (Core specification, Vol 4, Part A, 2). */
export const COMMAND = 1;
export const ACL = 2;
export const EVENT = 4;

/** No controller's buffer is larger; a longer packet means that the stream has lost its frames. */
const LONGEST = 8 * 1024;

/** Header octets after the type octet, and where the length stands in the packet (counted from the type octet). */
const HEADERS: Readonly<Record<number, { readonly header: number; readonly at: number; readonly wide: boolean }>> = {
  1: { header: 3, at: 3, wide: false },
  2: { header: 4, at: 3, wide: true },
  3: { header: 3, at: 3, wide: false },
  4: { header: 2, at: 2, wide: false },
  5: { header: 4, at: 3, wide: true },
};

/**
 * Cuts a byte stream into HCI packets, however the network split or merged it. H4 carries no mark to find a lost frame by,
 * so an unknown type or an absurd length throws, and the connection must be made anew. Between two packets it keeps less
 * than `LONGEST` octets.
 */
export class H4Framer {
  #rest: Buffer = Buffer.alloc(0);

  /** Has a packet begun that is not whole yet? */
  get isWithin(): boolean {
    return this.#rest.length > 0;
  }

  /** Calls `onPacket` once for each whole packet, type octet first. Throws `adapter_stuck` on garbage. */
  push(chunk: Buffer, onPacket: (packet: Buffer) => void): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    // Before the packets are handled: if a handler throws, what follows must not be cut from stale bytes.
    this.#rest = Buffer.alloc(0);
    for (;;) {
      const length = packetLength(bytes);
      if (length === undefined || bytes.length < length) break;
      const packet = bytes.subarray(0, length);
      bytes = bytes.subarray(length);
      this.#rest = bytes;
      onPacket(packet);
    }
    this.#rest = bytes;
  }
}

function packetLength(bytes: Buffer): number | undefined {
  const type = bytes[0];
  if (type === undefined) return undefined;
  const shape = HEADERS[type];
  if (shape === undefined) throw new PorchlightError('adapter_stuck', `The controller sent a packet of type ${type}.`);
  if (bytes.length < 1 + shape.header) return undefined;
  // The two upper bits of an isochronous length are reserved (Vol 4, Part E, 5.4.5).
  const raw = shape.wide ? bytes.readUInt16LE(shape.at) : bytes.readUInt8(shape.at);
  const length = 1 + shape.header + (type === 5 ? raw & 0x3fff : raw);
  if (length > LONGEST) {
    throw new PorchlightError('adapter_stuck', `The controller announced a packet of ${length} octets.`);
  }
  return length;
}
