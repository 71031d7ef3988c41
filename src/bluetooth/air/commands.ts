import type { Controller } from './controller.ts';
import { addressAt, addressBytes, EVENT, LE_EVENT, STATUS, u16 } from './hci.ts';

/** The HCI commands that the controller knows (Vol 4 Part E section 7); all others are answered 0x01. */

/** `complete`: return parameters, status first (Command Complete). `status`: Command Status, and what happens after it. */
export type Answer =
  | { readonly complete: readonly number[]; readonly after?: (() => void) | undefined }
  | { readonly status: number; readonly after?: (() => void) | undefined };

interface Command {
  /** The least number of parameter octets. */
  readonly length: number;
  /** Octet and bit in Read Local Supported Commands (section 6.27). */
  readonly bit: readonly [number, number];
  /** Answered by Command Status, also when it is refused for its parameters. */
  readonly byStatus?: true;
  readonly extended?: true;
  run(controller: Controller, parameters: Buffer): Answer;
}

const OK: Answer = { complete: [STATUS.SUCCESS] };
const done = (): Answer => OK;

const COMMANDS: ReadonlyMap<number, Command> = new Map<number, Command>([
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
  // LE
  [0x2001, { length: 8, bit: [25, 0], run: (radio, p) => radio.setLeEventMask(p) }],
  [0x2002, { length: 0, bit: [25, 1], run: bufferSize }],
  [0x2003, { length: 0, bit: [25, 2], run: features }],
  [0x2005, { length: 6, bit: [25, 4], run: done }],
  [0x200b, { length: 7, bit: [26, 2], run: (radio, p) => ({ complete: [radio.scanParameters(p[0] === 1)] }) }],
  [0x200c, { length: 2, bit: [26, 3], run: (radio, p) => ({ complete: [radio.scan(p[0] ?? 0, p[1] ?? 0, false)] }) }],
  [0x200d, { length: 25, bit: [26, 4], byStatus: true, run: create }],
  [0x200e, { length: 0, bit: [26, 5], run: cancel }],
  [0x200f, { length: 0, bit: [26, 6], run: () => ({ complete: [STATUS.SUCCESS, ACCEPT_LIST] }) }],
  [0x2010, { length: 0, bit: [26, 7], run: clearAcceptList }],
  [0x2011, { length: 7, bit: [27, 0], run: addToAcceptList }],
  [0x2012, { length: 7, bit: [27, 1], run: removeFromAcceptList }],
  [0x2013, { length: 14, bit: [27, 2], byStatus: true, run: update }],
  [0x2016, { length: 2, bit: [27, 5], byStatus: true, run: remoteFeatures }],
  // The lamps do not encrypt.
  [0x2019, { length: 28, bit: [28, 0], byStatus: true, run: encrypt }],
  [0x201c, { length: 0, bit: [28, 3], run: () => ({ complete: [STATUS.SUCCESS, ...SUPPORTED_STATES] }) }],
  [0x2022, { length: 6, bit: [33, 6], run: setDataLength }],
  [0x2023, { length: 0, bit: [33, 7], run: () => ({ complete: [STATUS.SUCCESS, ...u16(27), ...u16(328)] }) }],
  [0x2024, { length: 4, bit: [34, 0], run: done }],
  [0x202f, { length: 0, bit: [35, 3], run: () => ({ complete: [STATUS.SUCCESS, ...LONGEST, ...LONGEST] }) }],
  [0x2031, { length: 3, bit: [35, 5], run: done }],
  [0x2041, { length: 8, bit: [37, 5], extended: true, run: extendedScanParameters }],
  [
    0x2042,
    {
      length: 6,
      bit: [37, 6],
      extended: true,
      run: (radio, p) => ({ complete: [radio.scan(p[0] ?? 0, p[1] ?? 0, true)] }),
    },
  ],
  [0x2043, { length: 26, bit: [37, 7], byStatus: true, extended: true, run: createExtended }],
]);

/** 251 octets and their time in microseconds. */
const LONGEST = [...u16(251), ...u16(2120)];
const ACCEPT_LIST = 8;
/** Active and passive scanning, initiating, central role, and initiating or scanning while central. */
const SUPPORTED_STATES = [0x70, 0x00, 0xc0, 0x3f, 0x00, 0x00, 0x00, 0x00];

/** The answer to one command. */
export function answerCommand(controller: Controller, opcode: number, parameters: Buffer): Answer {
  const command = COMMANDS.get(opcode);
  if (command === undefined || (command.extended === true && !controller.extended)) {
    return { complete: [STATUS.UNKNOWN_COMMAND] };
  }
  if (parameters.length < command.length) {
    return command.byStatus ? { status: STATUS.INVALID_PARAMETERS } : { complete: [STATUS.INVALID_PARAMETERS] };
  }
  return command.run(controller, parameters);
}

function supported(extended: boolean): readonly number[] {
  const octets = new Array<number>(64).fill(0);
  for (const { bit, extended: only } of COMMANDS.values()) {
    const [octet, position] = bit;
    if (only !== true || extended) octets[octet] = (octets[octet] ?? 0) | (1 << position);
  }
  return octets;
}

