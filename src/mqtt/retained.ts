import type { Session } from './session.ts';

/**
 * What is retained at the broker: one value per topic, the newest. All are published after each connect. While a value is under way
 * or the broker is away, newer ones replace the one that waits, so that nothing ever queues beyond one value per topic.
 */
export class RetainedTopics {
  readonly #values = new Map<string, string>();
  readonly #waiting = new Set<string>();
  readonly #underWay = new Set<string>();
  readonly #listeners: (() => void)[] = [];
  readonly #onRefused: (topic: string) => void;
  #session: Session | undefined;

  /** `onRefused` is told which topics the broker does not let us write. */
  constructor(onRefused: (topic: string) => void) {
    this.#onRefused = onRefused;
  }

  /** Remembers the value, and publishes it now or after the next connect. */
  set(topic: string, value: string): void {
    this.#values.set(topic, value);
    this.#waiting.add(topic);
    this.#pump();
  }

  /** Clears what an earlier configuration left retained: an empty value is how MQTT says so (MQTT 5, 3.3.1.3). */
  clear(topic: string): void {
    this.set(topic, '');
  }

  /** Publishes everything to a new connection, in the order in which the topics were first set. */
  attach(session: Session): void {
    this.#session = session;
    this.#underWay.clear();
    for (const topic of this.#values.keys()) this.#waiting.add(topic);
    this.#pump();
  }

  /** The connection is gone. */
  detach(): void {
    this.#session = undefined;
    this.#underWay.clear();
    this.#changed();
  }

  /** Resolves when the broker has acknowledged everything, or is gone. */
  async settled(): Promise<void> {
    while (this.#session !== undefined && (this.#waiting.size > 0 || this.#underWay.size > 0)) {
      await new Promise<void>((resolve) => {
        this.#listeners.push(resolve);
      });
    }
  }

  #changed(): void {
    for (const resolve of this.#listeners.splice(0)) resolve();
  }

  #pump(): void {
    const session = this.#session;
    if (session === undefined) return;
    for (const topic of this.#waiting) {
      if (this.#underWay.size >= session.limits.inflight) return;
      const value = this.#values.get(topic);
      if (this.#underWay.has(topic) || value === undefined) continue;
      this.#waiting.delete(topic);
      this.#underWay.add(topic);
      const sent = session.publish(topic, value, { qos: 1, retain: true }, (refused) => {
        if (this.#session !== session) return;
        this.#underWay.delete(topic);
        if (refused) this.#onRefused(topic);
        this.#pump();
        this.#changed();
      });
      if (!sent) this.#underWay.delete(topic);
    }
  }
}
