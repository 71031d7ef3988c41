import { PorchlightError } from '../errors.ts';
import type { LightChange } from './change.ts';
import type { Command } from './command.ts';
import { groupState, overall } from './group.ts';
import type { Light } from './light.ts';
import { quoted } from './members.ts';
import type { Asked } from './orders.ts';
import { type Outcome, outcomeOf } from './outcome.ts';
import type { Clock } from './port.ts';
import { likely } from './spelling.ts';
import type { LightState } from './state.ts';

/** Several lamps under one name. */
export interface Group {
  readonly id: string;
  /** Ids of lamps. */
  readonly lights: readonly string[];
}

/** Changes that belong together: lamps and groups by id. */
export interface Scene {
  readonly id: string;
  readonly set: Readonly<Record<string, LightChange>>;
}

/** What a target's outcome says, without what only the sender knows (`id`) and what only the asker measures (`took_ms`). */
export type HouseOutcome = Omit<Outcome, 'id' | 'took_ms'>;

/** Told of every new state of a lamp or a group. It must not throw. */
export type StateListener = (target: string, state: LightState) => void;

/** The lamps, groups and scenes of the configuration, by name. */
export class House {
  readonly #lights: ReadonlyMap<string, Light>;
  readonly #groups: ReadonlyMap<string, Group>;
  readonly #scenes: ReadonlyMap<string, Scene>;
  readonly #clock: Clock;

  constructor(parts: {
    readonly lights: readonly Light[];
    readonly groups?: readonly Group[];
    readonly scenes?: readonly Scene[];
    readonly clock: Clock;
  }) {
    this.#lights = new Map(parts.lights.map((light) => [light.id, light]));
    this.#groups = new Map((parts.groups ?? []).map((group) => [group.id, group]));
    this.#scenes = new Map((parts.scenes ?? []).map((scene) => [scene.id, scene]));
    this.#clock = parts.clock;
  }

  /** Every name, in the order of the configuration. */
  ids(): {
    readonly lights: readonly string[];
    readonly groups: readonly string[];
    readonly scenes: readonly string[];
  } {
    return { lights: [...this.#lights.keys()], groups: [...this.#groups.keys()], scenes: [...this.#scenes.keys()] };
  }

  light(id: string): Light | undefined {
    return this.#lights.get(id);
  }

  group(id: string): Group | undefined {
    return this.#groups.get(id);
  }

  /** The state of a lamp or a group. */
  state(target: string): LightState | undefined {
    const group = this.#groups.get(target);
    return group === undefined ? this.#lights.get(target)?.state : groupState(this.#members(group).map((l) => l.state));
  }

  /** The states of all lamps, then of all groups. */
  states(): ReadonlyMap<string, LightState> {
    const targets = [...this.#lights.keys(), ...this.#groups.keys()];
    return new Map(
      targets.flatMap((target) => {
        const state = this.state(target);
        return state === undefined ? [] : [[target, state] as const];
      }),
    );
  }

  /** Tells `listener` of every change from now on, a lamp first and then its groups. The returned function ends that. */
  watch(listener: StateListener): () => void {
    const told = new Map([...this.#groups.values()].map((group) => [group.id, this.#groupText(group)]));
    const ends = [...this.#lights.values()].map((light) =>
      light.watch((state) => {
        listener(light.id, state);
        for (const group of this.#groups.values()) {
          if (!group.lights.includes(light.id)) continue;
          const text = this.#groupText(group);
          if (text === told.get(group.id)) continue;
          told.set(group.id, text);
          listener(group.id, groupState(this.#members(group).map((member) => member.state)));
        }
      }),
    );
    return () => {
      for (const end of ends) end();
    };
  }

  /** One command to a lamp, a group or a scene: one outcome, with its members' where there are several. Never rejects. */
  async apply(kind: Command['kind'], target: string, change: LightChange, asked: Asked): Promise<HouseOutcome> {
    const outcome = await (kind === 'scene' ? this.#scene(target, asked) : this.#target(target, change, asked));
    return { ...outcome, target, by: asked.by };
  }

  /** Stops every lamp: what is under way ends as `stopping`. */
  async stop(): Promise<void> {
    await Promise.all([...this.#lights.values()].map((light) => light.stop()));
  }

  async #target(target: string, change: LightChange, asked: Asked): Promise<HouseOutcome> {
    const light = this.#lights.get(target);
    if (light !== undefined) return { target, ...(await light.apply(change, asked)) };
    const group = this.#groups.get(target);
    if (group === undefined)
      return this.#unknown('lamp or group', target, [...this.#lights.keys(), ...this.#groups.keys()]);

    const absolute = this.#absolute(change, group);
    return this.#together(
      target,
      this.#members(group).map((member) => [member.id, absolute] as const),
      asked,
    );
  }

  async #scene(id: string, asked: Asked): Promise<HouseOutcome> {
    const scene = this.#scenes.get(id);
    if (scene === undefined) return this.#unknown('scene', id, [...this.#scenes.keys()]);
    // Groups first: what the scene says of a single lamp is the more exact, and the newest wins.
    const entries = Object.entries(scene.set);
    const groupsFirst = [
      ...entries.filter(([target]) => this.#groups.has(target)),
      ...entries.filter(([target]) => !this.#groups.has(target)),
    ];
    return this.#together(id, groupsFirst, asked);
  }

  /** Starts everything at once, so that the lamps change together. */
  async #together(
    target: string,
    changes: readonly (readonly [string, LightChange])[],
    asked: Asked,
  ): Promise<HouseOutcome> {
    const start = this.#clock.monotonic();
    const members = await Promise.all(
      changes.map(async ([member, change]) => {
        const outcome = await this.#target(member, change, asked);
        return { ...outcome, by: asked.by, took_ms: Math.max(0, Math.round(this.#clock.monotonic() - start)) };
      }),
    );
    return { target, ...overall(members), members };
  }

  /** TOGGLE of a group turns all of it one way: off when any lamp of it is on, else on. */
  #absolute(change: LightChange, group: Group): LightChange {
    if (change.state !== 'TOGGLE') return change;
    const anyOn = this.#members(group).some((member) => member.power === 'ON');
    return { ...change, state: anyOn ? 'OFF' : 'ON' };
  }

  #members(group: Group): readonly Light[] {
    return group.lights.flatMap((id) => this.#lights.get(id) ?? []);
  }

  #groupText(group: Group): string {
    return JSON.stringify(groupState(this.#members(group).map((member) => member.state)));
  }

  #unknown(what: string, target: string, names: readonly string[]): HouseOutcome {
    const meant = likely(target, names);
    const message = `No ${what} is called ${quoted(target)}${meant === undefined ? '.' : `; did you mean ${meant}?`}`;
    return { target, ...outcomeOf(new PorchlightError('unknown_target', message)) };
  }
}
