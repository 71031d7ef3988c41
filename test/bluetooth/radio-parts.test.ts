import { EventEmitter, once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { parseRadioMessage } from '../../src/bluetooth/messages.ts';
import { extendedReports, legacyReports, parseAdvertised, type Report } from '../../src/bluetooth/radio/adverts.ts';
import { AttGate } from '../../src/bluetooth/radio/att-gate.ts';
import { ConnectTurns } from '../../src/bluetooth/radio/connect-turns.ts';
import { Directory } from '../../src/bluetooth/radio/directory.ts';
import { H4Framer } from '../../src/bluetooth/radio/h4-framer.ts';
import { H4Socket, parseH4Address } from '../../src/bluetooth/radio/h4-socket.ts';
import { HciGuard } from '../../src/bluetooth/radio/hci-guard.ts';
import type { TransportEvents } from '../../src/bluetooth/radio/hci-transport.ts';
import { Reassembly, SignallingGate } from '../../src/bluetooth/radio/l2cap.ts';
import { NobleLink } from '../../src/bluetooth/radio/noble-link.ts';
import { parseRequest } from '../../src/bluetooth/radio/requests.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('H4 framing', () => {
  // One packet of each type of Vol 4, Part A, table 2.1.
  const PACKETS = [
    '01 03 0c 00',
    '02 01 20 03 00 aa bb cc',
    '03 01 00 02 aa bb',
    '04 0e 04 01 03 0c 00',
    '05 01 00 02 00 aa bb',
  ];

  it('gives whole packets, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...PACKETS), { maxLength: 20 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 9 })),
        (sent, cuts) => {
          const bytes = hex(sent.join(''));
          const framer = new H4Framer();
          const got: string[] = [];
          for (let at = 0; at < bytes.length; ) {
            const step = cuts.next().value ?? 1;
            framer.push(bytes.subarray(at, at + step), (packet) => got.push(packet.toString('hex')));
            at += step;
          }
          expect(got).toEqual(sent.map((one) => one.replaceAll(' ', '')));
        },
      ),
    );
  });

  it('ends on an unknown type and on a length that no controller has', () => {
    for (const bad of ['00', '06 00', 'ff ff ff', '02 01 20 ff ff', '48 54 54 50']) {
      expect(() => new H4Framer().push(hex(bad), () => undefined)).toThrow(
        expect.objectContaining({ code: 'adapter_stuck' }),
      );
    }
  });
});

describe('the address of a controller', () => {
  it.each([
    ['tcp://127.0.0.1:9000', { host: '127.0.0.1', port: 9000 }],
    ['tcp://[::1]:9000', { host: '::1', port: 9000 }],
    ['tcp://controller.local:1/', { host: 'controller.local', port: 1 }],
    ['unix:/run/bt.sock', { path: '/run/bt.sock' }],
    ['unix:///run/bt.sock', { path: '/run/bt.sock' }],
  ])('%s', (text, at) => {
    expect(parseH4Address(text)).toEqual(at);
  });

  it.each([
    '',
    'unix:',
    'tcp://',
    'tcp://host',
    'tcp://host:0',
    'tcp://host:65536',
    'http://host:80',
    '/run/bt.sock',
    'tcp://a:b:1',
  ])('is not "%s"', (text) => {
    expect(() => parseH4Address(text)).toThrow(expect.objectContaining({ code: 'config_invalid' }));
  });
});

