import { PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import { sleep } from '../task-group.ts';
import { BackOff } from './back-off.ts';
import { type Broker, nameOf } from './dial.ts';
import { explainError, type Failure, type Problem, problem } from './problem.ts';
import { type Dialling, type OnMessage, openSession, type Session } from './session.ts';
import { TakeoverWatch } from './takeover.ts';

/** How the connection to the broker stands. */
export interface ConnectionState {
  readonly connected: boolean;
  /** While connected. */
  readonly protocol?: '5' | '3.1.1';
  /** ISO 8601: when `connected` last changed. */
  readonly since: string;
  readonly problem?: Problem;
}

/** The connection to be kept. */
export interface ConnectionOptions extends Omit<Broker, 'url'> {
  /** mqtt, mqtts, ws or wss. */
  readonly url: string;
  readonly username?: string;
  /** A function is asked before each connect: a token that expires is fresh each time. */
  readonly password?: string | (() => Promise<string>);
  readonly clientId: string;
  readonly will: { readonly topic: string; readonly payload: string };
  /** Seconds; default 30. */
  readonly keepalive?: number;
}

/** What is done with a connection. */
export interface ConnectionUse {
  readonly onMessage: OnMessage;
  /** Before the connection counts as one: subscribe. False: it ended meanwhile. */
  prepare(session: Session): Promise<boolean>;
  /** Until the connection ends or `signal` aborts (then: say goodbye). */
  serve(session: Session, signal: AbortSignal): Promise<void>;
  onState(state: ConnectionState): void;
}

/** The things from outside: time and chance. */
export interface ConnectionPorts {
  readonly clock: Clock;
  /** 0 up to 1. */
  random(): number;
  sleep?: typeof sleep;
}

/** A password that takes longer than this is not coming. */
const PASSWORD_MS = 10_000;

/**
 * Keeps one connection to the broker until `signal` aborts. A broker that is away, refuses or breaks off is a state, not a failure:
 * it is tried again for ever, after 0.5 s doubling to 30 s, and after at least 30 s where it refused us or another client took over.
 */
export async function keepConnected(
  options: ConnectionOptions,
  use: ConnectionUse,
  ports: ConnectionPorts,
  signal: AbortSignal,
): Promise<void> {
  const wait = ports.sleep ?? sleep;
  const backOff = new BackOff(() => ports.random());
  const tell = reporter(use, ports.clock);
  const manners = new Manners();
  const takeovers = new TakeoverWatch(URL.canParse(options.url) ? new URL(options.url).host : 'mqtt.url');
  tell({ connected: false });
  while (!signal.aborted) {
    const attempt = await dialling(options, manners, signal);
    const result = 'kind' in attempt ? attempt : await openSession(attempt, use.onMessage, signal);
    if (signal.aborted && 'kind' in result) break;
    if ('kind' in result) {
      if (manners.learn(result)) continue;
      takeovers.away();
      tell({ connected: false, problem: result.problem });
      await wait(backOff.wait(isSlow(result)), signal);
      continue;
    }
    manners.welcomed();
    const from = ports.clock.monotonic();
    if (await use.prepare(result)) {
      tell({ connected: true, protocol: result.protocol });
      await use.serve(result, signal);
    }
    if (signal.aborted) await result.end(500);
    const ended = await result.ended;
    const lived = ports.clock.monotonic() - from;
    const why = takeovers.ended(ended, lived);
    backOff.lived(lived);
    tell(signal.aborted ? { connected: false } : { connected: false, problem: why.problem });
    await wait(backOff.wait(isSlow(why)), signal);
  }
  tell({ connected: false });
}

function isSlow(failure: Failure): boolean {
  return failure.kind === 'refused' || failure.kind === 'taken_over';
}

/**
 * What was learned of the broker, for the life of this process. Protocol 5 is tried first. A broker that refuses it is spoken
 * to in 3.1.1 from then on; one that closes without a word (as aedes does) is tried with 3.1.1, and when that works it stays.
 */
class Manners {
  #version: 5 | 4 = 5;
  #sure = false;
  #retain = true;
  #qos: 0 | 1 = 1;

  get version(): 5 | 4 {
    return this.#version;
  }

  get will(): { readonly qos: 0 | 1; readonly retain: boolean } {
    return { qos: this.#qos, retain: this.#retain };
  }

  welcomed(): void {
    this.#sure = true;
  }

  /** True: another way is worth trying at once. */
  learn(failure: Failure): boolean {
    if (failure.kind === 'no_retain' && this.#retain) {
      this.#retain = false;
      return true;
    }
    if (failure.kind === 'no_qos' && this.#qos === 1) {
      this.#qos = 0;
      return true;
    }
    if (this.#sure) return false;
    if (this.#version === 5 && (failure.kind === 'version' || failure.kind === 'mute')) {
      this.#version = 4;
      return true;
    }
    this.#version = 5;
    return false;
  }
}

async function dialling(
  options: ConnectionOptions,
  manners: Manners,
  signal: AbortSignal,
): Promise<Dialling | Failure> {
  if (!URL.canParse(options.url)) {
    return { kind: 'error', problem: problem('mqtt.url is not an address.', 'For example mqtt://localhost:1883.') };
  }
  const url = new URL(options.url);
  const { ca, cert, key } = options;
  const broker = {
    url,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
  let password: string | undefined;
  try {
    password = await passwordOf(options, url, signal);
  } catch (thrown) {
    return { kind: 'error', problem: explainError(nameOf(broker), thrown) };
  }
  return {
    ...broker,
    version: manners.version,
    clientId: options.clientId,
    username: options.username ?? inUrl(url.username),
    password,
    will: { ...options.will, ...manners.will },
    keepalive: options.keepalive ?? 30,
  };
}

function inUrl(part: string): string | undefined {
  return part === '' ? undefined : decodeURIComponent(part);
}

async function passwordOf(options: ConnectionOptions, url: URL, signal: AbortSignal): Promise<string | undefined> {
  const { password } = options;
  if (typeof password !== 'function') return password ?? inUrl(url.password);
  const enough = new AbortController();
  const late = sleep(PASSWORD_MS, AbortSignal.any([signal, enough.signal])).then(() => {
    throw new PorchlightError('broker_unreachable', 'The password for the MQTT broker is not available.', {
      hint: 'With password: access_token, the gateway must be authorized first; see "porchlight status".',
    });
  });
  try {
    return await Promise.race([password(), late]);
  } finally {
    late.catch(() => undefined);
    enough.abort();
  }
}

function reporter(use: ConnectionUse, clock: Clock): (state: Omit<ConnectionState, 'since'>) => void {
  let connected: boolean | undefined;
  let since = '';
  return (state) => {
    if (connected !== state.connected) {
      connected = state.connected;
      since = new Date(clock.wall()).toISOString();
    }
    use.onState({ ...state, since });
  };
}
