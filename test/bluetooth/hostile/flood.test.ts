import { describe, expect, it } from 'vitest';
import type { AirUnderTest } from '../../support/air.ts';
import { frame } from '../../support/frame.ts';
import { HOSTILE, WITNESS } from './controller.ts';
import { ON, obey, setUp, sleep, until } from './harness.ts';

/** The handle of the value of fff4: behind GAP (1 to 5), GATT (6 to 9), the service, and fff3 (11, 12). */
const NOTIFIED = 14;

describe('a flood in the air', () => {
  it('bounds what a lamp says that never stops talking, and serves the others', async () => {
    const { air, client } = await setUp();
    const witness = await obey(client, WITNESS.address);
    const link = await client.connect(HOSTILE.address, { timeoutMs: 3000 });
    let values = 0;
    await link.subscribe('fff4', () => {
      values += 1;
    });
    const began = performance.now();
    // 60,000 notifications of the value's handle, thousands in each write to the stream.
    const one = Buffer.from([0x1b, NOTIFIED, 0, 1, 2, 3]);
    const packet = Buffer.concat([
      Buffer.from([2, ...u16(await handleOf(air, HOSTILE.address), 0x2000), 10, 0, 6, 0, 4, 0]),
      one,
    ]);
    const many = Buffer.concat(Array.from({ length: 2000 }, () => packet)).toString('hex');
    let slowest = 0;
    for (let round = 0; round < 30; round += 1) {
      await air.inject(many);
      const before = performance.now();
      await witness.write(frame('fff3', ON, 'request'));
      slowest = Math.max(slowest, performance.now() - before);
    }
    const seconds = (performance.now() - began) / 1000;
    expect(values).toBeGreaterThan(0);
    expect(values).toBeLessThanOrEqual(60 * (seconds + 2));
    expect(slowest).toBeLessThan(2000);
    expect(client.status().restarts).toBe(0);
    expect(link.gone.aborted).toBe(false);
  }, 30_000);

  it.each([
    ['a legacy controller', { extended: false }],
    ['a controller with extended advertising', { extended: true }],
  ])(
    'hears 20,000 strangers once each on %s, keeps none of them, and serves its lamps meanwhile',
    async (_, options) => {
      const { air, client, heard, pulses } = await setUp(options);
      const link = await obey(client, WITNESS.address);
      await until('it pulses', () => pulses.length > 0, 5000);
      const before = pulses.at(-1)?.rss ?? 0;
      heard.length = 0;
      let flooding = true;
      const flood = air.flood(20_000, { perSecond: 10_000 }).finally(() => {
        flooding = false;
      });
      let writes = 0;
      while (flooding) {
        await link.write(frame('fff3', ON, 'request'));
        writes += 1;
        await sleep(20);
      }
      await flood;
      expect(writes).toBeGreaterThan(10);
      await sleep(500);
      expect(new Set(heard.map((one) => one.address))).toEqual(new Set([HOSTILE.address]));
      // Two octets for each of them, at most: a heap grows by pages, and by code that is compiled while it is hot.
      expect((pulses.at(-1)?.rss ?? 0) - before).toBeLessThan(16 * 1024 * 1024);
      expect(client.status().restarts).toBe(0);
    },
    30_000,
  );

  it('tells of a flood of strangers no more than the gateway bears, when everyone is listened to', async () => {
    const { air, client, heard } = await setUp();
    client.watch(undefined);
    const link = await obey(client, WITNESS.address);
    heard.length = 0;
    const began = performance.now();
    await air.flood(20_000, { perSecond: 10_000 });
    await link.write(frame('fff3', ON, 'request'));
    const seconds = (performance.now() - began) / 1000;
    expect(heard.length).toBeGreaterThan(100);
    expect(heard.length).toBeLessThanOrEqual(500 * (seconds + 1));
    // The lamp of ours that is not connected is heard among them.
    expect(heard.some((one) => one.address === HOSTILE.address)).toBe(true);
    expect(client.status().restarts).toBe(0);
  }, 30_000);
});

const u16 = (value: number, flags = 0): readonly number[] => [value & 0xff, ((value | flags) >> 8) & 0xff];

async function handleOf(air: AirUnderTest, address: string): Promise<number> {
  const { link } = await air.lamp(address);
  if (link === undefined) throw new Error(`${address} is not connected`);
  return link.handle;
}
