import type { Answer } from './command.ts';
import { answerCommand } from './commands.ts';
import type { Controller } from './controller.ts';
import type { Faults } from './faults.ts';
import { commandComplete, commandStatus } from './hci.ts';
import type { RadioFault } from './messages.ts';

/** The opcode of a Command Complete that only says how many commands may be sent (section 7.7.14). */
const NO_COMMAND = 0x0000;

/** Where the host's commands are answered: one at a time and in order, at once unless a fault makes it slow. */
export class CommandDesk {
  readonly #controller: Controller;
  readonly #faults: Faults<RadioFault>;
  readonly #waiting: Buffer[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(controller: Controller, faults: Faults<RadioFault>) {
    this.#controller = controller;
    this.#faults = faults;
  }

  /** One command packet. */
  take(packet: Buffer): void {
    // Kept past this call, and the receive buffer is reused.
    this.#waiting.push(Buffer.from(packet));
    this.#next();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting.length = 0;
  }

  #next(): void {
    while (this.#timer === undefined) {
      const packet = this.#waiting.shift();
      if (packet === undefined) return;
      const slow = this.#faults.get('slow-commands');
      if (slow === undefined) this.#answer(packet);
      else this.#later(slow.ms, () => this.#answer(packet));
    }
  }

  #answer(packet: Buffer): void {
    const opcode = packet.readUInt16LE(1);
    const answer = this.#refusal(opcode) ?? answerCommand(this.#controller, opcode, packet.subarray(4));
    const pause = this.#faults.get('no-credits');
    const credits = pause === undefined ? 1 : 0;
    if ('status' in answer) this.#controller.send(commandStatus(opcode, answer.status, credits));
    else this.#controller.send(commandComplete(opcode, answer.complete, credits));
    answer.after?.();
    if (pause !== undefined) {
      this.#later(pause.ms, () => this.#controller.send(commandComplete(NO_COMMAND, [], 1)));
    }
  }

  #refusal(opcode: number): Answer | undefined {
    const refuses = this.#faults.get('refuses-commands');
    if (refuses === undefined || !refuses.opcodes.includes(opcode)) return undefined;
    return refuses.by === 'status' ? { status: refuses.code } : { complete: [refuses.code] };
  }

  #later(ms: number, act: () => void): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      act();
      this.#next();
    }, ms);
  }
}
