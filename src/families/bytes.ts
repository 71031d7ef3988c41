/**
 * A frame written as its bytes, in order: hexadecimal pairs, and names that `values` fills in. `bytesOf('56 R G B 00 F0 AA', { R: 255,
 * G: 0, B: 0 })`. A name without a value is 0; values are cut to one byte.
 */
export function bytesOf(template: string, values: Readonly<Record<string, number>> = {}): Uint8Array {
  return Uint8Array.from(
    template.split(' ').map((word) => (HEX_PAIR.test(word) ? Number.parseInt(word, 16) : (values[word] ?? 0) & 0xff)),
  );
}

const HEX_PAIR = /^[0-9A-F]{2}$/;
