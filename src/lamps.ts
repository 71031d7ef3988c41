import { openBackend } from './backend.ts';
import type { CentralEvents, Heard } from './bluetooth/central.ts';
import { Ladder } from './bluetooth/ladder.ts';
import { Lamp } from './bluetooth/lamp.ts';
import { Links } from './bluetooth/links.ts';
import type { RadioBackend } from './bluetooth/messages.ts';
import { Pins } from './bluetooth/pins.ts';
import { ListeningTime, watchPresence } from './bluetooth/presence.ts';
import { RadioClient } from './bluetooth/radio-client.ts';
import { explaining } from './bluetooth/stuck.ts';
import type { HouseConfig } from './config/schema.ts';
import { type ErrorCode, PorchlightError } from './errors.ts';
import { FAMILIES, pinned, recognise } from './families/index.ts';
import { describeHeard, type HeardView } from './heard.ts';
import type { LightChange } from './lights/change.ts';
import type { Command } from './lights/command.ts';
import { House } from './lights/house.ts';
import { Light } from './lights/light.ts';
import type { Clock } from './lights/port.ts';
import type { LightState } from './lights/state.ts';
import type { Log } from './log.ts';
import type { StateFile } from './storage/state-directory.ts';
import { runAll } from './task-group.ts';

export interface LampsParts {
  readonly config: Pick<HouseConfig, 'bluetooth' | 'lights' | 'groups' | 'scenes'>;
  /** The compiled programs of the radio and the air process. */
  readonly entries: { readonly radio: URL; readonly air: URL };
  readonly clock: Clock;
  readonly log: Log;
  /** Where it is kept which lamp each address is; absent: in memory only. */
  readonly pins?: StateFile;
  readonly onAvailability: (light: string, online: boolean) => void;
  /** The adapter's state or health is another. */
  readonly onRadio?: () => void;
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
  /** dBm, of its last advert. */
  readonly rssi?: number;
  /** Its last advert or link; absent: not since the start. */
  readonly seen_at?: string;
  /** Why it cannot be commanded, and what to do. */
  readonly problem?: { readonly code: ErrorCode; readonly message: string; readonly hint: string };
  readonly state: LightState;
}

/** Everything between the house and the air: the configured lamps, the house they are in, the links and the radio under them. */
export class Lamps {
  readonly house: House;
  readonly links: Links;
  readonly radio: RadioClient;
  readonly ladder: Ladder;
  readonly #parts: LampsParts;
  readonly #lamps = new Map<string, Lamp>();
  readonly #listeners = new Set<(heard: Heard) => void>();
  readonly #pins: Pins;
  readonly #closeAir: () => Promise<void>;

  /** Rejects with `config_invalid` for a pinned model that does not exist. */
  static async open(parts: LampsParts): Promise<Lamps> {
    for (const { model } of parts.config.lights) if (model !== undefined) pinned(model);
    const { config, clock, log, pins: file } = parts;
    // Lamps made of software are made anew at each start, of whatever kind the configuration then says.
    const isKept = file !== undefined && config.bluetooth.backend !== 'virtual';
    const pins = new Pins({ ...(isKept && { file }), clock, log });
    await pins.load();
    const { backend, close } = await openBackend(parts);
    return new Lamps(parts, pins, backend, close);
  }

