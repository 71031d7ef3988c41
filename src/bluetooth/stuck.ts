import { asPorchlightError, ERRORS, type ErrorCode, type FailedCode, PorchlightError } from '../errors.ts';
import type { LampPort } from '../lights/port.ts';

/** What people are told of an adapter that is stuck. */
export interface Trouble {
  readonly code: FailedCode;
  readonly message: string;
  readonly hint: string;
}

/** Silence is no proof: a home may have a single lamp, without power, and no neighbours. */
export const SILENT: Trouble = {
  code: 'adapter_stuck',
  message: 'The Bluetooth adapter hears nothing at all: no lamp, and no other device either.',
  hint:
    'If a lamp is powered and near, unplug the adapter and plug it in again, or restart the machine; the gateway keeps trying. ' +
    'If no lamp is powered, all may be well.',
};
/** The controller does not answer commands. */
export const MUTE: Trouble = {
  code: 'adapter_stuck',
  message: ERRORS.adapter_stuck.message,
  hint: ERRORS.adapter_stuck.hint,
};
/** It hears, and yet a connect never comes to its end. */
export const CANNOT_CONNECT: Trouble = {
  code: 'adapter_stuck',
  message: 'The Bluetooth adapter hears lamps, but gets stuck when it is to connect to one.',
  hint: ERRORS.adapter_stuck.hint,
};

/** What a lamp that could not be reached looks like from here, when really nobody can be. */
const BLAMED: ReadonlySet<ErrorCode> = new Set(['unreachable', 'radio_restarting', 'timed_out', 'link_lost']);

/** The same lamp, of which a command that did not reach it says that the adapter was to blame, while there is such a trouble. */
export function explaining(lamp: LampPort, problem: () => Trouble | undefined): LampPort {
  return {
    get identity() {
      return lamp.identity;
    },
    reach: async (until, turn, signal) => {
      try {
        return await lamp.reach(until, turn, signal);
      } catch (thrown) {
        const error = asPorchlightError(thrown);
        const trouble = problem();
        if (trouble === undefined || !BLAMED.has(error.code)) throw error;
        throw new PorchlightError(trouble.code, trouble.message, { hint: trouble.hint, cause: error });
      }
    },
  };
}
