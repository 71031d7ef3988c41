import type { Answers } from './access/answers.ts';
import type { AllowedCommand, CommandRecords } from './access/audit/commands.ts';
import type { Gate } from './access/gate.ts';
import { asPorchlightError, PorchlightError } from './errors.ts';
import type { Command, CommandHandler } from './lights/command.ts';
import type { House } from './lights/house.ts';
import { type Outcome, outcomeOf } from './lights/outcome.ts';
import type { Clock } from './lights/port.ts';
import type { Log } from './log.ts';

export interface RoadParts {
  readonly gate: Gate;
  readonly answers: Answers;
  readonly audit: Pick<CommandRecords, 'allowed' | 'refused' | 'repeated'>;
  readonly house: House;
  readonly clock: Clock;
  readonly log: Log;
}

/** How many commands ended in which way, since the start. */
export type Counts = Record<Outcome['outcome'], number>;

/**
 * The command's road, whichever way a command came: is it admitted, is it a repeat, then the house carries it out. That it may
 * is on record before a lamp hears of it. Exactly one outcome climbs back; nothing is thrown. Once `close` was called every command on the road ends as `stopping`.
 */
export class CommandRoad {
  readonly #parts: RoadParts;
  readonly #underWay = new Set<Promise<Outcome>>();
  readonly counts: Counts = { confirmed: 0, assumed: 0, superseded: 0, expired: 0, denied: 0, failed: 0 };
  #closed = false;
  #arrivals = 0;

  constructor(parts: RoadParts) {
    this.#parts = parts;
  }

  readonly handle: CommandHandler = async (command) => {
    this.#arrivals += 1;
    const run = this.#walk(command, this.#arrivals);
    this.#underWay.add(run);
    try {
      const outcome = await run;
      this.counts[outcome.outcome] += 1;
      return outcome;
    } finally {
      this.#underWay.delete(run);
    }
  };

  /** Refuses what comes from now on; resolves when everything under way has its outcome. The house must be stopped beside it. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#underWay);
  }

  async #walk(command: Command, arrived: number): Promise<Outcome> {
    const { gate, answers, audit, house, clock, log } = this.#parts;
    const head = { ...(command.id !== undefined && { id: command.id }), target: command.target };
    const took = (): number => Math.max(0, Math.round(clock.monotonic() - command.receivedAt));
    let by: string | undefined;
    let allowed: AllowedCommand | undefined;
    try {
      if (this.#closed) throw new PorchlightError('stopping');
      const unread = unreadable(command);
      if (unread !== undefined) throw unread;
      const { principal, until, refusal } = await gate.admit(command);
      by = principal.by;
      if (command.problem !== undefined) {
        allowed = audit.allowed(command, principal);
        throw command.problem;
      }
      const asked = {
        by,
        until,
        refusal,
        arrived,
        ...(command.expiresAt !== undefined && { expiresAt: command.expiresAt }),
      };
      const outcome = await answers.once(principal, command, async () => {
        allowed = audit.allowed(command, principal);
        await allowed.written;
        const result = await house.apply(command.kind, command.target, command.change, asked);
        return { ...head, ...result, took_ms: took() };
      });
      if (allowed === undefined) audit.repeated(command, principal, outcome);
      else allowed.ended(outcome);
      const { target, outcome: what, code, took_ms: ms } = outcome;
      // A slider replaces its own commands sixty times a second; the one that counts is the last.
      log[what === 'superseded' ? 'debug' : 'info']({ target, outcome: what, code, by, ms }, 'command');
      return outcome;
    } catch (thrown) {
      const error = asPorchlightError(thrown);
      // What the gate refuses, it logs itself, and not more often than is good for an SD card.
      if (error.code === 'internal') log.error({ err: thrown }, 'a command failed inside Porchlight');
      by ??= error.by;
      const outcome = { ...head, ...outcomeOf(error), ...(by !== undefined && { by }), took_ms: took() };
      if (allowed === undefined) audit.refused(command, outcome);
      else allowed.ended(outcome);
      return outcome;
    }
  }
}

/** A payload that cannot be read may have held the token: what is wrong with the payload is the more useful answer then. */
function unreadable({ problem, credential, retained }: Command): PorchlightError | undefined {
  return !retained && credential.kind === 'bearer' && credential.token === undefined ? problem : undefined;
}
