import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PorchlightError } from '../../src/errors.ts';
import type { DeviceCode } from '../../src/oauth/device-code.ts';
import { awaitApproval } from '../../src/oauth/device-flow.ts';
import { standard } from '../../src/oauth/dialects/standard.ts';
import { Server } from '../../src/oauth/server.ts';
import {
  type Bench,
  type BenchOptions,
  bench,
  clock,
  deviceAnswer,
  error,
  freezeTime,
  options,
  pass,
  pending,
  Script,
  type Turn,
  tokenAnswer,
} from './script.ts';

// RFC 8628 section 3.5, to the millisecond, on a clock that stands still. What device-flow.test.ts says is not said again.

beforeEach(freezeTime);
const running: Bench[] = [];
afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
  vi.useRealTimers();
});

async function begin(more: BenchOptions): Promise<Bench> {
  const made = bench(more);
  running.push(made);
  await pass(0);
  return made;
}

const down = (): Turn => new TypeError('fetch failed', { cause: Object.assign(new Error(), { code: 'ECONNRESET' }) });
const busy = (status: number, retryAfter?: string): Turn => {
  const headers = retryAfter === undefined ? {} : { 'retry-after': retryAfter };
  return () => new Response('<html>later</html>', { status, headers: { 'content-type': 'text/html', ...headers } });
};
/** An answer that takes `ms` from its request. */
const slow =
  (ms: number, turn: Turn): Turn =>
  async () => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    return turn;
  };

interface Polls {
  readonly script: Script;
  /** When each poll was sent, ms after the code was given. */
  readonly times: () => readonly number[];
  readonly result: () => unknown;
}

/** The device authorization response as text, so that a number can be one that JavaScript would not write. */
async function poll(members: string | object, ...turns: Turn[]): Promise<Polls> {
  const { expires_in: _, ...rest } = deviceAnswer;
  const text =
    typeof members === 'string'
      ? `{${JSON.stringify(rest).slice(1, -1)},${members}}`
      : JSON.stringify({ ...deviceAnswer, ...members });
  const script = new Script().answer('/device/auth', () => new Response(text)).answer('/token', ...turns);
  const server = new Server({ options, fetch: script.fetch, clock, dialect: standard });
  const { signal } = new AbortController();
  const reply = await server.start(signal);
  if (reply.kind !== 'answered') throw reply.kind === 'refused' ? new PorchlightError('internal') : reply.problem;
  const begun = performance.now();
  let result: unknown = 'nothing yet';
  awaitApproval(server, reply.value, { clock, signal, withdrawn: signal }).then(
    (tokens) => {
      result = tokens;
    },
    (thrown: unknown) => {
      result = thrown;
    },
  );
  const times = (): readonly number[] => script.at('/token').map(({ at }) => Math.round(at - begun));
  return { script, times, result: () => result };
}

describe('the interval', () => {
  it.each([
    ['is an exponent', '"interval":1e1', 10_000],
    ['is infinite', '"interval":1e400', 5_000],
    ['is minus infinity', '"interval":-1e400', 5_000],
    ['is beyond what a double can count', '"interval":9007199254740993', 300_000],
    ['is named twice: the last one counts', '"interval":1,"interval":8', 8_000],
    ['is a text with a sign', '"interval":"-3"', 5_000],
    ['is a text with blanks', '"interval":" 3 "', 5_000],
    ['is a text in hexadecimal', '"interval":"0x10"', 5_000],
    ['is an empty text', '"interval":""', 5_000],
    ['is a text of a million digits', `"interval":"${'9'.repeat(30_000)}"`, 5_000],
    ['is true', '"interval":true', 5_000],
    ['is an array', '"interval":[7]', 5_000],
    ['is an object', '"interval":{"seconds":7}', 5_000],
    ['is the smallest number there is', '"interval":5e-324', 1_000],
    ['is a day', '"interval":86400', 300_000],
  ])('that %s', async (_, member, expected) => {
    const { times } = await poll(`"expires_in":86400,${member}`, pending);
    await pass(expected * 3);
    expect(times()).toEqual([expected, 2 * expected, 3 * expected]);
  });
});

