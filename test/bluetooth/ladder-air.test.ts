import { afterAll, describe, expect, it } from 'vitest';
import type { LampInput, StartInput } from '../../src/bluetooth/air/messages.ts';
import type { CentralEvents, RadioEnd } from '../../src/bluetooth/central.ts';
import { Ladder, type LadderTimings } from '../../src/bluetooth/ladder.ts';
import { Links } from '../../src/bluetooth/links.ts';
import { RadioClient, type RadioTimings } from '../../src/bluetooth/radio-client.ts';
import { explaining } from '../../src/bluetooth/stuck.ts';
import type { LampPort } from '../../src/lights/port.ts';
import { startAir } from '../support/air.ts';
import { DIST } from '../support/dist.ts';
import { frame } from '../support/frame.ts';
import { keptLog, realClock } from '../support/log.ts';

const PORCH = 'be:ff:20:00:11:22';
const HALL = 'be:ff:20:00:11:33';
const LAMPS: readonly LampInput[] = [PORCH, HALL].map((address) => ({
  address,
  name: 'ELK-BLEDOM',
  family: 'elk-bledom',
}));
const ON = frame('fff3', Uint8Array.from(Buffer.from('7e0004f00001ff00ef', 'hex')), 'request');

/** A hundred times as fast as at home, where the radio's own patience allows it. */
const CLIMB: Partial<LadderTimings> = {
  silenceMs: 2500,
  dropMs: 500,
  freshMs: 1000,
  pauseMs: 1000,
  longestPauseMs: 2000,
  answeredMs: 500,
  heldMs: 10_000,
};
const RADIO: Partial<RadioTimings> = { pingMs: 100, silenceMs: 4000, scanSilenceMs: 600, firstWaitMs: 50 };

const ends: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const end of ends.reverse()) await end();
});

