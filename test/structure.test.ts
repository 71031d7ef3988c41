import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type Dependency, scan } from './support/source-scanner.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SRC = join(ROOT, 'src');

/** Parts that know nothing of each other; they meet in gateway.ts. */
const PEERS = ['oauth', 'access', 'mqtt', 'bluetooth', 'web', 'schedule', 'prompt', 'service'];
/** What a peer may import of ours, beside itself. */
const BELOW_PEERS = ['errors', 'log', 'task-group', 'limiter', 'clock', 'lights', 'storage', 'token-profile'];

/** What a part may import of ours, beside itself. Parts that are not named here put the others together and may import all. */
const INWARD: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  'task-group': [],
  'token-profile': [],
  log: ['errors'],
  lights: ['errors'],
  families: ['lights', 'errors'],
  storage: ['errors', 'log', 'task-group'],
  clock: ['errors', 'log', 'task-group', 'lights', 'storage'],
  config: ['errors', 'log', 'lights', 'families', 'storage'],
  ...Object.fromEntries(PEERS.map((peer) => [peer, BELOW_PEERS])),
};

/** One outside package, one owner: a folder, or a file. `lights` and `families` own none. */
const OWNERS: Readonly<Record<string, readonly string[]>> = {
  pino: ['log.ts'],
  yaml: ['config'],
  jose: ['oauth', 'access', 'demo'],
  oauth4webapi: ['oauth'],
  mqtt: ['mqtt', 'demo'],
  'mqtt-packet': ['mqtt'],
  '@stoprocent/noble': ['bluetooth/radio'],
  '@stoprocent/bluetooth-hci-socket': ['bluetooth/radio'],
  '@particle/dbus-next': ['bluetooth/radio'],
  'qrcode-terminal': ['prompt'],
  hono: ['web'],
  '@hono/node-server': ['web'],
  commander: ['cli'],
  'oidc-provider': ['demo'],
  aedes: ['demo'],
  'node-cron': ['schedule'],
  suncalc: ['schedule'],
  // Bytes from outside are parsed at every edge; the core and the families get what was parsed.
  zod: ['config', 'cli', 'demo', 'doctor', 'storage', 'clock.ts', ...PEERS],
};

/** The only files that may touch the process: its entries, and the configuration that reads the environment. */
const PROCESS = ['main.ts', 'config', 'bluetooth/radio/main.ts', 'bluetooth/air/main.ts'];

/** Those who start an air process, and so speak its messages. Not the radio. */
const AIR_SPEAKERS = ['demo', 'backend.ts', 'bluetooth/virtual-air.ts'];

/** Silences a remark that a development package makes at its import. */
const CONSOLE = ['demo/authorization-server.ts'];

interface File {
  /** From src, with slashes: `mqtt/bridge.ts`. */
  readonly path: string;
  readonly text: string;
}
interface Use extends Dependency {
  readonly file: string;
  /** Of a file of ours: its path from src. */
  readonly target?: string;
  /** Of a package: its name. */
  readonly outside?: string;
}

const inside = (path: string, place: string): boolean => path === place || path.startsWith(`${place}/`);
/** The part that a file belongs to: its first folder, or a file at the top by its name. */
const partOf = (path: string): string => path.split('/')[0]?.replace(/\.ts$/, '') ?? '';

function packageName(specifier: string): string {
  const [first = '', second = ''] = specifier.split('/');
  return specifier.startsWith('@') ? `${first}/${second}` : first;
}

function usesOf({ path, text }: File): Use[] {
  return scan(text).dependencies.map((dependency): Use => {
    const { specifier } = dependency;
    if (specifier === undefined) return { ...dependency, file: path };
    if (specifier.startsWith('.')) {
      // A running file is named by what it will be (`./main.js`), an import by what it is (`./main.ts`).
      const target = posix.join(posix.dirname(path), specifier).replace(/\.js$/, '.ts');
      return { ...dependency, file: path, target };
    }
    return { ...dependency, file: path, outside: packageName(specifier) };
  });
}

