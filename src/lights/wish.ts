import { kelvinWithin } from './capabilities.ts';
import type { LightChange, Rgb } from './change.ts';
import { isBlack, rgbOf } from './color.ts';
import type { Model } from './family.ts';
import { defined } from './members.ts';
import type { LightState } from './state.ts';

/** What the lamp shows besides how bright: one attribute, replaced as a whole, since a lamp is in one mode at a time. */
export interface Look {
  readonly color?: Rgb;
  /** Kelvin. */
  readonly color_temp?: number;
  readonly white?: true;
  readonly effect?: string;
}

/** A change made absolute, attribute by attribute. `power` is always decided: an attribute without `state` means ON. */
export interface Wish {
  readonly power: 'ON' | 'OFF';
  /** 1-255. */
  readonly brightness?: number;
  readonly look?: Look;
}

/**
 * What a change asks for. TOGGLE becomes the opposite of `power` (unknown becomes ON); brightness 0, white 0 and black mean OFF;
 * OFF wins over the attributes beside it.
 */
export function wishOf(change: LightChange, power: 'ON' | 'OFF' | null): Wish {
  const toggled = power === 'ON' ? 'OFF' : 'ON';
  const asked = change.state === 'TOGGLE' ? toggled : (change.state ?? 'ON');
  const color = change.color === undefined ? undefined : rgbOf(change.color);
  const dark = change.brightness === 0 || change.white === 0 || (color !== undefined && isBlack(color));
  if (asked === 'OFF' || dark) return { power: 'OFF' };

  const scale = (change.brightness ?? 255) / 255;
  const brightness = change.white === undefined ? change.brightness : Math.max(1, Math.round(change.white * scale));
  const look: Look = {
    ...defined('color', color),
    ...defined('color_temp', change.color_temp),
    ...defined('white', change.white === undefined ? undefined : (true as const)),
    ...defined('effect', change.effect),
  };
  const shows = Object.keys(look).length > 0;
  return { power: 'ON', ...defined('brightness', brightness), ...defined('look', shows ? look : undefined) };
}

/** The change that a family encodes. White is told at full value: its brightness stands beside it. */
export function changeFor({ power, brightness, look }: Wish): LightChange {
  if (power === 'OFF') return { state: 'OFF' };
  return {
    state: 'ON',
    ...defined('brightness', brightness),
    ...defined('color', look?.color),
    ...defined('color_temp', look?.color_temp),
    ...defined('white', look?.white === undefined ? undefined : 255),
    ...defined('effect', look?.effect),
  };
}

/** What will be known of the lamp once `wish` is written, in the words of the command. OFF keeps what ON will show again. */
export function stateAfter(known: LightState, wish: Wish, model: Model): LightState {
  if (wish.power === 'OFF') return { ...known, state: 'OFF', confidence: 'assumed' };
  const shown = wish.look === undefined ? known : withLook(known, wish.look, model);
  // A brightness alone leaves a running effect only on lamps that dim effects; where it is scaled, a colour is written.
  const { effect, ...rest } = shown;
  const stops = wish.look === undefined && wish.brightness !== undefined && model.brightness === 'scaled';
  const base = stops && effect !== undefined ? rest : shown;
  const brightness = wish.brightness ?? base.brightness ?? scaledFromFull(wish, model);
  return {
    ...base,
    state: 'ON',
    confidence: 'assumed',
    ...defined('brightness', brightness),
    ...scaledColor(base, wish, model),
  };
}

/** Without a known brightness, a lamp that scales shows its colour in full. */
function scaledFromFull(wish: Wish, model: Model): number | undefined {
  return model.brightness === 'scaled' && wish.look?.color !== undefined ? 255 : undefined;
}

/** A scaled brightness without any known colour is written as white light. */
function scaledColor(base: LightState, wish: Wish, model: Model): Pick<LightState, 'color' | 'color_mode'> {
  const unknown = base.color === undefined && base.color_mode !== 'white' && base.effect === undefined;
  if (model.brightness !== 'scaled' || wish.brightness === undefined || !unknown) {
    return base.color !== undefined && base.color_mode === undefined && base.effect === undefined
      ? { color_mode: 'rgb' }
      : {};
  }
  return { color: { r: 255, g: 255, b: 255 }, color_mode: 'rgb' };
}

function withLook(known: LightState, look: Look, model: Model): LightState {
  const { color: _color, color_temp: _temp, color_mode: _mode, effect: _effect, ...rest } = known;
  if (look.color !== undefined)
    return { ...rest, color_mode: 'rgb', color: look.color, ...defined('effect', look.effect) };
  if (look.color_temp !== undefined) {
    const kelvin = kelvinWithin(look.color_temp, model);
    return { ...rest, color_mode: 'color_temp', color_temp: kelvin, ...defined('effect', look.effect) };
  }
  if (look.white !== undefined) return { ...rest, color_mode: 'white', ...defined('effect', look.effect) };
  const { effect: _old, ...kept } = known;
  return { ...kept, ...defined('effect', look.effect) };
}
