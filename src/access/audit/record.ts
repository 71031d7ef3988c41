import { createHash } from 'node:crypto';
import type { LightChange } from '../../lights/change.ts';
import type { Outcome } from '../../lights/outcome.ts';
import { printable } from '../../log.ts';

/** What the trail tells of. */
export type AuditEvent =
  /** A decision about a command (allow, deny), and how an allowed one ended. */
  | 'command'
  | 'outcome'
  /** The gateway's own authorization. */
  | 'code_shown'
  | 'approved'
  | 'approval_refused'
  | 'authorized'
  | 'grace'
  | 'grant_lost'
  | 'unauthorized'
  | 'logged_out'
  /** Its life. */
  | 'started'
  | 'stopped'
  | 'configuration_reloaded'
  | 'configuration_refused'
  | 'clock_trusted'
  | 'clock_untrusted'
  | 'log_level'
  | 'forgotten'
  /** The trail itself: its oldest part was deleted, damage was found, records were lost. */
  | 'rotated'
  | 'repaired'
  | 'resumed';

type Value = string | number | boolean | null | undefined | { readonly [name: string]: Value } | readonly Value[];

/** One thing to put on record. Members beside these are the event's own; undefined ones are left out. */
export interface Entry {
  readonly event: AuditEvent;
  /** The principal; `gateway` for what it does by itself, `unknown` where nobody proved who they are. */
  readonly by: string;
  /** A lamp, a group, or `scene/<id>`. */
  readonly target?: string;
  readonly change?: LightChange;
  readonly decision?: 'allow' | 'deny';
  readonly outcome?: Outcome['outcome'];
  readonly code?: string;
  readonly [more: string]: Value | LightChange;
}

/** Where a chain stands: the last record's number (0: none yet) and hash. */
export interface Link {
  readonly seq: number;
  readonly hash: string;
}

/** What the first record of all has as `prev`. */
export const BEGINNING: Link = { seq: 0, hash: '0'.repeat(64) };

/** Bytes of a line. Records have some hundred; a longer line is none of ours. */
export const MAX_LINE = 8192;
/** No text of ours is longer; those from outside are cut. */
const LONGEST_TEXT = 200;

/**
 * A record as its line (with the newline), and the link that the next one needs.
 *
 * The line is canonical JSON (RFC 8785): no spaces, members in the order of their names, also the inner ones. `hash` is the SHA-256
 * (hexadecimal) of the same JSON without the member `hash`, as UTF-8; `prev` is the `hash` of the record before, and 64 zeros in the
 * first. `seq` counts from 1. Numbers have at most four decimals, so that every language writes them alike. In Python:
 *
 *     import json, hashlib, sys
 *     prev = None
 *     for line in sys.stdin:
 *         record = json.loads(line)
 *         told = record.pop('hash')
 *         text = json.dumps(record, sort_keys=True, separators=(',', ':'), ensure_ascii=False)
 *         assert told == hashlib.sha256(text.encode()).hexdigest(), record['seq']
 *         assert prev in (None, record['prev']), record['seq']
 *         prev = told
 */
export function seal(entry: Entry, at: string, { seq, hash: prev }: Link): Link & { readonly line: string } {
  const record = { ...entry, at, prev, seq: seq + 1 };
  const hash = sha256(canonical(record));
  return { seq: seq + 1, hash, line: `${canonical({ ...record, hash })}\n` };
}

/** A record that was read back: `hash` is what its text has, and fits it. Everything else may be anybody's text. */
export interface AuditRecord extends Link {
  readonly at: string;
  readonly event: string;
  readonly by: string;
  readonly prev: string;
  readonly [more: string]: unknown;
}

/** The record of a line (without its newline), or in words why it is none. */
export function parseLine(line: Uint8Array): AuditRecord | string {
  let text: string;
  let record: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line);
    record = JSON.parse(text);
  } catch {
    return 'it cannot be read';
  }
  if (!isRecord(record)) return 'it is no record';
  const { hash, ...rest } = record;
  if (sha256(plain(rest)) !== hash || plain(record) !== text) return 'it was changed: its hash does not fit';
  return record;
}

const HASH = /^[0-9a-f]{64}$/;
const isHash = (value: unknown): value is string => typeof value === 'string' && HASH.test(value);

function isRecord(value: unknown): value is AuditRecord {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const member = (name: string): unknown => (Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined);
  const seq = member('seq');
  return (
    typeof seq === 'number' &&
    Number.isSafeInteger(seq) &&
    seq > 0 &&
    isHash(member('hash')) &&
    isHash(member('prev')) &&
    ['at', 'event', 'by'].every((name) => typeof member(name) === 'string')
  );
}

export function sha256(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Made safe on the way: texts are cut and made printable, numbers rounded. */
function canonical(value: unknown): string {
  return written(value, safeText, (number) => JSON.stringify(Math.round(number * 10_000) / 10_000));
}

/** As it stands: what was read must be judged as it is. */
function plain(value: unknown): string {
  return written(value, JSON.stringify, JSON.stringify);
}

function written(value: unknown, text: (value: string) => string, number: (value: number) => string): string {
  if (typeof value === 'string') return text(value);
  if (typeof value === 'number') return number(value);
  if (Array.isArray(value)) return `[${value.map((one) => written(one, text, number)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${written(member, text, number)}`).join(',')}}`;
}

/** A JWT, or what a sender put after "Bearer": it has no business in a topic, an id or an effect's name, but may be there. */
const TOKEN = /eyJ[\w-]{6,}[\w.-]*|\bBearer\s+\S+/gi;

function safeText(value: string): string {
  // No more than is kept is looked at; a token that is cut here is one all the same.
  return JSON.stringify(printable(value.slice(0, 4 * LONGEST_TEXT).replace(TOKEN, '[secret]'), LONGEST_TEXT));
}
