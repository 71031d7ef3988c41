import { describe, expect, it } from 'vitest';
import type { LadderStatus } from '../src/bluetooth/ladder.ts';
import type { RadioStatus } from '../src/bluetooth/radio-client.ts';
import type { Trouble } from '../src/bluetooth/stuck.ts';
import { renderStatus, Status } from '../src/cli/status.ts';
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

function statusOf(radio: RadioStatus, ladder: LadderStatus = CALM, problem?: Trouble) {
  const since = '2026-11-01T00:00:00.000Z';
  const parts = {
    config: { gateway: { id: 'porch-pi' }, mqtt: { url: 'mqtt://localhost' } },
    version: '1.0.0',
    clock: { monotonic: () => 5000, wall: () => Date.parse(since) },
    session: { status: { state: 'authorized', since } },
    trust: { trusted: true, why: 'the clock is set' },
    bridge: { connection: { connected: true, protocol: '5', since }, counts: {}, publishStatus: () => undefined },
    lamps: {
      view: () => [],
      links: { status: () => ({ used: 3, free: 2, max: 5, waiting: 1, links: [] }) },
      radio: { status: () => radio },
      ladder: { status: () => ladder, problem },
    },
    road: { counts: {} },
  };
  // The board reads these members and no others.
  const status = new StatusBoard(parts as unknown as StatusParts).status();
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
