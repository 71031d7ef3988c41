import {
  type Alias,
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  Parser,
  visit,
} from 'yaml';
import { printable } from '../log.ts';

/** A path of keys and list positions into the document. */
export type Path = readonly (string | number)[];

/** Something wrong with the document: where (an offset into its text) and what. */
export interface TextProblem {
  readonly offset: number;
  readonly message: string;
}

/** A YAML text as plain values, and where in the text each of them stands. */
export interface YamlDocument {
  /** Maps have no prototype surprises: every key is an own member, `__proto__` too. */
  readonly value: unknown;
  readonly problems: readonly TextProblem[];
  /** `12:3`: line and column, from 1, of an offset. */
  place(offset: number): string;
  /** The offset of the key (or list entry) at `path`, or of its value; the nearest parent's where it is absent. */
  offsetOf(path: Path, what: 'key' | 'value'): number;
}

/** Far deeper than any configuration, far shallower than where a recursive parser runs out of stack. */
const MAX_DEPTH = 24;
/** Values after aliases are followed: nested aliases double at every level ("billion laughs"). */
const MAX_VALUES = 50_000;
/** More complaints about one text help nobody. */
const MAX_SYNTAX_PROBLEMS = 20;

/** Reads YAML 1.2 (so also JSON). Never throws; all that is wrong is among `problems`. `text` is without byte order mark. */
export function readYaml(text: string): YamlDocument {
  const lines = new LineCounter();
  const reading = new Reading();
  const document = compose(text, lines, reading);
  const value = document?.contents == null ? null : reading.read(document);
  return {
    value,
    problems: reading.problems,
    place: (offset) => {
      const { line, col } = lines.linePos(offset);
      return line === 0 ? '1:1' : `${line}:${Math.max(1, col)}`;
    },
    offsetOf: (path, what) => reading.offsetOf(path, what),
  };
}

/** The parser proper, or undefined where its complaints make its result worthless. */
function compose(text: string, lines: LineCounter, reading: Reading): Document.Parsed | undefined {
  const tokens = tokenise(text, lines, reading);
  if (tokens === undefined) return undefined;
  // Duplicate keys are found below: the composer compares every key with every other.
  const composer = new Composer({ prettyErrors: false, uniqueKeys: false, strict: true, logLevel: 'silent' });
  const [document, second] = [...composer.compose(tokens, true, text.length)];
  if (document === undefined || document instanceof Object === false || !('contents' in document)) return undefined;
  if (document.directives?.yaml.explicit === true && document.directives.yaml.version === '1.1') {
    reading.problems.push({
      offset: 0,
      message: 'asks for YAML 1.1; this file is read as YAML 1.2: remove the %YAML line',
    });
  }
  if (second !== undefined) {
    reading.problems.push({
      offset: second.range?.[0] ?? 0,
      message: 'starts a second document ("---"); only one is read',
    });
  }
  // A warning is about a tag that was not understood and whose value would be taken as text.
  for (const { code, pos } of [...document.errors, ...document.warnings].slice(0, MAX_SYNTAX_PROBLEMS)) {
    reading.problems.push({ offset: pos[0], message: SYNTAX[code] ?? 'is not valid YAML' });
  }
  return document as Document.Parsed;
}

/**
 * The concrete syntax, unless it is hopeless. The composer that comes after recurses, and at some depths it does not throw but
 * takes the whole process down; this stage keeps a stack of its own, which is safe to watch.
 */
function tokenise(text: string, lines: LineCounter, reading: Reading): CST.Token[] | undefined {
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  const tokens: CST.Token[] = [];
  let offset = 0;
  let errors = 0;
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) {
      tokens.push(token);
      if (token.type === 'error') errors += 1;
    }
    // A pair and its value are two entries of the stack.
    if (parser.stack.length > 2 * MAX_DEPTH) {
      reading.problems.push({ offset, message: 'is nested too deeply' });
      return undefined;
    }
    if (errors > MAX_SYNTAX_PROBLEMS) {
      reading.problems.push({ offset, message: 'this is not YAML' });
      return undefined;
    }
    offset += lexeme.length;
  }
  tokens.push(...parser.end());
  return tokens;
}

