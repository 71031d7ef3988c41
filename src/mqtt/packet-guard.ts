/**
 * Watches the bytes from the broker and tells when a packet announces itself as longer than `max` bytes, before it has been
 * collected in memory. MQTT 5 brokers are asked not to send such packets; older ones cannot be asked.
 * Fixed header: MQTT 5, section 2.1.4 (one byte of type, then the remaining length in at most four bytes of seven bits).
 */
export function createPacketGuard(max: number, onTooLarge: () => void): (chunk: Uint8Array) => void {
  let body = 0;
  let length = 0;
  let shift = -1;
  return (chunk) => {
    let at = 0;
    while (at < chunk.length) {
      if (body > 0) {
        const taken = Math.min(body, chunk.length - at);
        body -= taken;
        at += taken;
        continue;
      }
      const byte = chunk[at++] ?? 0;
      if (shift < 0) {
        shift = 0;
        length = 0;
        continue;
      }
      length += (byte & 0x7f) * 2 ** shift;
      shift += 7;
      if (length > max || shift > 28) return onTooLarge();
      if ((byte & 0x80) !== 0) continue;
      body = length;
      shift = -1;
    }
  };
}
