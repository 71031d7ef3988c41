/**
 * Attacks on the radio's parsers by the hundred thousand: `npm run bench -- malformed`, or `node test/campaign/malformed.js
 * --cases 100000 --seed 1`. Fails with the seed and the smallest case of each kind that it found.
 */
import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { attack, type Case, garbage } from '../bluetooth/hostile/cases.ts';
import { buildWorker, Workshop } from '../bluetooth/hostile/workshop.ts';

interface Share {
  readonly name: string;
  readonly from: fc.Arbitrary<Case>;
  readonly extended: boolean;
  readonly cases: number;
  readonly seed: number;
}

async function endure(entry: string, { name, from, extended, cases, seed }: Share): Promise<boolean> {
  const workshop = new Workshop(entry, extended);
  const began = performance.now();
  let done = 0;
  let said = began;
  try {
    const found = await fc.check(
      fc.asyncProperty(from, async (one) => {
        done += 1;
        if (performance.now() - said > 15_000) {
          said = performance.now();
          process.stdout.write(
            `  ${name}: ${done} of ${cases}, ${Math.round(done / ((said - began) / 1000))} a second\n`,
          );
        }
        await workshop.run(one);
      }),
      { numRuns: cases, seed, endOnFailure: false, interruptAfterTimeLimit: 3_600_000 },
    );
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    const memory = `${(workshop.most / 1e6).toFixed(1)} MB kept, ${(workshop.rss / 1e6).toFixed(0)} MB in all`;
    if (!found.failed) {
      process.stdout.write(
        `${name}: ${found.numRuns} cases endured in ${seconds} s (seed ${seed}; at most ${memory})\n`,
      );
      return true;
    }
    process.stdout.write(
      `${name}: FAILED after ${found.numRuns} cases, ${found.numShrinks} times smaller (seed ${seed}, path ${found.counterexamplePath})\n` +
        `  ${String(found.errorInstance)}\n  --replay '${JSON.stringify(found.counterexample?.[0])}'\n`,
    );
    return false;
  } finally {
    workshop.close();
  }
}

const OPTIONS = {
  cases: { type: 'string', default: '100000' },
  seed: { type: 'string' },
  workers: { type: 'string', default: '2' },
  // One case again, as it was printed.
  replay: { type: 'string' },
} as const;

async function replay(entry: string, text: string): Promise<void> {
  const one: Case = JSON.parse(text);
  const workshop = new Workshop(entry, false);
  try {
    await workshop.run(one);
    process.stdout.write('endured\n');
  } catch (thrown) {
    process.stdout.write(`${String(thrown)}\n`);
    process.exitCode = 1;
  } finally {
    workshop.close();
  }
}

/** `--cases N` in all, `--seed N`, `--workers N`, or `--replay JSON`. Sets the exit status where one case was not endured. */
export async function bench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  const worker = await buildWorker();
  try {
    if (values.replay !== undefined) return await replay(worker.entry, values.replay);
    const [cases, workers] = [Number(values.cases), Number(values.workers)];
    const seed = Number(values.seed ?? Date.now() % 1_000_000);
    const framing = Math.ceil(cases / 1000);
    const shares: Share[] = Array.from({ length: workers }, (_, i) => ({
      name: `packets ${i + 1} (${i % 2 === 0 ? 'legacy' : 'extended'} controller)`,
      from: attack,
      extended: i % 2 === 1,
      cases: Math.ceil((cases - framing) / workers),
      seed: seed + i,
    }));
    // Its cases cost a process each, and seconds until the loss is found out, but next to no work.
    shares.push({ name: 'framing', from: garbage, extended: false, cases: framing, seed });
    const results = await Promise.all(shares.map((share) => endure(worker.entry, share)));
    if (results.includes(false)) process.exitCode = 1;
  } finally {
    worker.remove();
  }
}
