import { afterEach, describe, expect, it } from 'vitest';
import type { LampInput } from '../../../src/bluetooth/air/messages.ts';
import { type AirUnderTest, startAir } from '../../support/air.ts';
import { connected, type Host, openHost, within } from './host.ts';

const PORCH = 'be:ff:20:00:11:22';
const HALL = 'c0:00:00:00:00:01';
const triones: LampInput = { address: PORCH, name: 'Triones:F30200000152C', family: 'triones', writes: 'both' };
const elk: LampInput = { address: HALL, addressType: 'random', name: 'ELK-BLEDOM   ', family: 'elk-bledom', rssi: -71 };

let air: AirUnderTest;
let host: Host | undefined;

async function begin(
  lamps: readonly LampInput[],
  options: Parameters<typeof startAir>[1] = {},
  binding: Parameters<typeof openHost>[1] = {},
): Promise<Host> {
  air = await startAir(lamps, { connectionIntervalMs: 0, advertisingIntervalMs: 20, ...options });
  host = await openHost(air.address, binding);
  return host;
}

afterEach(async () => {
  host?.close();
  host = undefined;
  await air.stop();
});

describe('the real noble on the air', () => {
  it('hears names, services, manufacturer data, address types and signal strengths', async () => {
    const { discover } = await begin([triones, { ...elk, manufacturerData: '4c000215' }]);
    const found = await discover([PORCH, HALL]);
    expect(found.get(PORCH)?.advertisement.localName).toBe('Triones:F30200000152C');
    expect(found.get(PORCH)?.addressType).toBe('public');
    expect(found.get(HALL)?.addressType).toBe('random');
    expect(found.get(HALL)?.rssi).toBe(-71);
    expect(found.get(HALL)?.connectable).toBeTruthy();
    expect(found.get(HALL)?.advertisement.localName).toBe('ELK-BLEDOM   ');
    expect(found.get(HALL)?.advertisement.serviceUuids).toEqual(['1812']);
    expect(found.get(HALL)?.advertisement.manufacturerData?.toString('hex')).toBe('4c000215');
  });

  it('connects, finds the GATT, writes both ways, subscribes and reads', async () => {
    const opened = await begin([triones, elk]);
    const lamp = await connected(opened, PORCH);
    const write = lamp.characteristic('ffd9');
    const notify = lamp.characteristic('ffd4');
    expect(write.properties).toEqual(['writeWithoutResponse', 'write']);
    expect(notify.properties).toEqual(['notify']);
    const heard: string[] = [];
    notify.on('data', (bytes: Buffer) => heard.push(bytes.toString('hex')));
    await within(notify.subscribeAsync());
    await within(write.writeAsync(Buffer.from('cc2333', 'hex'), false));
    await within(write.writeAsync(Buffer.from('560000ff00f0aa', 'hex'), true));
    await within(write.writeAsync(Buffer.from('ef0177', 'hex'), false));
    expect(heard).toEqual(['6615234120000000ff000699']);
    const log = await air.written();
    expect(log.map(({ hex, kind, result }) => [hex, kind, result])).toEqual([
      ['cc2333', 'request', 'obeyed'],
      ['560000ff00f0aa', 'command', 'obeyed'],
      ['ef0177', 'request', 'obeyed'],
    ]);
    expect((await air.lamp(PORCH)).subscribed).toEqual(['ffd4']);

    const strip = await connected(opened, HALL);
    expect(await within(strip.characteristic('fff3').readAsync())).toEqual(Buffer.alloc(16));
    await within(lamp.peripheral.disconnectAsync());
    expect((await air.lamp(PORCH)).connected).toBe(false);
    expect((await air.lamp(HALL)).connected).toBe(true);
  });

  it('works through extended scanning and connecting where the controller has them', async () => {
    const opened = await begin([{ ...triones, mtu: 200 }, elk], { extended: true });
    const lamp = await connected(opened, PORCH);
    expect(lamp.peripheral.mtu).toBe(200);
    await within(lamp.characteristic('ffd9').writeAsync(Buffer.from('cc2333', 'hex'), false));
    expect((await air.lamp(PORCH)).state.on).toBe(true);
  });

  it('never begins to scan on a Bluetooth 5 controller that is its own, for its first scan command is a legacy one', async () => {
    const opened = await begin([triones], { extended: true }, { userChannel: true });
    // Every command of the scan is refused (Vol 4 Part E section 3.1.1), and noble never says so.
    await expect(within(opened.noble.startScanningAsync([], true), 300)).rejects.toThrow('never settled');
  });

  it('carries writes and reads of 400 bytes through small buffers', async () => {
    const opened = await begin([elk], { buffers: { length: 27, count: 2 } });
    const strip = await connected(opened, HALL);
    const long = Buffer.alloc(400, 0xa5);
    await within(strip.characteristic('fff3').writeAsync(long, false));
    expect((await air.written()).map(({ hex }) => hex)).toEqual([long.toString('hex')]);
    expect(await within(strip.characteristic('fff3').readAsync())).toEqual(long);
  });

  it('serves five lamps at once, and they are silent while connected', async () => {
    const lamps = [0, 1, 2, 3, 4].map((n) => ({ ...triones, address: `c0:00:00:00:00:1${n}`, name: `Triones-0${n}` }));
    const opened = await begin(lamps);
    const open = [];
    for (const { address } of lamps) open.push(await connected(opened, address));
    await Promise.all(
      open.map((lamp, n) =>
        within(lamp.characteristic('ffd9').writeAsync(Buffer.of(0x56, n, 0, 0, 0, 0xf0, 0xaa), false)),
      ),
    );
    const reports = await air.lamps();
    expect(reports.map(({ state }) => state.color.r)).toEqual([0, 1, 2, 3, 4]);
    await expect(opened.discover([lamps[0]?.address ?? ''], 100)).rejects.toThrow('not heard');
  });

  it('takes about two connection intervals for a write request, and next to nothing where packets cross at once', async () => {
    const median = async (connectionIntervalMs: number): Promise<number> => {
      const opened = await begin([triones], { connectionIntervalMs });
      const lamp = await connected(opened, PORCH, { minInterval: 6, maxInterval: 40 });
      const took: number[] = [];
      for (let n = 0; n < 9; n++) {
        const from = performance.now();
        await within(lamp.characteristic('ffd9').writeAsync(Buffer.from('cc2333', 'hex'), false));
        took.push(performance.now() - from);
      }
      opened.close();
      await air.stop();
      return took.sort((a, b) => a - b)[4] ?? 0;
    };
    const [slow, fast, instant] = [await median(30), await median(10), await median(0)];
    expect(slow / 30).toBeGreaterThan(1.5);
    expect(slow / 30).toBeLessThan(4);
    expect(slow / fast).toBeGreaterThan(1.5);
    expect(instant * 2).toBeLessThan(fast);
  });

  it('keeps what reached the lamps when the radio dies, and serves the next one', async () => {
    const first = await begin([triones]);
    const lamp = await connected(first, PORCH);
    await within(lamp.characteristic('ffd9').writeAsync(Buffer.from('cc2333', 'hex'), false));
    first.socket.destroy();
    await air.waitFor((event) => event.event === 'host' && !event.connected);
    expect(await air.lamp(PORCH)).toMatchObject({ connected: false, state: { on: true } });
    host = await openHost(air.address);
    const again = await connected(host, PORCH);
    await within(again.characteristic('ffd9').writeAsync(Buffer.from('cc2433', 'hex'), false));
    expect((await air.written()).map(({ hex }) => hex)).toEqual(['cc2333', 'cc2433']);
  });

  it('stamps each write with a time on the monotonic clock that all processes share', async () => {
    const opened = await begin([triones]);
    const lamp = await connected(opened, PORCH);
    const mono = (): number => Number(process.hrtime.bigint()) / 1e6;
    const before = mono();
    await within(lamp.characteristic('ffd9').writeAsync(Buffer.from('cc2333', 'hex'), false));
    const after = mono();
    const [entry] = await air.written();
    expect(entry?.mono).toBeGreaterThan(before);
    expect(entry?.mono).toBeLessThan(after);
  });
});
