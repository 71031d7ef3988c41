import { describe, expect, test } from 'vitest';
import { isWithin, parseSpan, WallClock } from '../../src/access/hours.ts';
import type { PolicyOptions } from '../../src/access/policy.ts';
import type { TokenPrincipal } from '../../src/access/token.ts';
import { PorchlightError } from '../../src/errors.ts';
import type { Command } from '../../src/lights/command.ts';
import { FakeClock, OWNER, PHONE, policyOf } from './fixtures.ts';

const HOUR = 3_600_000;
const principal: TokenPrincipal = {
  by: 'owner',
  subject: OWNER,
  clientId: PHONE,
  scopes: ['lights:control'],
  expiresAt: Number.POSITIVE_INFINITY,
  authorizationDetails: [],
};
const on: Command = {
  kind: 'lights',
  target: 'porch',
  change: { state: 'ON' },
  credential: { kind: 'bearer', token: 't' },
  receivedAt: 0,
  retained: false,
};

/** Until when it is allowed (wall-clock ms), with rows that each have these hours; undefined: it is not. */
function until(at: string, timeZone: string | undefined, ...rows: string[][]): number | undefined {
  const clock = new FakeClock();
  clock.epoch = Date.parse(at);
  const policy = policyOf(clock, {
    rows: rows.map((hours) => ({ hours })),
    timeZone: () => timeZone,
    maxAgeMs: 24 * HOUR,
  });
  try {
    return policy.decide(principal, on);
  } catch (thrown) {
    if (thrown instanceof PorchlightError && thrown.code === 'policy') return undefined;
    throw thrown;
  }
}
const iso = (wall: number | undefined): string | undefined =>
  wall === undefined || !Number.isFinite(wall) ? String(wall) : new Date(wall).toISOString();

describe('spans', () => {
  test.each([
    ['18:00-23:30', { from: 1080, to: 1410 }],
    ['22:00-06:00', { from: 1320, to: 360 }],
    ['00:00-24:00', { from: 0, to: 1440 }],
    ['00:00-00:01', { from: 0, to: 1 }],
    ['23:59-00:00', { from: 1439, to: 0 }],
    ['24:00-06:00', undefined],
    ['18:00-18:00', undefined],
    ['18:00-24:01', undefined],
    ['18:60-19:00', undefined],
    ['8:00-9:00', undefined],
    ['18:00 - 19:00', undefined],
    ['18:00-19:00 ', undefined],
    ['\u0661\u0668:00-19:00', undefined],
    ['', undefined],
  ])('%j', (text, span) => {
    expect(parseSpan(text)).toEqual(span);
  });

  test('the first minute is in it, the last is not; it may pass midnight', () => {
    const spans = [{ from: 1320, to: 360 }];
    expect([1319, 1320, 1439, 0, 359, 360].map((minute) => isWithin(spans, minute))).toEqual([
      false,
      true,
      true,
      true,
      true,
      false,
    ]);
  });
});

