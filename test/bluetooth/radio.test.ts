import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import type { LampInput, StartInput } from '../../src/bluetooth/air/messages.ts';
import type { AdapterState, Heard, Link } from '../../src/bluetooth/central.ts';
import { RadioClient } from '../../src/bluetooth/radio-client.ts';
import { type AirUnderTest, startAir } from '../support/air.ts';
import { DIST } from '../support/dist.ts';
import { frame } from '../support/frame.ts';
import { keptLog, realClock } from '../support/log.ts';

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

async function until(what: () => boolean, ms = 10_000): Promise<void> {
  const end = performance.now() + ms;
  while (!what()) {
    if (performance.now() > end) throw new Error(`it did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function radioOn(address: string) {
  const states: AdapterState[] = [];
  const heard: Heard[] = [];
  const { log, lines } = keptLog();
  const client = new RadioClient({
    entry: new URL('bluetooth/radio/main.js', DIST),
    backend: { kind: 'h4', address },
    events: { onAdapter: (state) => states.push(state), onHeard: (one) => heard.push(one) },
    log,
    clock: realClock,
  });
  const stop = new AbortController();
  const run = client.run(stop.signal);
  const end = async (): Promise<void> => {
    stop.abort();
    await run;
  };
  ends.push(end);
  return { client, states, heard, lines, end };
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

  it('scans on while lamps are connected', async () => {
    const { connect, heard } = await setUp();
    await connect(ELK);
    const before = heard.filter((one) => one.address === TRIONES).length;
    await until(() => heard.filter((one) => one.address === TRIONES).length > before);
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

  it('refuses what is longer than the link takes, and writes what fits exactly', async () => {
    const { connect } = await setUp();
    const link = await connect(ELK);
    await expect(link.write(frame('fff3', new Uint8Array(21), 'command'))).rejects.toMatchObject({
      code: 'unsupported',
    });
    await link.write(frame('fff3', new Uint8Array(20), 'command'));
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

describe('a lamp that misbehaves', () => {
  it.each([0x03, 0x05, 0x08, 0x0e, 0x0f, 0x04, 0x80])(
    'refuses a write with ATT error %i: said so, and the link stays usable',
    async (code) => {
      const { air, connect } = await setUp();
      const link = await connect(ELK);
      await air.fault({ kind: 'att-error', code }, { lamp: ELK });
      const began = performance.now();
      await expect(link.write(frame('fff3', ON, 'request'))).rejects.toMatchObject({ code: 'refused_by_light' });
      expect(performance.now() - began).toBeLessThan(2000);
      await air.fault({ kind: 'att-error', code }, { lamp: ELK, on: false });
      await link.write(frame('fff3', ON, 'request'));
      expect(link.gone.aborted).toBe(false);
    },
  );

  it.each([0x06, 0x04, 0x05])('refuses the MTU exchange with error %i: works all the same', async (code) => {
    const { air, connect } = await setUp();
    await air.fault({ kind: 'refuses-mtu', code }, { lamp: ELK });
    const link = await connect(ELK);
    await link.write(frame('fff3', ON, 'request'));
  });

  it('never answers: the operation ends, the link is dropped, the other lamp is not held up', async () => {
    const { air, connect, client } = await setUp();
    const mute = await connect(ELK);
    const other = await connect(TRIONES);
    await air.fault({ kind: 'mute' }, { lamp: ELK });
    const writing = mute.write(frame('fff3', ON, 'request'));
    await other.write(frame('ffd9', Uint8Array.of(0xcc, 0x23, 0x33), 'command'));
    await expect(writing).rejects.toMatchObject({ code: 'timed_out' });
    await until(() => mute.gone.aborted);
    expect(other.gone.aborted).toBe(false);
    await air.fault({ kind: 'mute' }, { lamp: ELK, on: false });
    const again = await connect(ELK);
    await again.write(frame('fff3', ON, 'request'));
    expect(client.status().restarts).toBe(0);
  });

  it('is out of range: the attempt ends at its deadline and the next one is served', async () => {
    const { air, connect } = await setUp();
    await air.fault({ kind: 'out-of-range' }, { lamp: ELK });
    const began = performance.now();
    const dead = connect(ELK, 600);
    const alive = connect(TRIONES, 5000);
    await expect(dead).rejects.toMatchObject({ code: 'unreachable' });
    expect(performance.now() - began).toBeLessThan(2500);
    await (await alive).write(frame('ffd9', Uint8Array.of(0xcc, 0x23, 0x33), 'command'));
    await air.fault({ kind: 'out-of-range' }, { lamp: ELK, on: false });
    await expect(connect(ELK)).resolves.toBeDefined();
  });

  it.each([false, true])('fails to be connected (0x3e, late: %s), then can be', async (late) => {
    const { air, connect } = await setUp();
    await air.fault({ kind: 'connect-fails', late }, { lamp: ELK });
    const failed = await connect(ELK, 3000).catch((thrown: { code: string }) => thrown.code);
    expect(['connect_failed', 'link_lost']).toContain(failed);
    await air.fault({ kind: 'connect-fails', late }, { lamp: ELK, on: false });
    await (await connect(ELK)).write(frame('fff3', ON, 'request'));
  });

  it.each(['link-loss', 'hangs-up'] as const)('has %s: the link says so, and a new one can be made', async (kind) => {
    const { air, connect, client } = await setUp();
    const link = await connect(ELK);
    await air.fault({ kind }, { lamp: ELK });
    await until(() => link.gone.aborted);
    expect(link.gone.reason).toMatchObject({ code: 'link_lost' });
    await (await connect(ELK)).write(frame('fff3', ON, 'request'));
    expect(client.status().restarts).toBe(0);
  });

  it('loses the link while it is written to', async () => {
    const { air, connect } = await setUp();
    const link = await connect(ELK);
    await air.fault({ kind: 'link-loss-on-write' }, { lamp: ELK });
    await expect(link.write(frame('fff3', ON, 'request'))).rejects.toMatchObject({ code: 'link_lost' });
  });

  it('does not take a write for done that was lost with the link, though nobody acknowledges it', async () => {
    const { air, connect } = await setUp();
    const link = await connect(ELK);
    await air.fault({ kind: 'link-loss-on-write' }, { lamp: ELK });
    await expect(link.write(frame('fff3', ON, 'command'))).rejects.toMatchObject({ code: 'link_lost' });
    expect(await air.written()).toEqual([]);
  });
});

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

  it('stops scanning without a word: it is asked again', async () => {
    const { air, connect, heard } = await setUp();
    await air.fault({ kind: 'scan-stops' });
    // A connect brings the scan back in any case.
    await connect(ELK);
    const before = heard.filter((one) => one.address === TRIONES).length;
    await until(() => heard.filter((one) => one.address === TRIONES).length > before);
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

  it('was reset by another program (which a raw socket overhears): a fresh process takes over', async () => {
    const { air, client, connect } = await setUp();
    const link = await connect(ELK);
    await air.inject('01030c00');
    await until(() => link.gone.aborted && client.status().restarts === 1 && client.adapter === 'poweredOn');
    expect(client.status().lastReason).toContain('reset');
  });

  it('refuses the scan for a while: it is asked until it scans', async () => {
    const { air, connect, heard } = await setUp();
    await air.fault({ kind: 'scan-refused' });
    await connect(ELK);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await air.fault({ kind: 'scan-refused' }, { on: false });
    heard.length = 0;
    await until(() => heard.some((one) => one.address === TRIONES));
  });

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
