import { beforeAll, describe, expect, test } from 'vitest';
import { Gate } from '../../src/access/gate.ts';
import type { PolicyRow } from '../../src/access/policy.ts';
import { TokenVerifier } from '../../src/access/token.ts';
import { ClockTrust } from '../../src/clock.ts';
import type { Command } from '../../src/lights/command.ts';
import { House, type HouseOutcome } from '../../src/lights/house.ts';
import { Light } from '../../src/lights/light.ts';
import { HandClock, MemoryLamp, settled, timingOf } from '../lights/harness.ts';
import {
  AUDIENCE,
  codeOf,
  FakeClock,
  ISSUER,
  KeyServer,
  OWN_CLIENT,
  OWNER,
  PHONE,
  policyOf,
  type Signer,
  signer,
  silent,
  sourceOf,
  tokenOf,
} from './fixtures.ts';

// A lamp that is out of reach while the right to command it ends: nothing may be written afterwards, whatever ended it.

let es: Signer;
let other: Signer;
beforeAll(async () => {
  [es, other] = await Promise.all([signer('ES256', 'es-1'), signer('ES256', 'es-2')]);
});

interface Scene {
  readonly clock: HandClock;
  readonly lamp: MemoryLamp;
  readonly server: KeyServer;
  readonly state: { authorized: boolean; clockTrusted: boolean; owner: string; wallShift: number };
  send(members?: Partial<Command>): Promise<HouseOutcome>;
  advance(ms: number): Promise<void>;
}

/** The whole road of a command from the gate to a lamp in memory, on one clock in the hand of the test. */
async function scene(options: { exp?: number; rows?: readonly PolicyRow[]; maxAgeMs?: number } = {}): Promise<Scene> {
  const hand = new HandClock();
  const state = { authorized: true, clockTrusted: true, owner: OWNER, wallShift: 0 };
  // The keys' own clock: fixtures are made for a FakeClock, which here only follows.
  const clock = new FakeClock();
  clock.monotonic = () => hand.monotonic();
  clock.wall = () => hand.wall() + state.wallShift;
  const server = new KeyServer([es.jwk]);
  const jwks = sourceOf(server, clock);
  const verifier = new TokenVerifier({
    issuer: ISSUER,
    audience: AUDIENCE,
    controlScope: 'lights:control',
    readScope: 'lights:read',
    ownClientId: OWN_CLIENT,
    principals: ['owner'],
    owner: () => state.owner,
    authorized: () => state.authorized,
    jwks,
    clock,
    clockTrusted: () => state.clockTrusted,
  });
  const { rows, maxAgeMs = 30_000 } = options;
  const gate = new Gate({
    verifier,
    proofs: { verify: async () => undefined },
    require: 'bearer',
    policy: policyOf(clock, { rows, maxAgeMs, unsigned: 'allow' }),
    maxAgeMs,
    clock,
    clockTrusted: () => state.clockTrusted,
    log: silent,
  });
  const lamp = new MemoryLamp(hand, 'triones');
  const light = new Light({ id: 'porch', port: lamp, clock: hand, timing: timingOf(hand) });
  lamp.light = light;
  const house = new House({ lights: [light], groups: [{ id: 'evening', lights: ['porch'] }], clock: hand });
  const now = clock.wall() / 1000;
  const token = await tokenOf(es, { iat: now, exp: now + (options.exp ?? 300) });
  const send = async (members: Partial<Command> = {}): Promise<HouseOutcome> => {
    const command: Command = {
      kind: 'lights',
      target: 'porch',
      change: { state: 'ON' },
      credential: { kind: 'bearer', token },
      receivedAt: clock.monotonic(),
      retained: false,
      ...members,
    };
    const { principal, until, refusal } = await gate.admit(command);
    return await house.apply(command.kind, command.target, command.change, {
      by: principal.by,
      until,
      refusal,
      ...(command.expiresAt !== undefined && { expiresAt: command.expiresAt }),
    });
  };
  // The keys are known before the lamp is lost.
  await jwks.find('es-1', 'ES256');
  return { clock: hand, lamp, server, state, send, advance: (ms) => hand.advance(ms) };
}