describe('by the clock on the wall of the home', () => {
  test.each([
    // [now, zone, spans, until]
    ['2027-01-15T17:59:59.999Z', 'UTC', [['18:00-23:30']], undefined],
    ['2027-01-15T18:00:00.000Z', 'UTC', [['18:00-23:30']], '2027-01-15T23:30:00.000Z'],
    ['2027-01-15T23:29:59.999Z', 'UTC', [['18:00-23:30']], '2027-01-15T23:30:00.000Z'],
    ['2027-01-15T23:30:00.000Z', 'UTC', [['18:00-23:30']], undefined],
    ['2027-01-15T23:30:00.000Z', 'UTC', [['22:00-06:00']], '2027-01-16T06:00:00.000Z'],
    ['2027-01-16T05:59:00.000Z', 'UTC', [['22:00-06:00']], '2027-01-16T06:00:00.000Z'],
    ['2027-01-15T18:29:59.000Z', 'Asia/Kolkata', [['00:00-01:00']], undefined],
    ['2027-01-15T18:30:00.000Z', 'Asia/Kolkata', [['00:00-01:00']], '2027-01-15T19:30:00.000Z'],
    ['2027-01-15T18:15:00.000Z', 'Asia/Kathmandu', [['00:00-01:00']], '2027-01-15T19:15:00.000Z'],
    ['2027-01-15T10:00:00.000Z', 'Pacific/Kiritimati', [['00:00-01:00']], '2027-01-15T11:00:00.000Z'],
    ['2027-01-15T12:00:00.000Z', 'Pacific/Marquesas', [['02:30-02:31']], '2027-01-15T12:01:00.000Z'],
    // Spans that touch or overlap go on into each other, in one row or in several.
    ['2027-01-15T18:00:00.000Z', 'UTC', [['18:00-19:00', '19:00-20:00']], '2027-01-15T20:00:00.000Z'],
    ['2027-01-15T18:00:00.000Z', 'UTC', [['18:00-19:00'], ['18:30-21:00']], '2027-01-15T21:00:00.000Z'],
    ['2027-01-15T18:00:00.000Z', 'UTC', [['18:00-19:00'], ['19:01-21:00']], '2027-01-15T19:00:00.000Z'],
    // For longer than anybody may ask.
    ['2027-01-15T18:00:00.000Z', 'UTC', [['00:00-24:00']], 'Infinity'],
    ['2027-01-15T18:00:00.000Z', 'UTC', [['06:00-18:01', '18:01-06:00']], 'Infinity'],
    ['2027-01-15T18:00:00.000Z', 'UTC', [['06:00-18:01'], ['18:01-06:00']], 'Infinity'],
  ] as const)('%s in %s, %j: until %s', (at, zone, rows, end) => {
    expect(iso(until(at, zone, ...rows.map((hours) => [...hours])))).toBe(String(end));
  });

  test('a row without hours beside one with hours: no end', () => {
    const clock = new FakeClock();
    const policy = policyOf(clock, { rows: [{ hours: ['00:00-00:01'] }, { actions: ['on'] }] });
    expect(policy.decide(principal, on)).toBe(Number.POSITIVE_INFINITY);
  });

  test('a command of several actions ends with the first that ends', () => {
    const clock = new FakeClock();
    clock.epoch = Date.parse('2027-01-15T18:00:00Z');
    const rows = [
      { actions: ['on'], hours: ['17:00-20:00'] },
      { actions: ['brightness'], hours: ['17:00-19:00'] },
    ] as const;
    const policy = policyOf(clock, { rows, maxAgeMs: 24 * HOUR });
    expect(iso(policy.decide(principal, { ...on, change: { state: 'ON', brightness: 3 } }))).toBe(
      '2027-01-15T19:00:00.000Z',
    );
  });

  test('of the table and the token the first end counts', () => {
    const clock = new FakeClock();
    clock.epoch = Date.parse('2027-01-15T18:00:00Z');
    const narrowed = (hours: string): TokenPrincipal => ({
      ...principal,
      authorizationDetails: [{ type: 'porchlight', hours: [hours] }],
    });
    const end = (rows: PolicyOptions['rows'], hours: string): string | undefined =>
      iso(policyOf(clock, { rows, maxAgeMs: 24 * HOUR }).decide(narrowed(hours), on));
    expect(end(undefined, '17:00-19:00')).toBe('2027-01-15T19:00:00.000Z');
    expect(end([{ hours: ['17:00-20:00'] }], '17:00-19:00')).toBe('2027-01-15T19:00:00.000Z');
    expect(end([{ hours: ['17:00-20:00'] }], '17:00-21:00')).toBe('2027-01-15T20:00:00.000Z');
  });

  test('no zone is the zone of the machine; a zone or a time that does not exist allows nothing', () => {
    const here = new Intl.DateTimeFormat('en-US').resolvedOptions().timeZone;
    expect(until('2027-01-15T18:00:00Z', undefined, ['09:00-21:00'])).toBe(
      until('2027-01-15T18:00:00Z', here, ['09:00-21:00']),
    );
    expect(until('2027-01-15T18:00:00Z', 'Nowhere/Nothing', ['00:00-24:00'])).toBeUndefined();
    for (const wall of [Number.NaN, Number.POSITIVE_INFINITY, 9e15]) {
      const clock = new FakeClock();
      clock.epoch = wall;
      expect(() => policyOf(clock, { rows: [{ hours: ['00:00-24:00'] }] }).decide(principal, on)).toThrow(
        PorchlightError,
      );
    }
  });

  test('the refusal says what the clock shows', () => {
    const clock = new FakeClock();
    clock.epoch = Date.parse('2027-01-15T16:04:00Z');
    const policy = policyOf(clock, { rows: [{ hours: ['18:00-23:30'] }], timeZone: () => 'Europe/Berlin' });
    expect(() => policy.decide(principal, on)).toThrow(/does not allow "on" for the lamp porch at this hour \(17:04\)/);
  });

  test('a zone that becomes known later counts from then on', () => {
    const clock = new FakeClock();
    clock.epoch = Date.parse('2027-01-15T17:30:00Z');
    let zone = 'UTC';
    const policy = policyOf(clock, { rows: [{ hours: ['18:00-19:00'] }], timeZone: () => zone });
    expect(() => policy.decide(principal, on)).toThrow(PorchlightError);
    zone = 'Europe/Berlin';
    expect(policy.decide(principal, on)).toBeGreaterThan(clock.epoch);
  });
});

