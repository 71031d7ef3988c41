import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import type { FaultInput, LampInput, StartInput } from '../../src/bluetooth/air/messages.ts';
import type { Link } from '../../src/bluetooth/central.ts';
import { type AirUnderTest, startAir } from '../support/air.ts';
import { frame } from '../support/frame.ts';
import { radioOn as radioOnAir, until } from './radio-on-air.ts';

const ELK = 'be:ff:20:00:11:22';
const TRIONES = 'c0:00:00:00:00:02';
const LAMPS: readonly LampInput[] = [
  { address: ELK, name: 'ELK-BLEDOM', family: 'elk-bledom' },
  { address: TRIONES, addressType: 'random', name: 'Triones-1', family: 'triones' },
];
const ON = Uint8Array.from(Buffer.from('7e0004f00001ff00ef', 'hex'));

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function radioOn(address: string) {
  const radio = radioOnAir(address);
  ends.push(radio.end);
  return radio;
}

async function setUp(options: Partial<Omit<StartInput, 'lamps'>> = {}, lamps = LAMPS) {
  const air: AirUnderTest = await startAir(lamps, { connectionIntervalMs: 0, advertisingIntervalMs: 20, ...options });
  ends.push(() => air.stop());
  const radio = radioOn(air.address);
  await radio.client.scan(true);
  await until(() => radio.client.adapter === 'poweredOn');
  const names = (): string[] => radio.heard.map((one) => one.localName ?? '');
  await until(() => lamps.every((lamp) => names().includes(lamp.name)));
  const connect = (to: string, timeoutMs = 5000): Promise<Link> => radio.client.connect(to, { timeoutMs });
  return { air, connect, ...radio };
}

