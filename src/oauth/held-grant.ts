import type { PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import type { Log } from '../log.ts';
import { endedRecord, type Grant, type GrantRecord, inUse, type TokenStore } from './grant.ts';
import { saveForSure, trySave } from './safekeeping.ts';
import type { RelinkReason } from './status.ts';

export interface HeldGrantParts {
  readonly store: TokenStore;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** The grant, or why there is none, has changed. */
  readonly onChange: () => void;
  /** Something is wrong that may pass. */
  readonly onProblem: (problem: PorchlightError) => void;
}

export interface Loss {
  readonly reason: RelinkReason;
  /** Wall clock, ms since 1970. */
  readonly at: number;
}

/** The grant as this process holds it: what is in use here is in the store already. Whoever changes it takes turns with others. */
export class HeldGrant {
  readonly #parts: HeldGrantParts;
  #grant: Grant | undefined;
  #record: GrantRecord | undefined;
  #lost: Loss | undefined;

  constructor(parts: HeldGrantParts) {
    this.#parts = parts;
  }

  /** In use; undefined when there is none. */
  get grant(): Grant | undefined {
    return this.#grant;
  }

  /** The last record, also of a grant that is lost: it names the owner. */
  get record(): GrantRecord | undefined {
    return this.#record;
  }

  get lost(): Loss | undefined {
    return this.#lost;
  }

  /** Takes up what the store holds. */
  takeUp(record: GrantRecord, lost: Loss | undefined): void {
    const { clock, random } = this.#parts;
    this.#record = record;
    this.#lost = lost;
    this.#grant = lost === undefined ? inUse(record, clock, random) : undefined;
  }

  /** Stores tokens, however long that takes; they are not in use yet. Rejects with `stopping`. */
  async store(record: GrantRecord, signal: AbortSignal): Promise<void> {
    await saveForSure(record, this.#parts, signal);
    this.#record = record;
  }

  /** Uses what is stored. */
  use(record: GrantRecord): void {
    this.takeUp(record, undefined);
    this.#parts.onChange();
  }

  /** Stores another record of the same tokens, and uses it once it is stored. One attempt; says what went wrong. */
  async exchange(record: GrantRecord): Promise<PorchlightError | undefined> {
    const problem = await trySave(record, this.#parts.store);
    if (problem !== undefined) return problem;
    this.#record = record;
    if (this.#grant !== undefined) this.#grant = { ...this.#grant, record };
    return undefined;
  }

  /** Out of use for now; what is stored stays stored. */
  suspend(reason: RelinkReason): void {
    this.#grant = undefined;
    this.#lost = { reason, at: this.#parts.clock.wall() };
    this.#parts.onChange();
  }

  /** Over: of what is stored, only who the owner was remains. */
  async end(reason: RelinkReason): Promise<void> {
    const { store, clock, log, onChange } = this.#parts;
    const record = this.#record;
    this.#grant = undefined;
    this.#lost = { reason, at: clock.wall() };
    if (record !== undefined) {
      this.#record = endedRecord(record, reason, clock);
      const problem = await trySave(this.#record, store);
      // Nothing is lost by it: the next start asks the server once more and hears the same.
      if (problem !== undefined) log.warn({ code: problem.code }, 'the end of the grant could not be stored');
    }
    onChange();
  }

  /** Without a grant, this is why. Nothing is stored. */
  explain(reason: RelinkReason): void {
    if (this.#grant === undefined) this.#lost = { reason, at: this.#parts.clock.wall() };
  }

  /** What could not be stored is at least known to the one who logs out. */
  remember(record: GrantRecord): void {
    this.#record = record;
  }

  /** Forgets it here, and says what it was; the store is not touched. */
  drop(): GrantRecord | undefined {
    const record = this.#record;
    this.#grant = undefined;
    this.#record = undefined;
    this.#lost = undefined;
    return record;
  }
}
