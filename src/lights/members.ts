import { PorchlightError } from '../errors.ts';
import { likely } from './spelling.ts';

/** What JSON calls an object, before its members are judged. */
export type Members = Readonly<Record<string, unknown>>;

/** A `bad_command` that names the member at fault. Values are never repeated: they may be long, hostile or secret. */
export function bad(message: string, hint?: string): PorchlightError {
  return new PorchlightError('bad_command', message, hint === undefined ? {} : { hint });
}

/** What is more likely a token in the wrong place than a name. Messages reach topics and the audit trail, so it is not repeated. */
const TOKEN_LIKE = /(?=\S*\d)(?=\S*[a-z])(?=\S*[A-Z])[\w+/=.~-]{20}|(?=\S*\d)(?=\S*[a-z])[\w+/=.~-]{32}/;

/** Is this more likely a token in the wrong place than a name? */
export const isTokenLike = (name: string): boolean => TOKEN_LIKE.test(name);

/** A name from outside as it may appear in a message: quoted, at most 40 characters, printable ASCII. */
export function quoted(name: string): string {
  const clean = name.slice(0, 40).replace(/[^\x20-\x7e]|["\\]/g, '?');
  if (isTokenLike(clean)) return 'what looks like a token';
  return `"${clean}${name.length > 40 ? '...' : ''}"`;
}

/** `value` as an object. `where` names it in the message, `example` shows what was expected. */
export function objectOf(value: unknown, where: string, example: string): Members {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Members;
  throw bad(`${where}: an object expected, for example ${example}`);
}

/** Refuses the first member that is not among `allowed`, with the likely spelling. `other` maps words of other systems to ours. */
export function refuseUnknown(
  members: Members,
  allowed: readonly string[],
  where = '',
  other: Readonly<Record<string, string>> = {},
): void {
  for (const name of Object.keys(members)) {
    if (allowed.includes(name)) continue;
    const meant = (Object.hasOwn(other, name) ? other[name] : undefined) ?? likely(name, allowed);
    const help = meant === undefined ? `known are ${allowed.join(', ')}` : `did you mean ${meant}?`;
    throw bad(`${where}${quoted(name)} is not a member of this; ${help}`);
  }
}

/** The member as a number within the range (inclusive), or undefined where it is absent. */
export function numberOf(members: Members, name: string, min: number, max: number, where = ''): number | undefined {
  const value = own(members, name);
  if (value === undefined) return undefined;
  if (typeof value === 'number' && value >= min && value <= max) return value;
  throw bad(`${where}${name}: ${min} to ${max} expected`);
}

/** As `numberOf`, but whole: 127.0 is 127, 50.5 is refused. */
export function wholeOf(members: Members, name: string, min: number, max: number, where = ''): number | undefined {
  const value = numberOf(members, name, min, max, where);
  if (value === undefined || Number.isInteger(value)) return value === undefined ? undefined : value + 0;
  throw bad(`${where}${name}: a whole number from ${min} to ${max} expected`);
}

/** The member as text of 1 to `max` printable characters, or undefined where it is absent. */
export function textOf(members: Members, name: string, max: number): string | undefined {
  const value = own(members, name);
  if (value === undefined) return undefined;
  if (typeof value === 'string' && value.length >= 1 && value.length <= max && !UNPRINTABLE.test(value)) return value;
  throw bad(`${name}: text of 1 to ${max} printable characters expected`);
}

/** Control characters, and those that reorder or hide text on a terminal. */
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/;

/** The member as one of a few words, or undefined where it is absent. */
export function wordOf<W extends string>(members: Members, name: string, words: readonly W[]): W | undefined {
  const value = own(members, name);
  if (value === undefined) return undefined;
  const word = words.find((candidate) => candidate === value);
  if (word !== undefined) return word;
  throw bad(`${name}: ${words.map((candidate) => `"${candidate}"`).join(', ')} expected`);
}

/** A member of the object itself, never of its prototype. */
export function own(members: Members, name: string): unknown {
  return Object.hasOwn(members, name) ? members[name] : undefined;
}

/** `{ [name]: value }` where there is a value: absent members stay absent (`exactOptionalPropertyTypes`). */
export function defined<N extends string, V>(name: N, value: V | undefined): { readonly [K in N]?: V } {
  return (value === undefined ? {} : { [name]: value }) as { readonly [K in N]?: V };
}
