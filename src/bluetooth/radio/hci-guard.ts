import { EventEmitter } from 'node:events';
import { extendedReports, legacyReports, type Report } from './adverts.ts';
import { ACL, COMMAND, EVENT } from './h4-framer.ts';
import * as hci from './hci-events.ts';
import type { HciTransport, TransportEvents } from './hci-transport.ts';
import { nameOf, type PeerEvents, Peers } from './peers.ts';

/** HCI reason (Core specification, Vol 1, Part F). */
const CONNECTION_TIMEOUT = 0x08;
const USER_ENDED = 0x13;
/** LE Enhanced Connection Complete (7.7.65.10). */
const ENHANCED = 0x0a;
/** Two seconds, in units of 10 ms. */
const SHORT_SUPERVISION = 200;

/** A controller that says so all the time is not made better by a fresh process each time. */
const HARDWARE_ERROR_MS = 10_000;

/** What the guard sees pass by and noble does not tell. */
export interface GuardEvents extends PeerEvents {
  onReport(report: Report): void;
  /** A connection was made or, with a status, was not. */
  onConnection(address: string, status: number): void;
  onScanEnabled(status: number): void;
  /** Another program, or the kernel, has reset the controller: links and scan are gone without an event. */
  onForeignReset(): void;
  /** Nothing can be saved: noble threw on an event of the controller, or the controller has failed. */
  onFatal(reason: string): void;
}

/**
 * Stands between noble and the controller, as noble's socket.
 *
 * Invariants, whatever controller and peers send: noble sees no advertising report (it keeps every address for ever and can
 * be crashed by one); of events it sees only those that it needs, whole, with handles of twelve bits: completions of commands
 * that were sent, connections that it asked for, and ends and credits of those; of peers' packets what `Peers` lets pass. A
 * handle is one connection's at a time. noble ends no link that is not its own.
 */
export class HciGuard extends EventEmitter<TransportEvents> {
  readonly #inner: HciTransport;
  readonly #events: GuardEvents;
  readonly #now: () => number;
  readonly #began: number;
  readonly #commands = new hci.CommandBook();
  readonly #peers: Peers;
  /** The address octets (as on the air) of the connection that is being made. */
  #creating: Buffer | undefined;
  #creations = 0;
  /** A raw socket hears what all others send, the kernel too. */
  #shared = false;

