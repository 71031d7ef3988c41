import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Central, ConnectOptions, Link } from '../../src/bluetooth/central.ts';
import { ListeningTime, Presence, watchPresence } from '../../src/bluetooth/presence.ts';
import { PorchlightError } from '../../src/errors.ts';
import { FakeLink, heard, setUp, TALKS } from './lamp-rig.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const clock = { monotonic: () => performance.now() };

function present() {
  const listening = new ListeningTime(clock);
  const said: boolean[] = [];
  const presence = new Presence(clock, listening, (online) => said.push(online));
  const pass = async (seconds: number): Promise<void> => {
    for (let left = seconds; left > 0; left -= 1) {
      await vi.advanceTimersByTimeAsync(1000);
      presence.check();
    }
  };
  return { listening, presence, said, pass };
}

describe('whether a lamp is there', () => {
  it('is not known at first; who is not heard in 15 s is missed', async () => {
    const { presence, said, pass } = present();
    await pass(14);
    expect(presence.online).toBeUndefined();
    await pass(1);
    expect([presence.online, said]).toEqual([false, [false]]);
  });

  it('is said once when it is heard, and once a minute after it was heard last', async () => {
    const { presence, said, pass } = present();
    for (let n = 0; n < 100; n += 1) {
      presence.see(-70);
      presence.set(true);
    }
    await pass(59);
    expect(said).toEqual([true]);
    await pass(1);
    expect(said).toEqual([true, false]);
    await pass(1000);
    expect(said).toEqual([true, false]);
  });

  it('does not flap while the radio is too busy connecting to listen, but is not believed for ever either', async () => {
    const { presence, listening, said, pass } = present();
    presence.see();
    presence.set(true);
    // Fifty connects one after the other, two seconds each, with hardly a moment between them.
    for (let n = 0; n < 50; n += 1) {
      const resume = listening.pause();
      await pass(2);
      resume();
    }
    expect(said).toEqual([true]);
    // Then it listens, and the lamp has its whole minute to be heard.
    await pass(58);
    expect(said).toEqual([true]);
    await pass(3);
    expect(said).toEqual([true, false]);

    presence.see();
    presence.set(true);
    listening.pause();
    await pass(179);
    expect(said).toEqual([true, false, true]);
    await pass(1);
    expect(said).toEqual([true, false, true, false]);
  });

  it('is told with the signal of the last advert that had one, and when anything was seen of it', async () => {
    const { presence, pass } = present();
    expect([presence.rssi, presence.seenAt]).toEqual([undefined, undefined]);
    presence.see(-50);
    presence.see(127);
    expect(presence.rssi).toBe(-50);
    const first = presence.seenAt ?? 0;
    await pass(10);
    presence.see(-80);
    expect([presence.rssi, (presence.seenAt ?? 0) - first]).toEqual([-80, 10_000]);
  });

  it('goes on while it has a link, in which most lamps are not heard, and a minute beyond', async () => {
    const { lamp, reach, availability } = setUp(() => new FakeLink(TALKS));
    const stop = new AbortController();
    const watch = watchPresence([lamp], stop.signal);
    lamp.heard(heard('T-PLAIN', -71));
    expect([lamp.online, lamp.rssi]).toEqual([true, -71]);
    await vi.advanceTimersByTimeAsync(50_000);
    await reach(async () => undefined);
    // The link rests for 30 s before it is given back; the minute counts from then.
    await vi.advanceTimersByTimeAsync(85_000);
    expect(lamp.online).toBe(true);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(availability).toEqual([true, false]);
    stop.abort();
    await watch;
  });
});

describe('a thousand lamps', () => {
  it('are looked after with one timer, which ends with its signal', async () => {
    let checks = 0;
    const check = (): void => {
      checks += 1;
    };
    const lamps = Array.from({ length: 1000 }, () => ({ check }));
    const stop = new AbortController();
    const before = vi.getTimerCount();
    const watch = watchPresence(lamps, stop.signal);
    expect(vi.getTimerCount() - before).toBe(1);
    await vi.advanceTimersByTimeAsync(2000);
    expect(checks).toBe(1000);
    stop.abort();
    await watch;
    expect(vi.getTimerCount()).toBe(before);
  });
});

describe('the time that the radio listened', () => {
  /** A central whose connects end when the test says so. */
  function scripted() {
    const attempts: { options: ConnectOptions; end: PromiseWithResolvers<Link> }[] = [];
    const central: Central = {
      adapter: 'poweredOn',
      scan: async () => undefined,
      connect: (_, options) => {
        const end = resolvers<Link>();
        attempts.push({ options, end });
        return end.promise;
      },
    };
    return { central, attempts };
  }

  it('does not pass while it connects, and passes again from the connection on or from the failure', async () => {
    const listening = new ListeningTime(clock);
    const { central, attempts } = scripted();
    const watched = listening.watching(central);
    const start = listening.now();
    const since = (): number => Math.round(listening.now() - start);

    const connecting = watched.connect('a', { timeoutMs: 1000 });
    await vi.advanceTimersByTimeAsync(3000);
    expect(since()).toBe(0);
    // Its characteristics are still being read, but the scan goes on.
    attempts[0]?.options.onConnected?.();
    await vi.advanceTimersByTimeAsync(500);
    expect(since()).toBe(500);
    attempts[0]?.end.resolve(new FakeLink(TALKS));
    await connecting;
    await vi.advanceTimersByTimeAsync(500);
    expect(since()).toBe(1000);

    const failing = watched.connect('b', { timeoutMs: 1000 });
    await vi.advanceTimersByTimeAsync(4000);
    attempts[1]?.end.reject(new PorchlightError('unreachable'));
    await expect(failing).rejects.toMatchObject({ code: 'unreachable' });
    await vi.advanceTimersByTimeAsync(10);
    expect(since()).toBe(1010);
  });

  it('tells whoever asked that the connection stands, too', async () => {
    const { central, attempts } = scripted();
    let told = 0;
    const connecting = new ListeningTime(clock).watching(central).connect('a', {
      timeoutMs: 1,
      onConnected: () => {
        told += 1;
      },
    });
    attempts[0]?.options.onConnected?.();
    attempts[0]?.end.resolve(new FakeLink(TALKS));
    await connecting;
    expect(told).toBe(1);
  });
});

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

function resolvers<T>(): PromiseWithResolvers<T> {
  let resolve: (value: T) => void = () => undefined;
  let reject: (reason: unknown) => void = () => undefined;
  const promise = new Promise<T>((good, bad) => {
    resolve = good;
    reject = bad;
  });
  return { promise, resolve, reject };
}
