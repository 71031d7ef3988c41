import { PorchlightError } from '../errors.ts';
import type { Advertisement, LightFamily, Model } from '../lights/family.ts';
import { quoted } from '../lights/members.ts';
import type { Identity } from '../lights/port.ts';
import { likely } from '../lights/spelling.ts';
import { elkBledom } from './elk-bledom.ts';
import { claimOf, trimmedName } from './names.ts';
import { triones } from './triones.ts';

/** Every lamp protocol that Porchlight speaks. */
export const FAMILIES: readonly LightFamily[] = [elkBledom, triones];

/** Which families claim an advertisement, best first: the longest name wins, then what only the services tell. */
export function recognise(advert: Advertisement): readonly Identity[] {
  const name = trimmedName(advert) ?? '';
  return FAMILIES.flatMap((family) => {
    const model = family.recognise(advert);
    return model === undefined ? [] : [{ family, model, length: claimOf(model, name) }];
  })
    .sort((a, b) => b.length - a.length)
    .map(({ family, model }) => ({ family, model }));
}

/**
 * What a person pinned with `model:`. A family (`elk-bledom`: its most usual model), a family and a model
 * (`elk-bledom/ELK-BLEDOB`), or a model alone. Throws `config_invalid`, listing what exists.
 */
export function pinned(text: string): Identity {
  const wanted = text.trim().toLowerCase();
  const [familyId, ...rest] = wanted.split('/');
  const modelId = rest.join('/');
  for (const family of FAMILIES) {
    if (family.id !== familyId) continue;
    const model = modelId === '' ? family.models[0] : modelCalled(family, modelId);
    if (model !== undefined) return { family, model };
  }
  for (const family of FAMILIES) {
    const model = modelCalled(family, wanted);
    if (model !== undefined) return { family, model };
  }
  const all = FAMILIES.flatMap((family) => [family.id, ...family.models.map((model) => `${family.id}/${model.id}`)]);
  const meant = likely(wanted, [...all, ...FAMILIES.flatMap((family) => family.models.map((model) => model.id))]);
  throw new PorchlightError(
    'config_invalid',
    `No lamp family or model is called ${quoted(text)}${meant === undefined ? '' : `; did you mean ${meant}?`}`,
    { hint: `There are: ${all.join(', ')}.` },
  );
}

/** A family's model by its id or by one of the names that it goes by (`MELK-OC10`); case does not matter. */
export function modelCalled(family: LightFamily, name: string): Model | undefined {
  const wanted = name.toLowerCase();
  return (
    family.models.find((model) => model.id.toLowerCase() === wanted) ??
    family.models.find((model) => model.names?.some((known) => known.toLowerCase() === wanted))
  );
}