  /** `now` is monotonic, in milliseconds. */
  constructor(inner: HciTransport, events: GuardEvents, now: () => number = () => performance.now()) {
    super();
    this.#inner = inner;
    this.#events = events;
    this.#now = now;
    this.#began = now();
    this.#peers = new Peers(events, (packet) => this.emit('data', packet), now);
    inner.on('data', (packet) => this.#receive(packet));
    inner.on('state', (up) => this.emit('state', up));
    inner.on('error', (thrown) => this.emit('error', thrown));
  }

  /** Other programs, and the kernel, use the same controller. */
  get shared(): boolean {
    return this.#shared;
  }

  /** True while the controller is looking for a peer to connect to. */
  get creating(): boolean {
    return this.#creating !== undefined;
  }

  /** How many attempts the controller was told to make. */
  get creations(): number {
    return this.#creations;
  }

  bindRaw(deviceId?: number, parameters?: unknown): void {
    this.#shared = true;
    this.#inner.bindRaw(deviceId, parameters);
  }

  bindUser(deviceId?: number, parameters?: unknown): void {
    this.#inner.bindUser(deviceId, parameters);
  }

  setFilter(filter: Buffer): void {
    this.#inner.setFilter(filter);
  }

  isDevUp(): boolean {
    return this.#inner.isDevUp();
  }

  start(): void {
    this.#inner.start();
  }

  stop(): void {
    this.#inner.stop();
  }

  write(packet: Buffer): void {
    if (packet[0] === ACL) this.#peers.send(packet, (whole) => this.#inner.write(whole));
    else if (packet[0] === COMMAND) this.#command(packet);
    else this.#inner.write(packet);
  }

  /** Ends an attempt that noble has lost sight of. */
  cancelCreation(): void {
    const opcode = hci.CREATE_CONNECTION_CANCEL;
    this.#command(Buffer.from([COMMAND, opcode & 0xff, opcode >> 8, 0]));
  }

  #command(packet: Buffer): void {
    const opcode = packet.readUInt16LE(1);
    // noble disconnects handle 0 when it does not know a peer: that may be another lamp's.
    if (opcode === hci.DISCONNECT && !this.#peers.has(packet.readUInt16LE(4))) return;
    if (opcode === hci.CREATE_CONNECTION) this.#creating = Buffer.from(packet.subarray(10, 16));
    if (opcode === hci.EXTENDED_CREATE_CONNECTION) this.#creating = Buffer.from(packet.subarray(7, 13));
    if (hci.isCreation(opcode)) this.#creations += 1;
    this.#commands.sent(opcode);
    this.#inner.write(opcode === hci.CREATE_CONNECTION ? hci.listeningAlways(packet) : packet);
  }

  #receive(packet: Buffer): void {
    switch (packet[0]) {
      case EVENT:
        if (packet.length >= 3 && packet.length === 3 + (packet[2] ?? 0)) this.#receiveEvent(packet);
        return;
      case ACL:
        if (packet.length >= 5 && packet.length === 5 + packet.readUInt16LE(3)) this.#peers.receive(packet);
        return;
      case COMMAND:
        if (this.#shared && packet.length >= 4) this.#receiveForeign(packet);
        return;
      default:
        return;
    }
  }

  /** noble wants to know who switched the scan. */
  #receiveForeign(packet: Buffer): void {
    const opcode = packet.readUInt16LE(1);
    this.#commands.sent(opcode);
    if (opcode === hci.RESET) this.#events.onForeignReset();
    else if (hci.switchesScan(opcode) && packet.length >= 6) this.#pass(packet);
  }

  #receiveEvent(packet: Buffer): void {
    switch (packet[1]) {
      case hci.LE_META:
        this.#receiveLeEvent(packet);
        return;
      case hci.DISCONNECTION_COMPLETE:
        // With a status the link stands, though noble would take it for gone.
        if (packet.length >= 7 && packet[3] === 0) this.#end(packet.readUInt16LE(4) & 0x0fff, packet[6] ?? 0);
        return;
      case hci.COMMAND_COMPLETE:
        // Shorter ones only grant credits.
        if (packet.length >= 7) this.#receiveComplete(packet);
        return;
      case hci.COMMAND_STATUS:
        if (packet.length >= 7) this.#receiveStatus(packet);
        return;
      case hci.COMPLETED_PACKETS:
        this.#receiveCompletedPackets(packet);
        return;
      case hci.HARDWARE_ERROR:
        if (this.#now() - this.#began > HARDWARE_ERROR_MS) this.#events.onFatal('the controller has failed');
        return;
      default:
        return;
    }
  }

