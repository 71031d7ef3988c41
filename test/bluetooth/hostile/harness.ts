import { afterEach } from 'vitest';
import type { LampInput, StartInput } from '../../../src/bluetooth/air/messages.ts';
import type { Heard, Link, Pulse } from '../../../src/bluetooth/central.ts';
import { RadioClient } from '../../../src/bluetooth/radio-client.ts';
import { type AirUnderTest, startAir } from '../../support/air.ts';
import { DIST } from '../../support/dist.ts';
import { frame } from '../../support/frame.ts';
import { keptLog, realClock } from '../../support/log.ts';
import { HOSTILE, WITNESS } from './controller.ts';

/** The lamp that behaves, and the one that does not. */
export const LAMPS: readonly LampInput[] = [
  { address: WITNESS.address, name: 'ELK-BLEDOM', family: 'elk-bledom' },
  { address: HOSTILE.address, name: 'ELK-BLEDOM', family: 'elk-bledom' },
];
export const ON = Buffer.from('7e0004f00001ff00ef', 'hex');

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
export const quiet = (): undefined => undefined;

export async function until(what: string, good: () => boolean, ms: number): Promise<void> {
  const end = performance.now() + ms;
  while (!good()) {
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await sleep(2);
  }
}

/** A real radio process on a real air, and how long it was away each time. */
export async function setUp(options: Partial<Omit<StartInput, 'lamps'>> = {}) {
  const air: AirUnderTest = await startAir(LAMPS, { connectionIntervalMs: 0, advertisingIntervalMs: 20, ...options });
  ends.push(() => air.stop());
  const heard: Heard[] = [];
  const pulses: Pulse[] = [];
  const away: number[] = [];
  let since: number | undefined = performance.now();
  const { log, lines } = keptLog();
  const client = new RadioClient({
    entry: new URL('bluetooth/radio/main.js', DIST),
    backend: { kind: 'h4', address: air.address },
    events: {
      onAdapter: (state) => {
        if (state === 'poweredOn' && since !== undefined) away.push(performance.now() - since);
        since = state === 'poweredOn' ? undefined : (since ?? performance.now());
      },
      onHeard: (one) => heard.push(one),
      onPulse: (pulse) => pulses.push(pulse),
    },
    log,
    clock: realClock,
    timings: { pingMs: 200 },
  });
  const stop = new AbortController();
  const run = client.run(stop.signal);
  ends.push(async () => {
    stop.abort();
    await run;
  });
  client.watch(LAMPS.map((lamp) => lamp.address));
  await client.scan(true);
  await until('the adapter is on', () => client.adapter === 'poweredOn', 10_000);
  away.length = 0;
  return { air, client, heard, pulses, away, lines };
}

/** Lines that a person is shown, each cause by its sentence. */
export function said(lines: readonly string[]): Map<string, number> {
  const causes = new Map<string, number>();
  for (const line of lines) {
    const { level, msg, reason } = JSON.parse(line);
    if (typeof level !== 'number' || level < 30) continue;
    const cause = `${msg}: ${String(reason).replaceAll(/\d+/g, 'n')}`;
    causes.set(cause, (causes.get(cause) ?? 0) + 1);
  }
  return causes;
}

/** The lamp obeys one write, over the link that there is, or over a new one. Returns the link. */
export async function obey(client: RadioClient, address: string, before?: Link): Promise<Link> {
  const end = performance.now() + 8000;
  for (let link = before; ; link = undefined) {
    try {
      link ??= await client.connect(address, { timeoutMs: 3000 });
      await link.write(frame('fff3', ON, 'request'));
      return link;
    } catch (thrown) {
      if (performance.now() > end) throw thrown;
      await sleep(20);
    }
  }
}
