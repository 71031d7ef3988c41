import * as z from 'zod';
import type { FileSystem } from '../../storage/file-system.ts';
import type { Head } from './head.ts';
import { type Line, linesOf, openTrail, readHead } from './reader.ts';
import { type AuditRecord, BEGINNING, type Link } from './record.ts';

/** Something in the trail that is not as it was written. */
export interface Flaw {
  /** The number of the record that it is about. */
  readonly seq: number;
  readonly file: string;
  readonly line: number;
  /** A part of a sentence: `it was changed: its hash does not fit`. */
  readonly why: string;
}

export interface Verdict {
  readonly ok: boolean;
  /** Records that were read. */
  readonly records: number;
  /** The trail is complete from this record on; what came before was deleted to make room. */
  readonly first?: number;
  readonly last?: number;
  /** Torn lines that a record of the gateway's next start accounts for: a power cut, not tampering. */
  readonly repaired: number;
  /** Bytes of a last line that has no end: it is being written, or a power cut tore it and the gateway did not start since. */
  readonly unfinished?: number;
  /** Does `audit-head.json` know how far the trail had come? Without it nobody can tell whether its end was cut off. */
  readonly head: boolean;
  /** The first ones; `count` of all. */
  readonly flaws: readonly Flaw[];
  readonly count: number;
}

/** More are counted, not listed. */
const MAX_FLAWS = 20;

const Missing = z.object({ from: z.int(), to: z.int() });

/**
 * Verifies the trail in a state directory: every record's hash, that each continues the one before, and that the end which the gateway
 * remembers is there. Reads only. Undefined: there is no trail. Rejects as the file system does.
 */
export async function verifyTrail(
  folder: string,
  fs: Pick<FileSystem, 'open' | 'readdir'>,
): Promise<Verdict | undefined> {
  // The head first: a gateway that runs beside us may write more meanwhile, and never less.
  const head = await readHead(folder, fs);
  const trail = await openTrail(folder, fs);
  try {
    if (trail.files.length === 0 && head === undefined) return undefined;
    const check = new ChainCheck(head);
    const newest = trail.files.at(-1);
    for (const file of trail.files) for await (const line of linesOf(file, file === newest)) check.line(line);
    // Its oldest part may have been deleted between the two looks.
    return check.verdict(await readHead(folder, fs));
  } finally {
    await trail.close();
  }
}

class ChainCheck {
  readonly #head: Head | undefined;
  readonly #flaws: Flaw[] = [];
  #count = 0;
  #records = 0;
  #repaired = 0;
  #first: AuditRecord | undefined;
  /** Something that is no record stands before the first one, and was told already. */
  #beginsBadly = false;
  #firstAt: Pick<Line, 'file' | 'line'> = { file: 'audit.jsonl', line: 1 };
  /** The record before; undefined: none yet. */
  #link: Link | undefined;
  /** The first of the lines since then that are no records. */
  #bad: { readonly line: Line; readonly why: string } | undefined;
  #lastAt: Pick<Line, 'file' | 'line'> = { file: 'audit.jsonl', line: 1 };

  constructor(head: Head | undefined) {
    this.#head = head;
  }

  line(line: Line): void {
    this.#lastAt = line;
    const { content } = line;
    if (typeof content === 'string') this.#bad ??= { line, why: content };
    else this.#record(line, content);
  }

