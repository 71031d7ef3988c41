import { PorchlightError } from '../errors.ts';
import type { Command, Proof } from '../lights/command.ts';
import type { Outcome, Principal } from '../lights/outcome.ts';
import type { Clock } from '../lights/port.ts';
import type { TokenPrincipal } from './token.ts';

interface Answer {
  /** Monotonic ms. */
  readonly at: number;
  readonly outcome: Promise<Outcome>;
}

type Asked = Pick<Command, 'kind' | 'target' | 'id'> & Partial<Pick<Command, 'credential'>>;

/** Remembers the outcomes of commands with an `id`, so that a message delivered twice (MQTT QoS 1) acts once. */
export class Answers {
  readonly #maxAgeMs: number;
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #isRepeat: (proof: Proof) => boolean;
  /** Oldest first. */
  readonly #answers = new Map<string, Answer>();

  /** `isRepeat`: did the message of this proof pass the gate before? Then it must not act (see `CommandProofs`). */
  constructor(options: {
    readonly maxAgeMs: number;
    readonly clock: Clock;
    readonly limit?: number;
    readonly isRepeat?: (proof: Proof) => boolean;
  }) {
    this.#maxAgeMs = options.maxAgeMs;
    this.#clock = options.clock;
    this.#limit = options.limit ?? 1000;
    this.#isRepeat = options.isRepeat ?? (() => false);
  }

  /** How many outcomes are remembered: never more than `limit`. */
  get size(): number {
    return this.#answers.size;
  }

  /**
   * Runs `act`, unless the same principal sent the same `id` to the same target within `max_age` of its first arrival: then
   * that first outcome is given again, or shared while it is still under way. Rejects `replayed`: a repeat of a signed command
   * whose first outcome is not known (any more).
   */
  async once(principal: Principal | TokenPrincipal, command: Asked, act: () => Promise<Outcome>): Promise<Outcome> {
    const repeat = command.credential?.kind === 'bearer' && this.#repeats(command.credential.proof);
    if (command.id === undefined) {
      if (repeat) throw new PorchlightError('replayed');
      return await act();
    }
    const now = this.#clock.monotonic();
    this.#forget(now);
    const key = keyOf(principal, command);
    const first = this.#answers.get(key);
    if (first !== undefined) return await first.outcome;
    if (repeat) throw new PorchlightError('replayed');
    const answer = { at: now, outcome: act() };
    this.#answers.set(key, answer);
    this.#forget(now);
    try {
      return await answer.outcome;
    } catch (thrown) {
      // No outcome, so nothing to give again.
      if (this.#answers.get(key) === answer) this.#answers.delete(key);
      throw thrown;
    }
  }

  #repeats(proof: Proof | undefined): boolean {
    return proof !== undefined && this.#isRepeat(proof);
  }

  #forget(now: number): void {
    for (const [key, { at }] of this.#answers) {
      if (now - at <= this.#maxAgeMs && this.#answers.size <= this.#limit) return;
      this.#answers.delete(key);
    }
  }
}

/** Two apps of one owner count their ids independently, so the client belongs to the key. */
function keyOf(principal: Principal | TokenPrincipal, { kind, target, id }: Asked): string {
  const sender = 'clientId' in principal ? [principal.subject, principal.clientId] : [];
  return JSON.stringify([principal.by, ...sender, kind, target, id]);
}
