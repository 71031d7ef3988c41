import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { AdapterState, Central, ConnectOptions, Link } from '../../src/bluetooth/central.ts';
import { Links } from '../../src/bluetooth/links.ts';
import { type ErrorCode, PorchlightError } from '../../src/errors.ts';
import { frame } from '../support/frame.ts';
import { keptLog } from '../support/log.ts';

/**
 * A Central in memory. The real one's habits: one attempt at a time until its connection stands, an attempt lasts its whole deadline when nobody answers,
 * a link's operations reject with the reason of its end, and everything is asynchronous.
 */
class FakeCentral implements Central {
  adapter: AdapterState = 'poweredOn';
  readonly log: string[] = [];
  readonly open = new Map<string, FakeLink>();
  /** How an address behaves; absent: it answers after 20 ms. */
  readonly behaviour = new Map<string, 'dead' | ErrorCode>();
  /** How long reading the characteristics of an address takes, after its connection stands. */
  readonly discoverMs = new Map<string, number>();
  /** Attempts that were ended while characteristics were read. */
  readonly ended: string[] = [];
  /** As many links as the adapter itself has room for. */
  room = Number.POSITIVE_INFINITY;
  attempts = 0;
  connecting = 0;
  mostConnecting = 0;
  mostOpen = 0;

  async connect(address: string, options: ConnectOptions): Promise<Link> {
    this.attempts += 1;
    this.log.push(`try ${address}`);
    await this.#connection(address, options);
    options.onConnected?.();
    await wait(this.discoverMs.get(address) ?? 0, options.signal);
    if (options.signal?.aborted === true) {
      this.ended.push(address);
      throw new PorchlightError('unreachable');
    }
    const link = new FakeLink(address, () => this.open.delete(address));
    this.open.set(address, link);
    this.mostOpen = Math.max(this.mostOpen, this.open.size);
    return link;
  }

  async #connection(address: string, { timeoutMs, signal }: ConnectOptions): Promise<void> {
    this.connecting += 1;
    this.mostConnecting = Math.max(this.mostConnecting, this.connecting);
    try {
      const behaviour = this.behaviour.get(address);
      await wait(behaviour === 'dead' ? timeoutMs : 20, signal);
      if (behaviour === 'dead' || signal?.aborted === true) throw new PorchlightError('unreachable');
      if (behaviour !== undefined) throw new PorchlightError(behaviour);
      if (this.open.size >= this.room) throw new PorchlightError('out_of_slots');
    } finally {
      this.connecting -= 1;
    }
  }

  async scan(): Promise<void> {
    this.log.push('scan');
  }
}

class FakeLink implements Link {
  readonly address: string;
  readonly characteristics = [];
  readonly #gone = new AbortController();
  readonly #onEnd: () => void;
  constructor(address: string, onEnd: () => void) {
    this.address = address;
    this.#onEnd = onEnd;
  }
  get gone(): AbortSignal {
    return this.#gone.signal;
  }
  lose(): void {
    this.#onEnd();
    this.#gone.abort(new PorchlightError('link_lost'));
  }
  async write(): Promise<void> {
    await wait(5);
    if (this.gone.aborted) throw this.gone.reason;
  }
  async read(): Promise<Uint8Array> {
    return new Uint8Array();
  }
  async subscribe(): Promise<void> {
    await wait(5);
  }
  async disconnect(): Promise<void> {
    await wait(10);
    this.lose();
  }
}

const wait = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });

const address = (n: number): string => `be:ff:20:00:00:${n.toString(16).padStart(2, '0')}`;
const A = address(1);
const B = address(2);
const C = address(3);

function setUp(maxConnections = 2, idleMs = 1000) {
  const central = new FakeCentral();
  const { log } = keptLog();
  const links = new Links({ central, maxConnections, idleMs, clock: { monotonic: () => performance.now() }, log });
  const use = (
    to: string,
    ms = 30_000,
    turn: (link: Link) => Promise<unknown> = (link) => link.write(frame('fff3', Uint8Array.of(1), 'request')),
  ) => links.use(to, performance.now() + ms, turn);
  return { central, links, use };
}

