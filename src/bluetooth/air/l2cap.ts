import { BOUNDARY } from './hci.ts';

/** L2CAP over LE: the basic frame, its reassembly, and the fixed channels (Core Specification, Vol 3 Part A). */

export const CID = { ATT: 0x0004, SIGNALLING: 0x0005, SECURITY: 0x0006 } as const;

const HEADER = 4;
/** No fixed channel of a lamp carries more: the longest ATT PDU is 517 bytes. A longer frame is dropped as a whole. */
const LONGEST_FRAME = 1024;

/** One L2CAP frame: length, channel, payload. */
export function frame(cid: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER + payload.length);
  bytes.writeUInt16LE(payload.length, 0);
  bytes.writeUInt16LE(cid, 2);
  bytes.set(payload, HEADER);
  return bytes;
}

/** Cuts a frame into pieces of at most `size` bytes; only the first begins a frame. */
export function fragments(
  bytes: Buffer,
  size: number,
): readonly { readonly boundary: number; readonly payload: Buffer }[] {
  const pieces = [{ boundary: BOUNDARY.FIRST as number, payload: bytes.subarray(0, size) }];
  for (let at = size; at < bytes.length; at += size) {
    pieces.push({ boundary: BOUNDARY.CONTINUATION, payload: bytes.subarray(at, at + size) });
  }
  return pieces;
}

/** Puts frames together again. A continuation without a beginning, or past the frame's end, is dropped. */
export class Reassembly {
  #pieces: Buffer[] = [];
  #have = 0;
  #open = false;

  /** The whole frame, once it is complete. */
  take(boundary: number, payload: Buffer): { readonly cid: number; readonly payload: Buffer } | undefined {
    if (boundary === BOUNDARY.CONTINUATION) {
      if (!this.#open) return undefined;
      // Kept past this call, and the receive buffer is reused.
      this.#pieces.push(payload);
    } else {
      this.#pieces = [payload];
      this.#have = 0;
      this.#open = true;
    }
    this.#have += payload.length;
    if (this.#have < HEADER) return undefined;
    const [only] = this.#pieces;
    const bytes = this.#pieces.length === 1 && only !== undefined ? only : Buffer.concat(this.#pieces, this.#have);
    this.#pieces = [bytes];
    const wanted = HEADER + bytes.readUInt16LE(0);
    if (wanted > HEADER + LONGEST_FRAME || bytes.length > wanted) {
      this.#close();
      return undefined;
    }
    if (bytes.length < wanted) return undefined;
    this.#close();
    return { cid: bytes.readUInt16LE(2), payload: bytes.subarray(HEADER) };
  }

  #close(): void {
    this.#pieces = [];
    this.#have = 0;
    this.#open = false;
  }
}

const SIGNAL = { REJECT: 0x01, PARAMETER_REQUEST: 0x12, PARAMETER_RESPONSE: 0x13 } as const;

/**
 * The lamp's answer on the signalling channel (Part A section 4): it understands no requests, and a response needs none.
 * Code 0x12 is for centrals to answer, so it is rejected here too.
 */
export function signallingAnswer(bytes: Buffer): Buffer | undefined {
  const [code, identifier] = bytes;
  if (code === undefined || identifier === undefined || identifier === 0) return undefined;
  if (code === SIGNAL.REJECT || code === SIGNAL.PARAMETER_RESPONSE) return undefined;
  // Reason 0x0000: command not understood.
  return Buffer.from([SIGNAL.REJECT, identifier, 2, 0, 0, 0]);
}

/** Asks for 20-40 ms, no latency, 4 s supervision timeout (units of 1.25 ms and 10 ms; section 4.20). */
export function parameterRequest(identifier: number): Buffer {
  return Buffer.from([SIGNAL.PARAMETER_REQUEST, identifier, 8, 0, 16, 0, 32, 0, 0, 0, 0x90, 0x01]);
}

const SMP = { PAIRING_REQUEST: 0x01, PAIRING_FAILED: 0x05 } as const;

/** The lamp's answer on the security channel (Vol 3 Part H section 3): it does not pair. */
export function securityAnswer(bytes: Buffer): Buffer | undefined {
  const [code] = bytes;
  if (code === undefined || code === SMP.PAIRING_FAILED) return undefined;
  const notSupported = 0x05;
  const unknownCommand = 0x07;
  return Buffer.from([SMP.PAIRING_FAILED, code === SMP.PAIRING_REQUEST ? notSupported : unknownCommand]);
}
