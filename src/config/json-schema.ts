import * as z from 'zod';
import type { KeyTree } from './problem.ts';
import { SCHEMA } from './schema.ts';

type Json = z.core.JSONSchema.BaseSchema;

/** The JSON Schema (draft 2020-12) of the configuration file, for editors: `# yaml-language-server: $schema=…`. */
export function jsonSchema(): Json {
  return z.toJSONSchema(SCHEMA, {
    io: 'input',
    target: 'draft-2020-12',
    // zod drops `examples` of values that are transformed (they might be the transformed ones): ours are always as written.
    override: ({ jsonSchema: part }) => {
      const { example, ...rest } = part;
      if (example === undefined) return;
      for (const key of Object.keys(part)) delete part[key];
      Object.assign(part, rest, { examples: [example] });
    },
  });
}

let known: KeyTree | undefined;

/** Every key that the configuration knows, each with those below it. Lists and maps with free keys are passed through. */
export function keyTree(): KeyTree {
  known ??= treeOf(jsonSchema());
  return known;
}

function treeOf(schema: Json): KeyTree {
  const tree = new Map<string, KeyTree>();
  for (const part of [schema, ...parts(schema)]) {
    for (const [key, below] of Object.entries(part.properties ?? {})) {
      if (typeof below === 'object') tree.set(key, treeOf(below));
    }
  }
  return tree;
}

function parts(schema: Json): Json[] {
  const below = [
    ...(schema.anyOf ?? []),
    ...(schema.allOf ?? []),
    ...(schema.items === undefined ? [] : [schema.items].flat()),
  ];
  const objects = below.filter((part) => typeof part === 'object');
  return [...objects, ...objects.flatMap(parts)];
}
