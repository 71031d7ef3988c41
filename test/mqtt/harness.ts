import { Socket } from 'node:net';
import { connectAsync, type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';
import type { Command, CommandHandler } from '../../src/lights/command.ts';
import { type Outcome, outcomeOf } from '../../src/lights/outcome.ts';
import { createLog } from '../../src/log.ts';
import { MqttBridge, type MqttOptions, type MqttPorts } from '../../src/mqtt/bridge.ts';
import type { ConnectionState } from '../../src/mqtt/connection.ts';
import { sleep } from '../../src/task-group.ts';

export const clock = { monotonic: () => performance.now(), wall: () => Date.now() };

/** Polls until `check` gives something true, at most `ms`. */
export async function until<T>(
  check: () => T | undefined | false | null,
  what: string | (() => string),
  ms = 8000,
): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const found = check();
    if (found) return found;
    if (performance.now() > end) throw new Error(`never happened: ${typeof what === 'string' ? what : what()}`);
    await sleep(10);
  }
}

export interface RunningBridge {
  readonly bridge: MqttBridge;
  readonly commands: Command[];
  readonly states: ConnectionState[];
  readonly logged: () => string;
  connected(): Promise<ConnectionState>;
  problem(text: RegExp): Promise<ConnectionState>;
  stop(): Promise<void>;
}

export interface HarnessOptions extends Partial<MqttOptions> {
  readonly url: string;
  readonly handle?: CommandHandler;
  readonly ports?: Partial<MqttPorts>;
}

/** A bridge at work. Its handler says `confirmed` at once unless told otherwise. */
export function runBridge({ handle, ports, ...options }: HarnessOptions): RunningBridge {
  const commands: Command[] = [];
  const states: ConnectionState[] = [];
  let logged = '';
  const stop = new AbortController();
  const bridge = new MqttBridge({
    options: { base_topic: 'porchlight', gateway_id: 'porch-pi', ...options },
    handle: async (command) => {
      commands.push(command);
      if (handle !== undefined) return handle(command);
      const { target, problem } = command;
      return problem === undefined ? confirmed(command) : { target, ...outcomeOf(problem), took_ms: 0 };
    },
    targets: () => ['porch', 'hall', 'movie'],
    clock,
    log: createLog('trace', {
      write(line) {
        logged += line;
      },
    }),
    onConnection: (state) => void states.push(state),
    ...ports,
  });
  const done = bridge.run(stop.signal);
  return {
    bridge,
    commands,
    states,
    logged: () => logged,
    connected: () =>
      until(
        () => states.at(-1)?.connected && states.at(-1),
        () => `connected; ${JSON.stringify(states.at(-1))}`,
      ),
    problem: (text) =>
      until(
        () => states.find((state) => text.test(state.problem?.message ?? '')),
        () => `problem ${text}; ${JSON.stringify(states)}`,
      ),
    async stop() {
      stop.abort();
      await done;
    },
  };
}

export function confirmed(command: Command): Outcome {
  const { id, target } = command;
  return { ...(id === undefined ? {} : { id }), target, outcome: 'confirmed', by: 'owner', took_ms: 1 };
}

export interface Heard {
  readonly topic: string;
  readonly text: string;
  readonly packet: IPublishPacket;
}

/** Someone else at the broker: what it heard, and how to wait for more. */
export interface Peer {
  readonly client: MqttClient;
  readonly heard: Heard[];
  hears(topic: string, text?: string | RegExp): Promise<Heard>;
  end(): Promise<void>;
}

export async function joinBroker(url: string, filters: string | string[], options: IClientOptions = {}): Promise<Peer> {
  const client = await connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0, ...options }, false);
  // As our own client does; without it each exchange of a test costs 40 ms.
  if (client.stream instanceof Socket) client.stream.setNoDelay(true);
  const heard: Heard[] = [];
  client.on('message', (topic, payload, packet) => heard.push({ topic, text: String(payload), packet }));
  client.on('error', () => undefined);
  await client.subscribeAsync(filters, { qos: 1, rap: true });
  return {
    client,
    heard,
    hears: (topic, text = /^/) =>
      until(
        () =>
          heard.find(
            (one) => one.topic === topic && (typeof text === 'string' ? one.text === text : text.test(one.text)),
          ),
        () =>
          `${topic} ${text}; heard ${JSON.stringify(heard.slice(-5).map((one) => [one.topic, one.text.slice(0, 200)]))}`,
      ),
    end: () => client.endAsync(true),
  };
}