describe('command flow control', () => {
  const ends: (() => void)[] = [];
  afterEach(() => {
    for (const end of ends.splice(0)) end();
  });

  /** A controller of a few bytes: it keeps what it got, and says what the test makes it say. */
  async function pair(): Promise<{ socket: H4Socket; peer: Socket; got: string[] }> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('no port');
    const socket = new H4Socket(`tcp://127.0.0.1:${address.port}`);
    const accepted = once(server, 'connection');
    socket.write(hex('01 03 0c 00'));
    await socket.open();
    const [peer]: Socket[] = await accepted;
    if (peer === undefined) throw new Error('nobody came');
    const got: string[] = [];
    const framer = new H4Framer();
    peer.on('data', (chunk: Buffer) => framer.push(chunk, (packet) => got.push(packet.toString('hex'))));
    ends.push(() => {
      socket.stop();
      peer.destroy();
      server.close();
    });
    return { socket, peer, got };
  }

  const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 40));

  it('sends one command at a time until the controller grants more, and data at once', async () => {
    const { socket, peer, got } = await pair();
    for (const packet of ['01 01 10 00', '02 01 20 00 00', '01 09 10 00', '01 02 10 00']) socket.write(hex(packet));
    await settle();
    // What was written before the connection stood goes first (HCI Reset).
    expect(got).toEqual(['01030c00', '0201200000']);
    peer.write(hex('04 0e 04 01 03 0c 00'));
    await settle();
    expect(got.slice(2)).toEqual(['01011000']);
    // Command Status with two credits.
    peer.write(hex('04 0f 04 00 02 01 10'));
    await settle();
    expect(got.slice(3)).toEqual(['01091000', '01021000']);
  });

  it('waits while the controller grants nothing, and goes on with a completion of no command', async () => {
    const { socket, peer, got } = await pair();
    socket.write(hex('01 01 10 00'));
    peer.write(hex('04 0e 04 00 03 0c 00'));
    await settle();
    expect(got).toEqual(['01030c00']);
    peer.write(hex('04 0e 03 01 00 00'));
    await settle();
    expect(got).toEqual(['01030c00', '01011000']);
  });

  it('says when the controller is gone, and never emits from within write', async () => {
    const { socket, peer } = await pair();
    let writing = false;
    const seen: unknown[] = [];
    socket.on('data', () => seen.push(writing));
    socket.on('state', (up) => seen.push(up));
    peer.write(hex('04 0e 04 01 03 0c 00'));
    writing = true;
    socket.write(hex('01 01 10 00'));
    writing = false;
    await settle();
    peer.destroy();
    await settle();
    expect(seen).toEqual([false, false]);
    expect(socket.isDevUp()).toBe(false);
  });

  it('rejects where nobody listens', async () => {
    await expect(new H4Socket('unix:/tmp/porchlight-nobody').open()).rejects.toMatchObject({ code: 'adapter_off' });
  });
});

/** A gate that noble has just asked something through. */
function asking(request: string, now = () => 0): AttGate {
  const gate = new AttGate(now);
  gate.sent(hex(request));
  return gate;
}
const SERVICES = '10 0100 ffff 0028';
const CHARACTERISTICS = '08 0100 ffff 0328';
const WRITES = '12 0300 01';

