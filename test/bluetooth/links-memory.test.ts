import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { simulatedHouse } from './simulated/house.ts';

afterEach(() => {
  vi.unstubAllGlobals();
});

setFlagsFromString('--expose-gc');
const collect: unknown = runInNewContext('gc');

function heap(): number {
  if (typeof collect !== 'function') throw new Error('no garbage collector at hand');
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}

describe('the memory of a thousand lamps', () => {
  it('is at most 20 KB each (light, lamp, link, and the simulated lamp at the other end), and does not grow with use', async () => {
    const LAMPS = 1000;
    const before = heap();
    const house = simulatedHouse({ lamps: LAMPS, habits: { connectMs: 10, discoverMs: 20, releaseMs: 10 } });
    const round = async (brightness: number): Promise<void> => {
      house.hearAll();
      await house.time.until(Promise.all(house.roads.map((road) => house.apply(road, { brightness }, 3_600_000))));
      for (const { at } of house.roads) at.bulb.heard.length = 0;
      house.air.stood.length = 0;
    };
    await round(10);
    const used = heap() - before;
    await round(20);
    const later = heap() - before;
    expect(used / LAMPS).toBeLessThanOrEqual(20_000);
    expect(later).toBeLessThanOrEqual(used * 1.1 + 500_000);
    await house.close();
  }, 120_000);
});
