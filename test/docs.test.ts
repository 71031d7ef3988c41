import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ERRORS } from '../src/errors.ts';
import { FAMILIES, modelCalled, recognise } from '../src/families/index.ts';
import { parseChange } from '../src/lights/change.ts';
import { UNKNOWN_STATE } from '../src/lights/state.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NOT_OURS = ['node_modules', '.git', 'dist', 'coverage', '.build'];

function filesUnder(folder: string, wanted: RegExp): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return NOT_OURS.includes(entry.name) ? [] : filesUnder(path, wanted);
    return wanted.test(entry.name) ? [path] : [];
  });
}

const PAGES = filesUnder(ROOT, /\.md$/);
const readme = (): string => {
  const path = join(ROOT, 'README.md');
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
};

/** Text as it stands in a table's cell. */
const cell = (text: string): string => text.replaceAll('|', '\\|');

describe('the README', () => {
  it('is there', () => {
    expect(existsSync(join(ROOT, 'README.md')), 'write README.md').toBe(true);
  });

  it.each(Object.entries(ERRORS))(
    'has a row for the code %s, in the words of src/errors.ts',
    (code, { message, hint }) => {
      const row = `| \`${code}\` | ${cell(message)} | ${cell(hint)} |`;
      const rows = readme()
        .split('\n')
        .map((line) => line.replaceAll(/ *\| */g, ' | ').trim());
      const wanted = row.replaceAll(/ *\| */g, ' | ').trim();
      expect(rows.includes(wanted), `add a row to the table of codes in README.md:\n${row}`).toBe(true);
    },
  );

  it('has no row for a code that src/errors.ts does not have', () => {
    const table = /<!-- codes -->([\s\S]*?)<!-- \/codes -->/.exec(readme())?.[1];
    expect(table, 'put the table of codes between <!-- codes --> and <!-- /codes -->').toBeDefined();
    const named = [...(table ?? '').matchAll(/^\| *`([a-z_]+)`/gm)].map(([, code]) => code);
    expect(named.filter((code) => code === undefined || !(code in ERRORS))).toEqual([]);
  });
});

/** `#anchor` as GitHub makes it of a heading. */
function anchor(heading: string): string {
  return heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\p{M}_\- ]/gu, '')
    .replaceAll(' ', '-');
}

