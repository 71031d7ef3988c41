import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ProofMark } from '../../src/access/proof-mark.ts';
import { ReplayMemory, type Use, type UsedProof } from '../../src/access/replay.ts';
import { trustedSince } from '../../src/access/trusted-since.ts';
import { FakeClock, NOW, silent } from './fixtures.ts';
import { MarkFile } from './proof-bench.ts';

const MAX_AGE = 30_000;
const AHEAD = 10_000;

function build(): { memory: ReplayMemory; clock: FakeClock } {
  const clock = new FakeClock();
  return { memory: new ReplayMemory({ acceptedMs: MAX_AGE + AHEAD, clock }), clock };
}
const proof = (members: Partial<UsedProof> = {}): UsedProof => {
  const whole = { by: 'owner', thumbprint: 'key', jti: '1', issuedAt: NOW, ...members };
  return { jwt: JSON.stringify(whole), ...whole };
};

describe('what is used', () => {
  test('is remembered for as long as it would be accepted', () => {
    const { memory, clock } = build();
    expect(memory.use(proof({ issuedAt: NOW + 10 }))).toBe('first');
    clock.advance(MAX_AGE + AHEAD);
    expect(memory.use(proof({ issuedAt: NOW + 10 }))).toBe('again');
    expect(memory.use(proof({ issuedAt: NOW + 10, jwt: 'else' }))).toBe('used');
  });

  test('is refused after it was forgotten as well, and does not take up memory', () => {
    const { memory, clock } = build();
    for (let n = 0; n < 100; n += 1) memory.use(proof({ jti: `${n}` }));
    clock.advance(MAX_AGE + AHEAD + 2000);
    expect(memory.use(proof({ jti: 'new', issuedAt: NOW + 42 }))).toBe('first');
    expect(memory.size).toBe(1);
    expect(memory.use(proof())).toBe('forgotten');
  });

  test('parts that only look alike when joined are others', () => {
    const { memory } = build();
    memory.use(proof({ thumbprint: 'a b', jti: 'c' }));
    expect(memory.use(proof({ thumbprint: 'a', jti: 'b c' }))).toBe('first');
  });
});

describe('bounds', () => {
  test('a key that signs without end is refused, forgets nothing, and takes nothing from another', () => {
    const { memory } = build();
    memory.use(proof({ thumbprint: 'quiet' }));
    const uses = Array.from({ length: 5000 }, (_, n) => memory.use(proof({ thumbprint: 'loud', jti: `${n}` })));
    expect(uses.filter((use) => use === 'first')).toHaveLength(4096);
    expect(uses.at(-1)).toBe('full');
    expect(memory.use(proof({ thumbprint: 'loud', jti: '0' }))).toBe('again');
    expect(memory.use(proof({ thumbprint: 'quiet' }))).toBe('again');
    expect(memory.use(proof({ thumbprint: 'quiet', jti: '2' }))).toBe('first');
  });

  test('a principal with ever new keys takes nothing from another principal', () => {
    const { memory } = build();
    for (let n = 0; n < 20_000; n += 1) memory.use(proof({ thumbprint: `${n}` }));
    expect(memory.size).toBe(16_384);
    expect(memory.use(proof({ thumbprint: 'new' }))).toBe('full');
    expect(memory.use(proof({ by: 'installer', thumbprint: 'installer' }))).toBe('first');
  });

  test('room comes back with time', () => {
    const { memory, clock } = build();
    for (let n = 0; n < 4097; n += 1) memory.use(proof({ jti: `${n}` }));
    clock.advance(MAX_AGE + AHEAD + 2000);
    expect(memory.use(proof({ jti: 'later', issuedAt: NOW + 42 }))).toBe('first');
  });
});

/** As the verifier does before it asks: is it too old, or too far ahead? */
const accepts = (clock: FakeClock, issuedAt: number): boolean => {
  const age = clock.wall() - issuedAt * 1000;
  return age <= MAX_AGE && age >= -AHEAD;
};

