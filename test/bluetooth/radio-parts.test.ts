import { EventEmitter, once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { parseRadioMessage } from '../../src/bluetooth/messages.ts';
import { extendedReports, legacyReports, parseAdvertised, type Report } from '../../src/bluetooth/radio/adverts.ts';
import { ConnectTurns } from '../../src/bluetooth/radio/connect-turns.ts';
import { Directory } from '../../src/bluetooth/radio/directory.ts';
import { H4Framer } from '../../src/bluetooth/radio/h4-framer.ts';
import { H4Socket, parseH4Address } from '../../src/bluetooth/radio/h4-socket.ts';
import { HciGuard } from '../../src/bluetooth/radio/hci-guard.ts';
import type { TransportEvents } from '../../src/bluetooth/radio/hci-transport.ts';
import { judge, Reassembly } from '../../src/bluetooth/radio/l2cap.ts';
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

describe('packets of a peer', () => {
  const ATT = 4;
  it('turns refusals that noble would hang on into ones that it takes, and tells the true code', () => {
    for (const code of [0x04, 0x05, 0x08, 0x0f]) {
      const verdict = judge(ATT, Buffer.from([0x01, 0x12, 0x03, 0x00, code]));
      expect(verdict).toMatchObject({ error: { request: 0x12, code, needsPairing: code !== 0x04 } });
      expect('pass' in verdict && verdict.pass[4]).toBe(0x0e);
    }
    expect(judge(ATT, hex('01 12 0300 03'))).toMatchObject({ pass: hex('01 12 0300 03'), error: { code: 3 } });
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
      expect(judge(ATT, pdu)).toEqual({ pass: Buffer.from([0x03, taken & 0xff, taken >> 8]) });
    }
  });

  it.each([
    ['an empty packet', ''],
    ['an error without a code', '01 12 03 00'],
    ['an MTU of one octet', '03 17'],
    ['a list of elements of no length (endless for noble)', '09 00'],
    ['a list of elements of no length with bytes', '11 00 01 00 05 00'],
    ['a list that is empty', '09 07'],
    ['a list with half an element', '09 07 02 00 0a 03 00 f3 ff aa'],
    ['a service of three octets', '11 03 01 00 05'],
    ['a notification without a handle', '1b 03'],
  ])('breaks the link for %s', (_, pdu) => {
    expect(judge(ATT, hex(pdu))).toHaveProperty('broken');
  });

  it('passes what is well-formed as it is', () => {
    for (const pdu of [
      '13',
      '0b 01 02',
      '09 07 02 00 0a 03 00 f3 ff',
      '09 04 05 00 01 00',
      '11 06 01 00 05 00 f0 ff',
      '1b 03 00 66',
      '02 17 00',
    ]) {
      expect(judge(ATT, hex(pdu))).toEqual({ pass: hex(pdu) });
    }
  });

  it('keeps pairing and signalling fragments from noble', () => {
    expect(judge(6, hex('0b 01'))).toEqual({ drop: true });
    expect(judge(6, hex(''))).toEqual({ drop: true });
    expect(judge(5, hex('12 01'))).toEqual({ drop: true });
    expect(judge(5, hex('12 01 08 00 06 00'))).toEqual({ drop: true });
    const request = hex('12 01 08 00 06 00 0c 00 00 00 c8 00');
    expect(judge(5, request)).toEqual({ pass: request });
    expect(judge(0x40, hex('01 02 03 04'))).toEqual({ drop: true });
  });

  it('never throws, whatever a peer sends', () => {
    fc.assert(
      fc.property(fc.constantFrom(4, 5, 6, 1, 64), fc.uint8Array({ maxLength: 60 }), (channel, bytes) => {
        const verdict = judge(channel, Buffer.from(bytes));
        expect('pass' in verdict || 'drop' in verdict || 'broken' in verdict).toBe(true);
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

  it('in parts (extended advertising) are told when they are whole', () => {
    const directory = new Directory(() => 0);
    directory.listenFor(undefined);
    expect(directory.hear(report('03 03 f0 ff', { partial: true }))).toBeUndefined();
    expect(directory.hear(report('03 09 41 42'))).toMatchObject({ localName: 'AB', serviceUuids: ['fff0'] });
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

describe('an attempt to connect that is given up', () => {
  const CREATE = Buffer.from([1, 0x0d, 0x20, 25, ...Array.from({ length: 25 }, () => 0)]);
  const COMPLETE = hex('04 3e 13 01 02 0000 00 00 000000000000 0000 0000 0000 00');

  function turns(onConnect: (guard: HciGuard) => void) {
    const transport = Object.assign(new EventEmitter<TransportEvents>(), {
      bindRaw: () => undefined,
      bindUser: () => undefined,
      setFilter: () => undefined,
      isDevUp: () => true,
      start: () => undefined,
      stop: () => undefined,
      write: () => undefined,
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
    const noble = Object.assign(new EventEmitter(), {
      state: 'poweredOn',
      startScanning: nothing,
      stopScanning: nothing,
      connect: () => onConnect(guard),
      cancelConnect: () => void transport.emit('data', COMPLETE),
      stop: nothing,
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