describe('packets of a peer', () => {
  it('turns refusals that noble would hang on into ones that it takes, and tells the true code', () => {
    for (const code of [0x04, 0x05, 0x08, 0x0f]) {
      const verdict = asking(WRITES).judge(Buffer.from([0x01, 0x12, 0x03, 0x00, code]));
      expect(verdict).toMatchObject({ error: { request: 0x12, code, needsPairing: code !== 0x04 } });
      expect('pass' in verdict && verdict.pass[4]).toBe(0x0e);
    }
    expect(asking(WRITES).judge(hex('01 12 0300 03'))).toMatchObject({
      pass: hex('01 12 0300 03'),
      error: { code: 3 },
    });
  });

  it('keeps an MTU within what is possible', () => {
    for (const [said, taken] of [
      [0, 23],
      [22, 23],
      [23, 23],
      [100, 100],
      [517, 256],
      [0xffff, 256],
    ] as const) {
      const pdu = Buffer.from([0x03, said & 0xff, said >> 8]);
      expect(asking('02 0001').judge(pdu)).toEqual({ pass: Buffer.from([0x03, taken & 0xff, taken >> 8]) });
    }
  });

  it.each([
    ['an MTU of one octet', '02 0001', '03 17'],
    ['a list of elements of no length (endless for noble)', CHARACTERISTICS, '09 00'],
    ['a list of elements of no length with bytes', SERVICES, '11 00 01 00 05 00'],
    ['a list that is empty', CHARACTERISTICS, '09 07'],
    ['a list with half an element', CHARACTERISTICS, '09 07 0200 0a 0300 f3ff aa'],
    ['a service of three octets', SERVICES, '11 03 01 00 05'],
    ['a service with a UUID of four octets', SERVICES, '11 08 0100 0500 f0ff0000'],
    ['a service that ends before it begins', SERVICES, '11 06 0500 0100 f0ff'],
    ['services that go back', SERVICES, '11 06 0500 0600 f0ff 0100 0200 f1ff'],
    ['a service before the first handle that was asked for', '10 0700 ffff 0028', '11 06 0100 0600 f0ff'],
    ['a service behind the last', '10 0100 0600 0028', '11 06 0100 0700 f0ff'],
    ['a characteristic whose value comes before it', CHARACTERISTICS, '09 07 0200 0a 0100 f3ff'],
    ['characteristics that go back', CHARACTERISTICS, '09 07 0400 0a 0500 f3ff 0200 0a 0300 f4ff'],
    ['a characteristic outside its service', '08 0100 0300 0328', '09 07 0200 0a 0400 f3ff'],
    ['a configuration of one octet', '08 0100 ffff 0229', '09 03 0600 00'],
    ['descriptors of a third format', '04 0100 ffff', '05 03 0600 0229'],
    ['a value that goes on behind the longest there is', '0c 0500 0002', '0d 01'],
  ])('breaks the link for %s', (_, request, answer) => {
    expect(asking(request).judge(hex(answer))).toHaveProperty('broken');
  });

  it('passes what answers the question and is well-formed as it is', () => {
    for (const [request, answer] of [
      [WRITES, '13'],
      ['0a 0300', '0b 01 02'],
      ['0c 0500 ff01', '0d 01'],
      [CHARACTERISTICS, '09 07 0200 0a 0300 f3ff'],
      [CHARACTERISTICS, '09 15 0200 0a 0300 000102030405060708090a0b0c0d0e0f'],
      ['08 0100 ffff 0229', '09 04 0500 0100'],
      ['04 0100 ffff', '05 01 0600 0229'],
      [SERVICES, '11 06 0100 0500 f0ff 0600 ffff f1ff'],
    ] as const) {
      expect(asking(request).judge(hex(answer))).toEqual({ pass: hex(answer) });
    }
    expect(new AttGate(() => 0).judge(hex('1b 0300 66'))).toEqual({ pass: hex('1b 0300 66') });
    expect(new AttGate(() => 0).judge(hex('02 1700'))).toEqual({ pass: hex('02 1700') });
  });

  it('drops an answer to no question, to another, or given twice: noble takes any for its own', () => {
    const drop = { drop: true };
    for (let opcode = 0; opcode < 256; opcode += 1) {
      const isAnswer = opcode % 2 === 1 && opcode <= 0x21 && opcode !== 0x1b && opcode !== 0x1d;
      const pdu = Buffer.from([opcode, 0x12, 0x03, 0x00, 0x03]);
      if (isAnswer) expect(new AttGate(() => 0).judge(pdu), `0x${opcode.toString(16)}`).toEqual(drop);
    }
    const gate = asking(WRITES);
    expect(gate.judge(hex('0b 01'))).toEqual(drop);
    expect(gate.judge(hex('01 0a 0300 03'))).toEqual(drop);
    expect(gate.judge(hex('01 12'))).toEqual(drop);
    expect(gate.judge(hex('13'))).toEqual({ pass: hex('13') });
    expect(gate.judge(hex('13'))).toEqual(drop);
  });

  it('drops what wants no answer but would get one of noble, and what nobody asked for', () => {
    // Empty, short notification, several values in one, confirmation, write command, signed write, and opcodes that are none.
    for (const pdu of [
      '',
      '1b',
      '1b 03',
      '1d 03',
      '23 0300 0100 01',
      '1e',
      '52 0300 01',
      'd2 0300 01',
      'ff',
      '3f',
      '25',
    ]) {
      expect(new AttGate(() => 0).judge(hex(pdu)), pdu).toEqual({ drop: true });
    }
  });

  it('lets services and characteristics end, also where each is in its place', () => {
    const services = new AttGate(() => 0);
    let found = 0;
    for (let start = 1; start < 0xffff; start += 1, found += 1) {
      services.sent(Buffer.from([0x10, start & 0xff, start >> 8, 0xff, 0xff, 0, 0x28]));
      const at = [start & 0xff, start >> 8];
      if ('broken' in services.judge(Buffer.from([0x11, 6, ...at, ...at, 1, 2]))) break;
    }
    expect(found).toBeLessThanOrEqual(64);
    const characteristics = new AttGate(() => 0);
    for (found = 0; found < 1000; found += 1) {
      const start = 1 + 2 * found;
      const [at, next] = [start, start + 1].map((handle) => [handle & 0xff, handle >> 8]);
      characteristics.sent(Buffer.from([0x08, ...(at ?? []), 0xff, 0xff, 3, 0x28]));
      if ('broken' in characteristics.judge(Buffer.from([0x09, 7, ...(at ?? []), 2, ...(next ?? []), 1, 2]))) break;
    }
    expect(found).toBeLessThanOrEqual(128);
  });

  it('lets a lamp say so much a second, and one indication until it is confirmed', () => {
    let now = 0;
    const gate = new AttGate(() => now);
    const pass = (pdu: string, times: number): number =>
      Array.from({ length: times }, () => gate.judge(hex(pdu))).filter((verdict) => 'pass' in verdict).length;
    expect(pass('1b 0300 66', 10_000)).toBeLessThanOrEqual(100);
    now = 1000;
    expect(pass('1b 0300 66', 10_000)).toBeGreaterThanOrEqual(30);
    now = 3000;
    expect(pass('1d 0300 66', 10)).toBe(1);
    gate.sent(hex('1e'));
    expect(pass('1d 0300 66', 10)).toBe(1);
    expect(pass('0a 0300', 10_000)).toBeLessThanOrEqual(10);
  });

  it('keeps from noble all signalling but a change of parameters that a controller would take, and that seldom', () => {
    const passes = (pdu: string): boolean => new SignallingGate(() => 0).mayPass(hex(pdu));
    expect(passes('12 01 0800 0600 0c00 0000 c800')).toBe(true);
    for (const bad of [
      '',
      '12 01',
      '12 01 0800 0600',
      // Identifier 0, a wrong length, octets behind it.
      '12 00 0800 0600 0c00 0000 c800',
      '12 01 0900 0600 0c00 0000 c800',
      '12 01 0800 0600 0c00 0000 c800 00',
      // No interval, below the least, the longer first, beyond the most, too much latency, no timeout, one too short for them.
      '12 01 0800 0000 0000 0000 c800',
      '12 01 0800 0500 0c00 0000 c800',
      '12 01 0800 0c00 0600 0000 c800',
      '12 01 0800 0600 810c 0000 800c',
      '12 01 0800 0600 0c00 f401 800c',
      '12 01 0800 0600 0c00 0000 0000',
      '12 01 0800 2003 2003 0000 6400',
      // One that would hear nothing for a minute; a credit based connection; a rejection; an answer.
      '12 01 0800 800c 800c 1000 800c',
      '14 01 0a00 8000 4000 1700 1700 0100',
      '01 01 0200 0000',
      '13 01 0200 0000',
    ]) {
      expect(passes(bad), bad).toBe(false);
    }
    let now = 0;
    const gate = new SignallingGate(() => now);
    const ask = (): boolean => gate.mayPass(hex('12 01 0800 0600 0c00 0000 c800'));
    expect([ask(), ask()]).toEqual([true, false]);
    now = 60_000;
    expect([ask(), ask()]).toEqual([true, false]);
  });

  it('never throws, whatever a peer answers to whatever was asked', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 23 }), fc.uint8Array({ maxLength: 60 }), (request, answer) => {
        const gate = new AttGate(() => 0);
        gate.sent(Buffer.from(request));
        const verdict = gate.judge(Buffer.from(answer));
        expect('pass' in verdict || 'drop' in verdict || 'broken' in verdict).toBe(true);
        new SignallingGate(() => 0).mayPass(Buffer.from(answer));
      }),
    );
  });

  it('puts fragments together, and forgets what does not fit', () => {
    const pdu = Buffer.from(Array.from({ length: 60 }, (_, i) => i));
    const l2cap = Buffer.concat([Buffer.from([60, 0, 4, 0]), pdu]);
    const acl = (flags: number, payload: Buffer): Buffer =>
      Buffer.concat([Buffer.from([2, 0x40, flags << 4, payload.length, 0]), payload]);
    // A first fragment may end within the header (Vol 3, Part A, 1.4).
    for (const size of [1, 2, 3, 4, 5, 27, 63, 64]) {
      const reassembly = new Reassembly();
      let whole: ReturnType<Reassembly['push']>;
      for (let at = 0; at < l2cap.length; at += size)
        whole = reassembly.push(acl(at === 0 ? 2 : 1, l2cap.subarray(at, at + size)));
      expect(whole).toEqual({ channel: 4, pdu });
    }
    const empty = new Reassembly();
    expect(empty.push(acl(2, Buffer.alloc(0)))).toBeUndefined();
    expect(empty.push(acl(1, l2cap))).toEqual({ channel: 4, pdu });
    const lost = new Reassembly();
    expect(lost.push(acl(1, pdu))).toBeUndefined();
    expect(lost.push(acl(2, Buffer.from([1, 0, 4])))).toBeUndefined();
    expect(lost.push(acl(2, Buffer.from([0xff, 0xff, 4, 0, 1])))).toBeUndefined();
    expect(lost.push(acl(2, Buffer.from([1, 0, 4, 0, 0x13, 0x13])))).toBeUndefined();
    const long = Buffer.alloc(2000, 0x1b);
    long.writeUInt16LE(1996, 0);
    expect(lost.push(Buffer.concat([Buffer.from([2, 0x40, 0x20, 2000 & 0xff, 2000 >> 8]), long]))).toBeUndefined();
    // Flag 3, a whole packet, is not for a controller to say.
    expect(lost.push(acl(3, Buffer.from([1, 0, 4, 0, 0x13])))).toBeUndefined();
    // A start flag 0 ("not flushable") is what some virtual controllers send.
    expect(lost.push(acl(0, Buffer.from([1, 0, 4, 0, 0x13])))).toEqual({ channel: 4, pdu: hex('13') });
  });
});

