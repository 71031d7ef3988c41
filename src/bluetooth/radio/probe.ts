import { PorchlightError } from '../../errors.ts';
import { EVENT } from './h4-framer.ts';
import type { HciTransport } from './hci-transport.ts';

const RESET = Buffer.from([0x01, 0x03, 0x0c, 0x00]);
const READ_LE_FEATURES = Buffer.from([0x01, 0x03, 0x20, 0x00]);
/** LE Extended Advertising, bit 12 of the LE features (Core specification, Vol 6, Part B, 4.6). */
const EXTENDED_ADVERTISING = 1 << 4;
const PATIENCE_MS = 12_000;

/**
 * Resets a controller that is ours alone and asks whether it advertises extended. noble asks too, but only after it has used
 * a legacy scan command, and from then on a strict controller refuses extended ones until its next reset (Vol 4, Part E, 3.1.1).
 * Rejects with `adapter_stuck` where nobody answers.
 */
export function probe(transport: HciTransport): Promise<{ readonly extended: boolean }> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new PorchlightError('adapter_stuck', 'The Bluetooth controller does not answer.')),
      PATIENCE_MS,
    );
    let step = 0;
    transport.on('data', (packet) => {
      if (step > 1 || packet[0] !== EVENT || packet.length < 7) return;
      // Command Status: type, code, length, status, credits, opcode (2). Some refuse by it what they do not know.
      if (packet[1] === 0x0f && packet[3] !== 0 && packet.readUInt16LE(5) === READ_LE_FEATURES.readUInt16LE(1)) {
        step = 2;
        clearTimeout(timer);
        resolve({ extended: false });
      }
      // Command Complete: type, code, length, credits, opcode (2), status, parameters.
      if (packet[1] !== 0x0e) return;
      const opcode = packet.readUInt16LE(4);
      if (step === 0 && opcode === RESET.readUInt16LE(1)) {
        step = 1;
        transport.write(READ_LE_FEATURES);
      } else if (step === 1 && opcode === READ_LE_FEATURES.readUInt16LE(1)) {
        step = 2;
        clearTimeout(timer);
        resolve({ extended: packet[6] === 0 && ((packet[8] ?? 0) & EXTENDED_ADVERTISING) !== 0 });
      }
    });
    transport.write(RESET);
  });
}
