import type { AirAddress } from './address.ts';
import { aclPacket, completedPackets } from './hci.ts';
import { CID, fragments, frame, parameterRequest, Reassembly, securityAnswer, signallingAnswer } from './l2cap.ts';
import type { LampLink, VirtualLamp } from './lamp.ts';

/** How a link behaves in time. All in milliseconds. */
export interface LinkTiming {
  /** 0: packets cross at once, on the caller's stack. */
  readonly intervalMs: number;
  readonly packetsPerEvent: number;
  readonly supervisionMs: number;
}

/** What a link does to the controller that it belongs to. */
export interface LinkPort {
  send(packet: Buffer): void;
  /** Of the packets that a connection event moves, the host hears together. */
  together(moves: () => void): void;
  lost(link: Link, reason: number): void;
}

interface Fragment {
  readonly boundary: number;
  readonly payload: Buffer;
}

/**
 * One connection between the controller and a lamp. Packets cross only at connection events, which come every interval: what
 * the lamp answers within an event leaves at the next one, so a request and its answer take two intervals (Vol 6 Part B
 * section 4.5). A timer runs only while something waits.
 */
export class Link implements LampLink {
  readonly handle: number;
  readonly lamp: VirtualLamp;
  /** The lamp's address when it was connected to. */
  readonly peer: AirAddress;
  readonly #port: LinkPort;
  readonly #packetLength: number;
  readonly #received = new Reassembly();
  #anchor = performance.now();
  /** Connection events since the anchor, the last one's number. */
  #lastEvent = 0;
  #timing: LinkTiming;
  #down: Fragment[] = [];
  #up: Buffer[] = [];
  #next: NodeJS.Timeout | undefined;
  #supervision: NodeJS.Timeout | undefined;
  #late = new Set<NodeJS.Timeout>();
  #suspended = false;
  #open = true;

  constructor(handle: number, lamp: VirtualLamp, timing: LinkTiming, packetLength: number, port: LinkPort) {
    this.handle = handle;
    this.lamp = lamp;
    this.peer = lamp.onAir;
    this.#timing = timing;
    this.#packetLength = packetLength;
    this.#port = port;
  }

  /** Packets from the host that wait for a connection event. */
  get waiting(): number {
    return this.#down.length;
  }

  /** Does the lamp hear nothing, and is not heard? */
  get suspended(): boolean {
    return this.#suspended;
  }

  get timing(): LinkTiming {
    return this.#timing;
  }

  set timing(timing: LinkTiming) {
    this.#timing = timing;
    this.#anchor = performance.now();
    this.#lastEvent = 0;
    clearTimeout(this.#next);
    this.#next = undefined;
    this.#schedule();
  }

  start(): void {
    this.lamp.connect(this);
    if (this.lamp.spec.asksParameters) this.#toHost(CID.SIGNALLING, parameterRequest(1));
  }

  /** ACL data from the host. */
  fromHost(boundary: number, payload: Buffer): void {
    if (this.#timing.intervalMs === 0 && !this.#suspended) {
      this.#deliver(boundary, payload);
      if (this.#open) this.#port.send(completedPackets(this.handle, 1));
      return;
    }
    // Kept past this call, and the receive buffer may be reused.
    this.#down.push({ boundary, payload: Buffer.from(payload) });
    this.#schedule();
  }

  push(pdu: Buffer): void {
    this.#toHost(CID.ATT, pdu);
  }

  lose(reason: number): void {
    if (this.#open) this.#port.lost(this, reason);
  }

  suspend(on: boolean): void {
    if (!this.#open || on === this.#suspended) return;
    this.#suspended = on;
    clearTimeout(this.#supervision);
    if (on) {
      clearTimeout(this.#next);
      this.#next = undefined;
      this.#supervision = setTimeout(() => this.lose(0x08), this.#timing.supervisionMs);
    } else if (this.#timing.intervalMs === 0) {
      while (this.#up.length + this.#down.length > 0 && this.#open && !this.#suspended) this.#event();
    } else {
      this.#schedule();
    }
  }

  orphan(): void {
    this.suspend(true);
  }

  /** The connection has ended: nothing crosses any more, and the lamp advertises again. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    clearTimeout(this.#next);
    clearTimeout(this.#supervision);
    for (const timer of this.#late) clearTimeout(timer);
    this.#late.clear();
    this.#up = [];
    this.#down = [];
    this.lamp.disconnected(this);
  }

  #deliver(boundary: number, payload: Buffer): void {
    const whole = this.#received.take(boundary, payload);
    if (whole === undefined) return;
    if (whole.cid === CID.ATT) this.#answerLater(this.lamp.att(whole.payload));
    else if (whole.cid === CID.SIGNALLING) this.#answer(CID.SIGNALLING, signallingAnswer(whole.payload));
    else if (whole.cid === CID.SECURITY) this.#answer(CID.SECURITY, securityAnswer(whole.payload));
  }

  #answerLater(answer: Buffer | undefined): void {
    const slow = this.lamp.faults.get('slow');
    if (slow === undefined) {
      this.#answer(CID.ATT, answer);
      return;
    }
    const timer = setTimeout(() => {
      this.#late.delete(timer);
      this.#answer(CID.ATT, answer);
    }, slow.ms);
    this.#late.add(timer);
  }

  #answer(cid: number, answer: Buffer | undefined): void {
    if (answer !== undefined) this.#toHost(cid, answer);
  }

  #toHost(cid: number, payload: Buffer): void {
    if (!this.#open) return;
    const packets = fragments(frame(cid, payload), this.#packetLength).map((piece) =>
      aclPacket(this.handle, piece.boundary, piece.payload),
    );
    if (this.#timing.intervalMs === 0 && !this.#suspended) {
      for (const packet of packets) this.#port.send(packet);
      return;
    }
    this.#up.push(...packets);
    this.#schedule();
  }

  #schedule(): void {
    const interval = this.#timing.intervalMs;
    if (this.#next !== undefined || this.#suspended || !this.#open || interval === 0) return;
    if (this.#up.length + this.#down.length === 0) return;
    // Instants stay on the grid of the first one, whatever the timers do: none comes early, none twice, and none drifts.
    const since = performance.now() - this.#anchor;
    const event = Math.max(this.#lastEvent, Math.floor(since / interval)) + 1;
    this.#next = setTimeout(
      () => {
        this.#next = undefined;
        this.#lastEvent = event;
        this.#port.together(() => this.#event());
        this.#schedule();
      },
      Math.ceil(event * interval - since),
    );
  }

  #event(): void {
    const { packetsPerEvent } = this.#timing;
    const up = this.#up.splice(0, packetsPerEvent);
    const down = this.#down.splice(0, packetsPerEvent);
    for (const packet of up) this.#port.send(packet);
    for (const { boundary, payload } of down) {
      if (this.#open) this.#deliver(boundary, payload);
    }
    if (this.#open && down.length > 0) this.#port.send(completedPackets(this.handle, down.length));
  }
}
