import { afterEach, describe, expect, it } from 'vitest';
import type { LampInput, StartInput } from '../../src/bluetooth/air/messages.ts';
import type { Pulse, RadioEnd } from '../../src/bluetooth/central.ts';
import { RadioClient, type RadioTimings } from '../../src/bluetooth/radio-client.ts';
import { startAir } from '../support/air.ts';
import { DIST } from '../support/dist.ts';
import { frame } from '../support/frame.ts';
import { keptLog, realClock } from '../support/log.ts';

const ON = frame('fff3', Uint8Array.from(Buffer.from('7e0004f00001ff00ef', 'hex')), 'request');
const MB = 1024 * 1024;

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

async function setUp(count: number, timings: Partial<RadioTimings>, air: Partial<Omit<StartInput, 'lamps'>> = {}) {
  const lamps = Array.from({ length: count }, (_, n): LampInput => {
    return {
      address: `be:ff:20:00:${(n >> 8) + 10}:${(n & 255).toString(16).padStart(2, '0')}`,
      name: 'ELK-BLEDOM',
      family: 'elk-bledom',
    };
  });
  const virtual = await startAir(lamps, { connectionIntervalMs: 15, advertisingIntervalMs: 50, quiet: true, ...air });
  ends.push(() => virtual.stop());
  const pulses: Pulse[] = [];
  const lives: RadioEnd[] = [];
  const heard = new Set<string>();
  const { log } = keptLog();
  const client = new RadioClient({
    entry: new URL('bluetooth/radio/main.js', DIST),
    backend: { kind: 'h4', address: virtual.address },
    events: {
      onAdapter: () => undefined,
      onHeard: ({ address }) => heard.add(address),
      onPulse: (pulse) => pulses.push(pulse),
      onEnded: (end) => lives.push(end),
    },
    log,
    clock: realClock,
    timings,
  });
  const stop = new AbortController();
  await client.scan(true);
  const run = client.run(stop.signal);
  ends.push(async () => {
    stop.abort();
    await run;
  });
  await until(() => client.adapter === 'poweredOn');
  return { client, lamps, pulses, lives, heard };
}

describe('the keeper of the real radio', () => {
  it('has it back within two seconds each time it is killed while it writes, connects and hears a crowd', async () => {
    // The pauses between kills are shortened, not the way back.
    const { client, lamps, lives } = await setUp(100, { healthyMs: 100, pingMs: 200 });
    const [first, second] = lamps.map(({ address }) => address);
    const times: number[] = [];
    for (let n = 0; n < 5; n += 1) {
      const link = await client.connect(first ?? '', { timeoutMs: 8000 });
      const work = [link.write(ON, ON, ON), client.connect(second ?? '', { timeoutMs: 8000 }), link.write(ON)];
      const settled = Promise.allSettled(work);
      await new Promise((resolve) => setTimeout(resolve, 20 * n));
      const { pid } = client.status();
      process.kill(pid ?? 0, 'SIGKILL');
      const killedAt = performance.now();
      await until(() => client.adapter === 'poweredOn' && client.status().pid !== pid);
      times.push(performance.now() - killedAt);
      for (const one of await settled) {
        if (one.status === 'rejected')
          expect(['radio_restarting', 'link_lost', 'unreachable']).toContain(one.reason.code);
      }
    }
    expect(Math.max(...times), times.map(Math.round).join(' ')).toBeLessThan(2000);
    expect(lives).toHaveLength(5);
  });

  it('does not blame it for a pause of the gateway, though a crowd of adverts has waited in the pipe', async () => {
    const { client, heard, lives, pulses } = await setUp(
      400,
      { pingMs: 100, silenceMs: 1000 },
      { advertisingIntervalMs: 200 },
    );
    await until(() => heard.size > 300);
    const { pid } = client.status();
    // As SIGSTOP: nothing of the gateway runs for three times the radio's patience.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);
    const before = pulses.length;
    await until(() => pulses.length > before + 3);
    expect(lives).toEqual([]);
    expect(client.status()).toMatchObject({ pid, restarts: 0, adapter: 'poweredOn' });
  });

  it('tells when somebody was last heard, and what the radio holds of memory', async () => {
    const { pulses, heard } = await setUp(3, { pingMs: 50 });
    await until(() => heard.size === 3);
    await until(() => pulses.some(({ heardMs }) => heardMs !== undefined));
    const { heardMs, rss, rescans } = pulses.at(-1) ?? { rss: 0, rescans: -1 };
    expect(heardMs).toBeLessThan(1000);
    expect(rescans).toBe(0);
    expect(rss).toBeGreaterThan(20 * MB);
    // Far below the 96 MB at which a radio is replaced.
    expect(rss).toBeLessThan(80 * MB);
  });
});
