import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Pulse } from '../../src/bluetooth/central.ts';
import { Ladder, type LadderTimings } from '../../src/bluetooth/ladder.ts';
import { explaining, type Trouble } from '../../src/bluetooth/stuck.ts';
import { asPorchlightError, PorchlightError } from '../../src/errors.ts';
import type { LampPort } from '../../src/lights/port.ts';
import { keptLog } from '../support/log.ts';

const MB = 1024 * 1024;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const PULSE_MS = 2000;

/** A ladder on a clock of its own. Its radio obeys: a restart ends the life, and the adapter of the next one is on at once. */
function climb(timings: Partial<LadderTimings> = {}) {
  const { log, lines } = keptLog();
  const steps: { readonly at: number; readonly step: 'drop' | 'restart'; readonly reason: string }[] = [];
  const world = {
    now: 1000,
    shouldHear: true,
    busy: false,
    links: 2,
    obeys: true,
    heardAt: -Infinity,
    changes: 0,
    on: true,
  };
  const ladder = new Ladder({
    clock: { monotonic: () => world.now, wall: () => Date.UTC(2026, 10, 1) + world.now },
    log,
    shouldHear: () => world.shouldHear,
    busy: () => world.busy,
    dropLinks: (reason) => {
      steps.push({ at: world.now, step: 'drop', reason });
      return world.links;
    },
    restartRadio: (reason) => {
      steps.push({ at: world.now, step: 'restart', reason });
    },
    onChange: () => {
      world.changes += 1;
    },
    timings,
  });
  const restarted = (): void => {
    ladder.ended({ reason: 'ordered', connecting: false });
    ladder.adapter('unknown');
    ladder.adapter('poweredOn');
    world.on = true;
  };
  /** Pulses for so long, of a radio that hears nothing but what `hear` told it. */
  const run = (ms: number, pulse: Partial<Pulse> = {}): void => {
    for (const end = world.now + ms; world.now < end; ) {
      world.now += PULSE_MS;
      const before = steps.length;
      const heardMs = world.now - world.heardAt;
      ladder.pulse({ rescans: 0, rss: 45 * MB, ...(heardMs < Infinity ? { heardMs } : {}), ...pulse });
      if (world.obeys && steps.slice(before).some(({ step }) => step === 'restart')) restarted();
    }
  };
  const hear = (): void => {
    world.heardAt = world.now;
  };
  const logged = (text: string): number => lines.filter((line) => line.includes(text)).length;
  const said = (level: string): number => lines.filter((line) => JSON.parse(line).level === level).length;
  ladder.adapter('poweredOn');
  ladder.pulse({ rescans: 0, rss: 45 * MB });
  const times = (): string[] => steps.map(({ at, step }) => `${step} ${Math.round((at - 1000) / SECOND)}`);
  return { ladder, world, steps, times, lines, run, hear, restarted, logged, said };
}