  private constructor(parts: LampsParts, pins: Pins, backend: RadioBackend, closeAir: () => Promise<void>) {
    const { config, clock, log, entries } = parts;
    this.#parts = parts;
    this.#pins = pins;
    this.#closeAir = closeAir;
    const events: CentralEvents = {
      onAdapter: (state) => {
        this.ladder.adapter(state);
        this.links.adapterChanged();
        parts.onRadio?.();
      },
      onHeard: (heard) => {
        this.ladder.heard();
        this.#heard(heard);
      },
      onPulse: (pulse) => this.ladder.pulse(pulse),
      onSign: (sign) => this.ladder.sign(sign),
      onEnded: (end) => this.ladder.ended(end),
    };
    this.radio = new RadioClient({ entry: entries.radio, backend, events, log, clock });
    this.ladder = new Ladder({
      clock,
      log,
      shouldHear: () => config.lights.some(({ address }) => !this.links.isLinked(address)),
      busy: () => this.links.status().waiting > 0 || this.links.status().links.some(({ busy }) => busy),
      dropLinks: (reason) => this.links.releaseAll(reason),
      restartRadio: (reason) => this.radio.restart(reason),
      ...(parts.onRadio !== undefined && { onChange: parts.onRadio }),
    });
    const listening = new ListeningTime(clock);
    this.links = new Links({
      central: listening.watching(this.radio),
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
        pins,
        links: this.links,
        listening,
        onState: (report) => light.observe(report),
        onAvailability: (online) => parts.onAvailability(id, online),
        clock,
        log: log.child({ light: id }),
      });
      const light: Light = new Light({ id, port: explaining(lamp, () => this.ladder.problem), clock });
      this.#lamps.set(address, lamp);
      return light;
    });
    this.house = new House({ lights, groups: config.groups, scenes: config.scenes, clock });
  }

  /** The task: the radio runs and listens until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    this.#watch();
    await this.radio.scan(true);
    await runAll(
      [(inner) => this.radio.run(inner), (inner) => watchPresence([...this.#lamps.values()], inner)],
      signal,
    );
  }

  /** Ends what is under way with `stopping` and lets the lamps go; the radio itself ends with `run`. */
  async close(): Promise<void> {
    await Promise.all([this.house.stop(), this.links.close()]);
    await this.#pins.settle();
  }

  /** After `run` has ended. */
  async closeAir(): Promise<void> {
    await this.#closeAir();
  }

  /**
   * Tells `onHeard`, which must not throw, of everyone in the air from now on; the function that it returns ends that. While
   * anybody listens the radio listens to everyone; the configured lamps go on being served.
   */
  scan(onHeard: (heard: Heard) => void): () => void {
    const listener = (heard: Heard): void => onHeard(heard);
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.#watch();
    return () => {
      if (this.#listeners.delete(listener) && this.#listeners.size === 0) this.#watch();
    };
  }

  /** An advertisement for people: who it is, whether it can be driven, which of our lamps it is. */
  describe(heard: Heard): HeardView {
    const ours = this.#parts.config.lights.find(({ address }) => address === heard.address);
    const identity = this.#lamps.get(heard.address)?.identity;
    return describeHeard(heard, ours === undefined ? undefined : { id: ours.id, identity });
  }

  /** Drops what is known of lamps that are not configured (any more). */
  forgetOthers(): void {
    this.#pins.keepOnly(new Set(this.#lamps.keys()));
  }

  /**
   * Forgets, durably, who was found at this lamp's address, so that its next connection decides anew. Resolves with whether
   * anything was known; undefined: there is no such lamp. Rejects with `state_unusable`.
   */
  async forget(id: string): Promise<boolean | undefined> {
    const address = this.#parts.config.lights.find((light) => light.id === id)?.address;
    return address === undefined ? undefined : this.#lamps.get(address)?.forget();
  }

  /** The lamps that a command to this target would reach; undefined: there is no such target. */
  membersOf(kind: 'lights' | 'scene', target: string): readonly string[] | undefined {
    if (kind === 'lights') return this.house.group(target)?.lights ?? (this.house.light(target) ? [target] : undefined);
    const scene = this.#parts.config.scenes.find(({ id }) => id === target);
    if (scene === undefined) return undefined;
    return Object.keys(scene.set).flatMap((id) => this.house.group(id)?.lights ?? [id]);
  }

  /** What a command asks of each lamp; a scene may name a lamp twice, by itself and in a group. Undefined: there is no such target. */
  changesOf({
    kind,
    target,
    change,
  }: Pick<Command, 'kind' | 'target' | 'change'>): readonly { light: string; change: LightChange }[] | undefined {
    if (kind === 'lights') return this.membersOf(kind, target)?.map((light) => ({ light, change }));
    const scene = this.#parts.config.scenes.find(({ id }) => id === target);
    if (scene === undefined) return undefined;
    return Object.entries(scene.set).flatMap(([id, part]) =>
      (this.membersOf('lights', id) ?? []).map((light) => ({ light, change: part })),
    );
  }

  /** `access.unsigned` with each group written out as its lamps. */
  namedLights<W extends string>(
    unsigned: W | { readonly lights: readonly string[] },
  ): W | { readonly lights: readonly string[] } {
    if (typeof unsigned === 'string') return unsigned;
    return { lights: unsigned.lights.flatMap((id) => this.membersOf('lights', id) ?? []) };
  }

  #heard(heard: Heard): void {
    this.#lamps.get(heard.address)?.heard(heard);
    for (const listener of this.#listeners) listener(heard);
  }

  /** Adverts of others cost a message each, so they are asked for only while somebody wants them. */
  #watch(): void {
    this.radio.watch(this.#listeners.size > 0 ? undefined : [...this.#lamps.keys()]);
  }

  view(): readonly LampView[] {
    const { clock } = this.#parts;
    const wall = clock.wall() - clock.monotonic();
    return this.#parts.config.lights.map(({ id, name, room, address }) => {
      const lamp = this.#lamps.get(address);
      const light = this.house.light(id);
      if (lamp === undefined || light === undefined) throw new PorchlightError('internal');
      const { identity, rssi, seenAt, problem } = lamp;
      return {
        id,
        name,
        ...(room !== undefined && { room }),
        address,
        ...(identity !== undefined && { family: identity.family.id, model: identity.model.id }),
        ...(identity?.model.effects !== undefined && { effects: identity.model.effects }),
        available: lamp.online === true,
        ...(rssi !== undefined && { rssi }),
        ...(seenAt !== undefined && { seen_at: new Date(Math.round(wall + seenAt)).toISOString() }),
        ...(problem !== undefined && {
          problem: { code: problem.code, message: problem.message, hint: problem.hint },
        }),
        state: light.state,
      };
    });
  }
}
