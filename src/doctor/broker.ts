import { ACCESS_TOKEN, type HouseConfig } from '../config/schema.ts';
import type { Clock } from '../lights/port.ts';
import { printable } from '../log.ts';
import { type BrokerReport, examineBroker } from '../mqtt/examine.ts';
import type { DaemonStatus } from './daemon.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

const CHECK = 'broker';
/** Nagle's algorithm against a delayed acknowledgement costs 40 ms (Linux's least delay); less is the network. */
const HELD_BACK_MS = 30;

export interface BrokerLook {
  readonly findings: readonly Finding[];
  /** Undefined: it could not be looked at. */
  readonly homeAssistant?: boolean;
}

/** Connects with the configured credentials and looks around; see `mqtt/examine.ts` for what it does and does not do there. */
export async function lookAtBroker(
  { mqtt, gateway }: HouseConfig,
  {
    complete,
    daemon,
    clock,
  }: { readonly complete: boolean; readonly daemon: DaemonStatus | undefined; readonly clock: Clock },
  signal: AbortSignal,
): Promise<BrokerLook> {
  const untried = whyNot(mqtt, complete);
  if (untried !== undefined) return { findings: [asDaemonSays(daemon, untried)] };
  const { password: _, ...rest } = mqtt;
  const password = mqtt.password === undefined ? {} : { password: mqtt.password };
  const report = await examineBroker(
    { ...rest, ...password, prefix: mqtt.home_assistant.discovery_prefix, gateway: gateway.id },
    clock,
    signal,
  );
  const { problem } = report;
  if (problem !== undefined) return { findings: [fail(CHECK, problem.code, problem.message, problem.hint)] };
  const url = new URL(mqtt.url);
  const words = `${url.protocol}//${url.host} lets us in (MQTT ${report.protocol ?? '?'}${url.protocol === 'mqtts:' || url.protocol === 'wss:' ? ', TLS' : ''})`;
  const findings: Finding[] = [ok(CHECK, words)];
  if (daemon !== undefined && !daemon.broker.connected) {
    const { message, hint } = daemon.broker.problem ?? { message: 'no reason given' };
    findings.push(fail(CHECK, 'broker_unreachable', `The running gateway is not connected: ${message}`, hint));
  }
  findings.push(
    ...allowed(report),
    ...neighbours(report, gateway.id, mqtt.base_topic, daemon),
    ...waiting(report),
    ...nagle(report),
  );
  return { findings, homeAssistant: report.homeAssistant };
}

function whyNot(mqtt: HouseConfig['mqtt'], complete: boolean): string | undefined {
  if (mqtt.password === ACCESS_TOKEN) return "its password is the gateway's own access token";
  if (complete) return undefined;
  const plain = /^(mqtt|ws):/.test(mqtt.url);
  if (plain && (mqtt.username === undefined || mqtt.password !== undefined)) return undefined;
  return 'its password and certificates were not read (see the configuration above)';
}

function asDaemonSays(daemon: DaemonStatus | undefined, why: string): Finding {
  if (daemon === undefined)
    return warn(CHECK, `It could not be tried: ${why}.`, 'Run this with sudo, or start the gateway.');
  const { connected, protocol, problem } = daemon.broker;
  if (!connected)
    return fail(
      CHECK,
      'broker_unreachable',
      problem?.message ?? 'The running gateway is not connected.',
      problem?.hint,
    );
  const text = `the gateway is connected (MQTT ${protocol ?? '?'}); more could not be tried: ${why}`;
  return problem === undefined ? ok(CHECK, text) : warn(CHECK, problem.message, problem.hint);
}

function allowed({ deaf, mute, echo }: BrokerReport): readonly Finding[] {
  const findings: Finding[] = [];
  if (deaf.length > 0) {
    const where = deaf.map((filter) => printable(filter)).join(', ');
    findings.push(fail(CHECK, 'broker_unreachable', `It does not let this gateway listen to ${where}.`, ACL));
  }
  if (mute) {
    const message =
      'It does not let this gateway publish below <base>/gateway/, so perhaps not what its lamps show either.';
    findings.push(fail(CHECK, 'broker_unreachable', message, ACL));
  }
  if (echo === undefined)
    findings.push(
      warn(
        CHECK,
        'It lets no answers through (<base>/response/…): senders do not learn what became of their commands.',
        ACL,
      ),
    );
  return findings;
}

const ACL = 'Allow it in the access control list of the broker: config/mosquitto.acl.example';

function neighbours(
  { gateways }: BrokerReport,
  id: string,
  base: string,
  daemon: DaemonStatus | undefined,
): readonly Finding[] {
  const others = gateways.filter((one) => one !== id);
  const findings: Finding[] = [];
  if (others.length > 0) {
    findings.push(
      warn(
        CHECK,
        `Another gateway (${others.join(', ')}) uses the base topic "${base}": commands there reach both.`,
        'Give each its own mqtt.base_topic. If it is gone for good, clear its retained availability topic.',
      ),
    );
  }
  if (daemon === undefined && gateways.includes(id)) {
    findings.push(
      warn(
        CHECK,
        `A gateway called "${id}" is online at this broker, but none runs here that can be asked.`,
        'If it is another machine, give one of them another gateway.id. Otherwise the broker notices within a minute that it is gone.',
      ),
    );
  }
  return findings;
}

/** A topic that can stand in a command line as it is. */
const PLAIN = /^[A-Za-z0-9_./-]+$/;

function waiting({ retained, more }: BrokerReport): readonly Finding[] {
  if (retained.length === 0) return [];
  const first = retained.find((topic) => PLAIN.test(topic));
  const clear = first === undefined ? '' : `, such as: mosquitto_pub -r -n -t ${first} (with -h, -u, -P as needed)`;
  const named = retained.map((topic) => printable(topic, 120)).join(', ');
  return [
    warn(
      CHECK,
      `Retained commands lie in wait on ${named}${more > 0 ? ` and ${more} more` : ''}. They are never obeyed, and refused at each start.`,
      `Clear each with an empty retained message${clear}. Whoever sent it: publish commands without the retain flag.`,
    ),
  ];
}

function nagle({ echo }: BrokerReport): readonly Finding[] {
  if (echo === undefined) return [];
  const { single, double } = echo;
  const ms = (value: number): string => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
  if (double - single < HELD_BACK_MS) return [ok(CHECK, `answers in ${ms(double)}`)];
  return [
    warn(
      CHECK,
      `It holds back small messages: an acknowledged one takes ${ms(double)} instead of ${ms(single)} (Nagle's algorithm).`,
      'In mosquitto.conf: set_tcp_nodelay true. In other brokers look for TCP_NODELAY.',
    ),
  ];
}
