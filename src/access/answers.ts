import type { Command } from '../lights/command.ts';
import type { Outcome, Principal } from '../lights/outcome.ts';
import type { Clock } from '../lights/port.ts';
import type { TokenPrincipal } from './token.ts';

interface Answer {
  /** Monotonic ms. */
  readonly at: number;
  readonly outcome: Promise<Outcome>;
}

/** Remembers the outcomes of commands with an `id`, so that a message delivered twice (MQTT QoS 1) acts once. */
export class Answers {
  readonly #maxAgeMs: number;
  readonly #clock: Clock;
  readonly #limit: number;
  /** Oldest first. */
  readonly #answers = new Map<string, Answer>();

  constructor(options: { readonly maxAgeMs: number; readonly clock: Clock; readonly limit?: number }) {
    this.#maxAgeMs = options.maxAgeMs;
    this.#clock = options.clock;
    this.#limit = options.limit ?? 1000;
  }

  /** How many outcomes are remembered: never more than `limit`. */
  get size(): number {
    return this.#answers.size;
  }

  /**
   * Runs `act`, unless the same principal sent the same `id` to the same target within `max_age` of its first arrival: then
   * that first outcome is given again, or shared while it is still under way.
   */
  async once(
    principal: Principal | TokenPrincipal,
    command: Pick<Command, 'kind' | 'target' | 'id'>,
    act: () => Promise<Outcome>,
  ): Promise<Outcome> {
    if (command.id === undefined) return await act();
    const now = this.#clock.monotonic();
    this.#forget(now);
    const key = keyOf(principal, command);
    const first = this.#answers.get(key);
    if (first !== undefined) return await first.outcome;
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

  #forget(now: number): void {
    for (const [key, { at }] of this.#answers) {
      if (now - at <= this.#maxAgeMs && this.#answers.size <= this.#limit) return;
      this.#answers.delete(key);
    }
  }
}

/** Two apps of one owner count their ids independently, so the client belongs to the key. */
function keyOf(
  principal: Principal | TokenPrincipal,
  { kind, target, id }: Pick<Command, 'kind' | 'target' | 'id'>,
): string {
  const sender = 'clientId' in principal ? [principal.subject, principal.clientId] : [];
  return JSON.stringify([principal.by, ...sender, kind, target, id]);
}