  verdict(headNow: Head | undefined): Verdict {
    const last = this.#link;
    const unfinished = this.#bad?.line.unfinished;
    if (this.#bad !== undefined && unfinished === undefined) this.#flaw(this.#bad.line, this.#next, this.#bad.why);
    if (this.#first !== undefined && headNow !== undefined && !this.#beginsBadly && this.#first.seq > headNow.first)
      this.#flawFirst(missing(headNow.first, this.#first.seq - 1, 'at its beginning'));
    const end = this.#head?.seq ?? 0;
    if (end > (last?.seq ?? 0)) {
      const from = (last?.seq ?? (headNow?.first ?? 1) - 1) + 1;
      this.#flaw(this.#lastAt, from, missing(from, end, 'at its end'));
    }
    return {
      ok: this.#count === 0,
      records: this.#records,
      ...(this.#first !== undefined && { first: this.#first.seq }),
      ...(last !== undefined && { last: last.seq }),
      repaired: this.#repaired,
      ...(unfinished !== undefined && { unfinished: unfinished.bytes }),
      head: this.#head !== undefined,
      flaws: this.#flaws,
      count: this.#count,
    };
  }

  get #next(): number {
    return (this.#link?.seq ?? 0) + 1;
  }

  #record(line: Line, record: AuditRecord): void {
    const flaws = this.#count;
    const bad = this.#bad;
    this.#bad = undefined;
    this.#records += 1;
    if (this.#first === undefined) {
      this.#first = record;
      this.#beginsBadly = bad !== undefined;
      this.#firstAt = line;
    }
    const accounted = bad !== undefined && accountsFor(record, line.before);
    const broken = bad === undefined || accounted ? breakBetween(this.#link, record) : undefined;
    if (bad !== undefined && !accounted) this.#flaw(bad.line, this.#next, bad.why);
    else if (broken !== undefined) this.#flaw(line, broken.seq, broken.why);
    if (this.#head?.seq === record.seq && this.#head.hash !== record.hash)
      this.#flaw(line, record.seq, 'it is not the record of that number that audit-head.json remembers');
    if (accounted && this.#count === flaws) this.#repaired += 1;
    this.#link = record;
  }

  #flaw({ file, line }: Pick<Line, 'file' | 'line'>, seq: number, why: string): void {
    this.#count += 1;
    if (this.#flaws.length < MAX_FLAWS) this.#flaws.push({ seq, file, line, why });
  }

  #flawFirst(why: string): void {
    this.#count += 1;
    this.#flaws.unshift({ seq: this.#first?.seq ?? 1, ...at(this.#firstAt), why });
    this.#flaws.splice(MAX_FLAWS);
  }
}

const at = ({ file, line }: Pick<Line, 'file' | 'line'>): Pick<Flaw, 'file' | 'line'> => ({ file, line });

/** Why `record` can not follow on `before`, and which record that is about; undefined: it does. */
function breakBetween(before: Link | undefined, record: AuditRecord): Pick<Flaw, 'seq' | 'why'> | undefined {
  const { seq, prev, event } = record;
  const told = event === 'repaired' ? Missing.safeParse(record['missing']).data : undefined;
  if (told !== undefined)
    return { seq: told.from, why: `${missing(told.from, told.to)}; record ${seq}, written at the next start, says so` };
  if (event === 'repaired' && (record['unreadable'] === true || record['replaced'] === true))
    return { seq, why: 'the gateway found another trail here than it had left' };
  const link = before ?? (seq === 1 ? BEGINNING : undefined);
  if (link === undefined) return undefined;
  if (seq > link.seq + 1) return { seq, why: missing(link.seq + 1, seq - 1, 'before it') };
  if (seq <= link.seq) return { seq, why: `it stands where record ${link.seq + 1} belongs` };
  if (prev === link.hash) return undefined;
  const why =
    seq === 1 ? 'it does not begin a trail' : `it does not continue record ${link.seq}: one of them was changed`;
  return { seq, why };
}

/** Does this record say what was torn before it, to the byte? */
function accountsFor(record: AuditRecord, before: Line['before']): boolean {
  return record.event === 'repaired' && record['bytes'] === before?.bytes && record['sha256'] === before?.sha256;
}

function missing(from: number, to: number, where = ''): string {
  const what = from === to ? `record ${from} is missing` : `records ${from} to ${to} are missing`;
  return where === '' ? what : `${what} ${where}`;
}
