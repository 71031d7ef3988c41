import { aclPacket } from './hci.ts';
import { CID, fragments, frame } from './l2cap.ts';

const CONFIRMATION = 0x1e;
const COMMAND_FLAG = 0x40;

/** A lamp that answers each attribute request by the next of these PDUs, whatever was asked; an empty one is silence. */
export class Lies {
  readonly #answers: readonly string[];
  readonly #forever: boolean;
  #next = 0;

  /** After the last of `answers` (hex) comes the first again, where they are told `forever`. */
  constructor(answers: readonly string[], forever: boolean) {
    this.#answers = answers;
    this.#forever = forever;
  }

  /** The PDU, an empty one for silence, or undefined where the truth is to be told, or nothing is due. */
  answer(pdu: Buffer): Buffer | undefined {
    const opcode = pdu[0] ?? 1;
    const isRequest = opcode % 2 === 0 && opcode !== CONFIRMATION && (opcode & COMMAND_FLAG) === 0;
    if (!isRequest) return undefined;
    if (this.#forever && this.#next >= this.#answers.length) this.#next = 0;
    const answer = this.#answers[this.#next];
    this.#next += 1;
    return answer === undefined ? undefined : Buffer.from(answer, 'hex');
  }
}

/** What a hostile peer sends: a payload on a channel (ATT, if none is named), or a fragment that says of itself what it likes. */
export interface Attack {
  readonly hex: string;
  readonly channel?: number | undefined;
  readonly boundary?: number | undefined;
}

/** The packets by which the controller hands it to the host. */
export function attackPackets(handle: number, attack: Attack, packetLength: number): readonly Buffer[] {
  const payload = Buffer.from(attack.hex, 'hex');
  if (attack.boundary !== undefined) return [aclPacket(handle, attack.boundary, payload)];
  const whole = frame(attack.channel ?? CID.ATT, payload);
  return fragments(whole, packetLength).map((piece) => aclPacket(handle, piece.boundary, piece.payload));
}