describe('advertisements', () => {
  // ADV_IND, public, be:ff:20:00:11:22; flags, 16-bit UUIDs, manufacturer data; RSSI -60 (Vol 4, Part E, 7.7.65.2).
  const LEGACY = '04 3e 1a 02 01 00 00 22 11 00 20 ff be 0e 02 01 06 03 03 f0 ff 06 ff ee ff 01 02 03 c4';

  it('are read from a legacy report', () => {
    const [report, none] = legacyReports(hex(LEGACY));
    expect(none).toBeUndefined();
    expect(report).toMatchObject({
      address: 'be:ff:20:00:11:22',
      addressType: 'public',
      connectable: true,
      scanResponse: false,
      rssi: -60,
    });
    expect(parseAdvertised(report?.data ?? Buffer.alloc(0))).toMatchObject({
      serviceUuids: ['fff0'],
      manufacturerData: 'eeff010203',
    });
  });

  it('are read from an extended report', () => {
    const data = '05 09 54 65 73 74';
    const [report] = extendedReports(
      hex(`04 3e 20 0d 01 13 00 01 02 00 00 00 00 c0 01 00 ff 7f c4 00 00 00 00 00 00 00 00 00 06 ${data}`),
    );
    expect(report).toMatchObject({
      address: 'c0:00:00:00:00:02',
      addressType: 'random',
      connectable: true,
      rssi: -60,
      partial: false,
    });
    expect(parseAdvertised(report?.data ?? Buffer.alloc(0)).localName).toBe('Test');
  });

  it('keep leading zeros of UUIDs, know 32- and 128-bit ones, and prefer a complete name', () => {
    const said = parseAdvertised(
      hex('03 03 f0 0a 05 05 78 56 34 12 11 07 fb 34 9b 5f 80 00 00 80 00 10 00 00 f0 ff 00 00 03 09 41 42 02 08 41'),
    );
    expect(said.serviceUuids).toEqual(['0af0', '12345678-0000-1000-8000-00805f9b34fb', 'fff0']);
    expect(said.localName).toBe('AB');
  });

  it('never throw, whatever is in the air', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        const packet = Buffer.from(bytes);
        for (const report of [...legacyReports(packet), ...extendedReports(packet)]) {
          const said = parseAdvertised(report.data);
          const { serviceData, ...rest } = said;
          const message = {
            is: 'heard',
            address: report.address,
            rssi: report.rssi,
            connectable: report.connectable,
            ...rest,
            ...(serviceData.length > 0 ? { serviceData } : {}),
          };
          expect(parseRadioMessage(message)).toEqual(message);
        }
      }),
      { numRuns: 500 },
    );
  });

  const report = (data: string, more: Partial<Report> = {}): Report => ({
    address: 'be:ff:20:00:11:22',
    addressType: 'public',
    connectable: true,
    scanResponse: false,
    partial: false,
    rssi: -60,
    data: hex(data),
    ...more,
  });

  it('are told when they are new or a second old, together with their scan response', () => {
    let now = 0;
    const directory = new Directory(() => now);
    directory.listenFor(undefined);
    expect(directory.hear(report('03 03 f0 ff'))).toMatchObject({ serviceUuids: ['fff0'] });
    expect(directory.hear(report('03 03 f0 ff'))).toBeUndefined();
    expect(directory.hear(report('03 09 41 42', { scanResponse: true }))).toMatchObject({
      localName: 'AB',
      serviceUuids: ['fff0'],
    });
    now = 1100;
    expect(directory.hear(report('03 03 f0 ff', { rssi: -70 }))).toMatchObject({ localName: 'AB', rssi: -70 });
  });

  it('that change all the time are told a few times a second', () => {
    const directory = new Directory(() => 0);
    directory.listenFor(undefined);
    const told = Array.from({ length: 200 }, (_, i) =>
      directory.hear(report(`03 ff ${i.toString(16).padStart(4, '0')}`)),
    );
    expect(told.filter((one) => one !== undefined).length).toBeLessThanOrEqual(6);
  });

  it('of strangers are dropped, and a flood of addresses is bounded', () => {
    const directory = new Directory(() => performance.now());
    directory.listenFor(new Set(['be:ff:20:00:11:22']));
    expect(directory.hear(report('', { address: '00:00:00:00:00:01' }))).toBeUndefined();
    expect(directory.hear(report(''))).toBeDefined();
    directory.listenFor(undefined);
    const addressOf = (i: number): string =>
      `00:00:00:00:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 255).toString(16).padStart(2, '0')}`;
    for (let i = 0; i < 5000; i += 1) directory.hear(report('', { address: addressOf(i) }));
    const known = Array.from({ length: 5000 }, (_, i) => directory.find(addressOf(i))).filter(
      (one) => one !== undefined,
    ).length;
    expect(directory.find(addressOf(4999))).toBeDefined();
    expect(known).toBeLessThanOrEqual(1000);
  });

  it('in parts (extended advertising) are told when they are whole, wherever they were cut', () => {
    const whole = hex('03 03 f0 ff 03 09 41 42');
    for (let cut = 0; cut <= whole.length; cut += 1) {
      const directory = new Directory(() => 0);
      directory.listenFor(undefined);
      const [first, rest] = [whole.subarray(0, cut), whole.subarray(cut)].map((one) => one.toString('hex'));
      expect(directory.hear(report(first ?? '', { partial: true }))).toBeUndefined();
      expect(directory.hear(report(rest ?? ''))).toMatchObject({ localName: 'AB', serviceUuids: ['fff0'] });
    }
  });

  it('in parts without end are kept up to the longest there is', () => {
    const directory = new Directory(() => 0);
    directory.listenFor(undefined);
    for (let part = 0; part < 1000; part += 1) directory.hear(report('05 ff 01 02 03 04', { partial: true }));
    expect(directory.find('be:ff:20:00:11:22')?.parts?.length).toBeLessThanOrEqual(1650);
    expect(directory.hear(report(''))).toMatchObject({ manufacturerData: '01020304' });
  });

  it("without an address, or of a kind that does not exist, are nobody's", () => {
    const extended = (kind: string): string =>
      `04 3e 1a 0d 01 13 00 ${kind} 02 00 00 00 00 c0 01 00 ff 7f c4 00 00 00 00 00 00 00 00 00 00`;
    expect(extendedReports(hex(extended('01')))).toHaveLength(1);
    for (const kind of ['ff', 'fe', '04']) expect(extendedReports(hex(extended(kind)))).toEqual([]);
    expect(legacyReports(hex('04 3e 0c 02 01 00 ff 22 11 00 20 ff be 00 c4'))).toEqual([]);
    expect(legacyReports(hex('04 3e 0c 02 01 05 00 22 11 00 20 ff be 00 c4'))).toEqual([]);
  });

  it('of a flood of strangers hide nobody who is known, while everyone is listened to', () => {
    const directory = new Directory(() => 0);
    directory.listenFor(new Set(['be:ff:20:00:11:22']));
    directory.listenFor(undefined);
    let told = 0;
    for (let i = 0; i < 20_000; i += 1) {
      const address = `c0:00:00:00:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 255).toString(16).padStart(2, '0')}`;
      if (directory.hear(report('03 03 f0 ff', { address })) !== undefined) told += 1;
    }
    expect(told).toBeLessThanOrEqual(500);
    expect(directory.hear(report('03 03 f0 ff'))).toMatchObject({ address: 'be:ff:20:00:11:22' });
    expect(directory.find('be:ff:20:00:11:22')).toBeDefined();
  });
});

