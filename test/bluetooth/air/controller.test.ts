import { describe, expect, it, vi } from 'vitest';
import { bench, create, h, linked, MASKS, OTHER, PEER } from './bench.ts';

/** Expected bytes are from the Core Specification 5.4, Vol 4 Part E section 7, and Vol 3. */

describe('HCI commands', () => {
  it.each([
    ['Reset', '01030c00', '040e0401030c00'],
    ['Set Event Mask', '01010c08ffffffffffffff3f', '040e0401010c00'],
    ['Read LE Host Support', '016c0c00', '040e06016c0c000100'],
    ['Write LE Host Support', '016d0c020100', '040e04016d0c00'],
    ['Read Local Version', '01011000', h('040e0c010110000900000 9ffff0000')],
    ['Read Buffer Size: none of BR/EDR', '01051000', '040e0b0105100000000000000000'],
    ['Read BD_ADDR', '01091000', '040e0a010910000112a1000002'],
    ['LE Read Buffer Size', '01022000', h('040e0701022000 1b0004')],
    ['LE Read Local Supported Features', '01032000', h('040e0c01032000 2000000000000000')],
    ['LE Read Maximum Data Length', '012f2000', h('040e0c012f2000 fb004808fb004808')],
    ['LE Set Scan Parameters', '010b200701120012000000', '040e04010b2000'],
    ['LE Set Scan Enable off while off', '010c20020001', '040e04010c2000'],
    ['LE Create Connection Cancel with none pending: disallowed', '010e2000', '040e04010e200c'],
    ['Disconnect of an unknown handle', h('010604034000 13'), h('040f04020106 04')],
    ['Read RSSI of an unknown handle', h('01051402 4000'), h('040e07010514 0240007f')],
    ['LE Connection Update of an unknown handle', '0113200e400006000c000000c80000000000', '040f0402011320'],
    ['a command nobody knows', '01ff3f00', '040e0401ff3f01'],
    ['an extended command on a controller without', h('014220060100000000 00'), '040e0401422001'],
    ['parameters that are too short', '010c200101', '040e04010c2012'],
    ['parameters that are too short for a command with a status', '010d20020000', '040f0412010d20'],
    ['scan enable 2', '010c20020200', '040e04010c2012'],
  ])('%s', async (_, sent, answer) => {
    const { send } = bench();
    expect(await send(sent)).toEqual([answer]);
  });

  it('says which commands it has, and the extended ones only where it has them', async () => {
    const octets = async (extended: boolean): Promise<Buffer> => {
      const [answer = ''] = await bench({ extended }).send('01021000');
      return Buffer.from(answer, 'hex').subarray(7);
    };
    const [plain, extended] = [await octets(false), await octets(true)];
    expect(plain.length).toBe(64);
    // Reset; LE Set Scan Enable; LE Create Connection and its cancel; LE Connection Update.
    expect([plain[5], plain[26], plain[27]].map((octet, n) => (octet ?? 0) & ([0x80, 0x38, 0x04][n] ?? 0))).toEqual([
      0x80, 0x38, 0x04,
    ]);
    expect(plain[37]).toBe(0);
    expect((extended[37] ?? 0) & 0xe0).toBe(0xe0);
  });

  it('sends no LE event before the host has asked for them', async () => {
    const { send } = bench();
    const answers = await send(create(PEER));
    expect(answers).toEqual(['040f0400010d20']);
  });
});

describe('scanning', () => {
  it('reports the advertisement and, scanning actively, the scan response', async () => {
    const { send } = bench();
    const heard = await send(...MASKS, '010b200701120012000000', '010c20020100');
    const reports = heard.filter((packet) => packet.startsWith('043e') && packet.includes(PEER));
    expect(reports).toEqual([
      h(`043e130201 0000 ${PEER} 07 020106 03031218 be`),
      h(`043e180201 0400 ${PEER} 0c 0b09454c4b2d424c45444f4d be`),
    ]);
  });

  it('reports no scan response when it scans passively', async () => {
    const { send } = bench();
    const heard = await send(...MASKS, '010b200700120012000000', '010c20020100');
    expect(heard.filter((packet) => packet.includes(`020104`))).toEqual([]);
    expect(heard.filter((packet) => packet.startsWith('043e')).length).toBe(2);
  });

  it('reports each lamp once per scan with the duplicate filter, and each time without', async () => {
    const { send, port } = bench({ advertisingIntervalMs: 4 });
    const count = async (filter: string): Promise<number> => {
      await send(`010c200200${filter}`, '010b200700120012000000');
      await send(`010c200201${filter}`);
      const first = port.length;
      await new Promise((resolve) => setTimeout(resolve, 40));
      expect(first).toBe(1 + 2);
      return port.length - 1;
    };
    await send(...MASKS);
    expect(await count('01')).toBe(2);
    expect(await count('00')).toBeGreaterThan(2);
    await send('01030c00');
  });

  it('refuses new parameters while it scans', async () => {
    const { send } = bench();
    await send('010c20020100');
    expect(await send('010b200701120012000000')).toEqual(['040e04010b200c']);
    await send('01030c00');
  });

  it('reports in the extended form to an extended scan', async () => {
    const { send } = bench({ extended: true });
    const heard = await send(
      MASKS[0] ?? '',
      '01012008ffff000000000000',
      '014120080000010112001200',
      h('014220060100 00000000'),
    );
    expect(heard.find((packet) => packet.includes(PEER))).toBe(
      h(`043e210d01 1300 00 ${PEER} 01 00 ff 7f be 0000 00 000000000000 07 020106 03031218`),
    );
    await send('01030c00');
  });
});

