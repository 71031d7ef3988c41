import { describe, expect, it } from 'vitest';
import { type Blinker, blink } from '../../src/cli/blink.ts';
import type { Outcome } from '../../src/lights/outcome.ts';

type OnOff = 'ON' | 'OFF';
const done = (target: string): Outcome => ({ target, outcome: 'confirmed', took_ms: 1 });

/** A house of lamps; `answer` may say otherwise to a command. */
function house(
  states: Record<string, OnOff | null>,
  groups: Record<string, readonly string[]> = {},
  answer: (target: string, state: OnOff, at: number) => Outcome | undefined = () => undefined,
) {
  const shows = new Map(Object.entries(states));
  const said: string[] = [];
  const road: Blinker = {
    states: () => Promise.resolve(new Map(shows)),
    apply: async (target, state) => {
      said.push(`${target} ${state}`);
      const special = answer(target, state, said.length - 1);
      if (special !== undefined) return special;
      for (const lamp of groups[target] ?? [target]) shows.set(lamp, state);
      const members = groups[target]?.map(done);
      return { ...done(target), ...(members !== undefined && { members }) };
    },
  };
  return { road, shows, said };
}

/** A tenth of what people see. */
const PAUSE_MS = 50;
const never = new AbortController().signal;

describe('blinking', () => {
  it('leaves a lamp whose state is not known on, and says so by null', async () => {
    const { road, said } = house({ porch: null });
    const { left } = await blink(road, 'porch', never, PAUSE_MS);
    expect([...left]).toEqual([['porch', null]]);
    expect(said).toEqual(['porch OFF', 'porch ON', 'porch OFF', 'porch ON', 'porch OFF', 'porch ON']);
  });

  it('puts each lamp of a group back as that one was', async () => {
    const { road, shows } = house({ a: 'OFF', b: 'ON', c: null }, { all: ['a', 'b', 'c'] });
    const { lost } = await blink(road, 'all', never, PAUSE_MS);
    expect(lost).toEqual([]);
    expect(Object.fromEntries(shows)).toEqual({ a: 'OFF', b: 'ON', c: 'ON' });
  });

  it.each([0, 10, 70, 120])('puts it back when it is interrupted after %d ms', async (ms) => {
    for (const state of ['ON', 'OFF'] as const) {
      const { road, shows } = house({ a: state, b: 'OFF' }, { all: ['a', 'b'] });
      const stop = new AbortController();
      const blinking = blink(road, 'all', stop.signal, PAUSE_MS);
      setTimeout(() => stop.abort(), ms);
      const began = performance.now();
      expect((await blinking).interrupted).toBe(true);
      expect(performance.now() - began).toBeLessThan(ms + 1000);
      expect(Object.fromEntries(shows)).toEqual({ a: state, b: 'OFF' });
    }
  });

  it('stops at the first failure, and puts back what it had changed', async () => {
    const failed: Outcome = { target: 'porch', outcome: 'failed', code: 'link_lost', took_ms: 1 };
    const { road, shows, said } = house({ porch: 'ON' }, {}, (_target, _state, at) => (at === 1 ? failed : undefined));
    const { outcome, lost } = await blink(road, 'porch', never, PAUSE_MS);
    expect(outcome).toBe(failed);
    expect(lost).toEqual([]);
    expect(said).toEqual(['porch OFF', 'porch ON', 'porch ON']);
    expect(shows.get('porch')).toBe('ON');
  });

  it('sends nothing more to a lamp that never obeyed, and reports it', async () => {
    const failed: Outcome = { target: 'porch', outcome: 'failed', code: 'unreachable', took_ms: 1 };
    const { road, said } = house({ porch: 'ON' }, {}, () => failed);
    expect(await blink(road, 'porch', never, PAUSE_MS)).toMatchObject({ outcome: failed, lost: [] });
    expect(said).toEqual(['porch OFF']);
  });

  it('leaves a lamp alone that somebody else commands meanwhile', async () => {
    const theirs: Outcome = { target: 'porch', outcome: 'superseded', took_ms: 1 };
    const { road, said } = house({ porch: 'ON' }, {}, (_target, _state, at) => (at === 2 ? theirs : undefined));
    expect([...(await blink(road, 'porch', never, PAUSE_MS)).left]).toEqual([]);
    expect(said).toHaveLength(3);
  });

  it('says which lamp could not be put back', async () => {
    const failed = (target: string): Outcome => ({ target, outcome: 'failed', code: 'unreachable', took_ms: 1 });
    const { road } = house({ porch: 'OFF' }, {}, (target, _state, at) => (at >= 1 ? failed(target) : undefined));
    const { lost } = await blink(road, 'porch', never, PAUSE_MS);
    expect(lost).toMatchObject([{ target: 'porch', code: 'unreachable' }]);
  });
});