describe('requests of the gateway', () => {
  it('are taken as they are, and nothing else is', () => {
    const good = [
      { op: 'start', backend: { kind: 'hci', adapter: 'hci0' } },
      { op: 'start', backend: { kind: 'h4', address: 'unix:/x' } },
      { op: 'ping', id: 1 },
      { op: 'listen', id: 1, on: true },
      { op: 'listen', id: 1, on: false, only: ['be:ff:20:00:11:22'] },
      { op: 'connect', id: 1, address: 'be:ff:20:00:11:22', timeoutMs: 5 },
      { op: 'cancel', id: 2, connect: 1 },
      { op: 'write', id: 1, link: 1, values: [{ at: 0, hex: '00', kind: 'command' }] },
      { op: 'read', id: 1, link: 1, at: 0 },
      { op: 'subscribe', id: 1, link: 1, at: 0 },
      { op: 'disconnect', id: 1, link: 1 },
      { op: 'stop' },
    ];
    for (const one of good) expect(parseRequest(one)).toEqual(one);
    const bad = [
      null,
      7,
      'stop',
      {},
      { op: 'start' },
      { op: 'start', backend: { kind: 'usb' } },
      { op: 'write', id: 1, link: 1, values: [{ at: 0, hex: '00' }] },
      {
        op: 'write',
        id: 1,
        link: 1,
        values: Array.from({ length: 17 }, () => ({ at: 0, hex: '00', kind: 'command' })),
      },
      { op: 'ping' },
      { op: 'fly', id: 1 },
    ];
    for (const one of bad) expect(parseRequest(one)).toBeUndefined();
  });
});

