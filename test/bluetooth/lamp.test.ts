import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Central, Heard, Link, LinkCharacteristic } from '../../src/bluetooth/central.ts';
import { Lamp } from '../../src/bluetooth/lamp.ts';
import { Links } from '../../src/bluetooth/links.ts';
import { type ErrorCode, PorchlightError } from '../../src/errors.ts';
import type { Advertisement, Frame, LightFamily, Model } from '../../src/lights/family.ts';
import type { Identity, LampAtHand } from '../../src/lights/port.ts';
import type { LightState } from '../../src/lights/state.ts';
import { keptLog } from '../support/log.ts';

const ADDRESS = 'be:ff:20:00:11:22';

const plain: Model = { id: 'PLAIN' };
const sleepy: Model = {
  id: 'SLEEPY',
  wake: { frames: [frame('fff3', '01'), frame('fff3', '02')], gap_ms: 300 },
};
const locked: Model = { id: 'LOCKED', unsupported: 'it wants to be paired' };

function frame(characteristic: string, hex: string, kind: 'request' | 'command' = 'command') {
  return { characteristic, bytes: Uint8Array.from(Buffer.from(hex, 'hex')), kind } as const;
}

/** Speaks on fff3 or ff03, hears on fff4. */
const talking: LightFamily = {
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
const silent: LightFamily = { ...talking, id: 'silent', gatt: [{ write: 'ffd9' }], models: [{ id: 'S' }] };

/** By name, as families do: `T…` talks, `S…` is silent, `?…` may be either. */
function recognise(advert: Advertisement): readonly Identity[] {
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

class FakeLink implements Link {
  readonly address = ADDRESS;
  readonly characteristics: readonly LinkCharacteristic[];
  readonly written: string[] = [];
  readonly read_: Buffer;
  refusesSubscription: ErrorCode | undefined;
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
      this.written.push(`${characteristic} ${Buffer.from(bytes).toString('hex')} @${Math.round(performance.now())}`);
    }
  }
  async read(): Promise<Uint8Array> {
    return this.read_;
  }
  async subscribe(_: string, onValue: (bytes: Uint8Array) => void): Promise<void> {
    if (this.refusesSubscription !== undefined) throw new PorchlightError(this.refusesSubscription);
    this.onValue = onValue;
  }
  async disconnect(): Promise<void> {
    this.lose();
  }
}

const TALKS: readonly LinkCharacteristic[] = [
  { service: '1800', uuid: '2a00', properties: ['read'] },
  { service: 'fff0', uuid: 'fff3', properties: ['writeWithoutResponse'] },
  { service: 'fff0', uuid: 'fff4', properties: ['notify'] },
];
const SILENT: readonly LinkCharacteristic[] = [{ service: 'ffd5', uuid: 'ffd9', properties: ['write'] }];

function setUp(link: () => FakeLink, parts: { pinned?: Identity; families?: readonly LightFamily[] } = {}) {
  const central: Central = { adapter: 'poweredOn', connect: async () => link(), scan: async () => undefined };
  const { log } = keptLog();
  const clock = { monotonic: () => performance.now() };
  const links = new Links({ central, maxConnections: 1, idleMs: 30_000, clock, log });
  const said: Partial<LightState>[] = [];
  const availability: boolean[] = [];
  const lamp = new Lamp({
    address: ADDRESS,
    families: [talking, silent],
    recognise,
    links,
    clock,
    log,
    onState: (partial) => said.push(partial),
    onAvailability: (online) => availability.push(online),
    ...parts,
  });
  const reach = <T>(turn: (at: LampAtHand) => Promise<T>, ms = 5000): Promise<T> =>
    lamp.reach(performance.now() + ms, turn, new AbortController().signal);
  return { lamp, links, said, availability, reach };
}

const heard = (localName?: string, rssi = -60): Heard => ({
  address: ADDRESS,
  rssi,
  connectable: true,
  serviceUuids: [],
  ...(localName === undefined ? {} : { localName }),
});

