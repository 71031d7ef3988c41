import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fingerprintOf } from '../../src/bluetooth/fingerprint.ts';
import { Pins } from '../../src/bluetooth/pins.ts';
import type { StateFile } from '../../src/storage/state-directory.ts';
import { keptLog } from '../support/log.ts';
import { ADDRESS, bytes, FakeLink, frame, heard, plain, SILENT, setUp, silent, TALKS, talking } from './lamp-rig.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const EXTRA = { service: 'abcd', uuid: 'abce', properties: ['write'] };

/** A lamp that was pinned by its first connection; `next` decides what is at its address from then on. */
async function pinnedLamp(parts: Parameters<typeof setUp>[1] = {}) {
  let characteristics = TALKS;
  const made: FakeLink[] = [];
  const rig = setUp(() => {
    const link = new FakeLink(characteristics, 'T-PLAIN');
    made.push(link);
    return link;
  }, parts);
  rig.lamp.heard(heard('T-PLAIN'));
  await rig.reach(async () => undefined);
  const next = (found: typeof TALKS): void => {
    characteristics = found;
    made.at(-1)?.lose();
  };
  return { ...rig, made, next };
}

const nothing = async (): Promise<void> => undefined;

describe('a lamp that was identified once', () => {
  it('is pinned to family, model and fingerprint', async () => {
    const { pins } = await pinnedLamp();
    expect(pins.get(ADDRESS)).toMatchObject({ family: 'talking', model: 'PLAIN', fingerprint: fingerprintOf(TALKS) });
  });

  it('is not moved by an advert of another family, which is said once', async () => {
    const { lamp, reach, warnings } = await pinnedLamp();
    for (let n = 0; n < 3; n += 1) lamp.heard(heard('S\u001b[2J'));
    expect(lamp.identity).toMatchObject({ family: { id: 'talking' }, model: { id: 'PLAIN' } });
    expect(await reach(async (at) => at.family.id)).toBe('talking');
    expect(warnings()).toHaveLength(1);
    expect(warnings()[0]).not.toContain('\\u001b');
    // Two that take turns at the address fill no log: once a minute.
    lamp.heard(heard('T-PLAIN'));
    lamp.heard(heard('S'));
    expect(warnings()).toHaveLength(1);
  });

  it('follows an advert that says more exactly which model of its family it is', async () => {
    const { lamp, pins, reach, next } = await pinnedLamp();
    lamp.heard(heard('T-SLEEPY'));
    expect(lamp.identity?.model.id).toBe('SLEEPY');
    next(TALKS);
    const reached = reach(nothing);
    await vi.advanceTimersByTimeAsync(1000);
    await reached;
    expect(pins.get(ADDRESS)).toMatchObject({ family: 'talking', model: 'SLEEPY' });
  });

  it('is known before it was heard, and needs no name, after a restart', async () => {
    const { pins } = await pinnedLamp();
    const link = new FakeLink(TALKS, 'S');
    const after = setUp(() => link, { pins });
    expect(after.lamp.identity).toMatchObject({ family: { id: 'talking' }, model: { id: 'PLAIN' } });
    expect(await after.reach(async (at) => at.family.id)).toBe('talking');
    expect(link.reads).toBe(0);
  });

  it.each([
    ['with one service more', [...TALKS, EXTRA]],
    ['with one characteristic less', TALKS.slice(0, 2)],
    [
      'that can be written in another way',
      [{ service: 'fff0', uuid: 'fff3', properties: ['write'] }, ...TALKS.slice(2)],
    ],
    ['of another family', SILENT],
    ['with no service at all', []],
  ])(
    'whose place is taken by a twin %s gets not a byte more: nothing is written, subscribed to or read',
    async (_, twin) => {
      const { lamp, reach, made, next, availability, warnings } = await pinnedLamp();
      next(twin);
      let turns = 0;
      for (let n = 0; n < 3; n += 1) {
        // Its adverts are as good as the lamp's own.
        lamp.heard(heard('T-PLAIN'));
        const reaching = reach(async () => {
          turns += 1;
        });
        const refused = expect(reaching).rejects.toMatchObject({
          code: 'identity_mismatch',
          hint: expect.stringContaining('porchlight forget'),
        });
        await vi.advanceTimersByTimeAsync(1000);
        await refused;
      }
      const twins = made.slice(1);
      expect(turns).toBe(0);
      expect(twins.map(({ written, subscriptions, reads }) => [written, subscriptions, reads])).toEqual(
        twins.map(() => [[], 0, 0]),
      );
      expect(twins.every((link) => link.gone.aborted)).toBe(true);
      expect(warnings()).toHaveLength(1);
      expect(lamp.problem?.code).toBe('identity_mismatch');
      // A lamp in whose place is something else is not there, whatever is advertised.
      expect([lamp.online, availability]).toEqual([false, [true, false]]);
    },
  );

  it('is itself again at its next connection, and there', async () => {
    const { lamp, reach, next, availability } = await pinnedLamp();
    next([...TALKS, EXTRA]);
    await expect(reach(nothing)).rejects.toMatchObject({ code: 'identity_mismatch' });
    next(TALKS);
    await reach(nothing);
    expect(lamp.problem).toBeUndefined();
    expect(availability).toEqual([true, false, true]);
  });

  it('is looked at again without a command, ever more seldom, for as long as it is heard', async () => {
    const { lamp, reach, made, next } = await pinnedLamp();
    next([...TALKS, EXTRA]);
    await expect(reach(nothing)).rejects.toMatchObject({ code: 'identity_mismatch' });
    const looks = async (minutes: number, isHeard: boolean): Promise<number> => {
      const before = made.length;
      for (let second = 0; second < minutes * 60; second += 2) {
        if (isHeard) lamp.heard(heard('T-PLAIN'));
        lamp.check();
        await vi.advanceTimersByTimeAsync(2000);
      }
      return made.length - before;
    };
    // After 1, 2, 4, 8, 16 and 32 minutes, then once an hour.
    expect(await looks(65, true)).toBe(6);
    expect(await looks(600, true)).toBe(10);
    expect(await looks(600, false)).toBe(0);
    expect(made.slice(1).every(({ written, subscriptions }) => written.length + subscriptions === 0)).toBe(true);
    next(TALKS);
    expect(await looks(62, true)).toBe(1);
    expect([lamp.problem, lamp.online]).toEqual([undefined, true]);
  });

  it('is learned anew after it was forgotten, by its next connection', async () => {
    const { lamp, pins, reach, next, made } = await pinnedLamp();
    next(SILENT);
    await expect(reach(nothing)).rejects.toMatchObject({ code: 'identity_mismatch' });
    expect(await lamp.forget()).toBe(true);
    expect(lamp.problem).toBeUndefined();
    lamp.heard(heard('S'));
    expect(await reach(async (at) => at.family.id)).toBe('silent');
    expect(pins.get(ADDRESS)).toMatchObject({ family: 'silent', fingerprint: fingerprintOf(SILENT) });
    expect(made.at(-1)?.gone.aborted).toBe(false);
    expect(await lamp.forget()).toBe(true);
    expect(await lamp.forget()).toBe(false);
  });

  it('keeps its link when it is forgotten, and is pinned by the next one', async () => {
    const { lamp, pins, reach, made, next } = await pinnedLamp();
    await lamp.forget();
    await reach(async (at) => at.write(frame('fff3', 'aa')));
    expect([made.length, pins.get(ADDRESS)]).toEqual([1, undefined]);
    lamp.heard(heard('T-PLAIN'));
    next([...TALKS, EXTRA]);
    await reach(nothing);
    expect(pins.get(ADDRESS)?.fingerprint).toBe(fingerprintOf([...TALKS, EXTRA]));
  });

  it('may be called another model by the configuration, but not be another device', async () => {
    const { pins } = await pinnedLamp();
    const sleepyOne = { family: talking, model: { id: 'OWN' } };
    const renamed = setUp(() => new FakeLink(TALKS), { pins, pinned: sleepyOne });
    expect(renamed.lamp.identity?.model.id).toBe('OWN');
    expect(await renamed.reach(async (at) => at.model.id)).toBe('OWN');
    const link = new FakeLink([...TALKS, EXTRA]);
    const twin = setUp(() => link, { pins, pinned: sleepyOne });
    await expect(twin.reach(nothing)).rejects.toMatchObject({ code: 'identity_mismatch' });
    // Of another family than its services are: no pin could make that right.
    const wrong = setUp(() => new FakeLink(TALKS), { pins, pinned: { family: silent, model: { id: 'S' } } });
    await expect(wrong.reach(nothing)).rejects.toMatchObject({
      code: 'identity_mismatch',
      hint: expect.stringContaining('model:'),
    });
  });

  it('of a family that this version does not have is identified anew, on the same device only', async () => {
    const { pins } = await pinnedLamp();
    pins.set(ADDRESS, { family: 'gone', model: 'G', fingerprint: fingerprintOf(TALKS) });
    const other = setUp(() => new FakeLink([...TALKS, EXTRA]), { pins });
    other.lamp.heard(heard('T-PLAIN'));
    await expect(other.reach(nothing)).rejects.toMatchObject({ code: 'identity_mismatch' });
    const same = setUp(() => new FakeLink(TALKS), { pins });
    same.lamp.heard(heard('T-PLAIN'));
    await same.reach(nothing);
    expect(pins.get(ADDRESS)).toMatchObject({ family: 'talking', model: plain.id });
  });

  it('is commanded without delay where its pin cannot be stored', async () => {
    const file: StateFile = {
      load: async () => undefined,
      save: () => new Promise(() => undefined),
      clear: async () => undefined,
    };
    const pins = new Pins({ file, clock: { wall: () => 0 }, log: keptLog().log });
    const { made, pins: kept } = await pinnedLamp({ pins });
    expect(made.map(bytes)).toEqual([['fff3 ef01']]);
    expect(kept.get(ADDRESS)).toBeDefined();
  });
});

describe('a device that never was the lamp', () => {
  it('is not pinned, and the refusal says what to look at', async () => {
    const link = new FakeLink(SILENT);
    const { lamp, reach, pins } = setUp(() => link);
    lamp.heard(heard('T-PLAIN'));
    await expect(reach(nothing)).rejects.toMatchObject({
      code: 'identity_mismatch',
      message: expect.stringContaining('talking'),
      hint: expect.stringContaining('porchlight scan'),
    });
    expect([pins.get(ADDRESS), lamp.online, link.written, link.subscriptions]).toEqual([undefined, false, [], 0]);
  });

  it('is not pinned where it cannot be driven', async () => {
    const { lamp, reach, pins } = setUp(() => new FakeLink(TALKS));
    lamp.heard(heard('T-LOCKED'));
    await expect(reach(nothing)).rejects.toMatchObject({ code: 'unsupported' });
    expect(pins.get(ADDRESS)).toBeUndefined();
  });
});
