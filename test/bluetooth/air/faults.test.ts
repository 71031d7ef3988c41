import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { LampInput, Written } from '../../../src/bluetooth/air/messages.ts';
import { type AirUnderTest, startAir } from '../../support/air.ts';
import { type Connected, connected, type Host, openHost, within } from './host.ts';

const PORCH = 'be:ff:20:00:11:22';
const HALL = 'be:ff:20:00:11:33';
const lamps: readonly LampInput[] = [
  { address: PORCH, name: 'ELK-BLEDOM', family: 'elk-bledom' },
  { address: HALL, name: 'ELK-BLEDOM', family: 'elk-bledom' },
];
const ON = Buffer.from('7e0004f00001ff00ef', 'hex');
const SOON = 80;

let air: AirUnderTest;
let host: Host;
/** How much the air had seen before this test. */
let before = { written: 0, events: 0 };

beforeAll(async () => {
  air = await startAir(lamps, { connectionIntervalMs: 0, advertisingIntervalMs: 10, maxLinks: 1 });
});

beforeEach(async () => {
  for (const lamp of [PORCH, HALL]) await air.set(lamp, { on: false });
  before = { written: (await air.written()).length, events: air.events.length };
  host = await openHost(air.address);
});

afterEach(async () => {
  host.close();
  for (const kind of KINDS) await air.fault({ kind }, { on: false });
});

afterAll(() => air.stop());

const KINDS = [
  'out-of-range',
  'mute',
  'att-error',
  'connect-fails',
  'link-loss-on-write',
  'refuses-mtu',
  'slow',
  'disobeys',
  'wrong-identity',
  'scan-ignored',
  'scan-refused',
  'hangs',
] as const;

const written = async (): Promise<readonly Written[]> => (await air.written()).slice(before.written);
const begun = (): Promise<Connected> => connected(host, PORCH);
const write = (lamp: Connected, withoutResponse = false): Promise<void> =>
  lamp.characteristic('fff3').writeAsync(ON, withoutResponse);

