import type { EventEmitter } from 'node:events';
import Module, { createRequire } from 'node:module';
import { PorchlightError } from '../../errors.ts';
import type { HciGuard } from './hci-guard.ts';
import type { HciTransport } from './hci-transport.ts';

/** What we use of noble, as it behaves on its HCI binding. */
export interface Noble extends EventEmitter {
  readonly state: string;
  startScanning(services: readonly string[], allowDuplicates: boolean, callback?: (error: unknown) => void): void;
  stopScanning(callback?: () => void): void;
  connect(id: string, options: ConnectOptions, callback: (error: unknown, peripheral?: NoblePeripheral) => void): void;
  cancelConnect(id: string): void;
  stop(): void;
}

export interface ConnectOptions {
  readonly addressType: 'public' | 'random';
  /** Units of 1.25 ms. */
  readonly minInterval: number;
  readonly maxInterval: number;
  readonly latency: number;
  /** Supervision timeout, units of 10 ms. */
  readonly timeout: number;
}

export interface NoblePeripheral extends EventEmitter {
  readonly state: string;
  discoverServices(
    uuids: readonly string[],
    callback: (error: unknown, services?: readonly NobleService[]) => void,
  ): void;
  disconnect(callback?: () => void): void;
}

export interface NobleService {
  readonly uuid: string;
  discoverCharacteristics(
    uuids: readonly string[],
    callback: (error: unknown, found?: readonly NobleCharacteristic[]) => void,
  ): void;
}

export interface NobleCharacteristic extends EventEmitter {
  readonly uuid: string;
  readonly properties: readonly string[];
  write(data: Buffer, withoutResponse: boolean, callback: (error: unknown) => void): void;
  read(callback: (error: unknown, data?: Buffer) => void): void;
  subscribe(callback: (error: unknown) => void): void;
}

interface NobleModule {
  withBindings(name: 'hci', options: Readonly<Record<string, unknown>>): Noble;
}

const SOCKETS = '@stoprocent/bluetooth-hci-socket';
const require = createRequire(import.meta.url);

/**
 * noble's HCI binding over a socket of ours. noble asks the module of native sockets for its driver while it loads, so for
 * that time a stand-in takes the module's place: nothing native is loaded, and the optional package may be absent.
 */
export function nobleOver(guard: HciGuard, options: Readonly<Record<string, unknown>>): Noble {
  // noble constructs its socket; a constructor that returns an object gives that object.
  function Driver(): HciGuard {
    return guard;
  }
  const load: unknown = Reflect.get(Module, '_load');
  if (typeof load !== 'function') throw new PorchlightError('internal', 'This Node has no Module._load.');
  Reflect.set(Module, '_load', function standIn(this: unknown, request: string, ...rest: readonly unknown[]): unknown {
    return request === SOCKETS ? { loadDriver: () => Driver } : Reflect.apply(load, this, [request, ...rest]);
  });
  try {
    const noble: NobleModule = require('@stoprocent/noble');
    return noble.withBindings('hci', { ...options, hciDriver: Driver });
  } finally {
    Reflect.set(Module, '_load', load);
  }
}

interface NativeTransport extends HciTransport {
  getDeviceList(): readonly { readonly devId: number | null; readonly devUp: boolean | null }[];
}

/** A kernel adapter (`hci0`) through noble's native driver, not yet bound to one. Throws with `adapter_off` where the driver is missing. */
export function nativeTransport(): NativeTransport {
  try {
    const sockets: { loadDriver(name: string): new () => NativeTransport } = require(SOCKETS);
    return new (sockets.loadDriver('native'))();
  } catch (cause) {
    throw new PorchlightError('adapter_off', 'The driver for Bluetooth adapters is not installed or does not load.', {
      cause,
      hint: 'Install with optional packages ("npm ci" without --omit=optional), or use a controller over H4.',
    });
  }
}
