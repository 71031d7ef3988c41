import type { AuditRecord } from '../access/audit/record.ts';
import type { Verdict } from '../access/audit/verify.ts';
import { paint } from '../prompt/table.ts';
import { cut, plainName, width } from '../prompt/width.ts';

/** Outcomes stand in the row of their command; counts of outcomes have one of their own. */
export const isRow = (record: AuditRecord): boolean => record.event !== 'outcome' || typeof record['of'] !== 'number';

/** A row; what is no command is told in a sentence that takes the room of the last three columns. */
interface Row {
  readonly time: string;
  readonly who: string;
  readonly what: string;
  readonly verdict?: readonly [decision: string | undefined, outcome: string];
}

/** Narrower windows get no year, no decision of what has an outcome, and shorter names. */
const WIDE_ENOUGH = 100;

/** Records as a table for people, newest last, each line at most `columns` wide. Everything in them is text from outside. */
export function renderRecords(records: readonly AuditRecord[], colours: boolean, columns = 1000): string {
  const { bold, dim } = paint(colours);
  const wide = columns >= WIDE_ENOUGH;
  const outcomes = new Map(
    records.flatMap((record) => (isRow(record) ? [] : [[Number(record['of']), record] as const])),
  );
  const head: Row = {
    time: bold(wide ? 'TIME (UTC)' : 'UTC'),
    who: bold('WHO'),
    what: bold('WHAT'),
    verdict: [wide ? bold('DECISION') : undefined, bold('OUTCOME')],
  };
  const rows = records.filter(isRow).map((record): Row => {
    const time = dim(plainName(record.at.slice(wide ? 0 : 5, 19).replace('T', ' '), 19));
    const who = cut(plainName(whoOf(record), 40), wide ? 40 : 16);
    const row = { time, who: who === 'gateway' ? dim(who) : who, what: plainName(whatOf(record), 200) };
    if (record.event !== 'command' && record.event !== 'outcome') return row;
    const later = record['outcome'] === undefined ? (outcomes.get(record.seq) ?? record) : record;
    return { ...row, verdict: [wide ? decisionOf(record, colours) : undefined, outcomeOf(record, later, colours)] };
  });
  return laidOut([head, ...rows], columns).join('\n');
}

const LEAST_FOR_WHAT = 24;

function laidOut(rows: readonly Row[], columns: number): readonly string[] {
  const widest = (cells: readonly string[]): number => Math.max(...cells.map(width));
  const verdicts = rows.flatMap(({ verdict }) => (verdict === undefined ? [] : [verdict]));
  const time = widest(rows.map((row) => row.time));
  const who = widest(rows.map((row) => row.who));
  const decision = widest(verdicts.map(([cell = '']) => cell));
  const outcome = widest(verdicts.map(([, cell]) => cell));
  const room = Math.max(LEAST_FOR_WHAT, columns - time - who - decision - outcome - (decision > 0 ? 8 : 6));
  const what = Math.min(room, widest(rows.flatMap((row) => (row.verdict === undefined ? [] : [row.what]))));
  const padded = (cell: string, to: number): string => cell + ' '.repeat(Math.max(0, to - width(cell)));
  return rows.map((row) => {
    const begin = `${padded(row.time, time)}  ${padded(row.who, who)}  `;
    if (row.verdict === undefined) return cut(begin + row.what, columns);
    const [first, second] = row.verdict;
    const middle = first === undefined ? '' : `${padded(first, decision)}  `;
    return cut(`${begin}${padded(cut(row.what, what), what)}  ${middle}${second}`, columns);
  });
}

function whoOf({ by, client, via, event }: AuditRecord): string {
  if (event === 'command' && by === 'unknown') return `unknown (${text(via)})`;
  return typeof client === 'string' ? `${by} by ${client}` : by;
}

function text(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === undefined ? '' : JSON.stringify(value);
}

/** `ON, brightness 40, rgb 255 140 20`: shorter than the JSON that it stands for. */
function changeWords(change: unknown): string {
  if (typeof change !== 'object' || change === null) return '';
  const { state, color, ...others } = { state: undefined, color: undefined, ...change };
  return [
    ...(state === undefined ? [] : [text(state)]),
    ...(color === undefined ? [] : [colorWords(color)]),
    ...Object.entries(others).map(([name, value]) => `${name} ${text(value)}`),
  ].join(', ');
}

const COLORS = [
  ['r', 'g', 'b'],
  ['h', 's'],
  ['x', 'y'],
] as const;

function colorWords(color: unknown): string {
  if (typeof color !== 'object' || color === null) return `color ${text(color)}`;
  const names = COLORS.find((all) => all.every((name) => name in color));
  if (names === undefined) return `color ${text(color)}`;
  return [names.join(''), ...names.map((name) => text(Reflect.get(color, name)))].join(' ');
}

const times = ({ count }: Readonly<Record<string, unknown>>): string => (typeof count === 'number' ? ` ×${count}` : '');