describe('connecting', () => {
  it('answers the status first, then the connection', async () => {
    const { send, lamp } = bench();
    const heard = await send(...MASKS, create(PEER));
    expect(heard.slice(2)).toEqual([
      '040f0400010d20',
      // Handle 0, central, public peer; the least interval asked for, no latency, 420 ms, clock accuracy 0.
      h(`043e1301 00 0000 00 00 ${PEER} 0600 0000 2a00 00`),
    ]);
    expect(lamp.connected).toBe(true);
  });

  it('uses the enhanced event where the host has asked for it', async () => {
    const { send } = bench();
    const heard = await send(MASKS[0] ?? '', '01012008ff03000000000000', create(PEER));
    expect(heard.at(-1)).toBe(h(`043e1f0a 00 0000 00 00 ${PEER} ${'00'.repeat(12)} 0600 0000 2a00 00`));
  });

  it.each([
    ['a second create while one is pending', [create('665544332211')], create(PEER), '040f040c010d20'],
    ['a device that is connected already', [create(PEER)], create(PEER), '040f040b010d20'],
    ['an interval below 7.5 ms', [], create(PEER, { interval: '0500 1200' }), '040f0412010d20'],
    ['a supervision timeout shorter than two intervals', [], create(PEER, { interval: '0600 800c' }), '040f0412010d20'],
  ])('refuses %s', async (_, before, sent, answer) => {
    const { send } = bench();
    for (const packet of [...MASKS, ...before]) await send(packet);
    expect(await send(sent)).toEqual([answer]);
  });

  it.each([0x09, 0x0d])('refuses one link more than it has with error %i', async (limitError) => {
    const { send } = bench({ maxLinks: 1, limitError });
    await send(...MASKS, create(PEER));
    expect(await send(create(OTHER))).toEqual([`040f040${limitError.toString(16)}010d20`]);
  });

  it('does not find a public lamp under a random address', async () => {
    const { send, lamp } = bench();
    await send(...MASKS, create(PEER, { type: '01' }));
    expect(lamp.connected).toBe(false);
  });

  it('cancels: complete, then a connection complete with 0x02', async () => {
    const { send } = bench();
    await send(...MASKS, create('665544332211'));
    expect(await send('010e2000')).toEqual(['040e04010e2000', `043e130102${'00'.repeat(17)}`]);
    expect(await send(create(PEER))).toContain('040f0400010d20');
  });

  it('connects to whoever of the filter accept list is heard', async () => {
    const { send, lamp } = bench();
    await send(...MASKS, h(`01112007 00${PEER}`), create('000000000000', { policy: '01' }));
    expect(lamp.connected).toBe(true);
  });

  it('disconnects with 0x16, and the lamp advertises again', async () => {
    const { send, lamp } = await linked();
    expect(await send(h('0106040300 0013'))).toEqual(['040f0400010604', h('0405040000001 6')]);
    expect(lamp.heard).toBe(true);
  });

  it('tells the signal strength of a link', async () => {
    const { send } = await linked();
    expect(await send(h('01051402 0000'))).toEqual([h('040e0701051400 0000be')]);
  });

  it('updates a connection: status, then the new interval', async () => {
    const { send } = await linked();
    expect(await send(h('0113200e 0000 1800 2800 0000 9001 0000 0000'))).toEqual([
      '040f0400011320',
      h('043e0a03 00 0000 1800 0000 9001'),
    ]);
  });

  it('drops links and scanning on reset, without a word', async () => {
    const { send, lamp } = await linked();
    expect(await send('01030c00')).toEqual(['040e0401030c00']);
    expect(lamp.connected).toBe(false);
  });
});

