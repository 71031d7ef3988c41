import { type DestinationStream, type Logger, pino } from 'pino';

export type Log = Logger;

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The loggers made from one: pino's children keep the level that they were made with. */
const CHILDREN = new WeakMap<Log, Set<WeakRef<Log>>>();

/** Another level from now on, for this log and all that were made from it. */
export function setLogLevel(log: Log, level: LogLevel): void {
  log.level = level;
  const children = CHILDREN.get(log) ?? new Set();
  for (const reference of children) {
    const child = reference.deref();
    if (child === undefined) children.delete(reference);
    else child.level = level;
  }
}

/** Members that never reach a log, however deep they sit: pino replaces them before anything is written. */
const SECRET = [
  'access_token',
  'refresh_token',
  'id_token',
  'device_code',
  'user_code',
  'verification_uri_complete',
  'client_secret',
  'password',
  'token',
  'authorization',
  'proof',
  'headers',
  'body',
];
const REDACTED = SECRET.flatMap((name) => [name, `*.${name}`, `*.*.${name}`, `*.*.*.${name}`]);

/**
 * The daemon's log: one JSON object a line, without host name and process id (the journal knows both), secrets redacted.
 * `level`: trace, debug, info, warn, error, fatal or silent.
 */
export function createLog(level: string, destination?: DestinationStream): Log {
  const children = new Set<WeakRef<Log>>();
  const options = {
    level,
    onChild: (child: Log) => void children.add(new WeakRef(child)),
    base: null,
    redact: { paths: REDACTED, censor: '[secret]' },
    formatters: { level: (label: string) => ({ level: label }) },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
  };
  const log = destination === undefined ? pino(options) : pino(options, destination);
  CHILDREN.set(log, children);
  return log;
}

/**
 * What is not to reach a terminal or a log as it is: control characters (C0, C1), line and paragraph separators, marks that turn
 * the direction of writing, characters that nobody sees, halves of surrogate pairs, noncharacters and tags.
 */
const UNPRINTABLE =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff\u{e0000}-\u{e007f}]/gu;

/** Text from outside (a lamp's name, a server's words) made safe for terminals and logs, and at most `max` characters long. */
export function printable(text: string, max = 200): string {
  // No more than is shown is looked at, however long the text is.
  const clean = text.slice(0, 2 * max + 2).replace(UNPRINTABLE, '\ufffd');
  if (clean.length <= max) return clean;
  // A cut must not leave half a pair behind.
  return `${clean.slice(0, max).replace(/[\ud800-\udfff]$/u, '')}…`;
}

const LEVELS: Readonly<Record<string, string>> = {
  trace: '·',
  debug: '·',
  info: ' ',
  warn: '!',
  error: '✗',
  fatal: '✗',
};

/** A destination for terminals: each record as one line for people, `12:03:59 ! message (hint) key=value`. */
export function forPeople(write: (text: string) => void): DestinationStream {
  return {
    write(line: string): void {
      const { level, time, msg, hint, err, ...rest } = JSON.parse(line);
      const more = Object.entries(rest).map(
        ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
      );
      if (err !== undefined) more.push(`${err.type ?? 'Error'}: ${err.message ?? ''}`);
      const parts = [
        String(time).slice(11, 19),
        LEVELS[level] ?? ' ',
        msg,
        hint === undefined ? '' : `(${hint})`,
        ...more,
      ];
      write(`${printable(parts.filter((part) => part !== '' && part !== undefined).join(' '), 1000)}\n`);
    },
  };
}
