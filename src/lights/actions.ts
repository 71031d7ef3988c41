import type { LightChange } from './change.ts';
import { isBlack, rgbOf } from './color.ts';

/** What can be done to a lamp, as policies and tokens name it. */
export const ACTIONS = [
  'on',
  'off',
  'toggle',
  'brightness',
  'color',
  'color_temp',
  'white',
  'effect',
  'flash',
  'transition',
] as const;

export type Action = (typeof ACTIONS)[number];

/**
 * Every action that a change asks for; it is allowed only when each of them is.
 *
 * `state` asks for `on`, `off` or `toggle` (whoever has both `on` and `off` has `toggle`: see `withToggle`); every other member
 * asks for the action of its name, also where the lamp would not show it (beside OFF, say). Brightness 0, white 0 and black turn
 * a lamp off, so they ask for `off` too: nobody switches off by a detour. The reverse is no detour: a brightness, colour, kelvin,
 * white or effect is light, so those actions are the right to light the lamp, on its own. Who must not is given none of them.
 */
export function actionsOf(change: LightChange): readonly Action[] {
  const state = change.state?.toLowerCase();
  return ACTIONS.filter((action) => {
    if (action === 'off') return state === 'off' || isDark(change);
    if (action === 'on' || action === 'toggle') return state === action;
    return change[action] !== undefined;
  });
}

/** Does it turn the lamp off without saying so? `wish.ts` reads a change the same way. */
function isDark({ brightness, white, color }: LightChange): boolean {
  return brightness === 0 || white === 0 || (color !== undefined && isBlack(rgbOf(color)));
}
