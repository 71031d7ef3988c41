import { type ChildProcess, fork } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { createRequire } from 'node:module';
import { connect, type Socket } from 'node:net';
import {
  type AirEvent,
  type AirRequestInput,
  airEvent,
  type FaultInput,
  type LampInput,
  type LampReport,
  type LampState,
  type StartInput,
  type Written,
} from '../../src/bluetooth/air/messages.ts';
import { distPath } from './dist.ts';

type EventOf<E extends AirEvent['event']> = Extract<AirEvent, { event: E }>;
/** A request without its id, which `ask` gives it. */
type Asked = AirRequestInput extends infer R ? (R extends unknown ? Omit<R, 'id'> : never) : never;

/** A running air process with its lamps. */
export interface AirUnderTest {
  /** `tcp://127.0.0.1:PORT` or `unix:/path`. */
  readonly address: string;
  readonly pid: number;
  /** Everything heard from it, oldest first. */
  readonly events: readonly AirEvent[];
  written(): Promise<readonly Written[]>;
  lamps(): Promise<readonly LampReport[]>;
  lamp(address: string): Promise<LampReport>;
  /** Without `lamp`: all lamps. */
  fault(fault: FaultInput, options?: { readonly lamp?: string; readonly on?: boolean }): Promise<void>;
  set(lamp: string, set: Partial<LampState>): Promise<void>;
  /** Hands the host a raw packet, H4 type byte first; with `lamp`, what a hostile peer sends over its link. */
  inject(
    hex: string,
    from?: { readonly lamp: string; readonly channel?: number; readonly boundary?: number },
  ): Promise<void>;
  /** So many adverts from random addresses. Resolves when the host was sent all. */
  flood(
    total: number,
    options?: { readonly perSecond?: number; readonly reportsPerEvent?: number },
    ms?: number,
  ): Promise<void>;
  /** The first event, past or future, that fits. Rejects after `ms`. */
  waitFor(predicate: (event: AirEvent) => boolean, ms?: number): Promise<AirEvent>;
  stop(): Promise<void>;
}

/** Starts the built air process (`PORCHLIGHT_DIST`, else `dist`). `connectionIntervalMs` 0 makes packets cross at once. */
export async function startAir(
  lamps: readonly LampInput[],
  options: Partial<Omit<StartInput, 'lamps'>> = {},
): Promise<AirUnderTest> {
  const child = fork(distPath('bluetooth/air/main.js'), [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const channel = new Channel(child);
  const start: Asked = { op: 'start', listen: { tcp: 0 }, ...options, lamps: [...lamps] };
  const listening = await channel.ask('listening', start).catch((thrown: unknown) => {
    child.kill();
    throw thrown;
  });
  const done = async (request: Asked): Promise<void> => {
    await channel.ask('done', request);
  };
  const reports = async (): Promise<readonly LampReport[]> => (await channel.ask('lamps', { op: 'lamps' })).lamps;
  return {
    address: listening.address,
    pid: child.pid ?? 0,
    events: channel.events,
    written: async () => (await channel.ask('log', { op: 'log' })).entries,
    lamps: reports,
    lamp: async (address) => {
      const found = (await reports()).find((report) => report.lamp === address);
      if (found === undefined) throw new Error(`no lamp ${address}`);
      return found;
    },
    fault: (fault, { lamp, on = true } = {}) =>
      done({ op: 'fault', fault, on, ...(lamp === undefined ? {} : { lamp }) }),
    set: (lamp, set) => done({ op: 'lamp', lamp, set }),
    inject: (hex, from) => done({ op: 'inject', hex, ...from }),
    flood: async (total, options, ms = 60_000) => {
      await channel.ask('done', { op: 'flood', total, ...options }, ms);
    },
    waitFor: (predicate, ms = 5000) => channel.waitFor(predicate, ms),
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.send({ op: 'stop' });
      await gone;
    },
  };
}

/** Requests and events of one air process. */
class Channel {
  readonly events: AirEvent[] = [];
  readonly #child: ChildProcess;
  readonly #news = new EventEmitter({ captureRejections: false }).setMaxListeners(0);
  #id = 0;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (message) => {
      const event = airEvent.parse(message);
      this.events.push(event);
      this.#news.emit('news', event);
    });
    child.on('exit', () => this.#news.emit('exit'));
  }

  async ask<E extends 'listening' | 'done' | 'log' | 'lamps'>(
    kind: E,
    request: Asked,
    ms = 10_000,
  ): Promise<EventOf<E>> {
    const id = ++this.#id;
    this.#child.send({ ...request, id });
    const answer = await this.waitFor((event) => 'id' in event && event.id === id, ms);
    if (!isKind(answer, kind)) throw new Error(`the air answered ${JSON.stringify(answer)}`);
    return answer;
  }

  waitFor(predicate: (event: AirEvent) => boolean, ms: number): Promise<AirEvent> {
    const past = this.events.find(predicate);
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((resolve, reject) => {
      const onNews = (event: AirEvent): void => {
        if (predicate(event)) finish(() => resolve(event));
      };
      const onExit = (): void => finish(() => reject(new Error('the air process has ended')));
      const timer = setTimeout(() => finish(() => reject(new Error(`nothing of the kind in ${ms} ms`))), ms);
      const finish = (settle: () => void): void => {
        clearTimeout(timer);
        this.#news.off('news', onNews);
        this.#news.off('exit', onExit);
        settle();
      };
      this.#news.on('news', onNews);
      this.#news.on('exit', onExit);
    });
  }
}

