import { describe, expect, it } from 'vitest';
import { CommandRecords } from '../../src/access/audit/commands.ts';
import { AuthorizationWatch, type Standing } from '../../src/access/audit/happenings.ts';
import type { Entry } from '../../src/access/audit/record.ts';
import type { LightChange } from '../../src/lights/change.ts';
import type { Command, Credential } from '../../src/lights/command.ts';
import type { Outcome } from '../../src/lights/outcome.ts';

const OWNER = {
  by: 'owner',
  subject: 's',
  clientId: 'phone',
  scopes: [],
  expiresAt: 0,
  authorizationDetails: [],
};

function setUp() {
  const clock = { now: 1_000, monotonic: () => clock.now, wall: () => clock.now };
  const noted: Entry[] = [];
  const records = new CommandRecords(
    {
      note: (entry, of) => {
        noted.push({ ...entry, ...(of?.seq !== undefined && { of: of.seq }) });
        return { seq: noted.length };
      },
      written: () => Promise.resolve(),
    },
    clock,
  );
  const command = (target: string, change: LightChange = {}, more: Partial<Command> = {}): Command => ({
    kind: 'lights',
    target,
    change,
    credential: { kind: 'bearer', token: 't' },
    receivedAt: clock.now,
    retained: false,
    ...more,
  });
  const pass = (ms: number, step = 100): void => {
    for (let left = ms; left > 0; left -= step) {
      clock.now += step;
      if (records.next <= clock.now) records.tick();
    }
  };
  return { clock, noted, records, command, pass };
}

const outcome = (what: Outcome['outcome'], more: Partial<Outcome> = {}): Outcome => ({
  target: 'porch',
  outcome: what,
  took_ms: 12,
  ...more,
});
const denied = (code: Outcome['code'], by?: string): Outcome =>
  outcome('denied', { ...(code !== undefined && { code }), ...(by !== undefined && { by }) });