describe('a link that is given back', () => {
  const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

  function linked() {
    let cuts = 0;
    const peripheral = Object.assign(new EventEmitter(), {
      state: 'connected',
      discoverServices: () => undefined,
      disconnect: () => {
        cuts += 1;
        peripheral.emit('disconnect', 0x16);
      },
    });
    const link = new NobleLink(1, 'be:ff:20:00:11:22', peripheral, () => undefined);
    return { link, peripheral, cuts: () => cuts };
  }

  it('ends when the controller has sent what was written, not before', async () => {
    const { link, cuts } = linked();
    link.flow(1);
    const ended = link.disconnect();
    await wait(60);
    expect(cuts()).toBe(0);
    link.flow(0);
    await ended;
    expect(cuts()).toBe(1);
    expect(link.isGone).toBe(true);
  });

  it('ends all the same where the lamp takes no packet any more, and when it was lost meanwhile', async () => {
    const stuck = linked();
    stuck.link.flow(1);
    await stuck.link.disconnect();
    expect(stuck.cuts()).toBe(1);
    const lost = linked();
    lost.link.flow(1);
    const ended = lost.link.disconnect();
    lost.link.lose('it went away');
    await ended;
    expect(lost.cuts()).toBe(0);
  });
});

/** noble, on, and doing nothing. */
const idleNoble = () =>
  Object.assign(new EventEmitter(), {
    state: 'poweredOn',
    startScanning: () => undefined,
    stopScanning: () => undefined,
    connect: () => undefined,
    cancelConnect: () => undefined,
    stop: () => undefined,
  });

