import { expect, it } from 'vitest';
import { startAir } from '../support/air.ts';
import { allHeard, type HouseUnderLoad, lampsOf, quantile, say, share, sleep, startHouse } from './house.ts';

const COUNT = 10;
const MUTE = 4;

/** Every lamp is commanded about once a second, at random; ms that each command took, by lamp. */
async function load(house: HouseUnderLoad, ids: readonly string[], ms: number): Promise<Map<string, number[]>> {
  const took = new Map<string, number[]>(ids.map((id) => [id, []]));
  const failures: unknown[] = [];
  const end = performance.now() + ms;
  await Promise.all(
    ids.map(async (id, at) => {
      for (let step = 0; performance.now() < end; step += 1) {
        await sleep(400 + Math.random() * 1200);
        const outcome = await house.apply(id, { state: 'ON', color: { r: 1 + (step % 250), g: at, b: 200 } }, 15_000);
        took.get(id)?.push(outcome.took_ms);
        if (!['assumed', 'confirmed'].includes(outcome.outcome) && at !== MUTE) failures.push(outcome);
      }
    }),
  );
  expect(failures).toEqual([]);
  return took;
}

it.each([7, 5])(
  'one mute lamp among ten costs the others, on %i links, at most half as much again',
  async (links) => {
    const ms = share(12_000, 60_000);
    const air = await startAir(lampsOf(COUNT), { connectionIntervalMs: 15, quiet: true, maxLinks: 10 });
    try {
      const house = await startHouse({ on: air, lamps: lampsOf(COUNT), maxConnections: links });
      try {
        await allHeard(house);
        const others = house.ids.filter((_, at) => at !== MUTE);
        await load(house, house.ids, 3000);
        const without = [...(await load(house, house.ids, ms))].flatMap(([id, all]) =>
          others.includes(id) ? all : [],
        );
        const mute = lampsOf(COUNT)[MUTE]?.address ?? '';
        await air.fault({ kind: 'mute' }, { lamp: mute });
        const withMute = [...(await load(house, house.ids, ms))].flatMap(([id, all]) =>
          others.includes(id) ? all : [],
        );
        const ratio = quantile(withMute, 0.99) / quantile(without, 0.99);
        say(
          `mute: ${links} links: p50 ${quantile(without, 0.5).toFixed(0)} -> ${quantile(withMute, 0.5).toFixed(0)} ms, p99 ${quantile(without, 0.99).toFixed(0)} -> ` +
            `${quantile(withMute, 0.99).toFixed(0)} ms (${ratio.toFixed(2)}), ${without.length} and ${withMute.length} commands`,
        );
        expect(ratio).toBeLessThanOrEqual(1.5);
      } finally {
        await house.close();
      }
    } finally {
      await air.stop();
    }
  },
  share(90_000, 300_000),
);
