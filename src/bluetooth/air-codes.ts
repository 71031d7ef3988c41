import type { FailedCode } from '../errors.ts';

/** The codes with which an operation of the radio can fail. */
export const AIR_CODES = [
  'unreachable',
  'out_of_slots',
  'connect_failed',
  'link_lost',
  'refused_by_light',
  'timed_out',
  'unsupported',
  'adapter_off',
  'adapter_stuck',
  'radio_restarting',
  'internal',
] as const satisfies readonly FailedCode[];

export type AirCode = (typeof AIR_CODES)[number];
