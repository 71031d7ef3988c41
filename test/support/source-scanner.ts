/**
 * Reads what a TypeScript file depends on, from its tokens: comments, strings, templates and regular expressions are told
 * apart first, so that an `import` in a comment or a quotation is none.
 */

export interface Dependency {
  /** How the other file is named: `url` is `new URL('./x.js', import.meta.url)` or `import.meta.resolve('x')`. */
  readonly kind: 'static' | 'type' | 'dynamic' | 'export' | 'require' | 'url';
  /** Undefined where it is not written as one literal, so that no reader of the text can know it. */
  readonly specifier: string | undefined;
  readonly line: number;
}

interface Token {
  readonly type: 'word' | 'string' | 'template' | 'regex' | 'punctuation';
  /** Of a string: its contents. */
  readonly text: string;
  readonly line: number;
}

export interface Source {
  readonly dependencies: readonly Dependency[];
  /** The tokens without comments, single spaces between them, and `""` for every string, template and regular expression. */
  readonly code: string;
  /** The line of what stands at an offset of `code`. */
  lineAt(offset: number): number;
}

export function scan(text: string): Source {
  const tokens = tokenize(text);
  const shown = tokens.map(({ type, text }) => (type === 'word' || type === 'punctuation' ? text : '""'));
  const lineAt = (offset: number): number => {
    let end = 0;
    const index = shown.findIndex((token) => {
      end += token.length + 1;
      return end > offset;
    });
    return tokens[index]?.line ?? 0;
  };
  return { dependencies: dependencies(tokens), code: shown.join(' '), lineAt };
}