/** What a promise came to, as it is at the moment. */
function outcome(promise: Promise<unknown>): { now: string } {
  const state = { now: 'pending' };
  promise.then(
    () => {
      state.now = 'done';
    },
    (thrown: unknown) => {
      state.now = thrown instanceof PorchlightError ? thrown.code : 'stranger';
    },
  );
  return state;
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a link', () => {
  it('is made once, used in turns, and given back when nobody uses it', async () => {
    const { central, links, use } = setUp();
    const order: string[] = [];
    const turn = (name: string) => async (link: Link) => {
      order.push(`${name} begins`);
      await link.write(frame('fff3', Uint8Array.of(1), 'request'));
      order.push(`${name} ends`);
    };
    const all = Promise.all([use(A, 1000, turn('one')), use(A, 1000, turn('two'))]);
    await vi.advanceTimersByTimeAsync(100);
    await all;
    expect(order).toEqual(['one begins', 'one ends', 'two begins', 'two ends']);
    expect(central.attempts).toBe(1);
    expect(links.status()).toMatchObject({ used: 1, max: 2 });
    await vi.advanceTimersByTimeAsync(1500);
    expect(links.status().used).toBe(0);
    expect(central.open.size).toBe(0);
  });

  it('is kept while it is used', async () => {
    const { central, use } = setUp(2, 1000);
    for (let i = 0; i < 10; i += 1) {
      const done = use(A);
      await vi.advanceTimersByTimeAsync(800);
      await done;
    }
    expect(central.attempts).toBe(1);
  });

  it('that broke is made anew, and the turn is run again', async () => {
    const { central, use } = setUp();
    let turns = 0;
    const state = outcome(
      use(A, 5000, async (link) => {
        turns += 1;
        if (turns === 1) central.open.get(A)?.lose();
        await link.write(frame('fff3', Uint8Array.of(1), 'request'));
      }),
    );
    await vi.advanceTimersByTimeAsync(1000);
    expect(state.now).toBe('done');
    expect([turns, central.attempts]).toEqual([2, 2]);
  });

  it('hands back what the turn returned', async () => {
    const { use } = setUp();
    const value = use(A, 1000, async () => 42);
    await vi.advanceTimersByTimeAsync(100);
    expect(await value).toBe(42);
  });
});

describe('failures', () => {
  it('of the lamp itself are not retried', async () => {
    for (const code of ['refused_by_light', 'unsupported', 'identity_mismatch', 'bad_command'] as const) {
      const { use } = setUp();
      let turns = 0;
      const state = outcome(
        use(A, 30_000, async () => {
          turns += 1;
          throw new PorchlightError(code);
        }),
      );
      await vi.advanceTimersByTimeAsync(100);
      expect([state.now, turns]).toEqual([code, 1]);
    }
  });

  it('of the air are retried with growing waits until the deadline, and end with the last code', async () => {
    const { central, links, use } = setUp();
    central.behaviour.set(A, 'connect_failed');
    links.heard(A);
    const state = outcome(use(A, 10_000));
    await vi.advanceTimersByTimeAsync(9_990);
    expect(state.now).toBe('pending');
    // 0, 0.2, 0.6, 1.4, 3.0, 6.2 s and then every 4 s (and 20 ms each).
    expect(central.attempts).toBe(6);
    await vi.advanceTimersByTimeAsync(20);
    expect(state.now).toBe('connect_failed');
  });

  it('cease at the deadline even when an attempt is under way', async () => {
    const { central, use } = setUp();
    central.behaviour.set(A, 'dead');
    const state = outcome(use(A, 700));
    await vi.advanceTimersByTimeAsync(750);
    expect(state.now).toBe('unreachable');
    expect(central.connecting).toBe(0);
  });

  it('a turn that has begun is awaited beyond the deadline, because its bytes may be at the lamp', async () => {
    const { use } = setUp();
    const state = outcome(use(A, 100, () => wait(500)));
    await vi.advanceTimersByTimeAsync(300);
    expect(state.now).toBe('pending');
    await vi.advanceTimersByTimeAsync(300);
    expect(state.now).toBe('done');
  });

  it('a turn that had to wait for its turn too long is not begun', async () => {
    const { use } = setUp();
    const first = outcome(use(A, 30_000, () => wait(2000)));
    let began = false;
    const second = outcome(
      use(A, 500, async () => {
        began = true;
      }),
    );
    await vi.advanceTimersByTimeAsync(600);
    expect(second.now).toBe('unreachable');
    await vi.advanceTimersByTimeAsync(5000);
    expect([first.now, began]).toEqual(['done', false]);
  });

  it('that are not ours become "internal" and are not retried', async () => {
    const { use } = setUp();
    const state = outcome(
      use(A, 1000, async () => {
        throw new TypeError('oops');
      }),
    );
    await vi.advanceTimersByTimeAsync(100);
    expect(state.now).toBe('internal');
  });

  it('an abort ends the waiting with "stopping", and the attempt that nobody wants any more', async () => {
    const { central, links } = setUp();
    central.behaviour.set(A, 'dead');
    const stop = new AbortController();
    const state = outcome(links.use(A, performance.now() + 60_000, async () => undefined, stop.signal));
    await vi.advanceTimersByTimeAsync(100);
    stop.abort();
    await vi.advanceTimersByTimeAsync(1);
    expect(state.now).toBe('stopping');
    expect(central.connecting).toBe(0);
  });
});

