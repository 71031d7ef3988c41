/** The words of the Attribute Protocol (Core Specification, Vol 3 Part F section 3.4). */

/** Opcodes of requests and commands; a response is one more than its request (section 3.4.8). */
export const OP = {
  ERROR: 0x01,
  MTU: 0x02,
  FIND_INFORMATION: 0x04,
  FIND_BY_TYPE_VALUE: 0x06,
  READ_BY_TYPE: 0x08,
  READ: 0x0a,
  READ_BLOB: 0x0c,
  READ_MULTIPLE: 0x0e,
  READ_BY_GROUP_TYPE: 0x10,
  WRITE: 0x12,
  PREPARE_WRITE: 0x16,
  EXECUTE_WRITE: 0x18,
  NOTIFICATION: 0x1b,
  WRITE_COMMAND: 0x52,
} as const;

/** Part F section 3.4.1.1, table 3.4. */
export const ATT_ERROR = {
  INVALID_HANDLE: 0x01,
  READ_NOT_PERMITTED: 0x02,
  WRITE_NOT_PERMITTED: 0x03,
  INVALID_PDU: 0x04,
  REQUEST_NOT_SUPPORTED: 0x06,
  INVALID_OFFSET: 0x07,
  PREPARE_QUEUE_FULL: 0x09,
  ATTRIBUTE_NOT_FOUND: 0x0a,
  INVALID_VALUE_LENGTH: 0x0d,
  UNSUPPORTED_GROUP_TYPE: 0x10,
} as const;

/** An ATT error on its way to the client. */
export class Refusal {
  readonly code: number;
  readonly handle: number;

  constructor(code: number, handle = 0) {
    this.code = code;
    this.handle = handle;
  }
}
