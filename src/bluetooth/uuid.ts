const BASE = '-0000-1000-8000-00805f9b34fb';

/**
 * One spelling for UUIDs: 4 lower-case hex digits for 16-bit Bluetooth SIG ones, else 36 characters with dashes. noble drops
 * dashes and the leading zeros of 16-bit UUIDs (`0af0` comes as `af0`), so both sides of every comparison pass through here.
 */
export function canonicalUuid(uuid: string): string {
  const hex = uuid.toLowerCase().replaceAll('-', '').replace(/^0x/, '');
  if (hex.length <= 4) return hex.padStart(4, '0');
  const full = hex.length <= 8 ? hex.padStart(8, '0') + BASE.replaceAll('-', '') : hex.padStart(32, '0');
  const dashed = [full.slice(0, 8), full.slice(8, 12), full.slice(12, 16), full.slice(16, 20), full.slice(20)].join(
    '-',
  );
  return dashed.startsWith('0000') && dashed.endsWith(BASE) ? dashed.slice(4, 8) : dashed;
}
