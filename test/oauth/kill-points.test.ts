import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildChild, liveThrough, plans, type Story } from './kill-points/lives.ts';
import { POINTS, TEN } from './kill-points/points.ts';

/** A share of `npm run bench -- kill-points`; the same lives each time. */
const RUNS = 100;
const SEED = 8628;

let child: Awaited<ReturnType<typeof buildChild>>;
let stories: readonly Story[];
beforeAll(async () => {
  child = await buildChild();
  stories = await liveThrough(child.entry, plans(RUNS, SEED), { together: 50 });
});
afterAll(() => child.remove());

describe('a gateway that is killed in mid-refresh', () => {
  it(`${RUNS} times, is authorized afterwards or says why it is not: no torn file, no two copies in use, nothing lost without need`, () => {
    expect(stories).toHaveLength(RUNS);
    expect(stories.filter(({ faults }) => faults.length > 0)).toEqual([]);
  });

  it('was really killed at each of the ten points', () => {
    for (const point of TEN)
      expect(stories.filter(({ killedAt }) => killedAt.includes(point)).length, point).toBeGreaterThan(2);
  });

  it('loses its grant only between sending and renaming, and only at a server that rotates without grace', () => {
    const strict = stories.filter(({ plan }) => plan.habit === 'strict');
    for (const point of TEN) {
      const first = strict.filter(({ plan, killedAt }) => plan.kills.length === 1 && killedAt[0] === point);
      for (const story of first)
        expect(story.outcome, point).toBe(POINTS[point].loses ? 'relink_needed' : 'authorized');
    }
    const patient = stories.filter(({ plan }) => plan.kills.every(({ pauseMs }) => pauseMs < 30_000));
    const lost = patient.filter(({ outcome }) => outcome === 'relink_needed');
    expect(new Set(lost.map(({ plan }) => plan.habit))).toEqual(new Set(['strict']));
  });
});