describe('a lamp that fails, as noble sees it', () => {
  it('out of range: not heard; a connect never settles until it is cancelled, and then others connect', async () => {
    const found = await host.discover([PORCH, HALL]);
    await air.fault({ kind: 'out-of-range' }, { lamp: PORCH });
    await expect(host.discover([PORCH], SOON)).rejects.toThrow('not heard');
    const gone = found.get(PORCH);
    gone?.connectAsync().catch(() => undefined);
    const other = found.get(HALL)?.connectAsync({ timeout: 400 }) ?? Promise.reject(new Error('not heard'));
    await expect(within(other, SOON)).rejects.toThrow('never settled');
    gone?.cancelConnect();
    await within(other);
    expect((await air.lamp(HALL)).connected).toBe(true);
  });

  it('out of range: a connect that is waiting succeeds when the lamp comes back', async () => {
    const lamp = (await host.discover([PORCH])).get(PORCH);
    await air.fault({ kind: 'out-of-range' });
    const connecting = lamp?.connectAsync({ timeout: 400 });
    await expect(within(connecting ?? Promise.resolve(), SOON)).rejects.toThrow('never settled');
    await air.fault({ kind: 'out-of-range' }, { on: false });
    await within(connecting ?? Promise.resolve());
  });

  it('out of range: a link dies of its supervision timeout, and not sooner', async () => {
    const lamp = await connected(host, PORCH, { timeout: 30 });
    const lost = once(lamp.peripheral, 'disconnect');
    const from = performance.now();
    await air.fault({ kind: 'out-of-range' }, { lamp: PORCH });
    const [reason] = await within(lost);
    expect(reason).toBe(0x08);
    expect(performance.now() - from).toBeGreaterThan(280);
    expect(await air.lamp(PORCH)).toMatchObject({ connected: false });
  });

  it('out of range for less than the supervision timeout: the write arrives late', async () => {
    const lamp = await begun();
    await air.fault({ kind: 'out-of-range' });
    const writing = write(lamp);
    await expect(within(writing, SOON)).rejects.toThrow('never settled');
    await air.fault({ kind: 'out-of-range' }, { on: false });
    await within(writing);
    expect((await air.lamp(PORCH)).state.on).toBe(true);
  });

  it('mute: every ATT request hangs for ever', async () => {
    const lamp = await begun();
    await air.fault({ kind: 'mute' });
    await expect(within(write(lamp), SOON)).rejects.toThrow('never settled');
    expect(await air.lamp(PORCH)).toMatchObject({ connected: true, state: { on: false } });
  });

  it('ATT error: the promise of a write never settles, and nothing is obeyed', async () => {
    const lamp = await begun();
    await air.fault({ kind: 'att-error', code: 0x80 });
    await expect(within(write(lamp), SOON)).rejects.toThrow('never settled');
    expect((await written()).map(({ result }) => result)).toEqual(['refused']);
    expect((await air.lamp(PORCH)).state.on).toBe(false);
  });

  it('a write that asks for authentication: noble begins to pair, which the lamp can not, and all later calls hang', async () => {
    const lamp = await begun();
    await air.fault({ kind: 'att-error', code: 0x05 });
    await expect(within(write(lamp), SOON)).rejects.toThrow('never settled');
    await air.fault({ kind: 'att-error' }, { on: false });
    await expect(within(write(lamp), SOON)).rejects.toThrow('never settled');
  });

  it('connect fails: rejects with 0x3e, and the next attempt succeeds', async () => {
    const lamp = (await host.discover([PORCH])).get(PORCH);
    await air.fault({ kind: 'connect-fails' });
    await expect(within(lamp?.connectAsync() ?? Promise.resolve())).rejects.toThrow('0x3e');
    expect(lamp?.state).toBe('error');
    await air.fault({ kind: 'connect-fails' }, { on: false });
    await within(lamp?.connectAsync() ?? Promise.resolve());
  });

  it('connect fails late: a link that is reported, and lost with 0x3e without the lamp knowing', async () => {
    const lamp = (await host.discover([PORCH])).get(PORCH);
    await air.fault({ kind: 'connect-fails', late: true });
    const lost = lamp === undefined ? Promise.reject(new Error('not heard')) : once(lamp, 'disconnect');
    lamp?.connectAsync().catch(() => undefined);
    expect((await within(lost))[0]).toBe(0x3e);
    expect(air.events.slice(before.events).filter(({ event }) => event === 'link')).toEqual([]);
  });

  it('link loss now (0x08), and the lamp that hangs up (0x13)', async () => {
    const lamp = await begun();
    const lost = once(lamp.peripheral, 'disconnect');
    await air.fault({ kind: 'link-loss' }, { lamp: PORCH });
    expect((await within(lost))[0]).toBe(0x08);
    const again = await connected(host, PORCH);
    const ended = once(again.peripheral, 'disconnect');
    await air.fault({ kind: 'hangs-up' }, { lamp: PORCH });
    expect((await within(ended))[0]).toBe(0x13);
  });

  it('link lost at the next write: the write rejects as disconnected, and the bytes never arrive', async () => {
    const lamp = await begun();
    await air.fault({ kind: 'link-loss-on-write' });
    await expect(within(write(lamp))).rejects.toThrow(/Disconnected/);
    expect(await written()).toEqual([]);
    await air.fault({ kind: 'link-loss-on-write' }, { on: false });
    await within(write(await connected(host, PORCH)));
    expect((await written()).length).toBe(1);
  });

  it('refuses the MTU exchange with 0x06: noble stays at 23 and goes on', async () => {
    await air.fault({ kind: 'refuses-mtu' });
    await within(write(await connected(host, PORCH)));
  });

  it('refuses the MTU exchange with 0x04: everything after it hangs', async () => {
    await air.fault({ kind: 'refuses-mtu', code: 0x04 });
    const lamp = (await host.discover([PORCH])).get(PORCH);
    await within(lamp?.connectAsync() ?? Promise.resolve());
    const discovering = lamp?.discoverAllServicesAndCharacteristicsAsync() ?? Promise.resolve();
    await expect(within<unknown>(discovering, SOON)).rejects.toThrow('never settled');
  });

  it('slow: answers come later, and in order', async () => {
    const lamp = await begun();
    await air.fault({ kind: 'slow', ms: 120 });
    const from = performance.now();
    await within(write(lamp));
    expect(performance.now() - from).toBeGreaterThan(110);
  });

  it('disobeys: acknowledges and stays as it is', async () => {
    const lamp = await begun();
    await air.fault({ kind: 'disobeys' });
    await within(write(lamp));
    expect((await written()).map(({ result }) => result)).toEqual(['ignored']);
    expect((await air.lamp(PORCH)).state.on).toBe(false);
  });

  it('wrong identity: the lamp’s services are not there', async () => {
    await air.fault({ kind: 'wrong-identity' }, { lamp: PORCH });
    const lamp = (await host.discover([PORCH])).get(PORCH);
    await within(lamp?.connectAsync() ?? Promise.resolve());
    await expect(
      within(lamp?.discoverSomeServicesAndCharacteristicsAsync(['fff0'], []) ?? Promise.resolve()),
    ).rejects.toThrow('Could not find all requested services');
  });
});

