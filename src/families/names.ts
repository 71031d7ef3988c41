import type { Advertisement, Model } from '../lights/family.ts';

/** The longest name that an advertisement can carry (GAP: 248 bytes). */
const LONGEST = 248;

/** An advertised name as it is compared: some lamps pad theirs with spaces or NULs to a fixed length. */
export function trimmedName(advert: Advertisement): string | undefined {
  const name = advert.localName?.slice(0, LONGEST).replace(/[\s\0]+$/, '');
  return name === undefined || name === '' ? undefined : name;
}

/** How much of `name` a pattern of `Model.names` claims, in characters; 0: nothing. Case does not matter. */
export function claim(pattern: string, name: string): number {
  if (pattern.includes('#') && name.length !== pattern.length) return 0;
  if (name.length < pattern.length) return 0;
  for (let i = 0; i < pattern.length; i++) {
    const wanted = pattern.charAt(i);
    const found = name.charAt(i);
    const fits = wanted === '#' ? /[0-9a-f]/i.test(found) : wanted.toLowerCase() === found.toLowerCase();
    if (!fits) return 0;
  }
  return pattern.length;
}

/** The longest claim of any of a model's names. */
export function claimOf(model: Model, name: string): number {
  return Math.max(0, ...(model.names ?? []).map((pattern) => claim(pattern, name)));
}

/** The model whose name claims most of the advertised one. */
export function modelNamed<M extends Model>(models: readonly M[], advert: Advertisement): M | undefined {
  const name = trimmedName(advert);
  if (name === undefined) return undefined;
  let best: { readonly model: M; readonly length: number } | undefined;
  for (const model of models) {
    const length = claimOf(model, name);
    if (length > (best?.length ?? 0)) best = { model, length };
  }
  return best?.model;
}
