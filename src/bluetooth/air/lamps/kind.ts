import type { ServiceSpec } from '../gatt.ts';
import type { LampSpec, LampState } from '../messages.ts';

/** What a lamp remembers of one connection; a new connection starts with a new one. */
export interface Session {
  /** How many of its wake writes have come in the right order and time. */
  woken: number;
  wokenAt: number;
}

/** One write as the lamp's firmware sees it. `now`: monotonic milliseconds. */
export interface Writing {
  readonly bytes: Uint8Array;
  readonly state: LampState;
  readonly spec: LampSpec;
  readonly session: Session;
  readonly now: number;
}

/** What the firmware makes of it. */
export interface Reaction {
  readonly state?: Partial<LampState>;
  /** Pushed on the kind's notify characteristic, if the host has subscribed. */
  readonly notify?: Uint8Array;
}

/** A family of virtual lamps: data and pure functions (only `Session` is changed in place). */
export interface LampKind {
  /** Advertised 16-bit UUIDs. */
  advertised(spec: LampSpec): readonly string[];
  services(spec: LampSpec): readonly ServiceSpec[];
  /** Canonical UUIDs. */
  control(spec: LampSpec): { readonly write: string; readonly notify: string };
  readonly initial: LampState;
  /** undefined: the bytes mean nothing to it; a real fire-and-forget lamp then does nothing. */
  obey(writing: Writing): Reaction | undefined;
}

/** Do the bytes fit the pattern: hex pairs, `..` for a byte that is not looked at? */
export function fits(bytes: Uint8Array, pattern: string): boolean {
  const pairs = pattern.split(' ');
  return (
    pairs.length === bytes.length && pairs.every((pair, at) => pair === '..' || Number.parseInt(pair, 16) === bytes[at])
  );
}

export const DARK: LampState = {
  on: false,
  mode: 'color',
  color: { r: 255, g: 255, b: 255 },
  white: 0,
  brightness: 100,
  warm: 0,
  cold: 0,
  effect: 0,
  speed: 0,
};
