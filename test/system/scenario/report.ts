import { writeFileSync } from 'node:fs';
import { Deadline, type Limit } from './machine.ts';

/** Counts and times the steps, and says how each ended. */
export class Report {
  /** The processor is emulated: limits are those of such a machine. */
  readonly #emulated: boolean;
  readonly #patience: number;
  readonly #explain: () => Promise<string>;
  readonly #say: (line: string) => void;
  #passed = 0;
  readonly #failed: string[] = [];

  constructor(options: {
    readonly emulated: boolean;
    /** All limits times this: for a machine that has other work to do. */
    readonly patience: number;
    /** What a person needs to understand a failure. */
    readonly explain: () => Promise<string>;
    readonly say: (line: string) => void;
  }) {
    this.#emulated = options.emulated;
    this.#patience = options.patience;
    this.#explain = options.explain;
    this.#say = options.say;
  }

  heading(text: string): void {
    this.#say(`\n${text}`);
  }

  /** One thing that must happen in time. What `act` resolves with is printed beside it. Says whether it did. */
  async step(name: string, limit: Limit, act: (deadline: Deadline) => Promise<string | undefined>): Promise<boolean> {
    const allowed = (this.#emulated ? limit.emulated : limit.real) * this.#patience;
    const began = performance.now();
    const deadline = new Deadline(allowed * 1000);
    let failure: unknown;
    let note: string | undefined;
    try {
      note = await act(deadline);
    } catch (thrown) {
      failure = thrown;
    }
    const seconds = (performance.now() - began) / 1000;
    failure ??= seconds > allowed ? new Error(`took ${seconds.toFixed(1)} s`) : undefined;
    const times = `${seconds.toFixed(1).padStart(6)} s  limit ${allowed} s (real: ${limit.real} s)`.padEnd(38);
    this.#say(`${failure === undefined ? 'ok  ' : 'FAIL'} ${times}  ${name}${note === undefined ? '' : `: ${note}`}`);
    if (failure === undefined) {
      this.#passed += 1;
      return true;
    }
    this.#failed.push(name);
    this.#say(indented(chain(failure)));
    this.#say(indented(await this.#explain()));
    return false;
  }

  /** Prints the summary, writes it for `.ci/run` in the form of vitest's report, and says whether all went well. */
  finish(file: string): boolean {
    for (const name of this.#failed) this.#say(`failed: ${name}`);
    const seconds = Math.round(performance.now() / 1000);
    this.#say(`\n${this.#passed} passed, ${this.#failed.length} failed, in ${seconds} s of the guest`);
    const numbers = {
      numPassedTests: this.#passed,
      numFailedTests: this.#failed.length,
      numPendingTests: 0,
      testResults: [],
    };
    writeFileSync(file, JSON.stringify(numbers));
    return this.#failed.length === 0;
  }
}

function chain(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  return thrown.cause === undefined ? thrown.message : `${thrown.message}\ncause: ${chain(thrown.cause)}`;
}

const indented = (text: string): string => text.replace(/^/gm, '     | ');
