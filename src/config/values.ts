import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import { parseChange } from '../lights/change.ts';

/** The values that keys are made of. Each says in its own words what it expects; those words become the user's error. */

const MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const DURATION = /^(\d{1,12}(?:\.\d{1,6})?) ?(ms|s|m|h|d)$/;

/** Milliseconds of `30s`, `15ms`, `5m`, `24h`, `7d`, or of a plain number of seconds; undefined if it is none of these. */
export function parseDuration(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value * MS.s : undefined;
  if (typeof value !== 'string') return undefined;
  const [, amount, unit] = DURATION.exec(value) ?? [];
  return amount === undefined || unit === undefined ? undefined : Number(amount) * MS[unit as keyof typeof MS];
}

/** A duration between two others (inclusive); the parsed value is in milliseconds. */
export function duration(min: string, max: string) {
  const [low = 0, high = 0] = [parseDuration(min), parseDuration(max)];
  const expected = `expected a duration from ${min} to ${max}, with its unit (ms, s, m, h; a plain number is seconds)`;
  return z
    .union([z.number().nonnegative(expected), z.string().regex(DURATION, expected)], { error: expected })
    .refine((value) => {
      const ms = parseDuration(value);
      return ms !== undefined && ms >= low && ms <= high;
    }, expected)
    .transform((value) => parseDuration(value) ?? low);
}

const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/** Printable text of 1 to `max` characters. */
export function text(max: number) {
  const expected = `expected text of 1 to ${max} characters`;
  return z
    .string({
      error: (issue) => (typeof issue.input === 'number' ? `${expected}; put the number in quotes` : expected),
    })
    .min(1, expected)
    .max(max, expected)
    .refine((value) => !CONTROL.test(value), 'holds a control character');
}

/** A key as text, which has lines of its own. */
export function keyText() {
  const expected = 'expected a private key: PEM, or a JWK as text';
  return z
    .string(expected)
    .min(1, expected)
    .max(16_384, expected)
    .refine((value) => !CONTROL.test(value.replaceAll(/\r?\n/g, ' ')), 'holds a control character');
}

export function wholeNumber(min: number, max: number) {
  const expected = `expected a whole number from ${min} to ${max}`;
  return z.number({ error: expected }).int(expected).min(min, expected).max(max, expected);
}

export function number(min: number, max: number) {
  const expected = `expected a number from ${min} to ${max}`;
  return z.number({ error: expected }).min(min, expected).max(max, expected);
}

/** YAML 1.2 knows only `true` and `false`; `yes` and `on` are text, which surprises people who know YAML 1.1. */
export function boolean() {
  return z.boolean({ error: 'expected true or false' });
}

export function choice<const T extends readonly [string, ...string[]]>(values: T) {
  return z.enum(values, { error: `expected one of ${values.join(', ')}` });
}

const GRANTS = ['device_code', 'jwt_bearer', 'client_credentials', 'authorization_code', 'saml2_bearer'] as const;
/** What RFC 9700 (section 2.1.2 and 2.4) tells everybody to leave behind, and why. */
const REFUSED_GRANTS: Readonly<Record<string, string>> = {
  implicit:
    'is refused: the implicit grant hands the token to whatever reads the address of a page (RFC 9700 section 2.1.2); use device_code',
  password:
    'is refused: the password grant makes a person type their password into this gateway (RFC 9700 section 2.4); use device_code',
};

/** How a gateway becomes authorized. */
export function grantChoice() {
  return z.enum(GRANTS, {
    error: ({ input }) =>
      (typeof input === 'string' ? REFUSED_GRANTS[input] : undefined) ?? `expected one of ${GRANTS.join(', ')}`,
  });
}

/** A span of the day, `HH:MM-HH:MM`: its first minute is in it, its last is not; `22:00-06:00` passes midnight. */
export function hours() {
  const expected = 'expected a span such as "18:00-23:30" (in quotes)';
  return z
    .string(expected)
    .regex(/^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$/, expected)
    .refine((value) => value.slice(0, 5) !== value.slice(6), expected);
}

const RESERVED = new Set(['local', 'scene', 'gateway', 'response']);
const ID = /^[a-z0-9_-]{1,40}$/;

/** The id of a light, group or scene. It is a level of MQTT topics, so those that topics use already are reserved. */
export function id() {
  return z
    .string('expected an id: 1 to 40 of a-z, 0-9, _ and - (put a number in quotes)')
    .regex(ID, 'expected an id: 1 to 40 of a-z, 0-9, _ and -')
    .refine((value) => !RESERVED.has(value), 'is reserved: choose another id');
}

const ADDRESS = /^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$/;

/** A Bluetooth address; upper case and dashes are accepted, the parsed value is lower case with colons. */
export function bluetoothAddress() {
  const expected = 'expected a Bluetooth address such as "be:ff:20:00:11:22"';
  return z
    .string(expected)
    .regex(ADDRESS, expected)
    .transform((value) => value.toLowerCase().replaceAll('-', ':'))
    .refine((value) => !/^(00(:00){5}|ff(:ff){5})$/.test(value), expected);
}

