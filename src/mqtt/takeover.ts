import { type Failure, takenOver } from './problem.ts';

/** Whoever fights over a client id is back in a few seconds; a connection that outlives this was not fought over. */
const FOUGHT_OVER_MS = 10_000;
/** So many in a row are no accident. Fewer may be a broker that somebody restarts again and again. */
const SUSPICIOUS = 4;

/**
 * Notices that another client uses our client id where the broker does not say so: MQTT 3.1.1 has no words for it, and
 * mosquitto 2.0 closes the older connection silently also in MQTT 5. What gives it away: connections that are welcomed and soon
 * closed without a word, again and again, while none is refused in between (as would be if the broker went away).
 */
export class TakeoverWatch {
  readonly #broker: string;
  #silent = 0;

  /** `broker`: its name in messages. */
  constructor(broker: string) {
    this.#broker = broker;
  }

  /** The broker could not be reached: then it is no takeover. */
  away(): void {
    this.#silent = 0;
  }

  /** A welcomed connection ended after `lived_ms`; the failure as it must be understood. */
  ended(failure: Failure, lived_ms: number): Failure {
    this.#silent = failure.kind === 'mute' && lived_ms < FOUGHT_OVER_MS ? this.#silent + 1 : 0;
    if (this.#silent < SUSPICIOUS) return failure;
    return { kind: 'taken_over', problem: takenOver(this.#broker, 'It seems that another') };
  }
}