describe('the climb of an adapter that hears nothing', () => {
  it('drops links after 90 s, restarts the radio after 120, says so after 180, and tries on with growing pauses', () => {
    const { ladder, run, times, steps, said } = climb();
    run(88 * SECOND);
    expect(times()).toEqual([]);
    run(32 * SECOND);
    expect(times()).toEqual(['drop 90', 'restart 120']);
    expect(ladder.problem).toBeUndefined();
    // A minute of pulses of the new life.
    run(62 * SECOND);
    expect(ladder.status()).toMatchObject({ rung: 'stuck', links_dropped: 2, restarts: 1 });
    expect(ladder.status().stuck_since).toMatch(/^2026-11-01T/);
    expect(ladder.problem).toMatchObject({ code: 'adapter_stuck' });
    run(65 * MINUTE);
    const restarts = steps.slice(1).map(({ at }) => at);
    const pauses = restarts.slice(1).map((at, n) => Math.floor((at - (restarts[n] ?? 0)) / MINUTE));
    // The first is a minute of its own and the minute in which nothing was heard.
    expect(pauses).toEqual([2, 2, 4, 8, 15, 15, 15]);
    expect(said('error')).toBe(1);
  });

  it('says honestly what silence means: nothing at all is heard, which may also be a home without a powered lamp', () => {
    const { ladder, run } = climb();
    run(200 * SECOND);
    expect(ladder.problem?.message).toMatch(/hears nothing at all/);
    expect(ladder.problem?.hint).toMatch(/if a lamp is powered/i);
  });

  it('logs each rung once per climb, and the end of it once', () => {
    const { ladder, run, hear, logged, lines } = climb();
    run(40 * SECOND, { rescans: 2 });
    run(3 * MINUTE);
    hear();
    run(10 * SECOND);
    expect(ladder.status()).toMatchObject({ rung: 'none', scan_restarts: 2 });
    expect(ladder.problem).toBeUndefined();
    for (const text of [
      'scan was begun anew',
      'links are dropped',
      'radio is restarted',
      'nothing at all',
      'works again',
    ])
      expect(logged(text), text).toBe(1);
    expect(lines).toHaveLength(5);
  });

  it('begins from the bottom after anything was heard, at every height', () => {
    for (const height of [30, 100, 130, 200, 1000]) {
      const { run, hear, steps, ladder } = climb();
      run(height * SECOND);
      hear();
      run(4 * SECOND);
      const before = steps.length;
      run(80 * SECOND);
      expect(steps).toHaveLength(before);
      expect(ladder.status().rung).toBe('none');
      run(20 * SECOND);
      expect(steps.at(-1)?.step).toBe('drop');
    }
  });

  it('is ended by an advert of a configured lamp and by a new link, without waiting for a pulse', () => {
    for (const end of ['heard', 'linked'] as const) {
      const { ladder, run, world } = climb();
      run(190 * SECOND);
      expect(ladder.problem).toBeDefined();
      const changes = world.changes;
      if (end === 'heard') ladder.heard();
      else ladder.sign('linked');
      expect(ladder.problem).toBeUndefined();
      expect(world.changes).toBeGreaterThan(changes);
    }
  });

  it('that comes and goes says so at most once a minute, and how often it was', () => {
    const { run, hear, logged, lines } = climb();
    for (let n = 1; n <= 50; n += 1) {
      run(4 * SECOND, { rescans: n });
      hear();
      run(2 * SECOND, { rescans: n });
    }
    // Five minutes.
    expect(logged('scan was begun anew')).toBeLessThanOrEqual(6);
    expect(logged('works again')).toBeLessThanOrEqual(6);
    expect(JSON.parse(lines.at(-1) ?? '{}').swallowed).toBeGreaterThan(5);
  });

  it('waits for a restart that it ordered, however long it takes', () => {
    const { run, world, steps, restarted, times } = climb();
    world.obeys = false;
    run(30 * MINUTE);
    expect(times()).toEqual(['drop 90', 'restart 120']);
    restarted();
    run(64 * SECOND);
    expect(steps).toHaveLength(2);
  });

  it('counts restarts of the scan that did not lead to a climb, without a line', () => {
    const { ladder, run, hear, lines } = climb();
    for (let n = 1; n <= 5; n += 1) {
      hear();
      run(PULSE_MS, { rescans: n });
    }
    expect(ladder.status()).toMatchObject({ rung: 'none', scan_restarts: 5 });
    expect(lines).toEqual([]);
  });

  it('tells scan restarts of a new life from those of the last', () => {
    const { ladder, run, restarted } = climb();
    run(10 * SECOND, { rescans: 3 });
    restarted();
    run(10 * SECOND, { rescans: 1 });
    expect(ladder.status().scan_restarts).toBe(4);
  });
});

