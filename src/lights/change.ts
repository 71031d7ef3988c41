import { asPorchlightError, PorchlightError } from '../errors.ts';
import {
  bad,
  defined,
  type Members,
  numberOf,
  objectOf,
  own,
  refuseUnknown,
  textOf,
  wholeOf,
  wordOf,
} from './members.ts';

/** Values 0-255. */
export interface Rgb {
  readonly r: number;
  readonly g: number;
  readonly b: number;
}

/** `h` 0-360 degrees, `s` 0-100 percent; `x`, `y` 0-1 (CIE 1931). */
export type Color = Rgb | { readonly h: number; readonly s: number } | { readonly x: number; readonly y: number };

/**
 * What a command asks of a lamp: Home Assistant's JSON light schema. Every member is optional, at least one is there.
 * An attribute without `state` means ON. `brightness: 0`, `white: 0` and black mean OFF. OFF wins over every attribute beside it.
 */
export interface LightChange {
  readonly state?: 'ON' | 'OFF' | 'TOGGLE';
  /** 0-255; 0 is off. */
  readonly brightness?: number;
  readonly color?: Color;
  /** Kelvin, 1000-20000; a lamp whose own range is narrower takes the nearest it can. */
  readonly color_temp?: number;
  /** 0-255: the white LED, and how bright. With `brightness` beside it, scaled by that. */
  readonly white?: number;
  /** At most 64 characters. */
  readonly effect?: string;
  /** Seconds, 0-3600. A lamp that cannot fade jumps: the result is what was asked, only sooner. */
  readonly transition?: number;
  /** Seconds, 0-3600. */
  readonly flash?: number;
}

/** A command's payload: the change, and what the sender says about the command itself. */
export interface CommandBody {
  /** Empty for a scene. */
  readonly change: LightChange;
  /** The sender's own, at most 64 characters. */
  readonly id?: string;
  /** Seconds, above 0 and at most a day. */
  readonly expires_in?: number;
  /** As it came; whether it is any good is for `access` to say. */
  readonly authorization?: string;
  /** Wall-clock milliseconds since 1970. */
  readonly sent_at?: number;
}

/** A payload as far as it could be read; `problem` says why it is no command. */
export interface ReadBody extends CommandBody {
  readonly problem?: PorchlightError;
}

/** The most a command's payload may be. A token and a change fit many times over. */
export const MAX_PAYLOAD_BYTES = 16 * 1024;

const CHANGE = ['state', 'brightness', 'color', 'color_temp', 'white', 'effect', 'transition', 'flash'] as const;
const STATES = ['ON', 'OFF', 'TOGGLE'] as const;
const ENVELOPE = ['id', 'expires_in', 'authorization', 'sent_at'] as const;
/** The members that ask for something by themselves; `transition` only says how. */
const ASKS = CHANGE.filter((name) => name !== 'transition');
/** At most one of these: each puts the lamp into a mode of its own. Home Assistant never sends two. (An effect may have a colour.) */
const MODES = ['color', 'color_temp', 'white'] as const;

/** Words of other systems for the same thing. `color_mode` belongs to states: Home Assistant never sends it. */
const OTHER_WORDS: Readonly<Record<string, string>> = {
  on: 'state',
  power: 'state',
  bri: 'brightness',
  level: 'brightness',
  colour: 'color',
  rgb: 'color',
  rgb_color: 'color',
  hs_color: 'color',
  xy_color: 'color',
  kelvin: 'color_temp',
  ct: 'color_temp',
  color_temp_kelvin: 'color_temp',
  color_temperature: 'color_temp',
  color_mode: 'color, color_temp or white (each chooses its mode)',
  token: 'authorization',
};

/** Parses a LightChange strictly: unknown members, wrong types and contradictions are `bad_command`, naming the member. */
export function parseChange(value: unknown): LightChange {
  const members = objectOf(value, 'The command', '{"state":"ON"}');
  refuseUnknown(members, CHANGE, '', OTHER_WORDS);
  return changeOf(members);
}

/**
 * Parses a command's payload: bytes or text of JSON, at most 16 KiB (else `payload_too_large`), or what was already parsed.
 * A scene's payload is `{}`, or only the members that say something about the command itself.
 */
export function parseCommandBody(payload: unknown, kind: 'lights' | 'scene' = 'lights'): CommandBody {
  const members = objectOf(jsonOf(payload), 'The command', kind === 'scene' ? '{}' : '{"state":"ON"}');
  refuseUnknown(
    members,
    kind === 'scene' ? ENVELOPE : [...CHANGE, ...ENVELOPE],
    '',
    kind === 'scene' ? {} : OTHER_WORDS,
  );
  const change = kind === 'scene' ? {} : changeOf(members);
  const expires_in = numberOf(members, 'expires_in', 0, 86_400);
  if (expires_in === 0) throw bad('expires_in: more than 0 and at most 86400 seconds expected');
  return {
    change,
    ...defined('id', textOf(members, 'id', 64)),
    ...defined('expires_in', expires_in),
    ...defined('authorization', textOf(members, 'authorization', MAX_PAYLOAD_BYTES)),
    ...defined('sent_at', sentAtOf(members)),
  };
}

/**
 * As `parseCommandBody`, but a payload that is no command comes back with its `problem`, an empty change, and the `id` and
 * token that could still be read: its sender may have every right to command, and is to be told what was wrong with it.
 */
