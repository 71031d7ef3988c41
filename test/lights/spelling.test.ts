import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editDistance, likely } from '../../src/lights/spelling.ts';

describe('edit distance', () => {
  it.each([
    ['', '', 0],
    ['url', 'urll', 1],
    ['lihgts', 'lights', 1],
    ['kitten', 'sitting', 3],
    ['abc', '', 3],
  ])('of %j and %j is %d', (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance);
  });

  it('is the same both ways, zero only for equals, and never more than the longer word', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
        const distance = editDistance(a, b);
        expect(distance).toBe(editDistance(b, a));
        expect(distance === 0).toBe(a === b);
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
      }),
    );
  });
});

describe('what was likely meant', () => {
  it('is the nearest word, if it is near', () => {
    expect(likely('baseTopic', ['base_topic', 'url'])).toBe('base_topic');
    expect(likely('Client-ID', ['client_id', 'client_secret'])).toBe('client_id');
    expect(likely('zebra', ['url', 'username'])).toBeUndefined();
    expect(likely('x', ['id'])).toBeUndefined();
    expect(likely('z'.repeat(100_000), ['url'])).toBeUndefined();
  });
});
