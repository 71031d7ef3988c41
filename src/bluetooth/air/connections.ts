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

/** Whom to connect to: one address, or (`undefined`) whoever of the filter accept list is heard first. */
export interface Target {
  readonly address: string;
  readonly addressType: 'public' | 'random';
}

export interface ConnectionOptions {
  readonly connectionIntervalMs: number;
  readonly packetsPerEvent: number;
  readonly maxLinks: number;
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

interface Initiation {
  readonly target: Target | undefined;
  readonly parameters: ConnectionParameters;
}

/** The controller's links, and the one connection that it may be initiating. */
export class Connections {
  readonly #options: ConnectionOptions;
  readonly #host: ConnectionHost;
  readonly #links = new Map<number, Link>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly acceptList: Target[] = [];
  #initiation: Initiation | undefined;

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
  create(target: Target | undefined, parameters: ConnectionParameters): number {
    if (this.#initiation !== undefined) return STATUS.COMMAND_DISALLOWED;
    if (!valid(parameters)) return STATUS.INVALID_PARAMETERS;
    for (const { lamp } of this.#links.values()) {
      if (target !== undefined && isTarget(lamp, target)) return STATUS.CONNECTION_EXISTS;
    }
    if (this.#links.size >= this.#options.maxLinks) return STATUS.LIMITED_RESOURCES;
    this.#initiation = { target, parameters };
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
    const targets = initiation.target === undefined ? this.acceptList : [initiation.target];
    if (!targets.some((target) => isTarget(lamp, target))) return false;
    this.#initiation = undefined;
    const failure = lamp.faults.get('connect-fails');
    if (failure !== undefined && !failure.late) this.#failed(STATUS.FAILED_TO_BE_ESTABLISHED, lamp);
    else this.#open(lamp, initiation.parameters, failure !== undefined);
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
    const end = (): void => this.#end(link, STATUS.LOCAL_HOST_TERMINATED);
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
    this.#complete(STATUS.SUCCESS, handle, lamp, parameters);
    // A lamp that never answers: the link is given up after six intervals (Vol 6 Part B section 4.5.2).
    if (dead) this.#afterEvents(link, 6, () => this.#end(link, STATUS.FAILED_TO_BE_ESTABLISHED));
    else link.start();
  }

  #failed(status: number, lamp?: VirtualLamp): void {
    this.#complete(status, 0, lamp, undefined);
  }

  #complete(
    status: number,
    handle: number,
    lamp: VirtualLamp | undefined,
    parameters: ConnectionParameters | undefined,
  ): void {
    const peer = [lamp?.spec.addressType === 'random' ? 1 : 0, ...addressBytes(lamp?.spec.address ?? '0:0:0:0:0:0')];
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
    if (wait === 0) {
      act();
      return;
    }
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, wait);
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

function isTarget(lamp: VirtualLamp, target: Target): boolean {
  return lamp.spec.address === target.address && lamp.spec.addressType === target.addressType;
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
