import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LightFamily } from '../../src/lights/family.ts';
import { bytes, FakeLink, frame, heard, SILENT, setUp, silent, TALKS } from './lamp-rig.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('who a lamp is', () => {
  it('comes from its advert, and is not forgotten by an advert that says less', () => {
    const { lamp } = setUp(() => new FakeLink(TALKS));
    expect(lamp.identity).toBeUndefined();
    lamp.heard(heard('T-SLEEPY'));
    lamp.heard(heard());
    expect(lamp.identity).toMatchObject({ family: { id: 'talking' }, model: { id: 'SLEEPY' } });
  });

  it('is what the configuration pins, whatever it advertises', () => {
    const { lamp } = setUp(() => new FakeLink(TALKS), { pinned: { family: silent, model: { id: 'S' } } });
    lamp.heard(heard('T-PLAIN'));
    expect(lamp.identity?.family.id).toBe('silent');
  });

  it('is settled by its characteristics where the advert leaves a choice', async () => {
    const { lamp, reach } = setUp(() => new FakeLink(TALKS));
    lamp.heard(heard('?'));
    expect(lamp.identity?.family.id).toBe('silent');
    expect(await reach(async (at) => at.family.id)).toBe('talking');
    expect(lamp.identity?.family.id).toBe('talking');
  });

  it('that the characteristics contradict is an identity mismatch, and nothing is written', async () => {
    const link = new FakeLink(SILENT);
    const { lamp, reach } = setUp(() => link);
    lamp.heard(heard('T-PLAIN'));
    let turns = 0;
    const reaching = reach(async () => {
      turns += 1;
    });
    await expect(reaching).rejects.toMatchObject({ code: 'identity_mismatch' });
    expect([turns, link.written]).toEqual([0, []]);
  });

  it('is a mismatch where the write characteristic is in another service, or cannot be written', async () => {
    for (const characteristics of [
      [{ service: 'ffe0', uuid: 'fff3', properties: ['write'] }],
      [{ service: 'fff0', uuid: 'fff3', properties: ['read', 'notify'] }],
      [],
    ]) {
      const { lamp, reach } = setUp(() => new FakeLink(characteristics));
      lamp.heard(heard('T-PLAIN'));
      await expect(reach(async () => undefined)).rejects.toMatchObject({ code: 'identity_mismatch' });
    }
  });

  it('is the second layout where the first is not there', async () => {
    const { lamp, reach } = setUp(() => new FakeLink([{ service: 'abcd', uuid: 'ff03', properties: ['write'] }]));
    lamp.heard(heard('T-PLAIN'));
    expect(await reach(async (at) => at.layout.write)).toBe('ff03');
  });

  it('never heard: its name is read, else the one family that could drive it is taken', async () => {
    const named = setUp(() => new FakeLink(TALKS, 'T-SLEEPY\0'));
    const reached = named.reach(async (at) => at.model.id);
    await vi.advanceTimersByTimeAsync(400);
    expect(await reached).toBe('SLEEPY');
    const nameless = setUp(() => new FakeLink(SILENT));
    expect(await nameless.reach(async (at) => at.family.id)).toBe('silent');
    const rival: LightFamily = { ...silent, id: 'rival' };
    const ambiguous = setUp(() => new FakeLink(SILENT), { families: [silent, rival] });
    await expect(ambiguous.reach(async () => undefined)).rejects.toMatchObject({ code: 'identity_mismatch' });
  });

  it('that cannot be driven is refused with the reason', async () => {
    const link = new FakeLink(TALKS);
    const { lamp, reach } = setUp(() => link);
    lamp.heard(heard('T-LOCKED'));
    await expect(reach(async () => undefined)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('it wants to be paired'),
    });
    expect(link.written).toEqual([]);
  });
});

