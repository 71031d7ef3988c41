import type { LampInput } from '../../src/bluetooth/air/messages.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../src/demo/authorization-server.ts';
import { type AirUnderTest, startAir } from './air.ts';
import { Daemon } from './daemon.ts';
import { type Mosquitto, startMosquitto } from './mosquitto.ts';
import { Sender } from './sender.ts';

export const AUDIENCE = 'https://porchlight.example/porch-pi';
export const PORCH = 'be:ff:20:00:11:22';
export const HALL = 'be:ff:20:00:11:33';

/** A triones lamp that confirms and an elk-bledom lamp that cannot. */
export const LAMPS: readonly LampInput[] = [
  { address: PORCH, name: 'Triones:F30200000152C', family: 'triones' },
  { address: HALL, name: 'ELK-BLEDOM', family: 'elk-bledom' },
];

type ServerOptions = Partial<Parameters<typeof startAuthorizationServer>[0]>;

/** A whole home of real parts: broker, authorization server, air with lamps, and a daemon that is prepared but not started. */
export interface Home {
  readonly broker: Mosquitto;
  readonly server: AuthorizationServer;
  readonly air: AirUnderTest;
  readonly daemon: Daemon;
  readonly config: Record<string, unknown>;
  close(): Promise<void>;
}

export async function startHome(
  options: {
    readonly lamps?: readonly LampInput[];
    readonly server?: ServerOptions;
    readonly config?: Record<string, unknown>;
    readonly intervalMs?: number;
    /** Beside the backend. */
    readonly bluetooth?: Record<string, unknown>;
    /** Of the daemon's process. */
    readonly env?: Record<string, string>;
  } = {},
): Promise<Home> {
  const lamps = options.lamps ?? LAMPS;
  const [broker, server, air] = await Promise.all([
    startMosquitto(),
    startAuthorizationServer({
      gatewayClientId: 'porchlight',
      audience: AUDIENCE,
      intervalSeconds: 1,
      ...options.server,
    }),
    startAir(lamps, { connectionIntervalMs: options.intervalMs ?? 15 }),
  ]);
  const config = {
    authorization: { issuer: server.issuer, client_id: 'porchlight', scopes: ['openid', 'offline_access', 'profile'] },
    access: { audience: AUDIENCE, max_age: '10s' },
    mqtt: { url: broker.url },
    bluetooth: { backend: 'h4', h4: air.address, ...options.bluetooth },
    clock: { trust: 'system' },
    lights: [
      { id: 'porch', name: 'Porch', address: PORCH },
      { id: 'hall', name: 'Hall', address: HALL },
    ],
    groups: [{ id: 'evening', lights: ['porch', 'hall'] }],
    scenes: [{ id: 'movie', set: { hall: { state: 'ON', brightness: 40 }, porch: { state: 'OFF' } } }],
    log: { level: 'debug' },
    ...options.config,
  };
  const daemon = await Daemon.prepare(config, options.env);
  const close = async (): Promise<void> => {
    await daemon.remove();
    await Promise.all([air.stop(), server.close(), broker.stop()]);
  };
  return { broker, server, air, daemon, config, close };
}

/** Starts the daemon and approves its code, as a person would. Resolves when it says that it is authorized. */
export async function approve({ daemon, server }: Pick<Home, 'daemon' | 'server'>): Promise<void> {
  daemon.start();
  await server.approve(await daemon.code());
  await daemon.until((status) => status.authorization.state === 'authorized' && status.broker.connected, 'authorized');
}

export const senderFor = (home: Home): Promise<Sender> => Sender.connect(home.broker.url);
