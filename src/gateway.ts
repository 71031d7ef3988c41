import { Audit } from './access/audit/audit.ts';
import { AuthorizationWatch } from './access/audit/happenings.ts';
import type { Remarks } from './access/audit/remarks.ts';
import { authorizingOthers } from './authorizing-others.ts';
import { beingAuthorized } from './being-authorized.ts';
import { ACCESS_TOKEN, type Config } from './config/schema.ts';
import { Lamps } from './lamps.ts';
import type { Clock } from './lights/port.ts';
import { type Log, setLogLevel } from './log.ts';
import { MqttBridge } from './mqtt/bridge.ts';
import type { ShownCode } from './oauth/device-code.ts';
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
  /** What befalls the gateway from outside and belongs on record, such as a configuration that was refused. */
  readonly remarks?: Remarks;
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
  const { access, mqtt } = config;
  const undo: (() => Promise<void>)[] = [];
  try {
    const state = await StateDirectory.open(config.gateway.state_directory, { log, uid: parts.uid });
    undo.push(() => state.close());
    const maxBytes = config.audit.max_megabytes * 1_000_000;
    const trail = { folder: state.path, head: state.file('audit-head.json'), maxBytes, clock, log };
    const audit = await Audit.open(trail, { version: parts.version }, parts.remarks);
    undo.push(() => audit.close(signal));

    // The air: lamps, the house they are in, the links to them, the radio process.
    const lamps = await Lamps.open({
      ...parts,
      pins: state.file('lamps.json'),
      onAvailability: (light, on) => bridge.publishAvailability(light, on),
      onRadio: () => board.changed(),
    });
    undo.push(() => lamps.closeAir());
    lamps.forgetOthers();

    // Being authorized: a person approves this gateway once. Authorizing others: every command passes one gate.
    const authorized = beingAuthorized({ ...parts, state });
    const { session, home, trust } = authorized;
    const others = authorizingOthers({ ...parts, state, authorized, lamps, audit });
    const { road } = others;
    undo.push(() => others.close());

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
    const board = new StatusBoard({ ...parts, session, home, trust, bridge, lamps, road, audit });
    const api = localApi({
      clock,
      log,
      status: () => board.status(),
      lights: () => lamps.view(),
      forget: async (id) => {
        const known = await lamps.forget(id);
        if (known) audit.note({ event: 'forgotten', by: 'local', target: id });
        return known;
      },
      handle: road.handle,
      requestCode: () => session.requestCode(),
      revoke: async () => {
        const { revokedAtServer, ...rest } = await session.revoke().finally(() => home.forget());
        audit.note({ event: 'logged_out', by: 'local', revoked_at_server: revokedAtServer });
        return { revokedAtServer, ...rest };
      },
      logLevel: {
        now: () => log.level,
        set: (level) => {
          setLogLevel(log, level);
          audit.note({ event: 'log_level', by: 'local', level });
        },
      },
      watch: (listener) => lamps.house.watch((target, now) => listener('state', { target, ...now })),
      scan: (listener) => watchAir(lamps, listener),
    });

    const watch = new AuthorizationWatch((entry) => audit.note(entry));
    session.onChange((status) => {
      const { state, subject } = status;
      board.changed();
      watch.now(status);
      if (state !== 'authorized') return;
      others.nudge();
      if (subject === undefined && access.principals.includes('owner')) log.warn(NO_OWNER);
    });
    trust.onChange((trusted, why) => {
      board.changed();
      audit.note({ event: trusted ? 'clock_trusted' : 'clock_untrusted', by: 'gateway', why });
    });
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
        () => audit.run(network.signal),
        (inner) => authorized.run(inner),
        (inner) => others.run(inner),
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
