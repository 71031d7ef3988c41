import { createHash } from 'node:crypto';
import type { LinkCharacteristic } from './central.ts';

/**
 * Services that are not counted. Generic Access and Generic Attribute (which every device has) are never shown by bluetoothd;
 * Device Information, Battery, HID and Scan Parameters it keeps for its own drivers, depending on its version and
 * `ExportClaimedServices` (main.conf). They say nothing of how a lamp is driven, and updates of a lamp add them and take
 * them away.
 */
const NOT_COUNTED: ReadonlySet<string> = new Set(['1800', '1801', '180a', '180f', '1812', '1813']);
/** What a characteristic lets one do; backends spell the rest (broadcast, signed writes, extended properties) differently. */
const COUNTED = ['read', 'write', 'writeWithoutResponse', 'notify', 'indicate'];

/**
 * A digest of how a lamp is driven: each characteristic with its service and what can be done with it, however often it is
 * there. Not counted: their order and handles (bluetoothd lists them in any order, and updates move them), descriptors (not
 * every backend looks for them), and all values (a name, a version, a battery's charge). The same lamp has the same one
 * through every backend. 32 hex digits.
 */
export function fingerprintOf(characteristics: readonly LinkCharacteristic[]): string {
  const lines = characteristics
    .filter(({ service }) => !NOT_COUNTED.has(service))
    .map(({ service, uuid, properties }) => {
      const can = COUNTED.filter((property) => properties.includes(property));
      return `${service} ${uuid} ${can.join(' ')}`;
    })
    .sort();
  return createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 32);
}
