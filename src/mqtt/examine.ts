import { randomBytes } from 'node:crypto';
import type { IPublishPacket } from 'mqtt';
import type { Clock } from '../lights/port.ts';
import { sleep } from '../task-group.ts';
import { nameOf } from './dial.ts';
import { type Problem, problem } from './problem.ts';
import { type Dialling, openSession, type Session } from './session.ts';
import { commandFilters, gatewayAvailabilityTopic, parseGatewayAvailability } from './topics.ts';

/** What is looked for at the broker, as the gateway itself would see it. */
export interface ExamineOptions {
  readonly url: string;
  readonly username?: string;
  readonly password?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly base_topic: string;
  /** The id of this gateway. */
  readonly gateway: string;
  /** Home Assistant's discovery prefix. */
  readonly prefix: string;
}

/** How the broker is. Topics are text of strangers; no payload is kept. */
export interface BrokerReport {
  /** Why there is no connection; then nothing else is known. */
  readonly problem?: Problem;
  readonly protocol?: '5' | '3.1.1';
  /** Topics on which a command is retained; at most `MOST_TOPICS`, `more` counts the others. */
  readonly retained: readonly string[];
  readonly more: number;
  /** Filters that the broker does not let these credentials listen to. */
  readonly deaf: readonly string[];
  /** The broker does not let these credentials say whether the gateway is there (MQTT 5 only: older brokers do not tell). */
  readonly mute: boolean;
  /** Gateways that say `online` below this base topic. */
  readonly gateways: readonly string[];
  /** Milliseconds to and fro; absent: the broker lets nothing through there. */
  readonly echo?: Echo;
  /** Something speaks below Home Assistant's discovery prefix. */
  readonly homeAssistant: boolean;
}

/**
 * Medians. `single`: until a message came back (QoS 0: one packet from the broker). `double`: until it came back and was acknowledged
 * (QoS 1: two packets in a row, of which Nagle's algorithm holds back the second until the first is acknowledged, which TCP delays).
 */
export interface Echo {
  readonly single: number;
  readonly double: number;
}

/** A broker at home answers in milliseconds, and who waits longer waits in vain. */
const CONNECT_MS = 5000;
const MOST_TOPICS = 20;
/** Retained messages come at once after their filter; this long after the last there are no more. */
const QUIET_MS = 300;
const LONGEST_MS = 1500;
/** TCP acknowledges the first packets of a connection at once, whoever delays later (Linux: 16 segments). */
const SINGLES = 5;
const DOUBLES = 24;
const JUDGED = 10;
const ROUND_MS = 500;

/**
 * Connects as the gateway would, but under a client id of its own, and looks around. No command is sent and nothing is retained. Written is
 * only below `<base>/response/`, where nobody else listens, and that the gateway is offline, where it is. Takes some five seconds at most. Never rejects.
 */
export async function examineBroker(
  options: ExamineOptions,
  clock: Pick<Clock, 'monotonic'>,
  signal: AbortSignal,
): Promise<BrokerReport> {
  const look = new Look(options.base_topic);
  const opened = await open(options, look, signal);
  if ('problem' in opened) return { ...look.report(), problem: opened.problem };
  try {
    return await look.around(opened, options, clock, signal);
  } finally {
    await opened.end(300);
  }
}

async function open(
  options: ExamineOptions,
  look: Look,
  signal: AbortSignal,
): Promise<Session | { readonly problem: Problem }> {
  if (!URL.canParse(options.url)) return { problem: problem('mqtt.url is not an address.') };
  const { username, password, ca, cert, key } = options;
  const url = new URL(options.url);
  const late = AbortSignal.timeout(CONNECT_MS);
  const dialling: Dialling = {
    url,
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    version: 5,
    clientId: `porchlight-check-${randomBytes(4).toString('hex')}`,
    username: username ?? (url.username === '' ? undefined : decodeURIComponent(url.username)),
    password: password ?? (url.password === '' ? undefined : decodeURIComponent(url.password)),
    keepalive: 30,
  };
  const dial = (version: 5 | 4) =>
    openSession({ ...dialling, version }, look.onMessage, AbortSignal.any([signal, late]));
  let result = await dial(5);
  // As the gateway does: brokers before MQTT 5 refuse it, or close without a word.
  if ('kind' in result && (result.kind === 'version' || result.kind === 'mute')) {
    const older = await dial(4);
    if (!('kind' in older) || result.kind === 'version') result = older;
  }
  if (!('kind' in result)) return result;
  if (!late.aborted || signal.aborted) return { problem: result.problem };
  const message = `The MQTT broker at ${nameOf({ url })} did not answer within ${CONNECT_MS / 1000} s.`;
  return { problem: problem(message, 'Is the machine on, and does a firewall let this port through?') };
}

/** What is seen in one connection. */
class Look {
  readonly #base: string;
  readonly #retained = new Set<string>();
  readonly #gateways = new Set<string>();
  #more = 0;
  #newestAt = 0;
  #news = 0;
  #homeAssistant = false;
  #prefix: string | undefined;
  #echo: { readonly topic: string; wanted: string; heard: () => void } | undefined;

