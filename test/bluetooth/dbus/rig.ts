import type { AdapterState, Heard, Link, Pulse } from '../../../src/bluetooth/central.ts';
import { RadioClient } from '../../../src/bluetooth/radio-client.ts';
import { FakeBluez, type FakeBluezOptions } from '../../support/bluez.ts';
import { type PrivateBus, startBus } from '../../support/bluez-bus.ts';
import type { FakeLamp, FakeLampInput } from '../../support/bluez-lamp.ts';
import { DIST } from '../../support/dist.ts';
import { keptLog, realClock } from '../../support/log.ts';

export const ELK = 'be:ff:20:00:11:22';
export const TRIONES = 'c0:00:00:00:00:02';

const ends: (() => Promise<void> | void)[] = [];

export async function endAll(): Promise<void> {
  for (const end of ends.splice(0).reverse()) await end();
}

export async function until(what: () => boolean, ms = 8000): Promise<void> {
  const end = performance.now() + ms;
  while (!what()) {
    if (performance.now() > end) throw new Error(`it did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export async function bus(options: { readonly denies?: boolean } = {}): Promise<PrivateBus> {
  const started = await startBus(options);
  ends.push(() => started.remove());
  return started;
}

export async function bluetoothd(on: PrivateBus, options: FakeBluezOptions = {}): Promise<FakeBluez> {
  const bluez = new FakeBluez(on.address, options);
  await bluez.start();
  ends.push(() => bluez.stop());
  return bluez;
}

/** The real radio process, kept by the gateway's own client. `watched`: the lamps of the house. */
export function radio(
  address: string,
  watched: readonly string[] | undefined = [ELK, TRIONES],
  scanSilenceMs?: number,
) {
  const states: AdapterState[] = [];
  const heard: Heard[] = [];
  const pulses: Pulse[] = [];
  const { log, lines } = keptLog();
  const client = new RadioClient({
    entry: new URL('bluetooth/radio/main.js', DIST),
    backend: { kind: 'dbus', adapter: 'hci0', bus: address },
    events: {
      onAdapter: (state) => states.push(state),
      onHeard: (one) => heard.push(one),
      onPulse: (pulse) => pulses.push(pulse),
    },
    log,
    clock: realClock,
    timings: { pingMs: 200, ...(scanSilenceMs !== undefined ? { scanSilenceMs } : {}) },
  });
  client.watch(watched);
  const stop = new AbortController();
  const run = client.run(stop.signal);
  const end = async (): Promise<void> => {
    stop.abort();
    await run;
  };
  ends.push(end);
  const notes = (): string => lines.filter((line) => line.includes('the radio says')).join('\n');
  const connect = (to: string, timeoutMs = 5000): Promise<Link> => client.connect(to, { timeoutMs });
  return { client, states, heard, pulses, lines, notes, connect, end };
}

/** The lamp advertises, as lamps do again and again, until it is told with a strength that it never had before. */
export async function heardOf(bluez: FakeBluez, lamp: FakeLamp, heard: readonly Heard[]): Promise<void> {
  strength -= 1;
  const rssi = strength;
  const advertising = setInterval(() => bluez.advertise(lamp, { rssi }), 50);
  try {
    await until(() => heard.some((one) => one.address === lamp.input.address && one.rssi === rssi));
  } finally {
    clearInterval(advertising);
  }
}
let strength = -61;

/** A bus, a bluetoothd, a radio that is on and listens, and two lamps that were heard. */
export async function setUp(options: FakeBluezOptions = {}, inputs: readonly FakeLampInput[] = LAMPS) {
  const on = await bus();
  const bluez = await bluetoothd(on, options);
  const lamps = inputs.map((input) => bluez.addLamp(input));
  const addresses = inputs.map(({ address }) => address);
  const parts = radio(on.address, addresses);
  await parts.client.scan(true);
  await until(() => parts.client.adapter === 'poweredOn' && bluez.discovering.size === 1);
  const known = (lamp: FakeLamp): boolean => parts.heard.some(({ address }) => address === lamp.input.address);
  for (const lamp of lamps) {
    bluez.advertise(lamp);
    await until(() => known(lamp));
  }
  const [elk = lamps[0], triones = lamps[1]] = lamps;
  if (elk === undefined || triones === undefined) throw new Error('two lamps at least');
  return { bus: on, bluez, lamps, elk, triones, ...parts };
}

const LAMPS: readonly FakeLampInput[] = [
  { address: ELK, name: 'ELK-BLEDOM', uuids: ['fff0'] },
  { address: TRIONES, addressType: 'random', name: 'Triones-1', manufacturerData: { 21076: 'c0ffee' } },
];
