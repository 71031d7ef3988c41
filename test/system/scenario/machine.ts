import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Ran {
  /** null: killed, because it took too long. */
  readonly status: number | null;
  /** What it said, on both outputs. */
  readonly output: string;
  /** What it said on its standard output alone. */
  readonly stdout: string;
}

/** Runs a program of the guest to its end. */
export async function ran(program: string, args: readonly string[], timeoutMs = 60_000): Promise<Ran> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMs, killSignal: 'SIGKILL' });
  let output = '';
  let stdout = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (stream === child.stdout) stdout += text;
    });
  }
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('close', resolve);
    child.once('error', reject);
  });
  return { status, output, stdout };
}

/** The same, where only success will do. */
export async function must(program: string, ...args: readonly string[]): Promise<string> {
  const { status, output } = await ran(program, args);
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${status ?? 'took too long'}\n${output}`);
  return output;
}

export const systemctl = (...args: readonly string[]): Promise<string> => must('systemctl', ...args);

/** A property of a unit, as systemd says it. */
export async function property(unit: string, name: string): Promise<string> {
  return (await systemctl('show', '--property', name, '--value', unit)).trim();
}

export async function mainPid(unit: string): Promise<number> {
  const pid = Number(await property(unit, 'MainPID'));
  if (!(pid > 1)) throw new Error(`${unit} has no main process`); // kill(0) and kill(-1) would take this very script
  return pid;
}

/** What a unit has written since it was installed. */
export async function journal(unit: string): Promise<string> {
  return must('journalctl', '--unit', unit, '--output', 'cat', '--no-pager');
}

/** Seconds of real time that this may take, and of this machine's, which emulates its processor. */
export interface Limit {
  readonly real: number;
  readonly emulated: number;
}

/** A moment until which something must have happened. */
export class Deadline {
  readonly #at: number;

  constructor(ms: number) {
    this.#at = performance.now() + ms;
  }

  get leftMs(): number {
    return Math.max(0, this.#at - performance.now());
  }

  /** Polls until `look` finds something; what it threw last is in the failure. */
  async until<T>(what: string, look: () => Promise<T | undefined> | T | undefined, pollMs = 100): Promise<T> {
    let last: unknown;
    for (;;) {
      try {
        const found = await look();
        if (found !== undefined) return found;
        last = undefined;
      } catch (thrown) {
        last = thrown;
      }
      if (this.leftMs === 0) throw new Error(`did not happen in time: ${what}`, { cause: last });
      await sleep(pollMs);
    }
  }
}