describe('a controller that fails, as noble sees it', () => {
  it('stops scanning silently; a new scan hears again', async () => {
    const { noble } = host;
    await within(noble.startScanningAsync([], true));
    await air.fault({ kind: 'scan-stops' });
    let heard = 0;
    noble.on('discover', () => {
      heard += 1;
    });
    await new Promise((resolve) => setTimeout(resolve, SOON));
    expect(heard).toBe(0);
    await within(noble.stopScanningAsync());
    await host.discover([PORCH]);
  });

  it.each(['scan-ignored', 'scan-refused'] as const)(
    '%s: startScanning resolves although nothing scans',
    async (kind) => {
      const { noble } = host;
      await air.fault({ kind });
      await within(noble.startScanningAsync([], true));
      await within(noble.stopScanningAsync());
      await expect(host.discover([PORCH], SOON)).rejects.toThrow('not heard');
      await air.fault({ kind }, { on: false });
      await host.discover([PORCH]);
    },
  );

  it('hangs: nothing is answered, nothing is heard', async () => {
    const lamp = await begun();
    await air.fault({ kind: 'hangs' });
    await expect(within(write(lamp), SOON)).rejects.toThrow('never settled');
    await expect(within(host.noble.startScanningAsync([], true), SOON)).rejects.toThrow('never settled');
    expect(await written()).toEqual([]);
  });

  it('has no more than its links: the next connect is rejected with 0x09', async () => {
    const found = await host.discover([PORCH, HALL]);
    await within(found.get(PORCH)?.connectAsync({ timeout: 400 }) ?? Promise.resolve());
    await expect(within(found.get(HALL)?.connectAsync() ?? Promise.resolve())).rejects.toThrow('0x9');
  });

  it('gives the first link handle 0, so that noble cuts it off when it disconnects what is not connected', async () => {
    const lamp = await begun();
    const other = (await host.discover([HALL])).get(HALL);
    const lost = once(lamp.peripheral, 'disconnect');
    other?.disconnectAsync().catch(() => undefined);
    expect((await within(lost))[0]).toBe(0x16);
  });

  it('closes the H4 connection, and takes a new one', async () => {
    await begun();
    const closed = once(host.socket, 'close');
    await air.fault({ kind: 'closes-h4' });
    await within(closed);
    expect((await air.lamp(PORCH)).connected).toBe(false);
    host.close();
    host = await openHost(air.address);
    await host.discover([PORCH]);
  });
});
