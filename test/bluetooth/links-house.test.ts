import { afterEach, describe, expect, it, vi } from 'vitest';
import { PorchlightError } from '../../src/errors.ts';
import type { LightChange } from '../../src/lights/change.ts';
import { HABITS } from './simulated/air.ts';
import { type Road, simulatedHouse } from './simulated/house.ts';

/**
 * A thousand lamps over seven links for ten minutes: commands at random, links lost at random, some lamps dead. What a lamp shows
 * in the end must be what the last command to it wanted, whatever became of the ones before.
 */

const LAMPS = 1000;
const LINKS = 7;
const DEAD = 0.02;
const MINUTES = 10;
/** About as many connections as the air allows in that time: 7 links at two thirds of a second each are ten a second. */
const EVERY_MS = 150;

afterEach(() => {
  vi.unstubAllGlobals();
});

interface Wanted {
  readonly change: LightChange;
  outcome: string | undefined;
}

const changeOf = (level: number, on: boolean): LightChange =>
  on ? { state: 'ON', color: { r: level, g: 0, b: 0 }, brightness: 255 } : { state: 'OFF' };

function isShown({ bulb }: Road['at'], { change }: Wanted): boolean {
  if (change.state === 'OFF') return !bulb.power;
  return bulb.power && bulb.rgb[0] === (change.color !== undefined && 'r' in change.color ? change.color.r : undefined);
}

describe('a thousand lamps over seven links', () => {
  it('show what was last wanted of them, none starves, and every command has one outcome', async () => {
    const house = simulatedHouse({
      seed: 3,
      lamps: LAMPS,
      maxConnections: LINKS,
      family: (n) => (n % 2 === 0 ? 'triones' : 'elk-bledom'),
      fault: (n) => (n % Math.round(1 / DEAD) === 7 ? 'dead' : undefined),
    });
    const { time, random, air, roads } = house;
    const last = new Map<Road, Wanted>();
    const took: number[] = [];
    const wrong: string[] = [];
    const all: Promise<void>[] = [];
    let outcomes = 0;

    const command = async (road: Road): Promise<void> => {
      const wanted: Wanted = { change: changeOf(random.whole(1, 255), random.chance(0.8)), outcome: undefined };
      last.set(road, wanted);
      const began = time.monotonic();
      const { outcome, code } = await house.apply(road, wanted.change, 60_000);
      outcomes += 1;
      wanted.outcome = outcome;
      if (road.at.fault === 'dead') {
        if (outcome !== 'failed' && outcome !== 'superseded') wrong.push(`a dead lamp: ${outcome}`);
        return;
      }
      took.push(time.monotonic() - began);
      if (outcome === 'failed') wrong.push(`${road.at.address}: ${code}`);
    };

    let commands = 0;
    let mostWaiting = 0;
    for (let nextHeard = 0; time.monotonic() < MINUTES * 60_000; ) {
      if (time.monotonic() >= nextHeard) {
        house.hearAll();
        nextHeard = time.monotonic() + 5000;
      }
      const road = roads[random.whole(0, LAMPS - 1)];
      if (road !== undefined) {
        commands += 1;
        all.push(command(road));
      }
      if (random.chance(0.05)) [...air.links.values()][random.whole(0, LINKS - 1)]?.lose(lost());
      await time.pass(EVERY_MS * random.between(0, 2));
      mostWaiting = Math.max(mostWaiting, house.links.status().waiting);
      expect(air.links.size).toBeLessThanOrEqual(LINKS);
    }
    await time.until(Promise.all(all));
    expect(wrong).toEqual([]);
    expect(outcomes).toBe(commands);
    for (const [road, wanted] of last) {
      if (road.at.fault === 'dead') continue;
      expect(['confirmed', 'assumed']).toContain(wanted.outcome);
      expect(isShown(road.at, wanted), `${road.at.address} ${JSON.stringify(wanted)}`).toBe(true);
    }
    expect(Math.max(...took)).toBeLessThanOrEqual(bound(mostWaiting, LAMPS * DEAD));
    await house.close();
  }, 120_000);
});

const lost = (): PorchlightError => new PorchlightError('link_lost');

/**
 * H + P + A·(D + 1) + N·t_connect + (⌈N/K⌉ + 1)·t_cycle, as `Links` states it; a link that was lost costs H, the wait after it
 * (0.2 s) and one more cycle. Its dead lamps are not heard, so A is 2 s.
 */
function bound(waiting: number, dead: number): number {
  const { connectMs, discoverMs, releaseMs } = HABITS;
  const cycle = connectMs + discoverMs + releaseMs + 300;
  const share = 2000;
  return (
    4000 +
    200 +
    2000 +
    share * Math.min(dead + 1, waiting) +
    waiting * connectMs +
    (Math.ceil(waiting / LINKS) + 2) * cycle
  );
}
