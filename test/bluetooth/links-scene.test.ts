import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Habits } from './simulated/air.ts';
import type { Bulb } from './simulated/bulb.ts';
import { type HouseParts, type SimulatedHouse, simulatedHouse } from './simulated/house.ts';
import { randomOf } from './simulated/time.ts';

/**
 * One scene for many lamps over few links. Connections are made one after the other, and no link serves two lamps at once: so
 * nobody can be done before the longer of N connections in a row, and of ⌈N/K⌉ lamps in a row on one link.
 */

const CHANGE = { state: 'ON', color: { r: 10, g: 20, b: 30 }, brightness: 255 } as const;

afterEach(() => {
  vi.unstubAllGlobals();
});

/** What a lone lamp takes: until its connection stands, and from the command until its link is given back. */
async function lone(
  parts: Pick<HouseParts, 'habits' | 'family' | 'seed'>,
): Promise<{ connect: number; cycle: number }> {
  const house = simulatedHouse({ ...parts, lamps: 1 });
  const [road] = house.roads;
  if (road === undefined) throw new Error('no lamp');
  house.hearAll();
  await house.time.until(house.apply(road, CHANGE));
  expect(house.links.releaseAll('measured')).toBe(1);
  while (house.links.status().used > 0) await house.time.pass(1);
  const cycle = house.time.monotonic();
  const connect = house.air.stood[0]?.at ?? 0;
  await house.close();
  return { connect, cycle };
}

async function scene(house: SimulatedHouse): Promise<{ took: number; outcomes: string[] }> {
  const began = house.time.monotonic();
  const all = Promise.all(house.roads.map((road) => house.apply(road, CHANGE, 120_000)));
  const outcomes = (await house.time.until(all)).map(({ outcome }) => outcome);
  return { took: house.time.monotonic() - began, outcomes };
}

/** How often the colour was written to each lamp. */
function coloursWritten({ roads }: SimulatedHouse): number[] {
  const colour = { triones: '560a141e00f0aa', 'elk-bledom': '7e0005030a141e00ef' };
  return roads.map(({ at: { bulb } }) => bulb.heard.filter(({ hex }) => hex === colour[bulb.family]).length);
}

async function ratioOf(parts: HouseParts & { maxConnections: number }, isHeard = true): Promise<number> {
  const { connect, cycle } = await lone(parts);
  const house = simulatedHouse(parts);
  if (isHeard) house.hearAll();
  const { took, outcomes } = await scene(house);
  const { lamps, maxConnections } = parts;
  expect(new Set(outcomes).size).toBe(1);
  expect(['confirmed', 'assumed']).toContain(outcomes[0]);
  expect(coloursWritten(house)).toEqual(house.roads.map(() => 1));
  expect(house.air.mostLinks).toBeLessThanOrEqual(maxConnections);
  await house.close();
  const bound = Math.max(lamps * connect, Math.ceil(lamps / maxConnections) * cycle);
  return took / bound;
}

const ELK = (): Bulb['family'] => 'elk-bledom';
const TABLE: readonly {
  readonly name: string;
  readonly habits: Partial<Habits>;
  readonly family?: () => Bulb['family'];
}[] = [
  { name: 'as usual', habits: {} },
  { name: 'lamps that never answer', habits: {}, family: ELK },
  { name: 'slow to name their characteristics', habits: { discoverMs: 2500 } },
  { name: 'quick to connect', habits: { connectMs: 8, discoverMs: 150 } },
  { name: 'slow to connect', habits: { connectMs: 1900, discoverMs: 300 } },
  { name: 'links that end slowly', habits: { releaseMs: 900 } },
  { name: 'links that end slowly, connections that are slow', habits: { connectMs: 500, releaseMs: 900 }, family: ELK },
  { name: 'a long interval and requests', habits: { intervalMs: 100, writes: 'request' } },
  { name: 'everything at once', habits: { connectMs: 0, discoverMs: 0, releaseMs: 0, intervalMs: 7.5 } },
  { name: 'as many cycles as connections', habits: { connectMs: 100, discoverMs: 480, releaseMs: 60 }, family: ELK },
];

describe('a scene for 50 lamps over 7 links', () => {
  for (const { name, habits, family = () => 'triones' as const } of TABLE) {
    it(`is done within 1.2 of what the air allows, and writes each lamp once: ${name}`, async () => {
      expect(await ratioOf({ lamps: 50, maxConnections: 7, habits, family })).toBeLessThanOrEqual(1.2);
    });
  }

  it('the same where nobody was heard yet', async () => {
    expect(await ratioOf({ lamps: 50, maxConnections: 7 }, false)).toBeLessThanOrEqual(1.2);
  });

  it('the same with whatever habits, links and lamps of both families (seeded)', async () => {
    const random = randomOf(7);
    const ratios: number[] = [];
    for (let n = 0; n < 8; n += 1) {
      const habits: Partial<Habits> = {
        connectMs: random.between(5, 400),
        discoverMs: random.between(20, 1500),
        releaseMs: random.between(5, 500),
        intervalMs: random.between(7.5, 50),
        writes: random.chance(0.5) ? 'request' : 'command',
      };
      const maxConnections = random.whole(3, 9);
      const family = random.chance(0.5) ? ELK : (): Bulb['family'] => 'triones';
      ratios.push(await ratioOf({ seed: n, lamps: 50, maxConnections, habits, family }));
    }
    expect(Math.max(...ratios)).toBeLessThanOrEqual(1.2);
  });
});
