import type { LampInput } from './bluetooth/air/messages.ts';
import type { Heard } from './bluetooth/central.ts';
import { Lamp } from './bluetooth/lamp.ts';
import { Links } from './bluetooth/links.ts';
import type { RadioBackend } from './bluetooth/messages.ts';
import { RadioClient } from './bluetooth/radio-client.ts';
import { startVirtualAir } from './bluetooth/virtual-air.ts';
import type { HouseConfig } from './config/schema.ts';
import { PorchlightError } from './errors.ts';
import { FAMILIES, pinned, recognise } from './families/index.ts';
import { House } from './lights/house.ts';
import { Light } from './lights/light.ts';
import type { Clock } from './lights/port.ts';
import type { LightState } from './lights/state.ts';
import type { Log } from './log.ts';
import { runAll } from './task-group.ts';

export interface LampsParts {
  readonly config: Pick<HouseConfig, 'bluetooth' | 'lights' | 'groups' | 'scenes'>;
  /** The compiled programs of the radio and the air process. */
  readonly entries: { readonly radio: URL; readonly air: URL };
  readonly clock: Clock;
  readonly log: Log;
  readonly onAvailability: (light: string, online: boolean) => void;
}

/** One lamp as `lights` and the local API show it. */
export interface LampView {
  readonly id: string;
  readonly name: string;
  readonly room?: string;
  readonly address: string;
  readonly family?: string;
  readonly model?: string;
  readonly effects?: readonly string[];
  readonly available: boolean;
  /** dBm */
  readonly rssi?: number;
  readonly state: LightState;
}

/** Everything between the house and the air: the configured lamps, the house they are in, the links and the radio under them. */
export class Lamps {
  readonly house: House;
  readonly links: Links;
  readonly radio: RadioClient;
  readonly #parts: LampsParts;
  readonly #lamps = new Map<string, Lamp>();
  readonly #closeAir: () => Promise<void>;

  /** Rejects with `config_invalid` for a pinned model that does not exist. */
  static async open(parts: LampsParts): Promise<Lamps> {
    for (const { model } of parts.config.lights) if (model !== undefined) pinned(model);
    const { backend, close } = await openBackend(parts);
    return new Lamps(parts, backend, close);
  }

  private constructor(parts: LampsParts, backend: RadioBackend, closeAir: () => Promise<void>) {
    const { config, clock, log, entries } = parts;
    this.#parts = parts;
    this.#closeAir = closeAir;
    const events = {
      onAdapter: () => this.links.adapterChanged(),
      onHeard: (heard: Heard) => this.#lamps.get(heard.address)?.heard(heard),
    };
    this.radio = new RadioClient({ entry: entries.radio, backend, events, log, clock });
    this.links = new Links({
      central: this.radio,
      maxConnections: config.bluetooth.max_connections,
      idleMs: config.bluetooth.idle_disconnect,
      clock,
      log,
    });
    const lights = config.lights.map(({ id, address, model }) => {
      const lamp = new Lamp({
        address,
        ...(model !== undefined && { pinned: pinned(model) }),
        families: FAMILIES,
        recognise,
        links: this.links,
        onState: (report) => light.observe(report),
        onAvailability: (online) => parts.onAvailability(id, online),
        clock,
        log: log.child({ light: id }),
      });
      const light: Light = new Light({ id, port: lamp, clock });
      this.#lamps.set(address, lamp);
      return light;
    });
    this.house = new House({ lights, groups: config.groups, scenes: config.scenes, clock });
  }

  /** The task: the radio runs and listens until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    this.radio.watch([...this.#lamps.keys()]);
    await this.radio.scan(true);
    const watches = [...this.#lamps.values()].map((lamp) => (inner: AbortSignal) => lamp.run(inner));
    await runAll([(inner) => this.radio.run(inner), ...watches], signal);
  }

  /** Ends what is under way with `stopping` and lets the lamps go; the radio itself ends with `run`. */
  async close(): Promise<void> {
    await Promise.all([this.house.stop(), this.links.close()]);
  }

