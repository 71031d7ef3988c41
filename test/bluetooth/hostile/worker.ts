/**
 * A disposable process for attacks: it lives through them one after the other, or dies, and its parent knows of which. Forked
 * with the radio's own bounds of memory (`radio-life.ts`).
 */
import type { Case } from './cases.ts';
import { Subject } from './subject.ts';

interface Attack {
  readonly id: number;
  readonly attack: Case;
  readonly extended: boolean;
}

let subject: Subject | undefined;

function die(how: string, thrown: unknown): void {
  process.send?.({ failure: `${how}: ${thrown instanceof Error ? thrown.stack : String(thrown)}` }, () =>
    process.exit(1),
  );
}
process.on('uncaughtException', (thrown) => die('uncaught', thrown));
process.on('unhandledRejection', (thrown) => die('unhandled', thrown));
process.on('disconnect', () => process.exit(0));

async function suffer({ id, attack, extended }: Attack): Promise<void> {
  subject ??= await Subject.start(extended);
  const failure = await subject.run(attack);
  // What garbage there is says nothing; with it collected, what stays does.
  if (id % 100 === 0) globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  process.send?.({ failure, rss, spent: subject.isSpent, bytes: id % 100 === 0 ? heapUsed + external : undefined });
}

process.on('message', (raw: Attack) => void suffer(raw));
