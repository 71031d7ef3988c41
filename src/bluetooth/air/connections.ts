import type { AirAddress } from './address.ts';
import { type Duty, isOpen } from './channels.ts';
import { addressBytes, completedPackets, EVENT, LE_EVENT, STATUS, u16 } from './hci.ts';
import type { VirtualLamp } from './lamp.ts';
import { Link, type LinkTiming } from './link.ts';

/** What the host asks of a connection, in the units of HCI: 1.25 ms, and 10 ms for the supervision timeout. */
export interface ConnectionParameters {
  readonly minInterval: number;
  readonly maxInterval: number;
  readonly latency: number;
  readonly supervision: number;
}

/** What LE Create Connection asks for. */
export interface Initiation {
  /** Whom to connect to: one address, or (`undefined`) whoever of the filter accept list is heard first. */
  readonly target: AirAddress | undefined;
  readonly parameters: ConnectionParameters;
  readonly duty: Duty;
  /** By the extended command, which finds extended adverts as well. */
  readonly extended: boolean;
}

export interface ConnectionOptions {
  readonly connectionIntervalMs: number;
  readonly packetsPerEvent: number;
  readonly maxLinks: number;
  readonly limitError: number;
  readonly buffers: { readonly length: number; readonly count: number };
}

/** The controller, as its connections need it. */
export interface ConnectionHost {
  send(packet: Buffer): void;
  event(code: number, parameters: readonly number[]): void;
  le(subevent: number, parameters: readonly number[]): void;
  /** Does the host want LE Enhanced Connection Complete? */
  enhanced(): boolean;
  together(moves: () => void): void;
}

/** How often a link that nobody hears is looked at. */
const ASK_AGAIN_MS = 10;

/** The controller's links, and the one connection that it may be initiating. */
export class Connections {
  readonly #options: ConnectionOptions;
  readonly #host: ConnectionHost;
  readonly #links = new Map<number, Link>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly acceptList: AirAddress[] = [];
  #initiation: (Initiation & { readonly since: number }) | undefined;

  constructor(options: ConnectionOptions, host: ConnectionHost) {
    this.#options = options;
    this.#host = host;
  }

  get initiating(): boolean {
    return this.#initiation !== undefined;
  }

  link(handle: number): Link | undefined {
    return this.#links.get(handle);
  }

