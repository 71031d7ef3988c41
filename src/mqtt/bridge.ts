import type { IPublishPacket } from 'mqtt';
import { PorchlightError } from '../errors.ts';
import type { Command, CommandHandler } from '../lights/command.ts';
import { type Outcome, outcomeOf } from '../lights/outcome.ts';
import type { Clock } from '../lights/port.ts';
import type { LightState } from '../lights/state.ts';
import type { Log } from '../log.ts';
import { sleep } from '../task-group.ts';
import { type AnswerCounts, Answers } from './answers.ts';
import { type ConnectionState, keepConnected } from './connection.ts';
import { readCommand } from './message.ts';
import { Neighbours } from './neighbours.ts';
import { type Problem, problem } from './problem.ts';
import { RetainedTopics } from './retained.ts';
import type { Session } from './session.ts';
import {
  availabilityTopic,
  type CommandTopic,
  commandFilters,
  gatewayAvailabilityTopic,
  gatewayStatusTopic,
  isBaseTopic,
  isGatewayId,
  parseCommandTopic,
  parseGatewayAvailability,
  stateTopic,
} from './topics.ts';

/** The broker and the names that this gateway goes by. Certificates and keys are PEM. */
export interface MqttOptions {
  /** mqtt, mqtts, ws or wss. */
  readonly url: string;
  readonly username?: string;
  /** A function is asked before each connect. */
  readonly password?: string | (() => Promise<string>);
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly base_topic: string;
  /** `[a-z0-9_-]{1,40}`, from the configuration. */
  readonly gateway_id: string;
  /** Seconds; default 30. A dead link is noticed after one and a half of these. */
  readonly keepalive?: number;
}

export interface MqttPorts {
  readonly options: MqttOptions;
  readonly handle: CommandHandler;
  /** The lamps, groups and scenes that there are. */
  readonly targets: () => Iterable<string>;
  readonly clock: Clock;
  readonly log: Log;
  readonly onConnection?: (state: ConnectionState) => void;
  /** 0 up to 1. */
  readonly random?: () => number;
  readonly sleep?: typeof sleep;
}

/** What has come and gone since the start. */
export interface MqttCounts extends AnswerCounts {
  readonly received: number;
}

/** Commands under way at a time; one costs a few hundred bytes and waits for a lamp for at most `access.max_age`. */
const MAX_UNDER_WAY = 1000;
/** How long the outcomes of commands under way, and then the broker, are waited for when stopping: 1 s in all. */
const GOODBYE_MS = 500;

/** Commands from the broker to the lamps; outcomes, states and the gateway's own health back. */
export class MqttBridge {
  readonly #ports: MqttPorts;
  readonly #base: string;
  readonly #answers: Answers;
  readonly #retained: RetainedTopics;
  readonly #neighbours: Neighbours;
  readonly #underWay = new Set<Promise<void>>();
  #connection: ConnectionState | undefined;
  #deaf: readonly string[] = [];
  #session: Session | undefined;
  #received = 0;