describe('silence that means nothing', () => {
  it('where every lamp has a link, or a connection is being made, nobody need be heard', () => {
    const { run, world, steps } = climb();
    world.shouldHear = false;
    run(30 * MINUTE);
    expect(steps).toEqual([]);
    world.shouldHear = true;
    run(88 * SECOND);
    expect(steps).toEqual([]);
    run(4 * SECOND);
    expect(steps).toHaveLength(1);
  });

  it('while the adapter is off or not known yet', () => {
    for (const state of ['poweredOff', 'unknown', 'resetting', 'unauthorized', 'unsupported'] as const) {
      const { ladder, run, steps } = climb();
      ladder.adapter(state);
      run(30 * MINUTE);
      expect(steps).toEqual([]);
      expect(ladder.problem).toBeUndefined();
    }
  });

  it('an adapter that is unplugged in mid-climb is off, not stuck; plugged in, it is judged anew', () => {
    const { ladder, run, steps } = climb();
    run(200 * SECOND);
    expect(ladder.problem).toBeDefined();
    ladder.adapter('poweredOff');
    expect(ladder.problem).toBeUndefined();
    expect(ladder.status().rung).toBe('none');
    ladder.adapter('poweredOn');
    const before = steps.length;
    run(88 * SECOND);
    expect(steps).toHaveLength(before);
  });

  it('a gateway that was itself held up for an hour has heard nothing because it was not there', () => {
    const { ladder, run, world, steps } = climb();
    run(20 * SECOND);
    world.now += 60 * MINUTE;
    // The pulse that waited in the pipe knows nothing of the pause; the next one is of now.
    ladder.pulse({ rescans: 0, rss: 45 * MB, heardMs: 500 });
    run(60 * SECOND);
    expect(steps).toEqual([]);
    world.now += 60 * MINUTE;
    ladder.pulse({ rescans: 0, rss: 45 * MB });
    expect(steps).toEqual([]);
  });
});

describe('links that work', () => {
  it('keep a lamp that answers from losing its link and its radio', () => {
    const { ladder, run, steps } = climb();
    for (let n = 0; n < 25; n += 1) {
      run(20 * SECOND);
      ladder.sign('answered');
    }
    expect(steps).toEqual([]);
    // Nobody answers any more: what was due is done.
    run(34 * SECOND);
    expect(steps.map(({ step }) => step)).toEqual(['drop']);
  });

  it('but not for ever: where nobody else was heard for ten minutes, the others count too', () => {
    const { ladder, run, steps } = climb();
    for (let n = 0; n < 70; n += 1) {
      run(10 * SECOND);
      ladder.sign('answered');
    }
    expect(steps.map(({ step }) => step)).toEqual(['drop', 'restart', 'restart'].slice(0, steps.length));
    expect(steps[0]?.at).toBeGreaterThanOrEqual(10 * MINUTE);
    expect(steps.length).toBeGreaterThanOrEqual(2);
  });

  it('an answer does not end the silence', () => {
    const { ladder, run, steps } = climb();
    run(60 * SECOND);
    ladder.sign('answered');
    run(40 * SECOND);
    expect(steps).toHaveLength(1);
  });
});

describe('a controller that does not answer', () => {
  const end = { reason: 'the Bluetooth controller does not answer', code: 'adapter_stuck', connecting: false } as const;

  it('is stuck after the third life in a row that ended by it, said once', () => {
    const { ladder, said, steps } = climb();
    ladder.ended(end);
    ladder.ended(end);
    expect(ladder.problem).toBeUndefined();
    ladder.ended(end);
    expect(ladder.problem).toMatchObject({ code: 'adapter_stuck' });
    for (let n = 0; n < 50; n += 1) ladder.ended(end);
    expect(said('error')).toBe(1);
    expect(steps).toEqual([]);
  });

  it('is well again with the first advert', () => {
    const { ladder, logged, hear, run } = climb();
    for (let n = 0; n < 4; n += 1) ladder.ended(end);
    ladder.adapter('poweredOn');
    hear();
    run(PULSE_MS);
    expect(ladder.problem).toBeUndefined();
    expect(logged('works again')).toBe(1);
    ladder.ended(end);
    ladder.ended(end);
    expect(ladder.problem).toBeUndefined();
  });

  it('does not count lives that ended otherwise, nor is it freed by them', () => {
    const { ladder } = climb();
    ladder.ended(end);
    for (let n = 0; n < 10; n += 1) ladder.ended({ reason: 'it got SIGKILL', connecting: false });
    ladder.ended(end);
    expect(ladder.problem).toBeUndefined();
    ladder.ended(end);
    expect(ladder.problem).toBeDefined();
  });

  it('that is unplugged is off', () => {
    const { ladder } = climb();
    for (let n = 0; n < 3; n += 1) ladder.ended(end);
    ladder.ended({ reason: 'no controller', code: 'adapter_off', connecting: false });
    ladder.adapter('poweredOff');
    expect(ladder.problem).toBeUndefined();
    ladder.ended(end);
    ladder.ended(end);
    expect(ladder.problem).toBeUndefined();
  });
});