/** Without their times. */
const bytes = (link: FakeLink): string[] => link.written.map((one) => one.replace(/ @.*/, ''));

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('who a lamp is', () => {
  it('comes from its advert, and is not forgotten by an advert that says less', () => {
    const { lamp } = setUp(() => new FakeLink(TALKS));
    expect(lamp.identity).toBeUndefined();
    lamp.heard(heard('T-SLEEPY'));
    lamp.heard(heard());
    expect(lamp.identity).toMatchObject({ family: { id: 'talking' }, model: { id: 'SLEEPY' } });
  });

  it('is what the configuration pins, whatever it advertises', () => {
    const { lamp } = setUp(() => new FakeLink(TALKS), { pinned: { family: silent, model: { id: 'S' } } });
    lamp.heard(heard('T-PLAIN'));
    expect(lamp.identity?.family.id).toBe('silent');
  });

  it('is settled by its characteristics where the advert leaves a choice', async () => {
    const { lamp, reach } = setUp(() => new FakeLink(TALKS));
    lamp.heard(heard('?'));
    expect(lamp.identity?.family.id).toBe('silent');
    expect(await reach(async (at) => at.family.id)).toBe('talking');
    expect(lamp.identity?.family.id).toBe('talking');
  });

  it('follows the advert when another lamp has taken the address', async () => {
    const { lamp, reach } = setUp(() => new FakeLink(TALKS));
    lamp.heard(heard('T-PLAIN'));
    await reach(async () => undefined);
    lamp.heard(heard('S'));
    expect(lamp.identity?.family.id).toBe('silent');
  });

  it('that the characteristics contradict is an identity mismatch, and nothing is written', async () => {
    const link = new FakeLink(SILENT);
    const { lamp, reach } = setUp(() => link);
    lamp.heard(heard('T-PLAIN'));
    let turns = 0;
    const reaching = reach(async () => {
      turns += 1;
    });
    await expect(reaching).rejects.toMatchObject({ code: 'identity_mismatch' });
    expect([turns, link.written]).toEqual([0, []]);
  });

  it('is a mismatch where the write characteristic is in another service, or cannot be written', async () => {
    for (const characteristics of [
      [{ service: 'ffe0', uuid: 'fff3', properties: ['write'] }],
      [{ service: 'fff0', uuid: 'fff3', properties: ['read', 'notify'] }],
      [],
    ]) {
      const { lamp, reach } = setUp(() => new FakeLink(characteristics));
      lamp.heard(heard('T-PLAIN'));
      await expect(reach(async () => undefined)).rejects.toMatchObject({ code: 'identity_mismatch' });
    }
  });

  it('is the second layout where the first is not there', async () => {
    const { lamp, reach } = setUp(() => new FakeLink([{ service: 'abcd', uuid: 'ff03', properties: ['write'] }]));
    lamp.heard(heard('T-PLAIN'));
    expect(await reach(async (at) => at.layout.write)).toBe('ff03');
  });

  it('never heard: its name is read, else the one family that could drive it is taken', async () => {
    const named = setUp(() => new FakeLink(TALKS, 'T-SLEEPY\0'));
    const reached = named.reach(async (at) => at.model.id);
    await vi.advanceTimersByTimeAsync(400);
    expect(await reached).toBe('SLEEPY');
    const nameless = setUp(() => new FakeLink(SILENT));
    expect(await nameless.reach(async (at) => at.family.id)).toBe('silent');
    const rival: LightFamily = { ...silent, id: 'rival' };
    const ambiguous = setUp(() => new FakeLink(SILENT), { families: [silent, rival] });
    await expect(ambiguous.reach(async () => undefined)).rejects.toMatchObject({ code: 'identity_mismatch' });
  });

  it('that cannot be driven is refused with the reason', async () => {
    const link = new FakeLink(TALKS);
    const { lamp, reach } = setUp(() => link);
    lamp.heard(heard('T-LOCKED'));
    await expect(reach(async () => undefined)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('it wants to be paired'),
    });
    expect(link.written).toEqual([]);
  });
});