  /** Throws `config_invalid` for a base topic or gateway id that may not stand in a topic. */
  constructor(ports: MqttPorts) {
    const { base_topic, gateway_id } = ports.options;
    if (!isBaseTopic(base_topic)) throw new PorchlightError('config_invalid', 'mqtt.base_topic is not a usable topic.');
    if (!isGatewayId(gateway_id)) throw new PorchlightError('config_invalid', 'gateway.id is not a usable id.');
    this.#ports = ports;
    this.#base = base_topic;
    this.#retained = new RetainedTopics((topic) => {
      ports.log.warn({ topic }, 'the broker does not let this gateway publish here; see its access control list');
    });
    this.#answers = new Answers(base_topic, ports.targets, ports.clock);
    this.#neighbours = new Neighbours(gateway_id);
    // The first of all retained topics, so that it is also the first after each connect.
    this.#retained.set(gatewayAvailabilityTopic(base_topic, gateway_id), 'online');
  }

  get counts(): MqttCounts {
    return { received: this.#received, ...this.#answers.counts };
  }

  /** How the connection stands; undefined before `run`. */
  get connection(): ConnectionState | undefined {
    return this.#connection && this.#withOwnProblem(this.#connection);
  }

  /** What is known of a lamp or group. */
  publishState(target: string, state: LightState): void {
    this.#retained.set(stateTopic(this.#base, target), JSON.stringify(state));
  }

  /** Clears what is retained of a lamp or group that is no longer in the configuration. */
  forget(target: string): void {
    this.#retained.clear(stateTopic(this.#base, target));
    this.#retained.clear(availabilityTopic(this.#base, target));
  }

  publishAvailability(light: string, online: boolean): void {
    this.#retained.set(availabilityTopic(this.#base, light), online ? 'online' : 'offline');
  }

  /** How the gateway is: no code, no token. */
  publishStatus(status: object): void {
    this.#retained.set(gatewayStatusTopic(this.#base, this.#ports.options.gateway_id), JSON.stringify(status));
  }

  /** Keeps the bridge open until `signal` aborts; then says `offline` and goodbye, within 2 s. */
  async run(signal: AbortSignal): Promise<void> {
    const { options, clock, random = Math.random } = this.#ports;
    const { base_topic, gateway_id, ...broker } = options;
    this.#retained.set(gatewayAvailabilityTopic(base_topic, gateway_id), 'online');
    await keepConnected(
      {
        ...broker,
        clientId: `${base_topic}-${gateway_id}`.replace(/[^A-Za-z0-9_-]/g, '-'),
        will: { topic: gatewayAvailabilityTopic(base_topic, gateway_id), payload: 'offline' },
      },
      {
        onMessage: (topic, payload, packet) => this.#onMessage(topic, payload, packet),
        prepare: (session) => this.#prepare(session),
        serve: (session, stopping) => this.#serve(session, stopping),
        onState: (state) => this.#onState(state),
      },
      { clock, random, ...(this.#ports.sleep === undefined ? {} : { sleep: this.#ports.sleep }) },
      signal,
    );
  }

  /** Other gateways first: what they retain arrives before the broker confirms the commands' filters, which are asked for later. */
  async #prepare(session: Session): Promise<boolean> {
    this.#neighbours.forget();
    // From here on there are answers: retained commands arrive with the confirmation of their filter.
    this.#session = session;
    const watch = await session.subscribe([gatewayAvailabilityTopic(this.#base, '+')], 0);
    const deaf = watch && (await session.subscribe(commandFilters(this.#base), 1));
    if (deaf === undefined) return false;
    this.#deaf = deaf;
    if (deaf.length > 0) this.#ports.log.warn({ filters: deaf }, 'the broker does not let this gateway listen here');
    return true;
  }

  async #serve(session: Session, stopping: AbortSignal): Promise<void> {
    this.#retained.attach(session);
    const stop = new Promise<void>((resolve) => {
      if (stopping.aborted) return resolve();
      stopping.addEventListener('abort', () => resolve(), { once: true });
      void session.ended.then(() => resolve());
    });
    await stop;
    if (stopping.aborted) await this.#goodbye();
    this.#session = undefined;
    this.#retained.detach();
  }

  async #goodbye(): Promise<void> {
    await within(GOODBYE_MS, Promise.all(this.#underWay));
    this.#retained.set(gatewayAvailabilityTopic(this.#base, this.#ports.options.gateway_id), 'offline');
    await within(GOODBYE_MS, this.#retained.settled());
  }

  #onState(state: ConnectionState): void {
    const { log, onConnection } = this.#ports;
    const before = this.#connection;
    this.#connection = state;
    const { problem } = state;
    if (state.connected && before?.connected !== true)
      log.info({ protocol: state.protocol }, 'connected to the broker');
    if (!state.connected && problem !== undefined && problem.message !== before?.problem?.message) {
      log.warn({ hint: problem.hint }, problem.message);
    }
    onConnection?.(this.#withOwnProblem(state));
  }

  /** A connection can stand and yet not be what it should. */
  #withOwnProblem(state: ConnectionState): ConnectionState {
    if (!state.connected) return state;
    const own = this.#neighbours.problem(this.#base) ?? (this.#deaf.length > 0 ? notAllowed(this.#deaf) : undefined);
    return own === undefined ? state : { ...state, problem: own };
  }

  #onMessage(topic: string, payload: Uint8Array, packet: IPublishPacket): void {
    const command = parseCommandTopic(this.#base, topic);
    if (command !== undefined) this.#onCommand(command, payload, packet);
    const gateway = parseGatewayAvailability(this.#base, topic);
    if (gateway === undefined || payload.length > 20) return;
    if (this.#neighbours.heard(gateway, Buffer.from(payload).toString('latin1'))) this.#onNeighbours();
  }

  #onNeighbours(): void {
    const problem = this.#neighbours.problem(this.#base);
    if (problem !== undefined) this.#ports.log.warn({ hint: problem.hint }, problem.message);
    if (this.#connection?.connected) this.#ports.onConnection?.(this.#withOwnProblem(this.#connection));
  }

  /**
   * The command is handed on in the same turn in which it arrived, so that commands keep their order; nobody waits for its outcome,
   * neither the next command nor the acknowledgement (mqtt.js sends it when this returns).
   */
  #onCommand(topic: CommandTopic, payload: Uint8Array, packet: IPublishPacket): void {
    // Clearing a retained command, as the hint of `retained` says, is no command.
    if (packet.retain && payload.length === 0) return;
    this.#received += 1;
    const now = this.#ports.clock.monotonic();
    let outcome: Promise<Outcome>;
    try {
      if (this.#underWay.size >= MAX_UNDER_WAY) throw new PorchlightError('busy');
      outcome = this.#handle(readCommand(topic, payload, packet, now));
    } catch (thrown) {
      this.#answers.give(this.#session, topic, packet, this.#outcomeOf(topic, thrown, now));
      return;
    }
    const road = outcome.then((known) => {
      this.#underWay.delete(road);
      this.#answers.give(this.#session, topic, packet, known);
    });
    this.#underWay.add(road);
  }

  async #handle(command: Command): Promise<Outcome> {
    try {
      return await this.#ports.handle(command);
    } catch (thrown) {
      this.#ports.log.error({ err: thrown }, 'a command ended without an outcome');
      const { id, target } = command;
      const took_ms = Math.round(this.#ports.clock.monotonic() - command.receivedAt);
      return { ...(id === undefined ? {} : { id }), target, ...outcomeOf(thrown), took_ms };
    }
  }

  #outcomeOf(topic: CommandTopic, thrown: unknown, from: number): Outcome {
    if (!(thrown instanceof PorchlightError)) this.#ports.log.error({ err: thrown }, 'a message could not be read');
    const took_ms = Math.round(this.#ports.clock.monotonic() - from);
    return { target: topic.target, ...outcomeOf(thrown), took_ms };
  }
}

function notAllowed(filters: readonly string[]): Problem {
  return problem(
    `The broker does not let this gateway listen to ${filters.join(', ')}.`,
    "Allow it in the broker's access control list; config/mosquitto.acl.example shows how.",
  );
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const enough = new AbortController();
  await Promise.race([work, sleep(ms, enough.signal)]);
  enough.abort();
}