describe('connects that get stuck', () => {
  const end = { reason: 'a connection attempt cannot be cancelled', code: 'adapter_stuck', connecting: true } as const;

  function threeTimes() {
    const all = climb();
    for (let n = 0; n < 3; n += 1) {
      all.ladder.adapter('poweredOn');
      all.hear();
      all.run(20 * SECOND);
      all.hear();
      all.run(PULSE_MS);
      all.ladder.ended(end);
    }
    return all;
  }

  it('are told from silence, though lamps are heard in between', () => {
    const { ladder } = threeTimes();
    expect(ladder.problem?.message).toMatch(/hears lamps, but/);
    ladder.adapter('poweredOn');
    ladder.heard();
    expect(ladder.problem).toBeDefined();
  });

  it('are over with a link, or with any end that the controller itself reports', () => {
    for (const sign of ['linked', 'let_go'] as const) {
      const { ladder } = threeTimes();
      ladder.sign(sign);
      expect(ladder.problem).toBeUndefined();
      expect(ladder.status().stuck_since).toBeUndefined();
    }
  });

  it('are forgotten when nobody connects for a quarter of an hour, and the adapter hears', () => {
    const { ladder, run, hear } = threeTimes();
    ladder.adapter('poweredOn');
    for (let n = 0; n < 8 * 60; n += 1) {
      hear();
      run(PULSE_MS);
    }
    expect(ladder.problem).toBeUndefined();
  });

  it('of a controller that hangs are silence from the second life on, and end with the first advert', () => {
    const { ladder, hear, run, world } = climb();
    hear();
    run(PULSE_MS);
    world.now += 15 * SECOND;
    ladder.ended(end);
    world.now += 40 * SECOND;
    ladder.ended(end);
    world.now += 40 * SECOND;
    ladder.ended(end);
    expect(ladder.problem?.message).toMatch(/does not answer/);
    ladder.adapter('poweredOn');
    ladder.heard();
    expect(ladder.problem).toBeUndefined();
  });
});

describe('a command to a lamp that was not reached', () => {
  const failing = (code: 'unreachable' | 'radio_restarting' | 'refused_by_light' | 'stopping'): LampPort => ({
    identity: undefined,
    reach: () => Promise.reject(new PorchlightError(code)),
  });
  const codeOf = async (lamp: LampPort): Promise<string> => {
    try {
      await lamp.reach(0, () => Promise.resolve(), new AbortController().signal);
      return 'reached';
    } catch (thrown) {
      return asPorchlightError(thrown).code;
    }
  };

  it('says that the adapter is stuck while it is, but not of what the lamp itself or a stop was to blame for', async () => {
    const { ladder, run } = climb();
    const problem = (): Trouble | undefined => ladder.problem;
    const far = explaining(failing('unreachable'), problem);
    expect(await codeOf(far)).toBe('unreachable');
    run(200 * SECOND);
    expect(await codeOf(far)).toBe('adapter_stuck');
    expect(await codeOf(explaining(failing('radio_restarting'), problem))).toBe('adapter_stuck');
    expect(await codeOf(explaining(failing('refused_by_light'), problem))).toBe('refused_by_light');
    expect(await codeOf(explaining(failing('stopping'), problem))).toBe('stopping');
    ladder.heard();
    expect(await codeOf(far)).toBe('unreachable');
  });
});

