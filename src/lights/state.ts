import { colorOf, type Rgb } from './change.ts';
import { rgbOf } from './color.ts';
import { bad, defined, numberOf, objectOf, own, refuseUnknown, textOf, wholeOf, wordOf } from './members.ts';

/** What is known of a lamp. `state` null: not known; nothing is ever said to be off because we do not know. */
export interface LightState {
  readonly state: 'ON' | 'OFF' | null;
  readonly brightness?: number;
  readonly color_mode?: 'onoff' | 'brightness' | 'rgb' | 'color_temp' | 'white';
  readonly color?: Rgb;
  /** Kelvin. */
  readonly color_temp?: number;
  readonly effect?: string;
  /** `confirmed`: the lamp's own words. `assumed`: written, unanswered. `unknown`: neither. */
  readonly confidence: 'confirmed' | 'assumed' | 'unknown';
  /** ISO 8601. */
  readonly changed_at?: string;
  /** Who changed it last, where it was us. */
  readonly by?: string;
}

/** A lamp of which nothing is known yet. */
export const UNKNOWN_STATE: LightState = { state: null, confidence: 'unknown' };

const MEMBERS = [
  'state',
  'brightness',
  'color_mode',
  'color',
  'color_temp',
  'effect',
  'confidence',
  'changed_at',
  'by',
] as const;
const STATES = ['ON', 'OFF'] as const;
const COLOR_MODES = ['onoff', 'brightness', 'rgb', 'color_temp', 'white'] as const;
const CONFIDENCES = ['confirmed', 'assumed', 'unknown'] as const;

/** Parses a LightState, as this gateway publishes it, strictly; `bad_command` names the member at fault. */
export function parseState(value: unknown): LightState {
  const members = objectOf(value, 'The state', '{"state":"ON","brightness":128}');
  refuseUnknown(members, MEMBERS, 'The state: ');
  const given = own(members, 'state') === null ? null : wordOf(members, 'state', STATES);
  if (given === undefined) throw bad('state: "ON", "OFF" or null expected');
  const color = colorOf(own(members, 'color'));
  const color_mode = wordOf(members, 'color_mode', COLOR_MODES) ?? (color === undefined ? undefined : 'rgb');
  return {
    state: given,
    ...defined('brightness', wholeOf(members, 'brightness', 0, 255)),
    ...defined('color_mode', color_mode),
    ...defined('color', color === undefined ? undefined : rgbOf(color)),
    ...defined('color_temp', numberOf(members, 'color_temp', 1000, 20_000)),
    ...defined('effect', textOf(members, 'effect', 64)),
    confidence: wordOf(members, 'confidence', CONFIDENCES) ?? (given === null ? 'unknown' : 'assumed'),
    ...defined('changed_at', textOf(members, 'changed_at', 40)),
    ...defined('by', textOf(members, 'by', 255)),
  };
}

/**
 * The state that follows `known` once `next` is so: the same object where nothing changed; else with a new `changed_at` (`wall`,
 * milliseconds since 1970) and `by`, if one of its values changed and not only the confidence.
 */
export function successor(known: LightState, next: LightState, by: string | undefined, wall: number): LightState {
  if (sameValues(known, next)) {
    return next.confidence === known.confidence ? known : { ...known, confidence: next.confidence };
  }
  const { changed_at: _at, by: _by, ...values } = next;
  return { ...values, changed_at: new Date(wall).toISOString(), ...defined('by', by) };
}

/** Everything but how sure it is, when it changed, and by whom. Called for each word of each lamp, so it builds nothing. */
function sameValues(a: LightState, b: LightState): boolean {
  return (
    a.state === b.state &&
    a.brightness === b.brightness &&
    a.color_mode === b.color_mode &&
    a.color?.r === b.color?.r &&
    a.color?.g === b.color?.g &&
    a.color?.b === b.color?.b &&
    a.color_temp === b.color_temp &&
    a.effect === b.effect
  );
}
