import type { TrailStatus } from './access/audit/trail.ts';
import type { LadderStatus } from './bluetooth/ladder.ts';
import type { LinksStatus } from './bluetooth/links.ts';
import type { RadioStatus } from './bluetooth/radio-client.ts';
import type { ClockTrust } from './clock.ts';
import type { Config } from './config/schema.ts';
import { ERRORS, type ErrorCode } from './errors.ts';
import type { Lamps, LampView } from './lamps.ts';
import type { Clock } from './lights/port.ts';
import type { MqttBridge } from './mqtt/bridge.ts';
import type { Home } from './oauth/home/home.ts';
import type { HomeStatus } from './oauth/home/view.ts';
import type { Session } from './oauth/session.ts';
import type { AuthorizationStatus } from './oauth/status.ts';
import type { CommandRoad } from './road.ts';
import { sleep } from './task-group.ts';

export interface Trouble {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
}

/** How the gateway is, for `status`, the local API and (without the lamps and the home) the broker. No code, no token. */
export interface GatewayStatus {
  readonly id: string;
  readonly version: string;
  /** Everything that remote commands need is there. */
  readonly healthy: boolean;
  readonly started_at: string;
  readonly uptime_s: number;
  readonly authorization: AuthorizationStatus;
  readonly clock: { readonly trusted: boolean; readonly why: string };
  readonly broker: {
    readonly connected: boolean;
    readonly url: string;
    readonly protocol?: string;
    readonly since?: string;
    readonly problem?: Trouble;
  };
  readonly radio: {
    readonly state: 'running' | 'restarting';
    readonly adapter: string;
    readonly restarts: number;
    readonly last_reason?: string;
    readonly pid?: number;
    /** Seconds since anybody at all was heard; absent: nobody yet in this life, or a connection is being made. */
    readonly heard_s?: number;
    /** Scans that the radio began anew in this life. */
    readonly rescans?: number;
    readonly memory_mb?: number;
    /** What was done against an adapter that does not work, since the start. */
    readonly ladder: LadderStatus;
    readonly problem?: Trouble;
  };
  readonly links: Pick<LinksStatus, 'used' | 'free' | 'max' | 'waiting'>;
  readonly lights: readonly LampView[];
  /** Rounded; nothing for the broker, whose readers may be many. */
  readonly home: HomeStatus;
  readonly counts: Readonly<Record<string, number>>;
  /** The audit trail; commands go on while it can not be written. */
  readonly audit?: TrailStatus;
}

export interface StatusParts {
  readonly config: Config;
  readonly version: string;
  readonly clock: Clock;
  readonly session: Pick<Session, 'status'>;
  readonly home: Pick<Home, 'status'>;
  readonly trust: Pick<ClockTrust, 'trusted' | 'why'>;
  readonly bridge: Pick<MqttBridge, 'connection' | 'counts' | 'publishStatus'>;
  readonly lamps: Pick<Lamps, 'view' | 'links' | 'radio' | 'ladder'>;
  readonly road: Pick<CommandRoad, 'counts'>;
  readonly audit?: { readonly status: TrailStatus };
}

/** Changes come in bursts (a restart of the radio is three); the broker gets one message for them. */
const SETTLE_MS = 250;
/** Counts and uptime drift without any change. */
const REFRESH_MS = 60_000;

/** Puts together how the gateway is, and keeps the broker's retained copy of it fresh. */
export class StatusBoard {
  readonly #parts: StatusParts;
  readonly #startedAt: number;
  readonly #startedWall: string;
  #wake: (() => void) | undefined;

  constructor(parts: StatusParts) {
    this.#parts = parts;
    this.#startedAt = parts.clock.monotonic();
    this.#startedWall = new Date(parts.clock.wall()).toISOString();
  }

  /** Something changed: the broker is told soon. */
  changed(): void {
    this.#wake?.();
  }

  /** The task: publishes at every change, and once a minute, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { lights: _, home: _home, ...status } = this.status();
      this.#parts.bridge.publishStatus(status);
      const woken = new AbortController();
      this.#wake = () => woken.abort();
      await sleep(REFRESH_MS, AbortSignal.any([signal, woken.signal]));
      await sleep(SETTLE_MS, signal);
    }
  }

  status(): GatewayStatus {
    const { config, version, clock, session, home, trust, bridge, lamps, road, audit } = this.#parts;
    const authorization = session.status;
    const connection = bridge.connection;
    const radio = lamps.radio.status();
    const { used, free, max, waiting } = lamps.links.status();
    const lights = lamps.view();
    const radioTrouble = lamps.ladder.problem ?? troubleOf(radio);
    const connected = connection?.connected ?? false;
    return {
      id: config.gateway.id,
      version,
      healthy: authorization.state === 'authorized' && trust.trusted && connected && isWell(radio, radioTrouble),
      started_at: this.#startedWall,
      uptime_s: Math.round((clock.monotonic() - this.#startedAt) / 1000),
      authorization,
      clock: { trusted: trust.trusted, why: trust.why },
      broker: {
        connected,
        url: config.mqtt.url,
        ...(connection?.protocol !== undefined && { protocol: connection.protocol }),
        ...(connection !== undefined && { since: connection.since }),
        ...(connection?.problem !== undefined && { problem: connection.problem }),
      },
      radio: {
        ...radioView(radio),
        ladder: lamps.ladder.status(),
        ...(radioTrouble !== undefined && { problem: radioTrouble }),
      },
      links: { used, free, max, waiting },
      lights,
      home: home.status(),
      counts: {
        lights: lights.length,
        online: lights.filter(({ available }) => available).length,
        ...road.counts,
        ...bridge.counts,
      },
      ...(audit !== undefined && { audit: audit.status }),
    };
  }
}

const isWell = ({ running, adapter }: RadioStatus, problem: Trouble | undefined): boolean =>
  running && adapter === 'poweredOn' && problem === undefined;

function radioView({
  running,
  adapter,
  restarts,
  lastReason,
  pid,
  pulse,
}: RadioStatus): Omit<GatewayStatus['radio'], 'ladder' | 'problem'> {
  return {
    state: running ? 'running' : 'restarting',
    adapter,
    restarts,
    ...(lastReason !== undefined && { last_reason: lastReason }),
    ...(pid !== undefined && { pid }),
    ...(pulse !== undefined && { rescans: pulse.rescans, memory_mb: Math.round(pulse.rss / 1024 / 1024) }),
    ...(pulse?.heardMs !== undefined && { heard_s: Math.round(pulse.heardMs / 1000) }),
  };
}

function troubleOf({ running, adapter }: RadioStatus): Trouble | undefined {
  switch (adapter) {
    case 'poweredOff':
      return trouble('adapter_off');
    case 'unauthorized':
      return { code: 'adapter_off', message: 'The gateway may not use the Bluetooth adapter.', hint: NOT_ALLOWED };
    case 'unsupported':
      return { code: 'adapter_off', message: 'The Bluetooth adapter cannot be used.', hint: NOT_USABLE };
    default:
      return running ? undefined : trouble('radio_restarting');
  }
}

const NOT_ALLOWED =
  'Start it as the shipped service, which has the capability CAP_NET_RAW, or set bluetooth.backend: dbus.';
const NOT_USABLE = 'Does it know Bluetooth Low Energy? Is it another program\'s? "porchlight check" tells more.';

function trouble(code: ErrorCode): Trouble {
  const { message, hint } = ERRORS[code];
  return { code, message, hint };
}
