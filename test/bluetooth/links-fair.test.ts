import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Road, simulatedHouse } from './simulated/house.ts';

/** None starves: the bound that `Links` states, with whatever lamps beside the one that is looked at. */

afterEach(() => {
  vi.unstubAllGlobals();
});

/** More with `PORCHLIGHT_RUNS`. */
const RUNS = Number(process.env['PORCHLIGHT_RUNS'] ?? 12);
const PATIENCE_MS = 2000;
/** Dead lamps are not heard here, so an attempt at one has 2 s. */
const SHARE_MS = 2000;
const MUTE_MS = 8000;
/** What is not in the formula: a cancelled attempt is over 110 ms after it was ended. */
const LET_GO_MS = 110;

interface Case {
  readonly seed: number;
  readonly links: number;
  readonly dead: number;
  readonly mute: number;
  /** Lamps that are commanded without pause. */
  readonly restless: number;
  /** Lamps that are commanded once, all at the same moment. */
  readonly patient: number;
  readonly connectMs: number;
  readonly discoverMs: number;
  readonly releaseMs: number;
  readonly request: boolean;
}

const cases: fc.Arbitrary<Case> = fc.record({
  seed: fc.nat(1e6),
  links: fc.integer({ min: 1, max: 7 }),
  dead: fc.nat(4),
  mute: fc.nat(3),
  restless: fc.nat(10),
  patient: fc.integer({ min: 1, max: 10 }),
  connectMs: fc.integer({ min: 5, max: 400 }),
  discoverMs: fc.integer({ min: 5, max: 1500 }),
  releaseMs: fc.integer({ min: 5, max: 600 }),
  request: fc.boolean(),
});

function boundOf({ links, dead, mute, restless, patient, ...air }: Case, intervalMs: number): number {
  const lamps = dead + mute + restless + patient;
  // A turn of these lamps is two values by requests; the first event of a new link is up to an interval away.
  const cycle = air.connectMs + air.discoverMs + 6 * intervalMs + air.releaseMs;
  return (
    PATIENCE_MS +
    (SHARE_MS + LET_GO_MS) * (dead + 1) +
    lamps * air.connectMs +
    (Math.ceil(lamps / links) + 1) * cycle +
    Math.ceil(mute / links) * MUTE_MS
  );
}

/** How long each of the patient lamps had to wait, and how often each restless one was written to meanwhile. */
async function waits(one: Case, intervalMs: number): Promise<{ took: number[]; writes: number[] }> {
  const { links, dead, mute, restless, patient, request, ...rest } = one;
  const lamps = dead + mute + restless + patient;
  const house = simulatedHouse({
    seed: one.seed,
    lamps,
    maxConnections: links,
    habits: { ...rest, intervalMs, writes: request ? 'request' : 'command' },
    family: () => 'elk-bledom',
    fault: (n) => (n < dead ? 'dead' : n < dead + mute ? 'mute' : undefined),
  });
  const { time, random, roads } = house;
  house.hearAll();
  let goesOn = true;
  const without = async (road: Road): Promise<void> => {
    while (goesOn) {
      await house.apply(road, { brightness: random.whole(1, 255) }, 600_000);
      await time.sleep(random.between(20, 150));
    }
  };
  const poor = roads.slice(0, dead + mute).map((road) => house.apply(road, { state: 'ON' }, 120_000));
  const busy = roads.slice(dead + mute, dead + mute + restless);
  // Several at a time, so that there is nearly always one that waits for another.
  const loops = busy.flatMap((road) => [without(road), without(road)]);
  await time.pass(random.between(0, 8000));
  house.hearAll();
  const began = time.monotonic();
  const took = roads.slice(dead + mute + restless).map(async (road) => {
    const { outcome } = await house.apply(road, { state: 'ON' }, 600_000);
    expect(outcome).toBe('assumed');
    return time.monotonic() - began;
  });
  const all = await time.until(Promise.all(took));
  await time.pass(boundOf(one, intervalMs));
  goesOn = false;
  const writes = busy.map(({ at }) => at.bulb.heard.filter((value) => value.at >= began).length);
  await time.until(Promise.all(loops));
  await house.close();
  await Promise.all(poor);
  return { took: all, writes };
}

describe('none starves', () => {
  it('a lamp that answers has its turn within the stated bound, whatever the others are and do', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (one) => {
        const intervalMs = 22.5;
        const { took, writes } = await waits(one, intervalMs);
        expect(Math.max(...took)).toBeLessThanOrEqual(boundOf(one, intervalMs));
        // Nor do those who gave way.
        expect(writes.every((count) => count > 0)).toBe(true);
      }),
      { numRuns: RUNS },
    );
  }, 120_000);
});
