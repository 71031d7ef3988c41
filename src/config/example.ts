import { stringify } from 'yaml';
import type * as z from 'zod';
import { jsonSchema } from './json-schema.ts';
import { asksForNotYet, NOT_YET } from './not-yet.ts';

type Json = z.core.JSONSchema.BaseSchema;

const WIDTH = 100;
const HEAD = `# The configuration of a Porchlight gateway: every key, with its default and a sentence.
# Copy it to /etc/porchlight/porchlight.yaml (or config/porchlight.yaml), and change what you need; keys that are left out
# have the default shown here. Lines that start with "# key:" show keys that have no default.
# "porchlight config check" tells what is wrong, with line and column. The format is YAML 1.2.
# Durations: 15ms, 30s, 5m, 24h, 7d; a plain number is seconds.
# Secrets are best kept out of this file: in the files named here (mode 0600), or in systemd credentials.
`;

/** The text of `config/porchlight.example.yaml`, made from the schema so that it is never behind it. */
export function exampleYaml(): string {
  const sections = Object.entries(properties(jsonSchema())).map(([name, schema]) => section(name, schema));
  return `${HEAD}\n${sections.join('\n')}`;
}

function section(name: string, schema: Json): string {
  return [...comment(schema, [name], ''), ...lines(name, schema, [name], '', isInForce(name, schema))]
    .map((line) => `${line}\n`)
    .join('');
}

/** Every section that has a default is in force, and the one that the daemon cannot do without. */
function isInForce(name: string, schema: Json): boolean {
  return schema.default !== undefined || name === 'authorization';
}

/** One key: in force when it has a default or must be given, behind "#" when it is an example. */
function lines(name: string, schema: Json, path: readonly string[], indent: string, live: boolean): string[] {
  const hash = live ? '' : '# ';
  const item = itemOf(schema);
  if (item !== undefined) {
    // Behind "#" with its example: what is pasted below it, the key and its entries, then stands alone.
    return [`${indent}# ${name}:`, ...listItem(item, path).map((line) => `${indent}${line}`)];
  }
  const below = Object.entries(properties(schema));
  if (below.length === 0) return [`${indent}${hash}${name}: ${flow(schema.default ?? schema.examples?.[0])}`];
  const members = below.flatMap(([key, member]) => {
    const inForce = live && (member.default !== undefined || required(schema).includes(key));
    return [
      ...comment(member, [...path, key], `${indent}  `),
      ...lines(key, member, [...path, key], `${indent}  `, inForce),
    ];
  });
  return [`${indent}${hash}${name}:`, ...members];
}

/** An entry of a list, all behind "#": the first key after "- ", the others under it. */
function listItem(item: Json, path: readonly string[]): string[] {
  return Object.entries(properties(item)).map(([key, member], index) => {
    const value = flow(member.default ?? member.examples?.[0]);
    return `# ${index === 0 ? '- ' : '  '}${`${key}: ${value}`.padEnd(44)} # ${sentence(member, [...path, key])}`;
  });
}

function comment(schema: Json, path: readonly string[], indent: string): string[] {
  const text = [sentence(schema, path), choices(schema, path)].filter((part) => part !== '').join(' ');
  return wrap(text, WIDTH - indent.length).map((line) => `${indent}# ${line}`);
}

function sentence(schema: Json, path: readonly string[]): string {
  const later = NOT_YET.find((entry) => entry.path.join('.') === path.join('.') && entry.values === undefined);
  return `${schema.description ?? ''}${later === undefined ? '' : ' (Not part of this version yet.)'}`;
}

/** The values of a choice, without those that this version refuses anyway. */
function choices(schema: Json, path: readonly string[]): string {
  if (schema.enum === undefined) return '';
  const later = NOT_YET.find((entry) => entry.path.join('.') === path.join('.'));
  const open = schema.enum.filter((value) => later === undefined || !asksForNotYet(later, value));
  return open.length > 1 ? `One of: ${open.join(', ')}.` : `This version knows: ${open.join(', ')}.`;
}

function properties(schema: Json): Readonly<Record<string, Json>> {
  return Object.fromEntries(
    Object.entries(schema.properties ?? {}).filter((entry): entry is [string, Json] => typeof entry[1] === 'object'),
  );
}

/** The schema of a list's entries, where they are maps. */
function itemOf(schema: Json): Json | undefined {
  const item = [schema.items].flat()[0];
  return typeof item === 'object' && item.properties !== undefined ? item : undefined;
}

function required(schema: Json): readonly string[] {
  return schema.required ?? [];
}

function flow(value: unknown): string {
  return value === undefined
    ? ''
    : stringify(value, {
        collectionStyle: 'flow',
        lineWidth: 0,
        flowCollectionPadding: false,
        singleQuote: false,
      }).trimEnd();
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