  /** Begins to look for the target (section 7.8.12). Returns the status. */
  create(initiation: Initiation): number {
    const { target, parameters, duty } = initiation;
    if (this.#initiation !== undefined) return STATUS.COMMAND_DISALLOWED;
    if (!valid(parameters) || !isDuty(duty)) return STATUS.INVALID_PARAMETERS;
    for (const { peer } of this.#links.values()) {
      if (target !== undefined && isSame(peer, target)) return STATUS.CONNECTION_EXISTS;
    }
    if (this.#links.size >= this.#options.maxLinks) return this.#options.limitError;
    this.#initiation = { ...initiation, since: performance.now() };
    return STATUS.SUCCESS;
  }

  /** Gives the search up; the host hears of it by a Connection Complete of its own (section 7.8.13). Returns the status. */
  cancel(): { readonly status: number; readonly after?: () => void } {
    if (this.#initiation === undefined) return { status: STATUS.COMMAND_DISALLOWED };
    this.#initiation = undefined;
    return { status: STATUS.SUCCESS, after: () => this.#failed(STATUS.UNKNOWN_CONNECTION) };
  }

  /** A lamp has advertised. True when it was connected to. */
  hear(lamp: VirtualLamp): boolean {
    const initiation = this.#initiation;
    if (initiation === undefined) return false;
    const { target, duty, since, extended, parameters } = initiation;
    if (!lamp.connectable || (lamp.spec.advertises === 'extended' && !extended)) return false;
    if (!isOpen(duty, since, performance.now())) return false;
    const { onAir } = lamp;
    if (!(target === undefined ? this.acceptList : [target]).some((wanted) => isSame(onAir, wanted))) return false;
    this.#initiation = undefined;
    const failure = lamp.faults.get('connect-fails');
    const fails = lamp.failsToConnect() || failure !== undefined;
    if (fails && failure?.late !== true) this.#failed(STATUS.FAILED_TO_BE_ESTABLISHED, onAir);
    else this.#open(lamp, parameters, fails);
    return true;
  }

  /** ACL data from the host; what has no link, or does not fit the buffers, is lost (sections 4.1 and 7.7.26). */
  data(handle: number, boundary: number, payload: Buffer): void {
    const link = this.#links.get(handle);
    if (link === undefined) return;
    const waiting = [...this.#links.values()].reduce((sum, each) => sum + each.waiting, 0);
    if (payload.length > this.#options.buffers.length || waiting >= this.#options.buffers.count) {
      this.#host.event(EVENT.DATA_BUFFER_OVERFLOW, [0x01]);
      // The host counts the packet as sent, so it must hear that its buffer is free.
      this.#host.send(completedPackets(handle, 1));
      return;
    }
    link.fromHost(boundary, payload);
  }

  /** Ends a link after the status has been answered (section 7.1.6). */
  disconnect(handle: number): { readonly status: number; readonly after?: () => void } {
    const link = this.#links.get(handle);
    if (link === undefined) return { status: STATUS.UNKNOWN_CONNECTION };
    // A lamp that does not hear of it keeps the link until the supervision timeout (Vol 6 Part B section 5.1.6).
    const end = (): void =>
      link.suspended ? this.#afterEvents(link, 1, end) : this.#end(link, STATUS.LOCAL_HOST_TERMINATED);
    return { status: STATUS.SUCCESS, after: () => this.#afterEvents(link, 1, end) };
  }

  /** Changes a link's interval (section 7.8.18). */
  update(handle: number, parameters: ConnectionParameters): { readonly status: number; readonly after?: () => void } {
    const link = this.#links.get(handle);
    if (link === undefined) return { status: STATUS.UNKNOWN_CONNECTION };
    if (!valid(parameters)) return { status: STATUS.INVALID_PARAMETERS };
    const apply = (): void => {
      if (this.#links.get(handle) !== link) return;
      link.timing = this.#timing(parameters);
      const units = [
        ...u16(this.#intervalUnits(parameters)),
        ...u16(parameters.latency),
        ...u16(parameters.supervision),
      ];
      this.#host.le(LE_EVENT.CONNECTION_UPDATE_COMPLETE, [STATUS.SUCCESS, ...u16(handle), ...units]);
    };
    return { status: STATUS.SUCCESS, after: () => this.#afterEvents(link, 1, apply) };
  }

  /** Everything ends at once, and without a word to the host. */
  reset(): void {
    this.#initiation = undefined;
    this.acceptList.length = 0;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }

  #open(lamp: VirtualLamp, parameters: ConnectionParameters, dead: boolean): void {
    let handle = 0;
    while (this.#links.has(handle)) handle += 1;
    const link = new Link(handle, lamp, this.#timing(parameters), this.#options.buffers.length, {
      send: (packet) => this.#host.send(packet),
      together: (moves) => this.#host.together(moves),
      lost: (of, reason) => this.#end(of, reason),
    });
    this.#links.set(handle, link);
    this.#complete(STATUS.SUCCESS, handle, link.peer, parameters);
    this.#host.le(LE_EVENT.CHANNEL_SELECTION_ALGORITHM, [...u16(handle), 0x01]);
    // A lamp that never answers: the link is given up after six intervals (Vol 6 Part B section 4.5.2).
    if (dead) {
      this.#afterEvents(link, 6, () => this.#end(link, STATUS.FAILED_TO_BE_ESTABLISHED));
      return;
    }
    link.start();
    if (lamp.spec.updatesLink) this.#afterEvents(link, 2, () => this.#updated(link));
  }

  /** The lamp has asked for long packets and the 2M PHY (sections 7.7.65.7 and 7.7.65.12). */
  #updated(link: Link): void {
    if (this.#links.get(link.handle) !== link) return;
    const long = [...u16(251), ...u16(2120)];
    this.#host.le(LE_EVENT.DATA_LENGTH_CHANGE, [...u16(link.handle), ...long, ...long]);
    this.#host.le(LE_EVENT.PHY_UPDATE_COMPLETE, [STATUS.SUCCESS, ...u16(link.handle), 0x02, 0x02]);
  }

  #failed(status: number, address?: AirAddress): void {
    this.#complete(status, 0, address, undefined);
  }

  #complete(
    status: number,
    handle: number,
    address: AirAddress | undefined,
    parameters: ConnectionParameters | undefined,
  ): void {
    const peer = [address?.addressType === 'random' ? 1 : 0, ...addressBytes(address?.address ?? '0:0:0:0:0:0')];
    const units =
      parameters === undefined
        ? [0, 0, 0, 0, 0, 0]
        : [...u16(this.#intervalUnits(parameters)), ...u16(parameters.latency), ...u16(parameters.supervision)];
    const enhanced = this.#host.enhanced();
    // Both resolvable private addresses are all zero: none is used.
    const resolvable = enhanced ? new Array<number>(12).fill(0) : [];
    const subevent = enhanced ? LE_EVENT.ENHANCED_CONNECTION_COMPLETE : LE_EVENT.CONNECTION_COMPLETE;
    // Role 0: central. Clock accuracy 0: 500 ppm.
    this.#host.le(subevent, [status, ...u16(handle), 0, ...peer, ...resolvable, ...units, 0]);
  }

  #end(link: Link, reason: number): void {
    if (this.#links.get(link.handle) !== link) return;
    this.#links.delete(link.handle);
    link.close();
    this.#host.event(EVENT.DISCONNECTION_COMPLETE, [STATUS.SUCCESS, ...u16(link.handle), reason]);
  }

  #afterEvents(link: Link, events: number, act: () => void): void {
    const wait = link.timing.intervalMs * events;
    if (wait === 0 && !link.suspended) {
      act();
      return;
    }
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        act();
      },
      link.suspended ? Math.max(wait, ASK_AGAIN_MS) : wait,
    );
    this.#timers.add(timer);
  }

  #intervalUnits({ minInterval, maxInterval }: ConnectionParameters): number {
    const wished = Math.round(this.#options.connectionIntervalMs / 1.25);
    return Math.min(maxInterval, Math.max(minInterval, wished));
  }

  #timing(parameters: ConnectionParameters): LinkTiming {
    return {
      intervalMs: this.#options.connectionIntervalMs === 0 ? 0 : this.#intervalUnits(parameters) * 1.25,
      packetsPerEvent: this.#options.packetsPerEvent,
      supervisionMs: parameters.supervision * 10,
    };
  }
}

function isSame(one: AirAddress, other: AirAddress): boolean {
  return one.address === other.address && one.addressType === other.addressType;
}

/** 2.5 ms to 10.24 s, and a window no longer than its interval. */
function isDuty({ intervalMs, windowMs }: Duty): boolean {
  return windowMs >= 2.5 && windowMs <= intervalMs && intervalMs <= 10_240;
}

/** Ranges of section 7.8.12; the supervision timeout must outlast two intervals of the allowed latency. */
function valid({ minInterval, maxInterval, latency, supervision }: ConnectionParameters): boolean {
  return (
    minInterval >= 6 &&
    minInterval <= maxInterval &&
    maxInterval <= 3200 &&
    latency <= 499 &&
    supervision >= 10 &&
    supervision <= 3200 &&
    supervision * 10 > (1 + latency) * maxInterval * 1.25 * 2
  );
}
