import { EventEmitter } from 'node:events';
import { extendedReports, legacyReports, type Report } from './adverts.ts';
import { ACL, COMMAND, EVENT } from './h4-framer.ts';
import type { HciTransport, TransportEvents } from './hci-transport.ts';
import { type AttError, judge, Reassembly } from './l2cap.ts';

const DISCONNECT = 0x0406;
const RESET = 0x0c03;
const CREATE_CONNECTION = 0x200d;
const EXTENDED_CREATE_CONNECTION = 0x2043;
const CREATE_CONNECTION_CANCEL = 0x200e;
const SCAN_ENABLE = 0x200c;
const EXTENDED_SCAN_ENABLE = 0x2042;

const WRITE_COMMAND = 0x52;

/** Commands that noble expects to be answered by Command Status; all others by Command Complete. */
const ANSWERED_BY_STATUS = new Set([DISCONNECT, CREATE_CONNECTION, EXTENDED_CREATE_CONNECTION, 0x2013, 0x2019]);

/** What the guard sees pass by and noble does not tell. */
export interface GuardEvents {
  onReport(report: Report): void;
  /** A connection was made or, with a status, was not. */
  onConnection(address: string, status: number): void;
  onScanEnabled(status: number): void;
  onAttError(address: string, error: AttError): void;
  /** The link's count of packets that the controller has not yet sent, after it changed. */
  onFlow(address: string, inFlight: number): void;
  /** The peer sent what noble must not see: its link is to be dropped. */
  onBroken(address: string, reason: string): void;
  /** Another program, or the kernel, has reset the controller: links and scan are gone without an event. */
  onForeignReset(): void;
  /** noble threw where nothing can be saved. */
  onFatal(reason: string): void;
}

interface Connection {
  readonly address: string;
  readonly reassembly: Reassembly;
  inFlight: number;
}

const addressAt = (packet: Buffer, at: number): string =>
  [...packet.subarray(at, at + 6)]
    .reverse()
    .map((octet) => octet.toString(16).padStart(2, '0'))
    .join(':');

/**
 * Stands between noble and the controller, as noble's socket. Advertising reports never reach noble (it keeps every address
 * for ever and can be crashed by one report); events and attribute packets reach it only well-formed; and what it throws
 * while it handles a peer's packet costs that peer its link, not the process.
 */
export class HciGuard extends EventEmitter<TransportEvents> {
  readonly #inner: HciTransport;
  readonly #events: GuardEvents;
  readonly #connections = new Map<number, Connection>();
  /** The address octets (as on the air) of the connection that is being made. */
  #creating: Buffer | undefined;
  #creations = 0;

  constructor(inner: HciTransport, events: GuardEvents) {
    super();
    this.#inner = inner;
    this.#events = events;
    inner.on('data', (packet) => this.#receive(packet));
    inner.on('state', (up) => this.emit('state', up));
    inner.on('error', (thrown) => this.emit('error', thrown));
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
    if (packet[0] === ACL) {
      this.#inner.write(packet);
      const connection = this.#connections.get(packet.readUInt16LE(1) & 0x0fff);
      if (connection === undefined) return;
      connection.inFlight += 1;
      // Only a write without acknowledgement waits for this.
      if (packet[9] === WRITE_COMMAND) this.#events.onFlow(connection.address, connection.inFlight);
    } else if (packet[0] !== COMMAND || this.#mayCommand(packet)) {
      this.#inner.write(packet);
    }
  }

  /** Ends an attempt that noble has lost sight of. */
  cancelCreation(): void {
    this.#inner.write(Buffer.from([COMMAND, CREATE_CONNECTION_CANCEL & 0xff, CREATE_CONNECTION_CANCEL >> 8, 0]));
  }

  #mayCommand(packet: Buffer): boolean {
    const opcode = packet.readUInt16LE(1);
    if (opcode === CREATE_CONNECTION) this.#creating = Buffer.from(packet.subarray(10, 16));
    if (opcode === EXTENDED_CREATE_CONNECTION) this.#creating = Buffer.from(packet.subarray(7, 13));
    if (opcode === CREATE_CONNECTION || opcode === EXTENDED_CREATE_CONNECTION) this.#creations += 1;
    // noble disconnects handle 0 when it does not know a peer: that may be another lamp's.
    return opcode !== DISCONNECT || this.#connections.has(packet.readUInt16LE(4));
  }

