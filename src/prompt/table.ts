import { width } from './width.ts';

/** Rows as columns of text, each as wide as its widest cell, for people. Colours take no room; the last column is not padded. */
export function table(rows: readonly (readonly string[])[], indent = ''): string {
  const widths: number[] = [];
  for (const row of rows) for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, width(cell));
  const padded = (cell: string, at: number): string => cell + ' '.repeat((widths[at] ?? 0) - width(cell));
  return rows.map((row) => indent + row.map(padded).join('  ').trimEnd()).join('\n');
}

/** Colours for terminals; plain text elsewhere. */
export function paint(colours: boolean): Record<'bold' | 'dim' | 'green' | 'yellow' | 'red', (text: string) => string> {
  const wrap = (open: number, close: number) => (text: string) =>
    colours ? `\u001b[${open}m${text}\u001b[${close}m` : text;
  return { bold: wrap(1, 22), dim: wrap(2, 22), green: wrap(32, 39), yellow: wrap(33, 39), red: wrap(31, 39) };
}
