import { createRequire } from 'node:module';
import { printable } from '../log.ts';

/** Loaded when a code is drawn: a gateway that has its approval never needs it. */
const qrcode = (): typeof import('qrcode-terminal') => createRequire(import.meta.url)('qrcode-terminal');

/** What a person needs to approve the gateway (RFC 8628 section 3.3). */
export interface CodeToShow {
  readonly user_code: string;
  readonly verification_uri: string;
  readonly verification_uri_complete?: string;
  /** Wall clock, ms since 1970. */
  readonly expires_at: number;
}

export interface RenderOptions {
  /** Draw a QR code, where it fits. The address and the code are there as text in any case (RFC 8628 section 3.3.1). */
  readonly qr: boolean;
  /** Width of the terminal. Default: 80. */
  readonly columns?: number;
  /** Colours and bold type may be used. */
  readonly colours: boolean;
  /** Wall clock, ms since 1970; for the minutes left. Default: now. */
  readonly now?: number;
}

const LONGEST_ADDRESS = 2048;
/** A QR code of a longer text has modules too small for a phone across a desk. */
const LONGEST_QR = 400;
/** Exact white on exact black: themes repaint the sixteen basic colours, and a scanner needs the contrast. */
const WHITE_ON_BLACK = '\u001b[38;5;231;48;5;16m';
const BOLD = '\u001b[1m';
const DIM = '\u001b[2m';
const PLAIN = '\u001b[0m';

/**
 * The request for approval as text for a terminal or a journal: what to do, where, with which code, and for how long.
 * The code stands last, so that it is what remains on a small screen. Ends with a line break.
 */
export function renderCode(shown: CodeToShow, { qr, columns = 80, colours, now = Date.now() }: RenderOptions): string {
  const style = (code: string, text: string): string => (colours ? `${code}${text}${PLAIN}` : text);
  const address = printable(shown.verification_uri, LONGEST_ADDRESS);
  const complete = shown.verification_uri_complete;
  const picture = qr
    ? drawQr(printable(complete ?? shown.verification_uri, LONGEST_ADDRESS), columns, colours)
    : undefined;
  const types = complete === undefined || picture === undefined;
  const lines = [
    '',
    `  ${style(BOLD, 'Porchlight asks for your approval')}`,
    '',
    ...wrap('Once you allow it, this gateway can take authorized commands to your lamps. You do this once.', columns),
    '',
    ...(picture === undefined ? [] : [...wrap('Scan this with a phone:', columns), '', ...picture, '']),
    ...wrap(
      picture === undefined ? 'Open this address in a browser, on any device:' : 'or open this address in a browser:',
      columns,
    ),
    '',
    `      ${style(BOLD, address)}`,
    '',
    ...wrap(types ? 'and enter this code:' : 'Either way, the page must name this code (or ask you for it):', columns),
    '',
    `      ${style(BOLD, printable(shown.user_code, 64))}`,
    '',
    ...wrap(timeLeft(shown.expires_at - now), columns).map((line) => style(DIM, line)),
    ...wrap('Never enter a code that somebody sent you.', columns).map((line) => style(DIM, line)),
    '',
  ];
  return `${lines.join('\n')}\n`;
}

function timeLeft(ms: number): string {
  if (!(ms > 0)) return 'This code has expired.';
  // Rounded, so that a code of ten minutes is not called one of nine a moment after it came.
  const minutes = Math.round(ms / 60_000);
  if (ms < 60_000) return 'The code is good for less than a minute.';
  if (minutes < 120) return `The code is good for ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}.`;
  return `The code is good for ${Math.floor(minutes / 60)} hours.`;
}

/** Lines of whole words, indented by two, no wider than the terminal. */
function wrap(text: string, columns: number): string[] {
  const width = Math.max(20, columns) - 2;
  const lines: string[] = [];
  let line = ' ';
  for (const word of text.split(' ')) {
    if (line.trim() !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = ' ';
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

/** The lines of a QR code, or undefined where it would not fit or could not be scanned. */
function drawQr(text: string, columns: number, colours: boolean): string[] | undefined {
  if (text.length > LONGEST_QR) return undefined;
  let drawn = '';
  try {
    qrcode().generate(text, { small: true }, (picture) => {
      drawn = picture;
    });
  } catch {
    // The library throws plain texts, when one is too long for any picture: the address below is enough.
    return undefined;
  }
  const [border = '', ...rows] = drawn.split('\n').filter((row) => row !== '');
  const width = border.length;
  if (width + 6 > columns) return undefined;
  // The library leaves a margin of one module, half a row of it unlit; scanners are promised four and content with three.
  const margin = '\u2588'.repeat(width + 4);
  const framed = [margin, margin, ...rows.map((row) => `\u2588\u2588${row}\u2588\u2588`), margin];
  return framed.map((row) => `  ${colours ? `${WHITE_ON_BLACK}${row}${PLAIN}` : row}`);
}
