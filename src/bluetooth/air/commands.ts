import { type Answer, type Command, type Commands, done } from './command.ts';
import { ADVERTISER } from './commands-advertiser.ts';
import { CENTRAL } from './commands-le.ts';
import type { Controller } from './controller.ts';
import { addressBytes, EVENT, STATUS, u16 } from './hci.ts';

/** The HCI commands that the controller knows (Vol 4 Part E section 7); all others are answered 0x01. */

const COMMANDS: Commands = new Map<number, Command>([
  // Link control
  [
    0x0406,
    { length: 3, bit: [0, 5], byStatus: true, run: (radio, p) => radio.connections.disconnect(p.readUInt16LE(0)) },
  ],
  [0x041d, { length: 2, bit: [2, 7], byStatus: true, run: remoteVersion }],
  // Controller and baseband
  [0x0c01, { length: 8, bit: [5, 6], run: (radio, p) => radio.setEventMask(p) }],
  [0x0c03, { length: 0, bit: [5, 7], run: (radio) => radio.reset() }],
  [0x0c63, { length: 8, bit: [22, 2], run: done }],
  [0x0c6c, { length: 0, bit: [24, 5], run: () => ({ complete: [STATUS.SUCCESS, 1, 0] }) }],
  [0x0c6d, { length: 2, bit: [24, 6], run: done }],
  // Information
  [0x1001, { length: 0, bit: [14, 3], run: localVersion }],
  [0x1002, { length: 0, bit: [14, 4], run: (radio) => ({ complete: [STATUS.SUCCESS, ...supported(radio.extended)] }) }],
  // LE only: BR/EDR not supported (bit 37), LE supported (bit 38).
  [0x1003, { length: 0, bit: [14, 5], run: () => ({ complete: [STATUS.SUCCESS, 0, 0, 0, 0, 0x60, 0, 0, 0] }) }],
  // No buffers of BR/EDR: LE has its own.
  [0x1005, { length: 0, bit: [14, 7], run: () => ({ complete: [STATUS.SUCCESS, 0, 0, 0, 0, 0, 0, 0] }) }],
  [
    0x1009,
    { length: 0, bit: [15, 1], run: (radio) => ({ complete: [STATUS.SUCCESS, ...addressBytes(radio.address)] }) },
  ],
  [0x1405, { length: 2, bit: [15, 5], run: rssi }],
  ...CENTRAL,
  ...ADVERTISER,
]);

/** The answer to one command. */
export function answerCommand(controller: Controller, opcode: number, parameters: Buffer): Answer {
  const command = COMMANDS.get(opcode);
  if (command === undefined || (command.five === true && !controller.extended)) {
    return { complete: [STATUS.UNKNOWN_COMMAND] };
  }
  if (parameters.length < command.length) {
    return command.byStatus ? { status: STATUS.INVALID_PARAMETERS } : { complete: [STATUS.INVALID_PARAMETERS] };
  }
  if (command.set !== undefined && !controller.uses(command.set)) {
    return command.byStatus ? { status: STATUS.COMMAND_DISALLOWED } : { complete: [STATUS.COMMAND_DISALLOWED] };
  }
  return command.run(controller, parameters);
}

function supported(extended: boolean): readonly number[] {
  const octets = new Array<number>(64).fill(0);
  for (const { bit, five } of COMMANDS.values()) {
    const [octet, position] = bit;
    if (five !== true || extended) octets[octet] = (octets[octet] ?? 0) | (1 << position);
  }
  return octets;
}

function localVersion(): Answer {
  // Core 5.0 (0x09), and the company identifier for tests (0xFFFF).
  return { complete: [STATUS.SUCCESS, 0x09, ...u16(0), 0x09, ...u16(0xffff), ...u16(0)] };
}

function remoteVersion(radio: Controller, parameters: Buffer): Answer {
  const handle = parameters.readUInt16LE(0);
  if (radio.connections.link(handle) === undefined) return { status: STATUS.UNKNOWN_CONNECTION };
  const after = (): void =>
    radio.event(EVENT.READ_REMOTE_VERSION_COMPLETE, [STATUS.SUCCESS, ...u16(handle), 0x06, ...u16(0xffff), ...u16(0)]);
  return { status: STATUS.SUCCESS, after };
}

function rssi(radio: Controller, parameters: Buffer): Answer {
  const handle = parameters.readUInt16LE(0);
  const link = radio.connections.link(handle);
  const status = link === undefined ? STATUS.UNKNOWN_CONNECTION : STATUS.SUCCESS;
  return { complete: [status, ...u16(handle), (link?.lamp.spec.rssi ?? 127) & 0xff] };
}
