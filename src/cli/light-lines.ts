import { id as idValue } from '../config/values.ts';
import { plainName } from '../prompt/width.ts';

/** A lamp that is not in the configuration yet. */
export interface NewLamp {
  readonly address: string;
  /** As it advertises it; empty: it does not. */
  readonly name: string;
  readonly family: string;
}

/** One entry of `lights:`. */
export interface LightLine {
  readonly id: string;
  readonly name?: string;
  readonly address: string;
}

/** Room for `-1122` at the end of an id of at most 40 characters. */
const LONGEST_STEM = 34;
const isId = (text: string): boolean => idValue().safeParse(text).success;

/**
 * An entry for each lamp. Ids come from names, are valid and unique, also beside those that are `taken`: lamps of one name are told apart
 * by the end of their address, so that a lamp gets the same id in every scan.
 */
export function lightLines(lamps: readonly NewLamp[], taken: Iterable<string>): readonly LightLine[] {
  const used = new Set(taken);
  const stems = lamps.map((lamp) => stemOf(lamp));
  return lamps.map((lamp, at) => {
    const stem = stems[at] ?? lamp.family;
    const alone = stems.filter((other) => other === stem).length === 1;
    const end = lamp.address.replaceAll(':', '').slice(-4).toLowerCase();
    let id = alone && !used.has(stem) ? stem : `${stem}-${end}`;
    for (let count = 2; used.has(id) || !isId(id); count += 1) id = `${stem}-${end}-${count}`.slice(-40);
    used.add(id);
    const name = plainName(lamp.name);
    return { id, ...(name !== '' && name !== id && { name }), address: lamp.address };
  });
}

function stemOf({ name, family }: NewLamp): string {
  const plain = name
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/\p{Mark}/gu, '')
    .replaceAll(/[^a-z0-9_-]+/g, '-')
    .slice(0, LONGEST_STEM)
    .replaceAll(/^[-_]+|[-_]+$/g, '');
  return isId(plain) ? plain : family;
}

/** The entries as YAML for the configuration. Text is quoted as JSON, which YAML's double-quoted text contains. */
export function renderLightLines(lines: readonly LightLine[]): string {
  const entries = lines.map(({ id, name, address }) => {
    const named = name === undefined ? '' : `name: ${JSON.stringify(name)}, `;
    // An id such as 123 or null would not be text without quotes.
    const quotedId = /^[a-z_][a-z0-9_-]*$/.test(id) && !WORDS.has(id) ? id : JSON.stringify(id);
    return `  - {id: ${quotedId}, ${named}address: ${JSON.stringify(address)}}\n`;
  });
  return `lights:\n${entries.join('')}`;
}

/** Plain words that are not text in one version of YAML or another. */
const WORDS: ReadonlySet<string> = new Set(['null', 'true', 'false', 'yes', 'no', 'on', 'off', 'y', 'n', 'inf', 'nan']);