describe('a new link', () => {
  it('is listened to, woken, asked once, and not again by the next turn', async () => {
    const link = new FakeLink(TALKS);
    const { lamp, reach } = setUp(() => link);
    lamp.heard(heard('T-SLEEPY'));
    const first = reach(async (at) => at.write(frame('fff3', 'aa')));
    await vi.advanceTimersByTimeAsync(400);
    await first;
    await reach(async (at) => at.write(frame('fff3', 'bb')));
    expect(bytes(link)).toEqual(['fff3 01', 'fff3 02', 'fff3 ef01', 'fff3 aa', 'fff3 bb']);
    const at = link.written.map((one) => Number(one.split('@')[1]));
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThanOrEqual(300);
  });

  it('is prepared again after a reconnect', async () => {
    const links = [new FakeLink(TALKS), new FakeLink(TALKS)];
    let made = 0;
    const { lamp, reach } = setUp(() => links[made++] ?? new FakeLink(TALKS));
    lamp.heard(heard('T-PLAIN'));
    await reach(async () => undefined);
    links[0]?.lose();
    await reach(async () => undefined);
    expect(links.map((link) => bytes(link))).toEqual([['fff3 ef01'], ['fff3 ef01']]);
  });

  it('tells what the lamp says, and survives what cannot be decoded', async () => {
    const link = new FakeLink(TALKS);
    const { lamp, said, reach } = setUp(() => link);
    lamp.heard(heard('T-PLAIN'));
    expect(await reach(async (at) => at.hears)).toBe(true);
    for (const first of [0xbb, 2, 1]) link.onValue?.(Uint8Array.of(first));
    expect(said).toEqual([{ state: 'ON', confidence: 'confirmed' }]);
  });

  it('to a lamp that talks nonsense without end costs one line a minute', async () => {
    const link = new FakeLink(TALKS);
    const { lamp, reach, warnings } = setUp(() => link);
    lamp.heard(heard('T-PLAIN'));
    await reach(async () => undefined);
    for (let n = 0; n < 1000; n += 1) link.onValue?.(Uint8Array.of(0xbb));
    expect(warnings()).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(61_000);
    link.onValue?.(Uint8Array.of(0xbb));
    expect(warnings()).toHaveLength(2);
    expect(warnings()[1]).toContain('"unsaid":999');
  });

  it('that takes no subscription can be commanded, and is tried again a second later', async () => {
    const link = new FakeLink(TALKS);
    link.refusesSubscription = 'refused_by_light';
    const { lamp, reach } = setUp(() => link);
    lamp.heard(heard('T-PLAIN'));
    expect(await reach(async (at) => at.hears)).toBe(false);
    link.refusesSubscription = undefined;
    await vi.advanceTimersByTimeAsync(1100);
    expect(await reach(async (at) => at.hears)).toBe(true);
    expect(bytes(link)).toEqual(['fff3 ef01']);
  });

  it('without a notify characteristic is commanded, not listened to', async () => {
    const { lamp, reach } = setUp(() => new FakeLink(SILENT));
    lamp.heard(heard('S'));
    expect(await reach(async (at) => at.hears)).toBe(false);
  });
});

describe('a lamp that hangs in mid-preparation', () => {
  it('is given up after twelve seconds, and tried with a fresh link', async () => {
    const [first, second] = [new FakeLink(TALKS), new FakeLink(TALKS)];
    first.hangsAt = 2;
    const links = [first, second];
    const { lamp, reach } = setUp(() => links.shift() ?? new FakeLink([]));
    lamp.heard(heard('T-SLEEPY'));
    const reached = reach(async (at) => at.write(frame('fff3', 'aa')), 20_000);
    await vi.advanceTimersByTimeAsync(11_900);
    expect(first.gone.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(1500);
    await reached;
    expect(first.gone.aborted).toBe(true);
    expect(bytes(second)).toEqual(['fff3 01', 'fff3 02', 'fff3 ef01', 'fff3 aa']);
  });

  it('because it leaves subscriptions unanswered is commanded all the same, unheard, and listened to again later', async () => {
    const links: FakeLink[] = [];
    let answers = false;
    const { lamp, reach } = setUp(() => {
      const link = new FakeLink(TALKS);
      if (!answers) link.refusesSubscription = 'timed_out';
      links.push(link);
      return link;
    });
    lamp.heard(heard('T-PLAIN'));
    const reached = reach(async (at) => {
      await at.write(frame('fff3', 'aa'));
      return at.hears;
    });
    await vi.advanceTimersByTimeAsync(3000);
    expect(await reached).toBe(false);
    expect(links.map(({ subscriptions }) => subscriptions)).toEqual([1, 1, 0]);
    expect(links.map(bytes)).toEqual([[], [], ['fff3 aa']]);
    answers = true;
    await vi.advanceTimersByTimeAsync(600_000);
    const again = reach(async (at) => at.hears);
    await vi.advanceTimersByTimeAsync(1000);
    expect(await again).toBe(true);
  });
});