describe('the adapter', () => {
  it('that is off is waited for, and the link is made as soon as it is on', async () => {
    const { central, links, use } = setUp();
    central.adapter = 'poweredOff';
    const state = outcome(use(A, 20_000));
    await vi.advanceTimersByTimeAsync(5000);
    expect([state.now, central.attempts]).toEqual(['pending', 0]);
    central.adapter = 'poweredOn';
    links.adapterChanged();
    await vi.advanceTimersByTimeAsync(50);
    expect(state.now).toBe('done');
  });

  it('names itself when it stays away', async () => {
    for (const [adapter, code] of [
      ['poweredOff', 'adapter_off'],
      ['unsupported', 'adapter_off'],
      ['unknown', 'radio_restarting'],
    ] as const) {
      const { central, use } = setUp();
      central.adapter = adapter;
      const state = outcome(use(A, 1000));
      await vi.advanceTimersByTimeAsync(1100);
      expect(state.now).toBe(code);
    }
  });

  it('a radio that restarts is retried as soon as it is back', async () => {
    const { central, links, use } = setUp();
    central.behaviour.set(A, 'radio_restarting');
    const state = outcome(use(A, 20_000));
    await vi.advanceTimersByTimeAsync(30);
    central.behaviour.delete(A);
    central.adapter = 'unknown';
    await vi.advanceTimersByTimeAsync(1000);
    central.adapter = 'poweredOn';
    links.adapterChanged();
    await vi.advanceTimersByTimeAsync(50);
    expect(state.now).toBe('done');
  });
});

