import { LONGEST_VALUE, MOST_CHARACTERISTICS } from '../limits.ts';
import { Budget } from './budget.ts';

/** Opcodes (Core specification, Vol 3, Part F, 3.4.8). A response's is its request's plus one. */
const ERROR_RESPONSE = 0x01;
const MTU = 0x02;
const FIND_INFORMATION = 0x04;
const READ_BY_TYPE = 0x08;
const READ_BLOB = 0x0c;
const READ_BY_GROUP = 0x10;
const NOTIFICATION = 0x1b;
const INDICATION = 0x1d;
const CONFIRMATION = 0x1e;
const COMMAND_FLAG = 0x40;
const REQUESTS = new Set([0x02, 0x04, 0x06, 0x08, 0x0a, 0x0c, 0x0e, 0x10, 0x12, 0x16, 0x18, 0x20]);

const CHARACTERISTIC = 0x2803;

const SMALLEST_MTU = 23;
/** What noble asks for; the smaller of both sides' counts. */
const LARGEST_MTU = 256;

/** No lamp that we know has a quarter of this; noble asks on as long as the peer names one more. */
const MOST_SERVICES = 32;
/** A connection event each 15 ms carries no more that mean something; the gateway has other lamps to hear. */
const VALUES_PER_SECOND = 60;
/** A lamp that is a client too asks once for this and that. */
const REQUESTS_PER_SECOND = 8;

/** ATT errors after which noble starts a pairing that never ends, or stops reading answers. */
const INVALID_PDU = 0x04;
const NEEDS_PAIRING = new Set([0x05, 0x08, 0x0f]);
const UNLIKELY_ERROR = 0x0e;

export interface AttError {
  /** Opcode of the request that was refused. */
  readonly request: number;
  readonly code: number;
  readonly needsPairing: boolean;
}

/** What to do with one whole attribute packet of a peer. */
export type Verdict =
  | { readonly pass: Buffer; readonly error?: AttError }
  | { readonly drop: true }
  | { readonly broken: string };

const DROP: Verdict = { drop: true };

/** The request that noble waits for an answer to. `start` and `end` are a handle range, where it asks for one. */
interface Asked {
  readonly opcode: number;
  readonly start: number;
  readonly end: number;
  /** Of Read By Type: what is looked for; of Read Blob: where it begins. */
  readonly what: number;
}

/**
 * Stands between noble and the attribute packets of one peer (Vol 3, Part F). noble believes lengths, takes whatever comes
 * for the answer that it waits for, asks on for ever, and hangs on some refusals.
 *
 * Invariants: noble sees an answer only to the request that is under way, once, and well-formed; lists name handles within
 * what was asked, rising, so that every discovery ends, after at most `MOST_SERVICES` services and `MOST_CHARACTERISTICS` of them
 * all; values have at most `LONGEST_VALUE` octets; what a peer says unasked comes to at most `VALUES_PER_SECOND`, with one
 * indication until it is confirmed, and `REQUESTS_PER_SECOND`. All else is dropped. An answer that is malformed breaks the
 * link: noble would wait for another.
 */
export class AttGate {
  readonly #now: () => number;
  readonly #values: Budget;
  readonly #requests: Budget;
  #asked: Asked | undefined;
  #confirming = false;
  #services = 0;
  #characteristics = 0;

  constructor(now: () => number) {
    this.#now = now;
    this.#values = new Budget(VALUES_PER_SECOND, now());
    this.#requests = new Budget(REQUESTS_PER_SECOND, now());
  }

  /** noble sends this, or this begins it. */
  sent(pdu: Buffer): void {
    const opcode = pdu[0] ?? 0;
    if (opcode === CONFIRMATION) this.#confirming = false;
    if (!REQUESTS.has(opcode)) return;
    const at = (offset: number): number => (pdu.length >= offset + 2 ? pdu.readUInt16LE(offset) : 0);
    this.#asked = { opcode, start: at(1), end: at(3), what: at(opcode === READ_BLOB ? 3 : 5) };
    if (opcode === READ_BY_GROUP && at(1) === 1) {
      this.#services = 0;
      this.#characteristics = 0;
    }
  }

  /** The peer sent this. */
  judge(pdu: Buffer): Verdict {
    const opcode = pdu[0];
    if (opcode === undefined) return DROP;
    if (opcode === ERROR_RESPONSE) return this.#judgeError(pdu);
    if (opcode === NOTIFICATION || opcode === INDICATION) return this.#judgeValue(opcode, pdu);
    if (REQUESTS.has(opcode - 1)) return this.#judgeAnswer(opcode - 1, pdu);
    // noble refuses requests and, wrongly, commands and confirmations, which want no answer (3.3).
    const isRequest = opcode % 2 === 0 && (opcode & COMMAND_FLAG) === 0 && opcode !== CONFIRMATION;
    return isRequest && this.#requests.take(this.#now()) ? { pass: pdu } : DROP;
  }

