import type { Central, Heard, Link, LinkCharacteristic } from '../../src/bluetooth/central.ts';
import { Lamp } from '../../src/bluetooth/lamp.ts';
import { Links } from '../../src/bluetooth/links.ts';
import { Pins } from '../../src/bluetooth/pins.ts';
import { ListeningTime } from '../../src/bluetooth/presence.ts';
import { type ErrorCode, PorchlightError } from '../../src/errors.ts';
import type { Advertisement, Frame, LightFamily, Model } from '../../src/lights/family.ts';
import type { Identity, LampAtHand } from '../../src/lights/port.ts';
import type { LightState } from '../../src/lights/state.ts';
import { keptLog } from '../support/log.ts';

export const ADDRESS = 'be:ff:20:00:11:22';

export const plain: Model = { id: 'PLAIN' };
export const sleepy: Model = {
  id: 'SLEEPY',
  wake: { frames: [frame('fff3', '01'), frame('fff3', '02')], gap_ms: 300 },
};
export const locked: Model = { id: 'LOCKED', unsupported: 'it wants to be paired' };

export function frame(characteristic: string, hex: string, kind: 'request' | 'command' = 'command') {
  return { characteristic, bytes: Uint8Array.from(Buffer.from(hex, 'hex')), kind } as const;
}

/** Speaks on fff3 or ff03, hears on fff4. */
export const talking: LightFamily = {
  id: 'talking',
  gatt: [{ service: 'fff0', write: 'fff3', notify: 'fff4' }, { write: 'ff03' }],
  models: [plain, sleepy, locked],
  recognise: () => undefined,
  encode: () => [],
  decode: (bytes) => {
    if (bytes[0] === 0xbb) throw new TypeError('a fault of the family');
    return bytes[0] === 1 ? { state: 'ON', confidence: 'confirmed' } : undefined;
  },
  query: (_, layout) => frame(layout.write, 'ef01'),
};
export const silent: LightFamily = { ...talking, id: 'silent', gatt: [{ write: 'ffd9' }], models: [{ id: 'S' }] };

/** By name, as families do: `T…` talks, `S…` is silent, `?…` may be either. */
export function recognise(advert: Advertisement): readonly Identity[] {
  const name = advert.localName ?? '';
  const model = talking.models.find((one) => name.includes(one.id)) ?? plain;
  if (name.startsWith('T')) return [{ family: talking, model }];
  if (name.startsWith('S')) return [{ family: silent, model: { id: 'S' } }];
  if (name.startsWith('?'))
    return [
      { family: silent, model: { id: 'S' } },
      { family: talking, model: plain },
    ];
  return [];
}

export class FakeLink implements Link {
  readonly address = ADDRESS;
  readonly characteristics: readonly LinkCharacteristic[];
  readonly written: string[] = [];
  readonly read_: Buffer;
  refusesSubscription: ErrorCode | undefined;
  /** How often it was read from, and subscribed to. */
  reads = 0;
  subscriptions = 0;
  /** The n-th write is never answered. */
  hangsAt = Number.POSITIVE_INFINITY;
  onValue: ((bytes: Uint8Array) => void) | undefined;
  readonly #gone = new AbortController();
  constructor(characteristics: readonly LinkCharacteristic[], name = '') {
    this.characteristics = characteristics;
    this.read_ = Buffer.from(name);
  }
  get gone(): AbortSignal {
    return this.#gone.signal;
  }
  lose(): void {
    this.#gone.abort(new PorchlightError('link_lost'));
  }
  async write(...frames: readonly Frame[]): Promise<void> {
    for (const { characteristic, bytes } of frames) {
      if (this.gone.aborted) throw this.gone.reason;
      if (this.written.length + 1 >= this.hangsAt) {
        await new Promise<never>((_, reject) => this.gone.addEventListener('abort', () => reject(this.gone.reason)));
      }
      this.written.push(`${characteristic} ${Buffer.from(bytes).toString('hex')} @${Math.round(performance.now())}`);
    }
  }
  async read(): Promise<Uint8Array> {
    this.reads += 1;
    return this.read_;
  }
  async subscribe(_: string, onValue: (bytes: Uint8Array) => void): Promise<void> {
    this.subscriptions += 1;
    if (this.refusesSubscription === 'timed_out') this.lose();
    if (this.refusesSubscription !== undefined) throw new PorchlightError(this.refusesSubscription);
    this.onValue = onValue;
  }
  async disconnect(): Promise<void> {
    this.lose();
  }
}

export const TALKS: readonly LinkCharacteristic[] = [
  { service: '1800', uuid: '2a00', properties: ['read'] },
  { service: 'fff0', uuid: 'fff3', properties: ['writeWithoutResponse'] },
  { service: 'fff0', uuid: 'fff4', properties: ['notify'] },
];
export const SILENT: readonly LinkCharacteristic[] = [{ service: 'ffd5', uuid: 'ffd9', properties: ['write'] }];

export function setUp(
  link: () => FakeLink,
  parts: { pinned?: Identity; families?: readonly LightFamily[]; pins?: Pins } = {},
) {
  const central: Central = { adapter: 'poweredOn', connect: async () => link(), scan: async () => undefined };
  const { log, lines } = keptLog();
  const clock = { monotonic: () => performance.now(), wall: () => Date.now() };
  const pins = new Pins({ clock, log });
  const links = new Links({ central, maxConnections: 1, idleMs: 30_000, clock, log });
  const said: Partial<LightState>[] = [];
  const availability: boolean[] = [];
  const lamp = new Lamp({
    address: ADDRESS,
    families: [talking, silent],
    recognise,
    pins,
    links,
    clock,
    listening: new ListeningTime(clock),
    log,
    onState: (partial) => said.push(partial),
    onAvailability: (online) => availability.push(online),
    ...parts,
  });
  const reach = <T>(turn: (at: LampAtHand) => Promise<T>, ms = 5000): Promise<T> =>
    lamp.reach(performance.now() + ms, turn, new AbortController().signal);
  /** The lines of the log that people see. */
  const warnings = (): string[] => lines.filter((line) => line.includes('"warn"'));
  return { lamp, links, said, availability, reach, pins: parts.pins ?? pins, warnings };
}

export const heard = (localName?: string, rssi = -60): Heard => ({
  address: ADDRESS,
  rssi,
  connectable: true,
  serviceUuids: [],
  ...(localName === undefined ? {} : { localName }),
});

/** Without their times. */
export const bytes = (link: FakeLink): string[] => link.written.map((one) => one.replace(/ @.*/, ''));
