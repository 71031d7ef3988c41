import type { Clock } from '../../lights/port.ts';
import { sleep } from '../../task-group.ts';
import type { ChainOptions } from './chain.ts';
import { CommandRecords } from './commands.ts';
import type { Entry } from './record.ts';
import type { Remarks } from './remarks.ts';
import { Trail, type TrailStatus } from './trail.ts';

/** The audit trail of a running gateway: who asked for what, how that was decided, what became of it, and what befell the gateway. */
export class Audit {
  readonly commands: CommandRecords;
  readonly #trail: Trail;
  readonly #clock: Clock;
  #woken = new AbortController();
  #detach: () => void = () => undefined;

  private constructor(trail: Trail, clock: Clock) {
    this.#trail = trail;
    this.#clock = clock;
    this.commands = new CommandRecords(trail, clock);
    trail.onSooner(() => this.#woken.abort());
  }

  /** Opens the trail. A disk that does not let itself be written is no failure: see `Trail`. `started` is its first record. */
  static async open(options: ChainOptions, started: { readonly version: string }, remarks?: Remarks): Promise<Audit> {
    const trail = new Trail(options);
    const { unclean } = await trail.start();
    const audit = new Audit(trail, options.clock);
    // The run before this one was killed, or lost its power: what it did in its last second may not be here.
    audit.note({ event: 'started', by: 'gateway', ...started, ...(unclean && { unclean }) });
    audit.#detach = remarks?.attach((entry) => audit.note(entry)) ?? audit.#detach;
    return audit;
  }

  get status(): TrailStatus {
    return this.#trail.status;
  }

  /** Something that befell the gateway. */
  note(entry: Entry): void {
    this.#trail.note(entry);
  }

  /** The task: tells what was counted, makes durable what was written, tries again what failed; until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const wait = Math.min(this.#trail.next, this.commands.next) - this.#clock.monotonic();
      if (wait > 0) await sleep(wait, AbortSignal.any([signal, this.#woken.signal]));
      this.#woken = new AbortController();
      await this.tick();
    }
  }

  /** Does what is due now. */
  async tick(): Promise<void> {
    this.commands.tick();
    await this.#trail.tick();
  }

  /** Writes everything, durably, with `stopped` as the last record. `signal`: its reason, a signal's name say, is told. */
  async close({ aborted, reason }: AbortSignal): Promise<void> {
    const why = !aborted ? 'failed' : typeof reason === 'string' ? reason : 'stopped';
    this.#detach();
    this.commands.close();
    this.note({ event: 'stopped', by: 'gateway', why });
    await this.#trail.close();
  }
}
