import { ACTIONS, type Action, actionsOf } from '../lights/actions.ts';
import type { LightChange } from '../lights/change.ts';
import { isWithin, type Span, type WallClock } from './hours.ts';

/** Something that is allowed: each member narrows it; what is absent is not narrowed. */
export interface Rule {
  readonly lights: ReadonlySet<string> | undefined;
  readonly actions: Actions;
  readonly hours: readonly Span[] | undefined;
}

/** A set of actions, one bit each. */
export type Actions = number;

const BIT: ReadonlyMap<Action, number> = new Map(ACTIONS.map((action, index) => [action, 1 << index]));
export const ALL_ACTIONS: Actions = (1 << ACTIONS.length) - 1;

/** The set of these actions. */
export function setOf(actions: readonly Action[]): Actions {
  let set = 0;
  for (const action of actions) set |= BIT.get(action) ?? 0;
  return set;
}

const ON_AND_OFF = setOf(['on', 'off']);
const TOGGLE = setOf(['toggle']);

/** Whoever may turn a lamp on and off may toggle it. The reverse does not hold. */
const withToggle = (set: Actions): Actions => ((set & ON_AND_OFF) === ON_AND_OFF ? set | TOGGLE : set);

/** What a command asks of one lamp. */
export interface Need {
  readonly light: string;
  readonly actions: Actions;
}

export function needOf(light: string, change: LightChange): Need {
  return { light, actions: setOf(actionsOf(change)) };
}

/** What is missing, for the sentence that says so. */
export interface Missing {
  readonly light: string;
  readonly action: Action;
  /** It would be allowed at another hour, or if the clock could be trusted. */
  readonly hours: 'other' | 'unknown' | undefined;
}

/**
 * Do the rules together allow everything that is needed, and until when (wall-clock ms; Infinity: for `withinMs` at least)? Each
 * action at each lamp must be allowed by some rule; several rules add up. Without a clock that is to be believed (`clock`
 * undefined), and while nobody knows the time, rules with hours allow nothing.
 */
export function judge(
  rules: readonly Rule[],
  needs: readonly Need[],
  clock: WallClock | undefined,
  withinMs: number,
): number | Missing {
  let end = Number.POSITIVE_INFINITY;
  for (const need of needs) {
    const judged = judgeOne(rules, need, clock, withinMs);
    if (typeof judged !== 'number') return judged;
    end = Math.min(end, judged);
  }
  return end;
}

function judgeOne(
  rules: readonly Rule[],
  need: Need,
  clock: WallClock | undefined,
  withinMs: number,
): number | Missing {
  let allowed = 0;
  const timed: Rule[] = [];
  for (const rule of rules) {
    if (rule.lights !== undefined && !rule.lights.has(need.light)) continue;
    if (rule.hours === undefined) allowed |= rule.actions;
    else timed.push(rule);
  }
  if (isMet(need, allowed)) return Number.POSITIVE_INFINITY;
  const minute = timed.length === 0 ? undefined : clock?.minute;
  const allowedAt = (when: number): Actions => {
    let set = allowed;
    for (const rule of timed) if (isWithin(rule.hours ?? [], when)) set |= rule.actions;
    return set;
  };
  if (clock === undefined || minute === undefined || !isMet(need, allowedAt(minute))) {
    const now = minute === undefined ? allowed : allowedAt(minute);
    const ever = timed.reduce((set, { actions }) => set | actions, allowed);
    const { light } = need;
    const action =
      ACTIONS.find((name) => isAsked(need, name) && !isMet({ light, actions: setOf([name]) }, now)) ?? 'on';
    const later = isMet({ light, actions: setOf([action]) }, ever);
    return { light, action, hours: later ? (minute === undefined ? 'unknown' : 'other') : undefined };
  }
  return clock.endOf((when) => isMet(need, allowedAt(when)), timed, withinMs);
}

const isMet = ({ actions }: Need, allowed: Actions): boolean => (actions & ~withToggle(allowed)) === 0;
const isAsked = ({ actions }: Need, action: Action): boolean => (actions & (BIT.get(action) ?? 0)) !== 0;