describe('what the adapter does', () => {
  const shared = ['adapter_stuck', 'radio_restarting', 'adapter_off'] as const;

  it("lengthens no lamp's wait, and is not hammered", async () => {
    for (const code of shared) {
      const { central, links, use } = setUp();
      for (const one of [A, B, C]) central.behaviour.set(one, code);
      const all = [A, B, C].map((one) => outcome(use(one, 60_000)));
      await vi.advanceTimersByTimeAsync(20_000);
      // Half a second apart at the least, once it has lasted; far less often for an adapter that is stuck.
      expect(central.attempts).toBeLessThanOrEqual(code === 'adapter_stuck' ? 8 : 60);
      central.behaviour.clear();
      links.adapterChanged();
      await vi.advanceTimersByTimeAsync(200);
      expect(all.map((one) => one.now)).toEqual(['done', 'done', 'done']);
    }
  });

  it('is what the outcome names when time is up', async () => {
    for (const code of shared) {
      const { central, use } = setUp();
      central.behaviour.set(A, code);
      const state = outcome(use(A, 2000));
      await vi.advanceTimersByTimeAsync(2100);
      expect(state.now).toBe(code);
    }
  });

  it('is not blamed on the lamps whose links broke in that moment', async () => {
    const { central, links, use } = setUp(2, 60_000);
    let turns = 0;
    const state = outcome(
      use(A, 30_000, async (link) => {
        turns += 1;
        await link.write(frame('fff3', Uint8Array.of(1), 'request'));
        if (turns <= 5) await wait(60_000, link.gone);
        link.gone.throwIfAborted();
      }),
    );
    for (let n = 0; n < 5; n += 1) {
      await vi.advanceTimersByTimeAsync(100);
      central.open.get(A)?.lose();
      await vi.advanceTimersByTimeAsync(1);
      central.adapter = 'unknown';
      links.adapterChanged();
      await vi.advanceTimersByTimeAsync(50);
      central.adapter = 'poweredOn';
      links.adapterChanged();
    }
    // Five breaks that were the lamp's own would cost 6 s of waiting.
    await vi.advanceTimersByTimeAsync(100);
    expect([state.now, turns]).toEqual(['done', 6]);
  });

  it('a lack of room is learned: it is not asked again and again, and one more link is tried after a minute', async () => {
    const { central, links, use } = setUp(5, 600_000);
    central.room = 2;
    const hold = [A, B].map((one) => outcome(use(one, 300_000, () => wait(100_000))));
    await vi.advanceTimersByTimeAsync(100);
    for (const one of [C, address(4), address(5)]) links.heard(one);
    const waiting = [C, address(4), address(5)].map((one) => outcome(use(one, 300_000)));
    await vi.advanceTimersByTimeAsync(50_000);
    expect(central.attempts).toBe(3);
    expect(links.status()).toMatchObject({ used: 2, max: 5, free: 0, waiting: 3 });
    central.room = 5;
    await vi.advanceTimersByTimeAsync(40_000);
    expect(waiting.map((one) => one.now)).toEqual(['done', 'done', 'done']);
    expect(hold.map((one) => one.now)).toEqual(['pending', 'pending']);
  });

  it('no room at all, because another program has it: asked ever less often, and taken as soon as it is there', async () => {
    const { central, use } = setUp(5, 600_000);
    central.room = 0;
    const state = outcome(use(A, 120_000));
    await vi.advanceTimersByTimeAsync(30_000);
    expect(central.attempts).toBeLessThanOrEqual(11);
    central.room = 1;
    await vi.advanceTimersByTimeAsync(4100);
    expect(state.now).toBe('done');
  });
});

describe('links that are given back together', () => {
  it('are those without work in flight, and what is wanted is linked anew', async () => {
    const { central, links, use } = setUp(3, 60_000);
    const busy = outcome(use(A, 30_000, () => wait(500)));
    for (const one of [B, C]) void use(one);
    await vi.advanceTimersByTimeAsync(200);
    expect(links.releaseAll('a test')).toBe(2);
    await vi.advanceTimersByTimeAsync(50);
    expect([...central.open.keys()]).toEqual([A]);
    const again = outcome(use(B));
    await vi.advanceTimersByTimeAsync(600);
    expect([busy.now, again.now]).toEqual(['done', 'done']);
    expect(links.status()).toMatchObject({ used: 2, free: 1, waiting: 0 });
  });
});

describe('an attempt whose connection stands', () => {
  it('lets the next one begin, takes a link, and is ended only for lamps that lack one', async () => {
    const { central, links, use } = setUp(2, 60_000);
    central.discoverMs.set(A, 30_000);
    for (const one of [A, B, C]) links.heard(one);
    const mute = outcome(use(A, 60_000));
    await vi.advanceTimersByTimeAsync(30);
    const second = outcome(use(B, 60_000, () => wait(10_000)));
    await vi.advanceTimersByTimeAsync(100);
    expect([central.mostConnecting, central.open.size]).toEqual([1, 1]);
    // Nobody lacks a link, so the mute one may take its time; then C does.
    await vi.advanceTimersByTimeAsync(3000);
    expect(central.ended).toEqual([]);
    const third = outcome(use(C, 60_000));
    await vi.advanceTimersByTimeAsync(1200);
    expect(central.ended).toEqual([A]);
    expect([mute.now, second.now, third.now]).toEqual(['pending', 'pending', 'done']);
  });

  it('and that nobody wants any more is ended', async () => {
    const { central, use } = setUp(2, 60_000);
    central.discoverMs.set(A, 30_000);
    const state = outcome(use(A, 1000));
    await vi.advanceTimersByTimeAsync(1100);
    expect([state.now, central.ended]).toEqual(['unreachable', [A]]);
  });
});

