import { describe, expect, it } from 'vitest';
import { H4Framer } from '../../../src/bluetooth/air/h4.ts';

/** Core Specification 5.4, Vol 4 Part A (UART transport). */

function framer() {
  const packets: string[] = [];
  let lost = 0;
  const h4 = new H4Framer(
    (packet) => packets.push(packet.toString('hex')),
    () => {
      lost += 1;
    },
  );
  return { push: (hex: string) => h4.push(Buffer.from(hex, 'hex')), packets, lost: () => lost };
}

const RESET = '01030c00';
const ACL = '02000005000100040052';
const SCO = '030000020102';
/** The two high bits of its length are reserved. */
const ISO = '05000002400102';

describe('cutting the stream', () => {
  it('hands on every kind of packet, however the stream is cut', () => {
    const stream = [RESET, ACL, SCO, ISO, RESET].join('');
    for (let size = 1; size <= stream.length / 2; size++) {
      const { push, packets, lost } = framer();
      for (let at = 0; at < stream.length; at += 2 * size) push(stream.slice(at, at + 2 * size));
      expect(packets).toEqual([RESET, ACL, SCO, ISO, RESET]);
      expect(lost()).toBe(0);
    }
  });

  it('waits for the rest of half a packet', () => {
    const { push, packets } = framer();
    push(ACL.slice(0, 12));
    expect(packets).toEqual([]);
    push(ACL.slice(12));
    expect(packets).toEqual([ACL]);
  });

  it.each(['00', '04', '06', 'ff'])(
    'loses synchronisation on a packet that begins with %s, once, until a reset',
    (type) => {
      const { push, packets, lost } = framer();
      push(`${RESET}${type}0102`);
      push(ACL);
      push('0103');
      push('0c0001');
      expect(lost()).toBe(1);
      expect(packets).toEqual([RESET, RESET]);
      push('030c00');
      expect(packets).toEqual([RESET, RESET, RESET]);
    },
  );

  it('takes a long packet that comes byte by byte', () => {
    const { push, packets } = framer();
    const long = `020000ffff${'ab'.repeat(0xffff)}`;
    for (let at = 0; at < long.length; at += 2) push(long.slice(at, at + 2));
    expect(packets).toEqual([long]);
  });
});
