/**
 * Gateways killed in mid-refresh by the thousand: `npm run bench -- kill-points`, or `node test/campaign/kill-points.js --runs 1000
 * --seed 1 --together 50`. `--together 1` gives each life its own process for each kill. Fails with the lives that went wrong.
 */
import { parseArgs } from 'node:util';
import { buildChild, liveThrough, plans, type Story } from '../oauth/kill-points/lives.ts';
import { POINTS, type Point } from '../oauth/kill-points/points.ts';
import { GRACE_MS, type Habit } from '../oauth/kill-points/rotating-server.ts';

const OPTIONS = {
  runs: { type: 'string', default: '1000' },
  seed: { type: 'string' },
  together: { type: 'string', default: '50' },
} as const;
const HABITS: Readonly<Record<Habit, string>> = {
  strict: 'rotates, no grace',
  again: 'grace, same tokens',
  anew: 'grace, new tokens',
  fixed: 'does not rotate',
};

/** `lost/lived` for each point and habit, of the lives that were killed once, and not for longer than a server is patient. */
function table(stories: readonly Story[]): string {
  const habits: readonly Habit[] = ['strict', 'again', 'anew', 'fixed'];
  const once = stories.filter(({ plan }) => plan.kills.length === 1 && (plan.kills[0]?.pauseMs ?? 0) <= GRACE_MS);
  const cell = (point: string, habit: Habit): string => {
    const here = once.filter(({ plan, killedAt }) => plan.habit === habit && killedAt[0] === point);
    return `${here.filter(({ outcome }) => outcome === 'relink_needed').length}/${here.length}`;
  };
  const rows = Object.keys(POINTS)
    .filter((point) => once.some(({ killedAt }) => killedAt[0] === point))
    .map((point) => [point, ...habits.map((habit) => cell(point, habit))]);
  return [['killed', ...habits.map((habit) => HABITS[habit])], ...rows]
    .map((row) => row.map((text, column) => text.padEnd(column === 0 ? 42 : 20)).join(''))
    .join('\n');
}

/** `--runs N`, `--seed N`, `--together N`. Sets the exit status where a life went wrong. */
export async function bench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  const [runs, together] = [Number(values.runs), Number(values.together)];
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  const child = await buildChild();
  const began = performance.now();
  try {
    const stories = await liveThrough(child.entry, plans(runs, seed), { together });
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    const count = (holds: (story: Story) => boolean): number => stories.filter(holds).length;
    const kills = stories.reduce((sum, { killedAt }) => sum + killedAt.length, 0);
    const points = new Set<Point>(stories.flatMap(({ killedAt }) => killedAt));
    const faulty = stories.filter(({ faults }) => faults.length > 0);
    process.stdout.write(
      `${stories.length} lives, ${kills} kills at ${points.size} points in ${seconds} s (seed ${seed}, ${together} to a process): ` +
        `${count(({ outcome }) => outcome === 'authorized')} authorized, ` +
        `${count(({ outcome }) => outcome === 'relink_needed')} relink_needed (lost_in_crash), ${faulty.length} wrong\n\n` +
        `Lost, of those killed once and started again within ${GRACE_MS / 1000} s:\n${table(stories)}\n`,
    );
    for (const { plan, faults } of faulty.slice(0, 10))
      process.stdout.write(`WRONG: ${JSON.stringify(plan)}\n  ${faults.join('\n  ')}\n`);
    if (faulty.length > 0) process.exitCode = 1;
  } finally {
    child.remove();
  }
}