describe('slow_down', () => {
  it('adds five seconds to whatever the interval was, each time, and never gives them back', async () => {
    const { times } = await poll(
      { interval: 2, expires_in: 3_600 },
      error('slow_down'),
      error('slow_down', 429),
      pending,
      pending,
      error('slow_down', 403),
      pending,
    );
    await pass(2_000 + 7_000 + 12_000 + 12_000 + 12_000 + 17_000 + 17_000);
    expect(times()).toEqual([2_000, 9_000, 21_000, 33_000, 45_000, 62_000, 79_000]);
  });

  it('is meant for the interval, not for the doubled gap after failures', async () => {
    const { times } = await poll({ expires_in: 3_600 }, down(), down(), error('slow_down'), pending, down(), pending);
    await pass(5_000 + 10_000 + 20_000 + 10_000 + 10_000 + 20_000 + 10_000);
    expect(times()).toEqual([5_000, 15_000, 35_000, 45_000, 55_000, 75_000, 85_000]);
  });

  it('may outlive the code: then the code ends, not a moment later', async () => {
    const { times, result } = await poll({ expires_in: 60 }, () => error('slow_down'));
    await pass(59_999);
    expect(times()).toEqual([5_000, 15_000, 30_000, 50_000]);
    expect(result()).toBe('nothing yet');
    await pass(1);
    expect(result()).toMatchObject({ code: 'approval_expired' });
    await pass(600_000);
    expect(times()).toHaveLength(4);
  });

  it('is also heard with a Retry-After, of which the longer wait counts', async () => {
    const limited = (seconds: string): Turn => {
      return () => Response.json({ error: 'slow_down' }, { status: 429, headers: { 'retry-after': seconds } });
    };
    const { times } = await poll({ expires_in: 3_600 }, limited('42'), pending, limited('1'), pending);
    await pass(5_000 + 42_000 + 10_000 + 15_000 + 15_000);
    expect(times()).toEqual([5_000, 47_000, 57_000, 72_000, 87_000]);
  });

  it('was for that code only: the next one begins with its own interval', async () => {
    const script = new Script()
      .answer('/device/auth', { ...deviceAnswer, expires_in: 40 }, { ...deviceAnswer, interval: 3 })
      .answer('/token', error('slow_down'), error('slow_down'), pending);
    await begin({ script });
    await pass(40_000);
    expect(script.gaps('/token')).toEqual([10_000, 15_000]);
    expect(script.at('/device/auth')).toHaveLength(2);
    await pass(9_000);
    expect(script.gaps('/token')).toEqual([10_000, 15_000, 13_000, 3_000, 3_000]);
  });

  it('holds for a code that a person asks for again while it is still good', async () => {
    const script = new Script().answer('/token', error('slow_down'), pending);
    const { session, shown } = await begin({ script });
    await pass(6_000);
    const asked = session.requestCode();
    await pass(24_000);
    await asked;
    expect(shown).toHaveLength(1);
    expect(script.gaps('/token')).toEqual([10_000, 10_000]);
  });
});

describe('failures between', () => {
  it('double the gap for each failure in a row, and a pending returns to the interval', async () => {
    const { times } = await poll(
      { interval: 3, expires_in: 3_600 },
      busy(503),
      down(),
      busy(502),
      pending,
      busy(500),
      pending,
      pending,
    );
    await pass(3_000 + 6_000 + 12_000 + 24_000 + 3_000 + 6_000 + 3_000);
    expect(times()).toEqual([3_000, 9_000, 21_000, 45_000, 48_000, 54_000, 57_000]);
  });

  it.each([
    ['seconds', '40', 40_000],
    ['seconds that are fewer than the doubled interval', '1', 10_000],
    ['zero', '0', 10_000],
    ['less than nothing', '-60', 10_000],
    ['a fraction, which is no number of seconds (RFC 9110)', '59.5', 10_000],
    ['a word', 'tomorrow', 10_000],
    ['more digits than there are seconds', '9'.repeat(400), 10_000],
    ['centuries', '999999999', 300_000],
  ])('are followed by a Retry-After of %s', async (_, header, expected) => {
    const { times } = await poll({ expires_in: 3_600 }, busy(503, header), pending);
    await pass(5_000 + expected);
    expect(times()).toEqual([5_000, 5_000 + expected]);
  });

  it('honour a Retry-After that is a date, by the clock of the server that wrote it', async () => {
    const headers = { date: 'Tue, 01 Jan 2030 00:00:10 GMT', 'retry-after': 'Tue, 01 Jan 2030 00:01:00 GMT' };
    const dated = (more: object): Turn => {
      return () => new Response('', { status: 503, headers: { ...headers, ...more } });
    };
    const past = { 'retry-after': 'Mon, 31 Dec 2029 00:00:00 GMT' };
    const { times } = await poll({ expires_in: 3_600 }, dated({}), pending, dated(past), pending);
    await pass(5_000 + 50_000 + 5_000 + 10_000);
    expect(times()).toEqual([5_000, 55_000, 60_000, 70_000]);
  });

  it('do not outlast the code: its end is told at its end, however long the gap had become', async () => {
    const { times, result } = await poll({ expires_in: 100 }, down());
    await pass(99_999);
    expect(times()).toEqual([5_000, 15_000, 35_000, 75_000]);
    expect(result()).toBe('nothing yet');
    await pass(1);
    expect(result()).toMatchObject({ code: 'approval_expired' });
  });
});

