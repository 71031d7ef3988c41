import { describe, expect, test } from 'vitest';
import { Gate, type GateOptions } from '../../src/access/gate.ts';
import type { PolicyOptions } from '../../src/access/policy.ts';
import type { TokenPrincipal } from '../../src/access/token.ts';
import { PorchlightError } from '../../src/errors.ts';
import type { Command, Credential } from '../../src/lights/command.ts';
import { createLog } from '../../src/log.ts';
import { codeOf, FakeClock, policyOf, silent } from './fixtures.ts';

const owner = (clock: FakeClock): TokenPrincipal => ({
  by: 'owner',
  subject: 's',
  clientId: 'c',
  scopes: [],
  expiresAt: clock.wall() + 300_000,
  authorizationDetails: [],
});

type Options = Partial<GateOptions> &
  Partial<Pick<PolicyOptions, 'unsigned' | 'rows'>> & { readonly clock?: FakeClock };

function build({ unsigned = 'deny', rows, ...options }: Options = {}): {
  gate: Gate;
  clock: FakeClock;
  seen: unknown[];
} {
  const clock = options.clock ?? new FakeClock();
  const seen: unknown[] = [];
  const gate = new Gate({
    verifier: {
      verify: async (token, need) => {
        seen.push([token, need]);
        if (token !== 'good') throw new PorchlightError('token_invalid');
        return owner(clock);
      },
      judgeAgain: () => undefined,
    },
    proofs: { verify: () => Promise.reject(new PorchlightError('proof_missing')) },
    require: 'bearer',
    policy: policyOf(clock, { unsigned, rows, clockTrusted: options.clockTrusted ?? (() => true) }),
    maxAgeMs: 30_000,
    clock,
    clockTrusted: () => true,
    log: silent,
    ...options,
  });
  return { gate, clock, seen };
}

const bearer = (token?: string): Credential => ({ kind: 'bearer', token });
const commandAt = (clock: FakeClock, members: Partial<Command> = {}): Command => ({
  kind: 'lights',
  target: 'porch',
  change: { state: 'ON' },
  credential: bearer('good'),
  receivedAt: clock.monotonic(),
  retained: false,
  ...members,
});

/** The name that a refusal carries. */
async function nameOf(refused: Promise<unknown>): Promise<string | undefined> {
  const thrown: unknown = await refused.then(
    () => undefined,
    (error: unknown) => error,
  );
  return thrown instanceof PorchlightError ? thrown.by : 'not refused';
}

describe('a refusal names its sender', () => {
  test('when a genuine token came with it, also where the token was not what it failed for', async () => {
    const { gate, clock } = build();
    const old = commandAt(clock, { sentAt: clock.wall() - 60_000 });
    expect(await nameOf(gate.admit(commandAt(clock, { retained: true })))).toBe('owner');
    expect(await codeOf(gate.admit(commandAt(clock, { retained: true })))).toBe('retained');
    expect(await nameOf(gate.admit(old))).toBe('owner');
    expect(await codeOf(gate.admit(old))).toBe('too_old');
  });

  test('and no name when the token is none', async () => {
    const { gate, clock } = build();
    const retained = commandAt(clock, { retained: true, credential: bearer('bad') });
    expect(await nameOf(gate.admit(retained))).toBeUndefined();
    expect(await codeOf(gate.admit(retained))).toBe('retained');
  });
});

describe('credentials', () => {
  test('a token is verified for control', async () => {
    const { gate, clock, seen } = build();
    const { principal } = await gate.admit(commandAt(clock));
    expect(principal).toEqual(owner(clock));
    expect(seen).toEqual([['good', 'control']]);
    expect(await codeOf(gate.admit(commandAt(clock, { credential: bearer('bad') })))).toBe('token_invalid');
  });

  test('the local socket needs no token, nor a trusted clock', async () => {
    const { gate, clock, seen } = build({ clockTrusted: () => false });
    const { principal } = await gate.admit(commandAt(clock, { credential: { kind: 'local' } }));
    expect(principal).toEqual({ by: 'local' });
    expect(seen).toEqual([]);
  });
});