describe('a slider that is moved while another lamp waits', () => {
  it('keeps its link between two updates, for as long as patience lasts', async () => {
    const { central, links, use } = setUp(1, 60_000);
    let more = true;
    const slide = (async (): Promise<void> => {
      while (more) {
        await use(A);
        await wait(16);
      }
    })();
    await vi.advanceTimersByTimeAsync(500);
    links.heard(B);
    const other = outcome(use(B, 20_000));
    await vi.advanceTimersByTimeAsync(1500);
    expect([other.now, central.attempts]).toEqual(['pending', 1]);
    await vi.advanceTimersByTimeAsync(800);
    expect(other.now).toBe('done');
    more = false;
    await vi.advanceTimersByTimeAsync(5000);
    await slide;
  });
});

describe('the budget', () => {
  it('releases the least recently used idle link when it is spent', async () => {
    const { central, links, use } = setUp(2, 60_000);
    for (const to of [A, B, A]) {
      const done = use(to);
      await vi.advanceTimersByTimeAsync(100);
      await done;
    }
    const third = use(C);
    await vi.advanceTimersByTimeAsync(200);
    await third;
    expect([...central.open.keys()].sort()).toEqual([A, C]);
    expect(links.status().used).toBe(2);
  });

  it('may be more than the adapter has room for: the link that is idle longest makes room', async () => {
    const { central, use } = setUp(5, 60_000);
    central.room = 2;
    for (const to of [A, B, A]) {
      const done = use(to);
      await vi.advanceTimersByTimeAsync(100);
      await done;
    }
    const third = outcome(use(C));
    await vi.advanceTimersByTimeAsync(1000);
    expect(third.now).toBe('done');
    expect([...central.open.keys()].sort()).toEqual([A, C]);
  });

  it('is never exceeded, whatever comes', async () => {
    const { central, use } = setUp(3, 500);
    const all = Array.from({ length: 40 }, (_, i) => outcome(use(address(i % 10))));
    await vi.advanceTimersByTimeAsync(30_000);
    expect(all.map((one) => one.now)).toEqual(all.map(() => 'done'));
    expect(central.mostOpen).toBeLessThanOrEqual(3);
    expect(central.mostConnecting).toBe(1);
  });

  it('ends with "out_of_slots" when every link is in use all the time', async () => {
    const { links, use } = setUp(1);
    const first = outcome(use(A, 60_000, () => wait(50_000)));
    await vi.advanceTimersByTimeAsync(100);
    links.heard(B);
    const [second, unheard] = [outcome(use(B, 3000)), outcome(use(C, 3000))];
    await vi.advanceTimersByTimeAsync(3100);
    // A lamp that nobody hears would not have answered with a free slot either.
    expect([first.now, second.now, unheard.now]).toEqual(['pending', 'out_of_slots', 'unreachable']);
  });

  it('a lamp that is used without pause gives way to one that waits', async () => {
    const { use } = setUp(1, 60_000);
    let more = true;
    const busy = async (): Promise<void> => {
      while (more) await use(A);
    };
    const loops = [busy(), busy()];
    await vi.advanceTimersByTimeAsync(500);
    const other = outcome(use(B, 20_000));
    await vi.advanceTimersByTimeAsync(5000);
    expect(other.now).toBe('done');
    more = false;
    await vi.advanceTimersByTimeAsync(1000);
    await Promise.all(loops);
  });

  it('a dead lamp does not block the others', async () => {
    const { central, links, use } = setUp(2, 60_000);
    central.behaviour.set(A, 'dead');
    const dead = outcome(use(A, 30_000));
    await vi.advanceTimersByTimeAsync(500);
    links.heard(B);
    const began = performance.now();
    const alive = use(B, 10_000);
    await vi.advanceTimersByTimeAsync(2500);
    await alive;
    expect(performance.now() - began).toBeLessThanOrEqual(2500);
    expect(dead.now).toBe('pending');
    await vi.advanceTimersByTimeAsync(30_000);
    expect(dead.now).toBe('unreachable');
  });

  it('several dead lamps leave the heard ones their turns', async () => {
    const { central, links, use } = setUp(3, 60_000);
    const dead = [11, 12, 13, 14].map(address);
    for (const one of dead) central.behaviour.set(one, 'dead');
    const lost = dead.map((one) => outcome(use(one, 30_000)));
    const found = [1, 2, 3].map((n) => {
      links.heard(address(n));
      return outcome(use(address(n), 30_000));
    });
    await vi.advanceTimersByTimeAsync(12_500);
    expect(found.map((one) => one.now)).toEqual(['done', 'done', 'done']);
    await vi.advanceTimersByTimeAsync(30_000);
    expect(lost.map((one) => one.now)).toEqual(lost.map(() => 'unreachable'));
  });

  it('a lamp that nobody hears is tried as soon as it is heard', async () => {
    const { central, links, use } = setUp();
    central.behaviour.set(A, 'dead');
    const state = outcome(use(A, 60_000));
    await vi.advanceTimersByTimeAsync(10_100);
    expect(central.attempts).toBe(1);
    central.behaviour.delete(A);
    links.heard(A);
    await vi.advanceTimersByTimeAsync(50);
    expect(state.now).toBe('done');
  });
});

