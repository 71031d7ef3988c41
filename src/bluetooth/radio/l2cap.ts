import { Budget } from './budget.ts';

/** L2CAP channels of LE (Core specification, Vol 3, Part A, 2.1). Of all others, security (6) too, nothing reaches noble. */
export const ATT = 4;
export const SIGNALLING = 5;

/**
 * The longest PDU that a peer may send: noble offers an ATT MTU of 256, the smaller of both sides' counts, and no signalling
 * packet is longer than 23 (Vol 3, Part A, 4).
 */
export const LONGEST_PDU = 256;

/** Channel and length, before each PDU. */
const HEADER = 4;

/** Packet boundary flags of what a controller hands up (Vol 4, Part E, 5.4.2). 0 is not for it, but virtual ones send it. */
const FIRST = new Set([0, 2]);
const CONTINUES = 1;

/**
 * Puts the fragments of one connection's L2CAP packets together (Vol 4, Part E, 5.4.2; Vol 3, Part A, 7.2.1).
 *
 * Invariants: it holds one packet of at most `LONGEST_PDU` octets, and no buffer of the transport's, however many fragments
 * come and however small they are; a packet that is longer than announced, or announced longer than that, is dropped as a
 * whole, and so is what continues nothing.
 */
export class Reassembly {
  readonly #header = Buffer.alloc(HEADER);
  /** Octets of the packet so far, its header included; undefined between packets. */
  #have: number | undefined;
  #pdu: Buffer | undefined;

  /** The channel and payload that `packet` (an HCI ACL packet, type octet first) completes, if it completes one. */
  push(packet: Buffer): { readonly channel: number; readonly pdu: Buffer } | undefined {
    const flags = (packet.readUInt16LE(1) >> 12) & 3;
    if (FIRST.has(flags)) {
      this.#have = 0;
      this.#pdu = undefined;
    } else if (flags !== CONTINUES) {
      this.#have = undefined;
    }
    if (this.#have === undefined || !this.#take(packet, this.#have)) return undefined;
    const pdu = this.#pdu;
    if (pdu === undefined || this.#have !== HEADER + pdu.length) return undefined;
    this.#have = undefined;
    return { channel: this.#header.readUInt16LE(2), pdu };
  }

  /** Adds a fragment after the `have` octets that there are. False where the packet is not to be had any more. */
  #take(packet: Buffer, have: number): boolean {
    let at = 5;
    // A first fragment may even end within the header, or be empty (Vol 3, Part A, 7.2.1).
    if (have < HEADER) at += packet.copy(this.#header, have, at);
    const total = have + packet.length - 5;
    this.#have = total;
    if (total < HEADER) return true;
    const length = this.#header.readUInt16LE(0);
    if (length > LONGEST_PDU || total > HEADER + length) {
      this.#have = undefined;
      return false;
    }
    // A PDU of its own each time: noble keeps slices of it.
    this.#pdu ??= Buffer.alloc(length);
    packet.copy(this.#pdu, Math.max(0, have - HEADER), at);
    return true;
  }
}

const CONNECTION_PARAMETER_UPDATE_REQUEST = 0x12;
/** A peer that was refused may ask again after 30 s (TGAP(conn_param_timeout), Vol 3, Part C, Appendix A); some ask twice. */
const REQUESTS_PER_SECOND = 0.2;
/** A peer that listens more seldom than this (ms) would not answer in time. */
const SLOWEST_MS = 1000;

/**
 * Judges a peer's signalling. noble grants every Connection Parameter Update Request (Vol 3, Part A, 4.20) and tells the
 * controller so with each; only one whose values the controller could take, and a link survive, reaches it, and seldom.
 */
export class SignallingGate {
  readonly #budget: Budget;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
    this.#budget = new Budget(REQUESTS_PER_SECOND, now());
  }

  mayPass(pdu: Buffer): boolean {
    const LENGTH = 8;
    if (pdu.length !== 4 + LENGTH || pdu[0] !== CONNECTION_PARAMETER_UPDATE_REQUEST) return false;
    // Identifier 0 is none (4).
    if (pdu[1] === 0 || pdu.readUInt16LE(2) !== LENGTH || !areGood(pdu)) return false;
    return this.#budget.take(this.#now());
  }
}

/** Ranges of 4.20: intervals in units of 1.25 ms, supervision timeout in units of 10 ms. */
function areGood(pdu: Buffer): boolean {
  const [min, max, latency, timeout] = [4, 6, 8, 10].map((at) => pdu.readUInt16LE(at));
  if (min === undefined || max === undefined || latency === undefined || timeout === undefined) return false;
  if (min < 6 || min > max || max > 3200 || latency > 499 || timeout < 10 || timeout > 3200) return false;
  const heardEvery = (1 + latency) * max * 1.25;
  return heardEvery <= SLOWEST_MS && timeout * 10 > 2 * heardEvery;
}
