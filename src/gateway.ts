import { Answers } from './access/answers.ts';
import { Gate } from './access/gate.ts';
import { JwksSource } from './access/jwks.ts';
import { TokenVerifier } from './access/token.ts';
import { ClockTrust } from './clock.ts';
import { ACCESS_TOKEN, type Config } from './config/schema.ts';
import { PorchlightError } from './errors.ts';
import { Lamps } from './lamps.ts';
import type { Clock } from './lights/port.ts';
import type { Log } from './log.ts';
import { MqttBridge } from './mqtt/bridge.ts';
import type { ShownCode } from './oauth/device-code.ts';
import { discover } from './oauth/discovery.ts';
import { Session } from './oauth/session.ts';
import type { AuthorizationStatus } from './oauth/status.ts';
import { CommandRoad } from './road.ts';
import { stateDirectoryAnswers } from './service/health.ts';
import { watchAir } from './sightings.ts';
import { StatusBoard } from './status.ts';
import { StateDirectory } from './storage/state-directory.ts';
import { runAll, type Task } from './task-group.ts';
import { localApi } from './web/local-api.ts';
import { serveOnSocket } from './web/socket.ts';

/** What the gateway is made from. Time, network, the radio's programs and the showing of a code are parameters. */
export interface GatewayParts {
  readonly config: Config;
  readonly version: string;
  /** Where `status`, `login` and the other verbs find this daemon. */
  readonly socket: { readonly path: string; readonly mode: number };
  readonly entries: { readonly radio: URL; readonly air: URL };
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  readonly log: Log;
  readonly uid: number;
  /** Lamps and groups that an earlier configuration had: what the broker retains of them is cleared. */
  readonly retired: readonly string[];
  /** Called once, when the socket answers and the parts are being started. */
  readonly onReady: () => void;
  /** Feeds systemd's watchdog for as long as `healthy` says so. */
  readonly watchdog: (healthy: () => Promise<boolean>) => Task;
  readonly showCode: (code: ShownCode) => void;
  readonly hideCode: () => void;
  /** A person sits at a terminal, so an expired code may be replaced. */
  readonly interactive: boolean;
}

/**
 * The gateway, from start to stop. READ FIRST: it builds the parts, wires them, runs them side by side, and stops them in
 * reverse. Nothing here waits for a broker, a network or an adapter: that they are away is a state, which `status` shows.
 */
