import { cut, width } from './width.ts';

/** The terminal that is drawn on. */
export interface Screen {
  readonly write: (text: string) => void;
  readonly size: () => { readonly columns: number; readonly rows: number };
}

const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';
/** Terminals that know it show all between these at once; the others ignore it (the "synchronized output" extension). */
const BEGIN = '\u001b[?2026h';
const END = '\u001b[?2026l';
const ERASE_LINE_REST = '\u001b[K';
const ERASE_BELOW = '\u001b[J';

/**
 * Lines at the bottom of a terminal that are drawn over again and again. They never take more than the window: each is cut to its width,
 * and their number to its height. Nothing is erased before it is drawn over, so nothing flickers.
 */
export class LiveLines {
  readonly #screen: Screen;
  #drawn: readonly string[] = [];
  #hidden = false;

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  /** Shows these lines in the place of those shown before; of too many, the first are shown. */
  draw(lines: readonly string[]): void {
    const { columns, rows } = this.#screen.size();
    const shown = lines.slice(0, Math.max(1, rows - 1)).map((line) => cut(line, Math.max(1, columns - 1)));
    const text = shown.map((line) => `${line}${ERASE_LINE_REST}\n`).join('');
    const hide = this.#hidden ? '' : HIDE_CURSOR;
    this.#hidden = true;
    this.#screen.write(`${BEGIN}${hide}${this.#home(columns, rows)}${text}${ERASE_BELOW}${END}`);
    this.#drawn = shown;
  }

  /** Erases what is shown; the cursor is where it began, and visible. */
  clear(): void {
    if (!this.#hidden) return;
    const { columns, rows } = this.#screen.size();
    this.#screen.write(`${this.#home(columns, rows)}${ERASE_BELOW}${SHOW_CURSOR}`);
    this.#drawn = [];
    this.#hidden = false;
  }

  /** To the first line drawn. In a window that became narrower, terminals have broken lines in two. */
  #home(columns: number, rows: number): string {
    const taken = this.#drawn.reduce(
      (sum, line) => sum + Math.max(1, Math.ceil(width(line) / Math.max(1, columns))),
      0,
    );
    const up = Math.min(taken, Math.max(0, rows - 1));
    return up === 0 ? '\r' : `\r\u001b[${up}A`;
  }
}
