import { paint, table } from '../prompt/table.ts';
import { cut, plainName, wrapped } from '../prompt/width.ts';
import { type LightLine, lightLines, renderLightLines } from './light-lines.ts';

/** One device as `GET /api/scan` tells of it. */
export interface Seen {
  readonly address: string;
  readonly name: string;
  readonly rssi?: number | undefined;
  readonly connectable: boolean;
  readonly family?: string | undefined;
  readonly model?: string | undefined;
  readonly supported?: boolean | undefined;
  readonly reason?: string | undefined;
  readonly configured?: string | undefined;
  readonly linked: boolean;
  readonly heard: boolean;
}

/** Ours first, then lamps that could be, then those that cannot, then whoever has a name, then the rest. */
function rank({ configured, supported, family, name }: Seen): number {
  if (configured !== undefined) return 0;
  if (supported === true) return 1;
  if (family !== undefined) return 2;
  return name === '' ? 4 : 3;
}

/** The most useful first, and in each kind the strongest. */
export function sorted(seen: Iterable<Seen>): readonly Seen[] {
  return [...seen].sort(
    (a, b) => rank(a) - rank(b) || (b.rssi ?? -128) - (a.rssi ?? -128) || (a.address < b.address ? -1 : 1),
  );
}

/** Entries for the lamps that can be driven and are not configured. */
export function newLights(seen: readonly Seen[], taken: Iterable<string>): readonly LightLine[] {
  const lamps = seen.flatMap(({ address, name, family, supported, configured }) =>
    supported === true && configured === undefined && family !== undefined ? [{ address, name, family }] : [],
  );
  return lightLines(lamps, taken);
}

/** Devices without a name that no family knows: more of them tell nobody anything. */
const MOST_NAMELESS = 10;

function rows(seen: readonly Seen[], colours: boolean): readonly (readonly string[])[] {
  const { bold, dim, green, yellow } = paint(colours);
  const head = ['SIGNAL', 'ADDRESS', 'LAMP', 'MODEL', 'NAME'].map(bold);
  const body = seen.map((one) => {
    const { configured, supported, family, model, reason, rssi, linked, heard, address } = one;
    const signal = rssi === undefined ? (linked ? 'linked' : heard ? '?' : 'not heard') : `${rssi} dBm`;
    const kind =
      configured !== undefined
        ? green(cut(configured, 20))
        : supported === true
          ? bold('new')
          : family === undefined
            ? dim('no')
            : yellow('unsupported');
    const known = family === undefined ? '' : `${family} ${plainName(model ?? '', 24)}`.trim();
    const what = reason === undefined ? known : `${known} (${plainName(reason, 60)})`;
    // The name comes last: letters that run from right to left then change the place of nothing else.
    const row = [signal, address, kind, what, plainName(one.name, 40)];
    return family === undefined && configured === undefined ? row.map(dim) : row;
  });
  return [head, ...body];
}

/** The table while it is being made: a line on how it goes, then as many rows as the window has room for. */
export function liveLines(
  seen: readonly Seen[],
  progress: string,
  { colours, height }: { readonly colours: boolean; readonly height: number },
): readonly string[] {
  const { dim, bold } = paint(colours);
  const lines = seen.length === 0 ? [] : table(rows(seen, colours)).split('\n');
  const room = Math.max(1, height - 3);
  const shown = lines.length <= room ? lines : lines.slice(0, room - 1);
  const hidden = lines.length - shown.length;
  return [
    `${bold(progress)}${dim(' · Ctrl-C ends and keeps the result')}`,
    ...shown,
    ...(hidden > 0 ? [dim(`… and ${hidden} more`)] : []),
  ];
}

/** How many there are of what, in words. */
export function summary(seen: readonly Seen[]): string {
  const count = (good: (one: Seen) => boolean): number => seen.filter(good).length;
  const heard = count((one) => one.heard);
  const ours = count((one) => one.configured !== undefined && (one.heard || one.linked));
  const configured = count((one) => one.configured !== undefined);
  const fresh = count((one) => one.configured === undefined && one.supported === true);
  const parts = [`${heard} ${heard === 1 ? 'device' : 'devices'}`];
  if (configured > 0) parts.push(`${ours} of ${configured} configured`);
  parts.push(`${fresh} new ${fresh === 1 ? 'lamp' : 'lamps'}`);
  return parts.join(', ');
}

/**
 * The result for people: the table, what to paste, or what to try. `where`: the configuration that was read; `already`: it has
 * the key `lights`.
 */
export function renderScan(
  seen: readonly Seen[],
  lines: readonly LightLine[],
  options: {
    readonly seconds: number;
    readonly colours: boolean;
    readonly columns?: number;
    readonly where?: string | undefined;
    readonly already?: boolean;
  },
): string {
  const { seconds, colours, columns, where, already = false } = options;
  const { dim } = paint(colours);
  const nameless = seen.filter((one) => rank(one) === 4);
  const shown = seen.filter((one) => rank(one) < 4 || nameless.indexOf(one) < MOST_NAMELESS);
  const hidden = seen.length - shown.length;
  const fit = (line: string): string => (columns === undefined ? line : cut(line, columns));
  const text = (paragraph: string): string => `${wrapped(paragraph, Math.min(columns ?? 100, 100)).join('\n')}\n`;
  const parts: string[] = [];
  if (shown.length > 0) parts.push(`${table(rows(shown, colours)).split('\n').map(fit).join('\n')}\n`);
  if (hidden > 0)
    parts.push(`${dim(`… and ${hidden} more without a name that no lamp family knows (--json lists all)`)}\n`);
  if (lines.length > 0) {
    const place = `${where ?? 'the configuration'}${already ? ', the lines below "lights:" under the one that is there' : ''}`;
    parts.push(
      `\n${text(`New lamps. Add to ${place} (ids and names are yours to change):`)}\n${renderLightLines(lines)}`,
    );
  } else if (!seen.some(({ heard }) => heard)) parts.push(text(`Nothing was heard in ${seconds} s.`), text(NOTHING));
  else if (!seen.some(({ supported, configured }) => supported === true || configured !== undefined)) {
    parts.push(`\n${text('No lamp that Porchlight can drive is among these.')}${text(NO_LAMP)}`);
  }
  return parts.join('');
}

const NOTHING =
  'Is a lamp switched on, and near? Move the gateway closer for a try, away from USB 3 devices, and listen longer ' +
  'with --seconds 60. Another program on the same adapter may stop the scan. "porchlight check" looks at the adapter.';
const NO_LAMP =
  'A lamp that is connected to a phone app does not show itself: close the app. Switch the lamp off and on again, move closer, or ' +
  'listen longer with --seconds 60. If it is in the list under another name: CONTRIBUTING.md tells how to add it.';
