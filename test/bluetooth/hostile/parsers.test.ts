import fc from 'fast-check';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { attack, type Case, garbage } from './cases.ts';
import { buildWorker, Workshop } from './workshop.ts';

/** A share of what `npm run bench -- malformed` does by the hundred thousand; the seed is the day's, and is told with a failure. */
const CASES = 300;
const SEED = Math.floor(Date.now() / 86_400_000);

let worker: Awaited<ReturnType<typeof buildWorker>>;
beforeAll(async () => {
  worker = await buildWorker();
});
afterAll(() => worker.remove());

describe('what parses in the radio, in disposable processes', () => {
  it.each([
    ['packets, on a legacy controller', attack, false, CASES],
    ['packets, on a controller with extended advertising', attack, true, CASES],
    ['a stream without frames', garbage, false, 10],
  ] as const)(
    'endures %s: no crash, no hang, no growth, and the other lamp obeys after each',
    async (_, from: fc.Arbitrary<Case>, extended, numRuns) => {
      const workshop = new Workshop(worker.entry, extended);
      try {
        await fc.assert(
          fc.asyncProperty(from, (one) => workshop.run(one)),
          { numRuns, seed: SEED, interruptAfterTimeLimit: 40_000 },
        );
      } finally {
        workshop.close();
      }
    },
    60_000,
  );
});