describe('the life of a code', () => {
  it.each([
    ['shorter than the interval', { expires_in: 3, interval: 5 }, 3_000],
    ['exactly the interval', { expires_in: 5, interval: 5 }, 5_000],
    ['a tenth of a second', { expires_in: 0.1 }, 100],
  ])('that is %s ends without a poll that would come too late or too soon', async (_, members, end) => {
    const { times, result } = await poll(members, () => tokenAnswer);
    await pass(end - 1);
    expect(result()).toBe('nothing yet');
    await pass(1);
    expect(result()).toMatchObject({ code: 'approval_expired' });
    expect(times()).toEqual([]);
  });

  it.each([
    ['absent', '"interval":5'],
    ['zero', '"expires_in":0'],
    ['less than nothing', '"expires_in":-600'],
    ['infinite', '"expires_in":1e400'],
    ['null', '"expires_in":null'],
    ['a word', '"expires_in":"soon"'],
  ])('that is %s is no life: nothing is polled, and it is said why', async (_, member) => {
    await expect(poll(member, pending)).rejects.toMatchObject({
      code: 'server_answer',
      message: expect.stringContaining('expires_in'),
    });
  });

  it('that is absurd is a day, however often the server says pending', async () => {
    const { script, result } = await poll('"expires_in":9e99,"interval":300', pending);
    await pass(86_400_000 - 1);
    expect(result()).toBe('nothing yet');
    await pass(1);
    expect(result()).toMatchObject({ code: 'approval_expired' });
    expect(script.at('/token')).toHaveLength(86_400 / 300 - 1);
  });

  it('counts from the answer that gave it, and an approval that was asked for in time counts after its end', async () => {
    const { times, result } = await poll(
      { expires_in: 12 },
      pending,
      slow(9_000, () => tokenAnswer),
    );
    await pass(5_000 + 5_000 + 8_999);
    expect(result()).toBe('nothing yet');
    await pass(1);
    expect(result()).toMatchObject({ access_token: 'access-1' });
    expect(times()).toEqual([5_000, 10_000]);
  });

  it('ends after a slow answer that crosses it, without another poll', async () => {
    const { times, result } = await poll({ expires_in: 12 }, slow(9_000, pending));
    await pass(14_001);
    expect(result()).toMatchObject({ code: 'approval_expired' });
    await pass(60_000);
    expect(times()).toEqual([5_000]);
  });
});

describe('slow answers', () => {
  it('of nine seconds move each poll by nine seconds', async () => {
    const { times } = await poll({ expires_in: 3_600 }, slow(9_000, pending));
    await pass(5_000 + 3 * 14_000);
    expect(times()).toEqual([5_000, 19_000, 33_000, 47_000]);
  });

  it('that never come end after ten seconds, and the doubled gap is counted from there', async () => {
    const never: Turn = () => new Promise<Response>(() => undefined);
    const { times } = await poll({ expires_in: 3_600 }, never, never, pending);
    await pass(5_000 + 20_000 + 30_000 + 5_000);
    expect(times()).toEqual([5_000, 25_000, 55_000, 60_000]);
  });
});

describe('a clock that is set', () => {
  it.each([20 * 365 * 86_400_000, -20 * 365 * 86_400_000])('by %i ms changes no gap and no end', async (step) => {
    let offset = 0;
    const script = new Script().answer('/device/auth', { ...deviceAnswer, expires_in: 60 });
    const stepping = { monotonic: clock.monotonic, wall: () => clock.wall() + offset };
    const { session } = await begin({ script, clock: stepping });
    await pass(12_000);
    offset = step;
    await pass(47_999);
    expect(session.status.state).toBe('pending');
    expect(new Set(script.gaps('/token'))).toEqual(new Set([5_000]));
    expect(script.at('/device/auth')).toHaveLength(1);
    await pass(1);
    expect(script.at('/device/auth')).toHaveLength(2);
  });
});

describe('a code withdrawn in mid-poll', () => {
  it('is polled no more, and the new one waits its own interval from its own beginning', async () => {
    const script = new Script()
      .answer('/device/auth', { ...deviceAnswer, expires_in: 62 }, { ...deviceAnswer, user_code: 'NEXT-CODE' })
      .answer('/token', slow(2_000, pending), pending);
    const { session, shown } = await begin({ script });
    await pass(5_500);
    // It has less than a minute left, so who asks gets a new one.
    const asked = session.requestCode();
    await pass(1_500);
    expect((await asked).user_code).toBe('NEXT-CODE');
    expect(shown.map((code) => code?.user_code)).toEqual(['WDJB-MJHT', undefined, 'NEXT-CODE']);
    await pass(10_000);
    expect(script.gaps('/token')).toEqual([7_000, 5_000]);
  });
});

