/** HCI packets as on the wire (Core Specification, Vol 4 Part E). Multi-byte values are little-endian. */

/** H4 packet types (Vol 4 Part A section 2). */
export const PACKET = { COMMAND: 0x01, ACL: 0x02, SCO: 0x03, EVENT: 0x04, ISO: 0x05 } as const;

/** Error codes (Vol 1 Part F). */
export const STATUS = {
  SUCCESS: 0x00,
  UNKNOWN_COMMAND: 0x01,
  UNKNOWN_CONNECTION: 0x02,
  MEMORY_FULL: 0x07,
  CONNECTION_TIMEOUT: 0x08,
  CONNECTION_LIMIT: 0x09,
  CONNECTION_EXISTS: 0x0b,
  COMMAND_DISALLOWED: 0x0c,
  LIMITED_RESOURCES: 0x0d,
  INVALID_PARAMETERS: 0x12,
  REMOTE_USER_TERMINATED: 0x13,
  LOCAL_HOST_TERMINATED: 0x16,
  UNSUPPORTED_REMOTE_FEATURE: 0x1a,
  UNKNOWN_ADVERTISING_SET: 0x42,
  FAILED_TO_BE_ESTABLISHED: 0x3e,
} as const;

/** Event codes, section 7.7. */
export const EVENT = {
  DISCONNECTION_COMPLETE: 0x05,
  READ_REMOTE_VERSION_COMPLETE: 0x0c,
  COMMAND_COMPLETE: 0x0e,
  COMMAND_STATUS: 0x0f,
  HARDWARE_ERROR: 0x10,
  NUMBER_OF_COMPLETED_PACKETS: 0x13,
  DATA_BUFFER_OVERFLOW: 0x1a,
  LE_META: 0x3e,
} as const;

/** LE Meta subevents, section 7.7.65. */
export const LE_EVENT = {
  CONNECTION_COMPLETE: 0x01,
  ADVERTISING_REPORT: 0x02,
  CONNECTION_UPDATE_COMPLETE: 0x03,
  READ_REMOTE_FEATURES_COMPLETE: 0x04,
  DATA_LENGTH_CHANGE: 0x07,
  ENHANCED_CONNECTION_COMPLETE: 0x0a,
  PHY_UPDATE_COMPLETE: 0x0c,
  EXTENDED_ADVERTISING_REPORT: 0x0d,
  CHANNEL_SELECTION_ALGORITHM: 0x14,
} as const;

/** The two bytes of a 16-bit value. */
export function u16(value: number): readonly [number, number] {
  return [value & 0xff, (value >> 8) & 0xff];
}

export function eventPacket(code: number, parameters: readonly number[] | Uint8Array): Buffer {
  const packet = Buffer.allocUnsafe(3 + parameters.length);
  packet[0] = PACKET.EVENT;
  packet[1] = code;
  packet[2] = parameters.length;
  packet.set(parameters, 3);
  return packet;
}

export function leEventPacket(subevent: number, parameters: readonly number[] | Uint8Array): Buffer {
  return eventPacket(EVENT.LE_META, [subevent, ...parameters]);
}

/** `credits`: how many commands the host may send now; the controller takes one at a time. */
export function commandComplete(opcode: number, parameters: readonly number[], credits = 1): Buffer {
  return eventPacket(EVENT.COMMAND_COMPLETE, [credits, ...u16(opcode), ...parameters]);
}

export function commandStatus(opcode: number, status: number, credits = 1): Buffer {
  return eventPacket(EVENT.COMMAND_STATUS, [status, credits, ...u16(opcode)]);
}

export function completedPackets(handle: number, count: number): Buffer {
  return eventPacket(EVENT.NUMBER_OF_COMPLETED_PACKETS, [1, ...u16(handle), ...u16(count)]);
}

/** Tells the host that it must reset the controller (section 7.7.16). */
export function hardwareError(code: number): Buffer {
  return eventPacket(EVENT.HARDWARE_ERROR, [code]);
}

/** Packet boundary flags, section 5.4.2. */
export const BOUNDARY = { FIRST_NON_FLUSHABLE: 0, CONTINUATION: 1, FIRST: 2 } as const;

export function aclPacket(handle: number, boundary: number, payload: Uint8Array): Buffer {
  const packet = Buffer.allocUnsafe(5 + payload.length);
  packet[0] = PACKET.ACL;
  packet.writeUInt16LE(handle | (boundary << 12), 1);
  packet.writeUInt16LE(payload.length, 3);
  packet.set(payload, 5);
  return packet;
}

/** `aa:bb:cc:dd:ee:ff` as its six bytes on the air, last first. */
export function addressBytes(address: string): readonly number[] {
  return address
    .split(':')
    .map((hex) => Number.parseInt(hex, 16))
    .reverse();
}

/** The address whose six bytes stand at `offset`. */
export function addressAt(bytes: Uint8Array, offset: number): string {
  return Array.from(bytes.subarray(offset, offset + 6), (byte) => byte.toString(16).padStart(2, '0'))
    .reverse()
    .join(':');
}
