import { PACKET } from './hci.ts';

/** HCI_Reset as the host sends it: the one sequence by which lost synchronisation is found again. */
const RESET = Buffer.from([PACKET.COMMAND, 0x03, 0x0c, 0x00]);

/** Header length without the type byte, and where the payload's length stands (Vol 4 Part E section 5.4). */
function headerOf(type: number): number | undefined {
  if (type === PACKET.COMMAND || type === PACKET.SCO) return 3;
  if (type === PACKET.ACL || type === PACKET.ISO) return 4;
  return undefined;
}

function lengthOf(type: number, buffer: Buffer): number {
  if (type === PACKET.ACL) return buffer.readUInt16LE(3);
  if (type === PACKET.ISO) return buffer.readUInt16LE(3) & 0x3fff;
  return buffer.readUInt8(3);
}

/**
 * Cuts the byte stream from the host into packets (Vol 4 Part A). A byte that begins no packet means that synchronisation
 * is lost: `onLost` is called once, and everything up to the next HCI_Reset is thrown away (section 4 there). What is kept
 * of an unfinished packet is bounded by its 16-bit length.
 */
export class H4Framer {
  readonly #onPacket: (packet: Buffer) => void;
  readonly #onLost: () => void;
  #carry: Buffer[] = [];
  #carried = 0;
  #wanted = 1;
  #lost = false;

  constructor(onPacket: (packet: Buffer) => void, onLost: () => void) {
    this.#onPacket = onPacket;
    this.#onLost = onLost;
  }

  push(chunk: Buffer): void {
    let rest = chunk;
    if (this.#carried > 0) {
      this.#carry.push(chunk);
      this.#carried += chunk.length;
      // Joined only when enough is there: a long packet that comes byte by byte must not cost its length squared.
      if (this.#carried < this.#wanted) return;
      rest = Buffer.concat(this.#carry, this.#carried);
      this.#carry = [];
      this.#carried = 0;
    }
    rest = this.#cut(rest);
    if (rest.length > 0) {
      this.#carry.push(rest);
      this.#carried = rest.length;
    }
  }

  /** Hands on every whole packet and returns what is left over. */
  #cut(bytes: Buffer): Buffer {
    let rest = bytes;
    for (;;) {
      if (this.#lost) rest = this.#resynchronise(rest);
      if (this.#lost) return rest;
      const type = rest[0];
      if (type === undefined) return rest;
      const header = headerOf(type);
      if (header === undefined) {
        this.#lost = true;
        this.#onLost();
        continue;
      }
      this.#wanted = 1 + header;
      if (rest.length < this.#wanted) return rest;
      this.#wanted += lengthOf(type, rest);
      if (rest.length < this.#wanted) return rest;
      const packet = rest.subarray(0, this.#wanted);
      rest = rest.subarray(this.#wanted);
      this.#onPacket(packet);
    }
  }

  #resynchronise(bytes: Buffer): Buffer {
    const found = bytes.indexOf(RESET);
    this.#wanted = RESET.length;
    if (found >= 0) {
      this.#lost = false;
      return bytes.subarray(found);
    }
    return bytes.subarray(Math.max(0, bytes.length - RESET.length + 1));
  }
}
