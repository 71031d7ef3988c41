import { type AttError, AttGate } from './att-gate.ts';
import { ACL } from './h4-framer.ts';
import { completedPackets } from './hci-events.ts';
import { ATT, Reassembly, SIGNALLING, SignallingGate } from './l2cap.ts';

const WRITE_COMMAND = 0x52;

/** What becomes of the connected. */
export interface PeerEvents {
  onAttError(address: string, error: AttError): void;
  /** The link's count of packets that the controller has not yet sent, after it changed. */
  onFlow(address: string, inFlight: number): void;
  /** The peer sent what noble must not see, once for each link: its link is to be dropped. */
  onBroken(address: string, reason: string): void;
}

interface Peer {
  readonly address: string;
  readonly reassembly: Reassembly;
  readonly att: AttGate;
  readonly signalling: SignallingGate;
  inFlight: number;
  broken: boolean;
}

/**
 * The connected, by their handles, and what passes between them and noble.
 *
 * Invariants: of links that do not stand, or are to be dropped, nothing reaches noble; of the others whole packets that
 * `AttGate` and `SignallingGate` let pass, in one fragment each. A peer's packet on which noble throws costs that peer its
 * link. noble gets back no more credits than it sent packets. What is kept is bounded by the number of connections.
 */
export class Peers {
  readonly #events: PeerEvents;
  readonly #toNoble: (packet: Buffer) => void;
  readonly #now: () => number;
  readonly #peers = new Map<number, Peer>();

  /** `toNoble` may throw. `now` is monotonic, in milliseconds. */
  constructor(events: PeerEvents, toNoble: (packet: Buffer) => void, now: () => number) {
    this.#events = events;
    this.#toNoble = toNoble;
    this.#now = now;
  }

  has(handle: number): boolean {
    return this.#peers.has(handle);
  }

  add(handle: number, address: string): void {
    this.#peers.set(handle, {
      address,
      reassembly: new Reassembly(),
      att: new AttGate(this.#now),
      signalling: new SignallingGate(this.#now),
      inFlight: 0,
      broken: false,
    });
  }

  /** Was it connected? */
  remove(handle: number): boolean {
    return this.#peers.delete(handle);
  }

  /** noble sends this ACL packet by `write`. */
  send(packet: Buffer, write: (packet: Buffer) => void): void {
    const head = packet.readUInt16LE(1);
    const peer = this.#peers.get(head & 0x0fff);
    const begins = ((head >> 12) & 3) !== 1;
    // Before it is written: nothing stops the answer from coming at once.
    if (peer !== undefined && begins && packet.readUInt16LE(7) === ATT) peer.att.sent(packet.subarray(9));
    write(packet);
    if (peer === undefined) return;
    peer.inFlight += 1;
    // Only a write without acknowledgement waits for this.
    if (packet[9] === WRITE_COMMAND) this.#events.onFlow(peer.address, peer.inFlight);
  }

  /** The controller has sent `count` packets of a handle. */
  sent(handle: number, count: number): void {
    const peer = this.#peers.get(handle);
    const completed = Math.min(count, peer?.inFlight ?? 0);
    if (peer === undefined || completed === 0) return;
    peer.inFlight -= completed;
    this.#toNoble(completedPackets(handle, completed));
    this.#events.onFlow(peer.address, peer.inFlight);
  }

  /** An ACL packet of the controller, whole. */
  receive(packet: Buffer): void {
    const handle = packet.readUInt16LE(1) & 0x0fff;
    const peer = this.#peers.get(handle);
    if (peer === undefined || peer.broken) return;
    const whole = peer.reassembly.push(packet);
    if (whole?.channel === ATT) this.#receiveAtt(handle, peer, whole.pdu);
    else if (whole?.channel === SIGNALLING && peer.signalling.mayPass(whole.pdu)) {
      this.#pass(handle, peer, SIGNALLING, whole.pdu);
    }
    // Pairing is not offered: noble keeps no keys, and its half of it can be crashed from the air.
  }

  #receiveAtt(handle: number, peer: Peer, pdu: Buffer): void {
    const verdict = peer.att.judge(pdu);
    if ('broken' in verdict) this.#break(peer, verdict.broken);
    if (!('pass' in verdict)) return;
    // First: noble takes the refusal of a read for an empty value.
    if (verdict.error !== undefined) this.#events.onAttError(peer.address, verdict.error);
    this.#pass(handle, peer, ATT, verdict.pass);
  }

  #pass(handle: number, peer: Peer, channel: number, pdu: Buffer): void {
    const out = Buffer.allocUnsafe(9 + pdu.length);
    out[0] = ACL;
    out.writeUInt16LE(handle | 0x2000, 1);
    out.writeUInt16LE(4 + pdu.length, 3);
    out.writeUInt16LE(pdu.length, 5);
    out.writeUInt16LE(channel, 7);
    pdu.copy(out, 9);
    try {
      this.#toNoble(out);
    } catch (thrown) {
      this.#break(peer, `a packet that could not be parsed (${nameOf(thrown)})`);
    }
  }

  #break(peer: Peer, reason: string): void {
    if (peer.broken) return;
    peer.broken = true;
    this.#events.onBroken(peer.address, reason);
  }
}

/** What was thrown, short enough for a note. */
export const nameOf = (thrown: unknown): string =>
  thrown instanceof Error ? thrown.message.slice(0, 100) : typeof thrown;
