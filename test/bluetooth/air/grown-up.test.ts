import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { isOpen } from '../../../src/bluetooth/air/channels.ts';
import { bench, create, h, linked, MASKS, OTHER, PEER } from './bench.ts';

/** Expected bytes are from the Core Specification 5.4, Vol 4 Part E section 7. */

/** All LE events that a 5.4 host knows. */
const ALL = [MASKS[0] ?? '', '01012008ffffffff1f000000'];
const SCAN = ['010b2007 01 1200 1200 00 00', '010c2002 01 00'].map(h);
const EXTENDED_SCAN = ['01412008 00 00 01 01 1200 1200', '01422006 01 00 0000 0000'].map(h);
const createExtended = (peer: string): string =>
  h(`01 4320 1a 00 00 00 ${peer} 01 6000 6000 0600 1200 0000 2a00 0000 0000`);
const reports = (heard: readonly string[]): string[] => heard.filter((packet) => /^043e..(02|0d)/.test(packet));
const complete = (opcode: string, status: string, rest = ''): RegExp =>
  new RegExp(`^040e..01${opcode}${status}${rest}`);

describe('a Bluetooth 5 controller', () => {
  /** What hci_sync.c of Linux 6.1 sends to an LE controller with extended advertising: opcode, parameters, and what is said. */
  it.each([
    ['Reset', '030c', '', ''],
    ['Read Local Supported Features', '0310', '', '0000000060000000'],
    ['Read Local Version', '0110', '', '09'],
    ['Read BD_ADDR', '0910', '', '0112a1000002'],
    ['Read Local Supported Commands', '0210', '', ''],
    ['LE Read Local Supported Features', '0320', '', '6051'],
    ['LE Read Buffer Size', '0220', '', '1b0004'],
    ['LE Read Supported States', '1c20', '', ''],
    ['Set Event Mask', '010c', 'e804000000002000', ''],
    ['LE Set Event Mask', '0120', 'ff7f0b0000000000', ''],
    ['LE Read Transmit Power', '4b20', '', 'ec08'],
    ['LE Read RF Path Compensation', '4c20', '', '00000000'],
    ['LE Read Filter Accept List Size', '0f20', '', '08'],
    ['LE Clear Filter Accept List', '1020', '', ''],
    ['LE Read Resolving List Size', '2a20', '', '08'],
    ['LE Clear Resolving List', '2920', '', ''],
    ['LE Set RPA Timeout', '2e20', '8403', ''],
    ['LE Read Maximum Data Length', '2f20', '', 'fb004808fb004808'],
    ['LE Read Suggested Default Data Length', '2320', '', '1b004801'],
    ['LE Read Number of Supported Advertising Sets', '3b20', '', '04'],
    ['LE Read Maximum Advertising Data Length', '3a20', '', '7206'],
    ['LE Write Suggested Default Data Length', '2420', 'fb004808', ''],
    ['LE Set Default PHY', '3120', '000303', ''],
    ['LE Set Random Address', '0520', '112233445566', ''],
    ['LE Clear Advertising Sets', '3d20', '', ''],
    ['LE Set Extended Advertising Enable', '3920', '0000', ''],
    ['LE Set Address Resolution Enable', '2d20', '00', ''],
    ['LE Set Extended Scan Parameters', '4120', '0000010060003000', ''],
    ['LE Set Extended Scan Enable', '4220', '000000000000', ''],
  ])('comes up under Linux: %s', async (_, opcode, parameters, says) => {
    const { send } = bench({ extended: true });
    const length = (parameters.length / 2).toString(16).padStart(2, '0');
    const [answer] = await send(`01${opcode}${length}${parameters}`);
    expect(answer).toMatch(complete(opcode, '00', says));
  });

  it('keeps an advertising set as told: its parameters first, then what it says', async () => {
    const { send } = bench({ extended: true });
    const [data, parameters] = ['0137200b 01 03 01 07 06 09 4c616d70 00', `01362019 01 1300${'00'.repeat(22)}`].map(h);
    expect(await send(data ?? '')).toEqual([h('040e0401 3720 42')]);
    expect(await send(parameters ?? '', data ?? '')).toEqual([h('040e0501 3620 00 00'), h('040e0401 3720 00')]);
    expect(await send(h('013c2001 01'), h('013c2001 01'))).toEqual([h('040e0401 3c20 00'), h('040e0401 3c20 42')]);
  });

  it('has none of it where it is a Bluetooth 4 one', async () => {
    const { send } = bench();
    expect(await send(h('013b2000'))).toEqual([h('040e0401 3b20 01')]);
    const [commands = ''] = await send('01021000');
    // Octets 36 and 38: extended advertising and transmit power.
    expect([commands.slice(14 + 72, 16 + 72), commands.slice(14 + 76, 16 + 76)]).toEqual(['00', '00']);
  });

  it.each([
    ['legacy', SCAN[1] ?? '', EXTENDED_SCAN[1] ?? '', complete('4220', '0c')],
    ['extended', EXTENDED_SCAN[1] ?? '', SCAN[1] ?? '', complete('0c20', '0c')],
    ['extended, then a legacy connect', EXTENDED_SCAN[1] ?? '', create(PEER), /^040f040c010d20/],
  ])('takes %s commands only, once it has taken one, until it is reset', async (_, first, other, refused) => {
    const { send } = bench({ extended: true });
    await send(...ALL, first);
    expect((await send(other))[0]).toMatch(refused);
    await send('01030c00');
    expect((await send(other))[0]).not.toMatch(refused);
  });

  it('hears long names in parts, and only where it scans for them', async () => {
    const name = 'Lampe über dem Sofa '.repeat(11).slice(0, 240);
    const { send, lamp } = bench({ extended: true }, { advertises: 'extended', name });
    const heard = reports(await send(...ALL, ...EXTENDED_SCAN)).filter((packet) => packet.includes(PEER));
    expect(heard).toHaveLength(2);
    const [first = '', last = ''] = heard;
    expect(first.length / 2).toBe(3 + 255);
    // Event type: connectable; data status 01 more to come, then 00 complete.
    expect([first.slice(10, 14), last.slice(10, 14)]).toEqual(['2100', '0100']);
    expect(first.slice(2 * 29) + last.slice(2 * 29)).toBe(lamp.advertising.advertisement.toString('hex'));
    expect(lamp.advertising.advertisement.toString('utf8')).toContain('über');
    await send('01030c00');
    expect(reports(await send(...ALL, ...SCAN)).filter((packet) => packet.includes(PEER))).toEqual([]);
  });

  it('connects to who advertises extended by the extended command only', async () => {
    const { send, lamp } = bench({ extended: true }, { advertises: 'extended' });
    await send(...ALL, create(PEER));
    expect(lamp.connected).toBe(false);
    const heard = await send('01030c00', ...ALL, createExtended(PEER));
    expect(lamp.connected).toBe(true);
    // Which is followed by the algorithm that chooses its channels (7.7.65.20).
    expect(heard.at(-1)).toBe(h('043e0414 0000 01'));
  });

  it('tells of long packets and another PHY where the lamp begins it', async () => {
    const { send } = bench({ extended: true }, { updatesLink: true });
    const heard = await send(...ALL, createExtended(PEER));
    expect(heard.slice(-2)).toEqual([h('043e0b07 0000 fb004808 fb004808'), h('043e060c 00 0000 02 02')]);
  });

  it('puts several adverts into one event', async () => {
    const { send } = bench({ reportsPerEvent: 4 });
    const heard = reports(await send(...ALL, ...SCAN));
    expect(heard).toHaveLength(1);
    expect(heard[0]?.slice(6, 10)).toBe('0204');
    expect(heard[0]?.split(PEER)).toHaveLength(3);
  });
});

