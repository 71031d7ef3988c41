import { describe, expect, it } from 'vitest';
import type { Heard } from '../src/bluetooth/central.ts';
import { liveLines, newLights, renderScan, type Seen, sorted, summary } from '../src/cli/scan-view.ts';
import { describeHeard } from '../src/heard.ts';
import { Sightings, watchAir } from '../src/sightings.ts';

const address = (n: number): string =>
  `5a:00:00:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`;
const heard = (n: number, more: Partial<Heard> = {}): Heard => ({
  address: address(n),
  rssi: -60,
  connectable: true,
  serviceUuids: [],
  ...more,
});
const hear = (found: Sightings, advert: Heard, id?: string): void =>
  found.hear(describeHeard(advert, id === undefined ? undefined : { id, identity: undefined }), advert);

describe('what was seen', () => {
  it('is bounded: a flood of strangers takes no place from lamps, and the strongest strangers stay', () => {
    const found = new Sightings(10);
    hear(found, heard(1, { localName: 'ELK-BLEDOM', rssi: -99 }));
    hear(found, heard(2, { rssi: -99 }), 'porch');
    for (let n = 100; n < 5000; n += 1) hear(found, heard(n, { rssi: -90 + (n % 50) }));
    const { sightings, gone } = found.changes();
    expect(sightings).toHaveLength(10);
    expect(sightings.map((one) => one.address)).toEqual(expect.arrayContaining([address(1), address(2)]));
    expect(sightings.filter(({ rssi }) => rssi === -41)).toHaveLength(8);
    expect(gone.some((one) => sightings.some((known) => known.address === one))).toBe(false);
  });

  it('is bounded also when every stranger calls itself a lamp, and a lamp of ours always has a place', () => {
    const found = new Sightings(10);
    for (let n = 100; n < 1000; n += 1) hear(found, heard(n, { localName: 'ELK-BLEDOM' }));
    hear(found, heard(2), 'porch');
    const { sightings } = found.changes();
    expect(sightings).toHaveLength(11);
    expect(sightings.at(-1)?.configured).toBe('porch');
  });

  it('keeps a name that comes only in scan responses, smooths the signal, and tells only what is new', () => {
    const found = new Sightings();
    hear(found, heard(1, { localName: 'ELK-BLEDOM', rssi: -60 }));
    found.changes();
    hear(found, heard(1, { rssi: -70 }));
    expect(found.changes().sightings).toMatchObject([{ name: 'ELK-BLEDOM', rssi: -63 }]);
    hear(found, heard(1, { rssi: 127 }));
    expect(found.changes().sightings).toEqual([]);
    hear(found, heard(3, { rssi: 127 }));
    expect(found.changes().sightings[0]).not.toHaveProperty('rssi');
  });

  it('shows a configured lamp that is silent, and whether it is linked; the radio is asked for nobody afterwards', () => {
    let listening = 0;
    let linked = false;
    const lamps = {
      scan: () => {
        listening += 1;
        return () => {
          listening -= 1;
        };
      },
      describe: (one: Heard) => describeHeard(one),
      view: () => [
        {
          id: 'porch',
          name: 'Porch',
          address: address(1),
          available: false,
          state: { state: null, confidence: 'unknown' as const },
        },
      ],
      radio: { status: () => ({ adapter: 'poweredOn' as const, running: true, restarts: 0 }) },
      links: { isLinked: () => linked },
    };
    const updates: Parameters<Parameters<typeof watchAir>[1]>[0][] = [];
    const stop = watchAir(lamps as unknown as Parameters<typeof watchAir>[0], (update) => updates.push(update));
    expect(updates[0]).toMatchObject({
      adapter: 'poweredOn',
      sightings: [{ configured: 'porch', heard: false, linked: false }],
    });
    linked = true;
    stop();
    expect(listening).toBe(0);
  });
});

const seen = (n: number, more: Partial<Seen> = {}): Seen => ({
  address: address(n),
  name: '',
  rssi: -60,
  connectable: true,
  linked: false,
  heard: true,
  ...more,
});
const NEW = { family: 'elk-bledom', model: 'ELK-BLEDOM', supported: true };

describe('the table of a scan', () => {
  it('has ours first, then lamps that can be, then those that cannot, then names, and the strongest first in each', () => {
    const order = sorted([
      seen(1, { rssi: -30 }),
      seen(2, { name: 'TV', rssi: -30 }),
      seen(3, { family: 'govee', supported: false, reason: 'it wants pairing', rssi: -30 }),
      seen(4, { ...NEW, rssi: -80 }),
      seen(5, { ...NEW, rssi: -50 }),
      seen(6, { ...NEW, configured: 'porch', rssi: -90 }),
    ]);
    expect(order.map((one) => one.address)).toEqual([6, 5, 4, 3, 2, 1].map(address));
    expect(summary(order)).toBe('6 devices, 1 of 1 configured, 2 new lamps');
  });

  it('proposes only what can be driven and is not there yet', () => {
    const all = [
      seen(1, NEW),
      seen(2, { ...NEW, configured: 'porch' }),
      seen(3, { ...NEW, supported: false }),
      seen(4),
    ];
    expect(newLights(all, []).map((line) => line.address)).toEqual([address(1)]);
  });

  it('keeps to the height of the window while it is made, and says how many more there are', () => {
    const many = Array.from({ length: 100 }, (_, n) => seen(n));
    for (const height of [1, 3, 5, 24, 200]) {
      const lines = liveLines(many, 'Listening', { colours: false, height });
      expect(lines.length).toBeLessThanOrEqual(Math.max(height, 3));
      if (height < 100) expect(lines.at(-1)).toMatch(/more/);
    }
  });

  it('says why a known lamp cannot be driven, and what to try where nothing or no lamp was found', () => {
    const options = { seconds: 10, colours: false };
    const cannot = renderScan(
      [seen(1, { family: 'govee', model: 'H6199', supported: false, reason: 'it wants a bond' })],
      [],
      options,
    );
    expect(cannot).toMatch(/unsupported +govee H6199 \(it wants a bond\)/);
    expect(cannot).toMatch(/No lamp that Porchlight can drive/);
    expect(renderScan([], [], options)).toMatch(
      /Nothing was heard in 10 s[\s\S]*--seconds\s60[\s\S]*porchlight\scheck/,
    );
  });
});
