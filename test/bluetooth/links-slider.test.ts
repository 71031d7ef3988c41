import { afterEach, describe, expect, it, vi } from 'vitest';
import type { LightChange } from '../../src/lights/change.ts';
import type { Habits } from './simulated/air.ts';
import type { Bulb } from './simulated/bulb.ts';
import { simulatedHouse } from './simulated/house.ts';
import { randomOf } from './simulated/time.ts';

/**
 * A slider is moved: 60 updates a second for 5 s, at a link that carries fewer. A request waits for its response (Core
 * specification, Vol 3, Part F, 3.4.5), which comes in the next connection event, so it takes two intervals; a command takes one.
 */

const INTERVAL_MS = 22.5;
const UPDATES = 300;
const PERIOD_MS = 1000 / 60;
/** The longest change of these lamps is two values: on, and how bright. */
const MOST_VALUES = 2;
const QUESTION = 'ef0177';
/** More with `PORCHLIGHT_RUNS`. */
const RUNS = Number(process.env['PORCHLIGHT_RUNS'] ?? 6);

interface Slide {
  /** From the last update until the last value was at the lamp. */
  readonly settledMs: number;
  readonly values: number;
  /** From the first update until the last value. */
  readonly durationMs: number;
  readonly outcomes: readonly string[];
}

afterEach(() => {
  vi.unstubAllGlobals();
});

const valueMs = (writes: Habits['writes']): number => INTERVAL_MS * (writes === 'request' ? 2 : 1);

interface Kind {
  readonly family: Bulb['family'];
  readonly writes: Habits['writes'];
  /** The lamp answers when it is asked for its state. */
  readonly answers: boolean;
  readonly change: (brightness: number) => LightChange;
}

async function slide(seed: number, { family, writes, answers, change }: Kind): Promise<Slide> {
  const habits = { intervalMs: INTERVAL_MS, writes, answerMs: answers ? 5 : 1e9 };
  const house = simulatedHouse({ seed, lamps: 1, habits, family: () => family });
  const { time, random } = house;
  const [road] = house.roads;
  if (road === undefined) throw new Error('no lamp');
  const { bulb } = road.at;
  house.hearAll();
  await time.until(house.apply(road, { state: 'ON', color: { r: 255, g: 255, b: 255 }, brightness: 255 }));
  // At any phase of the connection's events.
  await time.pass(random.between(0, 3000));

  const before = bulb.heard.length;
  const began = time.monotonic();
  const outcomes: Promise<string>[] = [];
  const settlements: number[] = [];
  let last = 0;
  for (let n = 0; n < UPDATES; n += 1) {
    await time.pass(Math.max(0, began + n * PERIOD_MS + random.between(0, 4) - time.monotonic()));
    last = random.whole(1, 255);
    settlements.push(0);
    const one = house.apply(road, change(last)).then(({ outcome }) => {
      settlements[n] = (settlements[n] ?? 0) + 1;
      return outcome;
    });
    outcomes.push(one);
  }
  const lastAt = time.monotonic();
  const settled = await time.until(Promise.all(outcomes));
  await time.pass(5000);
  expect(settlements.every((times) => times === 1)).toBe(true);
  const level = family === 'triones' ? last : Math.max(1, Math.round((last * 100) / 255));
  expect(bulb.shown).toMatchObject({ power: true, level });
  expect(road.light.state).toMatchObject({
    state: 'ON',
    brightness: last,
    confidence: answers ? 'confirmed' : 'assumed',
  });
  const heard = bulb.heard.slice(before);
  await house.close();
  const end = heard.findLast(({ hex }) => hex !== QUESTION)?.at ?? Number.POSITIVE_INFINITY;
  const values = heard.filter(({ at }) => at <= end).length;
  return { settledMs: end - lastAt, values, durationMs: end - began, outcomes: settled };
}

const implied = (brightness: number): LightChange => ({ brightness });
/** As Home Assistant's sliders say it. */
const named = (brightness: number): LightChange => ({ state: 'ON', brightness });

const KINDS: readonly (Kind & { readonly name: string })[] = [
  { name: 'triones by requests, read back', family: 'triones', writes: 'request', answers: true, change: implied },
  { name: 'triones by commands, read back', family: 'triones', writes: 'command', answers: true, change: implied },
  { name: 'triones by requests, no answer', family: 'triones', writes: 'request', answers: false, change: implied },
  { name: 'triones by commands, with ON', family: 'triones', writes: 'command', answers: true, change: named },
  { name: 'elk-bledom by requests', family: 'elk-bledom', writes: 'request', answers: false, change: implied },
  { name: 'elk-bledom by commands', family: 'elk-bledom', writes: 'command', answers: false, change: implied },
  { name: 'elk-bledom by requests, with ON', family: 'elk-bledom', writes: 'request', answers: false, change: named },
];

describe('a slider at 60 updates a second for 5 s, over a link at 22.5 ms', () => {
  for (const kind of KINDS) {
    it(`ends right, soon, with as few writes as the link carries and one outcome for each update: ${kind.name}`, async () => {
      const random = randomOf(42);
      const one = valueMs(kind.writes);
      const perChange = kind.change === named ? MOST_VALUES : 1;
      let late = 0;
      for (let run = 0; run < RUNS; run += 1) {
        const { settledMs, values, durationMs, outcomes } = await slide(random.whole(1, 1e9), kind);
        // Two writes of a change: the one on its way, and its own. ON, when it has to be said, is part of the change.
        expect(settledMs).toBeLessThanOrEqual(2 * MOST_VALUES * one + 1);
        if (settledMs > 2 * perChange * one + 1) late += 1;
        expect(values).toBeLessThanOrEqual(durationMs / one + 1);
        const written = outcomes.filter((outcome) => outcome !== 'superseded');
        expect(written.every((outcome) => outcome === 'assumed' || outcome === 'confirmed')).toBe(true);
        expect(written.length).toBeLessThanOrEqual(values / perChange);
        expect(outcomes.at(-1)).toBe(kind.answers ? 'confirmed' : 'assumed');
      }
      expect(late / RUNS).toBeLessThanOrEqual(0.1);
    });
  }
});