describe('the right to act is judged at the moment of actuation', () => {
  test('a lamp that comes back after the token has expired is not written to', async () => {
    const s = await scene({ exp: 5 });
    s.lamp.reachable = false;
    const outcome = s.send();
    await settle(s, 6_000);
    s.lamp.reachable = true;
    await settle(s, 30_000);
    expect(await outcome).toMatchObject({ outcome: 'denied', code: 'token_expired' });
    expect(s.lamp.written).toEqual([]);
  });

  test('one that comes back before is', async () => {
    const s = await scene({ exp: 5 });
    s.lamp.reachable = false;
    const outcome = s.send();
    await settle(s, 4_000);
    s.lamp.reachable = true;
    await settle(s, 3_000);
    expect(await outcome).toMatchObject({ outcome: 'confirmed' });
    expect(s.lamp.changes()).toEqual(['cc2333']);
  });

  test('the earliest end counts: max_age, expires_in, the token, the hours', async () => {
    // The hand clock stands at 00:00:01 UTC.
    const late: readonly [string, Parameters<typeof scene>[0], Partial<Command>, string][] = [
      ['max_age', { maxAgeMs: 3_000 }, {}, 'unreachable'],
      ['expires_in', {}, { expiresAt: 4_000 }, 'expired'],
      ['token', { exp: 3 }, {}, 'token_expired'],
      ['hours', { maxAgeMs: 120_000, rows: [{ hours: ['23:00-00:01'] }] }, {}, 'policy'],
      ['hours of a group', { maxAgeMs: 120_000, rows: [{ hours: ['23:00-00:01'] }] }, { target: 'evening' }, 'policy'],
      [
        'hours of the local tree',
        { maxAgeMs: 120_000, rows: [{ principals: ['broker'], hours: ['23:00-00:01'] }] },
        { credential: { kind: 'broker' } },
        'policy',
      ],
    ];
    for (const [what, options, members, code] of late) {
      const s = await scene(options);
      s.lamp.reachable = false;
      const sent = s.send(members);
      await settle(s, 61_000);
      s.lamp.reachable = true;
      await settle(s, 120_000);
      const outcome = await sent;
      expect([what, outcome.code ?? outcome.outcome]).toEqual([what, code]);
      expect([what, s.lamp.written]).toEqual([what, []]);
    }
  });

  test('a link that takes longer to be ready than the right lasts writes nothing', async () => {
    const s = await scene({ exp: 5 });
    // A turn that has begun is awaited: the lamp is at hand, but only after its services were read.
    const reach = s.lamp.reach.bind(s.lamp);
    s.lamp.reach = (until, turn, signal) =>
      reach(
        until,
        async (lamp) => {
          await s.clock.sleep(6_000);
          return turn(lamp);
        },
        signal,
      );
    const outcome = s.send();
    await settle(s, 10_000);
    expect(await outcome).toMatchObject({ outcome: 'denied', code: 'token_expired' });
    expect(s.lamp.written).toEqual([]);
  });

  const LOST: readonly [string, (s: Scene) => void, string][] = [
    [
      'the gateway loses its grant',
      (s) => {
        s.state.authorized = false;
      },
      'not_authorized',
    ],
    [
      'the clock loses its trust',
      (s) => {
        s.state.clockTrusted = false;
      },
      'clock_untrusted',
    ],
    [
      'somebody else becomes the owner',
      (s) => {
        s.state.owner = 'somebody-else';
      },
      'principal_unknown',
    ],
    [
      'the clock is set to a time after the token',
      (s) => {
        s.state.wallShift = 3_600_000;
      },
      'token_expired',
    ],
    [
      'the clock is set back to before the token',
      (s) => {
        s.state.wallShift = -3_600_000;
      },
      'token_invalid',
    ],
  ];
  test.each(LOST)('while the command waits %s: nothing is written', async (_what, lose, code) => {
    const s = await scene();
    s.lamp.reachable = false;
    const outcome = s.send();
    await settle(s, 2_000);
    lose(s);
    s.lamp.reachable = true;
    await settle(s, 5_000);
    expect(await outcome).toMatchObject({ outcome: 'denied', code });
    expect(s.lamp.written).toEqual([]);
  });

  test('while the command waits the key of its token is not published any more: nothing is written', async () => {
    const s = await scene({ maxAgeMs: 120_000 });
    s.lamp.reachable = false;
    const outcome = s.send();
    await settle(s, 31_000);
    s.server.keys = [other.jwk];
    // Somebody's token of another key makes the gateway look, 30 s after the last time.
    const now = s.clock.wall() / 1000;
    const rotated = await tokenOf(other, { sub: 'stranger', iat: now, exp: now + 300 });
    expect(await codeOf(s.send({ credential: { kind: 'bearer', token: rotated } }))).toBe('principal_unknown');
    s.lamp.reachable = true;
    await settle(s, 5_000);
    expect(await outcome).toMatchObject({ outcome: 'denied', code: 'token_invalid' });
    expect(s.lamp.written).toEqual([]);
  });

  test('the local socket is not bound to any of this', async () => {
    const s = await scene({ rows: [] });
    s.state.authorized = false;
    s.state.clockTrusted = false;
    const outcome = s.send({ credential: { kind: 'local' } });
    await settle(s, 3_000);
    expect(await outcome).toMatchObject({ outcome: 'confirmed', by: 'local' });
  });

  test('what another may still do goes on when one loses the right', async () => {
    const s = await scene({ exp: 5, rows: [{ principals: ['owner'] }] });
    s.lamp.reachable = false;
    const remote = s.send({ change: { color: { r: 255, g: 0, b: 0 } } });
    await settle(s, 100);
    const local = s.send({ credential: { kind: 'local' }, change: { state: 'ON' } });
    await settle(s, 6_000);
    s.lamp.reachable = true;
    await settle(s, 5_000);
    expect(await remote).toMatchObject({ outcome: 'denied', code: 'token_expired' });
    expect(await local).toMatchObject({ outcome: 'confirmed' });
    expect(s.lamp.changes()).toEqual(['cc2333']);
  });
});

