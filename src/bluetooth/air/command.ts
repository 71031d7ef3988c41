import type { Controller } from './controller.ts';
import { STATUS } from './hci.ts';

/** `complete`: return parameters, status first (Command Complete). `status`: Command Status, and what happens after it. */
export type Answer =
  | { readonly complete: readonly number[]; readonly after?: (() => void) | undefined }
  | { readonly status: number; readonly after?: (() => void) | undefined };

/** One HCI command (Vol 4 Part E section 7). */
export interface Command {
  /** The least number of parameter octets. */
  readonly length: number;
  /** Octet and bit in Read Local Supported Commands (section 6.27). */
  readonly bit: readonly [number, number];
  /** Answered by Command Status, also when it is refused for its parameters. */
  readonly byStatus?: true;
  /** Only a Bluetooth 5 controller has it. */
  readonly five?: true;
  /** Whichever of the two sets is used first after a reset, the other one is refused (section 3.1.1). */
  readonly set?: 'legacy' | 'extended';
  run(controller: Controller, parameters: Buffer): Answer;
}

export type Commands = ReadonlyMap<number, Command>;

export const OK: Answer = { complete: [STATUS.SUCCESS] };
export const done = (): Answer => OK;