export async function runGateway(parts: GatewayParts, signal: AbortSignal): Promise<void> {
  const { config, clock, log } = parts;
  const { access, authorization, mqtt } = config;
  const undo: (() => Promise<void>)[] = [];
  try {
    const state = await StateDirectory.open(config.gateway.state_directory, { log, uid: parts.uid });
    undo.push(() => state.close());

    // The air: lamps, the house they are in, the links to them, the radio process.
    const lamps = await Lamps.open({
      ...parts,
      pins: state.file('lamps.json'),
      onAvailability: (light, on) => bridge.publishAvailability(light, on),
      onRadio: () => board.changed(),
    });
    undo.push(() => lamps.closeAir());
    lamps.forgetOthers();

    // Being authorized: a person approves this gateway once.
    const trust = new ClockTrust({ trust: config.clock.trust, clock, highWater: state.file('clock.json'), log });
    const session = new Session({
      options: authorization,
      store: state.file('authorization.json'),
      fetch: (url, init) => datedFetch(trust, parts.fetch, url, init),
      clock,
      show: parts.showCode,
      hide: parts.hideCode,
      log,
      interactive: parts.interactive,
    });

    // Authorizing others: every command passes one gate.
    const jwks = new JwksSource({
      locate: (inner) => jwksAddress(parts, inner),
      fetch: parts.fetch,
      store: { issuer: access.issuer, file: state.file('keys.json') },
      clock,
      log,
    });
    const clockTrusted = (): boolean => trust.trusted;
    const verifier = new TokenVerifier({
      issuer: access.issuer,
      audience: access.audience,
      controlScope: access.scopes.control,
      readScope: access.scopes.read,
      ownClientId: authorization.client_id,
      principals: access.principals,
      owner: () => session.subject,
      authorized: () => isBridgeOpen(session.status, authorization.offline_grace, clock),
      jwks,
      clock,
      clockTrusted,
    });
    const membersOf = lamps.membersOf.bind(lamps);
    const unsigned = lamps.namedLights(access.unsigned);
    const gate = new Gate({ verifier, unsigned, membersOf, maxAgeMs: access.max_age, clock, clockTrusted, log });
    const answers = new Answers({ maxAgeMs: access.max_age, clock });
    const road = new CommandRoad({ gate, answers, house: lamps.house, clock, log });

    // Where commands come from and states go: the broker, and the local socket.
    const bridge = new MqttBridge({
      options: {
        ...mqtt,
        gateway_id: config.gateway.id,
        ...(mqtt.password === ACCESS_TOKEN && { password: () => session.accessToken() }),
      },
      handle: road.handle,
      targets: () => Object.values(lamps.house.ids()).flat(),
      clock,
      log,
      onConnection: () => board.changed(),
    });
    const board = new StatusBoard({ ...parts, session, trust, bridge, lamps, road });
    const api = localApi({
      clock,
      log,
      status: () => board.status(),
      lights: () => lamps.view(),
      forget: (id) => lamps.forget(id),
      handle: road.handle,
      requestCode: () => session.requestCode(),
      revoke: () => session.revoke(),
      watch: (listener) => lamps.house.watch((target, now) => listener('state', { target, ...now })),
      scan: (listener) => watchAir(lamps, listener),
    });

    session.onChange(({ state, subject }) => {
      board.changed();
      if (state !== 'authorized') return;
      jwks.nudge();
      if (subject === undefined && access.principals.includes('owner')) log.warn(NO_OWNER);
    });
    trust.onChange(() => board.changed());
    lamps.house.watch((target, now) => bridge.publishState(target, now));
    for (const [target, now] of lamps.house.states()) bridge.publishState(target, now);
    for (const target of parts.retired) bridge.forget(target);

    const stopApi = new AbortController();
    const { closed } = await serveOnSocket(api, parts.socket.path, parts.socket.mode, stopApi.signal);
    parts.onReady();
    log.info({ socket: parts.socket.path, lights: config.lights.length }, 'ready');

    // Run side by side until told to stop; then sources first, then lamps, then the radio, then the broker.
    const air = new AbortController();
    const network = new AbortController();
    const healthy = stateDirectoryAnswers(config.gateway.state_directory);
    const stop = async (): Promise<void> => {
      const answered = road.close();
      await lamps.close();
      await answered;
      air.abort();
      network.abort();
      stopApi.abort();
    };
    await runAll(
      [
        (inner) => onceAborted(inner, stop),
        () => lamps.run(air.signal),
        () => bridge.run(network.signal),
        () => board.run(network.signal),
        (inner) => session.run(inner),
        (inner) => trust.run(inner),
        (inner) => (access.audience === undefined ? Promise.resolve() : jwks.run(inner)),
        parts.watchdog(healthy),
      ],
      signal,
    );
    await closed;
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

/** Without an id_token nobody is known to be the owner. */
const NO_OWNER =
  'the authorization server does not say who approved, so "owner" is nobody: name who may command under access.principals';

/** Waits for `signal`, then does `what`. */
async function onceAborted(signal: AbortSignal, what: () => Promise<void>): Promise<void> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  await what();
}

/** May remote commands pass? While the authorization server is merely away they go on for `graceMs`. */
function isBridgeOpen({ state, since }: AuthorizationStatus, graceMs: number, clock: Clock): boolean {
  return state === 'authorized' || (state === 'grace' && clock.wall() - Date.parse(since) <= graceMs);
}

/** `fetch`, whose answers' `Date` headers tell the time where TLS proved who sent them. */
async function datedFetch(trust: ClockTrust, inner: typeof fetch, url: string, init: RequestInit): Promise<Response> {
  const answer = await inner(url, init);
  trust.observeDateHeader(answer.headers.get('date'), url.startsWith('https:'));
  return answer;
}

/** Where the keys of those who issue command tokens are: given, or discovered. */
async function jwksAddress({ config, fetch }: GatewayParts, signal: AbortSignal): Promise<URL> {
  const { access, authorization } = config;
  const given = access.issuer === authorization.issuer ? authorization.endpoints?.jwks : undefined;
  if (given !== undefined) return new URL(given);
  const { jwks_uri } = await discover(access.issuer, { fetch, signal });
  if (jwks_uri === undefined)
    throw new PorchlightError('server_answer', 'The issuer of command tokens publishes no keys.');
  return new URL(jwks_uri);
}