describe('a radio that has grown', () => {
  it('is replaced when no command is under way, at most every ten minutes', () => {
    const { run, world, steps, hear, ladder } = climb();
    const grow = (ms: number, rss: number): void => {
      for (const end = world.now + ms; world.now < end; ) {
        hear();
        run(PULSE_MS, { rss });
      }
    };
    world.busy = true;
    grow(5 * MINUTE, 97 * MB);
    expect(steps).toEqual([]);
    world.busy = false;
    grow(PULSE_MS, 97 * MB);
    expect(steps).toHaveLength(1);
    expect(steps[0]?.reason).toContain('97 MB');
    expect(ladder.status()).toMatchObject({ recycled: 1, rung: 'none' });
    grow(PULSE_MS, 45 * MB);
    grow(9 * MINUTE, 97 * MB);
    expect(steps).toHaveLength(1);
    grow(2 * MINUTE, 97 * MB);
    expect(steps).toHaveLength(2);
  });

  it('to twice the bound is replaced at once, whatever is under way', () => {
    const { run, world, steps } = climb();
    world.busy = true;
    run(PULSE_MS, { rss: 191 * MB });
    expect(steps).toEqual([]);
    run(PULSE_MS, { rss: 217 * MB });
    expect(steps).toHaveLength(1);
  });

  it('is not replaced again and again where a fresh one is that large', () => {
    const { run, world, steps, restarted, hear } = climb();
    restarted();
    for (const end = world.now + 60 * MINUTE; world.now < end; ) {
      hear();
      run(PULSE_MS, { rss: 150 * MB });
    }
    expect(steps).toEqual([]);
  });
});

describe('whatever happens', () => {
  const event = fc.oneof(
    { weight: 12, arbitrary: fc.constant('silent') },
    { weight: 1, arbitrary: fc.constantFrom('heard', 'linked', 'answered', 'let_go', 'advert') },
    { weight: 1, arbitrary: fc.constantFrom('off', 'on', 'unknown', 'stuck-end', 'end', 'ignored', 'obeyed') },
    { weight: 1, arbitrary: fc.constantFrom('linked-all', 'some-unlinked', 'pause', 'rescan', 'fat', 'very-fat') },
  );

  it('no step is taken twice within its pause, none for an adapter that is off, and no line twice a minute', () => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 50, maxLength: 600 }), (events) => {
        const { ladder, world, steps, lines, run, hear, restarted } = climb();
        let rescans = 0;
        for (const one of events) {
          const before = steps.length;
          const off = !world.on;
          if (one === 'silent') run(PULSE_MS * 4, { rescans });
          else if (one === 'heard') hear();
          else if (one === 'advert') ladder.heard();
          else if (one === 'linked' || one === 'answered' || one === 'let_go') ladder.sign(one);
          else if (one === 'off') ladder.adapter('poweredOff');
          else if (one === 'on') ladder.adapter('poweredOn');
          else if (one === 'unknown') ladder.adapter('unknown');
          else if (one === 'stuck-end')
            ladder.ended({ reason: 'stuck', code: 'adapter_stuck', connecting: rescans % 2 === 0 });
          else if (one === 'end') restarted();
          else if (one === 'ignored') world.obeys = false;
          else if (one === 'obeyed') world.obeys = true;
          else if (one === 'linked-all') world.shouldHear = false;
          else if (one === 'some-unlinked') world.shouldHear = true;
          else if (one === 'pause') world.now += 10 * MINUTE;
          else if (one === 'rescan') rescans += 1;
          else run(PULSE_MS, { rss: one === 'fat' ? 110 * MB : 300 * MB });
          if (one === 'off' || one === 'unknown') world.on = false;
          if (one === 'on') world.on = true;
          const silence = steps.slice(before).filter(({ reason }) => reason.includes('nothing was heard'));
          if (off && one !== 'on') expect(silence).toEqual([]);
        }
        const bySilence = steps.filter(({ reason }) => reason.includes('nothing was heard'));
        for (const [at, step] of bySilence.entries()) {
          const last = bySilence[at - 1];
          if (last === undefined) continue;
          // From one step to the next is at least the shortest pause of the climb.
          expect(step.at - last.at).toBeGreaterThanOrEqual(30 * SECOND);
          if (step.step === last.step) expect(step.at - last.at).toBeGreaterThanOrEqual(60 * SECOND);
        }
        const seen = new Map<string, number>();
        for (const line of lines) {
          const { msg, time } = JSON.parse(line);
          expect(time).toBeDefined();
          seen.set(msg, (seen.get(msg) ?? 0) + 1);
        }
        const minutes = (world.now - 1000) / MINUTE + 1;
        for (const [msg, count] of seen) expect(count, msg).toBeLessThanOrEqual(Math.ceil(minutes));
      }),
      { numRuns: 200, seed: 7 },
    );
  });
});
