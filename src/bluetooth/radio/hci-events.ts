import { COMMAND, EVENT } from './h4-framer.ts';

/** Opcodes that the guard looks at (Core specification, Vol 4, Part E, 7). */
export const DISCONNECT = 0x0406;
export const RESET = 0x0c03;
export const CREATE_CONNECTION = 0x200d;
export const EXTENDED_CREATE_CONNECTION = 0x2043;
export const CREATE_CONNECTION_CANCEL = 0x200e;
const CONNECTION_UPDATE = 0x2013;
const SCAN_ENABLE = 0x200c;
const EXTENDED_SCAN_ENABLE = 0x2042;

/** Event codes (7.7). */
export const DISCONNECTION_COMPLETE = 0x05;
export const COMMAND_COMPLETE = 0x0e;
export const COMMAND_STATUS = 0x0f;
export const HARDWARE_ERROR = 0x10;
export const COMPLETED_PACKETS = 0x13;
export const LE_META = 0x3e;

export const isCreation = (opcode: number): boolean =>
  opcode === CREATE_CONNECTION || opcode === EXTENDED_CREATE_CONNECTION;

export const switchesScan = (opcode: number): boolean => opcode === SCAN_ENABLE || opcode === EXTENDED_SCAN_ENABLE;

/** Commands that noble expects to be answered by Command Status; all others by Command Complete. */
export const ANSWERED_BY_STATUS: ReadonlySet<number> = new Set([
  DISCONNECT,
  CREATE_CONNECTION,
  EXTENDED_CREATE_CONNECTION,
  CONNECTION_UPDATE,
  0x2019, // LE Enable Encryption
]);

/** The commands whose completion noble takes in, and how many octets of it, after the status, it reads unasked. */
const COMPLETIONS: ReadonlyMap<number, number> = new Map([
  [RESET, 0],
  [0x0c01, 0], // Set Event Mask
  [0x0c6c, 2], // Read LE Host Support
  [0x0c6d, 0], // Write LE Host Support
  [0x1001, 8], // Read Local Version Information
  [0x1005, 7], // Read Buffer Size
  [0x1009, 6], // Read BD_ADDR
  [0x2001, 0], // LE Set Event Mask
  [0x2002, 3], // LE Read Buffer Size
  [0x2003, 8], // LE Read Local Supported Features
  [0x200b, 0], // LE Set Scan Parameters
  [SCAN_ENABLE, 0],
  [CREATE_CONNECTION_CANCEL, 0],
  [0x2022, 2], // LE Set Data Length
  [0x202f, 8], // LE Read Maximum Data Length
  [0x2041, 0], // LE Set Extended Scan Parameters
  [EXTENDED_SCAN_ENABLE, 0],
]);

/** Is this Command Complete one that noble needs, with all that noble reads of it? A failure has its status only. */
export function isCompletion(packet: Buffer): boolean {
  const least = COMPLETIONS.get(packet.readUInt16LE(4));
  return least !== undefined && (packet[6] !== 0 || packet.length >= 7 + least);
}

/**
 * LE Create Connection (7.8.12) with the scan window as long as its interval: noble listens for the lamp half of the time, and so
 * misses every other advert. Nothing else is listened for meanwhile.
 */
export function listeningAlways(create: Buffer): Buffer {
  const packet = Buffer.from(create);
  packet.copy(packet, 6, 4, 6);
  return packet;
}

/** LE Connection Update (7.8.18): 7.5 to 22.5 ms between events, no latency, 6 s of supervision, as every connection is asked for. */
export function connectionUpdate(handle: number): Buffer {
  const packet = Buffer.from([
    COMMAND,
    CONNECTION_UPDATE & 0xff,
    CONNECTION_UPDATE >> 8,
    14,
    ...Array<number>(14).fill(0),
  ]);
  for (const [at, value] of [handle, 6, 18, 0, 600, 0, 0].entries()) packet.writeUInt16LE(value, 4 + at * 2);
  return packet;
}

export const commandComplete = (opcode: number, status: number): Buffer =>
  Buffer.from([EVENT, COMMAND_COMPLETE, 4, 1, opcode & 0xff, opcode >> 8, status]);

export const disconnectionComplete = (handle: number, reason: number): Buffer =>
  Buffer.from([EVENT, DISCONNECTION_COMPLETE, 4, 0, handle & 0xff, handle >> 8, reason]);

/** Number Of Completed Packets of one handle. */
export const completedPackets = (handle: number, count: number): Buffer =>
  Buffer.from([EVENT, COMPLETED_PACKETS, 5, 1, handle & 0xff, handle >> 8, count & 0xff, count >> 8]);

/** The address whose six octets, as on the air, stand at `at`. */
export function addressAt(packet: Buffer, at: number): string {
  const hex = packet.toString('hex', at, at + 6);
  let text = hex.slice(10, 12);
  for (let octet = 8; octet >= 0; octet -= 2) text += `:${hex.slice(octet, octet + 2)}`;
  return text;
}

/**
 * Who was told what: a controller answers each command once, so a completion that answers none is not taken for one. Other
 * programs' commands, which a raw socket shows, count as well.
 */
export class CommandBook {
  readonly #open = new Map<number, number>();

  sent(opcode: number): void {
    // Nobody answers so many; a controller that never does must not make this grow.
    this.#open.set(opcode, Math.min((this.#open.get(opcode) ?? 0) + 1, 255));
  }

  /** Was there one to be answered? */
  answered(opcode: number): boolean {
    const open = this.#open.get(opcode) ?? 0;
    if (open > 0) this.#open.set(opcode, open - 1);
    return open > 0;
  }
}