export function readCommandBody(payload: unknown, kind: 'lights' | 'scene' = 'lights'): ReadBody {
  try {
    return parseCommandBody(payload, kind);
  } catch (thrown) {
    return { change: {}, ...senderOf(payload), problem: asPorchlightError(thrown, 'bad_command') };
  }
}

function senderOf(payload: unknown): Pick<CommandBody, 'id' | 'authorization'> {
  const readable = (name: string, max: number): string | undefined => {
    try {
      return textOf(objectOf(jsonOf(payload), '', ''), name, max);
    } catch {
      return undefined; // the problem with it is already known
    }
  };
  return {
    ...defined('id', readable('id', 64)),
    ...defined('authorization', readable('authorization', MAX_PAYLOAD_BYTES)),
  };
}

function changeOf(members: Members): LightChange {
  const change: LightChange = {
    ...defined('state', wordOf(members, 'state', STATES)),
    ...defined('brightness', wholeOf(members, 'brightness', 0, 255)),
    ...defined('color', colorOf(own(members, 'color'))),
    ...defined('color_temp', kelvinOf(members)),
    ...defined('white', wholeOf(members, 'white', 0, 255)),
    ...defined('effect', textOf(members, 'effect', 64)),
    ...defined('transition', numberOf(members, 'transition', 0, 3600)),
    ...defined('flash', numberOf(members, 'flash', 0, 3600)),
  };
  const modes = MODES.filter((name) => change[name] !== undefined);
  if (modes.length > 1) throw bad(`${modes.join(' and ')} contradict each other: one of them expected`);
  if (!ASKS.some((name) => change[name] !== undefined)) {
    throw bad('There is nothing to change: "state", for example, expected', 'Send {"state":"ON"}.');
  }
  return change;
}

function kelvinOf(members: Members): number | undefined {
  const value = own(members, 'color_temp');
  if (typeof value === 'number' && value >= 100 && value < 1000) {
    throw bad(
      'color_temp: 1000 to 20000 kelvin expected; this looks like mireds',
      'Kelvin is 1000000 divided by mireds.',
    );
  }
  return wholeOf(members, 'color_temp', 1000, 20_000);
}

/** The forms of a colour, each with the upper end of its members. */
const COLOR_FORMS = [
  { names: ['r', 'g', 'b'], read: (m: Members) => ({ r: channel(m, 'r'), g: channel(m, 'g'), b: channel(m, 'b') }) },
  { names: ['h', 's'], read: (m: Members) => ({ h: part(m, 'h', 360), s: part(m, 's', 100) }) },
  { names: ['x', 'y'], read: (m: Members) => ({ x: part(m, 'x', 1), y: part(m, 'y', 1) }) },
] as const;

const COLOR_EXPECTED = '{"r":255,"g":0,"b":0}, {"h":0,"s":100} or {"x":0.7,"y":0.3} expected';

/** A colour in exactly one of its forms, or undefined where there is none. */
export function colorOf(value: unknown): Color | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(`color: ${COLOR_EXPECTED}`);
  const members = value as Members;
  const known: readonly string[] = COLOR_FORMS.flatMap(({ names }) => [...names]);
  refuseUnknown(members, known, 'color: ');
  const used = COLOR_FORMS.filter(({ names }) => names.some((name) => own(members, name) !== undefined));
  const form = used[0];
  if (form === undefined || used.length > 1) throw bad(`color: ${COLOR_EXPECTED}`);
  return form.read(members);
}

function channel(members: Members, name: string): number {
  return required(wholeOf(members, name, 0, 255, 'color.'), name);
}

function part(members: Members, name: string, max: number): number {
  return required(numberOf(members, name, 0, max, 'color.'), name);
}

function required(value: number | undefined, name: string): number {
  if (value === undefined) throw bad(`color.${name} is missing: ${COLOR_EXPECTED}`);
  return value;
}

/** RFC 3339's date and time; without an offset the sender's time zone would be a guess. */
const ISO = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)$/;

function sentAtOf(members: Members): number | undefined {
  const value = own(members, 'sent_at');
  if (value === undefined) return undefined;
  // Seconds up to the year 5138; anything above is milliseconds sent by mistake.
  if (typeof value === 'number' && value >= 0 && value < 100_000_000_000) return Math.round(value * 1000);
  const parsed = typeof value === 'string' && ISO.test(value) ? Date.parse(value.toUpperCase().replace(' ', 'T')) : NaN;
  if (!Number.isNaN(parsed)) return parsed;
  throw bad('sent_at: seconds since 1970, or a time such as "2026-01-31T20:15:00Z", expected');
}

const NOT_JSON = 'The command is not JSON';
const SEND_JSON = 'Send a JSON object, for example {"state":"ON"}; bare words such as ON are not understood.';

function jsonOf(payload: unknown): unknown {
  if (typeof payload !== 'string' && !(payload instanceof Uint8Array)) return payload;
  const size = typeof payload === 'string' ? payload.length : payload.byteLength;
  if (size > MAX_PAYLOAD_BYTES) throw new PorchlightError('payload_too_large');
  if (size === 0) throw bad('The command is empty', SEND_JSON);
  const text = typeof payload === 'string' ? payload : textFrom(payload);
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own words repeat the input, so they are left out.
    throw bad(NOT_JSON, SEND_JSON);
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });

function textFrom(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    // What is wrong is fully said: where in the bytes helps nobody.
    throw bad(`${NOT_JSON}: not UTF-8`, SEND_JSON);
  }
}