/** A guard over a transport that only notes what it is given. */
function guarded() {
  const written: string[] = [];
  const transport = Object.assign(new EventEmitter<TransportEvents>(), {
    bindRaw: () => undefined,
    bindUser: () => undefined,
    setFilter: () => undefined,
    isDevUp: () => true,
    start: () => undefined,
    stop: () => undefined,
    write: (packet: Buffer) => void written.push(packet.toString('hex')),
  });
  const nothing = (): void => undefined;
  const guard = new HciGuard(transport, {
    onReport: nothing,
    onConnection: nothing,
    onScanEnabled: nothing,
    onAttError: nothing,
    onFlow: nothing,
    onBroken: nothing,
    onForeignReset: nothing,
    onFatal: nothing,
  });
  const passed: Buffer[] = [];
  guard.on('data', (packet) => passed.push(packet));
  return { guard, transport, written, passed };
}

describe('an attempt to connect that is given up', () => {
  const CREATE = Buffer.from([1, 0x0d, 0x20, 25, ...Array.from({ length: 25 }, () => 0)]);
  const COMPLETE = hex('04 3e 13 01 02 0000 00 00 000000000000 0000 0000 0000 00');

  function turns(onConnect: (guard: HciGuard) => void) {
    const { guard, transport } = guarded();
    const noble = Object.assign(idleNoble(), {
      connect: () => onConnect(guard),
      cancelConnect: () => void transport.emit('data', COMPLETE),
    });
    const fatal: string[] = [];
    const connects = new ConnectTurns(noble, guard, new Directory(() => 0), (reason) => fatal.push(reason));
    const attempt = connects.connect(
      'be:ff:20:00:11:22',
      performance.now() + 50,
      new AbortController().signal,
      () => undefined,
    );
    return { attempt, fatal };
  }

  it('leaves the radio as it is where the controller has let go', async () => {
    const { attempt, fatal } = turns((guard) => guard.write(CREATE));
    await expect(attempt).rejects.toMatchObject({ code: 'unreachable' });
    expect(fatal).toEqual([]);
  });

  it('ends the radio where it never reached the controller: noble would let all others wait behind it', async () => {
    const { attempt, fatal } = turns(() => undefined);
    await expect(attempt).rejects.toMatchObject({ code: 'unreachable' });
    expect(fatal).toHaveLength(1);
  });
});

