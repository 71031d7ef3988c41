import type { EventEmitter } from 'node:events';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { type NobleUnderTest, nobleOn, openH4 } from '../../support/air.ts';

export interface Characteristic extends EventEmitter {
  readonly uuid: string;
  readonly properties: readonly string[];
  writeAsync(bytes: Buffer, withoutResponse: boolean): Promise<void>;
  readAsync(): Promise<Buffer>;
  subscribeAsync(): Promise<void>;
}

export interface Peripheral extends EventEmitter {
  readonly address: string;
  readonly addressType: string;
  readonly rssi: number;
  readonly connectable: boolean;
  readonly mtu: number | null;
  readonly state: string;
  readonly advertisement: {
    readonly localName?: string;
    readonly serviceUuids: readonly string[];
    readonly manufacturerData?: Buffer;
  };
  connectAsync(options?: object): Promise<void>;
  cancelConnect(): void;
  disconnectAsync(): Promise<void>;
  updateRssiAsync(): Promise<number>;
  discoverAllServicesAndCharacteristicsAsync(): Promise<{ readonly characteristics: readonly Characteristic[] }>;
  discoverSomeServicesAndCharacteristicsAsync(
    services: readonly string[],
    characteristics: readonly string[],
  ): Promise<unknown>;
}

/** One noble on one H4 connection. */
export interface Host {
  readonly noble: NobleUnderTest;
  readonly socket: Socket;
  /** Scans until all addresses were heard. */
  discover(addresses: readonly string[], ms?: number): Promise<ReadonlyMap<string, Peripheral>>;
  close(): void;
}

/** A deadline on everything: many of noble's promises never settle. */
export async function within<T>(promise: Promise<T>, ms = 3000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('never settled')), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export async function openHost(address: string, options: Readonly<Record<string, unknown>> = {}): Promise<Host> {
  const socket = await openH4(address);
  const noble = nobleOn(socket, options);
  const powered = once(noble, 'stateChange');
  // Listening for state changes is what makes noble open its socket.
  await within(powered);
  return {
    noble,
    socket,
    discover: (addresses, ms = 3000) => discover(noble, addresses, ms),
    close: () => {
      noble.removeAllListeners();
      noble.stop();
      socket.destroy();
    },
  };
}

async function discover(
  noble: NobleUnderTest,
  addresses: readonly string[],
  ms: number,
): Promise<ReadonlyMap<string, Peripheral>> {
  const found = new Map<string, Peripheral>();
  let settle = (): void => undefined;
  const all = new Promise<void>((resolve) => {
    settle = resolve;
  });
  const onDiscover = (peripheral: Peripheral): void => {
    found.set(peripheral.address, peripheral);
    if (addresses.every((address) => found.has(address))) settle();
  };
  noble.on('discover', onDiscover);
  try {
    await within(noble.startScanningAsync([], true));
    await within(all, ms).catch((cause: unknown) => {
      throw new Error(`not heard: ${addresses.filter((address) => !found.has(address)).join(' ')}`, { cause });
    });
    return found;
  } finally {
    noble.off('discover', onDiscover);
    // While noble believes that it scans, the next start would not even ask the controller.
    await within(noble.stopScanningAsync());
  }
}

/** A connected lamp and its characteristics by noble's own UUIDs. */
export interface Connected {
  readonly peripheral: Peripheral;
  characteristic(uuid: string): Characteristic;
}

export async function connected(host: Host, address: string, options: object = {}): Promise<Connected> {
  const peripheral = (await host.discover([address])).get(address);
  if (peripheral === undefined) throw new Error(`not heard: ${address}`);
  await within(peripheral.connectAsync({ timeout: 400, ...options }));
  const { characteristics } = await within(peripheral.discoverAllServicesAndCharacteristicsAsync());
  return {
    peripheral,
    characteristic: (uuid) => {
      const found = characteristics.find((each) => each.uuid === uuid);
      if (found === undefined) throw new Error(`no characteristic ${uuid} among ${characteristics.map((c) => c.uuid)}`);
      return found;
    },
  };
}
