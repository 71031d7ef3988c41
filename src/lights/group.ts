import { defined } from './members.ts';
import type { Outcome } from './outcome.ts';
import { type LightState, UNKNOWN_STATE } from './state.ts';

/**
 * A group's state, from its members': ON when any is on, OFF when all are known to be off, else null. Brightness is the mean of
 * those that are on; colour, kelvin and effect are told where all of those agree. It is as sure as its least sure member.
 */
export function groupState(members: readonly LightState[]): LightState {
  const on = members.filter((member) => member.state === 'ON');
  const off = members.length > 0 && members.every((member) => member.state === 'OFF');
  if (on.length === 0 && !off) return UNKNOWN_STATE;
  const latest = latestChange(members);
  return {
    state: off ? 'OFF' : 'ON',
    ...meanBrightness(on),
    ...defined(
      'color_mode',
      shared(on, ({ color_mode }) => color_mode),
    ),
    ...defined(
      'color',
      shared(on, ({ color }) => color),
    ),
    ...defined(
      'color_temp',
      shared(on, ({ color_temp }) => color_temp),
    ),
    ...defined(
      'effect',
      shared(on, ({ effect }) => effect),
    ),
    confidence: members.every((member) => member.confidence === 'confirmed') ? 'confirmed' : 'assumed',
    ...defined('changed_at', latest?.changed_at),
    ...defined('by', latest?.by),
  };
}

function meanBrightness(on: readonly LightState[]): Pick<LightState, 'brightness'> {
  const known = on.flatMap(({ brightness }) => (brightness === undefined ? [] : [brightness]));
  if (known.length === 0) return {};
  return { brightness: Math.round(known.reduce((sum, value) => sum + value, 0) / known.length) };
}

/** A value that all lamps that are on have alike. */
function shared<V>(on: readonly LightState[], tell: (state: LightState) => V | undefined): V | undefined {
  const [first, ...others] = on.map(tell);
  const text = JSON.stringify(first);
  return others.every((other) => JSON.stringify(other) === text) ? first : undefined;
}

function latestChange(members: readonly LightState[]): LightState | undefined {
  const changed = members.filter((member) => member.changed_at !== undefined);
  return changed.sort((a, b) => ((a.changed_at ?? '') < (b.changed_at ?? '') ? 1 : -1))[0];
}

/** The members of an Outcome that several outcomes together decide. */
export type Overall = Pick<Outcome, 'outcome' | 'code' | 'message' | 'hint'>;

/**
 * One outcome for several lamps: the worst. `failed` (with the first failure's code), else `denied`, else `expired`, else
 * `assumed`, else `confirmed`. A member that a newer command took over does not count, unless all were: then `superseded`.
 */
export function overall(members: readonly Outcome[]): Overall {
  for (const outcome of ['failed', 'denied', 'expired', 'assumed', 'confirmed'] as const) {
    const found = members.find((member) => member.outcome === outcome);
    if (found === undefined) continue;
    const { code, message, hint, target } = found;
    if (code === undefined) return { outcome };
    return {
      outcome,
      code,
      ...(message === undefined ? {} : { message: members.length > 1 ? `${target}: ${message}` : message }),
      ...(hint === undefined ? {} : { hint }),
    };
  }
  // No members at all: everything that was asked for is so.
  return { outcome: members.length === 0 ? 'confirmed' : 'superseded' };
}