describe('an allowed command', () => {
  it('is on record with who, by which right and with which app, then with its outcome', () => {
    const { records, noted, command } = setUp();
    const change = { state: 'ON', brightness: 40 } as const;
    const allowed = records.allowed(command('porch', change, { id: 'x1' }), OWNER);
    expect(noted).toEqual([
      {
        event: 'command',
        decision: 'allow',
        by: 'owner',
        via: 'bearer',
        client: 'phone',
        target: 'porch',
        change,
        id: 'x1',
      },
    ]);
    allowed.ended(outcome('confirmed'));
    expect(noted[1]).toEqual({
      event: 'outcome',
      by: 'owner',
      via: 'bearer',
      client: 'phone',
      target: 'porch',
      outcome: 'confirmed',
      took_ms: 12,
      of: 1,
    });
  });

  it('names a scene as its topic does, and tells a bound command from one with a mere token', () => {
    const { records, noted, command } = setUp();
    const proof = { jwt: 'j', topic: 't', payload: new Uint8Array() };
    const credential: Credential = { kind: 'bearer', token: 't', proof };
    records.allowed(command('movie', {}, { kind: 'scene', credential }), OWNER);
    expect(noted[0]).toMatchObject({ target: 'scene/movie', via: 'bound' });
    expect(noted[0]).not.toHaveProperty('change');
    expect(JSON.stringify(noted)).not.toContain('"jwt"');
  });

  it('of a slider is told ten times, then counted; what counts is the last one', () => {
    const { records, noted, command, clock, pass } = setUp();
    for (let n = 0; n < 300; n += 1) {
      const allowed = records.allowed(command('porch', { brightness: n % 256 }), OWNER);
      allowed.ended(n === 299 ? outcome('failed', { code: 'unreachable' }) : outcome('superseded'));
      clock.now += 16;
      if (records.next <= clock.now) records.tick();
    }
    pass(20_000);
    expect(noted.length).toBeLessThan(35);
    const commands = noted.filter(({ event }) => event === 'command');
    expect(commands.slice(0, 10).every(({ count }) => count === undefined)).toBe(true);
    expect(commands.reduce((sum, { count = 1 }) => sum + Number(count), 0)).toBe(300);
    expect(commands.at(-1)).toMatchObject({ decision: 'allow', change: { brightness: 299 % 256 } });
    const outcomes = noted.filter(({ event }) => event === 'outcome');
    expect(outcomes.reduce((sum, { count = 1 }) => sum + Number(count), 0)).toBe(300);
    expect(outcomes.at(-1)).toMatchObject({ outcome: 'failed', code: 'unreachable', outcomes: { failed: 1 } });
  });

  it('of an endless stream of sixty a second costs less than one record in two seconds', () => {
    const { records, noted, command, clock } = setUp();
    for (let n = 0; n < 60 * 120; n += 1) {
      records.allowed(command('porch', { brightness: n % 256 }), OWNER).ended(outcome('superseded'));
      clock.now += 1000 / 60;
      if (records.next <= clock.now) records.tick();
    }
    expect(noted.length).toBeLessThan(70);
  });

  it('that asks for something else in the middle of a slide is told by itself, before it is obeyed', () => {
    const { records, noted, command } = setUp();
    for (let n = 0; n < 50; n += 1) records.allowed(command('porch', { brightness: n }), OWNER);
    const before = noted.length;
    records.allowed(command('porch', { state: 'OFF' }), OWNER);
    records.allowed(command('hall', { brightness: 1 }), OWNER);
    records.allowed(command('porch', { brightness: 1 }), { ...OWNER, clientId: 'tablet' });
    records.allowed(command('porch', { brightness: 1 }), { by: 'broker' });
    expect(noted.slice(before)).toHaveLength(4);
  });

  it('is told one by one again after a pause', () => {
    const { records, noted, command, pass } = setUp();
    for (let n = 0; n < 50; n += 1) records.allowed(command('porch', { brightness: n }), OWNER);
    pass(30_000);
    const before = noted.length;
    records.allowed(command('porch', { brightness: 7 }), OWNER);
    expect(noted.slice(before)).toMatchObject([{ change: { brightness: 7 } }]);
    expect(noted.at(-1)).not.toHaveProperty('count');
  });

  it('of a sender who asks for thousands of different things is told by count, without end of memory or disk', () => {
    const { records, noted, command, clock } = setUp();
    for (let n = 0; n < 10_000; n += 1) {
      records
        .allowed(command(`x${n}`, { effect: `e${n}` }), OWNER)
        .ended(outcome('failed', { code: 'unknown_target' }));
      clock.now += 1;
      if (records.next <= clock.now) records.tick();
    }
    records.close();
    expect(noted.length).toBeLessThan(330);
    const commands = noted.filter(({ event }) => event === 'command');
    expect(commands.reduce((sum, { count = 1 }) => sum + Number(count), 0)).toBe(10_000);
  });
});