  #judgeError(pdu: Buffer): Verdict {
    const [, request, , , code] = pdu;
    if (request === undefined || code === undefined || request !== this.#asked?.opcode) return DROP;
    this.#asked = undefined;
    const needsPairing = NEEDS_PAIRING.has(code);
    const error: AttError = { request, code, needsPairing };
    const harmless = Buffer.from(pdu.subarray(0, 5));
    if (needsPairing || code === INVALID_PDU) harmless[4] = UNLIKELY_ERROR;
    return { pass: harmless, error };
  }

  #judgeValue(opcode: number, pdu: Buffer): Verdict {
    if (pdu.length < 3 || (opcode === INDICATION && this.#confirming) || !this.#values.take(this.#now())) return DROP;
    // noble queues a confirmation for each; one is under way (3.3.3).
    if (opcode === INDICATION) this.#confirming = true;
    return { pass: pdu };
  }

  #judgeAnswer(request: number, pdu: Buffer): Verdict {
    const asked = this.#asked;
    if (asked?.opcode !== request) return DROP;
    this.#asked = undefined;
    switch (request) {
      case MTU:
        if (pdu.length < 3) return { broken: 'a short MTU answer' };
        return { pass: withMtu(pdu, Math.min(Math.max(pdu.readUInt16LE(1), SMALLEST_MTU), LARGEST_MTU)) };
      case FIND_INFORMATION:
        return isInformation(asked, pdu) ? { pass: pdu } : { broken: 'a malformed list of descriptors' };
      case READ_BY_TYPE:
        return asked.what === CHARACTERISTIC ? this.#judgeCharacteristics(asked, pdu) : judgeList(asked, pdu);
      case READ_BY_GROUP:
        return this.#judgeServices(asked, pdu);
      case READ_BLOB:
        return asked.what + pdu.length - 1 <= LONGEST_VALUE ? { pass: pdu } : { broken: 'a value without end' };
      default:
        return { pass: pdu };
    }
  }

  /** Handle, last handle of the group, and a UUID of 2 or 16 octets, each (3.4.4.10). */
  #judgeServices(asked: Asked, pdu: Buffer): Verdict {
    const services = elements(pdu, [6, 20]);
    if (services === undefined) return { broken: 'a malformed list of services' };
    let last = asked.start - 1;
    for (const service of services) {
      const [start, end] = [service.readUInt16LE(0), service.readUInt16LE(2)];
      if (start <= last || end < start || end > asked.end) return { broken: 'services out of order' };
      last = end;
    }
    this.#services += services.length;
    return this.#services <= MOST_SERVICES ? { pass: pdu } : { broken: 'services without end' };
  }

  /** Handle; properties, handle of the value, and a UUID of 2 or 16 octets, each (3.4.4.2; Part G, 4.6.1). */
  #judgeCharacteristics(asked: Asked, pdu: Buffer): Verdict {
    const characteristics = elements(pdu, [7, 21]);
    if (characteristics === undefined) return { broken: 'a malformed list of characteristics' };
    let last = asked.start - 1;
    for (const one of characteristics) {
      const [declared, value] = [one.readUInt16LE(0), one.readUInt16LE(3)];
      if (declared <= last || value <= declared || value > asked.end) return { broken: 'characteristics out of order' };
      last = value;
    }
    this.#characteristics += characteristics.length;
    return this.#characteristics <= MOST_CHARACTERISTICS ? { pass: pdu } : { broken: 'characteristics without end' };
  }
}

/** Handle and value each, the handles as asked for; noble reads two octets of value. */
function judgeList(asked: Asked, pdu: Buffer): Verdict {
  const each = pdu[1] ?? 0;
  const list = each >= 4 ? elements(pdu, [each]) : undefined;
  if (list === undefined) return { broken: 'a malformed attribute list' };
  return isRising(asked, list) ? { pass: pdu } : { broken: 'attributes out of order' };
}

/** Handle and UUID each, of 2 octets (format 1) or 16 (format 2; 3.4.3.2). */
function isInformation(asked: Asked, pdu: Buffer): boolean {
  const each = { 1: 4, 2: 18 }[pdu[1] ?? 0];
  const bytes = pdu.length - 2;
  if (each === undefined || bytes < each || bytes % each !== 0) return false;
  return isRising(asked, cut(pdu, each));
}

function isRising(asked: Asked, list: readonly Buffer[]): boolean {
  let last = asked.start - 1;
  for (const one of list) {
    const handle = one.readUInt16LE(0);
    if (handle <= last || handle > asked.end) return false;
    last = handle;
  }
  return true;
}

/** The elements of a list that begins with their length, which must be one of `lengths`; at least one, and no rest. */
function elements(pdu: Buffer, lengths: readonly number[]): readonly Buffer[] | undefined {
  const each = pdu[1] ?? 0;
  const bytes = pdu.length - 2;
  return lengths.includes(each) && bytes >= each && bytes % each === 0 ? cut(pdu, each) : undefined;
}

const cut = (pdu: Buffer, each: number): readonly Buffer[] =>
  Array.from({ length: (pdu.length - 2) / each }, (_, i) => pdu.subarray(2 + i * each, 2 + (i + 1) * each));

function withMtu(pdu: Buffer, mtu: number): Buffer {
  const copy = Buffer.from(pdu.subarray(0, 3));
  copy.writeUInt16LE(mtu, 1);
  return copy;
}