function whatOf(record: AuditRecord): string {
  const member = (name: string): string => text(record[name]);
  switch (record.event) {
    case 'command': {
      const target = record['target'] === undefined ? 'several targets' : member('target');
      const repeat = record['repeat'] === true ? ' (a repeat)' : '';
      return `${`${target} ${changeWords(record['change'])}`.trim()}${repeat}${times(record)}`;
    }
    case 'outcome':
      return `outcomes of ${record['target'] === undefined ? 'several targets' : member('target')}: ${countWords(record['outcomes'])}`;
    case 'code_shown':
      return `a code to approve was shown, valid until ${member('expires_at').slice(0, 19).replace('T', ' ')}`;
    case 'approved':
      return 'approved this gateway';
    case 'approval_refused':
      return 'the approval did not come about';
    case 'authorized':
      return 'the approval is in use';
    case 'grace':
      return 'the authorization server cannot be asked; the approval goes on for a while';
    case 'grant_lost':
      return `the approval is gone: ${member('reason')}`;
    case 'unauthorized':
      return 'no approval any more';
    case 'logged_out':
      return `logged out${record['revoked_at_server'] === true ? '' : '; the server was not told'}`;
    case 'started':
      return `started, version ${member('version')}${record['unclean'] === true ? ', after an end without farewell' : ''}`;
    case 'stopped':
      return `stopped (${member('why')})`;
    case 'configuration_reloaded':
      return `the configuration was read again: ${changedWords(record['changed'])}`;
    case 'configuration_refused':
      return 'a new configuration was refused; the old one stays';
    case 'clock_trusted':
      return `the clock is trusted: ${member('why')}`;
    case 'clock_untrusted':
      return `the clock is not trusted: ${member('why')}`;
    case 'log_level':
      return `the log's level is ${member('level')}`;
    case 'forgotten':
      return `forgot who ${member('target')} is`;
    case 'rotated':
      return `a new file of the trail was begun; records are kept from ${member('from')} on`;
    case 'repaired':
      return repairWords(record);
    case 'resumed':
      return `the disk takes records again; lost: ${member('lost')}`;
    default:
      return record.event;
  }
}

/** `superseded 57, confirmed 1` */
function countWords(outcomes: unknown): string {
  const counts = typeof outcomes === 'object' && outcomes !== null ? Object.entries(outcomes) : [];
  return counts.map(([outcome, count]) => `${outcome} ${text(count)}`).join(', ');
}

function changedWords(changed: unknown): string {
  return Array.isArray(changed) && changed.length > 0 ? changed.map(text).join(', ') : 'nothing has changed';
}

function repairWords(record: AuditRecord): string {
  const { missing, bytes, unreadable, replaced } = record;
  if (typeof missing === 'object' && missing !== null)
    return `records are missing from the trail: ${text(Reflect.get(missing, 'from'))} to ${text(Reflect.get(missing, 'to'))}`;
  if (unreadable === true || replaced === true) return 'the trail was not the one that the gateway had left';
  return `${text(bytes)} bytes at the end of the trail were no whole record`;
}

function decisionOf({ decision, event }: AuditRecord, colours: boolean): string {
  const { green, yellow } = paint(colours);
  if (event !== 'command') return '';
  return decision === 'allow' ? green('allow') : decision === 'deny' ? yellow('deny') : '?';
}

function outcomeOf(record: AuditRecord, later: AuditRecord, colours: boolean): string {
  const { green, yellow, red, dim } = paint(colours);
  const outcome = plainName(text(later['outcome']), 20);
  const code = plainName(text(later['code']), 30);
  const words = outcome === 'denied' && code !== '' ? code : [outcome, code].filter((word) => word !== '').join(' ');
  if (outcome === '') return dim(record['count'] === undefined ? 'not known' : 'counted');
  if (outcome === 'confirmed' || outcome === 'assumed') return green(words);
  if (outcome === 'failed' || outcome === 'expired') return red(words);
  return outcome === 'denied' ? yellow(words) : words;
}

/** What a verification found, in sentences. `path`: the folder. */
export function renderVerdict(verdict: Verdict, folder: string): string {
  const { records, first, last, repaired, unfinished, head } = verdict;
  const range = first === undefined ? 'no records' : `${records} records, ${first} to ${last}`;
  const notes = [
    first !== undefined && first > 1 ? `Complete from record ${first} on; older ones were deleted to make room.` : '',
    repaired > 0
      ? `${repaired === 1 ? 'One torn line is' : `${repaired} torn lines are`} accounted for (a power cut).`
      : '',
    unfinished === undefined
      ? ''
      : `The last line has no end (${unfinished} bytes): it is being written, or a power cut tore it; the next start says so on record.`,
    head ? '' : 'Whether its end was cut off cannot be told: audit-head.json is missing.',
  ];
  return [`The audit trail in ${folder} is whole: ${range}.`, ...notes.filter((note) => note !== '')].join('\n');
}