  #receiveLeEvent(packet: Buffer): void {
    switch (packet[3]) {
      case 0x02:
        for (const report of legacyReports(packet)) this.#events.onReport(report);
        return;
      case 0x0d:
        for (const report of extendedReports(packet)) this.#events.onReport(report);
        return;
      case 0x01:
        if (packet.length >= 22) this.#receiveConnection(packet);
        return;
      case 0x0a:
        if (packet.length >= 34) this.#receiveConnection(packet);
        return;
      default:
        return;
    }
  }

  /** LE Connection Complete, plain or enhanced: status at 4, handle at 5, role at 7, address type at 8, address at 9. */
  #receiveConnection(packet: Buffer): void {
    const status = packet[4] ?? 0;
    const creating = this.#creating;
    // Ours is the one that we asked for: noble would adopt other programs' links, which a raw socket shows too.
    if (creating === undefined || (status === 0 && !(packet[7] === 0 && creating.equals(packet.subarray(9, 15))))) {
      if (status === 0) this.#disown(packet.readUInt16LE(5) & 0x0fff);
      return;
    }
    const handle = packet.readUInt16LE(5) & 0x0fff;
    const event = Buffer.from(packet);
    event.writeUInt16LE(handle, 5);
    // noble knows its own attempt by the address, and some controllers leave it out of a failure.
    creating.copy(event, 9);
    event[7] = 0;
    // An identity address (types 2 and 3) is a public or random one that the controller resolved.
    event[8] = (event[8] ?? 0) & 1;
    this.#creating = undefined;
    if (status === 0) {
      // A handle that is given anew is free: the end of its last connection was lost.
      this.#end(handle, CONNECTION_TIMEOUT);
      this.#peers.add(handle, hci.addressAt(event, 9));
      this.#lengthen(handle, event.readUInt16LE(packet[3] === ENHANCED ? 31 : 19));
    }
    this.#events.onConnection(hci.addressAt(event, 9), status);
    this.#pass(event);
  }

  /**
   * Asks for seconds of supervision where a link came with less: a kernel that connects for us takes its own 420 ms, which small
   * gaps break. `timeout`: units of 10 ms.
   */
  #lengthen(handle: number, timeout: number): void {
    if (timeout < SHORT_SUPERVISION) this.#command(hci.connectionUpdate(handle));
  }

  /** A connection that nobody asked for, or that came after its cancel, would hold its lamp for ever. */
  #disown(handle: number): void {
    if (this.#shared || this.#peers.has(handle)) return;
    const { DISCONNECT } = hci;
    this.#commands.sent(DISCONNECT);
    this.#inner.write(
      Buffer.from([COMMAND, DISCONNECT & 0xff, DISCONNECT >> 8, 3, handle & 0xff, handle >> 8, USER_ENDED]),
    );
  }

  /** A raw socket hears of other programs' links too. */
  #end(handle: number, reason: number): void {
    if (this.#peers.remove(handle)) this.#pass(hci.disconnectionComplete(handle, reason));
  }

  #receiveComplete(packet: Buffer): void {
    const opcode = packet.readUInt16LE(4);
    if (this.#commands.answered(opcode)) this.#complete(opcode, packet);
  }

  #complete(opcode: number, packet: Buffer): void {
    if (!hci.isCompletion(packet)) return;
    if (hci.switchesScan(opcode)) this.#events.onScanEnabled(packet[6] ?? 0);
    this.#pass(packet);
  }

  #receiveStatus(packet: Buffer): void {
    const status = packet[3] ?? 0;
    const opcode = packet.readUInt16LE(5);
    if (!this.#commands.answered(opcode)) return;
    if (hci.ANSWERED_BY_STATUS.has(opcode)) {
      if (hci.isCreation(opcode) && status !== 0 && this.#creating !== undefined) {
        const address = hci.addressAt(this.#creating, 0);
        this.#creating = undefined;
        // First: where noble knows the peer it says that the attempt failed, but not why.
        this.#events.onConnection(address, status);
      }
      this.#pass(packet);
    } else if (status === 0) {
      // Its completion is still to come.
      this.#commands.sent(opcode);
    } else {
      // Some controllers refuse an unknown command by its status alone; noble waits for its completion.
      this.#complete(opcode, hci.commandComplete(opcode, status));
    }
  }

  #receiveCompletedPackets(packet: Buffer): void {
    const count = packet[3] ?? 0;
    if (packet.length < 4 + count * 4) return;
    try {
      for (let at = 4; at < 4 + count * 4; at += 4) {
        this.#peers.sent(packet.readUInt16LE(at) & 0x0fff, packet.readUInt16LE(at + 2));
      }
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  #pass(packet: Buffer): void {
    try {
      this.emit('data', packet);
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  /** noble threw on an event of the controller: its own books are wrong, and only a fresh process is sure. */
  #fail(thrown: unknown): void {
    this.#events.onFatal(`noble could not handle an event of the controller (${nameOf(thrown)})`);
  }
}