describe('the local tree', () => {
  const admit = (unsigned: PolicyOptions['unsigned'], kind: Command['kind'], target: string): Promise<string> => {
    const { gate, clock } = build({ unsigned, clockTrusted: () => false });
    return codeOf(gate.admit(commandAt(clock, { credential: { kind: 'broker' }, kind, target })));
  };

  test('is closed unless it was opened, and the hint names the key', async () => {
    const { gate, clock } = build();
    const refused = gate.admit(commandAt(clock, { credential: { kind: 'broker' } }));
    await expect(refused).rejects.toMatchObject({ code: 'policy', hint: expect.stringContaining('access.unsigned') });
  });

  test('open, it needs no token and no trusted clock', async () => {
    const { gate, clock, seen } = build({ unsigned: 'allow', clockTrusted: () => false });
    const { principal } = await gate.admit(commandAt(clock, { credential: { kind: 'broker' } }));
    expect(principal).toEqual({ by: 'broker' });
    expect(seen).toEqual([]);
  });

  test.each([
    ['lights', 'porch', 'accepted'],
    ['lights', 'hall', 'policy'],
    ['lights', 'evening', 'policy'],
    ['lights', 'nothing', 'policy'],
    ['lights', 'PORCH', 'unknown_target'],
    ['lights', 'dusk', 'unknown_target'],
    ['scene', 'dusk', 'accepted'],
    ['scene', 'movie', 'policy'],
    ['scene', 'porch', 'unknown_target'],
  ] as const)('open for the porch: %s %s: %s', async (kind, target, code) => {
    expect(await admit({ lights: ['porch'] }, kind, target)).toBe(code);
  });

  test('open for every member, a group is open', async () => {
    expect(await admit({ lights: ['hall', 'porch'] }, 'lights', 'evening')).toBe('accepted');
    expect(await admit({ lights: ['hall', 'porch'] }, 'scene', 'movie')).toBe('accepted');
  });

  test('the name of a group in the list does not stand for its members', async () => {
    expect(await admit({ lights: ['evening'] }, 'lights', 'evening')).toBe('policy');
  });
});

describe('age', () => {
  test('retained commands are never obeyed, whoever sends them', async () => {
    const { gate, clock } = build({ unsigned: 'allow' });
    for (const credential of [bearer('good'), bearer('bad'), { kind: 'broker' }, { kind: 'local' }] as const) {
      expect(await codeOf(gate.admit(commandAt(clock, { credential, retained: true })))).toBe('retained');
    }
  });

  test.each([
    [0, 'accepted'],
    [30_000, 'accepted'],
    [30_001, 'too_old'],
    [-60_000, 'accepted'],
    [-60_001, 'too_old'],
    [Number.NaN, 'too_old'],
    [Number.POSITIVE_INFINITY, 'too_old'],
    [Number.NEGATIVE_INFINITY, 'too_old'],
  ])('sent %d ms ago: %s', async (age, code) => {
    const { gate, clock } = build();
    expect(await codeOf(gate.admit(commandAt(clock, { sentAt: clock.wall() - age })))).toBe(code);
  });

  test('a command from the future is told to set its clock', async () => {
    const { gate, clock } = build();
    const refused = gate.admit(commandAt(clock, { sentAt: clock.wall() + 3_600_000 }));
    await expect(refused).rejects.toMatchObject({ code: 'too_old', hint: expect.stringContaining('clock') });
  });

  test('a clock that is not trusted proves nobody late', async () => {
    const { gate, clock } = build({ clockTrusted: () => false });
    const command = commandAt(clock, { credential: { kind: 'local' }, sentAt: 0 });
    expect(await codeOf(gate.admit(command))).toBe('accepted');
  });

  test.each([
    [30_000, 'accepted'],
    [30_001, 'too_old'],
  ])('waited %d ms here: %s, even with an untrusted clock', async (waited, code) => {
    const { gate, clock } = build({ clockTrusted: () => false });
    const command = commandAt(clock, { credential: { kind: 'local' } });
    clock.mono += waited;
    expect(await codeOf(gate.admit(command))).toBe(code);
  });

  test('time spent verifying counts', async () => {
    const clock = new FakeClock();
    const verifier = {
      verify: async () => {
        clock.advance(30_001);
        return owner(clock);
      },
      judgeAgain: () => undefined,
    };
    const { gate } = build({ clock, verifier });
    expect(await codeOf(gate.admit(commandAt(clock)))).toBe('too_old');
  });
});

describe('until when it may act', () => {
  test('the first of max_age, the command and the token', async () => {
    const { gate, clock } = build();
    const local = { credential: { kind: 'local' } } as const;
    const now = clock.monotonic();
    expect((await gate.admit(commandAt(clock, local))).until).toBe(now + 30_000);
    expect((await gate.admit(commandAt(clock, { ...local, expiresAt: now + 500 }))).until).toBe(now + 500);
    expect((await gate.admit(commandAt(clock, { ...local, expiresAt: now + 99_000 }))).until).toBe(now + 30_000);
    expect((await gate.admit(commandAt(clock))).until).toBe(now + 30_000);
    const soon = {
      verify: async () => ({ ...owner(clock), expiresAt: clock.wall() + 2_000 }),
      judgeAgain: () => undefined,
    };
    expect((await build({ clock, verifier: soon }).gate.admit(commandAt(clock))).until).toBe(now + 2_000);
  });
});

test('denials are logged once a second, counted, and without the token', async () => {
  const lines: string[] = [];
  const log = createLog('debug', { write: (line) => void lines.push(line) });
  const { gate, clock } = build({ log });
  for (let n = 0; n < 500; n += 1) {
    clock.advance(5);
    await codeOf(gate.admit(commandAt(clock, { credential: bearer('SECRET'), target: 'a\u001b[31m\n' })));
  }
  expect(lines).toHaveLength(3);
  expect(JSON.parse(lines[2] ?? '{}')).toMatchObject({ code: 'token_invalid', credential: 'bearer', unlogged: 199 });
  expect(lines.join('')).not.toMatch(/SECRET|\\u001b/);
});
