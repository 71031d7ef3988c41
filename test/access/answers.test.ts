import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Answers } from '../../src/access/answers.ts';
import { PorchlightError } from '../../src/errors.ts';
import type { Command, Proof } from '../../src/lights/command.ts';
import type { Outcome, Principal } from '../../src/lights/outcome.ts';
import { FakeClock } from './fixtures.ts';

const owner: Principal = { by: 'owner' };
type Asked = Pick<Command, 'kind' | 'target' | 'id'>;
const porch: Asked = { kind: 'lights', target: 'porch', id: '1' };

function build(limit = 1000, isRepeat: (proof: Proof) => boolean = () => false) {
  const clock = new FakeClock();
  const answers = new Answers({ maxAgeMs: 30_000, clock, limit, isRepeat });
  let acts = 0;
  const act = async (): Promise<Outcome> => {
    acts += 1;
    return { target: 'porch', outcome: 'confirmed', took_ms: acts };
  };
  return { clock, answers, act, acts: () => acts };
}

describe('redelivery', () => {
  test('the same id from the same principal to the same target acts once and gets the first outcome again', async () => {
    const { answers, act, acts, clock } = build();
    const first = await answers.once(owner, porch, act);
    clock.advance(30_000);
    expect(await answers.once(owner, porch, act)).toEqual(first);
    expect(acts()).toBe(1);
  });

  test('after max_age it is a new command', async () => {
    const { answers, act, acts, clock } = build();
    await answers.once(owner, porch, act);
    clock.advance(30_001);
    await answers.once(owner, porch, act);
    expect(acts()).toBe(2);
  });

  test('being asked again does not make an outcome younger', async () => {
    const { answers, act, acts, clock } = build();
    for (let n = 0; n < 7; n += 1) {
      await answers.once(owner, porch, act);
      clock.advance(10_000);
    }
    expect(acts()).toBe(2);
  });

  test('while the first is under way the second shares it', async () => {
    const { answers } = build();
    let finish: (outcome: Outcome) => void = () => undefined;
    let acts = 0;
    const act = (): Promise<Outcome> => {
      acts += 1;
      return new Promise((resolve) => {
        finish = resolve;
      });
    };
    const both = [answers.once(owner, porch, act), answers.once(owner, porch, act)];
    const outcome: Outcome = { target: 'porch', outcome: 'failed', code: 'unreachable', took_ms: 5 };
    finish(outcome);
    expect(await Promise.all(both)).toEqual([outcome, outcome]);
    expect(acts).toBe(1);
  });

  test.each([
    ['another principal', { by: 'alice' }, porch],
    ['another id', owner, { ...porch, id: '2' }],
    ['another target', owner, { ...porch, target: 'hall' }],
    ['a scene of that name', owner, { ...porch, kind: 'scene' }],
    ['parts that only look alike when joined', { by: 'owner","lights' }, porch],
  ] as const)('%s is another command', async (_what, principal, asked) => {
    const { answers, act, acts } = build();
    await answers.once(owner, porch, act);
    await answers.once(principal, asked, act);
    expect(acts()).toBe(2);
  });

  test('two apps of one owner count their ids independently', async () => {
    const { answers, act, acts } = build();
    const app = (clientId: string) => ({
      ...{ by: 'owner', subject: 's', clientId, scopes: [], expiresAt: 0, authorizationDetails: [] },
    });
    await answers.once(app('phone'), porch, act);
    await answers.once(app('tablet'), porch, act);
    await answers.once({ ...app('phone'), expiresAt: 99 }, porch, act);
    expect(acts()).toBe(2);
  });

  test('without id every command acts', async () => {
    const { answers, act, acts } = build();
    const anonymous = { kind: 'lights', target: 'porch' } as const;
    await answers.once(owner, anonymous, act);
    await answers.once(owner, anonymous, act);
    expect(acts()).toBe(2);
    expect(answers.size).toBe(0);
  });

  test('an empty id is an id', async () => {
    const { answers, act, acts } = build();
    await answers.once(owner, { ...porch, id: '' }, act);
    await answers.once(owner, { ...porch, id: '' }, act);
    expect(acts()).toBe(1);
  });

  test('an act that fails outright is not remembered, and its sharers learn of it', async () => {
    const { answers, act, acts } = build();
    const broken = async (): Promise<Outcome> => {
      throw new PorchlightError('internal');
    };
    const both = await Promise.allSettled([answers.once(owner, porch, broken), answers.once(owner, porch, broken)]);
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await answers.once(owner, porch, act);
    expect(acts()).toBe(1);
  });

  describe('of a signed command', () => {
    const proof: Proof = { jwt: 'a.b.c', topic: 't', payload: new Uint8Array() };
    const signed = { ...porch, credential: { kind: 'bearer', token: 't', proof } } as const;
    const repeated = (): ReturnType<typeof build> & { again: typeof signed } => {
      const built = build(undefined, (one) => one !== proof);
      return { ...built, again: { ...signed, credential: { ...signed.credential, proof: { ...proof } } } };
    };

    test('gets the first outcome again, or shares it while it is under way', async () => {
      const { answers, act, acts, again } = repeated();
      const [first, shared] = await Promise.all([answers.once(owner, signed, act), answers.once(owner, again, act)]);
      expect(shared).toEqual(first);
      expect(await answers.once(owner, again, act)).toEqual(first);
      expect(acts()).toBe(1);
    });

    test('is refused when the first outcome is not known (any more), or cannot be found without an id', async () => {
      const { answers, act, acts, clock, again } = repeated();
      await expect(answers.once(owner, again, act)).rejects.toMatchObject({ code: 'replayed' });
      await answers.once(owner, signed, act);
      clock.advance(30_001);
      await expect(answers.once(owner, again, act)).rejects.toMatchObject({ code: 'replayed' });
      const { id: _, ...anonymous } = again;
      await expect(answers.once(owner, anonymous, act)).rejects.toMatchObject({ code: 'replayed' });
      expect(acts()).toBe(1);
    });
  });

  test('memory is bounded, and the oldest are forgotten first', async () => {
    const { answers, act, acts } = build(1000);
    for (let n = 0; n < 5000; n += 1) await answers.once(owner, { ...porch, id: `${n}` }, act);
    expect(answers.size).toBe(1000);
    await answers.once(owner, { ...porch, id: '4999' }, act);
    await answers.once(owner, { ...porch, id: '4000' }, act);
    expect(acts()).toBe(5000);
    await answers.once(owner, { ...porch, id: '3999' }, act);
    expect(acts()).toBe(5001);
  });

  test('old outcomes do not stay in memory once others come', async () => {
    const { answers, act, clock } = build();
    for (let n = 0; n < 100; n += 1) await answers.once(owner, { ...porch, id: `${n}` }, act);
    clock.advance(30_001);
    await answers.once(owner, porch, act);
    expect(answers.size).toBe(1);
  });

  test('any sequence of arrivals acts as a plain model says', async () => {
    const step = fc.record({ id: fc.constantFrom('a', 'b', 'c'), wait: fc.integer({ min: 0, max: 40_000 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const { answers, act, acts, clock } = build();
        const firsts = new Map<string, number>();
        let expected = 0;
        for (const { id, wait } of steps) {
          clock.advance(wait);
          const first = firsts.get(id);
          if (first === undefined || clock.mono - first > 30_000) {
            firsts.set(id, clock.mono);
            expected += 1;
          }
          await answers.once(owner, { ...porch, id }, act);
        }
        expect(acts()).toBe(expected);
      }),
      { numRuns: 200 },
    );
  });
});