/** All that is wrong with how these files depend on each other, one sentence each, with the way to mend it. */
function faults(files: readonly File[]): string[] {
  const uses = files.flatMap(usesOf);
  const found: string[] = [];
  const fault = (use: Use, sentence: string): void => {
    found.push(`src/${use.file}:${use.line} ${sentence}`);
  };

  for (const use of uses) {
    const from = partOf(use.file);
    if (use.target !== undefined && !use.target.startsWith('..')) {
      const to = partOf(use.target);
      const allowed = INWARD[from];
      if (from !== to && allowed !== undefined && !allowed.includes(to)) {
        fault(
          use,
          `imports ${use.target}, but ${from} may import only ${allowed.join(', ') || 'nothing of ours'}. ` +
            (PEERS.includes(from) && PEERS.includes(to)
              ? 'These two meet in gateway.ts: take what you need as a parameter (a function, a value of lights/).'
              : 'Move what both need inwards (lights/, errors.ts), or hand it in from gateway.ts.'),
        );
      }
      for (const [place, why] of [
        [
          'bluetooth/radio',
          'The gateway forks it by a URL handed in from main.ts and speaks to it by bluetooth/messages.ts.',
        ],
        [
          'bluetooth/air',
          'Those who start one may know its messages.ts; for everybody else it is a controller, reached over H4.',
        ],
      ] as const) {
        const entry = use.kind === 'url' && use.target === `${place}/main.ts`;
        const words = use.target === 'bluetooth/air/messages.ts' && AIR_SPEAKERS.some((part) => inside(use.file, part));
        if (inside(use.target, place) && !inside(use.file, place) && !entry && !words) {
          fault(use, `imports ${use.target}, which only the process of ${place} may load. ${why}`);
        }
      }
    }
    if (use.outside !== undefined) outsideFault(use);
    if (use.specifier === undefined) {
      fault(
        use,
        `names what it loads by an expression (${use.kind}). Write one literal, so that a reader can follow it.`,
      );
    }
  }

  function outsideFault(use: Use): void {
    const name = use.outside ?? '';
    const bare = name.replace(/^node:/, '');
    if (use.specifier?.startsWith('node:') || builtinModules.includes(bare)) {
      if (!use.specifier?.startsWith('node:')) fault(use, `imports ${name}. Write node:${name}.`);
      if (inside(use.file, 'lights') || inside(use.file, 'families')) {
        fault(use, `imports ${use.specifier}, but lights/ and families/ do no I/O. Hand in what it needs as a value.`);
      }
      return;
    }
    const owners = OWNERS[name];
    if (owners === undefined) {
      fault(
        use,
        `imports the package ${name}, which has no owner. Name one in OWNERS of test/structure.test.ts and say why in ARCHITECTURE.md.`,
      );
    } else if (!owners.some((owner) => inside(use.file, owner))) {
      fault(
        use,
        `imports the package ${name}, which belongs to ${owners.join(', ')}. Add what you need there and import that.`,
      );
    }
  }

  found.push(...textFaults(files), ...cycles(uses));
  return found;
}

