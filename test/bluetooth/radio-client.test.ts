import { afterEach, describe, expect, it } from 'vitest';
import type { AdapterState, Heard, Pulse, RadioEnd, Sign } from '../../src/bluetooth/central.ts';
import { RadioClient, type RadioTimings } from '../../src/bluetooth/radio-client.ts';
import { frame } from '../support/frame.ts';
import { keptLog, realClock } from '../support/log.ts';

const ENTRY = new URL('../support/fake-radio.mjs', import.meta.url);
const ADDRESS = 'be:ff:20:00:11:22';
const FAST: Partial<RadioTimings> = {
  pingMs: 50,
  silenceMs: 20_000,
  stopMs: 300,
  healthyMs: 60_000,
  firstWaitMs: 30,
  longestWaitMs: 120,
  logMs: 0,
};

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

function radio(way: string, timings: Partial<RadioTimings> = FAST) {
  const states: AdapterState[] = [];
  const heard: Heard[] = [];
  const pulses: Pulse[] = [];
  const signs: Sign[] = [];
  const lives: RadioEnd[] = [];
  const { log, lines } = keptLog();
  const client = new RadioClient({
    entry: ENTRY,
    backend: { kind: 'h4', address: way },
    events: {
      onAdapter: (state) => states.push(state),
      onHeard: (one) => heard.push(one),
      onPulse: (one) => pulses.push(one),
      onSign: (one) => signs.push(one),
      onEnded: (one) => lives.push(one),
    },
    log,
    clock: realClock,
    timings,
  });
  const stop = new AbortController();
  const run = client.run(stop.signal);
  const end = async (): Promise<void> => {
    stop.abort();
    await run;
  };
  ends.push(end);
  return { client, states, heard, pulses, signs, lives, lines, end };
}