describe('what is in the air', () => {
  it.each([
    ['a lamp', {}, '00'],
    ['a beacon with a scan response', { connectable: false }, '02'],
  ] as const)('reports %s by its kind', async (_, first, type) => {
    const { send, lamp } = bench({}, first);
    const [heard = ''] = reports(await send(...ALL, ...SCAN));
    expect(heard.slice(10, 12)).toBe(type);
    await send('010c20020000', create(PEER));
    expect(lamp.connected).toBe(type === '00');
  });

  it('listens for as much of the time as it was told', () => {
    const half = { intervalMs: 60, windowMs: 30 };
    expect([0, 29, 30, 59, 60, 89, 90].map((now) => isOpen(half, 1000, 1000 + now))).toEqual([
      true,
      true,
      false,
      false,
      true,
      true,
      false,
    ]);
    expect(isOpen({ intervalMs: 60, windowMs: 60 }, 0, 59.9)).toBe(true);
  });

  it.each([
    ['a window longer than its interval', '010b2007 01 1200 1300 00 00', '0b20'],
    ['less than 2.5 ms', '010b2007 01 0300 0300 00 00', '0b20'],
  ])('refuses to scan with %s', async (_, packet, opcode) => {
    expect((await bench().send(h(packet)))[0]).toMatch(complete(opcode, '12'));
  });

  it('is silent, or says that it takes no connection, while somebody is connected', async () => {
    const silent = await linked();
    expect(reports(await silent.send(...SCAN)).filter((packet) => packet.includes(PEER))).toEqual([]);
    const heard = await linked({}, { advertisesConnected: true });
    expect(
      reports(await heard.send(...SCAN))
        .find((packet) => packet.includes(PEER))
        ?.slice(10, 12),
    ).toBe('02');
  });
});

