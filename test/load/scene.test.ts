import { expect, it } from 'vitest';
import { RadioClient } from '../../src/bluetooth/radio-client.ts';
import { type AirUnderTest, startAir } from '../support/air.ts';
import { DIST } from '../support/dist.ts';
import { keptLog, realClock } from '../support/log.ts';
import { allHeard, lampsOf, mono, quantile, say, share, sleep, startHouse } from './house.ts';

const LINKS = 7;
const COUNT = 50;
const MOVIE = { movie: { state: 'ON', color: { r: 255, g: 80, b: 10 } } } as const;

/** Bare connections, one after the other, as the radio makes them when nothing else is asked of it: ms each. */
async function bareConnects(air: AirUnderTest, addresses: readonly string[]): Promise<readonly number[]> {
  const heard = new Set<string>();
  const radio = new RadioClient({
    entry: new URL('bluetooth/radio/main.js', DIST),
    backend: { kind: 'h4', address: air.address },
    events: { onAdapter: () => undefined, onHeard: ({ address }) => heard.add(address) },
    log: keptLog().log,
    clock: realClock,
  });
  const stop = new AbortController();
  const run = radio.run(stop.signal);
  await radio.scan(true);
  while (addresses.some((address) => !heard.has(address))) await sleep(20);
  const times: number[] = [];
  for (const address of addresses) {
    const began = performance.now();
    const onConnected = (): void => void times.push(performance.now() - began);
    const link = await radio.connect(address, { timeoutMs: 10_000, onConnected });
    await link.disconnect();
  }
  stop.abort();
  await run;
  return times;
}

/** One lamp after the other through a single link: ms from one to the next. */
async function lonelyCycle(air: AirUnderTest, count: number): Promise<number> {
  const house = await startHouse({ on: air, lamps: lampsOf(count), maxConnections: 1, scenes: MOVIE });
  try {
    await allHeard(house);
    const { outcome, took_ms } = await house.scene('movie');
    expect(['assumed', 'confirmed']).toContain(outcome);
    return took_ms / count;
  } finally {
    await house.close();
  }
}

it(
  'a scene of fifty lamps over seven links takes no longer than the air asks for',
  async () => {
    for (let run = 0; run < share(1, 5); run += 1) {
      const air = await startAir(lampsOf(COUNT), { connectionIntervalMs: 22.5, quiet: true, maxLinks: LINKS });
      try {
        const connects = await bareConnects(
          air,
          lampsOf(COUNT).map(({ address }) => address),
        );
        const connectMs = connects.reduce((sum, each) => sum + each, 0) / connects.length;
        const cycleMs = await lonelyCycle(air, 12);
        const house = await startHouse({ on: air, lamps: lampsOf(COUNT), maxConnections: LINKS, scenes: MOVIE });
        try {
          await allHeard(house);
          const began = mono();
          const outcome = await house.scene('movie');
          const writes = (await house.written()).filter(({ hex }) => !hex.startsWith('ef0177'));
          const tookMs = Math.max(...writes.map((one) => one.mono)) - began;
          const boundMs = Math.max(COUNT * connectMs, Math.ceil(COUNT / LINKS) * cycleMs);
          say(
            `scene: ${COUNT} lamps, ${LINKS} links: ${tookMs.toFixed(0)} ms to the last write; t_connect ${connectMs.toFixed(0)} ms (median ${quantile(connects, 0.5).toFixed(0)}), ` +
              `t_cycle ${cycleMs.toFixed(0)} ms, bound ${boundMs.toFixed(0)} ms: ${(tookMs / boundMs).toFixed(2)}`,
          );
          expect(['assumed', 'confirmed']).toContain(outcome.outcome);
          for (const { address } of lampsOf(COUNT)) {
            const of = writes.filter(({ lamp }) => lamp === address).map(({ hex }) => hex);
            expect(of.length, `writes to ${address}`).toBeGreaterThan(0);
            expect(new Set(of).size, `no frame twice at ${address}`).toBe(of.length);
          }
          expect(tookMs).toBeLessThanOrEqual(1.2 * boundMs);
        } finally {
          await house.close();
        }
      } finally {
        await air.stop();
      }
    }
  },
  share(60_000, 300_000),
);
