import type { Duty } from './channels.ts';
import { type Answer, type Command, type Commands, done, OK } from './command.ts';
import type { ConnectionParameters } from './connections.ts';
import type { Controller } from './controller.ts';
import { addressAt, LE_EVENT, STATUS, u16 } from './hci.ts';

/** The LE commands of a central (Vol 4 Part E section 7.8). */
export const CENTRAL: Commands = new Map<number, Command>([
  [0x2001, { length: 8, bit: [25, 0], run: (radio, p) => radio.setLeEventMask(p) }],
  [0x2002, { length: 0, bit: [25, 1], run: bufferSize }],
  [0x2003, { length: 0, bit: [25, 2], run: features }],
  [0x2005, { length: 6, bit: [25, 4], run: done }],
  [0x200b, { length: 7, bit: [26, 2], set: 'legacy', run: scanParameters }],
  [
    0x200c,
    {
      length: 2,
      bit: [26, 3],
      set: 'legacy',
      run: (radio, p) => ({ complete: [radio.scan(p[0] ?? 0, p[1] ?? 0, false)] }),
    },
  ],
  [0x200d, { length: 25, bit: [26, 4], set: 'legacy', byStatus: true, run: create }],
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
  [0x2030, { length: 2, bit: [35, 4], five: true, run: readPhy }],
  [0x2031, { length: 3, bit: [35, 5], five: true, run: done }],
  [0x2032, { length: 7, bit: [35, 6], five: true, byStatus: true, run: setPhy }],
  [0x2041, { length: 8, bit: [37, 5], five: true, set: 'extended', run: extendedScanParameters }],
  [
    0x2042,
    {
      length: 6,
      bit: [37, 6],
      five: true,
      set: 'extended',
      run: (radio, p) => ({ complete: [radio.scan(p[0] ?? 0, p[1] ?? 0, true)] }),
    },
  ],
  [0x2043, { length: 26, bit: [37, 7], byStatus: true, five: true, set: 'extended', run: createExtended }],
]);

/** 251 octets and their time in microseconds. */
const LONGEST = [...u16(251), ...u16(2120)];
const ACCEPT_LIST = 8;
/** Active and passive scanning, initiating, central role, and initiating or scanning while central. */
const SUPPORTED_STATES = [0x70, 0x00, 0xc0, 0x3f, 0x00, 0x00, 0x00, 0x00];

function bufferSize(radio: Controller): Answer {
  const { length, count } = radio.options.buffers;
  return { complete: [STATUS.SUCCESS, ...u16(length), count] };
}

function features(radio: Controller): Answer {
  // Data Packet Length Extension (bit 5); then Privacy (6), 2M PHY (8), Extended Advertising (12), Channel Selection #2 (14).
  const [first, second] = radio.extended ? [0x60, 0x51] : [0x20, 0x00];
  return { complete: [STATUS.SUCCESS, first, second, 0, 0, 0, 0, 0, 0] };
}

function remoteFeatures(radio: Controller, parameters: Buffer): Answer {
  const handle = parameters.readUInt16LE(0);
  if (radio.connections.link(handle) === undefined) return { status: STATUS.UNKNOWN_CONNECTION };
  const none = [0, 0, 0, 0, 0, 0, 0, 0];
  const after = (): void => radio.le(LE_EVENT.READ_REMOTE_FEATURES_COMPLETE, [STATUS.SUCCESS, ...u16(handle), ...none]);
  return { status: STATUS.SUCCESS, after };
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

function readPhy(radio: Controller, p: Buffer): Answer {
  const known = radio.connections.link(p.readUInt16LE(0)) !== undefined;
  return { complete: [known ? STATUS.SUCCESS : STATUS.UNKNOWN_CONNECTION, ...u16(p.readUInt16LE(0)), 1, 1] };
}

function setPhy(radio: Controller, p: Buffer): Answer {
  const handle = p.readUInt16LE(0);
  if (radio.connections.link(handle) === undefined) return { status: STATUS.UNKNOWN_CONNECTION };
  // Lamps stay at 1M; the event comes all the same (section 7.8.49).
  const after = (): void => radio.le(LE_EVENT.PHY_UPDATE_COMPLETE, [STATUS.SUCCESS, ...u16(handle), 1, 1]);
  return { status: STATUS.SUCCESS, after };
}

/** Interval and window of a scan, in units of 0.625 ms. */
function dutyAt(p: Buffer, at: number): Duty {
  return { intervalMs: p.readUInt16LE(at) * 0.625, windowMs: p.readUInt16LE(at + 2) * 0.625 };
}

function scanParameters(radio: Controller, p: Buffer): Answer {
  return { complete: [radio.scanParameters(p[0] === 1, dutyAt(p, 1))] };
}

function extendedScanParameters(radio: Controller, p: Buffer): Answer {
  // Own address type, filter policy, PHYs, then type, interval and window of each PHY; the first one is 1M here.
  return { complete: [radio.scanParameters(p[3] === 1, dutyAt(p, 4))] };
}

const peerType = (byte: number | undefined): 'public' | 'random' => (byte === 1 || byte === 3 ? 'random' : 'public');

function create(radio: Controller, p: Buffer): Answer {
  const target = p[4] === 1 ? undefined : { addressType: peerType(p[5]), address: addressAt(p, 6) };
  const parameters = connectionParameters(p, 13);
  return { status: radio.connect({ target, parameters, duty: dutyAt(p, 0), extended: false }) };
}

function createExtended(radio: Controller, p: Buffer): Answer {
  const target = p[0] === 1 ? undefined : { addressType: peerType(p[2]), address: addressAt(p, 3) };
  const parameters = connectionParameters(p, 14);
  return { status: radio.connect({ target, parameters, duty: dutyAt(p, 10), extended: true }) };
}

function update(radio: Controller, p: Buffer): Answer {
  return radio.connections.update(p.readUInt16LE(0), connectionParameters(p, 2));
}

function connectionParameters(p: Buffer, at: number): ConnectionParameters {
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
  if (radio.connections.acceptList.length >= ACCEPT_LIST) return { complete: [STATUS.MEMORY_FULL] };
  radio.connections.acceptList.push(entry);
  return OK;
}

function removeFromAcceptList(radio: Controller, p: Buffer): Answer {
  const list = radio.connections.acceptList;
  const [type, address] = [peerType(p[0]), addressAt(p, 1)];
  const at = list.findIndex((entry) => entry.address === address && entry.addressType === type);
  if (at >= 0) list.splice(at, 1);
  return OK;
}
