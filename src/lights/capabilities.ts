import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { LightChange } from './change.ts';
import type { Model } from './family.ts';
import { quoted } from './members.ts';

/**
 * Throws `unsupported`, naming the field, when a change asks for what the model lacks. A kelvin outside of the model's range
 * is not refused: the nearest end is taken (`kelvinWithin`). `transition` is accepted everywhere: a lamp that cannot fade jumps.
 * `flash` is refused everywhere: no family of this version knows how.
 */
export function refuseLacking(change: LightChange, model: Model): void {
  if (model.unsupported !== undefined) {
    throw new PorchlightError('unsupported', `${model.id} cannot be driven: ${model.unsupported}`);
  }
  for (const field of ['brightness', 'color', 'color_temp', 'white'] as const) {
    if (change[field] !== undefined && model[field] === undefined) throw lacking(field, model);
  }
  if (change.flash !== undefined) throw lacking('flash', model);
  if (change.effect === undefined) return;
  const effects = model.effects ?? [];
  if (effects.length === 0) throw lacking('effect', model);
  if (effectNamed(change.effect, model) === undefined) {
    throw new PorchlightError('unsupported', `effect: ${model.id} has none called ${quoted(change.effect)}.`, {
      hint: `It has: ${effects.join(', ')}.`,
    });
  }
}

function lacking(field: string, model: Model): PorchlightError {
  return new PorchlightError('unsupported', `${field}: ${model.id} cannot do this. It can do ${abilities(model)}.`);
}

/** What a model can do, in words: `on and off, brightness, color, color_temp 1800 to 7000 K`. */
export function abilities(model: Model): string {
  const { brightness, color, color_temp, white, effects } = model;
  return [
    'on and off',
    ...(brightness === undefined ? [] : ['brightness']),
    ...(color === undefined ? [] : ['color']),
    ...(color_temp === undefined ? [] : [`color_temp ${color_temp.min} to ${color_temp.max} K`]),
    ...(white === undefined ? [] : ['white']),
    ...(effects === undefined || effects.length === 0 ? [] : [`${effects.length} effects`]),
  ].join(', ');
}

/** The nearest kelvin that the model can do. */
export function kelvinWithin(kelvin: number, model: Model): number {
  const range = model.color_temp;
  return range === undefined ? kelvin : Math.min(range.max, Math.max(range.min, kelvin));
}

/**
 * The model's own name for an effect, however it is written: case, the order of the words, hyphens and "color" for "colour" do
 * not matter ("fade red" is "red fade").
 */
export function effectNamed(text: string, model: Model): string | undefined {
  const key = wordsOf(text);
  return model.effects?.find((name) => wordsOf(name) === key);
}

function wordsOf(text: string): string {
  const words = text
    .toLowerCase()
    .replaceAll('color', 'colour')
    .split(/[\s_-]+/);
  return words
    .filter((word) => word !== '')
    .sort()
    .join(' ');
}

/** As `refuseLacking`, but the refusal is returned. */
export function refusalBy(change: LightChange, model: Model): PorchlightError | undefined {
  try {
    refuseLacking(change, model);
    return undefined;
  } catch (thrown) {
    return asPorchlightError(thrown);
  }
}