  /** After `run` has ended. */
  async closeAir(): Promise<void> {
    await this.#closeAir();
  }

  /** The lamps that a command to this target would reach; undefined: there is no such target. */
  membersOf(kind: 'lights' | 'scene', target: string): readonly string[] | undefined {
    if (kind === 'lights') return this.house.group(target)?.lights ?? (this.house.light(target) ? [target] : undefined);
    const scene = this.#parts.config.scenes.find(({ id }) => id === target);
    if (scene === undefined) return undefined;
    return Object.keys(scene.set).flatMap((id) => this.house.group(id)?.lights ?? [id]);
  }

  /** `access.unsigned` with each group written out as its lamps. */
  namedLights<W extends string>(
    unsigned: W | { readonly lights: readonly string[] },
  ): W | { readonly lights: readonly string[] } {
    if (typeof unsigned === 'string') return unsigned;
    return { lights: unsigned.lights.flatMap((id) => this.membersOf('lights', id) ?? []) };
  }

  view(): readonly LampView[] {
    return this.#parts.config.lights.map(({ id, name, room, address }) => {
      const lamp = this.#lamps.get(address);
      const light = this.house.light(id);
      if (lamp === undefined || light === undefined) throw new PorchlightError('internal');
      const { identity, rssi } = lamp;
      return {
        id,
        name,
        ...(room !== undefined && { room }),
        address,
        ...(identity !== undefined && { family: identity.family.id, model: identity.model.id }),
        ...(identity?.model.effects !== undefined && { effects: identity.model.effects }),
        available: lamp.online === true,
        ...(rssi !== undefined && { rssi }),
        state: light.state,
      };
    });
  }
}

/** Which controller the radio is to drive; for the backend `virtual`, one that is started here. */
async function openBackend({
  config,
  entries,
}: LampsParts): Promise<{ backend: RadioBackend; close: () => Promise<void> }> {
  const { backend, adapter, h4, virtual } = config.bluetooth;
  if (backend === 'virtual') {
    const air = await startVirtualAir(
      entries.air,
      virtualLamps(config.lights, virtual.lights),
      virtual.connection_interval,
    );
    return { backend: { kind: 'h4', address: air.address }, close: air.stop };
  }
  const none = (): Promise<void> => Promise.resolve();
  if (backend === 'h4' && h4 !== undefined) return { backend: { kind: 'h4', address: h4 }, close: none };
  return { backend: { kind: 'hci', adapter }, close: none };
}

/** What a virtual lamp of each family calls itself on the air; unpinned lamps take turns. */
const VIRTUAL_NAMES: Readonly<Record<string, string>> = {
  triones: 'Triones:F30200000152C',
  'elk-bledom': 'ELK-BLEDOM',
};

/** A virtual lamp at each configured address; where `count` asks for more, further ones that nobody configured. */
function virtualLamps(lights: HouseConfig['lights'], count: number): readonly LampInput[] {
  const configured = lights.map(({ address, model }, at): LampInput => {
    const identity = model === undefined ? undefined : pinned(model);
    const family = (identity?.family.id ?? Object.keys(VIRTUAL_NAMES)[at % 2]) === 'triones' ? 'triones' : 'elk-bledom';
    const name = family === 'elk-bledom' && identity !== undefined ? identity.model.id : VIRTUAL_NAMES[family];
    return { address, family, name: name ?? family };
  });
  const strangers = Array.from({ length: Math.max(0, count - lights.length) }, (_, at): LampInput => {
    const family = at % 2 === 0 ? 'triones' : 'elk-bledom';
    const address = `be:ff:20:ee:00:${(at + 1).toString(16).padStart(2, '0')}`;
    return { address, family, name: VIRTUAL_NAMES[family] ?? family };
  });
  return [...configured, ...strangers];
}