/** The library's messages quote the text, and the text may hold a password: each of its codes in words of ours. */
const SYNTAX: Readonly<Record<string, string>> = {
  BAD_ALIAS: 'an alias ("*name") needs an anchor ("&name") before it',
  BAD_DQ_ESCAPE: 'a text in double quotes holds an unknown escape; use single quotes, or \\\\ for a backslash',
  BAD_INDENT: 'the indentation does not fit the lines above',
  BAD_SCALAR_START: 'a text that starts with this character needs quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a second ": " in one line; put the text in quotes',
  BLOCK_IN_FLOW: 'inside { } or [ ] everything must be written with { } and [ ]',
  MISSING_CHAR: 'a closing quote or bracket, a comma, or a space after ":" is missing here',
  MULTILINE_IMPLICIT_KEY: 'a key must be on one line and end with ":"; is the colon, or the space after it, missing?',
  MULTIPLE_DOCS: 'starts a second document ("---"); only one is read',
  TAB_AS_INDENT: 'a tab is used for indentation; use spaces',
  TAG_RESOLVE_FAILED:
    'tags ("!name") are not understood here; secrets come from files (client_secret_file, password_file)',
  UNEXPECTED_TOKEN: 'this does not belong here; is a quote, bracket, colon or indentation wrong nearby?',
};

/** One conversion of nodes to values: remembers where each stood and what was wrong. */
class Reading {
  readonly problems: TextProblem[] = [];
  readonly #places = new Map<string, { readonly key: number; readonly value: number }>();
  readonly #meant = new Map<Alias, Node>();
  #values = 0;

  read(document: Document.Parsed): unknown {
    // The library looks for an alias's anchor by walking the document each time; one walk is enough for all.
    const anchors = new Map<string, Node>();
    visit(document, {
      Node: (_, node) => {
        if (!isAlias(node)) {
          if (node.anchor !== undefined) anchors.set(node.anchor, node);
          return;
        }
        const meant = anchors.get(node.source);
        if (meant === undefined) this.#complain(node.range?.[0] ?? 0, SYNTAX['BAD_ALIAS'] ?? '');
        else this.#meant.set(node, meant);
      },
    });
    return this.#convert(document.contents, [], 0);
  }

  #convert(node: Node | null, path: Path, depth: number, key?: number): unknown {
    const at = node?.range?.[0];
    this.#places.set(JSON.stringify(path), { key: key ?? at ?? 0, value: at ?? key ?? 0 });
    this.#values += 1;
    if (depth > MAX_DEPTH || this.#values > MAX_VALUES) {
      // Said once: everything after the bound would complain too.
      if (this.#values !== Number.POSITIVE_INFINITY)
        this.#complain(at ?? key ?? 0, 'too many values; aliases unfold to more than they look');
      this.#values = Number.POSITIVE_INFINITY;
      return null;
    }
    if (isAlias(node)) return this.#convert(this.#meant.get(node) ?? null, path, depth + 1, key ?? at);
    if (isMap(node)) {
      const members = new Map<string, unknown>();
      for (const { key: name, value } of node.items) {
        const offset = (name as Node | null)?.range?.[0] ?? at ?? 0;
        const word = this.#keyOf(name, offset);
        if (word === undefined) continue;
        if (members.has(word)) {
          this.#complain(offset, `${keyName(word)} is given twice`);
          continue;
        }
        members.set(word, this.#convert(value as Node | null, [...path, word], depth + 1, offset));
      }
      return Object.fromEntries(members);
    }
    if (isSeq(node)) {
      return node.items.map((item, index) => this.#convert(item as Node | null, [...path, index], depth + 1));
    }
    return isScalar(node) ? this.#plain(node.value) : null;
  }

  offsetOf(path: Path, what: 'key' | 'value'): number {
    for (let length = path.length; length >= 0; length--) {
      const place = this.#places.get(JSON.stringify(path.slice(0, length)));
      if (place !== undefined) return place[length === path.length ? what : 'key'];
    }
    return 0;
  }

  #keyOf(node: unknown, offset: number): string | undefined {
    const value = isScalar(node) ? node.value : node;
    if (typeof value === 'string') return value;
    if (value === '<<') this.#complain(offset, 'merge keys ("<<") are not read');
    else this.#complain(offset, 'a key must be text; put it in quotes');
    return undefined;
  }

  /** Whole numbers too large for exactness arrive as they are; binary and dates do not exist in YAML 1.2's core schema. */
  #plain(value: unknown): unknown {
    return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : null;
  }

  #complain(offset: number, message: string): void {
    if (this.problems.length < 200) this.problems.push({ offset, message });
  }
}

/** A key as errors may show it: only what looks like a key, for what does not may be a secret in the wrong place. */
export function keyName(key: string): string {
  return /^[A-Za-z0-9_.$<-]{1,40}$/.test(key) ? printable(key) : 'this key';
}
