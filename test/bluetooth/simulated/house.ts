import { Lamp } from '../../../src/bluetooth/lamp.ts';
import { Links } from '../../../src/bluetooth/links.ts';
import { Pins } from '../../../src/bluetooth/pins.ts';
import { ListeningTime } from '../../../src/bluetooth/presence.ts';
import { FAMILIES, pinned, recognise } from '../../../src/families/index.ts';
import type { LightChange } from '../../../src/lights/change.ts';
import { Light } from '../../../src/lights/light.ts';
import type { LightOutcome } from '../../../src/lights/orders.ts';
import { createLog, type Log } from '../../../src/log.ts';
import { type Fault, type Habits, SimulatedAir, type SimulatedLamp } from './air.ts';
import type { Bulb } from './bulb.ts';
import { type Random, randomOf, SimulatedTime } from './time.ts';

/** A light with everything of ours between it and the air, and the simulated lamp at its end. */
export interface Road {
  readonly light: Light;
  readonly lamp: Lamp;
  readonly at: SimulatedLamp;
}

export interface HouseParts {
  readonly seed?: number;
  readonly lamps: number;
  readonly maxConnections?: number;
  readonly idleMs?: number;
  readonly habits?: Partial<Habits>;
  readonly family?: (n: number) => Bulb['family'];
  readonly fault?: (n: number) => Fault;
}

export interface SimulatedHouse {
  readonly time: SimulatedTime;
  readonly random: Random;
  readonly air: SimulatedAir;
  readonly links: Links;
  readonly roads: readonly Road[];
  /** One command; `ms` from now it has failed. */
  apply(road: Road, change: LightChange, ms?: number): Promise<LightOutcome>;
  hearAll(): void;
  close(): Promise<void>;
}

export const addressOf = (n: number): string =>
  `be:ff:20:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`;

const quiet: Log = createLog('fatal', { write: () => undefined });

/** Everything of ours from `Light` down to the port, in simulated time. */
export function simulatedHouse(parts: HouseParts): SimulatedHouse {
  const { seed = 1, maxConnections = 7, idleMs = 60_000, habits, family = () => 'triones', fault } = parts;
  const time = new SimulatedTime();
  time.install();
  const random = randomOf(seed);
  const air = new SimulatedAir(time, random);
  const clock = time;
  const listening = new ListeningTime(clock);
  const links = new Links({ central: listening.watching(air), maxConnections, idleMs, clock, log: quiet });
  const pins = new Pins({ clock, log: quiet });
  const roads = Array.from({ length: parts.lamps }, (_, n): Road => {
    const address = addressOf(n);
    const at = air.add(address, family(n), habits, fault?.(n));
    const lamp = new Lamp({
      address,
      pinned: pinned(family(n)),
      families: FAMILIES,
      recognise,
      pins,
      links,
      clock,
      listening,
      onState: (report) => light.observe(report),
      onAvailability: () => undefined,
      log: quiet.child({ light: `lamp-${n}` }),
    });
    const light: Light = new Light({ id: `lamp-${n}`, port: lamp, clock });
    return { light, lamp, at };
  });
  const house: SimulatedHouse = {
    time,
    random,
    air,
    links,
    roads,
    apply: ({ light }, change, ms = 30_000) => light.apply(change, { by: 'owner', until: time.monotonic() + ms }),
    hearAll: () => {
      for (const { lamp, at } of roads) {
        if (at.fault === 'dead' || air.links.has(at.address)) continue;
        lamp.heard({ address: at.address, rssi: -60, connectable: true, serviceUuids: [] });
      }
    },
    close: async () => {
      await time.until(Promise.all([...roads.map(({ light }) => light.stop()), links.close()]));
      time.uninstall();
    },
  };
  return house;
}