describe('a new link', () => {
  it('is listened to, woken, asked once, and not again by the next turn', async () => {
    const link = new FakeLink(TALKS);
    const { lamp, reach } = setUp(() => link);
    lamp.heard(heard('T-SLEEPY'));
    const first = reach(async (at) => at.write(frame('fff3', 'aa')));
    await vi.advanceTimersByTimeAsync(400);
    await first;
    await reach(async (at) => at.write(frame('fff3', 'bb')));
    expect(bytes(link)).toEqual(['fff3 01', 'fff3 02', 'fff3 ef01', 'fff3 aa', 'fff3 bb']);
    const at = link.written.map((one) => Number(one.split('@')[1]));
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThanOrEqual(300);
  });

  it('is prepared again after a reconnect', async () => {
    const links = [new FakeLink(TALKS), new FakeLink(TALKS)];
    let made = 0;
    const { lamp, reach } = setUp(() => links[made++] ?? new FakeLink(TALKS));
    lamp.heard(heard('T-PLAIN'));
    await reach(async () => undefined);
    links[0]?.lose();
    await reach(async () => undefined);
    expect(links.map((link) => bytes(link))).toEqual([['fff3 ef01'], ['fff3 ef01']]);
  });

  it('tells what the lamp says, and survives what cannot be decoded', async () => {
    const link = new FakeLink(TALKS);
    const { lamp, said, reach } = setUp(() => link);
    lamp.heard(heard('T-PLAIN'));
    expect(await reach(async (at) => at.hears)).toBe(true);
    for (const first of [0xbb, 2, 1]) link.onValue?.(Uint8Array.of(first));
    expect(said).toEqual([{ state: 'ON', confidence: 'confirmed' }]);
  });

  it('that takes no subscription can be commanded, and is tried again a second later', async () => {
    const link = new FakeLink(TALKS);
    link.refusesSubscription = 'refused_by_light';
    const { lamp, reach } = setUp(() => link);
    lamp.heard(heard('T-PLAIN'));
    expect(await reach(async (at) => at.hears)).toBe(false);
    link.refusesSubscription = undefined;
    await vi.advanceTimersByTimeAsync(1100);
    expect(await reach(async (at) => at.hears)).toBe(true);
    expect(bytes(link)).toEqual(['fff3 ef01']);
  });

  it('without a notify characteristic is commanded, not listened to', async () => {
    const { lamp, reach } = setUp(() => new FakeLink(SILENT));
    lamp.heard(heard('S'));
    expect(await reach(async (at) => at.hears)).toBe(false);
  });
});

describe('whether a lamp is there', () => {
  it('is said when it is heard, when it is linked, and a minute after neither', async () => {
    const { lamp, availability, reach } = setUp(() => new FakeLink(TALKS));
    const stop = new AbortController();
    const run = lamp.run(stop.signal);
    await vi.advanceTimersByTimeAsync(13_000);
    expect(lamp.online).toBeUndefined();
    // Whoever was never heard is missed sooner than whoever falls silent.
    await vi.advanceTimersByTimeAsync(4000);
    expect(lamp.online).toBe(false);
    lamp.heard(heard('T-PLAIN', -71));
    expect([lamp.online, lamp.rssi]).toEqual([true, -71]);
    await vi.advanceTimersByTimeAsync(50_000);
    await reach(async () => undefined);
    // The link rests for 30 s before it is given back; the minute counts from then.
    await vi.advanceTimersByTimeAsync(85_000);
    expect(lamp.online).toBe(true);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(availability).toEqual([false, true, false]);
    stop.abort();
    await run;
  });

  it('keeps the signal strength that is known (127 means unknown)', () => {
    const { lamp } = setUp(() => new FakeLink(TALKS));
    lamp.heard(heard('T', -50));
    lamp.heard(heard('T', 127));
    expect(lamp.rssi).toBe(-50);
  });
});