function localVersion(): Answer {
  // Core 5.0 (0x09), and the company identifier for tests (0xFFFF).
  return { complete: [STATUS.SUCCESS, 0x09, ...u16(0), 0x09, ...u16(0xffff), ...u16(0)] };
}

function bufferSize(radio: Controller): Answer {
  const { length, count } = radio.options.buffers;
  return { complete: [STATUS.SUCCESS, ...u16(length), count] };
}

function features(radio: Controller): Answer {
  // Data Packet Length Extension (bit 5); Extended Advertising (bit 12).
  return { complete: [STATUS.SUCCESS, 0x20, radio.extended ? 0x10 : 0x00, 0, 0, 0, 0, 0, 0] };
}

function remoteVersion(radio: Controller, parameters: Buffer): Answer {
  const handle = parameters.readUInt16LE(0);
  if (radio.connections.link(handle) === undefined) return { status: STATUS.UNKNOWN_CONNECTION };
  const after = (): void =>
    radio.event(EVENT.READ_REMOTE_VERSION_COMPLETE, [STATUS.SUCCESS, ...u16(handle), 0x06, ...u16(0xffff), ...u16(0)]);
  return { status: STATUS.SUCCESS, after };
}

function remoteFeatures(radio: Controller, parameters: Buffer): Answer {
  const handle = parameters.readUInt16LE(0);
  if (radio.connections.link(handle) === undefined) return { status: STATUS.UNKNOWN_CONNECTION };
  const none = [0, 0, 0, 0, 0, 0, 0, 0];
  const after = (): void => radio.le(LE_EVENT.READ_REMOTE_FEATURES_COMPLETE, [STATUS.SUCCESS, ...u16(handle), ...none]);
  return { status: STATUS.SUCCESS, after };
}

function rssi(radio: Controller, parameters: Buffer): Answer {
  const handle = parameters.readUInt16LE(0);
  const link = radio.connections.link(handle);
  const status = link === undefined ? STATUS.UNKNOWN_CONNECTION : STATUS.SUCCESS;
  return { complete: [status, ...u16(handle), (link?.lamp.spec.rssi ?? 127) & 0xff] };
}

function encrypt(radio: Controller, parameters: Buffer): Answer {
  const known = radio.connections.link(parameters.readUInt16LE(0)) !== undefined;
  return { status: known ? STATUS.UNSUPPORTED_REMOTE_FEATURE : STATUS.UNKNOWN_CONNECTION };
}

function setDataLength(radio: Controller, parameters: Buffer): Answer {
  const handle = parameters.readUInt16LE(0);
  // Accepted; but lamps are Bluetooth 4 and stay at 27 octets, so no Data Length Change follows.
  const status = radio.connections.link(handle) === undefined ? STATUS.UNKNOWN_CONNECTION : STATUS.SUCCESS;
  return { complete: [status, ...u16(handle)] };
}

function extendedScanParameters(radio: Controller, parameters: Buffer): Answer {
  // Own address type, filter policy, PHYs, then type, interval and window of each PHY.
  return { complete: [radio.scanParameters(parameters[3] === 1)] };
}

const peerType = (byte: number | undefined): 'public' | 'random' => (byte === 1 || byte === 3 ? 'random' : 'public');

function create(radio: Controller, p: Buffer): Answer {
  const target = p[4] === 1 ? undefined : { addressType: peerType(p[5]), address: addressAt(p, 6) };
  return { status: radio.connect(target, connectionParameters(p, 13)) };
}

function createExtended(radio: Controller, p: Buffer): Answer {
  const target = p[0] === 1 ? undefined : { addressType: peerType(p[2]), address: addressAt(p, 3) };
  return { status: radio.connect(target, connectionParameters(p, 14)) };
}

function update(radio: Controller, p: Buffer): Answer {
  return radio.connections.update(p.readUInt16LE(0), connectionParameters(p, 2));
}

function connectionParameters(
  p: Buffer,
  at: number,
): {
  readonly minInterval: number;
  readonly maxInterval: number;
  readonly latency: number;
  readonly supervision: number;
} {
  return {
    minInterval: p.readUInt16LE(at),
    maxInterval: p.readUInt16LE(at + 2),
    latency: p.readUInt16LE(at + 4),
    supervision: p.readUInt16LE(at + 6),
  };
}

function cancel(radio: Controller): Answer {
  const { status, after } = radio.cancel();
  return { complete: [status], after };
}

function clearAcceptList(radio: Controller): Answer {
  radio.connections.acceptList.length = 0;
  return OK;
}

function addToAcceptList(radio: Controller, p: Buffer): Answer {
  const entry = { addressType: peerType(p[0]), address: addressAt(p, 1) };
  if (radio.connections.acceptList.length >= ACCEPT_LIST) return { complete: [MEMORY_FULL] };
  radio.connections.acceptList.push(entry);
  return OK;
}

const MEMORY_FULL = 0x07;

function removeFromAcceptList(radio: Controller, p: Buffer): Answer {
  const list = radio.connections.acceptList;
  const [type, address] = [peerType(p[0]), addressAt(p, 1)];
  const at = list.findIndex((entry) => entry.address === address && entry.addressType === type);
  if (at >= 0) list.splice(at, 1);
  return OK;
}