describe('the radio, with real noble', () => {
  it.each([
    ['a legacy controller', {}],
    ['a controller with extended advertising', { extended: true }],
    ['a controller with the smallest buffers', { buffers: { length: 27, count: 1 } }],
  ])('hears, connects, writes, is answered and lets go, on %s', async (_, options) => {
    const { air, connect, heard } = await setUp(options);
    expect(heard.find((one) => one.address === ELK && one.localName !== undefined)).toMatchObject({
      localName: 'ELK-BLEDOM',
      connectable: true,
      rssi: -60,
    });
    const link = await connect(TRIONES);
    expect(link.characteristics.map((one) => one.uuid)).toContain('ffd9');
    const said: string[] = [];
    await link.subscribe('ffd4', (bytes) => said.push(Buffer.from(bytes).toString('hex')));
    // The frame asks the lamp for its state; this lamp takes writes without acknowledgement only.
    await link.write(frame('ffd9', Uint8Array.of(0xef, 0x01, 0x77), 'request'));
    await until(() => said.length > 0);
    expect(said[0]).toMatch(/^66.*99$/);
    await link.disconnect();
    expect(link.gone.aborted).toBe(true);
    const other = await connect(ELK);
    await other.write(frame('fff3', ON, 'request'));
    await other.write(frame('fff3', ON, 'command'));
    await air.waitFor((event) => event.event === 'written' && event.lamp === ELK && event.kind === 'command');
    expect((await air.written()).map((one) => [one.lamp, one.kind])).toEqual([
      [TRIONES, 'command'],
      [ELK, 'request'],
      [ELK, 'command'],
    ]);
  });

  it('loads nothing native and inherits no environment', async () => {
    process.env['PORCHLIGHT_TEST_SECRET'] = 'x';
    try {
      const { client } = await setUp();
      const pid = client.status().pid;
      expect(readFileSync(`/proc/${pid}/maps`, 'utf8')).not.toContain('.node');
      expect(readFileSync(`/proc/${pid}/environ`, 'utf8')).not.toContain('SECRET');
    } finally {
      delete process.env['PORCHLIGHT_TEST_SECRET'];
    }
  });

  it('holds several links and keeps their operations apart', async () => {
    const lamps: LampInput[] = Array.from({ length: 5 }, (_, i) => ({
      address: `be:ff:20:00:00:0${i}`,
      name: `ELK-BLEDOM0${i}`,
      family: 'elk-bledom',
    }));
    const { air, connect } = await setUp({ connectionIntervalMs: 7.5 }, lamps);
    const links = await Promise.all(lamps.map((lamp) => connect(lamp.address, 10_000)));
    await Promise.all(
      links.flatMap((link) =>
        [1, 2, 3].map((n) => link.write(frame('fff3', Uint8Array.of(0x7e, n), n % 2 ? 'request' : 'command'))),
      ),
    );
    await until(() => true);
    const written = await air.written();
    for (const lamp of lamps) {
      expect(written.filter((one) => one.lamp === lamp.address).map((one) => one.hex)).toEqual([
        '7e01',
        '7e02',
        '7e03',
      ]);
    }
  });

  it('begins the next connection while the lamp before still names its characteristics', async () => {
    const lamps: LampInput[] = [0, 1, 2, 3].map((n) => ({
      address: `be:ff:20:00:00:0${n}`,
      name: 'ELK-BLEDOM',
      family: 'elk-bledom',
      advertisingIntervalMs: 20,
    }));
    const { client, air } = await setUp({ connectionIntervalMs: 0 }, lamps);
    for (const { address: lamp } of lamps) await air.fault({ kind: 'slow', ms: 250 }, { lamp });
    const steps: string[] = [];
    const links: Promise<unknown>[] = [];
    for (const [n, { address }] of lamps.entries()) {
      await new Promise<void>((next, fail) => {
        const onConnected = (): void => {
          steps.push(`connected ${n}`);
          next();
        };
        const linked = client.connect(address, { timeoutMs: 10_000, onConnected });
        linked.then(() => steps.push(`linked ${n}`), fail);
        links.push(linked);
      });
    }
    await Promise.all(links);
    // A connection takes an advert of the lamp; its characteristics take several answers of a slow one.
    expect(steps.indexOf('connected 1')).toBeLessThan(steps.indexOf('linked 0'));
    expect(steps.indexOf('connected 3')).toBeLessThan(steps.indexOf('linked 2'));
    expect([...steps].sort()).toEqual([
      ...[0, 1, 2, 3].map((n) => `connected ${n}`),
      ...[0, 1, 2, 3].map((n) => `linked ${n}`),
    ]);
  });

  it('connects to a lamp that it never heard, whatever the type of its address', async () => {
    const air = await startAir(LAMPS, { connectionIntervalMs: 0 });
    ends.push(() => air.stop());
    const { client } = radioOn(air.address);
    await until(() => client.adapter === 'poweredOn');
    for (const address of [ELK, TRIONES]) {
      const link = await client.connect(address, { timeoutMs: 3000 });
      expect(link.characteristics.length).toBeGreaterThan(0);
    }
  });

  it('hears a lamp before it connects, rather than guess the type of its address', async () => {
    // The upper bits of these say the opposite of what they are.
    const odd = [
      { address: 'ff:ff:20:00:00:98', addressType: 'public', name: 'ELK-BLEDOM', family: 'elk-bledom' },
      { address: 'be:ff:20:00:00:99', addressType: 'random', name: 'ELK-BLEDOM', family: 'elk-bledom' },
    ] as const;
    const air = await startAir(odd, { connectionIntervalMs: 0, advertisingIntervalMs: 300 });
    ends.push(() => air.stop());
    const { client } = radioOn(air.address);
    await client.scan(true);
    await until(() => client.adapter === 'poweredOn');
    for (const { address } of odd) {
      const began = performance.now();
      await client.connect(address, { timeoutMs: 5000 });
      expect(performance.now() - began).toBeLessThan(2500);
    }
  });

  it('keeps its guess where the connection failed, for the lamp had answered to it', async () => {
    const air = await startAir(LAMPS, { connectionIntervalMs: 0 });
    ends.push(() => air.stop());
    const { client } = radioOn(air.address);
    await until(() => client.adapter === 'poweredOn');
    await air.fault({ kind: 'connect-fails' }, { lamp: ELK });
    await expect(client.connect(ELK, { timeoutMs: 1000 })).rejects.toMatchObject({ code: 'connect_failed' });
    await air.fault({ kind: 'connect-fails' }, { lamp: ELK, on: false });
    await expect(client.connect(ELK, { timeoutMs: 1000 })).resolves.toBeDefined();
  });

  it('finds the other type of address at the second attempt', async () => {
    const odd = 'be:ff:20:00:00:99';
    const air = await startAir([{ address: odd, addressType: 'random', name: 'ELK-BLEDOM', family: 'elk-bledom' }], {
      connectionIntervalMs: 0,
    });
    ends.push(() => air.stop());
    const { client } = radioOn(air.address);
    await until(() => client.adapter === 'poweredOn');
    await expect(client.connect(odd, { timeoutMs: 300 })).rejects.toMatchObject({ code: 'unreachable' });
    await expect(client.connect(odd, { timeoutMs: 3000 })).resolves.toBeDefined();
  });

  it('says that the adapter is full, of a lamp that it knows as well', async () => {
    const { connect } = await setUp({ maxLinks: 1 });
    await (await connect(ELK)).disconnect();
    const link = await connect(TRIONES);
    await expect(connect(ELK)).rejects.toMatchObject({ code: 'out_of_slots' });
    await link.disconnect();
    await expect(connect(ELK)).resolves.toBeDefined();
  });

  it('narrows what it tells to the addresses that matter', async () => {
    const { client, heard } = await setUp();
    client.watch([ELK]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    heard.length = 0;
    await new Promise((resolve) => setTimeout(resolve, 1300));
    expect(new Set(heard.map((one) => one.address))).toEqual(new Set([ELK]));
    // Once a second each, though the lamp advertises fifty times.
    expect(heard.length).toBeLessThanOrEqual(3);
  });
});

// Lamps that misbehave, and what noble makes of them: noble-habits.test.ts.

describe('a controller that misbehaves', () => {
  it('closes its connection: the radio is started again and works', async () => {
    const { air, client, connect } = await setUp();
    const link = await connect(ELK);
    await air.fault({ kind: 'closes-h4' });
    await until(() => link.gone.aborted);
    await until(() => client.status().restarts === 1 && client.adapter === 'poweredOn');
    await (await connect(ELK)).write(frame('fff3', ON, 'request'));
  });

  it('is not there yet: the adapter is off until it comes', async () => {
    const { client, states } = radioOn('unix:/tmp/porchlight-nobody-listens-here');
    await until(() => client.adapter === 'poweredOff');
    expect(client.status().restarts).toBe(0);
    expect(states).toEqual(['poweredOff']);
  });

  it.each([
    ['an advertising report that is cut', '043e0702010000221100'],
    ['an extended report that is cut', '043e090d01130000221100ff'],
    ['a report of no length', '043e00'],
    ['a command completion of nothing', '040e00'],
    ['completed packets of many handles', '041304ff010001'],
    ['a disconnection of nobody', '040504000f0f13'],
    ['a vendor event', '04ff03010203'],
    ['a connection that nobody asked for', '043e130100230000002222222222220c000000c80000'],
    ['a command, as only hosts do', '01030c00'],
    ['data of nobody', '02210007000300040001020304'.slice(0, 24)],
  ])('sends %s: nothing breaks', async (_, hex) => {
    const { air, client, connect } = await setUp();
    const link = await connect(ELK);
    await air.inject(hex);
    await link.write(frame('fff3', ON, 'request'));
    await link.write(frame('fff3', ON, 'command'));
    expect(client.status().restarts).toBe(0);
  });
});

describe('a controller that is stranger still', () => {
  it('loses its frames: the radio is started again and works', async () => {
    const { air, client, connect } = await setUp();
    await air.inject('77616974');
    await until(() => client.status().restarts === 1 && client.adapter === 'poweredOn');
    expect(client.status().lastReason).toMatch(/packet of type/);
    await (await connect(ELK)).write(frame('fff3', ON, 'request'));
  });

  /** LE Set Data Length and Read Maximum Data Length, Read and Write LE Host Support, Read RSSI. */
  const DISPENSABLE = [0x2022, 0x202f, 0x0c6c, 0x0c6d, 0x1405];
  it.each<[string, FaultInput]>([
    ['does not know what can be done without', { kind: 'refuses-commands', opcodes: DISPENSABLE }],
    ['says so by a Command Status', { kind: 'refuses-commands', opcodes: DISPENSABLE, by: 'status' }],
    ['does not tell its features', { kind: 'refuses-commands', opcodes: [0x2003], by: 'status' }],
    ['takes its time for each command', { kind: 'slow-commands', ms: 30 }],
    ['takes no command for a while after each', { kind: 'no-credits', ms: 30 }],
  ])('%s: works all the same', async (_, fault) => {
    const air = await startAir(LAMPS, { connectionIntervalMs: 0, advertisingIntervalMs: 20 });
    ends.push(() => air.stop());
    await air.fault(fault);
    const { client, heard } = radioOn(air.address);
    await client.scan(true);
    await until(() => heard.some((one) => one.address === ELK));
    const link = await client.connect(ELK, { timeoutMs: 5000 });
    await link.write(frame('fff3', ON, 'request'));
    await link.disconnect();
    expect(client.status().restarts).toBe(0);
  });

  it('refuses to connect (0x0c): said at once, and tried again', async () => {
    const { air, connect } = await setUp();
    await air.fault({ kind: 'refuses-commands', opcodes: [0x200d], code: 0x0c, by: 'status' });
    const began = performance.now();
    await expect(connect(ELK)).rejects.toMatchObject({
      code: 'connect_failed',
      message: expect.stringContaining('0x0c'),
    });
    expect(performance.now() - began).toBeLessThan(2000);
    await air.fault({ kind: 'refuses-commands', opcodes: [0x200d] }, { on: false });
    await (await connect(ELK)).write(frame('fff3', ON, 'request'));
  });

  it.each([0x09, 0x0d] as const)('has no room for another link (%i), and says so', async (limitError) => {
    const { connect } = await setUp({ maxLinks: 1, limitError });
    await connect(ELK);
    await expect(connect(TRIONES)).rejects.toMatchObject({ code: 'out_of_slots' });
  });

  it('holds the link of a lamp that has its power back: said so, until the supervision timeout', async () => {
    const { air, connect } = await setUp();
    const link = await connect(ELK);
    await air.fault({ kind: 'power-cut' }, { lamp: ELK });
    // Nobody can end it sooner: the lamp does not hear that it is to end.
    await link.disconnect();
    await expect(connect(ELK)).rejects.toMatchObject({
      code: 'connect_failed',
      message: expect.stringContaining('still holds'),
    });
    await until(() => air.events.filter((event) => event.event === 'link' && !event.connected).length > 0);
    const again = async (): Promise<Link> => {
      for (;;) {
        try {
          return await connect(ELK);
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'connect_failed' });
          await new Promise((resolve) => setTimeout(resolve, 300));
        }
      }
    };
    await (await again()).write(frame('fff3', ON, 'request'));
  }, 20_000);

  it('stops answering: what is under way ends, and the radio tries again', async () => {
    const { air, client, connect } = await setUp();
    const link = await connect(ELK);
    await air.fault({ kind: 'hangs' });
    const [writing, connecting] = await Promise.allSettled([
      link.write(frame('fff3', ON, 'request')),
      connect(TRIONES, 500),
    ]);
    expect([writing.status, connecting.status]).toEqual(['rejected', 'rejected']);
    await until(() => client.status().restarts >= 1);
    await air.fault({ kind: 'hangs' }, { on: false });
    await until(() => client.adapter === 'poweredOn', 25_000);
    await (await connect(ELK)).write(frame('fff3', ON, 'request'));
  }, 60_000);
});

describe('the radio process', () => {
  it('is started again after a kill, and lamps can be commanded within seconds', async () => {
    const { client, connect } = await setUp();
    await connect(ELK);
    const began = performance.now();
    process.kill(client.status().pid ?? 0, 'SIGKILL');
    await until(() => client.status().restarts === 1 && client.adapter === 'poweredOn');
    await (await connect(ELK)).write(frame('fff3', ON, 'request'));
    expect(performance.now() - began).toBeLessThan(6000);
  });

  it('does not end with the terminal, and lets its lamps go when it is stopped', async () => {
    const { air, client, connect, end } = await setUp();
    await connect(ELK);
    const pid = client.status().pid ?? 0;
    process.kill(pid, 'SIGINT');
    process.kill(pid, 'SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(client.status()).toMatchObject({ pid, restarts: 0 });
    const began = performance.now();
    await end();
    expect(performance.now() - began).toBeLessThan(2000);
    expect((await air.lamp(ELK)).connected).toBe(false);
  });
});