describe('whatever the clocks do', () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ pass: fc.integer({ min: 0, max: 60_000 }) }) },
    { weight: 1, arbitrary: fc.record({ set: fc.integer({ min: -7_200_000, max: 7_200_000 }) }) },
    { weight: 4, arbitrary: fc.record({ use: fc.integer({ min: -30, max: 10 }) }) },
    { weight: 4, arbitrary: fc.record({ replay: fc.nat() }) },
  );

  test('no proof is ever the first twice', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { memory, clock } = build();
        const used: UsedProof[] = [];
        const attempt = (one: UsedProof): Use | 'refused' =>
          accepts(clock, one.issuedAt) ? memory.use(one) : 'refused';
        for (const [n, what] of steps.entries()) {
          if ('pass' in what) clock.advance(what.pass);
          else if ('set' in what) clock.epoch += what.set;
          else if ('use' in what) {
            const fresh = proof({ jti: `${n}`, issuedAt: Math.floor(clock.wall() / 1000) + what.use });
            if (attempt(fresh) === 'first') used.push(fresh);
          } else if (used.length > 0) {
            const old = used[what.replay % used.length];
            if (old !== undefined) expect(attempt(old)).not.toBe('first');
          }
        }
        for (let n = 0; n < 40; n += 1) {
          for (const old of used) expect(attempt(old)).not.toBe('first');
          clock.advance(5_000);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('with clocks that only run, nothing new is refused', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(60_000), fc.integer({ min: -29, max: 10 })), { maxLength: 80 }), (steps) => {
        const { memory, clock } = build();
        for (const [n, [wait, ahead]] of steps.entries()) {
          clock.advance(wait);
          const issuedAt = Math.ceil(clock.wall() / 1000) + ahead;
          if (accepts(clock, issuedAt)) expect(memory.use(proof({ jti: `${n}`, issuedAt }))).toBe('first');
        }
      }),
      { numRuns: 200 },
    );
  });

  test('a clock that was years ahead locks nobody out once it is right', () => {
    const { memory, clock } = build();
    memory.use(proof({ issuedAt: NOW + 4 * 31_536_000 }));
    clock.advance(60_000);
    expect(memory.use(proof({ jti: '2', issuedAt: NOW + 60 }))).toBe('first');
  });
});

describe('since when the clock is trusted', () => {
  class Trust {
    trusted = false;
    #listeners: ((trusted: boolean) => void)[] = [];
    onChange = (listener: (trusted: boolean) => void): void => void this.#listeners.push(listener);
    become(trusted: boolean): void {
      this.trusted = trusted;
      for (const listener of this.#listeners) listener(trusted);
    }
  }

  test('not at all, then since it was; anew after trust was lost', () => {
    const [trust, clock] = [new Trust(), new FakeClock()];
    const since = trustedSince(trust, clock);
    expect(since()).toBeUndefined();
    clock.advance(5_000);
    trust.become(true);
    const first = clock.wall();
    clock.advance(60_000);
    expect(since()).toBe(first);
    trust.become(false);
    expect(since()).toBeUndefined();
    clock.advance(60_000);
    trust.become(true);
    expect(since()).toBe(clock.wall());
  });

  test('a clock that was trusted from the start is so since then', () => {
    const [trust, clock] = [new Trust(), new FakeClock()];
    trust.become(true);
    const since = trustedSince(trust, clock);
    const start = clock.wall();
    clock.advance(1000);
    expect(since()).toBe(start);
  });

  test('a small step back does not move it, a large one takes it along', () => {
    const [trust, clock] = [new Trust(), new FakeClock()];
    trust.become(true);
    const since = trustedSince(trust, clock);
    const start = clock.wall();
    clock.advance(10_000);
    clock.epoch -= 500;
    expect(since()).toBe(start);
    clock.epoch -= 3_600_000;
    expect(since()).toBe(clock.wall() - 10_000);
    clock.epoch += 7_200_000;
    expect(since()).toBe(clock.wall() - 10_000);
  });
});

describe('the mark that outlives the process', () => {
  const marked = (): { mark: ProofMark; file: MarkFile; clock: FakeClock } => {
    const [file, clock] = [new MarkFile(), new FakeClock()];
    return { mark: new ProofMark(file, clock, silent), file, clock };
  };

  test.each([
    null,
    'x',
    {},
    { until: 5 },
    { until: 'x', open: false },
    { until: -1, open: false },
    { until: 1e300, open: false },
  ])('a file that says %j is of a process that crashed', async (value) => {
    const { mark, file } = marked();
    file.value = value;
    expect(await mark.load()).toEqual({ until: undefined, exact: false });
  });

  test('without a file nothing was ever used, and nothing is written where nothing is', async () => {
    const { mark, file } = marked();
    expect(await mark.load()).toEqual({ until: undefined, exact: true });
    await mark.close();
    expect(file.saves).toBe(0);
  });

  test('never goes back while several are being saved', async () => {
    const { mark, file } = marked();
    await Promise.all([mark.pass(NOW + 9), mark.pass(NOW + 3), mark.pass(NOW + 6.5)]);
    expect(file.value).toEqual({ until: NOW + 9, open: true });
    const { saves } = file;
    await mark.pass(NOW + 9);
    expect(file.saves).toBe(saves);
  });

  test('parts of a second count upwards', async () => {
    const { mark, file } = marked();
    await mark.pass(NOW + 0.25);
    expect(file.value).toEqual({ until: NOW + 1, open: true });
  });

  test('a mark from a clock that was years ahead gives way', async () => {
    const { mark, file, clock } = marked();
    clock.epoch += 4 * 31_536_000_000;
    await mark.pass(clock.wall() / 1000 + 5);
    clock.epoch = NOW * 1000;
    await mark.pass(NOW + 5);
    expect(file.value).toEqual({ until: NOW + 5, open: true });
  });
});
