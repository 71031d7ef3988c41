import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arrivals } from '../../src/lights/arrivals.ts';
import type { Wish } from '../../src/lights/wish.ts';

const OFF: Wish = { power: 'OFF' };
const ON: Wish = { power: 'ON' };
const DIM: Wish = { power: 'ON', brightness: 40 };
const RED: Wish = { power: 'ON', look: { kind: 'color', color: { r: 255, g: 0, b: 0 } } } as Wish;

/** What is kept of each command, in the order of their judgement. */
function judged(...commands: readonly (readonly [arrived: number, wish: Wish])[]): string[] {
  const arrivals = new Arrivals();
  return commands.map(([arrived, wish]) => arrivals.newest(wish, arrived).join(' '));
}

describe('of commands that are judged in another order than they arrived', () => {
  it.each<[string, readonly (readonly [number, Wish])[], string[]]>([
    ['an older ON changes nothing after an OFF', [[2, OFF], [1, ON]], ['power', '']], // biome-ignore format: rows
    [
      'an older colour changes nothing after an OFF: it would mean ON',
      [
        [2, OFF],
        [1, RED],
      ],
      ['power', ''],
    ],
    [
      'an older OFF changes nothing after an ON',
      [
        [2, DIM],
        [1, OFF],
      ],
      ['power brightness', ''],
    ],
    [
      'an older colour counts beside a newer brightness',
      [
        [2, DIM],
        [1, RED],
      ],
      ['power brightness', 'look'],
    ],
    [
      'an older brightness does not count beside a newer one',
      [
        [2, DIM],
        [1, DIM],
      ],
      ['power brightness', ''],
    ],
    [
      'all counts when the order is kept',
      [
        [1, RED],
        [2, OFF],
        [3, DIM],
      ],
      ['power look', 'power', 'power brightness'],
    ],
    [
      'an ON after an OFF ends what the OFF forbade',
      [
        [2, OFF],
        [4, ON],
        [3, RED],
      ],
      ['power', 'power', 'look'],
    ],
  ])('%s', (_, commands, kept) => {
    expect(judged(...commands)).toEqual(kept);
  });

  it('a command that counts for itself is always the newest', () => {
    const arrivals = new Arrivals();
    arrivals.newest(OFF, 7);
    expect(arrivals.newest(DIM, undefined)).toEqual(['power', 'brightness']);
  });

  it('the power is that of the last to arrive, in whatever order they are judged', () => {
    const wishes = [OFF, ON, DIM, RED];
    const some = fc.array(fc.constantFrom(...wishes), { minLength: 1, maxLength: 6 }).chain((list) =>
      fc.record({
        list: fc.constant(list),
        order: fc.shuffledSubarray(
          list.map((_, index) => index),
          { minLength: list.length },
        ),
      }),
    );
    fc.assert(
      fc.property(some, ({ list, order }) => {
        const arrivals = new Arrivals();
        let power: string | undefined;
        for (const index of order) {
          const wish = list[index] ?? ON;
          if (arrivals.newest(wish, index).includes('power')) power = wish.power;
        }
        expect(power).toBe(list.at(-1)?.power);
      }),
    );
  });
});
