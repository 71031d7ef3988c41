import type { LampInput, StartInput, Written } from '../../src/bluetooth/air/messages.ts';
import { Lamps } from '../../src/lamps.ts';
import type { LightChange } from '../../src/lights/change.ts';
import type { Outcome } from '../../src/lights/outcome.ts';
import { type AirUnderTest, startAir } from '../support/air.ts';
import { DIST } from '../support/dist.ts';
import { keptLog, realClock } from '../support/log.ts';

/** Milliseconds by CLOCK_MONOTONIC, which all processes of a machine share: the clock of `Written.mono`. */
export const mono = (): number => Number(process.hrtime.bigint()) / 1e6;

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** How much of a campaign is run: the suite takes a share, `npm run bench -- NAME` the whole. */
export const share = <T>(inSuite: T, whole: T): T => (process.env['PORCHLIGHT_CAMPAIGN'] === 'whole' ? whole : inSuite);

/** Figures for people; a test runner that hides what passed would hide them too. */
export const say = (text: string): void => void process.stderr.write(`  ${text}\n`);

export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** `be:ff:20:00:00:00` and upwards, half of them of each family. */
export const lampsOf = (count: number): readonly LampInput[] =>
  Array.from({ length: count }, (_, at) => ({
    address: `be:ff:20:00:${(at >> 8).toString(16).padStart(2, '0')}:${(at & 255).toString(16).padStart(2, '0')}`,
    ...(at % 2 === 0
      ? { name: 'ELK-BLEDOM', family: 'elk-bledom' as const }
      : { name: 'Triones:F30200000152C', family: 'triones' as const }),
  }));

/** Everything between a command and the air, as `gateway.ts` builds it: house, links, the real radio process, real noble; and an air. */
export interface HouseUnderLoad {
  readonly lamps: Lamps;
  readonly air: AirUnderTest;
  /** `lamp-0`, `lamp-1`, ... */
  readonly ids: readonly string[];
  apply(target: string, change: LightChange, maxAgeMs?: number): Promise<Outcome>;
  scene(id: string, maxAgeMs?: number): Promise<Outcome>;
  /** The writes to lamps since the last call. */
  written(): Promise<readonly Written[]>;
  close(): Promise<void>;
}

export async function startHouse(options: {
  readonly lamps: readonly LampInput[];
  readonly air?: Partial<Omit<StartInput, 'lamps'>>;
  /** An air that is there already. */
  readonly on?: AirUnderTest;
  readonly maxConnections?: number;
  readonly idleMs?: number;
  readonly scenes?: Readonly<Record<string, LightChange>>;
}): Promise<HouseUnderLoad> {
  const air =
    options.on ?? (await startAir(options.lamps, { connectionIntervalMs: 22.5, quiet: true, ...options.air }));
  const lights = options.lamps.map(({ address }, at) => ({ id: `lamp-${at}`, name: `Lamp ${at}`, address }));
  const scenes = Object.entries(options.scenes ?? {}).map(([id, change]) => ({
    id,
    name: id,
    set: Object.fromEntries(lights.map((light) => [light.id, change])),
  }));
  const lamps = await Lamps.open({
    config: {
      bluetooth: {
        backend: 'h4',
        adapter: 'hci0',
        h4: air.address,
        max_connections: options.maxConnections ?? 7,
        idle_disconnect: options.idleMs ?? 120_000,
        virtual: { lights: 0, connection_interval: 15 },
      },
      lights,
      groups: [],
      scenes,
    },
    entries: { radio: new URL('bluetooth/radio/main.js', DIST), air: new URL('bluetooth/air/main.js', DIST) },
    clock: realClock,
    log: keptLog().log,
    onAvailability: () => undefined,
  });
  const stop = new AbortController();
  const run = lamps.run(stop.signal);
  const ask = async (kind: 'lights' | 'scene', target: string, change: LightChange, maxAgeMs = 30_000) => {
    const began = performance.now();
    const outcome = await lamps.house.apply(kind, target, change, { by: 'local', until: began + maxAgeMs });
    return { ...outcome, took_ms: performance.now() - began };
  };
  let seen = (await air.written()).length;
  return {
    lamps,
    air,
    ids: lights.map(({ id }) => id),
    apply: (target, change, maxAgeMs) => ask('lights', target, change, maxAgeMs),
    scene: (id, maxAgeMs) => ask('scene', id, {}, maxAgeMs),
    written: async () => {
      const all = await air.written();
      const fresh = all.slice(seen);
      seen = all.length;
      return fresh;
    },
    close: async () => {
      await lamps.close();
      stop.abort();
      await run;
      await lamps.closeAir();
      if (options.on === undefined) await air.stop();
    },
  };
}

/** Resolves when all lamps of the house were heard. */
export async function allHeard({ lamps, ids }: HouseUnderLoad, ms = 20_000): Promise<void> {
  const end = performance.now() + ms;
  while (lamps.view().filter(({ available }) => available).length < ids.length) {
    if (performance.now() > end) throw new Error(`not all ${ids.length} lamps were heard within ${ms} ms`);
    await sleep(20);
  }
}
