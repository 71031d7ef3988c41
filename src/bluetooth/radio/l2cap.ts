/** L2CAP channels of LE (Core specification, Vol 3, Part A, 2.1). */
const ATT = 4;
const SIGNALLING = 5;

const ERROR_RESPONSE = 0x01;
const MTU_RESPONSE = 0x03;
const READ_BY_TYPE_RESPONSE = 0x09;
const READ_BY_GROUP_RESPONSE = 0x11;
const NOTIFICATION = 0x1b;
const INDICATION = 0x1d;

const SMALLEST_MTU = 23;
/** What noble asks for; the smaller of both sides' counts. */
const LARGEST_MTU = 256;
/** A whole ATT value and its headers; a lamp that sends more is not one. */
const LONGEST_PDU = 1024;

/** ATT errors after which noble starts a pairing that never ends, or stops reading answers. */
const INVALID_PDU = 0x04;
const NEEDS_PAIRING = new Set([0x05, 0x08, 0x0f]);
const UNLIKELY_ERROR = 0x0e;

export interface AttError {
  /** Opcode of the request that was refused. */
  readonly request: number;
  readonly code: number;
  readonly needsPairing: boolean;
}

/** What to do with one whole L2CAP packet of a peer. */
export type Verdict =
  | { readonly pass: Buffer; readonly error?: AttError }
  | { readonly drop: true }
  | { readonly broken: string };

const DROP: Verdict = { drop: true };

/**
 * Judges a peer's packet before noble parses it: noble trusts lengths, loops on empty attribute lists, takes any MTU, and
 * hangs on some refusals. `pdu` is the payload of the channel.
 */
export function judge(channel: number, pdu: Buffer): Verdict {
  if (channel === ATT) return judgeAtt(pdu);
  // Pairing is not offered: noble keeps no keys, and its half of it can be crashed from the air.
  if (channel !== SIGNALLING) return DROP;
  if (pdu.length < 4 || pdu.length < 4 + pdu.readUInt16LE(2)) return DROP;
  const CONNECTION_PARAMETER_UPDATE_REQUEST = 0x12;
  return pdu[0] === CONNECTION_PARAMETER_UPDATE_REQUEST && pdu.length >= 12 ? { pass: pdu } : DROP;
}

function judgeAtt(pdu: Buffer): Verdict {
  switch (pdu[0]) {
    case undefined:
      return { broken: 'an empty attribute packet' };
    case ERROR_RESPONSE:
      return judgeError(pdu);
    case MTU_RESPONSE:
      if (pdu.length < 3) return { broken: 'a short MTU answer' };
      return { pass: withMtu(pdu, Math.min(Math.max(pdu.readUInt16LE(1), SMALLEST_MTU), LARGEST_MTU)) };
    case READ_BY_TYPE_RESPONSE:
      // Handle and value: a descriptor has 2 octets of value, a characteristic 5 or 19.
      return isList(pdu, 4) ? { pass: pdu } : { broken: 'a malformed attribute list' };
    case READ_BY_GROUP_RESPONSE:
      return isList(pdu, 6) ? { pass: pdu } : { broken: 'a malformed service list' };
    case NOTIFICATION:
    case INDICATION:
      return pdu.length >= 3 ? { pass: pdu } : { broken: 'a short notification' };
    default:
      return { pass: pdu };
  }
}

function judgeError(pdu: Buffer): Verdict {
  const request = pdu[1];
  const code = pdu[4];
  if (request === undefined || code === undefined) return { broken: 'a short error answer' };
  const needsPairing = NEEDS_PAIRING.has(code);
  const error: AttError = { request, code, needsPairing };
  if (!needsPairing && code !== INVALID_PDU) return { pass: pdu, error };
  const harmless = Buffer.from(pdu);
  harmless[4] = UNLIKELY_ERROR;
  return { pass: harmless, error };
}

function withMtu(pdu: Buffer, mtu: number): Buffer {
  const copy = Buffer.from(pdu.subarray(0, 3));
  copy.writeUInt16LE(mtu, 1);
  return copy;
}

function isList(pdu: Buffer, smallest: number): boolean {
  const each = pdu[1] ?? 0;
  const bytes = pdu.length - 2;
  return each >= smallest && bytes >= each && bytes % each === 0;
}

/** Channel and length, before each PDU. */
const HEADER = 4;

/** Puts the fragments of one connection's L2CAP packets together (Core specification, Vol 4, Part E, 5.4.2). */
export class Reassembly {
  /** Header and payload as far as they came; a first fragment may even end within the header, or be empty (Vol 3, Part A, 1.4). */
  #pieces: Buffer[] | undefined;
  #have = 0;

  /** The channel and payload that `packet` (an HCI ACL packet, type octet first) completes, if it completes one. */
  push(packet: Buffer): { readonly channel: number; readonly pdu: Buffer } | undefined {
    const continues = ((packet.readUInt16LE(1) >> 12) & 3) === 1;
    if (!continues) {
      this.#pieces = [];
      this.#have = 0;
    }
    const pieces = this.#pieces;
    if (pieces === undefined) return undefined;
    const payload = packet.subarray(5);
    this.#have += payload.length;
    // Empty ones would pile up.
    if (payload.length > 0) pieces.push(payload);
    if (this.#have < HEADER) return undefined;
    let [first = payload] = pieces;
    if (first.length < HEADER) {
      first = Buffer.concat(pieces);
      pieces.splice(0, pieces.length, first);
    }
    const length = first.readUInt16LE(0);
    if (length <= LONGEST_PDU && this.#have < HEADER + length) return undefined;
    this.#pieces = undefined;
    // Too long, or more than was announced: not a packet that can be trusted.
    if (length > LONGEST_PDU || this.#have !== HEADER + length) return undefined;
    const whole = pieces.length === 1 ? first : Buffer.concat(pieces);
    return { channel: whole.readUInt16LE(2), pdu: whole.subarray(HEADER) };
  }
}
