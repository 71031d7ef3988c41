import type { IClientOptions, IConnackPacket, IPublishPacket, MqttClient } from 'mqtt';
import { type Broker, dial, nameOf } from './dial.ts';
import { createPacketGuard } from './packet-guard.ts';
import { explainDisconnect, explainError, explainRefusal, type Failure, problem } from './problem.ts';

/** From the first SYN to CONNACK, and for a SUBACK: a broker that needs longer is not there. */
const DEADLINE_MS = 10_000;
/** What an MQTT 5 broker is asked not to exceed: the longest topic, a command of 16 KiB, a long token, and room. */
const MAX_PACKET = 192 * 1024;
/**
 * What is collected in memory at most. An MQTT 3.1.1 broker cannot be told, and the connection is dropped above this; it is well above
 * MAX_PACKET so that it takes a really hostile message.
 */
const MAX_BYTES = 1024 * 1024;
/** Commands on their way to us that are not acknowledged yet: the broker holds back the rest (MQTT 5 only). */
const RECEIVE_MAXIMUM = 100;
/** Unsent bytes above which answers (QoS 0) are given up: the broker does not read, and memory is not for ever. */
const MAX_UNSENT = 1024 * 1024;

/** One attempt to connect. */
export interface Dialling extends Broker {
  readonly version: 5 | 4;
  readonly clientId: string;
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** Published by the broker when we are gone without a goodbye. */
  readonly will?: { readonly topic: string; readonly payload: string; readonly qos: 0 | 1; readonly retain: boolean };
  /** Seconds. A dead link is noticed after one and a half of these. */
  readonly keepalive: number;
}

/** A message as it arrived. */
export type OnMessage = (topic: string, payload: Uint8Array, packet: IPublishPacket) => void;

/** What this broker allows, from its CONNACK (MQTT 5, section 3.2.2.3). */
export interface Limits {
  readonly retain: boolean;
  readonly qos: 0 | 1;
  /** QoS 1 messages under way at a time. */
  readonly inflight: number;
  /** Bytes of a packet. */
  readonly packet: number;
}

export interface Publication {
  readonly qos: 0 | 1;
  readonly retain: boolean;
  readonly correlationData?: Buffer;
}

/** One connection, from CONNACK to its end. It is never mended: a new one takes its place. */
export interface Session {
  readonly protocol: '5' | '3.1.1';
  readonly limits: Limits;
  /** Resolves when the connection has ended, with the reason; never rejects. */
  readonly ended: Promise<Failure>;
  /** The filters that the broker refuses, or undefined when the connection ended first. */
  subscribe(filters: readonly string[], qos: 0 | 1): Promise<readonly string[] | undefined>;
  /** `done` is called when a QoS 1 message was acknowledged, refused or lost. False: given up, nothing was sent. */
  publish(topic: string, payload: string, how: Publication, done?: (refused: boolean) => void): boolean;
  /** Says goodbye (so that the will stays unsaid) and closes, within `ms`. */
  end(ms: number): Promise<void>;
}

/** Opens one connection; a session when the broker welcomed us within 10 s, else why not. Never rejects. */
export async function openSession(
  dialling: Dialling,
  onMessage: OnMessage,
  signal: AbortSignal,
): Promise<Session | Failure> {
  const broker = nameOf(dialling);
  let client: MqttClient;
  try {
    client = dial(dialling, clientOptions(dialling), MAX_BYTES);
  } catch (thrown) {
    return { kind: 'error', problem: explainError(broker, thrown) };
  }
  let failure: Failure | undefined;
  const fail = (why: Failure): void => {
    failure ??= why;
    client.end(true);
    client.stream.destroy();
  };
  const onError = (thrown: Error): void => fail(failureOf(broker, thrown));
  client.on('error', onError);
  client.stream.on('error', onError);
  const guard = createPacketGuard(MAX_BYTES, () => fail(tooLarge(broker)));
  client.stream.on('data', guard);
  client.on('message', onMessage);
  gatherPackets(client);
  const connack = new Promise<IConnackPacket>((resolve) => {
    // Heard before mqtt.js acts on the packet, so that the reason is known before the error that it makes of it.
    client.on('packetreceive', (packet) => {
      if (packet.cmd === 'disconnect') fail(explainDisconnect(broker, packet.reasonCode ?? 0));
      if (packet.cmd !== 'connack') return;
      const code = (dialling.version === 5 ? packet.reasonCode : packet.returnCode) ?? 0;
      if (code === 0) resolve(packet);
      else fail(explainRefusal(broker, code));
    });
  });
  const ended = new Promise<Failure>((resolve) => {
    client.once('close', () => {
      const mute = problem(`The MQTT broker at ${broker} closed the connection without a word.`, MUTE_HINT);
      client.end(true);
      resolve(failure ?? { kind: 'mute', problem: mute });
    });
  });
  const deadline = setTimeout(() => fail(silent(broker)), DEADLINE_MS);
  const abort = (): void => fail({ kind: 'error', problem: problem('The gateway is being stopped.') });
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  const first = await Promise.race([connack, ended]);
  clearTimeout(deadline);
  signal.removeEventListener('abort', abort);
  if ('kind' in first) return first;
  return sessionOf(client, dialling.version, first, ended, fail, broker);
}