async function until(what: () => boolean, ms = 15_000): Promise<void> {
  const end = performance.now() + ms;
  while (!what()) {
    if (performance.now() > end) throw new Error(`it did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const alive = (pid: number | undefined): boolean => {
  try {
    return pid !== undefined && process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('a radio that is well', () => {
  it('connects, writes, reads, subscribes and lets go', async () => {
    const { client } = radio('well');
    await until(() => client.adapter === 'poweredOn');
    const link = await client.connect(ADDRESS, { timeoutMs: 1000 });
    const values: string[] = [];
    await link.subscribe('fff4', (bytes) => values.push(Buffer.from(bytes).toString('hex')));
    await link.write(frame('fff3', Uint8Array.of(0x7e, 0xef), 'request'));
    await link.write(frame('fff3', new Uint8Array([9, 1, 2, 9]).subarray(1, 3), 'command'));
    expect(values).toEqual(['7eef01', '010202']);
    expect([...(await link.read('fff3'))]).toEqual([1, 2]);
    await link.disconnect();
    expect(link.gone.aborted).toBe(true);
    await expect(link.write(frame('fff3', Uint8Array.of(1), 'request'))).rejects.toMatchObject({ code: 'link_lost' });
  });

  it('refuses what the lamp does not have before anything is sent', async () => {
    const { client } = radio('well');
    await until(() => client.adapter === 'poweredOn');
    const link = await client.connect(ADDRESS, { timeoutMs: 1000 });
    await expect(link.write(frame('ffd9', Uint8Array.of(1), 'request'))).rejects.toMatchObject({ code: 'unsupported' });
    await expect(link.write(frame('fff4', Uint8Array.of(1), 'request'))).rejects.toMatchObject({ code: 'unsupported' });
    await expect(link.subscribe('fff3', () => undefined)).rejects.toMatchObject({ code: 'unsupported' });
    await expect(link.write(frame('fff3', new Uint8Array(513), 'request'))).rejects.toMatchObject({
      code: 'unsupported',
    });
  });

  it("passes on the radio's codes", async () => {
    const { client } = radio('well');
    await until(() => client.adapter === 'poweredOn');
    await expect(client.connect('de:ad:00:00:00:01', { timeoutMs: 500 })).rejects.toMatchObject({
      code: 'unreachable',
    });
  });

  it('cancels a connect when its signal aborts', async () => {
    const { client } = radio('well');
    await until(() => client.adapter === 'poweredOn');
    const stop = new AbortController();
    const connecting = client.connect('51:00:00:00:00:01', { timeoutMs: 60_000, signal: stop.signal });
    setTimeout(() => stop.abort(), 20);
    await expect(connecting).rejects.toMatchObject({ code: 'unreachable' });
  });

  it('hands on adverts with their bytes', async () => {
    const { client, heard } = radio('well');
    await client.scan(true);
    await until(() => heard.length > 0);
    expect(heard[0]).toMatchObject({ address: ADDRESS, localName: 'ELK-BLEDOM', rssi: -60 });
    expect([...(heard[0]?.manufacturerData ?? [])]).toEqual([0xff, 0xee, 0x01]);
  });

  it('stops within its time, and is killed when it will not', async () => {
    const good = radio('well');
    await until(() => good.client.adapter === 'poweredOn');
    const pid = good.client.status().pid;
    await good.end();
    expect(alive(pid)).toBe(false);
    expect(good.client.status()).toMatchObject({ running: false, restarts: 0, adapter: 'unknown' });
    const bad = radio('stubborn');
    await until(() => bad.client.adapter === 'poweredOn');
    const began = performance.now();
    await bad.end();
    expect(performance.now() - began).toBeLessThan(2000);
  });
});

describe('a radio that fails', () => {
  it('is started again for ever, with growing waits', async () => {
    const { client, lines } = radio('exits');
    await until(() => client.status().restarts >= 4, 8000);
    expect(client.status().lastReason).toContain('3');
    const waits = lines.map((line) => JSON.parse(line).wait_ms).filter((wait) => wait !== undefined);
    expect(waits.slice(0, 4)).toEqual([30, 60, 120, 120]);
  });

  it('is started again at once when it had been well', async () => {
    const { client, lines } = radio('well', { ...FAST, healthyMs: 100 });
    await until(() => client.adapter === 'poweredOn');
    await new Promise((resolve) => setTimeout(resolve, 150));
    process.kill(client.status().pid ?? 0, 'SIGKILL');
    await until(() => client.status().restarts === 1 && client.adapter === 'poweredOn');
    expect(lines.some((line) => line.includes('"wait_ms":0'))).toBe(true);
  });

  it('rejects what was pending and ends its links at once', async () => {
    const { client } = radio('crashes-on-write');
    await until(() => client.adapter === 'poweredOn');
    const link = await client.connect(ADDRESS, { timeoutMs: 1000 });
    const hanging = client.connect('51:00:00:00:00:01', { timeoutMs: 60_000 });
    const results = await Promise.allSettled([link.write(frame('fff3', Uint8Array.of(1), 'request')), hanging]);
    const codes = results.map((one) => (one.status === 'rejected' ? one.reason.code : 'no failure'));
    expect(codes).toEqual(['radio_restarting', 'radio_restarting']);
    expect(link.gone.aborted).toBe(true);
    expect(link.gone.reason).toMatchObject({ code: 'link_lost' });
    await until(() => client.status().restarts === 1 && client.adapter === 'poweredOn');
    await expect(client.connect(ADDRESS, { timeoutMs: 1000 })).resolves.toBeDefined();
  });

  it('is killed when it is silent, even when its thread is busy', async () => {
    for (const way of ['mute', 'busy']) {
      const { client, end } = radio(way, { ...FAST, silenceMs: 700 });
      await until(() => client.status().restarts >= 1);
      expect(client.status().lastReason).toContain('silent');
      await end();
    }
  });

  it('that is stopped by a signal is noticed, killed and replaced', async () => {
    const { client } = radio('well', { ...FAST, silenceMs: 500 });
    await until(() => client.adapter === 'poweredOn');
    const { pid } = client.status();
    process.kill(pid ?? 0, 'SIGSTOP');
    await until(() => client.status().restarts === 1 && client.adapter === 'poweredOn');
    expect(client.status().lastReason).toContain('silent');
    expect(client.status().pid).not.toBe(pid);
    expect(alive(pid)).toBe(false);
  });

  it('tells how it ended: by whose fault, and whether a connection was being made', async () => {
    const off = radio('off');
    await until(() => off.lives.length >= 2);
    expect(off.lives[0]).toEqual({ reason: 'the adapter is off', code: 'adapter_off', connecting: false });
    // Until the next life knows better, an adapter that is not there is off, and not "being restarted".
    expect(off.states).toContain('poweredOff');
    await off.end();
    const { client, lives } = radio('well');
    await until(() => client.adapter === 'poweredOn');
    const connecting = client.connect('51:00:00:00:00:01', { timeoutMs: 60_000 }).catch(() => undefined);
    process.kill(client.status().pid ?? 0, 'SIGKILL');
    await until(() => lives.length === 1);
    expect(lives[0]).toEqual({ reason: 'it got SIGKILL', connecting: true });
    await connecting;
  });

  it('is not started at once again and again when its controller never answers, however long each life takes', async () => {
    const { client, lines } = radio('stuck', { ...FAST, healthyMs: 0 });
    await until(() => client.status().restarts >= 4);
    const waits = lines.map((line) => JSON.parse(line).wait_ms).filter((wait) => wait !== undefined);
    expect(waits.slice(0, 4)).toEqual([30, 60, 120, 120]);
  });

  it('says the same at most once a minute, and then how often', async () => {
    const { client, lines, end } = radio('exits', { ...FAST, longestWaitMs: 30, logMs: 600 });
    await until(() => client.status().restarts >= 3);
    const restarts = (): Record<string, unknown>[] =>
      lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'the radio is started again');
    expect(restarts()).toHaveLength(1);
    await until(() => restarts().length === 2);
    expect(restarts()[1]?.['swallowed']).toBeGreaterThanOrEqual(2);
    await end();
    const noisy = radio('notes', { ...FAST, logMs: 60_000 });
    await until(() => noisy.lines.some((line) => line.includes('is odd')));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(noisy.lines.filter((line) => line.includes('is odd'))).toHaveLength(1);
  });

  it('is restarted on demand in good order, and for the reason given', async () => {
    const { client, lives, signs } = radio('well');
    await until(() => client.adapter === 'poweredOn');
    const link = await client.connect(ADDRESS, { timeoutMs: 1000 });
    await link.write(frame('fff3', Uint8Array.of(1), 'request'));
    await client.connect('de:ad:00:00:00:01', { timeoutMs: 500 }).catch(() => undefined);
    expect(signs).toEqual(['linked', 'answered', 'answered']);
    client.restart('its memory had grown');
    await until(() => lives.length === 1 && client.adapter === 'poweredOn');
    expect(lives[0]).toEqual({ reason: 'its memory had grown', connecting: false });
    expect(link.gone.aborted).toBe(true);
    await expect(client.connect(ADDRESS, { timeoutMs: 1000 })).resolves.toBeDefined();
  });

  it('gives a sign of life with every ping, with what it holds of memory', async () => {
    const { client, pulses } = radio('well');
    await until(() => pulses.length >= 2);
    expect(pulses[0]).toEqual({ rescans: 0, rss: 50 * 1024 * 1024 });
    expect(client.status().pulse).toEqual(pulses.at(-1));
  });

  it('is not blamed for a pause of the gateway itself', async () => {
    const { client } = radio('well', { ...FAST, silenceMs: 1000 });
    await until(() => client.adapter === 'poweredOn');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(client.status()).toMatchObject({ restarts: 0, adapter: 'poweredOn' });
  });

  it('scans again after a restart, for the same addresses', async () => {
    const { client, lines, heard } = radio('well');
    client.watch([ADDRESS]);
    await client.scan(true);
    await until(() => heard.length === 1);
    process.kill(client.status().pid ?? 0, 'SIGKILL');
    await until(() => heard.length === 2);
    expect(lines.filter((line) => line.includes(`listen true ${ADDRESS}`)).length).toBeGreaterThanOrEqual(2);
  });

  it('tells a lost link from a lost radio', async () => {
    const { client } = radio('loses-on-write');
    await until(() => client.adapter === 'poweredOn');
    const link = await client.connect(ADDRESS, { timeoutMs: 1000 });
    link.write(frame('fff3', Uint8Array.of(1), 'request')).catch(() => undefined);
    await until(() => link.gone.aborted);
    expect(client.status().restarts).toBe(0);
  });

  it('says why it died', async () => {
    const { client } = radio('dies');
    await until(() => client.status().restarts >= 1);
    expect(client.status().lastReason).toBe('the controller closed its connection');
  });

  it('has what it prints bounded and kept from the terminal', async () => {
    const { client, lines } = radio('prints');
    await until(() => client.adapter === 'poweredOn' && lines.some((line) => line.includes('red')));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(lines.join('').length).toBeLessThan(20_000);
    expect(lines.join('')).not.toContain('u001b');
  });
});

describe('a radio that is hostile', () => {
  const LONG = 'ab'.repeat(513);
  const heard = { is: 'heard', address: ADDRESS, rssi: -60, connectable: true, serviceUuids: [] };
  it.each([
    ['no kind', {}],
    ['an unknown kind', { is: 'shell', command: 'rm' }],
    ['a name that is too long', { ...heard, localName: 'x'.repeat(249) }],
    ['an address that is none', { ...heard, address: 'porch' }],
    ['an upper-case address', { ...heard, address: 'BE:FF:20:00:11:22' }],
    ['a wrong UUID', { ...heard, serviceUuids: ['FFF0'] }],
    ['too many UUIDs', { ...heard, serviceUuids: new Array(33).fill('fff0') }],
    ['bytes that are too many', { ...heard, manufacturerData: LONG }],
    ['half a byte', { ...heard, manufacturerData: 'abc' }],
    ['members of its own', { ...heard, token: 'x' }],
    ['an adapter state of its own', { is: 'adapter', state: 'on fire' }],
    ['a value that is too long', { is: 'notified', link: 1, at: 0, hex: LONG }],
    ['a fraction for a link', { is: 'gone', link: 0.5, reason: '' }],
    ['null', null],
    ['a string', 'adapter'],
    ['a list', [heard]],
  ])('is ended for %s', async (_, message) => {
    const { client, end } = radio(`says:${JSON.stringify(message)}`);
    await until(() => client.status().restarts >= 1);
    expect(client.status().lastReason).toContain('not one');
    await end();
  });

  it('is ended for a flood, for an answer to another question, and for a link number used twice', async () => {
    const flood = radio('floods');
    await until(() => flood.client.status().restarts >= 1);
    expect(flood.client.status().lastReason).toContain('flooded');
    await flood.end();

    const other = radio('answers-another-question');
    await until(() => other.client.adapter === 'poweredOn');
    const link = await other.client.connect(ADDRESS, { timeoutMs: 1000 });
    await expect(link.write(frame('fff3', Uint8Array.of(1), 'request'))).rejects.toMatchObject({
      code: 'radio_restarting',
    });

    const twice = radio('twice');
    await until(() => twice.client.adapter === 'poweredOn');
    await twice.client.connect(ADDRESS, { timeoutMs: 1000 });
    await expect(twice.client.connect(ADDRESS, { timeoutMs: 1000 })).rejects.toMatchObject({
      code: 'radio_restarting',
    });
  });

  it('is ended for a line that never ends, before it fills the memory, and for what is not JSON', async () => {
    const before = process.memoryUsage.rss();
    const endless = radio('endless');
    await until(() => endless.client.status().restarts >= 3);
    expect(endless.client.status().lastReason).toContain('a line that is too long');
    // Three lives wrote as fast as the pipe takes it; a channel without bounds held all of it.
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024);
    await endless.end();
    const other = radio('not-json');
    await until(() => other.client.status().restarts >= 1);
    expect(other.client.status().lastReason).toContain('not JSON');
  });

  it('that does not read what it is told is ended, though it goes on talking', async () => {
    const { client } = radio('deaf');
    await until(() => client.adapter === 'poweredOn');
    const addresses = Array.from({ length: 1000 }, (_, n) => `be:ff:20:00:${n >> 8}0:${(n & 255).toString(16)}`);
    for (let n = 0; n < 100 && client.status().restarts === 0; n += 1) {
      client.watch(addresses);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await until(() => client.status().restarts >= 1);
    expect(client.status().lastReason).toContain('does not read');
  });

  it('cannot make answers out of nothing', async () => {
    const { client } = radio('says:{"is":"done","id":424242}');
    await until(() => client.adapter === 'poweredOn');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(client.status().restarts).toBe(0);
  });
});

describe('before the radio is there', () => {
  it('refuses to connect instead of waiting', async () => {
    const { log } = keptLog();
    const client = new RadioClient({
      entry: ENTRY,
      backend: { kind: 'h4', address: 'well' },
      events: { onAdapter: () => undefined, onHeard: () => undefined },
      log,
      clock: realClock,
    });
    await expect(client.connect(ADDRESS, { timeoutMs: 100 })).rejects.toMatchObject({ code: 'radio_restarting' });
  });
});