describe('in time', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('connects at the lamp’s next advert, at the lamp’s own interval', async () => {
    const { send, lamp } = bench({ connectionIntervalMs: 15, extended: true }, { advertisingIntervalMs: 1000 });
    await send(...ALL, ...EXTENDED_SCAN);
    vi.advanceTimersByTime(100);
    await send(createExtended(PEER));
    vi.advanceTimersByTime(850);
    expect(lamp.connected).toBe(false);
    vi.advanceTimersByTime(80);
    expect(lamp.connected).toBe(true);
  });

  it('has lamps advertise at random moments of their interval, never in step', async () => {
    const { send, port } = bench({ connectionIntervalMs: 15, advertisingIntervalMs: 100 });
    await send(...ALL, ...SCAN);
    const gaps = new Set<number>();
    let last = 0;
    for (let now = 1; now <= 3000; now += 1) {
      port.length = 0;
      vi.advanceTimersByTime(1);
      if (!port.some((packet) => packet.includes(OTHER))) continue;
      if (last > 0) gaps.add(now - last);
      last = now;
    }
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(99);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(112);
    expect(gaps.size).toBeGreaterThan(3);
  });

  it.each([
    ['goes out of range', 'out-of-range'],
    ['loses its power', 'power-cut'],
  ] as const)('a lamp that %s keeps its link until the supervision timeout, told to end or not', async (_, kind) => {
    for (const disconnect of [false, true]) {
      const { send, lamp, port } = await linked();
      lamp.fault({ kind }, true);
      if (disconnect) expect(await send(h('01060403 0000 13'))).toEqual([h('040f04 00 01 0604')]);
      // The link stands, so nobody can connect, though a lamp that has its power back is heard.
      expect(lamp.heard).toBe(kind === 'power-cut');
      expect(await send(create(PEER))).toEqual(['040f040b010d20']);
      port.length = 0;
      vi.advanceTimersByTime(419);
      expect(port).toEqual([]);
      vi.advanceTimersByTime(1);
      expect(port).toEqual([h('040504 00 0000 08')]);
    }
  });

  it('a lamp that is back in time ends its link as it was told', async () => {
    const { send, lamp, port } = await linked();
    lamp.fault({ kind: 'out-of-range' }, true);
    await send(h('01060403 0000 13'));
    vi.advanceTimersByTime(300);
    lamp.fault({ kind: 'out-of-range' }, false);
    vi.advanceTimersByTime(50);
    expect(port.at(-1)).toBe(h('040504 00 0000 16'));
  });

  it('changes its private address, and is connected to by the present one only', async () => {
    const { send, lamp } = bench({}, { rotatesAddressMs: 1000 });
    const bytes = (): string => lamp.onAir.address.split(':').reverse().join('');
    const old = bytes();
    // Resolvable: the two upper bits are 01 (Vol 6 Part B 1.3.2.2).
    expect(Number.parseInt(old.slice(10), 16) >> 6).toBe(1);
    vi.advanceTimersByTime(1001);
    expect(bytes()).not.toBe(old);
    await send(...ALL, create(old, { type: '01' }));
    expect(lamp.connected).toBe(false);
    await send('010e2000', create(bytes(), { type: '01' }));
    expect(lamp.connected).toBe(true);
    const during = bytes();
    vi.advanceTimersByTime(5000);
    expect(bytes()).toBe(during);
  });

  it('lets so many connects fail as the lamp needs, and all while a phone holds it', async () => {
    const { send, lamp } = bench({}, { needsConnects: 2 });
    const failed = h(`043e1301 3e 0000 00 00 ${PEER} 0000 0000 0000 00`);
    expect((await send(...MASKS, create(PEER))).at(-1)).toBe(failed);
    await send(create(PEER));
    expect(lamp.connected).toBe(true);
    const held = bench({}, { advertisesConnected: true });
    held.lamp.fault({ kind: 'held' }, true);
    expect((await held.send(...MASKS, create(PEER))).at(-1)).toBe(failed);
  });

  it('notifies out of turn, while it is connected', async () => {
    const { send, port } = await linked({}, { babblesMs: 100 });
    port.length = 0;
    vi.advanceTimersByTime(250);
    expect(port).toHaveLength(2);
    await send(h('01060403 0000 13'));
    port.length = 0;
    vi.advanceTimersByTime(1000);
    expect(port).toEqual([]);
  });

  it('answers slowly, one command at a time', async () => {
    const { send, faults, port } = bench();
    faults.set({ kind: 'slow-commands', ms: 300 }, true);
    expect(await send('01030c00', '01091000')).toEqual([]);
    vi.advanceTimersByTime(300);
    expect(port).toEqual(['040e0401030c00']);
    vi.advanceTimersByTime(300);
    expect(port).toHaveLength(2);
  });

  it('grants no command for a while, and then one by an empty completion', async () => {
    const { send, faults, port } = bench();
    faults.set({ kind: 'no-credits', ms: 300 }, true);
    expect(await send('01030c00')).toEqual(['040e0400030c00']);
    vi.advanceTimersByTime(300);
    expect(port.at(-1)).toBe('040e03010000');
  });
});

describe('a controller that refuses', () => {
  it.each([
    [0x01, 'complete', '040e0401010c01'],
    [0x0c, 'complete', '040e0401010c0c'],
    [0x01, 'status', '040f040101010c'],
  ] as const)('a command by %i in a Command %s', async (code, by, answer) => {
    const { send, faults } = bench();
    faults.set({ kind: 'refuses-commands', opcodes: [0x0c01], code, by }, true);
    expect(await send(MASKS[0] ?? '')).toEqual([answer]);
    expect(await send('01030c00')).toEqual(['040e0401030c00']);
  });
});
