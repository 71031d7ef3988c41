import { printable } from '../log.ts';

/** A colour, as `table.ts` paints; it takes no room. */
const COLOUR = /\u001b\[\d+m/g;

/**
 * What `printable` lets pass and yet is no letter on a terminal: soft hyphen, Arabic letter mark, fillers, Mongolian separators,
 * annotations, halves of a surrogate pair, private use, tags and everything else that no terminal agrees on how to show.
 */
const ODD =
  /[\u00ad\u061c\u115f\u1160\u180e\u3164\uffa0\ufff0-\uffff]|\p{Surrogate}|\p{Private_Use}|\p{Unassigned}|[\u{e0000}-\u{e0fff}]/gu;
/** More marks on one letter than any language writes climb into the lines above. */
const HEAP = /(\p{Mark}{3})\p{Mark}+/gu;
/** Emoji are shown as one, two or four columns by different terminals when they are joined or changed. */
const CHANGERS = /\u17b4|\u17b5|[\u180b-\u180d\u180f]|[\u200d\ufe00-\ufe0f\u{1f3fb}-\u{1f3ff}]/gu;

/** A name from the air, for a cell of a table: nothing in it moves the cursor, hides, or reaches out of its line. */
export function plainName(text: string, longest = 80): string {
  const whole = printable(text.normalize('NFC'), longest);
  return whole.replace(CHANGERS, '').replace(ODD, '\ufffd').replace(HEAP, '$1').replace(/\s/g, ' ').trim();
}

/** Two columns each: East Asian Wide and Fullwidth (Unicode, UAX #11), and emoji, in ranges wide enough for a table. */
const WIDE =
  /[\u1100-\u115f\u231a\u231b\u2329\u232a\u23e9-\u23ec\u23f0\u23f3\u25fd\u25fe\u2614\u2615\u2648-\u2653\u267f\u2693\u26a1\u26aa\u26ab\u26bd\u26be\u26c4\u26c5\u26ce\u26d4\u26ea\u26f2\u26f3\u26f5\u26fa\u26fd\u2705\u270a\u270b\u2728\u274c\u274e\u2753-\u2755\u2757\u2795-\u2797\u27b0\u27bf\u2b1b\u2b1c\u2b50\u2b55\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6b\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18aff}\u{1b000}-\u{1b2ff}\u{1f004}\u{1f0cf}\u{1f18e}\u{1f191}-\u{1f19a}\u{1f200}-\u{1f320}\u{1f32d}-\u{1f335}\u{1f337}-\u{1f37c}\u{1f37e}-\u{1f393}\u{1f3a0}-\u{1f3ca}\u{1f3cf}-\u{1f3d3}\u{1f3e0}-\u{1f3f0}\u{1f3f4}\u{1f3f8}-\u{1f43e}\u{1f440}\u{1f442}-\u{1f4fc}\u{1f4ff}-\u{1f53d}\u{1f54b}-\u{1f54e}\u{1f550}-\u{1f567}\u{1f57a}\u{1f595}\u{1f596}\u{1f5a4}\u{1f5fb}-\u{1f64f}\u{1f680}-\u{1f6c5}\u{1f6cc}\u{1f6d0}-\u{1f6d2}\u{1f6d5}-\u{1f6d7}\u{1f6dc}-\u{1f6df}\u{1f6eb}\u{1f6ec}\u{1f6f4}-\u{1f6fc}\u{1f7e0}-\u{1f7eb}\u{1f7f0}\u{1f90c}-\u{1f93a}\u{1f93c}-\u{1f945}\u{1f947}-\u{1f9ff}\u{1fa70}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const NARROW = /^[\u0020-\u007e]*$/;

/** Columns of a terminal that a text takes; colours take none. */
export function width(text: string): number {
  const bare = text.replace(COLOUR, '');
  if (NARROW.test(bare)) return bare.length;
  let columns = 0;
  for (const character of bare) columns += columnsOf(character);
  return columns;
}

function columnsOf(character: string): number {
  if (/^[\p{Mark}\u200b-\u200f]$/u.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}

/** A text cut to `columns`, its end marked by `…`; colours stay whole, and end where the text does. */
export function cut(text: string, columns: number): string {
  if (width(text) <= columns) return text;
  if (columns <= 0) return '';
  let left = columns - 1;
  let out = '';
  let coloured = false;
  for (const [piece] of text.matchAll(/\u001b\[\d+m|./gsu)) {
    if (piece.startsWith('\u001b[')) {
      out += piece;
      coloured = true;
      continue;
    }
    const takes = columnsOf(piece);
    if (takes > left) break;
    left -= takes;
    out += piece;
  }
  return `${out}…${coloured ? '\u001b[22m\u001b[39m' : ''}`;
}

/** A text as lines of at most `columns`, broken at spaces where there are some. */
export function wrapped(text: string, columns: number): readonly string[] {
  const lines: string[] = [];
  for (const paragraph of text.split('\n')) {
    let line = '';
    for (const word of paragraph.split(' ')) {
      const longer = line === '' ? word : `${line} ${word}`;
      if (line !== '' && width(longer) > columns) {
        lines.push(line);
        line = word;
      } else line = longer;
    }
    lines.push(line);
  }
  return lines;
}
