import { describe, expect, it } from 'vitest';
import type { LadderStatus } from '../src/bluetooth/ladder.ts';
import type { RadioStatus } from '../src/bluetooth/radio-client.ts';
import type { Trouble } from '../src/bluetooth/stuck.ts';
import { renderStatus, Status } from '../src/cli/status.ts';
import type { HomeStatus } from '../src/oauth/home/view.ts';
import { StatusBoard, type StatusParts } from '../src/status.ts';

const WELL: RadioStatus = {
  adapter: 'poweredOn',
  running: true,
  pid: 4711,
  restarts: 0,
  pulse: { heardMs: 1700, rescans: 2, rss: 49.4 * 1024 * 1024 },
};
const CALM: LadderStatus = { rung: 'none', scan_restarts: 2, links_dropped: 0, restarts: 0, recycled: 0 };
const SILENT: Trouble = { code: 'adapter_stuck', message: 'It hears nothing at all.', hint: 'Is a lamp powered?' };

const BERLIN: HomeStatus = {
  latitude: 52.52,
  longitude: 13.41,
  time_zone: 'Europe/Berlin',
  locality: 'Berlin',
  country: 'DE',
  source: 'userinfo',
};

function boardOf(
  radio: RadioStatus,
  ladder: LadderStatus = CALM,
  problem?: Trouble,
  home: HomeStatus = BERLIN,
  publishStatus: (status: object) => void = () => undefined,
): StatusBoard {
  const since = '2026-11-01T00:00:00.000Z';
  const parts = {
    config: { gateway: { id: 'porch-pi' }, mqtt: { url: 'mqtt://localhost' } },
    version: '1.0.0',
    clock: { monotonic: () => 5000, wall: () => Date.parse(since) },
    session: { status: { state: 'authorized', since } },
    trust: { trusted: true, why: 'the clock is set' },
    bridge: { connection: { connected: true, protocol: '5', since }, counts: {}, publishStatus },
    home: { status: () => home },
    lamps: {
      view: () => [],
      links: { status: () => ({ used: 3, free: 2, max: 5, waiting: 1, links: [] }) },
      radio: { status: () => radio },
      ladder: { status: () => ladder, problem },
    },
    road: { counts: {} },
  };
  // The board reads these members and no others.
  return new StatusBoard(parts as unknown as StatusParts);
}

function statusOf(...how: Parameters<typeof boardOf>) {
  const status = boardOf(...how).status();
  return { status, words: renderStatus(Status.parse(JSON.parse(JSON.stringify(status))), false) };
}

describe('the radio in the status', () => {
  it('shows how well the adapter hears, the links in use and free, and what was done against trouble', () => {
    const { status, words } = statusOf(WELL);
    expect(status.healthy).toBe(true);
    expect(status.radio).toEqual({
      state: 'running',
      adapter: 'poweredOn',
      restarts: 0,
      pid: 4711,
      heard_s: 2,
      rescans: 2,
      memory_mb: 49,
      ladder: CALM,
    });
    expect(status.links).toEqual({ used: 3, free: 2, max: 5, waiting: 1 });
    expect(words).toContain('the adapter is on, heard somebody 2 s ago');
    expect(words).toContain('3 of 5 in use, 2 free, 1 lamp waits for one');
    expect(words).not.toContain('restart');
  });

  it('is not healthy while the adapter is stuck, though the radio runs and the adapter is on', () => {
    const ladder: LadderStatus = { ...CALM, rung: 'stuck', restarts: 4, stuck_since: '2026-11-01T10:20:30.000Z' };
    const { status, words } = statusOf({ ...WELL, restarts: 4, lastReason: 'nothing was heard' }, ladder, SILENT);
    expect(status.healthy).toBe(false);
    expect(status.radio.problem).toEqual(SILENT);
    expect(words).toContain('stuck, and tried again and again, since 2026-11-01 10:20 UTC');
    expect(words).toContain('4 restarts, last: nothing was heard');
    expect(words).toContain('It hears nothing at all.');
    expect(words).toContain('radio: Is a lamp powered?');
  });

  it.each([
    ['poweredOff', true, 'adapter_off', /plug it in/i],
    ['unauthorized', true, 'adapter_off', /CAP_NET_RAW/],
    ['unsupported', true, 'adapter_off', /Low Energy/],
    ['unknown', false, 'radio_restarting', /./],
  ] as const)('says what an adapter that is %s needs', (adapter, running, code, hint) => {
    const { status, words } = statusOf({ adapter, running, restarts: 1, lastReason: 'it got SIGKILL' });
    expect(status.healthy).toBe(false);
    expect(status.radio.problem).toMatchObject({ code, hint: expect.stringMatching(hint) });
    expect(words).toContain('1 restart, last: it got SIGKILL');
  });
});

describe('the home in the status', () => {
  const shown = (home: HomeStatus): string => statusOf(WELL, CALM, undefined, home).words;

  it('is about where it is, and where that was read', () => {
    expect(shown(BERLIN)).toMatch(/home +Berlin, DE at 52\.52, 13\.41; time zone Europe\/Berlin; read from .*userinfo/);
    expect(shown({ latitude: 52.52, longitude: 13.41, time_zone: 'Europe/Berlin', source: 'configuration' })).toMatch(
      /home +52\.52, 13\.41; time zone Europe\/Berlin; as configured/,
    );
  });

  it('says what is missing, and why and what to do where something went wrong', () => {
    const nowhere: HomeStatus = {
      time_zone: 'UTC',
      source: 'none',
      missing: ['latitude', 'longitude', 'time_zone'],
      problem: { code: 'server_refused', message: 'The server refused.', hint: 'Ask for the scope address.' },
    };
    const { words, status } = statusOf(WELL, CALM, undefined, nowhere);
    expect(words).toMatch(/home +not known; time zone UTC \(this machine's\): The server refused\./);
    expect(words).toContain('home: Ask for the scope address.');
    // Lamps obey all the same.
    expect(status.healthy).toBe(true);
    const town: HomeStatus = {
      time_zone: 'Europe/Berlin',
      locality: 'Berlin',
      source: 'id_token',
      missing: ['latitude', 'longitude'],
    };
    expect(shown(town)).toMatch(/home +Berlin; time zone Europe\/Berlin; read from .*id_token; no coordinates known/);
  });

  it('is shown to people at this machine and never published', async () => {
    const published: object[] = [];
    const board = boardOf(WELL, CALM, undefined, BERLIN, (status) => void published.push(status));
    const controller = new AbortController();
    const ended = board.run(controller.signal);
    controller.abort();
    await ended;
    expect(published).toHaveLength(1);
    expect(published[0]).toHaveProperty('authorization');
    expect(published[0]).not.toHaveProperty('home');
    expect(JSON.stringify(published)).not.toMatch(/52\.52|Berlin/);
    expect(board.status().home).toEqual(BERLIN);
  });
});