function isKind<E extends AirEvent['event']>(event: AirEvent, kind: E): event is EventOf<E> {
  return event.event === kind;
}

/** Opens the H4 stream of an air, given its address. */
export async function openH4(address: string): Promise<Socket> {
  const unix = address.startsWith('unix:');
  const socket = unix
    ? connect({ path: address.slice('unix:'.length) })
    : connect({ host: '127.0.0.1', port: Number(new URL(address).port), noDelay: true });
  await once(socket, 'connect');
  return socket;
}

/** Cuts what a controller sends into packets. Events have a one-byte length, ACL data a two-byte one. */
export function packetsOf(socket: Socket, onPacket: (packet: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (;;) {
      const isAcl = rest[0] === 0x02;
      const header = isAcl ? 5 : 3;
      if (rest.length < header) return;
      const length = header + (isAcl ? rest.readUInt16LE(3) : rest.readUInt8(2));
      if (rest.length < length) return;
      onPacket(rest.subarray(0, length));
      rest = rest.subarray(length);
    }
  });
}

/**
 * noble's socket driver over an H4 stream: `bindRaw` and `start` do nothing, for the stream is open already. Nothing calls
 * back into noble from inside `write`.
 */
function h4Driver(socket: Socket): new () => EventEmitter {
  return class H4HciSocket extends EventEmitter {
    constructor() {
      super();
      packetsOf(socket, (packet) => this.emit('data', packet));
      socket.on('error', (error) => this.emit('error', error));
    }
    bindRaw(): void {
      return;
    }
    bindUser(): void {
      return;
    }
    setFilter(): void {
      return;
    }
    isDevUp(): boolean {
      return !socket.destroyed;
    }
    start(): void {
      return;
    }
    stop(): void {
      socket.destroy();
    }
    write(packet: Buffer): void {
      socket.write(packet);
    }
  };
}

/** The parts of noble that the tests use. */
export interface NobleUnderTest extends EventEmitter {
  readonly _state: string;
  startScanningAsync(services: readonly string[], allowDuplicates: boolean): Promise<void>;
  stopScanningAsync(): Promise<void>;
  stop(): void;
}

/** The real noble on an H4 stream, without any native module. Each call makes an instance of its own. */
export function nobleOn(socket: Socket, options: Readonly<Record<string, unknown>> = {}): NobleUnderTest {
  const load = createRequire(import.meta.url);
  const fromNoble = createRequire(load.resolve('@stoprocent/noble'));
  const path = fromNoble.resolve('@stoprocent/bluetooth-hci-socket');
  if (load.cache[path]?.exports?.standIn !== true) {
    const loadDriver = (driver: unknown): unknown => driver;
    const { Module } = load('node:module');
    const module = new Module(path);
    module.exports = Object.assign(() => undefined, { loadDriver, standIn: true });
    module.loaded = true;
    load.cache[path] = module;
  }
  const withBindings = load('@stoprocent/noble/lib/resolve-bindings.js');
  return withBindings('hci', { hciDriver: h4Driver(socket), ...options });
}
