import { describe, expect, test } from 'vitest';
import { groupState, overall } from '../../src/lights/group.ts';
import { House } from '../../src/lights/house.ts';
import { Light } from '../../src/lights/light.ts';
import type { Outcome } from '../../src/lights/outcome.ts';
import type { LightState } from '../../src/lights/state.ts';
import { asked, HandClock, MemoryLamp, settled, timingOf } from './harness.ts';

function house() {
  const clock = new HandClock();
  const build = (id: string, model: string) => {
    const lamp = new MemoryLamp(clock, model);
    const light = new Light({ id, port: lamp, clock, timing: timingOf(clock) });
    lamp.light = light;
    return { lamp, light };
  };
  const porch = build('porch', 'triones');
  const hall = build('hall', 'elk-bledom');
  const white = build('white', 'elk-bledom/ELK-BTC');
  const home = new House({
    lights: [porch.light, hall.light, white.light],
    groups: [
      { id: 'evening', lights: ['porch', 'hall'] },
      { id: 'all', lights: ['porch', 'hall', 'white'] },
    ],
    scenes: [
      { id: 'movie', set: { hall: { state: 'ON', brightness: 26 }, porch: { state: 'OFF' } } },
      { id: 'night', set: { porch: { state: 'ON' }, evening: { state: 'OFF' } } },
    ],
    clock,
  });
  return { clock, home, porch: porch.lamp, hall: hall.lamp, white: white.lamp };
}

async function outcomeOf<T>(clock: HandClock, promise: Promise<T>, ms = 2000): Promise<T> {
  let done: { readonly value: T } | undefined;
  void promise.then((value) => {
    done = { value };
  });
  await clock.advance(ms);
  if (done === undefined) throw new Error(`no outcome after ${ms} ms`);
  return done.value;
}

describe('a house', () => {
  test('takes a command to a lamp', async () => {
    const { clock, home, porch } = house();
    const outcome = await outcomeOf(clock, home.apply('lights', 'porch', { state: 'ON' }, asked(clock)));
    expect(outcome).toEqual({ target: 'porch', outcome: 'confirmed', by: 'owner' });
    expect(porch.bulb.power).toBe(true);
  });

  test('fans a group out, and the outcome lists the members', async () => {
    const { clock, home } = house();
    const outcome = await outcomeOf(clock, home.apply('lights', 'evening', { brightness: 99 }, asked(clock)));
    expect(outcome).toMatchObject({ target: 'evening', outcome: 'assumed', by: 'owner' });
    expect(outcome.members?.map(({ target, outcome, by }) => [target, outcome, by])).toEqual([
      ['porch', 'confirmed', 'owner'],
      ['hall', 'assumed', 'owner'],
    ]);
    for (const { took_ms } of outcome.members ?? []) expect(Number.isInteger(took_ms) && took_ms >= 0).toBe(true);
  });

  test('tells the first failure of a group, and which lamp it was; the others are lit all the same', async () => {
    const { clock, home, hall } = house();
    const change = { state: 'ON', color: { r: 255, g: 0, b: 0 } } as const;
    const outcome = await outcomeOf(clock, home.apply('lights', 'all', change, asked(clock)));
    expect(outcome).toMatchObject({
      outcome: 'failed',
      code: 'unsupported',
      message: expect.stringMatching(/^white: color/),
    });
    expect(outcome.members?.map((member) => member.outcome)).toEqual(['confirmed', 'assumed', 'failed']);
    expect(hall.written).toHaveLength(2);
  });

  test('refuses an unknown name with the likely one, bounded and clean', async () => {
    const { clock, home } = house();
    const typo = await home.apply('lights', 'prch', { state: 'ON' }, asked(clock));
    expect(typo).toMatchObject({ target: 'prch', outcome: 'failed', code: 'unknown_target', by: 'owner' });
    expect(typo.message).toContain('did you mean porch?');
    for (const target of ['movie', '__proto__', 'constructor', '', `\u001b[2J${'x'.repeat(9000)}`]) {
      const outcome = await home.apply('lights', target, { state: 'ON' }, asked(clock));
      expect(outcome.code).toBe('unknown_target');
      expect(outcome.message).toMatch(/^[\x20-\x7e]{1,120}$/);
    }
    expect((await home.apply('scene', 'porch', {}, asked(clock))).code).toBe('unknown_target');
  });

  test('TOGGLE turns a group one way: off when any lamp is on, else on', async () => {
    const { clock, home, porch } = house();
    await outcomeOf(clock, home.apply('lights', 'hall', { state: 'ON' }, asked(clock)));
    await outcomeOf(clock, home.apply('lights', 'evening', { state: 'TOGGLE' }, asked(clock)));
    expect(home.state('evening')?.state).toBe('OFF');
    expect(porch.changes()).toEqual(['cc2433']);
    await outcomeOf(clock, home.apply('lights', 'evening', { state: 'TOGGLE' }, asked(clock)));
    expect([...home.states().values()].map(({ state }) => state)).toEqual(['ON', 'ON', null, 'ON', 'ON']);
  });

  test('applies a scene to all its targets at once', async () => {
    const { clock, home, porch, hall } = house();
    const outcome = await outcomeOf(clock, home.apply('scene', 'movie', {}, asked(clock)));
    expect(outcome).toMatchObject({ target: 'movie', outcome: 'assumed' });
    expect(outcome.members?.map(({ target }) => target).sort()).toEqual(['hall', 'porch']);
    expect(porch.changes()).toEqual(['cc2433']);
    expect(hall.hexes()).toContain('7e00010a00000000ef');
  });

  test('in a scene, what is said of a lamp wins over what is said of its group', async () => {
    const { clock, home, porch } = house();
    await outcomeOf(clock, home.apply('scene', 'night', {}, asked(clock)));
    expect(porch.bulb.power).toBe(true);
    expect(home.state('hall')?.state).toBe('OFF');
  });

  test('tells its watchers of lamps and of their groups, and only of changes', async () => {
    const { clock, home, porch } = house();
    const told: [string, LightState['state']][] = [];
    const end = home.watch((target, state) => told.push([target, state.state]));
    await outcomeOf(clock, home.apply('lights', 'porch', { state: 'ON' }, asked(clock)));
    expect(told).toEqual([
      ['porch', 'ON'],
      ['evening', 'ON'],
      ['all', 'ON'],
    ]);
    porch.report();
    expect(told, 'the same again is no news').toHaveLength(3);
    porch.bulb.rgb = [0, 0, 9];
    porch.report();
    expect(told).toHaveLength(6);
    end();
    porch.bulb.power = false;
    porch.report();
    expect(told).toHaveLength(6);
  });

  test('knows its names', () => {
    expect(house().home.ids()).toEqual({
      lights: ['porch', 'hall', 'white'],
      groups: ['evening', 'all'],
      scenes: ['movie', 'night'],
    });
  });

  test('stops: whatever is under way ends', async () => {
    const { clock, home, porch, hall } = house();
    porch.reachable = false;
    hall.reachable = false;
    const pending = home.apply('lights', 'evening', { state: 'ON' }, asked(clock));
    await settled();
    await home.stop();
    const outcome = await pending;
    expect(outcome).toMatchObject({ outcome: 'failed', code: 'stopping' });
    expect(outcome.members?.every(({ code }) => code === 'stopping')).toBe(true);
  });
});

