import * as z from 'zod';
import type { Clock } from '../lights/port.ts';
import { printable } from '../log.ts';
import { isLoopback } from './options.ts';
import { nonsense } from './wire.ts';

/** What a person needs to approve this gateway. The device code, which is a secret, is not in it. */
export interface ShownCode {
  readonly user_code: string;
  readonly verification_uri: string;
  readonly verification_uri_complete?: string;
  /** Wall clock, ms since 1970. */
  readonly expires_at: number;
  /** Seconds between polls. */
  readonly interval: number;
}

/** A started device flow. */
export interface DeviceCode {
  readonly shown: ShownCode;
  readonly device_code: string;
  /** Monotonic ms at which the code is dead, whatever the server says. */
  readonly expires: number;
  /** Milliseconds between the end of an answer and the next poll. */
  readonly interval: number;
}

/** RFC 8628 section 3.2: "If no value is provided, clients MUST use 5 as the default". */
const DEFAULT_INTERVAL = 5;
/** Faster than once a second is nobody's wish; slower than five minutes outlives most codes. */
const INTERVAL = { least: 1, most: 300 };
/** The longest code life seen in the field is 30 minutes; a day is plenty, and a bound. */
const LONGEST_LIFE = 86_400;

const Seconds = z
  .union([
    z.number(),
    z
      .string()
      .regex(/^\d+(\.\d+)?$/)
      .transform(Number),
  ])
  .pipe(z.number().positive());
const Answer = z.object({
  device_code: z.string().min(1).max(8192),
  user_code: z.string().min(1).max(64),
  verification_uri: z.string().min(1).max(2048),
  verification_uri_complete: z.unknown().optional(),
  expires_in: Seconds,
  interval: Seconds.optional().catch(undefined),
});

/**
 * Reads a device authorization response (RFC 8628 section 3.2) and bounds everything in it. `issuer` decides whether plain http
 * may be shown. Throws `server_answer`.
 */
export function readDeviceCode(body: unknown, issuer: URL, clock: Clock): DeviceCode {
  const parsed = Answer.safeParse(body);
  if (!parsed.success) {
    const members = parsed.error.issues.map((issue) => issue.path.join('.')).join(', ');
    throw nonsense(`it lacks or misuses ${members}`);
  }
  const answer = parsed.data;
  if (!isCode(answer.user_code)) throw nonsense('its user_code can not be shown');
  if (!isShowable(answer.verification_uri, issuer))
    throw nonsense('its verification_uri is not an address that may be shown to a person');
  const life = Math.min(answer.expires_in, LONGEST_LIFE);
  const interval = Math.min(INTERVAL.most, Math.max(INTERVAL.least, answer.interval ?? DEFAULT_INTERVAL));
  const complete = answer.verification_uri_complete;
  return {
    device_code: answer.device_code,
    expires: clock.monotonic() + life * 1000,
    interval: interval * 1000,
    shown: {
      user_code: answer.user_code,
      verification_uri: answer.verification_uri,
      // Optional (RFC 8628 section 3.3.1): a bad one is left out, the code and the plain address are enough.
      ...(typeof complete === 'string' && isShowable(complete, issuer) ? { verification_uri_complete: complete } : {}),
      expires_at: clock.wall() + life * 1000,
      interval,
    },
  };
}

/** Any script, any length up to the bound, but nothing that a terminal or a page would obey, and not only blanks. */
function isCode(code: string): boolean {
  return printable(code) === code && code.trim() === code;
}

/**
 * An address that a person may be sent to, as RFC 3986 writes it: ASCII without blanks (URL parsing silently drops tabs and
 * newlines, so the text is judged; a name in another script comes as `xn--`, and can not pose as one that it only looks like),
 * https, or http beside an issuer on this machine, and no user name that could pose as a host.
 */
function isShowable(text: string, issuer: URL): boolean {
  if (text.length > 2048 || /[^\x21-\x7e]|["'<>\\^`{|}]/.test(text) || !URL.canParse(text)) return false;
  const url = new URL(text);
  const plain = url.protocol === 'http:' && issuer.protocol === 'http:' && isLoopback(issuer);
  return (url.protocol === 'https:' || plain) && url.username === '' && url.password === '' && url.hostname !== '';
}