/** Host names that never leave this machine. */
export function isLoopback(host: string): boolean {
  return /^(localhost|[a-z0-9-]+\.localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])\.?$/i.test(host);
}

function parseUrl(value: string): URL | undefined {
  return !CONTROL.test(value) && !/\s/.test(value) && URL.canParse(value) ? new URL(value) : undefined;
}

/** The first complaint that fits, as this value's one error. A URL is never repeated in it: it might hold a password. */
function judged(expected: string, complaint: (url: URL, value: string) => string | undefined) {
  return z
    .string(expected)
    .max(2000, expected)
    .superRefine((value, context) => {
      const url = parseUrl(value);
      if (url === undefined) return context.addIssue({ code: 'custom', message: expected });
      const message =
        url.username !== '' || url.password !== ''
          ? 'a URL must not hold a user or a password: those have keys of their own'
          : complaint(url, value);
      if (message !== undefined) context.addIssue({ code: 'custom', message });
    });
}

/** The address of an authorization server or one of its endpoints: https, or http on this machine only (RFC 8414 section 2). */
export function serverUrl(kind: 'issuer' | 'endpoint') {
  const expected = 'expected an address such as https://auth.example.com';
  return judged(expected, (url, value) => {
    if (url.protocol === 'http:' && !isLoopback(url.hostname))
      return 'must be https; http is allowed on this machine only';
    if (url.protocol !== 'http:' && url.protocol !== 'https:') return expected;
    if (value.includes('#')) return 'must not hold a fragment ("#")';
    if (kind === 'issuer' && value.includes('?')) return 'must not hold a query ("?")';
    return undefined;
  });
}

/** RFC 8707 section 2: an absolute URI without fragment. */
export function resourceUri() {
  const expected = 'expected an absolute URI such as https://broker.example.com';
  return judged(expected, (_url, value) => (value.includes('#') ? 'must not hold a fragment ("#")' : undefined));
}

export const BROKER_SCHEMES = ['mqtt:', 'mqtts:', 'ws:', 'wss:'] as const;

export function brokerUrl() {
  const expected =
    'expected a broker address such as mqtt://localhost:1883 or mqtts://broker.example.com (mqtt, mqtts, ws, wss)';
  return judged(expected, (url) => {
    if (!BROKER_SCHEMES.some((scheme) => scheme === url.protocol) || url.hostname === '') return expected;
    if (url.hash !== '') return 'must not hold a fragment ("#")';
    if (url.protocol.startsWith('mqtt') && (url.search !== '' || (url.pathname !== '' && url.pathname !== '/')))
      return 'must end after host and port; only ws and wss have a path';
    return undefined;
  });
}

/** Where a Bluetooth controller that speaks H4 listens: `tcp://host:port`, or `unix:/path`. The parsed value is one of these two. */
export function h4Address() {
  const expected = 'expected tcp://host:port or unix:/path';
  return z.string(expected).transform((value, context) => {
    const path = /^unix:(?:\/\/)?(\/.{1,106})$/.exec(value)?.[1];
    if (path !== undefined && !CONTROL.test(path)) return `unix:${path}`;
    const [, host, port] = /^tcp:\/\/([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):(\d{1,5})\/?$/.exec(value) ?? [];
    if (host !== undefined && Number(port) >= 1 && Number(port) <= 65_535) return `tcp://${host}:${Number(port)}`;
    context.addIssue({ code: 'custom', message: expected });
    return z.NEVER;
  });
}

/** One or more levels of an MQTT topic, without wildcards, empty levels or the broker's own `$` tree. */
export function topic() {
  const expected =
    'expected a topic such as porchlight or home/porchlight: without +, #, $ and empty levels, at most 100 characters';
  return z
    .string(expected)
    .max(100, expected)
    .refine((value) => /^[^+#$/]+(\/[^+#$/]+)*$/.test(value) && !CONTROL.test(value), expected);
}

/** RFC 6749 section 3.3. */
export function scopeToken() {
  const expected = 'expected one scope, without spaces or quotes';
  return z.string(expected).regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/, expected);
}

/** RFC 6749 appendix A.1: visible ASCII. */
export function clientId() {
  const expected = 'expected a client id: 1 to 500 visible characters (put a number in quotes)';
  return z.string(expected).regex(/^[\x20-\x7e]{1,500}$/, expected);
}

export function timeZone() {
  const expected = 'expected a time zone such as Europe/Berlin';
  return z.string(expected).refine((value) => value.length <= 64 && isTimeZone(value), expected);
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

/** A LightChange, judged by the same code that judges commands, so that a scene's mistakes show at start and not at night. */
export function change() {
  return z.looseObject({}, 'expected a change such as {state: ON, brightness: 40}').transform((value, context) => {
    try {
      return parseChange(value);
    } catch (thrown) {
      if (!(thrown instanceof PorchlightError)) throw thrown;
      context.addIssue({ code: 'custom', message: thrown.message });
      return z.NEVER;
    }
  });
}

/** A list of at most `max`; a single value is a common slip and gets its cure. */
export function list<T extends z.ZodType>(item: T, max: number) {
  return z.array(item, 'expected a list, such as [a, b]').max(max, `expected at most ${max} entries`);
}