/** Promises and timers, in small steps: signature checks are done by other threads, which follow no clock of ours. */
async function settle(s: Scene, ms: number): Promise<void> {
  for (let n = 0; n < 20; n += 1) await new Promise((resolve) => setTimeout(resolve, 1));
  await s.advance(ms);
  await settled();
}

describe('clock trust (F-CK-01, F-CK-04)', () => {
  /** A gateway's clock as it boots: a Pi without battery, whose time comes from the network or not at all. */
  async function booting(wall: number) {
    const clock = new FakeClock();
    clock.epoch = wall;
    const files = new Map<string, string>();
    const trust = new ClockTrust({
      trust: 'auto',
      clock,
      highWater: {
        load: async () => ({ wall: clock.epoch > 1_790_000_000_000 ? 1_790_000_000_000 : 1_799_999_000_000 }),
        save: async () => undefined,
      },
      log: silent,
      files: { read: async (path) => files.get(path), list: async () => [] },
      sleep: async (_ms, signal) =>
        new Promise((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true })),
    });
    const look = async (): Promise<void> => {
      const stop = new AbortController();
      const ended = trust.run(stop.signal);
      await new Promise((resolve) => setTimeout(resolve, 5));
      stop.abort();
      await ended;
    };
    const server = new KeyServer([es.jwk]);
    const verifier = new TokenVerifier({
      issuer: ISSUER,
      audience: AUDIENCE,
      controlScope: 'lights:control',
      readScope: 'lights:read',
      ownClientId: OWN_CLIENT,
      principals: ['owner'],
      owner: () => OWNER,
      authorized: () => true,
      jwks: sourceOf(server, clock),
      clock,
      clockTrusted: () => trust.trusted,
    });
    const gate = new Gate({
      verifier,
      proofs: { verify: async () => undefined },
      require: 'bearer',
      policy: policyOf(clock, { clockTrusted: () => trust.trusted }),
      maxAgeMs: 30_000,
      clock,
      clockTrusted: () => trust.trusted,
      log: silent,
    });
    const code = async (kind: 'bearer' | 'local', claims = {}): Promise<string> =>
      codeOf(
        gate.admit({
          kind: 'lights',
          target: 'porch',
          change: { state: 'ON' },
          credential: kind === 'local' ? { kind } : { kind, token: await tokenOf(es, claims) },
          receivedAt: clock.monotonic(),
          retained: false,
        }),
      );
    return { clock, files, look, server, code };
  }

  test.each([
    ['1970', 0],
    ['fake-hwclock, three weeks ago', 1_800_000_000_000 - 21 * 86_400_000],
  ])(
    'booted at %s: no token is accepted, whatever its times, and no key is asked for; local commands go on',
    async (_what, wall) => {
      const b = await booting(wall);
      const now = wall / 1000;
      for (const claims of [{}, { iat: now, exp: now + 300 }, { iat: 0, exp: 8e12 }]) {
        expect(await b.code('bearer', claims)).toBe('clock_untrusted');
        await b.look();
        expect(await b.code('bearer', claims)).toBe('clock_untrusted');
      }
      expect(b.server.requests).toBe(0);
      expect(await b.code('local')).toBe('accepted');
    },
  );

  test('synchronised, tokens are judged; set back, it is noticed at the very next command', async () => {
    const b = await booting(1_800_000_000_000);
    expect(await b.code('bearer')).toBe('clock_untrusted');
    b.files.set('/run/systemd/timesync/synchronized', '');
    await b.look();
    expect(await b.code('bearer')).toBe('accepted');
    // An old token would be good again by this clock.
    b.clock.epoch -= 3_600_000;
    expect(await b.code('bearer', { iat: 1_800_000_000 - 3_600, exp: 1_800_000_000 - 60 })).toBe('clock_untrusted');
    expect(await b.code('bearer')).toBe('clock_untrusted');
    expect(await b.code('local')).toBe('accepted');
    b.clock.epoch += 3_600_000;
    expect(await b.code('bearer')).toBe('accepted');
  });
});

test('the client of a token is no owner, also at the moment of actuation', async () => {
  const s = await scene();
  const now = s.clock.wall() / 1000;
  const token = await tokenOf(es, { sub: PHONE, client_id: PHONE, iat: now, exp: now + 300 });
  expect(await codeOf(s.send({ credential: { kind: 'bearer', token } }))).toBe('principal_unknown');
});
