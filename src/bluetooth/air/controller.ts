import { AdvertisingChannels, type Duty } from './channels.ts';
import type { Answer } from './command.ts';
import { CommandDesk } from './command-desk.ts';
import { type ConnectionOptions, Connections, type Initiation } from './connections.ts';
import type { Faults } from './faults.ts';
import { EVENT, eventPacket, hardwareError, LE_EVENT, leEventPacket, PACKET, STATUS } from './hci.ts';
import type { VirtualLamp } from './lamp.ts';
import type { RadioFault } from './messages.ts';
import { Scanner } from './scanner.ts';

export interface ControllerOptions extends ConnectionOptions {
  readonly advertisingIntervalMs: number;
  readonly extended: boolean;
  readonly reportsPerEvent: number;
}

/** The wire to the host. */
export interface HostPort {
  send(packet: Buffer): void;
  /** Packets that are sent within `moves` may leave in one piece. */
  together(moves: () => void): void;
  /** Does the host read so slowly that adverts should be dropped? */
  readonly congested: boolean;
}

/** Masks after a reset (sections 7.3.1 and 7.8.1): LE events are off until the host asks for them. */
const EVENT_MASK = Buffer.from('ffffffffff1f0000', 'hex');
const LE_EVENT_MASK = Buffer.from('1f00000000000000', 'hex');

/** Bits of the event mask; what is not here can not be masked. */
const MASK_BIT: ReadonlyMap<number, number> = new Map([
  [EVENT.DISCONNECTION_COMPLETE, 4],
  [EVENT.READ_REMOTE_VERSION_COMPLETE, 11],
  [EVENT.HARDWARE_ERROR, 15],
  [EVENT.DATA_BUFFER_OVERFLOW, 25],
  [EVENT.LE_META, 61],
]);

