import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ClockFiles, ClockTrust, systemClock } from '../src/clock.ts';
import { PorchlightError } from '../src/errors.ts';
import { keptLog } from './support/log.ts';

const NOON = Date.UTC(2026, 10, 24, 12);
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const SYNCHRONISED = { '/run/systemd/timesync/synchronized': '' };

const rtc = (wall: number, more: Record<string, string> = {}) => ({
  '/sys/class/rtc/rtc0/name': 'rtc-ds1307 1-0068\n',
  '/sys/class/rtc/rtc0/hctosys': '1\n',
  '/sys/class/rtc/rtc0/since_epoch': `${Math.floor(wall / 1000)}\n`,
  ...Object.fromEntries(Object.entries(more).map(([key, value]) => [`/sys/class/rtc/rtc0/${key}`, value])),
});

/** A machine whose clocks stand still until they are moved; `run` is stepped from sleep to sleep. */
class Machine {
  wall: number;
  monotonic = 1000;
  files: Record<string, string> = {};
  /** What the state directory holds, and how often it was written. */
  kept: unknown;
  saves = 0;
  broken = false;
  readonly sleeps: number[] = [];
  readonly changes: [boolean, string][] = [];
  readonly trust: ClockTrust;
  readonly #stop = new AbortController();
  #wake: () => void = () => undefined;
  #asleep: () => void = () => undefined;
  #running: Promise<void> | undefined;

  constructor(
    options: { wall?: number; files?: Record<string, string>; kept?: unknown; trust?: 'auto' | 'system' } = {},
  ) {
    this.wall = options.wall ?? NOON;
    this.files = options.files ?? {};
    this.kept = options.kept;
    const files: ClockFiles = {
      read: async (path) => this.files[path],
      list: async (folder) => [
        ...new Set(
          Object.keys(this.files).flatMap((path) =>
            path.startsWith(`${folder}/`) ? [path.slice(folder.length + 1).split('/')[0] ?? ''] : [],
          ),
        ),
      ],
    };
    this.trust = new ClockTrust({
      trust: options.trust ?? 'auto',
      clock: { wall: () => this.wall, monotonic: () => this.monotonic },
      highWater: {
        load: async () => {
          if (this.broken) throw new PorchlightError('state_unusable');
          return this.kept;
        },
        save: async (value) => {
          if (this.broken) throw new PorchlightError('state_unusable');
          this.saves += 1;
          this.kept = value;
        },
      },
      log: keptLog().log,
      files,
      sleep: (ms) => {
        this.sleeps.push(ms);
        return new Promise((resolve) => {
          this.#wake = resolve;
          this.#asleep();
        });
      },
    });
    this.trust.onChange((trusted, why) => this.changes.push([trusted, why]));
    this.#stop.signal.addEventListener('abort', () => this.#wake());
  }

  /** Both clocks go on. */
  pass(ms: number): void {
    this.wall += ms;
    this.monotonic += ms;
  }

