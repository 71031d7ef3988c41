import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import type { Case } from './cases.ts';

/** No case may hold the radio up for so long; on a machine that is busy with other things its own deadlines come late. */
const DEADLINE_MS = 30_000;
/** As the gateway forks it. */
const BOUNDS = ['--max-old-space-size=64', '--max-semi-space-size=1', '--expose-gc'];
/** What a process may hold more after any number of cases than after the first hundreds. */
const MOST_GROWTH = 12 * 1024 * 1024;
const SETTLED_AFTER = 300;

/** Compiles the worker, with all of the radio that it loads, into a folder of the checkout (it finds its packages from there). */
export async function buildWorker(): Promise<{ readonly entry: string; remove(): void }> {
  const root = fileURLToPath(new URL('../../..', import.meta.url));
  const folder = mkdtempSync(join(root, 'node_modules', '.porchlight-hostile-'));
  const bundle = await rolldown({
    input: join(root, 'test/bluetooth/hostile/worker.ts'),
    platform: 'node',
    external: [/^node:/, /^@stoprocent\//],
    logLevel: 'silent',
  });
  await bundle.write({ dir: folder, format: 'esm' });
  await bundle.close();
  return { entry: join(folder, 'worker.js'), remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Runs cases in a process, and in a fresh one after each that fails. */
export class Workshop {
  readonly #entry: string;
  readonly #extended: boolean;
  #child: ChildProcess | undefined;
  #runs = 0;
  #settled = 0;
  /** The most that a process held, bytes of heap and buffers. */
  most = 0;
  rss = 0;

  constructor(entry: string, extended: boolean) {
    this.#entry = entry;
    this.#extended = extended;
  }

  /** Throws what went wrong: a crash, a call that never ends, growth, or a lamp that does not obey. */
  async run(attack: Case): Promise<void> {
    const child = this.#child ?? this.#begin();
    this.#runs += 1;
    const failure = await new Promise<string | undefined>((resolve) => {
      const late = setTimeout(() => end('it hangs'), DEADLINE_MS);
      const onExit = (code: number | null, signal: string | null): void => end(`it ended with ${signal ?? code}`);
      const onMessage = (said: { failure?: string; bytes?: number; rss?: number; spent?: boolean }): void => {
        if (said.spent === true) this.close();
        end(said.failure ?? this.#judgeGrowth(said.bytes));
        this.rss = Math.max(this.rss, said.rss ?? 0);
      };
      const end = (how: string | undefined): void => {
        clearTimeout(late);
        child.off('exit', onExit);
        child.off('message', onMessage);
        resolve(how);
      };
      child.on('exit', onExit);
      child.on('message', onMessage);
      child.send({ id: this.#runs, attack, extended: this.#extended });
    });
    if (failure === undefined) return;
    this.close();
    throw new Error(failure);
  }

  close(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  #begin(): ChildProcess {
    const child = fork(this.#entry, [], { execArgv: BOUNDS, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    this.#child = child;
    this.#runs = 0;
    return child;
  }

  #judgeGrowth(bytes: number | undefined): string | undefined {
    if (bytes === undefined) return undefined;
    if (bytes > this.most) this.most = bytes;
    if (this.#runs === SETTLED_AFTER) this.#settled = bytes;
    if (this.#runs <= SETTLED_AFTER || bytes < this.#settled + MOST_GROWTH) return undefined;
    return `it grew from ${this.#settled} to ${bytes} bytes in ${this.#runs} cases`;
  }
}