/** Words after which a `/` opens a regular expression, although other words end a value. */
const BEFORE_A_VALUE = new Set(
  'return typeof case in of do else void delete throw new instanceof await yield default extends'.split(' '),
);

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let line = 1;
  /** For each open `{`: whether it belongs to a template's `${`. */
  const braces: boolean[] = [];

  const take = (length: number): string => {
    const piece = text.slice(at, at + length);
    at += length;
    line += piece.split('\n').length - 1;
    return piece;
  };
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(text)?.[0];
  };
  const endsValue = (): boolean => {
    const last = tokens.at(-1);
    if (last === undefined) return false;
    if (last.type === 'punctuation') return last.text === ')' || last.text === ']' || last.text === '}';
    return last.type !== 'word' || !BEFORE_A_VALUE.has(last.text);
  };
  const templatePart = (): void => {
    const start = line;
    const part = match(/(?:[^\\`$]|\\[\s\S]|\$(?!\{))*/y) ?? '';
    take(part.length);
    const closed = text[at] === '`';
    tokens.push({ type: 'template', text: part, line: start });
    if (closed || at >= text.length) return void take(1);
    take(2); // `${`
    braces.push(true);
    tokens.push({ type: 'punctuation', text: '${', line });
  };

  while (at < text.length) {
    const space = match(/\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/|^#![^\n]*/y);
    if (space !== undefined) {
      take(space.length);
      continue;
    }
    const start = line;
    const word = match(/[\p{ID_Start}$_#0-9][\p{ID_Continue}$\u200c\u200d]*/uy);
    const quoted = match(/'(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*"/y);
    const regex = endsValue() ? undefined : match(/\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y);
    if (word !== undefined) tokens.push({ type: 'word', text: take(word.length), line: start });
    else if (quoted !== undefined) tokens.push({ type: 'string', text: take(quoted.length).slice(1, -1), line: start });
    else if (regex !== undefined) tokens.push({ type: 'regex', text: take(regex.length), line: start });
    else if (text[at] === '`') {
      take(1);
      templatePart();
    } else {
      const mark = take(1);
      tokens.push({ type: 'punctuation', text: mark, line: start });
      if (mark === '{') braces.push(false);
      if (mark === '}' && braces.pop() === true) templatePart();
    }
  }
  return tokens;
}

function dependencies(tokens: readonly Token[]): Dependency[] {
  const found: Dependency[] = [];
  const is = (index: number, text: string): boolean => {
    const token = tokens[index];
    return token?.text === text && (token.type === 'word' || token.type === 'punctuation');
  };
  const type = (index: number): Token['type'] | undefined => tokens[index]?.type;
  /** The literal that is the whole first argument after the `(` at `index`, or that a constant of this file stands for. */
  const argument = (index: number): string | undefined => {
    const token = tokens[index + 1];
    if (token === undefined || !(is(index + 2, ')') || is(index + 2, ','))) return undefined;
    if (token.type === 'string' || token.type === 'template') return token.text;
    const at = tokens.findIndex((_, at) => is(at, 'const') && is(at + 1, token.text) && is(at + 2, '='));
    return at >= 0 && type(at + 3) === 'string' ? tokens[at + 3]?.text : undefined;
  };
  const closing = (open: number): number => {
    let depth = 0;
    for (let index = open; index < tokens.length; index++) {
      if (is(index, '(')) depth++;
      if (is(index, ')') && --depth === 0) return index;
    }
    return tokens.length;
  };
  const add = (kind: Dependency['kind'], specifier: string | undefined, index: number): void => {
    found.push({ kind, specifier, line: tokens[index]?.line ?? 0 });
  };
  /** The string after the next `from`, unless the statement ends before. */
  const from = (index: number): string | undefined => {
    for (let next = index; next < tokens.length && !is(next, ';'); next++) {
      if (is(next, 'from') && type(next + 1) === 'string') return tokens[next + 1]?.text;
    }
    return undefined;
  };
  /** `require`, and whatever `createRequire` was assigned to. */
  const requires = new Set(['require']);

  for (let index = 0; index < tokens.length; index++) {
    const token = tokens[index];
    if (token?.type !== 'word' || (is(index - 1, '.') && !is(index - 2, '.'))) continue;
    const isType = is(index + 1, 'type') && !is(index + 2, 'from') && !is(index + 2, ',');
    if (token.text === 'import') {
      if (is(index + 1, '(')) add('dynamic', argument(index + 1), index);
      else if (type(index + 1) === 'string') add('static', tokens[index + 1]?.text, index);
      else if (is(index + 1, '.')) {
        if (is(index + 4, 'resolve') && is(index + 5, '(')) add('url', argument(index + 5), index);
      } else if (is(index + 1, '{') || is(index + 1, '*') || (type(index + 1) === 'word' && !is(index + 1, 'from'))) {
        const specifier = from(index);
        if (specifier !== undefined) add(isType ? 'type' : 'static', specifier, index);
      }
    } else if (token.text === 'export') {
      const open = isType ? index + 2 : index + 1;
      const end = is(open, '{') ? tokens.findIndex((_, at) => at > open && is(at, '}')) + 1 : open + 1;
      const names = is(open, '*') && is(open + 1, 'as') ? open + 3 : end;
      if ((is(open, '{') || is(open, '*')) && is(names, 'from')) add('export', tokens[names + 1]?.text, index);
    } else if (token.text === 'createRequire' && is(index + 1, '(')) {
      const call = closing(index + 1) + 1;
      if (is(call, '(')) add('require', argument(call), index);
      const name = tokens[index - 2];
      if (is(index - 1, '=') && name?.type === 'word') requires.add(name.text);
    } else if (requires.has(token.text)) {
      const call = is(index + 1, '.') && is(index + 2, 'resolve') ? index + 3 : index + 1;
      if (is(call, '(')) add('require', argument(call), index);
    } else if (token.text === 'URL' && is(index - 1, 'new') && is(index + 1, '(')) {
      const end = closing(index + 1);
      const meta = tokens.slice(index, end).some((_, offset) => is(index + offset, 'import'));
      if (meta) add('url', argument(index + 1), index);
    }
  }
  return found;
}
