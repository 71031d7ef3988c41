import { afterEach, describe, expect, it } from 'vitest';
import type { Heard } from '../src/bluetooth/central.ts';
import { Lamps } from '../src/lamps.ts';
import { keptLog, realClock } from './support/log.ts';

const ADDRESS = 'be:ff:20:00:11:22';
const entries = { radio: new URL('support/fake-radio.mjs', import.meta.url), air: new URL('file:///nowhere') };

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

/** Lamps over a radio that is a script: it says of each listening to whom it listens, and then hears one lamp. */
async function running() {
  const { log, lines } = keptLog();
  const online: boolean[] = [];
  const lamps = await Lamps.open({
    config: {
      bluetooth: {
        backend: 'h4',
        h4: 'plain',
        adapter: 'hci0',
        max_connections: 5,
        idle_disconnect: 120_000,
        virtual: { lights: 0, connection_interval: 15 },
      },
      lights: [{ id: 'porch', name: 'Porch', address: ADDRESS }],
      groups: [],
      scenes: [],
    },
    entries,
    clock: realClock,
    log,
    onAvailability: (_, is) => online.push(is),
  });
  const stop = new AbortController();
  const run = lamps.run(stop.signal);
  ends.push(async () => {
    await lamps.close();
    stop.abort();
    await run;
  });
  // The radio's words; the log says each of them once a minute.
  const listens = (): string[] => lines.flatMap((line) => /listen (?:true|false) ([^"]*)/.exec(line)?.[1] ?? []);
  await expect.poll(listens).toEqual([ADDRESS]);
  const watched: (readonly string[] | undefined)[] = [];
  const watch = lamps.radio.watch.bind(lamps.radio);
  lamps.radio.watch = (addresses) => {
    watched.push(addresses);
    watch(addresses);
  };
  return { lamps, listens, watched, online };
}

describe('a scan', () => {
  it('makes the radio listen to everyone for as long as anybody scans, and the lamps are served meanwhile', async () => {
    const { lamps, listens, watched, online } = await running();
    const heard: Heard[][] = [[], []];
    const stops = heard.map((all) => lamps.scan((one) => all.push(one)));
    await expect.poll(() => heard.map((all) => all.length)).toEqual([1, 1]);
    expect(listens()).toEqual([ADDRESS, 'all']);
    expect(lamps.describe(heard[0]?.[0] ?? expect.fail())).toMatchObject({ configured: 'porch', family: 'elk-bledom' });
    expect(lamps.view()).toMatchObject([{ id: 'porch', available: true, rssi: -60, family: 'elk-bledom' }]);
    expect(online).toEqual([true]);
    expect(Date.now() - Date.parse(lamps.view()[0]?.seen_at ?? '')).toBeLessThan(5000);

    stops[0]?.();
    stops[0]?.();
    expect(watched).toEqual([undefined]);
    const before = lamps.view()[0]?.seen_at;
    stops[1]?.();
    expect(watched).toEqual([undefined, [ADDRESS]]);
    await expect.poll(() => lamps.view()[0]?.seen_at).not.toBe(before);
    // What the radio hears for the lamps is no longer told to those who have stopped.
    expect(heard.map((all) => all.length)).toEqual([1, 1]);
  });
});

describe('forget', () => {
  it('knows lamps by their ids only', async () => {
    const { lamps } = await running();
    expect(await lamps.forget('porch')).toBe(false);
    expect(await lamps.forget('prch')).toBeUndefined();
    expect(await lamps.forget(ADDRESS)).toBeUndefined();
  });
});