/**
 * Packets of one turn of the event loop leave in one system call: a command is an acknowledgement, an outcome and a state, and
 * three calls cost a Pi more than all of the judging.
 */
function gatherPackets(client: MqttClient): void {
  const { stream } = client;
  let gathering = false;
  client.on('packetsend', () => {
    if (gathering) return;
    gathering = true;
    stream.cork();
    setImmediate(() => {
      gathering = false;
      stream.uncork();
    });
  });
}

const MUTE_HINT = 'Is it an MQTT broker, and does mqtt.url say mqtts where it wants TLS? See also its log.';

function clientOptions(dialling: Dialling): IClientOptions {
  const five = dialling.version === 5;
  return {
    protocolVersion: dialling.version,
    clientId: dialling.clientId,
    clean: true,
    // One client of mqtt.js is one connection: waiting, subscribing again and publishing again are ours.
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    connectTimeout: 2 * DEADLINE_MS,
    keepalive: dialling.keepalive,
    ...(dialling.username === undefined ? {} : { username: dialling.username }),
    ...(dialling.password === undefined ? {} : { password: dialling.password }),
    ...(dialling.will === undefined ? {} : { will: { ...dialling.will, payload: Buffer.from(dialling.will.payload) } }),
    ...(five
      ? {
          properties: {
            sessionExpiryInterval: 0,
            receiveMaximum: RECEIVE_MAXIMUM,
            maximumPacketSize: MAX_PACKET,
            requestProblemInformation: false,
          },
        }
      : {}),
  };
}

function failureOf(broker: string, thrown: Error): Failure {
  // Numbers are the reason codes of mqtt.js, strings those of the system.
  const code = 'code' in thrown ? thrown.code : undefined;
  const reset = code === 'ECONNRESET' || code === 'EPIPE';
  return { kind: reset ? 'mute' : 'error', problem: explainError(broker, thrown) };
}

function silent(broker: string): Failure {
  const message = `The MQTT broker at ${broker} did not answer within ${DEADLINE_MS / 1000} s.`;
  return { kind: 'error', problem: problem(message) };
}

function tooLarge(broker: string): Failure {
  const message = `The MQTT broker at ${broker} sent a message of more than ${MAX_BYTES / 1024} KiB.`;
  return { kind: 'error', problem: problem(message, 'Limit the size of messages at the broker (max_packet_size).') };
}

function limitsOf(connack: IConnackPacket): Limits {
  const said = connack.properties;
  return {
    retain: said?.retainAvailable !== false,
    qos: said?.maximumQoS === 0 ? 0 : 1,
    inflight: Math.max(1, Math.min(said?.receiveMaximum ?? RECEIVE_MAXIMUM, RECEIVE_MAXIMUM)),
    packet: said?.maximumPacketSize ?? 256 * 1024 * 1024,
  };
}

function sessionOf(
  client: MqttClient,
  version: 5 | 4,
  connack: IConnackPacket,
  ended: Promise<Failure>,
  fail: (why: Failure) => void,
  broker: string,
): Session {
  const limits = limitsOf(connack);
  return {
    protocol: version === 5 ? '5' : '3.1.1',
    limits,
    ended,
    subscribe: (filters, qos) => subscribe(client, filters, qos, ended, () => fail(silent(broker))),
    publish(topic, payload, how, done) {
      // A packet larger than the broker takes would end the connection; 1 KiB is room for headers and correlation data.
      if (!client.connected || payload.length * 3 + topic.length + 2048 > limits.packet) return false;
      if (how.qos === 0 && client.stream.writableLength > MAX_UNSENT) return false;
      const { correlationData } = how;
      const qos = how.qos === 0 ? 0 : limits.qos;
      const options = { qos, retain: how.retain && limits.retain };
      const properties = correlationData === undefined ? {} : { properties: { correlationData } };
      const callback = done === undefined ? undefined : (error?: Error) => done(error !== undefined && error !== null);
      client.publish(topic, payload, { ...options, ...(version === 5 ? properties : {}) }, callback);
      return true;
    },
    async end(ms) {
      const timer = setTimeout(() => client.stream.destroy(), ms);
      client.end(false);
      await ended;
      clearTimeout(timer);
    },
  };
}

async function subscribe(
  client: MqttClient,
  filters: readonly string[],
  qos: 0 | 1,
  ended: Promise<Failure>,
  onSilence: () => void,
): Promise<readonly string[] | undefined> {
  // Retained commands must arrive, with their flag, so that they can be refused aloud (retain as published, handling 0).
  const options = { qos, rap: true, rh: 0 };
  const timer = setTimeout(onSilence, DEADLINE_MS);
  const answer = new Promise<readonly string[] | undefined>((resolve) => {
    client.subscribe([...filters], options, (error, _grants, packet) => {
      const granted = packet?.granted;
      if (granted === undefined) return resolve(error ? undefined : []);
      resolve(filters.filter((_filter, index) => Number(granted[index] ?? 0x80) >= 0x80));
    });
  });
  const result = await Promise.race([answer, ended]);
  clearTimeout(timer);
  return result !== undefined && 'kind' in result ? undefined : result;
}