  #receive(packet: Buffer): void {
    switch (packet[0]) {
      case EVENT:
        if (packet.length >= 3 && packet.length === 3 + (packet[2] ?? 0)) this.#receiveEvent(packet);
        return;
      case ACL:
        if (packet.length >= 5 && packet.length === 5 + packet.readUInt16LE(3)) this.#receiveAcl(packet);
        return;
      case COMMAND:
        // A raw socket hears what all others send, the kernel too; noble wants to know who switched the scan.
        if (packet.length >= 6) this.#pass(packet);
        else if (packet.length >= 4 && packet.readUInt16LE(1) === RESET) this.#events.onForeignReset();
        return;
      default:
        return;
    }
  }

  #receiveEvent(packet: Buffer): void {
    switch (packet[1]) {
      case 0x3e:
        this.#receiveLeEvent(packet);
        return;
      case 0x05: {
        // With a status the link stands, though noble would take it for gone.
        if (packet.length < 7 || packet[3] !== 0) return;
        // A raw socket hears of other programs' links too.
        if (this.#connections.delete(packet.readUInt16LE(4) & 0x0fff)) this.#pass(packet);
        return;
      }
      case 0x08:
        if (packet.length >= 7) this.#pass(packet);
        return;
      case 0x0e:
        // Shorter ones only grant credits.
        if (packet.length < 7) return;
        this.#noteComplete(packet.readUInt16LE(4), packet[6] ?? 0);
        this.#pass(packet);
        return;
      case 0x0f:
        if (packet.length >= 7) this.#receiveStatus(packet);
        return;
      case 0x13:
        this.#receiveCompletedPackets(packet);
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
      case 0x03:
        if (packet.length >= 13) this.#pass(packet);
        return;
      default:
        return;
    }
  }

  /** LE Connection Complete, plain or enhanced: status at 4, handle at 5, role at 7, address type at 8, address at 9. */
  #receiveConnection(packet: Buffer): void {
    const status = packet[4] ?? 0;
    const event = Buffer.from(packet);
    // Ours is the one that we asked for: noble would adopt other programs' links, which a raw socket shows too.
    if (status === 0 && !(packet[7] === 0 && this.#creating?.equals(packet.subarray(9, 15)))) return;
    if (status !== 0) {
      // noble knows its own attempt by the address, and some controllers leave it out of a failure.
      this.#creating?.copy(event, 9);
      event[7] = 0;
    }
    // An identity address (types 2 and 3) is a public or random one that the controller resolved.
    event[8] = (event[8] ?? 0) & 1;
    this.#creating = undefined;
    const address = addressAt(event, 9);
    const handle = event.readUInt16LE(5) & 0x0fff;
    if (status === 0) this.#connections.set(handle, { address, reassembly: new Reassembly(), inFlight: 0 });
    this.#events.onConnection(address, status);
    this.#pass(event);
  }

  #receiveStatus(packet: Buffer): void {
    const status = packet[3] ?? 0;
    const opcode = packet.readUInt16LE(5);
    if (opcode === CREATE_CONNECTION || opcode === EXTENDED_CREATE_CONNECTION) {
      if (status !== 0 && this.#creating !== undefined) {
        const address = addressAt(this.#creating, 0);
        this.#creating = undefined;
        // First: where noble knows the peer it says that the attempt failed, but not why.
        this.#events.onConnection(address, status);
        this.#pass(packet);
        return;
      }
    }
    if (status === 0 || ANSWERED_BY_STATUS.has(opcode)) {
      this.#pass(packet);
      return;
    }
    // Some controllers refuse an unknown command by its status alone; noble waits for its completion.
    this.#noteComplete(opcode, status);
    this.#pass(Buffer.from([EVENT, 0x0e, 4, 1, opcode & 0xff, opcode >> 8, status]));
  }

  #noteComplete(opcode: number, status: number): void {
    if (opcode === SCAN_ENABLE || opcode === EXTENDED_SCAN_ENABLE) this.#events.onScanEnabled(status);
  }

  #receiveCompletedPackets(packet: Buffer): void {
    const count = packet[3] ?? 0;
    if (packet.length < 4 + count * 4) return;
    this.#pass(packet);
    for (let at = 4; at < 4 + count * 4; at += 4) {
      const connection = this.#connections.get(packet.readUInt16LE(at) & 0x0fff);
      if (connection === undefined) continue;
      connection.inFlight = Math.max(0, connection.inFlight - packet.readUInt16LE(at + 2));
      this.#events.onFlow(connection.address, connection.inFlight);
    }
  }

  #receiveAcl(packet: Buffer): void {
    const handle = packet.readUInt16LE(1) & 0x0fff;
    const connection = this.#connections.get(handle);
    if (connection === undefined) return;
    const whole = connection.reassembly.push(packet);
    if (whole === undefined) return;
    const verdict = judge(whole.channel, whole.pdu);
    if ('broken' in verdict) this.#events.onBroken(connection.address, verdict.broken);
    if (!('pass' in verdict)) return;
    const { pass, error } = verdict;
    // First: noble takes the refusal of a read for an empty value.
    if (error !== undefined) this.#events.onAttError(connection.address, error);
    const out = Buffer.allocUnsafe(9 + pass.length);
    out[0] = ACL;
    out.writeUInt16LE(handle | 0x2000, 1);
    out.writeUInt16LE(4 + pass.length, 3);
    out.writeUInt16LE(pass.length, 5);
    out.writeUInt16LE(whole.channel, 7);
    pass.copy(out, 9);
    try {
      this.emit('data', out);
    } catch (thrown) {
      this.#events.onBroken(connection.address, `a packet that could not be parsed (${nameOf(thrown)})`);
    }
  }

  /** An event of the controller: if noble throws on it, its own books are wrong, and only a fresh process is sure. */
  #pass(packet: Buffer): void {
    try {
      this.emit('data', packet);
    } catch (thrown) {
      this.#events.onFatal(`noble could not handle an event of the controller (${nameOf(thrown)})`);
    }
  }
}

const nameOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message.slice(0, 100) : typeof thrown);