describe('a refused command', () => {
  it('is on record at once with who and why; a stranger is unknown, and known by their credential', () => {
    const { records, noted, command } = setUp();
    records.refused(command('porch', { state: 'ON' }), denied('token_expired', 'alice'));
    records.refused(command('hall', { state: 'ON' }, { credential: { kind: 'broker' } }), denied('policy'));
    expect(noted).toEqual([
      {
        event: 'command',
        decision: 'deny',
        by: 'alice',
        via: 'bearer',
        target: 'porch',
        change: { state: 'ON' },
        outcome: 'denied',
        code: 'token_expired',
      },
      expect.objectContaining({ by: 'unknown', via: 'broker', code: 'policy', target: 'hall' }),
    ]);
  });

  it('a flood of 1,000 a second is one record a minute and cause, with a count, and hides no other cause', () => {
    const { records, noted, command, clock } = setUp();
    const from = performance.now();
    for (let n = 0; n < 180_000; n += 1) {
      records.refused(command(n % 2 ? 'porch' : 'hall', { state: 'ON' }), denied('token_invalid'));
      if (n === 90_000) records.refused(command('porch'), denied('token_scope', 'alice'));
      if (n === 90_001) records.allowed(command('porch', { state: 'OFF' }), OWNER);
      clock.now += 1;
      if (records.next <= clock.now) records.tick();
    }
    expect((performance.now() - from) / 180).toBeLessThan(20);
    records.close();
    const flood = noted.filter(({ code }) => code === 'token_invalid');
    expect(flood.length).toBeGreaterThanOrEqual(3);
    expect(flood.length).toBeLessThanOrEqual(5);
    expect(flood.reduce((sum, { count = 1 }) => sum + Number(count), 0)).toBe(180_000);
    // A count of several targets names none.
    expect(flood.at(-1)).not.toHaveProperty('target');
    expect(noted.filter(({ by }) => by === 'alice')).toHaveLength(1);
    expect(noted.filter(({ decision }) => decision === 'allow')).toHaveLength(1);
  });

  it('of more causes than are told apart is counted among the others', () => {
    const { records, noted, command, pass } = setUp();
    for (let n = 0; n < 5_000; n += 1) records.refused(command('porch'), denied('principal_unknown', `subject-${n}`));
    expect(noted.length).toBeLessThanOrEqual(258);
    pass(61_000, 1_000);
    expect(noted.reduce((sum, { count = 1 }) => sum + Number(count), 0)).toBe(5_000);
  });
});

describe('the authorization', () => {
  const seen = (...standings: readonly Standing[]): Entry[] => {
    const noted: Entry[] = [];
    const watch = new AuthorizationWatch((entry) => noted.push(entry));
    for (const standing of standings) watch.now(standing);
    return noted;
  };
  const code_expires_at = '2026-01-01T00:10:00.000Z';
  const pending: Standing = { state: 'pending', code_expires_at };
  const authorized: Standing = { state: 'authorized', subject: 'owner', expires_at: '2026-01-01T01:00:00.000Z' };

  it.each<[string, readonly Standing[], readonly object[]]>([
    [
      'a first approval',
      [{ state: 'unauthorized' }, pending, { ...authorized, code_expires_at }, authorized],
      [
        { event: 'code_shown', expires_at: code_expires_at },
        { event: 'approved', by: 'owner' },
      ],
    ],
    ['a stored grant', [authorized], [{ event: 'authorized', by: 'owner' }]],
    [
      'renewals are not told',
      [authorized, { ...authorized, expires_at: '2026-01-01T02:00:00.000Z' }],
      [{ event: 'authorized' }],
    ],
    [
      'a second approval',
      [
        authorized,
        { ...authorized, code_expires_at },
        { ...authorized, code_expires_at, expires_at: 'later' },
        { ...authorized, expires_at: 'later' },
      ],
      [{ event: 'authorized' }, { event: 'code_shown' }, { event: 'approved' }],
    ],
    [
      'a code that nobody approved, beside a grant',
      [authorized, { ...authorized, code_expires_at }, { ...authorized, problem: { code: 'approval_expired' } }],
      [{ event: 'authorized' }, { event: 'code_shown' }, { event: 'approval_refused', code: 'approval_expired' }],
    ],
    [
      'a stranger',
      [pending, { state: 'relink_needed', reason: 'owner_mismatch', problem: { code: 'approval_denied' } }],
      [
        { event: 'code_shown' },
        { event: 'approval_refused', code: 'approval_denied' },
        { event: 'grant_lost', reason: 'owner_mismatch' },
      ],
    ],
    [
      'the server away and back, then a revocation',
      [
        authorized,
        { ...authorized, state: 'grace' },
        authorized,
        { state: 'relink_needed', reason: 'revoked', subject: 'owner' },
      ],
      [
        { event: 'authorized' },
        { event: 'grace' },
        { event: 'authorized' },
        { event: 'grant_lost', by: 'owner', reason: 'revoked' },
      ],
    ],
    ['a log-out', [authorized, { state: 'unauthorized' }], [{ event: 'authorized' }, { event: 'unauthorized' }]],
  ])('is told: %s', (_, standings, expected) => {
    expect(seen(...standings)).toMatchObject(expected);
  });
});
