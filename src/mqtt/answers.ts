import type { IPublishPacket } from 'mqtt';
import type { ErrorCode } from '../errors.ts';
import type { Outcome } from '../lights/outcome.ts';
import type { Clock } from '../lights/port.ts';
import { Limiter } from '../limiter.ts';
import type { Session } from './session.ts';
import { type CommandTopic, isResponseTopic, resultTopic } from './topics.ts';

/** Longest Correlation Data that is sent back, in bytes. */
const MAX_CORRELATION = 1024;
/** Strangers are answered at most once in this time, so that nobody makes the gateway shout. */
const STRANGERS_MS = 1000;
/** Outcomes of messages whose token nobody has judged yet. */
const UNREAD: ReadonlySet<ErrorCode> = new Set(['bad_command', 'payload_too_large', 'busy']);

export interface AnswerCounts {
  readonly answered: number;
  /** Answers that were not given: to strangers more than once a second, or while the broker did not take them. */
  readonly swallowed: number;
}

/** Gives each command its answer: on its target's result topic, and on its Response Topic where that is one of ours. */
export class Answers {
  readonly #base: string;
  readonly #targets: () => Iterable<string>;
  readonly #clock: Clock;
  readonly #strangers = new Limiter(STRANGERS_MS);
  readonly #unknown = new Limiter(STRANGERS_MS);
  #answered = 0;
  #dropped = 0;

  constructor(base: string, targets: () => Iterable<string>, clock: Clock) {
    this.#base = base;
    this.#targets = targets;
    this.#clock = clock;
  }

  get counts(): AnswerCounts {
    return {
      answered: this.#answered,
      swallowed: this.#dropped + this.#strangers.swallowed + this.#unknown.swallowed,
    };
  }

  /** Answers the message `packet`. Without a session the answer is lost: whoever asked was cut off as well. */
  give(session: Session | undefined, topic: CommandTopic, packet: IPublishPacket, outcome: Outcome): void {
    if (!this.#allowed(topic, outcome)) return;
    const payload = JSON.stringify(outcome);
    if (session?.publish(resultTopic(this.#base, topic), payload, { qos: 0, retain: false })) this.#answered += 1;
    else this.#dropped += 1;
    const { responseTopic, correlationData } = packet.properties ?? {};
    if (responseTopic === undefined || !isResponseTopic(this.#base, responseTopic)) return;
    // Cut off or left out it would be worse than no answer: the sender could take it for another one's.
    if (correlationData !== undefined && correlationData.length > MAX_CORRELATION) return;
    const how = { qos: 0, retain: false, ...(correlationData === undefined ? {} : { correlationData }) } as const;
    session?.publish(responseTopic, payload, how);
  }

  /** Whoever showed by what right it commands is always answered; strangers, and commands for what does not exist, once a second. */
  #allowed(topic: CommandTopic, { by, code, outcome }: Outcome): boolean {
    const now = this.#clock.monotonic();
    const unread = code !== undefined && UNREAD.has(code);
    if (by === undefined && (outcome === 'denied' || unread)) return this.#strangers.pass(now);
    if (code !== 'unknown_target' || this.#isKnown(topic.target)) return true;
    return this.#unknown.pass(now);
  }

  #isKnown(target: string): boolean {
    for (const known of this.#targets()) if (known === target) return true;
    return false;
  }
}