function withoutCode(text: string): string {
  return text.replaceAll(/^(```|~~~)[\s\S]*?^\1/gm, '').replaceAll(/`[^`\n]*`/g, '');
}

/** Links of a page that lead nowhere. */
function deadLinks(page: string, text: string): string[] {
  const links = [...withoutCode(text).matchAll(/\]\(([^)\s]+)(?: "[^"]*")?\)/g)].map(([, target]) => target ?? '');
  return links.filter((target) => {
    if (/^(https:|mailto:)/.test(target)) return false;
    const [path = '', fragment] = target.split('#');
    const file = path === '' ? page : join(dirname(page), decodeURIComponent(path));
    if (!existsSync(file)) return true;
    if (fragment === undefined) return false;
    // A heading's own code marks belong to its text, so the text is read as it is.
    const body = (file === page ? text : readFileSync(file, 'utf8')).replaceAll(/^(```|~~~)[\s\S]*?^\1/gm, '');
    const headings = [...body.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchor(heading ?? ''));
    return !headings.includes(fragment);
  });
}

describe('the pages', () => {
  it.each(PAGES.map((page) => [relative(ROOT, page), page]))('%s has only links that lead somewhere', (_, page) => {
    expect(deadLinks(page, readFileSync(page, 'utf8'))).toEqual([]);
  });

  it('would be caught with a dead link (this test of the test)', () => {
    const page = join(ROOT, 'SECURITY.md');
    const text =
      '# A b: `c`\n[1](nothing.md) [2](SECURITY.md) [3](#a-b-c) [4](#none) `[5](no.md)` [6](http://example.com)';
    expect(deadLinks(page, text)).toEqual(['nothing.md', '#none', 'http://example.com']);
  });

  it.each([
    ['SECURITY.md', [/report/i, /within \d+ days/i, /supported versions/i]],
    ['CONTRIBUTING.md', [/add a lamp in ten minutes/i, /npm run check/]],
    ['ARCHITECTURE.md', [/^## Decisions$/m]],
    ['CHANGELOG.md', [/^## \[Unreleased\]$/m]],
    ['LICENSE', [/^MIT License$/m, /The Porchlight authors/]],
  ])('%s says what people look for in it', (name, wanted) => {
    const text = readFileSync(join(ROOT, name), 'utf8');
    for (const pattern of wanted) expect(text).toMatch(pattern);
  });

  it('the changelog has an entry for the version of package.json', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    expect(readFileSync(join(ROOT, 'CHANGELOG.md'), 'utf8')).toContain(`## [${version}] - `);
  });

  it('ARCHITECTURE.md speaks of every package that the program depends on, and names only folders that exist', () => {
    const text = readFileSync(join(ROOT, 'ARCHITECTURE.md'), 'utf8');
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    const unsaid = Object.keys(dependencies).filter((name) => !text.includes(name.replace(/^@[^/]+\//, '')));
    expect(unsaid, 'say under Decisions why the program depends on it').toEqual([]);
    const named = [...text.matchAll(/`(src\/[a-z0-9_./-]*|test\/[a-z0-9_./-]*)`/g)].map(([, path]) => path ?? '');
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
});

describe('"Add a lamp in ten minutes"', () => {
  const text = readFileSync(join(ROOT, 'CONTRIBUTING.md'), 'utf8');
  const example = JSON.parse(/```json\n([\s\S]*?)```/.exec(text)?.[1] ?? '{}');
  const family = FAMILIES.find(({ id }) => id === example.familyId);

  it('shows a vector that holds', () => {
    const model = family?.recognise({ localName: example.localName, serviceUuids: [] });
    const layout = family?.gatt.find(({ write }) => write === model?.usualWrite);
    if (family === undefined || model === undefined || layout === undefined)
      return expect.fail('the vector names no lamp');
    const frames = family.encode(parseChange(example.change), model, UNKNOWN_STATE, layout);
    return expect(frames.map(({ bytes }) => Buffer.from(bytes).toString('hex'))).toContain(example.bytes);
  });

  it('shows a row that stands in the family, and commands that work', () => {
    const row = /```ts\n(\{ \.\.\.TRIONES, id: '([^']+)'.*\},)\n```/.exec(text);
    expect(readFileSync(join(ROOT, 'src/families/triones.ts'), 'utf8')).toContain(row?.[1] ?? 'no row is shown');
    expect(family && modelCalled(family, row?.[2] ?? '')).toBeDefined();
    const hex = /decode --family triones ([0-9a-f]+)/.exec(text)?.[1] ?? '';
    expect(family?.models[0] && family.decode?.(Buffer.from(hex, 'hex'), family.models[0])).toMatchObject({
      state: 'ON',
    });
    const advert = JSON.parse(/recognise '(.*)'/.exec(text)?.[1] ?? '{}');
    expect(recognise(advert)[0]?.family.id).toBe('triones');
  });

  it.each(['src/families/', 'src/bluetooth/air/lamps/', 'test/fixtures/light-vectors.json', 'test/families.test.ts'])(
    'names %s, which is there',
    (path) => {
      expect(text).toContain(path);
      expect(existsSync(join(ROOT, path))).toBe(true);
    },
  );
});

describe('nothing that we ship or show', () => {
  const shown = filesUnder(ROOT, /\.(md|ts|js|json|yaml|yml|conf|example|service|toml)$|^(run|LICENSE|\.npmrc)$/);

  // In pieces, so that this file does not say them itself.
  it.each([
    ['a folder of the machine it was written on', new RegExp(`(^|[\\s"'\`(=])/${'work'}(/|\\b)`, 'm')],
    ['the host of a package registry', new RegExp(['(registry|www)', '(npmjs|yarnpkg)', '(org|com)'].join('\\.'))],
    ['a private key', new RegExp(`-----BEGIN [A-Z ]*${'PRIVATE'} KEY-----\\n[A-Za-z0-9+/]`)],
    ['a token', new RegExp(`\\b${'eyJ'}[A-Za-z0-9_-]{30,}\\.${'eyJ'}[A-Za-z0-9_-]{30,}\\.[A-Za-z0-9_-]{40,}`)],
  ])('holds %s', (_, pattern) => {
    const found = shown.filter((path) => pattern.test(readFileSync(path, 'utf8'))).map((path) => relative(ROOT, path));
    expect(found).toEqual([]);
  });
});
