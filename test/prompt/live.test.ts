import { describe, expect, it } from 'vitest';
import { LiveLines } from '../../src/prompt/live.ts';
import { cut, plainName, width, wrapped } from '../../src/prompt/width.ts';

/** As much of a terminal as the drawing uses: lines, the cursor, erasing. What scrolls out at the top is gone. */
class Terminal {
  size = { columns: 40, rows: 6 };
  lines: string[] = ['$ scan'];
  row = 1;
  cursor = true;
  readonly #seen: number[] = [];

  get mostRows(): number {
    return Math.max(...this.#seen);
  }

  readonly write = (text: string): void => {
    for (const [piece] of text.matchAll(/\u001b\[\??\d*[A-Za-z]|\r|\n|[^\u001b\r\n]+/g)) {
      if (piece === '\n') this.row += 1;
      else if (piece === '\r') continue;
      else if (piece === '\u001b[?25l' || piece === '\u001b[?25h') this.cursor = piece.endsWith('h');
      else if (/^\u001b\[\d+A$/.test(piece)) this.row = Math.max(0, this.row - Number(piece.slice(2, -1)));
      else if (piece === '\u001b[J') this.lines.length = Math.min(this.lines.length, this.row);
      else if (piece.startsWith('\u001b[')) continue;
      else this.lines[this.row] = piece;
    }
    this.#seen.push(this.row);
  };
}

describe('lines that are drawn in place', () => {
  it('replace each other, leave nothing behind and give the cursor back', () => {
    const terminal = new Terminal();
    const live = new LiveLines({ write: terminal.write, size: () => terminal.size });
    live.draw(['one', 'two', 'three']);
    expect(terminal.lines.slice(1)).toEqual(['one', 'two', 'three']);
    expect(terminal.cursor).toBe(false);
    live.draw(['uno']);
    expect(terminal.lines.slice(1)).toEqual(['uno']);
    live.clear();
    expect(terminal.lines).toEqual(['$ scan']);
    expect(terminal.cursor).toBe(true);
    const said: string[] = [];
    new LiveLines({ write: (text) => said.push(text), size: () => terminal.size }).clear();
    expect(said).toEqual([]);
  });

  it('never take more than the window, however many and long they are', () => {
    const terminal = new Terminal();
    const live = new LiveLines({ write: terminal.write, size: () => terminal.size });
    terminal.row = 0;
    live.draw(Array.from({ length: 50 }, () => '家'.repeat(60)));
    expect(terminal.lines).toHaveLength(5);
    for (const line of terminal.lines) expect(width(line)).toBeLessThan(40);
    terminal.size = { columns: 1, rows: 1 };
    expect(() => live.draw(['', 'x'])).not.toThrow();
  });
});

describe('the width of a text', () => {
  it.each([
    ['', 0],
    ['porch', 5],
    ['\u001b[32mporch\u001b[39m', 5],
    ['家のランプ', 10],
    ['한국', 4],
    ['e\u0301', 1],
    ['💡', 2],
    ['🏠x', 3],
    ['שלום', 4],
    ['ｱ', 1],
    ['Ａ', 2],
  ])('of %j is %d columns', (text, columns) => {
    expect(width(text)).toBe(columns);
  });

  it.each(['porch light', '家のランプ', '\u001b[1m家の\u001b[22mランプ', '💡💡💡', 'a\u0301b\u0301c\u0301'])(
    'is kept to when %j is cut, at every length',
    (text) => {
      for (let columns = 0; columns <= 12; columns += 1) {
        const short = cut(text, columns);
        expect(width(short)).toBeLessThanOrEqual(columns);
        if (width(text) > columns && columns > 0) expect(short).toContain('…');
      }
      expect(cut(text, width(text))).toBe(text);
    },
  );

  it('breaks lines at spaces only', () => {
    expect(wrapped('run porchlight login now', 11)).toEqual(['run', 'porchlight', 'login now']);
    expect(wrapped('mosquitto_pub', 4)).toEqual(['mosquitto_pub']);
  });
});

describe('a name from the air', () => {
  it.each([
    ['\u001b[2J\u001b]0;title\u0007', /^[^\u001b\u0007]+$/],
    ['a\r\nb\tc\u0000', /^a\ufffd\ufffdb\ufffdc\ufffd$/],
    ['\u202eevil\u2069', /^\ufffdevil\ufffd$/],
    ['x\u00ady\u061cz\u3164', /^x\ufffdy\ufffdz\ufffd$/],
    ['\ud800half', /^\ufffdhalf$/],
    ['\ue000\u{f0000}', /^\ufffd\ufffd$/],
    [`e${'\u0301'.repeat(50)}`, /^.{1,4}$/u],
    ['\u2028\u2029', /^\ufffd\ufffd$/],
  ])('%j is harmless on a terminal', (name, harmless) => {
    expect(plainName(name)).toMatch(harmless);
  });

  it('stays as it is where it is letters', () => {
    for (const name of ['ELK-BLEDOM', '家のランプ', 'Küche (links)', 'שלום', 'Ночник'])
      expect(plainName(name)).toBe(name);
  });
});