describe('ACL data', () => {
  /** One whole L2CAP frame in one packet for handle 0. */
  const acl = (payload: string, boundary = '00'): string => {
    const length = Buffer.alloc(2);
    length.writeUInt16LE(payload.length / 2);
    return `0200${boundary}${length.toString('hex')}${payload}`;
  };
  const COMPLETED = '0413050100000100';

  it('answers an MTU exchange, and gives the buffer back', async () => {
    const { send } = await linked();
    expect(await send(acl('03000400020001'))).toEqual([acl('03000400031700', '20'), COMPLETED]);
  });

  it('puts fragments together, and cuts what is longer than a buffer', async () => {
    const { send, written } = await linked({ buffers: { length: 10, count: 4 } });
    // Write Request of 9 bytes to fff3 (handle 12), in two pieces.
    const frame = '0c000400120c007e0004f00001ff00ef';
    expect(await send(acl(frame.slice(0, 20)), acl(frame.slice(20), '10'))).toEqual([
      COMPLETED,
      acl('0100040013', '20'),
      COMPLETED,
    ]);
    expect(written.map(({ hex, kind }) => [hex, kind])).toEqual([['7e0004f00001ff00ef', 'request']]);
    // Reading those 9 bytes takes a frame of 14: two packets.
    const answer = await send(acl('030004000a0c00'));
    expect(answer.map((packet) => packet.slice(0, 10))).toEqual(['0200200a00', '0200100400', '0413050100']);
  });

  it.each([
    ['a continuation without a beginning', [acl('7e0004f00001ff00ef', '10')]],
    ['a frame longer than it says', [acl('0100040012ffff')]],
    ['a header cut short, then a new frame', [acl('03'), acl('0100040052')]],
    ['an empty packet', [acl('')]],
    ['a frame that would be 65535 long', [acl('ffff0400'), acl('00'.repeat(20), '10')]],
    ['a channel that nobody has', [acl(h('04004100 00000000'))]],
  ])('survives %s', async (_, packets) => {
    const { send } = await linked();
    await send(...packets);
    expect(await send(acl('03000400020001'))).toEqual([acl('03000400031700', '20'), COMPLETED]);
  });

  it('drops data for a handle that is not there', async () => {
    const { send } = await linked();
    expect(await send(h('0205000700030004000 20001'))).toEqual([]);
  });

  it('says that it does not pair (SMP reason 0x05)', async () => {
    const { send } = await linked();
    expect(await send(acl(h('07000600 01030001100000')))).toContain(acl('020006000505', '20'));
  });

  it('rejects signalling requests, and is content with responses', async () => {
    const { send } = await linked();
    expect(await send(acl(h('0c000500 12070800 0600 0c00 0000 c800')))).toContain(
      acl(h('06000500 01070200 0000'), '20'),
    );
    expect(await send(acl(h('06000500 13010200 0000')))).toEqual([COMPLETED]);
  });

  it('asks for other connection parameters where the lamp does so', async () => {
    const { send, lamp } = bench();
    Object.assign(lamp.spec, { asksParameters: true });
    expect((await send(...MASKS, create(PEER))).at(-1)).toBe(acl(h('0c000500 12010800 1000 2000 0000 9001'), '20'));
  });

  it('says so when more comes than it has buffers for', async () => {
    const { send, lamp } = await linked({ buffers: { length: 27, count: 2 } });
    lamp.fault({ kind: 'out-of-range' }, true);
    const packet = acl(h('0300040002 1700'));
    expect(await send(packet, packet)).toEqual([]);
    expect(await send(packet)).toEqual(['041a0101', COMPLETED]);
    lamp.fault({ kind: 'out-of-range' }, false);
  });

  it('moves packets at connection events only: the answer leaves one interval after the request', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
    try {
      const { send, port } = bench({ connectionIntervalMs: 20, advertisingIntervalMs: 100 });
      await send(...MASKS, create(PEER, { interval: '0600 2000' }));
      // The first lamp advertises at once; from then on its events come every 20 ms.
      vi.advanceTimersByTime(1);
      expect(port.at(-1)).toBe(h(`043e1301 00 0000 00 00 ${PEER} 1000 0000 2a00 00`));
      expect(await send(acl('03000400020001'), acl('03000400020001'))).toEqual([]);
      vi.advanceTimersByTime(19);
      expect(port).toEqual([]);
      vi.advanceTimersByTime(1);
      expect(port).toEqual(['0413050100000200']);
      vi.advanceTimersByTime(19);
      expect(port.length).toBe(1);
      vi.advanceTimersByTime(1);
      expect(port.slice(1)).toEqual([acl('03000400031700', '20'), acl('03000400031700', '20')]);
    } finally {
      vi.useRealTimers();
    }
  });

  it('moves no more packets in one event than fit', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
    try {
      const { send, port } = bench({ connectionIntervalMs: 10, advertisingIntervalMs: 10, packetsPerEvent: 1 });
      await send(...MASKS, create(PEER));
      vi.advanceTimersByTime(10);
      await send(acl('03000400020001'), acl('03000400020001'));
      vi.advanceTimersByTime(10);
      expect(port).toEqual([COMPLETED]);
      vi.advanceTimersByTime(10);
      expect(port).toEqual([COMPLETED, acl('03000400031700', '20'), COMPLETED]);
    } finally {
      vi.useRealTimers();
    }
  });
});