describe('closing', () => {
  it('ends everyone with "stopping" within a second and takes nobody after', async () => {
    const { central, links, use } = setUp(1, 60_000);
    const done = use(A);
    await vi.advanceTimersByTimeAsync(100);
    await done;
    central.behaviour.set(B, 'dead');
    const waiting = [outcome(use(B)), outcome(use(C))];
    await vi.advanceTimersByTimeAsync(10);
    const closed = outcome(links.close());
    await vi.advanceTimersByTimeAsync(1000);
    expect(closed.now).toBe('done');
    expect(waiting.map((one) => one.now)).toEqual(['stopping', 'stopping']);
    expect(central.open.size).toBe(0);
    await expect(use(A)).rejects.toMatchObject({ code: 'stopping' });
  });
});

describe('whatever happens', () => {
  it('every use ends exactly once, in time, and the budget holds', async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('use' as const), lamp: fc.nat(4), ms: fc.integer({ min: 0, max: 8000 }) }),
      fc.record({ do: fc.constant('lose' as const), lamp: fc.nat(4) }),
      fc.record({ do: fc.constant('hear' as const), lamp: fc.nat(4) }),
      fc.record({
        do: fc.constant('behave' as const),
        lamp: fc.nat(4),
        as: fc.constantFrom('dead', 'connect_failed', 'link_lost', 'internal', 'radio_restarting', undefined),
      }),
      fc.record({ do: fc.constant('adapter' as const), on: fc.boolean() }),
      fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 3000 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
        const { central, links, use } = setUp(2, 300);
        const ends: { count: number; deadline: number; at: number }[] = [];
        for (const one of steps) {
          if (one.do === 'use') {
            const end = { count: 0, deadline: performance.now() + one.ms, at: 0 };
            ends.push(end);
            const count = (): void => {
              end.count += 1;
              end.at = performance.now();
            };
            use(address(one.lamp), one.ms).then(count, count);
          } else if (one.do === 'lose') central.open.get(address(one.lamp))?.lose();
          else if (one.do === 'hear') links.heard(address(one.lamp));
          else if (one.do === 'wait') await vi.advanceTimersByTimeAsync(one.ms);
          else if (one.do === 'adapter') {
            central.adapter = one.on ? 'poweredOn' : 'poweredOff';
            links.adapterChanged();
          } else if (one.as === undefined) central.behaviour.delete(address(one.lamp));
          else central.behaviour.set(address(one.lamp), one.as);
        }
        await vi.advanceTimersByTimeAsync(9000);
        expect(ends.map((end) => end.count)).toEqual(ends.map(() => 1));
        for (const end of ends) expect(end.at).toBeLessThanOrEqual(end.deadline + 100);
        expect(central.mostOpen).toBeLessThanOrEqual(2);
        expect(central.mostConnecting).toBeLessThanOrEqual(1);
        const closing = links.close();
        await vi.advanceTimersByTimeAsync(1100);
        await closing;
      }),
      { numRuns: 150 },
    );
  });
});