// Europe/Berlin: 2027-03-28 the clock jumps from 02:00 to 03:00 at 01:00Z; 2027-10-31 it shows 02:00-03:00 twice, from 00:00Z on.
describe('the day on which the clock jumps forward', () => {
  test.each([
    ['2027-03-28T00:59:59Z', ['02:00-02:30'], undefined],
    ['2027-03-28T01:00:00Z', ['02:00-02:30'], undefined],
    // A span that ends in the hour that is missing ends where the clock jumps over its end.
    ['2027-03-28T00:30:00Z', ['01:00-02:30'], '2027-03-28T01:00:00.000Z'],
    // One that begins there begins with what is left of it.
    ['2027-03-28T01:00:00Z', ['02:30-04:00'], '2027-03-28T02:00:00.000Z'],
    ['2027-03-28T00:00:00Z', ['01:00-04:00'], '2027-03-28T02:00:00.000Z'],
    ['2027-03-27T21:00:00Z', ['22:00-06:00'], '2027-03-28T04:00:00.000Z'],
  ])('%s, %j: until %s', (at, hours, end) => {
    expect(iso(until(at, 'Europe/Berlin', hours))).toBe(String(end));
  });
});

describe('the day on which the clock shows an hour twice', () => {
  test.each([
    ['2027-10-31T00:15:00Z', ['02:00-02:30'], '2027-10-31T00:30:00.000Z'],
    ['2027-10-31T00:45:00Z', ['02:00-02:30'], undefined],
    ['2027-10-31T01:15:00Z', ['02:00-02:30'], '2027-10-31T01:30:00.000Z'],
    // The whole hour twice goes on.
    ['2027-10-31T00:15:00Z', ['02:00-03:00'], '2027-10-31T02:00:00.000Z'],
    ['2027-10-31T00:15:00Z', ['01:00-03:30'], '2027-10-31T02:30:00.000Z'],
    // One that begins within the hour is interrupted where the clock is put back.
    ['2027-10-31T00:40:00Z', ['02:30-04:00'], '2027-10-31T01:00:00.000Z'],
    ['2027-10-31T01:10:00Z', ['02:30-04:00'], undefined],
    ['2027-10-31T01:40:00Z', ['02:30-04:00'], '2027-10-31T03:00:00.000Z'],
  ])('%s, %j: until %s', (at, hours, end) => {
    expect(iso(until(at, 'Europe/Berlin', hours))).toBe(String(end));
  });

  test('half an hour, as on Lord Howe Island', () => {
    // 2027-04-04: at 15:00Z of the 3rd the clock goes from 02:00 back to 01:30.
    expect(iso(until('2027-04-03T14:45:00Z', 'Australia/Lord_Howe', ['01:40-02:10']))).toBe('2027-04-03T15:00:00.000Z');
    expect(iso(until('2027-04-03T15:05:00Z', 'Australia/Lord_Howe', ['01:40-02:10']))).toBe('undefined');
    expect(iso(until('2027-04-03T15:10:00Z', 'Australia/Lord_Howe', ['01:40-02:10']))).toBe('2027-04-03T15:40:00.000Z');
  });
});

test('on every quarter of an hour of two years the minute is what Intl says, and each end is an end', () => {
  const clock = new FakeClock();
  for (const zone of ['Europe/Berlin', 'America/St_Johns', 'Australia/Lord_Howe']) {
    const wall = new WallClock(clock, () => zone);
    const format = new Intl.DateTimeFormat('en-GB', { timeZone: zone, hour: '2-digit', minute: '2-digit' });
    for (let at = Date.UTC(2026, 0, 1); at < Date.UTC(2028, 0, 1); at += 7 * HOUR + 15 * 60_000) {
      clock.epoch = at + 61_000;
      if (wall.text !== format.format(clock.epoch))
        expect([zone, at, wall.text]).toEqual([zone, at, format.format(clock.epoch)]);
    }
  }
});