/** What no file says, as tokens with single spaces between them, and what to do instead. */
const UNSAID: readonly (readonly [pattern: RegExp, sentence: string, except?: readonly string[]])[] = [
  [
    /(?<![\w$])(?<!\. )process (\? )?[.[]/g,
    'touches process. Only the entry files and config/ do; take env, streams or a signal as parameters.',
    PROCESS,
  ],
  [/\bas any\b|< any >|: any\b/g, 'says any. Parse the value, or narrow it from unknown.'],
  [/(?<!\. )\bconsole (\? )?[.[]/g, 'touches the console. Log through log.ts, or use Io.', CONSOLE],
  [/\bexport default\b/g, 'has a default export. Name it: one thing, one name everywhere.'],
  [
    /\bnew (Type|Range|Syntax)?Error \(/g,
    'makes a plain Error. Make a PorchlightError with a code, so that people get a hint.',
  ],
  [/\benum \w+ \{/g, 'declares an enum. Use a union of literals.'],
];

function textFaults(files: readonly File[]): string[] {
  return files.flatMap(({ path, text }) => {
    const { code, lineAt } = scan(text);
    const here = UNSAID.filter(([, , except = []]) => !except.some((place) => inside(path, place)));
    return here.flatMap(([pattern, sentence]) =>
      [...code.matchAll(pattern)].map(({ index }) => `src/${path}:${lineAt(index)} ${sentence}`),
    );
  });
}

/**
 * Circles among the parts. Two parts that need each other are one part, or hide a third. What is loaded only when it is asked
 * for (`import()`, a program's URL) closes no circle: so the verb `demo` loads the demo, which is shown with the verbs' means.
 */
function cycles(uses: readonly Use[]): string[] {
  const graph = new Map<string, Map<string, string>>();
  for (const use of uses) {
    if (use.target === undefined || use.target.startsWith('..') || use.kind === 'url' || use.kind === 'dynamic')
      continue;
    const [from, to] = [partOf(use.file), partOf(use.target)];
    if (from === to) continue;
    const edges = graph.get(from) ?? new Map<string, string>();
    graph.set(from, edges.set(to, `src/${use.file}:${use.line}`));
  }
  const found: string[] = [];
  const done = new Set<string>();
  const walk = (part: string, path: readonly string[]): void => {
    const start = path.indexOf(part);
    if (start >= 0) {
      const circle = [...path.slice(start), part];
      const where = circle.slice(1).map((to, index) => graph.get(circle[index] ?? '')?.get(to));
      found.push(
        `${circle.join(' → ')} is a circle (${where.join(', ')}). Hand one of them in, or move what both need inwards.`,
      );
      return;
    }
    if (done.has(part)) return;
    for (const next of graph.get(part)?.keys() ?? []) walk(next, [...path, part]);
    done.add(part);
  };
  for (const part of graph.keys()) walk(part, []);
  return found;
}

function sourceFiles(): File[] {
  return readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => ({ path: path.replaceAll('\\', '/'), text: readFileSync(join(SRC, path), 'utf8') }));
}

describe('the house', () => {
  it('keeps to the rules of dependence (ARCHITECTURE.md, "Who may import whom")', () => {
    const files = sourceFiles();
    expect(files.length).toBeGreaterThan(10);
    expect(faults(files)).toEqual([]);
  });

  it('imports only files that exist, by the name they have', () => {
    const lost = sourceFiles()
      .flatMap(usesOf)
      .filter(({ target }) => target !== undefined && !existsSync(join(SRC, target)))
      .map(({ file, line, specifier }) => `src/${file}:${line} ${specifier}`);
    expect(lost).toEqual([]);
  });

  it('owns only packages that package.json names, and package.json names only packages that someone owns', () => {
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    const later = ['node-cron', 'suncalc']; // the owner is settled; the code comes with schedules
    const viaNoble = ['@stoprocent/bluetooth-hci-socket'];
    const owned = Object.keys(OWNERS).filter((name) => !later.includes(name) && !viaNoble.includes(name));
    expect(owned.filter((name) => !(name in { ...dependencies, ...devDependencies }))).toEqual([]);
    expect(Object.keys(dependencies).filter((name) => !(name in OWNERS))).toEqual([]);
  });
});

describe('the rules find what breaks them', () => {
  const broken = (path: string, text: string): string[] => faults([{ path, text }]);

  it.each([
    ['lights/x.ts', "import { a } from '../mqtt/a.ts';", /may import only errors/],
    ['lights/x.ts', "import type { A } from '../families/a.ts';", /may import only errors/],
    ['families/x.ts', "import { a } from '../log.ts';", /may import only lights, errors/],
    ['lights/x.ts', "import { setTimeout } from 'node:timers/promises';", /do no I\/O/],
    ['families/x.ts', "import * as z from 'zod';", /belongs to/],
    ['mqtt/x.ts', "import { a } from '../access/a.ts';", /meet in gateway\.ts/],
    ['mqtt/x.ts', "const a = await import('../oauth/a.ts');", /meet in gateway\.ts/],
    ['oauth/x.ts', "export { a } from '../prompt/a.ts';", /meet in gateway\.ts/],
    ['oauth/x.ts', "export * as a from '../web/a.ts';", /meet in gateway\.ts/],
    ['web/x.ts', "export type { A } from '../service/a.ts';", /meet in gateway\.ts/],
    ['access/x.ts', "import { a } from '../config/schema.ts';", /may import only/],
    ['access/x.ts', "import { a } from '../gateway.ts';", /may import only/],
    ['errors.ts', "import { a } from './log.ts';", /nothing of ours/],
    ['gateway.ts', "import { a } from './bluetooth/radio/noble.ts';", /only the process of bluetooth\/radio/],
    ['bluetooth/links.ts', "import type { a } from './radio/noble.ts';", /only the process of bluetooth\/radio/],
    ['bluetooth/links.ts', "const u = new URL('./radio/noble.js', import.meta.url);", /only the process/],
    ['demo/x.ts', "import { a } from '../bluetooth/air/hci.ts';", /only the process of bluetooth\/air/],
    ['bluetooth/radio/x.ts', "import { a } from '../air/hci.ts';", /only the process of bluetooth\/air/],
    ['gateway.ts', "import mqtt from 'mqtt';", /belongs to mqtt/],
    ['gateway.ts', "import noble from '@stoprocent/noble/with-bindings.js';", /belongs to bluetooth\/radio/],
    ['mqtt/x.ts', "import _ from 'lodash';", /has no owner/],
    ['mqtt/x.ts', "const _ = createRequire(import.meta.url)('lodash');", /has no owner/],
    ['mqtt/x.ts', "const load = createRequire(import.meta.url); const p = load('jose');", /belongs to oauth/],
    ['mqtt/x.ts', "import fs from 'fs';", /Write node:fs/],
    ['mqtt/x.ts', 'const m = await import(name);', /one literal/],
    ['mqtt/x.ts', 'const m = await import(`./\u0024{name}.ts`);', /one literal/],
    ['mqtt/x.ts', "if (process.env['A']) return;", /touches process/],
    ['mqtt/x.ts', 'process\n  .exit(1);', /touches process/],
    ['mqtt/x.ts', 'const text = `\u0024{process.pid}`;', /touches process/],
    ['mqtt/x.ts', 'const a = b as any;', /says any/],
    ['mqtt/x.ts', 'console.log(a);', /console/],
    ['mqtt/x.ts', 'throw new Error(`x`);', /plain Error/],
    ['mqtt/x.ts', 'export default a;', /default export/],
    ['mqtt/x.ts', 'enum A { B }', /union of literals/],
  ])('%s: %s', (path, text, sentence) => {
    expect(broken(path, text).join('\n')).toMatch(sentence);
  });

  it.each([
    ['lights/x.ts', "import { a } from '../errors.ts'; import { b } from './b.ts';"],
    ['families/x.ts', "import type { LightFamily } from '../lights/family.ts';"],
    ['main.ts', "new URL('./bluetooth/radio/main.js', import.meta.url); process.exit();"],
    ['config/x.ts', "import { parse } from 'yaml'; import * as z from 'zod'; process.env;"],
    ['demo/x.ts', "import type { M } from '../bluetooth/air/messages.ts'; await import('aedes');"],
    ['bluetooth/radio/x.ts', "const noble = require('@stoprocent/noble');"],
    [
      'mqtt/x.ts',
      "// import { a } from '../oauth/a.ts';\n/* console.log(process.env) as any */ const s = 'new Error(';",
    ],
    ['mqtt/x.ts', "const s = \"import('lodash')\"; const t = `import { a } from 'lodash'; process.env`;"],
    ['mqtt/x.ts', "const r = /import('lodash')|\\/\\/process.env/; const d = 4 / process2.length / 2;"],
    ['mqtt/x.ts', 'const o = { import: 1, process: 2 }; o.process.x; o.import; this.process.y;'],
  ])('and are content with %s: %s', (path, text) => {
    expect(broken(path, text)).toEqual([]);
  });

  it('see a circle of folders, by types too, and name its way', () => {
    const files = [
      { path: 'cli/a.ts', text: "import type { B } from '../demo/b.ts';" },
      { path: 'demo/b.ts', text: "import { C } from '../direct.ts';" },
      { path: 'direct.ts', text: "export { A } from './cli/a.ts';" },
    ];
    expect(faults(files).join()).toMatch(/cli → demo → direct → cli is a circle \(src\/cli\/a\.ts:1, /);
    expect(faults(files.slice(0, 2))).toEqual([]);
    const lazy = { path: 'cli/a.ts', text: "const { b } = await import('../demo/b.ts');" };
    expect(faults([lazy, ...files.slice(1)])).toEqual([]);
  });
});

describe('the scanner', () => {
  const specifiers = (text: string): (string | undefined)[] =>
    scan(text).dependencies.map(({ specifier }) => specifier);

  it.each([
    ["import'./a.ts';import b,{c}from'./b.ts'", ['./a.ts', './b.ts']],
    ["import {\n  // from './no.ts'\n  type A,\n  b,\n} from './a.ts';", ['./a.ts']],
    [
      "import type from './a.ts'; import type, { b } from './b.ts'; import { from } from './c.ts';",
      ['./a.ts', './b.ts', './c.ts'],
    ],
    ["import data from './a.json' with { type: 'json' };", ['./a.json']],
    [
      "export * from './a.ts'; export { b as c } from './b.ts'; export { d }; export const e = from; const f = './no';",
      ['./a.ts', './b.ts'],
    ],
    ["type T = import('./a.ts').T; const t: typeof import('./b.ts') = x;", ['./a.ts', './b.ts']],
    [
      "const a = `x \u0024{await import('./a.ts')} \u0024{`y \u0024{import('./b.ts')}`} import('./no.ts')`;",
      ['./a.ts', './b.ts'],
    ],
    ["const a = b ? /['\"`]/ : c; import('./a.ts');", ['./a.ts']],
    ["const a = (x) / 2; const s = '/'; import('./a.ts'); // '", ['./a.ts']],
    ["const a = /[/'\"]+/g.test(s) /* ' */; import('./a.ts');", ['./a.ts']],
    ["const u = import.meta.resolve('pkg'); const v = new URL('./v.js', import.meta.url);", ['pkg', './v.js']],
    ["new URL('https://example.com'); new URL('/x', base); object.import('./no.ts'); object.require('./no.ts');", []],
    ["import fs = require('fs'); require.resolve('pkg'); require(name);", ['fs', 'pkg', undefined]],
    ["const s = 'it\\'s import(\"./no.ts\")'; import('./a.ts')", ['./a.ts']],
    ['#!/usr/bin/env node\nimport "./a.ts";', ['./a.ts']],
    ["const A = 'pkg'; require(A); const B = f(); require(B);", ['pkg', undefined]],
    ["import('./a' + '.ts'); import('./b.ts', { with: { type: 'json' } });", [undefined, './b.ts']],
  ])('reads %s', (text, expected) => {
    expect(specifiers(text)).toEqual(expected);
  });

  it('knows the line', () => {
    expect(scan("/*\n\n*/\n`\n`;\nimport './a.ts';").dependencies[0]?.line).toBe(6);
  });

  it('comes to an end on text that is no program', () => {
    for (const text of [
      '`${',
      "'",
      '/*',
      '`',
      '${',
      '}}}}',
      'import',
      'export {',
      'import(',
      'createRequire(',
      '/',
      '\u0000',
    ]) {
      expect(() => scan(text)).not.toThrow();
    }
  });
});

it('tests mirror src: no test folder stands for a part that is not there', () => {
  const free = ['integration', 'system', 'bench', 'load', 'campaign', 'support', 'fixtures'];
  const folders = readdirSync(join(ROOT, 'test'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const strays = folders.map(({ name }) => name).filter((name) => !free.includes(name) && !existsSync(join(SRC, name)));
  expect(strays).toEqual([]);
  expect(relative(ROOT, dirname(SRC))).toBe('');
});