function has(mask: Buffer, bit: number): boolean {
  return ((mask[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0;
}

/** A Bluetooth LE controller in the central role, as a host sees it over HCI (Core Specification, Vol 4 Part E). */
export class Controller {
  /** Its own address: locally made up, of no vendor. */
  readonly address = '02:00:00:a1:12:01';
  readonly options: ControllerOptions;
  readonly connections: Connections;
  readonly #port: HostPort;
  readonly advertisingSets = new Set<number>();
  readonly resolvingList = new Set<string>();
  readonly #faults: Faults<RadioFault>;
  readonly #desk: CommandDesk;
  readonly #scanner: Scanner;
  readonly #channels: AdvertisingChannels;
  #eventMask = EVENT_MASK;
  #leEventMask = LE_EVENT_MASK;
  #set: 'legacy' | 'extended' | undefined;

  constructor(options: ControllerOptions, lamps: readonly VirtualLamp[], port: HostPort, faults: Faults<RadioFault>) {
    this.options = options;
    this.#port = port;
    this.#faults = faults;
    this.#desk = new CommandDesk(this, faults);
    this.#scanner = new Scanner((subevent, parameters) => this.le(subevent, parameters), options.reportsPerEvent);
    this.#channels = new AdvertisingChannels(lamps, options.advertisingIntervalMs, (lamp) => this.#hear(lamp));
    this.connections = new Connections(options, {
      send: (packet) => this.send(packet),
      event: (code, parameters) => this.event(code, parameters),
      le: (subevent, parameters) => this.le(subevent, parameters),
      enhanced: () => has(this.#leEventMask, LE_EVENT.ENHANCED_CONNECTION_COMPLETE - 1),
      together: (moves) => port.together(moves),
    });
  }

  get extended(): boolean {
    return this.options.extended;
  }

  /** Which advertising, scanning and initiating commands the host uses: the first one since a reset decides (section 3.1.1). */
  uses(set: 'legacy' | 'extended'): boolean {
    if (!this.extended) return true;
    this.#set ??= set;
    return this.#set === set;
  }

  /** One whole H4 packet from the host. */
  receive(packet: Buffer): void {
    if (this.#faults.has('hangs')) return;
    const type = packet[0];
    if (type === PACKET.ACL) {
      const head = packet.readUInt16LE(1);
      this.connections.data(head & 0x0fff, (head >> 12) & 0x3, packet.subarray(5));
    } else if (type === PACKET.COMMAND) {
      this.#desk.take(packet);
    }
  }

  /** The H4 stream made no sense (Vol 4 Part A section 4). */
  lostSynchronisation(): void {
    this.send(hardwareError(0x00));
  }

  /** The host is gone: all links end. */
  close(): void {
    this.#desk.close();
    this.#clear();
  }

  reset(): Answer {
    this.#clear();
    this.#eventMask = EVENT_MASK;
    this.#leEventMask = LE_EVENT_MASK;
    return { complete: [STATUS.SUCCESS] };
  }

  setEventMask(mask: Buffer): Answer {
    this.#eventMask = Buffer.from(mask);
    return { complete: [STATUS.SUCCESS] };
  }

  setLeEventMask(mask: Buffer): Answer {
    this.#leEventMask = Buffer.from(mask);
    return { complete: [STATUS.SUCCESS] };
  }

  scanParameters(active: boolean, duty: Duty): number {
    if (duty.windowMs < 2.5 || duty.windowMs > duty.intervalMs) return STATUS.INVALID_PARAMETERS;
    return this.#scanner.setParameters(active, duty);
  }

  /** Scan enable: 0 or 1 each. Returns the status. */
  scan(enable: number, filterDuplicates: number, extended: boolean): number {
    if (enable > 1 || filterDuplicates > (extended ? 2 : 1)) return STATUS.INVALID_PARAMETERS;
    if (enable === 1 && this.#faults.has('scan-refused')) return STATUS.COMMAND_DISALLOWED;
    if (enable === 1 && this.#faults.has('scan-ignored')) return STATUS.SUCCESS;
    this.#scanner.enable(enable === 1, filterDuplicates > 0, extended);
    this.#listen();
    return STATUS.SUCCESS;
  }

  /** The scanner falls silent, and nobody is told. */
  stopScanning(): void {
    this.#scanner.enable(false, false, false);
    this.#listen();
  }

  connect(initiation: Initiation): number {
    const status = this.connections.create(initiation);
    if (status === STATUS.SUCCESS) this.#listen();
    return status;
  }

  cancel(): { readonly status: number; readonly after?: () => void } {
    const cancelled = this.connections.cancel();
    this.#listen();
    return cancelled;
  }

  event(code: number, parameters: readonly number[]): void {
    const bit = MASK_BIT.get(code);
    if (bit === undefined || has(this.#eventMask, bit)) this.send(eventPacket(code, parameters));
  }

  le(subevent: number, parameters: readonly number[]): void {
    if (!has(this.#eventMask, 61) || !has(this.#leEventMask, subevent - 1)) return;
    this.send(leEventPacket(subevent, parameters));
  }

  /** The scan that hears adverts now: none while the host reads too slowly. */
  get form(): 'legacy' | 'extended' | undefined {
    return this.#port.congested || this.#faults.has('hangs') ? undefined : this.#scanner.form;
  }

  /** Hands the host one packet, whatever it is. */
  send(packet: Buffer): void {
    if (!this.#faults.has('hangs')) this.#port.send(packet);
  }

  #clear(): void {
    this.#scanner.reset();
    this.connections.reset();
    this.advertisingSets.clear();
    this.resolvingList.clear();
    this.#set = undefined;
    this.#listen();
  }

  /** The receiver runs while there is something to hear. Where nothing takes time, what is there is heard at once. */
  #listen(): void {
    const on = this.#scanner.enabled || this.connections.initiating;
    this.#channels.listen(on);
    if (on && this.options.connectionIntervalMs === 0) this.#channels.burst();
  }

  #hear(lamp: VirtualLamp): void {
    if (!lamp.heard || this.#faults.has('hangs')) return;
    if (this.connections.hear(lamp)) this.#listen();
    else if (!this.#port.congested) this.#scanner.hear(lamp);
  }
}