  /** Runs until the task sleeps again. */
  async look(): Promise<void> {
    const asleep = new Promise<void>((resolve) => {
      this.#asleep = resolve;
    });
    if (this.#running === undefined) this.#running = this.trust.run(this.#stop.signal);
    else this.#wake();
    await asleep;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

async function looked(options: ConstructorParameters<typeof Machine>[0]): Promise<Machine> {
  const machine = new Machine(options);
  await machine.look();
  return machine;
}

const date = (wall: number): string => new Date(wall).toUTCString();

describe('the clock is trusted', () => {
  it('when systemd-timesyncd has synchronised it', async () => {
    const machine = await looked({ files: SYNCHRONISED });
    expect(machine.trust.trusted).toBe(true);
    expect(machine.trust.why).toBe('synchronised over the network');
  });

  it('when a battery-backed clock shows the same', async () => {
    for (const offset of [0, 59_000, -59_000])
      expect((await looked({ files: rtc(NOON + offset) })).trust.trusted).toBe(true);
  });

  it('when a Date over verified TLS agrees within a minute', async () => {
    for (const [offset, trusted] of [
      [0, true],
      [60_000, true],
      [-60_000, true],
      [61_000, false],
      [-61_000, false],
    ] as const) {
      const machine = await looked({});
      machine.trust.observeDateHeader(date(NOON + offset), true);
      expect(machine.trust.trusted, String(offset)).toBe(trusted);
    }
  });

  it('always, when the configuration says so', async () => {
    const machine = new Machine({ trust: 'system', wall: 0 });
    expect(machine.trust.trusted).toBe(true);
    expect(machine.trust.why).toBe('clock.trust is system');
    await machine.look();
    expect(machine.trust.trusted).toBe(true);
    machine.wall = -1e15;
    expect(machine.trust.trusted).toBe(true);
  });
});

describe('the clock is not trusted', () => {
  it('before it was looked at, whatever a server says', () => {
    const machine = new Machine({ files: SYNCHRONISED });
    machine.trust.observeDateHeader(date(NOON), true);
    expect(machine.trust.trusted).toBe(false);
  });

  it('without any evidence', async () => {
    const machine = await looked({});
    expect(machine.trust.trusted).toBe(false);
    expect(machine.trust.why).toBe('the clock is not synchronised yet');
  });

  it('by a Date that nobody vouches for', async () => {
    const machine = await looked({});
    machine.trust.observeDateHeader(date(NOON), false);
    for (const odd of [
      null,
      undefined,
      '',
      'now',
      'Tue, 24 Nov 2026 12:00:00',
      '2026-11-24T12:00:00Z',
      'Tue, 24 Foo 2026 12:00:00 GMT',
      `${date(NOON)} x`,
    ]) {
      machine.trust.observeDateHeader(odd, true);
    }
    expect(machine.trust.trusted).toBe(false);
  });

  it('and says by how much it is wrong', async () => {
    const machine = await looked({});
    machine.trust.observeDateHeader(date(NOON + 3 * HOUR), true);
    expect(machine.trust.why).toBe("the clock is 10800 s behind a server's clock");
  });

  it.each<[string, Record<string, string>]>([
    ['a test driver', rtc(NOON, { name: 'rtc-test rtc-test.0' })],
    ['a virtual clock that counts since power-on', rtc(NOON, { name: 'meson-vrtc ff63c000.rtc' })],
    // raspberrypi/linux drivers/rtc/rtc-rpi.c: the connector's voltage in microvolts.
    ['a Pi 5 without battery', rtc(NOON, { name: 'rpi-rtc soc:rpi_rtc', battery_voltage: '18000\n' })],
    ['a clock that stands at 1970', rtc(5000)],
    ['a clock in local time', rtc(NOON + 2 * HOUR)],
    ['a driver that refuses the time', { '/sys/class/rtc/rtc0/name': 'rtc-pcf8523 1-0068' }],
    ['a driver that says nonsense', rtc(NOON, { since_epoch: '1e99' })],
    ['something else in the folder', { '/sys/class/rtc/README/since_epoch': String(NOON / 1000) }],
  ])('because of %s', async (_, files) => {
    expect((await looked({ files })).trust.trusted).toBe(false);
  });

  it('in 1970, even if said to be synchronised; in no odd year does it throw', async () => {
    for (const wall of [0, 5000, Date.UTC(2020, 0), -1, Number.NaN]) {
      const machine = await looked({ wall, files: SYNCHRONISED });
      expect(machine.trust.trusted).toBe(false);
    }
    for (const wall of [8.64e15 + 1, Number.POSITIVE_INFINITY])
      expect(typeof (await looked({ wall })).trust.why).toBe('string');
  });

  it('at a time before that of the last run; a minute does not count', async () => {
    for (const [behind, trusted] of [
      [0, true],
      [MINUTE, true],
      [MINUTE + 1, false],
      [21 * 24 * HOUR, false],
    ] as const) {
      const machine = await looked({ kept: { wall: NOON + behind }, files: { ...SYNCHRONISED, ...rtc(NOON) } });
      machine.trust.observeDateHeader(date(NOON), true);
      expect(machine.trust.trusted, String(behind)).toBe(trusted);
      if (!trusted) expect(machine.trust.why).toContain('it was set back');
    }
  });

  it('while the time of the last run cannot be read', async () => {
    const machine = new Machine({ files: SYNCHRONISED });
    machine.broken = true;
    await machine.look();
    expect(machine.trust.trusted).toBe(false);
    machine.broken = false;
    await machine.look();
    expect(machine.trust.trusted).toBe(true);
  });
});

describe('a kept time that makes no sense', () => {
  it.each([[undefined], [null], [5], ['x'], [{}], [{ wall: 'x' }], [{ wall: -1 }], [{ wall: 1e300 }]])(
    '%j counts as none',
    async (kept) => {
      expect((await looked({ kept, files: SYNCHRONISED })).trust.trusted).toBe(true);
    },
  );
});

describe('as time goes on', () => {
  it('it looks every 5 s until the clock is trusted, then every minute', async () => {
    const machine = await looked({});
    machine.pass(5000);
    await machine.look();
    machine.files = SYNCHRONISED;
    machine.pass(5000);
    await machine.look();
    machine.pass(MINUTE);
    await machine.look();
    expect(machine.sleeps).toEqual([5000, 5000, 60_000, 60_000]);
    expect(machine.changes).toEqual([[true, 'synchronised over the network']]);
    await machine.stop();
  });

  it('a Pi that boots three weeks in the past is trusted once its clock was set', async () => {
    const machine = await looked({ wall: NOON - 21 * 24 * HOUR });
    machine.trust.observeDateHeader(date(NOON), true);
    expect(machine.trust.trusted).toBe(false);
    machine.wall = NOON;
    expect(machine.trust.trusted).toBe(true);
  });

  it('a clock that is set back is noticed at once, not at the next look', async () => {
    for (const back of [MINUTE + 1, HOUR, 10 * 365 * 24 * HOUR]) {
      const machine = await looked({ files: SYNCHRONISED });
      machine.pass(10_000);
      expect(machine.trust.trusted).toBe(true);
      machine.wall -= back;
      expect(machine.trust.trusted).toBe(false);
      expect(machine.changes.at(-1)?.[0]).toBe(false);
      // Set right again.
      machine.wall += back;
      expect(machine.trust.trusted).toBe(true);
    }
  });

  it('a step back that hides behind the time since the last look is noticed against the monotonic clock', async () => {
    const machine = await looked({ files: SYNCHRONISED });
    machine.pass(50_000);
    machine.wall -= 90_000;
    // Only 40 s behind what was seen last, but 90 s behind what it must be.
    expect(machine.trust.trusted).toBe(false);
    machine.pass(20_000);
    expect(machine.trust.trusted).toBe(false);
  });

  it('small steps and slewing cost nothing, however many', async () => {
    const machine = await looked({ files: SYNCHRONISED });
    for (let n = 0; n < 100; n++) {
      machine.pass(MINUTE);
      machine.wall -= 2000;
      await machine.look();
      expect(machine.trust.trusted).toBe(true);
    }
  });

  it("a server's word stays good while the clocks go on, and loses to a clock that jumps ahead", async () => {
    const machine = await looked({});
    machine.trust.observeDateHeader(date(NOON), true);
    machine.pass(24 * HOUR);
    expect(machine.trust.trusted).toBe(true);
    machine.wall += 365 * 24 * HOUR;
    expect(machine.trust.trusted).toBe(false);
  });

  it('the latest trusted time is kept at most once an hour, and never an untrusted one', async () => {
    const machine = await looked({});
    expect(machine.saves).toBe(0);
    machine.files = SYNCHRONISED;
    for (let minute = 0; minute < 180; minute++) {
      machine.pass(MINUTE);
      await machine.look();
    }
    expect(machine.saves).toBe(3);
    expect(machine.kept).toEqual({ wall: expect.any(Number) });
    const { wall } = machine.kept as { wall: number };
    expect(machine.wall - wall).toBeLessThanOrEqual(HOUR);
    await machine.stop();

    const next = await looked({ kept: machine.kept, wall: NOON - HOUR, files: SYNCHRONISED });
    expect(next.trust.trusted).toBe(false);
    expect(next.kept).toEqual({ wall });
  });

  it('a disk that is full does not stop it', async () => {
    const machine = await looked({});
    machine.broken = true;
    machine.files = SYNCHRONISED;
    await machine.look();
    expect(machine.trust.trusted).toBe(true);
    await machine.stop();
  });

  it('whoever listened and stopped is not called', async () => {
    const machine = await looked({});
    let calls = 0;
    const stop = machine.trust.onChange(() => {
      calls += 1;
    });
    stop();
    machine.files = SYNCHRONISED;
    await machine.look();
    expect(calls).toBe(0);
    expect(machine.changes).toHaveLength(1);
  });

  it('whatever the steps, it is never trusted more than a minute behind a time at which it was', async () => {
    const step = fc.record({
      pass: fc.nat(2 * HOUR),
      jump: fc.oneof(fc.constant(0), fc.integer({ min: -3 * HOUR, max: 3 * HOUR })),
      synchronised: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const machine = await looked({ files: SYNCHRONISED });
        let latest = machine.wall;
        for (const { pass, jump, synchronised } of steps) {
          machine.pass(pass);
          machine.wall += jump;
          machine.files = synchronised ? SYNCHRONISED : {};
          if (machine.trust.trusted) {
            expect(machine.wall).toBeGreaterThanOrEqual(latest - MINUTE);
            latest = Math.max(latest, machine.wall);
          }
          await machine.look();
          if (machine.trust.trusted) latest = Math.max(latest, machine.wall);
        }
        await machine.stop();
      }),
      { numRuns: 60 },
    );
  });
});

it("the machine's own clocks are milliseconds", () => {
  expect(Math.abs(systemClock.wall() - Date.now())).toBeLessThan(1000);
  const before = systemClock.monotonic();
  expect(systemClock.monotonic()).toBeGreaterThanOrEqual(before);
});
