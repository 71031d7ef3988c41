import { PorchlightError } from '../errors.ts';
import { type Attribute, agrees, reconciled } from './agree.ts';
import type { Model } from './family.ts';
import { type Batch, type LightOutcome, type Order, ownedIn } from './orders.ts';
import { outcomeOf } from './outcome.ts';
import type { LightState } from './state.ts';

/** What was written, and what the lamp has said since. */
export interface Awaited {
  readonly batch: Batch;
  /** The lamp as it is if it obeyed. */
  readonly written: LightState;
  readonly model: Model;
  seen?: Partial<LightState>;
}

/** Adds a report to those before it. A new look replaces the old one as a whole; an unknown power says nothing. */
export function joined(seen: Partial<LightState>, report: Partial<LightState>): Partial<LightState> {
  const { state, ...rest } = report;
  const said = state == null ? rest : report;
  if (report.color_mode === undefined && report.effect === undefined) return { ...seen, ...said };
  const { color: _color, color_temp: _temp, color_mode: _mode, effect: _effect, ...kept } = seen;
  return { ...kept, ...said };
}

/** True when the lamp has confirmed everything that was written for anyone. */
export function allAgree({ batch, written, seen, model }: Awaited): boolean {
  if (seen === undefined) return false;
  const attributes = batch.orders.flatMap((order) => ownedIn(batch, order));
  return attributes.every((attribute) => agrees(attribute, written, seen, model) === true);
}

/** What the lamp's words mean for one order: all so, one not so, or (undefined) not all said. */
export function verdictOn(order: Order, { batch, written, seen, model }: Awaited): boolean | undefined {
  if (seen === undefined) return undefined;
  const owned: readonly Attribute[] = ownedIn(batch, order);
  const answers = owned.map((attribute) => agrees(attribute, written, seen, model));
  if (answers.includes(false)) return false;
  return answers.includes(undefined) ? undefined : true;
}

/** What is known, and what each order gets, once nothing more is waited for. */
export interface Conclusion {
  readonly state: LightState;
  /** Whose command changed the state; undefined where the lamp went its own way. */
  readonly by: string | undefined;
  readonly outcomes: readonly { readonly order: Order; readonly outcome: LightOutcome }[];
}

/**
 * Ends the wait. `hurried`: something newer is to be written, so the lamp's last word on this will never be heard, and what it
 * has not confirmed by now is assumed.
 */
export function conclude(awaited: Awaited, known: LightState, hurried: boolean): Conclusion {
  const { batch, written, seen, model } = awaited;
  const by = batch.orders.at(-1)?.by;
  const verdicts = batch.orders.map((order) => ({ order, verdict: verdictOn(order, awaited) }));
  const outcomes = verdicts.map(({ order, verdict }) => ({ order, outcome: outcomeFor(verdict, hurried) }));
  const refused = !hurried && verdicts.some(({ verdict }) => verdict === false);
  if (refused) return { state: reconciled(known, seen ?? {}, model), by: undefined, outcomes };
  if (allAgree(awaited)) return { state: reconciled(written, seen ?? {}, model), by, outcomes };
  const state = hurried || seen === undefined ? written : reconciled(written, seen, model);
  return { state: { ...state, confidence: 'assumed' }, by, outcomes };
}

function outcomeFor(verdict: boolean | undefined, hurried: boolean): LightOutcome {
  if (verdict === true) return { outcome: 'confirmed' };
  return verdict === false && !hurried ? outcomeOf(new PorchlightError('refused_by_light')) : { outcome: 'assumed' };
}