describe("a group's state", () => {
  const on = (more: Partial<LightState> = {}): LightState => ({ state: 'ON', confidence: 'confirmed', ...more });
  const off: LightState = { state: 'OFF', confidence: 'confirmed' };
  const unknown: LightState = { state: null, confidence: 'unknown' };

  test('is ON when any is, OFF when all are, and else not known', () => {
    expect(groupState([off, on(), unknown]).state).toBe('ON');
    expect(groupState([off, off]).state).toBe('OFF');
    expect(groupState([off, unknown]).state).toBeNull();
    expect(groupState([unknown, unknown])).toEqual(unknown);
    expect(groupState([])).toEqual(unknown);
  });

  test('is as sure as its least sure member', () => {
    expect(groupState([on(), off]).confidence).toBe('confirmed');
    expect(groupState([on(), { state: 'OFF', confidence: 'assumed' }]).confidence).toBe('assumed');
    expect(groupState([on(), unknown]).confidence).toBe('assumed');
  });

  test('tells the mean brightness of what is on, and a colour only where all agree', () => {
    const red = { color: { r: 255, g: 0, b: 0 }, color_mode: 'rgb' as const };
    expect(groupState([on({ brightness: 100, ...red }), on({ brightness: 201, ...red }), off])).toMatchObject({
      brightness: 151,
      ...red,
    });
    expect(groupState([on(red), on({ color: { r: 0, g: 255, b: 0 } })])).not.toHaveProperty('color');
  });
});

describe('the outcome of several', () => {
  const member = (outcome: Outcome['outcome'], code?: Outcome['code']): Outcome => ({
    target: 'x',
    outcome,
    took_ms: 1,
    ...(code === undefined ? {} : { code, message: 'm', hint: 'h' }),
  });

  test('is the worst of them; taken over is no failure unless all were', () => {
    expect(overall([member('confirmed'), member('confirmed')])).toEqual({ outcome: 'confirmed' });
    expect(overall([member('confirmed'), member('assumed')]).outcome).toBe('assumed');
    expect(overall([member('assumed'), member('expired')]).outcome).toBe('expired');
    expect(overall([member('expired'), member('failed', 'link_lost'), member('failed', 'unreachable')])).toEqual({
      outcome: 'failed',
      code: 'link_lost',
      message: 'x: m',
      hint: 'h',
    });
    expect(overall([member('superseded'), member('confirmed')]).outcome).toBe('confirmed');
    expect(overall([member('superseded'), member('superseded')]).outcome).toBe('superseded');
  });
});