  constructor(base: string) {
    this.#base = base;
  }

  readonly onMessage = (topic: string, payload: Uint8Array, packet: IPublishPacket): void => {
    this.#news += 1;
    if (topic === this.#echo?.topic) {
      if (Buffer.from(payload).toString('utf8') === this.#echo.wanted) this.#echo.heard();
      return;
    }
    const gateway = parseGatewayAvailability(this.#base, topic);
    if (gateway !== undefined) {
      if (Buffer.from(payload).toString('utf8') === 'online' && this.#gateways.size < MOST_TOPICS)
        this.#gateways.add(gateway);
      return;
    }
    if (this.#prefix !== undefined && topic.startsWith(`${this.#prefix}/`)) {
      this.#homeAssistant = true;
      return;
    }
    // A command that is sent while we look is none of our business; one that is retained lies in wait.
    if (!packet.retain || payload.length === 0 || !topic.endsWith('/set') || this.#retained.has(topic)) return;
    if (this.#retained.size < MOST_TOPICS) this.#retained.add(topic);
    else this.#more += 1;
  };

  report(): BrokerReport {
    return {
      retained: [...this.#retained].sort(),
      more: this.#more,
      deaf: [],
      mute: false,
      gateways: [...this.#gateways].sort(),
      homeAssistant: this.#homeAssistant,
    };
  }

  async around(
    session: Session,
    { base_topic, prefix, username, gateway }: ExamineOptions,
    clock: Pick<Clock, 'monotonic'>,
    signal: AbortSignal,
  ): Promise<BrokerReport> {
    const filters = [gatewayAvailabilityTopic(base_topic, '+'), ...commandFilters(base_topic)];
    const deaf = (await session.subscribe(filters, 1)) ?? filters;
    await this.#quiet(clock, signal);
    // A gateway that is online speaks for itself.
    const mute =
      !this.#gateways.has(gateway) && (await this.#isMute(session, gatewayAvailabilityTopic(base_topic, gateway)));
    const echo = await this.#measure(session, base_topic, username, clock, signal);
    this.#prefix = prefix;
    await session.subscribe([`${prefix}/status`, `${prefix}/+/+/config`, `${prefix}/+/+/+/config`], 0);
    await this.#quiet(clock, signal);
    return { ...this.report(), protocol: session.protocol, deaf, mute, ...(echo !== undefined && { echo }) };
  }

  async #quiet(clock: Pick<Clock, 'monotonic'>, signal: AbortSignal): Promise<void> {
    const began = clock.monotonic();
    let seen = this.#news;
    this.#newestAt = began;
    while (clock.monotonic() - began < LONGEST_MS && clock.monotonic() - this.#newestAt < QUIET_MS && !signal.aborted) {
      await sleep(25, signal);
      if (this.#news !== seen) this.#newestAt = clock.monotonic();
      seen = this.#news;
    }
  }

  async #isMute(session: Session, topic: string): Promise<boolean> {
    return new Promise((resolve) => {
      const late = setTimeout(() => resolve(false), ROUND_MS);
      session.publish(topic, 'offline', { qos: 1, retain: false }, (refused) => {
        clearTimeout(late);
        resolve(refused);
      });
    });
  }

  /** Where each user may write and read what is answered to it; see `config/mosquitto.acl.example`. */
  async #measure(
    session: Session,
    base: string,
    username: string | undefined,
    clock: Pick<Clock, 'monotonic'>,
    signal: AbortSignal,
  ): Promise<Echo | undefined> {
    const user = username !== undefined && /^[^+#/\u0000-\u001f]{1,60}$/.test(username) ? `${username}/` : '';
    const topic = `${base}/response/${user}check-${randomBytes(4).toString('hex')}`;
    // At QoS 0 we answer nothing to the echo, so its two packets are all that is under way.
    const refused = await session.subscribe([topic], 0);
    if (refused === undefined || refused.length > 0) return undefined;
    let count = 0;
    const round = async (qos: 0 | 1): Promise<number | undefined> => {
      const began = clock.monotonic();
      count += 1;
      const over = new AbortController();
      let missing = qos + 1;
      const arrived = (): void => {
        missing -= 1;
        if (missing === 0) over.abort();
      };
      this.#echo = { topic, wanted: String(count), heard: arrived };
      session.publish(topic, String(count), { qos, retain: false }, qos === 1 ? arrived : undefined);
      await sleep(ROUND_MS, AbortSignal.any([over.signal, signal]));
      return over.signal.aborted ? clock.monotonic() - began : undefined;
    };
    const rounds = async (howMany: number, qos: 0 | 1): Promise<readonly number[] | undefined> => {
      const times: number[] = [];
      for (let at = 0; at < howMany; at += 1) {
        const time = await round(qos);
        // What is not let through once is not let through ever.
        if (time === undefined) return undefined;
        times.push(time);
      }
      return times;
    };
    const single = await rounds(SINGLES, 0);
    const double = single && (await rounds(DOUBLES, 1));
    this.#echo = undefined;
    if (single === undefined || double === undefined) return undefined;
    return { single: median(single), double: median(double.slice(-JUDGED)) };
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