async function until(what: () => boolean, ms = 20_000): Promise<void> {
  const end = performance.now() + ms;
  while (!what()) {
    if (performance.now() > end) throw new Error(`it did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Ladder, links and the real radio, as `lamps.ts` puts them together. */
async function setUp(timings: Partial<LadderTimings> = {}, air: Partial<Omit<StartInput, 'lamps'>> = {}) {
  const virtual = await startAir(LAMPS, { connectionIntervalMs: 0, advertisingIntervalMs: 20, ...air });
  ends.push(() => virtual.stop());
  const { log, lines } = keptLog();
  const lives: RadioEnd[] = [];
  const rungs: string[] = [];
  let adverts = 0;
  const events: CentralEvents = {
    onAdapter: (state) => {
      ladder.adapter(state);
      links.adapterChanged();
    },
    onHeard: ({ address }) => {
      adverts += 1;
      ladder.heard();
      links.heard(address);
    },
    onPulse: (pulse) => ladder.pulse(pulse),
    onSign: (sign) => ladder.sign(sign),
    onEnded: (end) => {
      lives.push(end);
      ladder.ended(end);
    },
  };
  const radio = new RadioClient({
    entry: new URL('bluetooth/radio/main.js', DIST),
    backend: { kind: 'h4', address: virtual.address },
    events,
    log,
    clock: realClock,
    timings: RADIO,
  });
  const links = new Links({ central: radio, maxConnections: 5, idleMs: 60_000, clock: realClock, log });
  const ladder: Ladder = new Ladder({
    clock: realClock,
    log,
    shouldHear: () => LAMPS.some(({ address }) => !links.isLinked(address)),
    busy: () => links.status().links.some(({ busy }) => busy),
    dropLinks: (reason) => links.releaseAll(reason),
    restartRadio: (reason) => radio.restart(reason),
    onChange: () => {
      const { rung } = ladder.status();
      if (rungs.at(-1) !== rung) rungs.push(rung);
    },
    timings: { ...CLIMB, ...timings },
  });
  const stop = new AbortController();
  radio.watch(LAMPS.map(({ address }) => address));
  await radio.scan(true);
  const run = radio.run(stop.signal);
  ends.push(async () => {
    await links.close();
    stop.abort();
    await run;
  });
  const hears = async (ms = 10_000): Promise<void> => {
    const before = adverts;
    await until(() => adverts > before, ms);
  };
  const command = (address: string, ms = 5000): Promise<void> =>
    links.use(address, performance.now() + ms, (link) => link.write(ON));
  const logged = (text: string): number => lines.filter((line) => line.includes(text)).length;
  await hears();
  return { air: virtual, radio, links, ladder, lives, rungs, lines, hears, command, logged };
}

describe.concurrent('the ladder over real noble', () => {
  it('a scan that stops without a word is begun anew by the radio, and nothing else happens', async () => {
    const { air, ladder, radio, hears, command, rungs } = await setUp();
    await command(PORCH);
    const { pid } = radio.status();
    await air.fault({ kind: 'scan-stops' });
    await until(() => ladder.status().scan_restarts === 1);
    await hears();
    await until(() => ladder.status().rung === 'none');
    expect(rungs).toEqual(['scan_restarted', 'none']);
    expect(radio.status()).toMatchObject({ pid, restarts: 0 });
    expect(ladder.status()).toMatchObject({ links_dropped: 0, restarts: 0 });
  });

  it.each(['scan-ignored', 'scan-refused'] as const)(
    'a scan that never hears again (%s) climbs rung by rung, is called stuck, and heals by itself',
    async (kind) => {
      const { air, ladder, radio, links, hears, command, rungs, lines, logged } = await setUp();
      await command(PORCH);
      await air.fault({ kind });
      await air.fault({ kind: 'scan-stops' });
      await until(() => ladder.problem?.code === 'adapter_stuck');
      expect(rungs).toEqual(['scan_restarted', 'links_dropped', 'radio_restarted', 'stuck']);
      expect(ladder.status()).toMatchObject({ links_dropped: 1, rung: 'stuck' });
      expect(ladder.status().scan_restarts).toBeGreaterThan(2);
      expect(links.status().used).toBe(0);
      // It keeps trying, with growing pauses.
      const { restarts } = radio.status();
      await until(() => radio.status().restarts > restarts);
      await air.fault({ kind }, { on: false });
      await hears(15_000);
      await until(() => ladder.problem === undefined);
      expect(ladder.status().rung).toBe('none');
      for (const text of [
        'scan was begun anew',
        'links are dropped',
        'radio is restarted',
        'nothing at all',
        'works again',
      ])
        expect(logged(text), text).toBe(1);
      const warnings = lines.filter((line) => ['warn', 'error'].includes(JSON.parse(line).level));
      expect(warnings.length).toBeLessThanOrEqual(4);
      await command(HALL);
    },
  );

  it('a link in use keeps its lamp while the scan is silent', async () => {
    const { air, ladder, links, command, radio } = await setUp({ answeredMs: 1000, heldMs: 60_000 });
    await command(PORCH);
    await air.fault({ kind: 'scan-ignored' });
    await air.fault({ kind: 'scan-stops' });
    const { pid } = radio.status();
    for (const end = performance.now() + 5000; performance.now() < end; ) {
      await command(PORCH);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(ladder.status()).toMatchObject({ rung: 'scan_restarted', links_dropped: 0 });
    expect(links.isLinked(PORCH)).toBe(true);
    expect(radio.status()).toMatchObject({ pid, restarts: 0 });
  });

  it('a controller that hangs in mid-life climbs as well: what waits fails by adapter_stuck, and it heals when replugged', async () => {
    const { air, ladder, links, command, hears, lives } = await setUp({ silenceMs: 60_000, stuckEnds: 2 });
    await command(PORCH);
    await air.fault({ kind: 'hangs' });
    const port: LampPort = {
      identity: undefined,
      reach: (until, _turn, signal) => links.use(HALL, until, () => Promise.reject(new Error('reached')), signal),
    };
    const lamp = explaining(port, () => ladder.problem);
    const signal = new AbortController().signal;
    await until(() => ladder.problem?.code === 'adapter_stuck', 40_000);
    expect(lives.map(({ code }) => code)).toEqual(['adapter_stuck', 'adapter_stuck']);
    await expect(lamp.reach(performance.now() + 300, () => Promise.resolve(), signal)).rejects.toMatchObject({
      code: 'adapter_stuck',
      hint: expect.stringMatching(/unplug/i),
    });
    await air.fault({ kind: 'hangs' }, { on: false });
    await air.fault({ kind: 'closes-h4' });
    await hears(15_000);
    expect(ladder.problem).toBeUndefined();
    await command(HALL);
  });

  it('an adapter that is unplugged is off and not stuck, and is found again', async () => {
    const { air, ladder, radio, lives, hears, lines } = await setUp();
    await air.fault({ kind: 'refuses-h4' });
    await until(() => radio.adapter === 'poweredOff');
    await until(() => lives.length >= 4);
    expect(ladder.problem).toBeUndefined();
    expect(lives.every(({ code }) => code === 'adapter_off')).toBe(true);
    expect(radio.adapter).toBe('poweredOff');
    const reasons = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'the radio is started again');
    expect(new Set(reasons.map(({ reason }) => reason)).size).toBe(reasons.length);
    await air.fault({ kind: 'refuses-h4' }, { on: false });
    await hears(15_000);
    expect(radio.adapter).toBe('poweredOn');
  });

  it('a stream that is closed once costs one restart', async () => {
    const { air, ladder, radio, hears } = await setUp();
    await air.fault({ kind: 'closes-h4' });
    await until(() => radio.status().restarts === 1);
    await hears();
    expect(ladder.status()).toMatchObject({ rung: 'none', restarts: 0 });
  });
});
