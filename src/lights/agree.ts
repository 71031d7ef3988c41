import type { Rgb } from './change.ts';
import { dimmed } from './color.ts';
import type { Model } from './family.ts';
import type { LightState } from './state.ts';

/** The attributes of a command, each with its own owner and its own answer. */
export type Attribute = 'power' | 'brightness' | 'look';

/** How far a kelvin read back may lie from the one written: lamps store it in steps of one percent of their range. */
const KELVIN_ROUNDING = 100;

/**
 * Does what the lamp says of one attribute agree with what was written, within the rounding of its model? undefined: it does
 * not say.
 */
export function agrees(
  attribute: Attribute,
  written: LightState,
  seen: Partial<LightState>,
  model: Model,
): boolean | undefined {
  if (attribute === 'power') return seen.state == null ? undefined : seen.state === written.state;
  if (written.state === 'OFF') return undefined;
  return attribute === 'brightness' ? brightnessAgrees(written, seen, model) : lookAgrees(written, seen, model);
}

function brightnessAgrees(written: LightState, seen: Partial<LightState>, model: Model): boolean | undefined {
  const { brightness } = written;
  if (seen.brightness === undefined || brightness === undefined) return undefined;
  if (model.brightness === 'native') return near(brightness, seen.brightness, model);
  // Scaled: what a lamp can tell is its strongest channel.
  const { color, color_mode } = written;
  const strongest = color === undefined || color_mode === 'white' ? brightness : strength(dimmed(color, brightness));
  return near(strongest, seen.brightness, model);
}

function lookAgrees(written: LightState, seen: Partial<LightState>, model: Model): boolean | undefined {
  if (written.effect !== undefined) {
    if (seen.effect !== undefined) return seen.effect === written.effect;
    return seen.color_mode === undefined ? undefined : false;
  }
  if (seen.effect !== undefined) return false;
  if (seen.color_mode === undefined || written.color_mode === undefined) return undefined;
  if (seen.color_mode !== written.color_mode) return false;
  if (written.color_mode === 'color_temp') {
    if (seen.color_temp === undefined || written.color_temp === undefined) return undefined;
    return Math.abs(seen.color_temp - written.color_temp) <= KELVIN_ROUNDING;
  }
  if (written.color_mode !== 'rgb') return true;
  return colorsAgree(written, seen, model);
}

function colorsAgree(written: LightState, seen: Partial<LightState>, model: Model): boolean | undefined {
  if (seen.color === undefined || written.color === undefined) return undefined;
  const scaled = model.brightness === 'scaled';
  const wanted = scaled ? dimmed(written.color, written.brightness ?? 255) : written.color;
  const found = scaled ? dimmed(seen.color, seen.brightness ?? 255) : seen.color;
  return near(wanted.r, found.r, model) && near(wanted.g, found.g, model) && near(wanted.b, found.b, model);
}

function near(wanted: number, found: number, model: Model): boolean {
  return Math.abs(wanted - found) <= (model.rounding ?? 2);
}

function strength({ r, g, b }: Rgb): number {
  return Math.max(r, g, b);
}

/**
 * What is known after the lamp spoke. Where its words agree with `base` within rounding, the words of the command stay, so a
 * colour does not drift through being read back.
 */
export function reconciled(base: LightState, seen: Partial<LightState>, model: Model | undefined): LightState {
  const { state, brightness, color, color_temp, color_mode, effect } = seen;
  // An unknown power byte takes back what we thought we knew.
  const power = state === undefined ? base.state : state;
  const spoken: LightState = { ...base, state: power, confidence: power === null ? 'unknown' : 'confirmed' };
  if (state === null) return spoken;
  if (model !== undefined && sameLook(base, seen, model)) return spoken;

  // A new mode replaces the old look; an effect runs over the colour that it will return to.
  const { color: _color, color_temp: _temp, color_mode: _mode, effect: _effect, ...rest } = spoken;
  return {
    ...rest,
    ...(color_mode === undefined ? lookOf(spoken) : {}),
    ...(brightness === undefined ? {} : { brightness }),
    ...lookOf({ color, color_temp, color_mode, effect }),
  };
}

type LookOfState = Pick<LightState, 'color' | 'color_temp' | 'color_mode' | 'effect'>;
type Loose<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** The members that tell the look, absent ones left out. */
function lookOf({ color, color_temp, color_mode, effect }: Loose<LookOfState>): LookOfState {
  return {
    ...(color === undefined ? {} : { color }),
    ...(color_temp === undefined ? {} : { color_temp }),
    ...(color_mode === undefined ? {} : { color_mode }),
    ...(effect === undefined ? {} : { effect }),
  };
}

/** True when nothing that the lamp says of look and brightness contradicts `base`, and it adds nothing that is missing there. */
function sameLook(base: LightState, seen: Partial<LightState>, model: Model): boolean {
  const on = { ...base, state: 'ON' as const };
  const saysLook = seen.color_mode !== undefined || seen.effect !== undefined;
  if (saysLook && agrees('look', on, seen, model) !== true) return false;
  return seen.brightness === undefined || agrees('brightness', on, seen, model) === true;
}