describe('the device authorization request, throttled', () => {
  it.each([
    ['slow_down with 429, as Authentik does (device_backchannel.py)', () => error('slow_down', 429), 30_000],
    ['slow_down with 400', () => error('slow_down'), 30_000],
    ['429 without a word', busy(429), 1_000],
    ['429 with a Retry-After', busy(429, '17'), 17_000],
    ['503 with a Retry-After beyond patience', busy(503, '99999'), 30_000],
  ] as [string, Turn, number][])('by %s, is tried again after a while', async (_, turn, wait) => {
    const script = new Script().answer('/device/auth', turn, deviceAnswer);
    const { session } = await begin({ script });
    expect(session.status).toMatchObject({ state: 'unauthorized', problem: { code: 'server_unreachable' } });
    await pass(wait - 1);
    expect(script.at('/device/auth')).toHaveLength(1);
    await pass(1);
    expect(script.gaps('/device/auth')).toEqual([wait]);
    expect(session.status.state).toBe('pending');
    // The throttle was of the start: the polls keep the code's own interval.
    await pass(10_000);
    expect(script.gaps('/token')).toEqual([5_000]);
  });

  it('is never asked faster than once in 30 seconds while it says slow_down', async () => {
    const script = new Script().answer('/device/auth', () => error('slow_down', 429));
    await begin({ script });
    await pass(3_600_000);
    expect(Math.min(...script.gaps('/device/auth'))).toBe(30_000);
  });
});

type Event =
  | { readonly kind: 'pending' | 'slow_down' | 'fault'; readonly takes: number }
  | { readonly kind: 'retry'; readonly takes: number; readonly seconds: number };

describe('any series of answers', () => {
  const takes = fc.integer({ min: 1, max: 9_500 });
  const event: fc.Arbitrary<Event> = fc.oneof(
    fc.record({ kind: fc.constantFrom('pending', 'slow_down', 'fault'), takes }),
    fc.record({ kind: fc.constant('retry'), takes, seconds: fc.integer({ min: 0, max: 900 }) }),
  );

  it('is polled exactly when RFC 8628 section 3.5 says, from the end of each answer', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 60, max: 1_800 }),
        fc.array(event, { maxLength: 25 }),
        async (seconds, life, events) => {
          // What must be: written anew from the RFC, in its words.
          const expected: number[] = [];
          let interval = seconds * 1_000;
          let [now, gap, failures] = [0, interval, 0];
          for (const one of [...events, { kind: 'pending', takes: 0 } as const]) {
            now += gap;
            if (now >= life * 1_000) break;
            expected.push(now);
            now += one.takes;
            if (one.kind === 'slow_down') interval += 5_000;
            failures = one.kind === 'fault' || one.kind === 'retry' ? failures + 1 : 0;
            gap = failures === 0 ? interval : Math.max(interval, Math.min(60_000, interval * 2 ** failures));
            if (one.kind === 'retry') gap = Math.max(gap, Math.min(300_000, one.seconds * 1_000));
          }

          let at = 0;
          const begun = performance.now();
          const polled: number[] = [];
          const code: DeviceCode = {
            device_code: 'x',
            interval: seconds * 1_000,
            expires: begun + life * 1_000,
            shown: { user_code: 'x', verification_uri: 'x', expires_at: 0, interval: seconds },
          };
          const problem = new PorchlightError('server_unreachable');
          const never = new AbortController().signal;
          const ended = new AbortController();
          const flow = awaitApproval(
            {
              redeem: async () => {
                polled.push(Math.round(performance.now() - begun));
                const one = events[at];
                at += 1;
                if (one === undefined) {
                  ended.abort();
                  return { kind: 'refused', error: 'authorization_pending', status: 400 };
                }
                await new Promise((resolve) => setTimeout(resolve, one.takes));
                if (one.kind === 'fault') return { kind: 'fault', problem };
                if (one.kind === 'retry') return { kind: 'fault', problem, retryAfter: one.seconds * 1_000 };
                const said = one.kind === 'pending' ? 'authorization_pending' : 'slow_down';
                return { kind: 'refused', error: said, status: 400 };
              },
            },
            code,
            { clock, signal: never, withdrawn: ended.signal },
          );
          const outcome = expect(flow).rejects.toMatchObject({ code: 'approval_expired' });
          await vi.advanceTimersByTimeAsync(life * 1_000 + 10_000);
          await outcome;
          expect(polled).toEqual(expected);
        },
      ),
      { seed: 8628, numRuns: 150 },
    );
  });
});