describe('a connection as the controller makes and keeps it', () => {
  /** LE Connection Complete, success, handle 0x41, central, be:ff:20:00:11:22. */
  const UNASKED = hex('04 3e 13 01 00 4100 00 00 22110020ffbe 0600 0000 5802 00');

  it.each([
    // A Linux kernel that makes the connection for a raw socket asks for 0x2a: 420 ms.
    [
      'asks for six seconds of supervision where a connection came with less than two',
      '2a00',
      ['0113200e410006001200000058020000 0000'],
    ],
    ['leaves a connection that came with enough as it is', '5802', []],
  ])('%s', (_, timeout, commands) => {
    const { guard, transport, written } = guarded();
    guard.bindRaw(0);
    const create = Buffer.from([1, 0x0d, 0x20, 25, ...Array.from({ length: 25 }, () => 0)]);
    UNASKED.copy(create, 10, 9, 15);
    guard.write(create);
    written.length = 0;
    transport.emit('data', hex(`04 3e 13 01 00 4100 00 00 22110020ffbe 0600 0000 ${timeout} 00`));
    expect(written).toEqual(commands.map((command) => command.replaceAll(' ', '')));
  });

  it('is looked for without a pause: noble would listen half of the time', () => {
    const { guard, written } = guarded();
    const create = Buffer.from([1, 0x0d, 0x20, 25, 0x60, 0, 0x30, 0, ...Array.from({ length: 21 }, () => 0)]);
    guard.write(create);
    // Scan interval and scan window (Core specification, Vol 4, Part E, 7.8.12).
    expect(written[0]?.slice(8, 16)).toBe('60006000');
    expect(create.readUInt16LE(6), 'what noble holds is its own').toBe(0x30);
  });

  it('is ended where nobody asked for it, and noble is not told', () => {
    const { guard, transport, written, passed } = guarded();
    guard.bindUser(0);
    transport.emit('data', UNASKED);
    // HCI Disconnect, Remote User Terminated Connection (Core specification, Vol 4, Part E, 7.1.6).
    expect(written).toEqual(['01060403410013']);
    expect(passed).toEqual([]);
  });

  it('is left alone on a controller that others use too: it may be theirs', () => {
    const { guard, transport, written } = guarded();
    guard.bindRaw(0);
    transport.emit('data', UNASKED);
    expect(written).toEqual([]);
  });

  it.each([
    ['ends the radio after the supervision timeout has passed', false, 9, 1],
    ['is borne for as long as a supervision timeout may take', false, 6, 0],
    ['is borne for ever on a shared adapter: another program may use the lamp', true, 30, 0],
  ])('%s', (_, isShared, seconds, ends) => {
    vi.useFakeTimers({ toFake: ['performance'] });
    try {
      const { guard } = guarded();
      if (isShared) guard.bindRaw(0);
      const fatal: string[] = [];
      const connects = new ConnectTurns(idleNoble(), guard, new Directory(() => 0), (reason) => fatal.push(reason));
      for (let second = 0; second <= seconds; second += 1) {
        connects.onConnection('be:ff:20:00:11:22', 0x0b);
        vi.advanceTimersByTime(1000);
      }
      expect(fatal.length > 0 ? 1 : 0).toBe(ends);
    } finally {
      vi.useRealTimers();
    }
  });

  it('is forgotten when it was ended, or long ago', () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    try {
      const { guard } = guarded();
      const fatal: string[] = [];
      const connects = new ConnectTurns(idleNoble(), guard, new Directory(() => 0), (reason) => fatal.push(reason));
      connects.onConnection('be:ff:20:00:11:22', 0x0b);
      vi.advanceTimersByTime(7000);
      connects.onConnection('be:ff:20:00:11:22', 0);
      vi.advanceTimersByTime(7000);
      connects.onConnection('be:ff:20:00:11:22', 0x0b);
      vi.advanceTimersByTime(60_000);
      connects.onConnection('be:ff:20:00:11:22', 0x0b);
      expect(fatal).toEqual([]);
    } finally {
      vi.useRealTimers();
    }
  });
});
