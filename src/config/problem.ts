import type * as z from 'zod';
import { likely } from '../lights/spelling.ts';
import { keyName, type Path } from './document.ts';

/** What is wrong at a place of the configuration. `key`: the place is the key itself (an unknown one); `value`: what it holds. */
export interface Problem {
  readonly path: Path;
  readonly at: 'key' | 'value';
  readonly message: string;
}

/** The keys that exist, as a tree read from the JSON Schema; `items` and map values are passed through. */
export type KeyTree = ReadonlyMap<string, KeyTree>;

const MAX_SUGGESTIONS = 100;

/** What zod complained about, in sentences with suggestions. `value` is the whole document, `tree` all keys that exist. */
export function problemsOf(
  issues: readonly z.core.$ZodIssue[],
  value: unknown,
  tree: KeyTree,
  base: Path = [],
): Problem[] {
  return issues.flatMap((issue) => {
    const path = [...base, ...issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key))];
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key, index): Problem => {
        // Looking for what was meant takes its time, and nobody reads hundreds of suggestions.
        const message = index < MAX_SUGGESTIONS ? unknownKey(key, path, tree) : 'unknown key';
        return { path: [...path, key], at: 'key', message };
      });
    }
    if (issue.code === 'invalid_union') {
      // Of a union, the branch that a map was meant for says more than "neither".
      const branch = issue.errors.find((errors) =>
        errors.some((e) => e.path.length > 0 || e.code === 'unrecognized_keys'),
      );
      if (branch !== undefined) return problemsOf(branch, value, tree, path);
    }
    const given = valueAt(value, path);
    if (given === undefined) return { path, at: 'value', message: `is missing: ${issue.message}` };
    if (issue.code === 'invalid_value' && typeof given === 'string') {
      const meant = likely(given, issue.values.map(String));
      return { path, at: 'value', message: issue.message + (meant === undefined ? '' : `; did you mean ${meant}?`) };
    }
    return { path, at: 'value', message: issue.message + found(issue, given) };
  });
}

/** What stands there instead, where its kind is the mistake; never the value, which may be a secret. */
function found(issue: z.core.$ZodIssue, given: unknown): string {
  if (issue.code !== 'invalid_type' && issue.code !== 'invalid_union' && issue.code !== 'invalid_value') return '';
  if (issue.code === 'invalid_type' && issue.expected === 'boolean' && typeof given === 'string') {
    return /^(yes|no|on|off|y|n|true|false)$/i.test(given) ? ', without quotes (yes and on are text in YAML 1.2)' : '';
  }
  const kind =
    given === null
      ? 'nothing'
      : Array.isArray(given)
        ? 'a list'
        : typeof given === 'object'
          ? 'a map'
          : typeof given === 'string'
            ? 'text'
            : typeof given === 'number'
              ? 'a number'
              : 'true or false';
  return `; found ${kind}`;
}

function unknownKey(key: string, parent: Path, tree: KeyTree): string {
  const siblings = [...(subtree(tree, parent)?.keys() ?? [])];
  const meant = likely(key, siblings);
  if (meant !== undefined) return `unknown key; did you mean "${meant}"?`;
  if (key === '<<') return 'merge keys ("<<") are not read; write the keys out';
  if (/:\S/.test(key)) return 'unknown key; is a space missing after the colon?';
  const elsewhere = placesOf(key, tree);
  if (elsewhere.length > 0 && elsewhere.length <= 3) {
    return `unknown key here; did you mean it ${elsewhere.map((place) => (place === '' ? 'at the top of the file' : `under "${place}:"`)).join(' or ')}?`;
  }
  return siblings.length > 0 ? `unknown key; known here are ${siblings.join(', ')}` : 'unknown key';
}

function subtree(tree: KeyTree, path: Path): KeyTree | undefined {
  let here: KeyTree | undefined = tree;
  for (const key of path) if (typeof key === 'string') here = here?.get(key);
  return here;
}

function placesOf(key: string, tree: KeyTree, path = ''): string[] {
  const here = tree.has(key) ? [path] : [];
  return [
    ...here,
    ...[...tree].flatMap(([name, below]) => placesOf(key, below, path === '' ? name : `${path}.${name}`)),
  ];
}

export function valueAt(value: unknown, path: Path): unknown {
  let here = value;
  for (const key of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, key)) return undefined;
    here = (here as Readonly<Record<string | number, unknown>>)[key];
  }
  return here;
}

/** `mqtt.url`, `lights[2].address`; keys that do not look like keys stay out of it. */
export function pathName(path: Path): string {
  return path.reduce<string>((name, key) => {
    if (typeof key === 'number') return `${name}[${key}]`;
    return name === '' ? keyName(key) : `${name}.${keyName(key)}`;
  }, '');
}
