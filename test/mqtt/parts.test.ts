import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Limiter } from '../../src/limiter.ts';
import { BackOff } from '../../src/mqtt/back-off.ts';
import { Neighbours } from '../../src/mqtt/neighbours.ts';
import { createPacketGuard } from '../../src/mqtt/packet-guard.ts';
import { explainError, type Failure, problem } from '../../src/mqtt/problem.ts';
import { RetainedTopics } from '../../src/mqtt/retained.ts';
import type { Session } from '../../src/mqtt/session.ts';
import { TakeoverWatch } from '../../src/mqtt/takeover.ts';

test('waits double from half a second to half a minute, start again after a good connection, and slow ones are 30 s at least', () => {
  const most = new BackOff(() => 1);
  expect([...Array(8)].map(() => most.wait(false))).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  most.lived(1_999);
  expect(most.wait(false)).toBe(30_000);
  most.lived(2_000);
  expect(most.wait(false)).toBe(500);
  expect([new BackOff(() => 0).wait(true), most.wait(true)]).toEqual([30_000, 45_000]);
});

test('a limiter lets one through per period and counts the others', () => {
  const limiter = new Limiter(1000);
  expect([0, 0, 999, 1000, 1500, 5000].map((now) => limiter.pass(now))).toEqual([
    true,
    false,
    false,
    true,
    false,
    true,
  ]);
  expect(limiter.swallowed).toBe(3);
});

describe('the packet guard', () => {
  const lengthOf = (n: number): number[] => (n < 128 ? [n] : [(n % 128) | 128, ...lengthOf(Math.floor(n / 128))]);
  const packet = (n: number): number[] => [0x30, ...lengthOf(n), ...new Uint8Array(n)];

  test('passes any packets up to the limit, however they are cut, and none above it', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 8 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 50 }), (lengths, cut) => {
        let alarms = 0;
        const guard = createPacketGuard(300, () => {
          alarms += 1;
        });
        const bytes = Uint8Array.from(lengths.flatMap(packet));
        for (let at = 0; at < bytes.length && alarms === 0; at += cut) guard(bytes.subarray(at, at + cut));
        expect(alarms).toBe(lengths.some((length) => length > 300) ? 1 : 0);
      }),
    );
  });

  test('refuses a length that never ends', () => {
    let alarmed = false;
    const guard = createPacketGuard(300, () => {
      alarmed = true;
    });
    guard(Uint8Array.from([0x30, 0x80, 0x80, 0x80, 0x80, 0x80]));
    expect(alarmed).toBe(true);
  });
});

describe('retained values', () => {
  function session(inflight = 100): { session: Session; sent: string[]; acks: ((refused: boolean) => void)[] } {
    const sent: string[] = [];
    const acks: ((refused: boolean) => void)[] = [];
    const never = new Promise<Failure>(() => undefined);
    return {
      sent,
      acks,
      session: {
        protocol: '5',
        limits: { retain: true, qos: 1, inflight, packet: 1000 },
        ended: never,
        subscribe: async () => [],
        publish(topic, payload, _how, done) {
          sent.push(`${topic}=${payload}`);
          if (done !== undefined) acks.push(done);
          return true;
        },
        end: async () => undefined,
      },
    };
  }

  test('while one is under way only the newest of those that follow is sent', () => {
    const { session: one, sent, acks } = session();
    const retained = new RetainedTopics(() => undefined);
    retained.attach(one);
    for (let n = 0; n < 1000; n += 1) retained.set('a', String(n));
    expect(sent).toEqual(['a=0']);
    acks[0]?.(false);
    expect(sent).toEqual(['a=0', 'a=999']);
  });

  test("no more are under way than the broker's Receive Maximum, and all arrive in the end", async () => {
    const { session: one, sent, acks } = session(2);
    const retained = new RetainedTopics(() => undefined);
    for (const topic of ['a', 'b', 'c', 'd', 'e']) retained.set(topic, '1');
    retained.attach(one);
    expect(sent).toEqual(['a=1', 'b=1']);
    const settled = retained.settled();
    for (let n = 0; n < 5; n += 1) acks[n]?.(false);
    await settled;
    expect(sent).toEqual(['a=1', 'b=1', 'c=1', 'd=1', 'e=1']);
  });

  test('a new connection gets everything, also what was under way on the old one, whose late answers do not count', () => {
    const [old, fresh] = [session(), session()];
    const retained = new RetainedTopics(() => undefined);
    retained.set('a', '1');
    retained.attach(old.session);
    retained.detach();
    retained.set('a', '2');
    retained.set('b', '1');
    retained.attach(fresh.session);
    old.acks[0]?.(true);
    expect(old.sent).toEqual(['a=1']);
    expect(fresh.sent).toEqual(['a=2', 'b=1']);
  });
});

test('a takeover is suspected after four short connections in a row that ended silently while the broker was there', () => {
  const mute: Failure = { kind: 'mute', problem: problem('closed') };
  const watch = new TakeoverWatch('broker:1883');
  const short = (times: number): string[] => Array.from({ length: times }, () => watch.ended(mute, 900).kind);
  expect(short(3)).toEqual(Array(3).fill('mute'));
  watch.away();
  expect(short(4)).toEqual([...Array(3).fill('mute'), 'taken_over']);
  // A broker that is restarted again and again lives longer in between.
  expect(watch.ended(mute, 11_000).kind).toBe('mute');
  expect(watch.ended({ kind: 'error', problem: problem('x') }, 900).kind).toBe('error');
});

test('other gateways are counted while they are online, never more than can be told', () => {
  const neighbours = new Neighbours('me');
  expect(neighbours.heard('me', 'online')).toBe(false);
  expect(neighbours.heard('you', 'offline')).toBe(false);
  expect(neighbours.problem('p')).toBeUndefined();
  for (let n = 0; n < 1000; n += 1) neighbours.heard(`g${n}`, 'online');
  expect(neighbours.problem('p')?.message.length).toBeLessThan(400);
  for (let n = 0; n < 1000; n += 1) neighbours.heard(`g${n}`, '');
  expect(neighbours.problem('p')).toBeUndefined();
});

test.each([
  ['ECONNREFUSED', /refuses connections/],
  ['ENOTFOUND', /name that nobody knows/],
  ['EAI_AGAIN', /cannot be looked up now/],
  ['CERT_HAS_EXPIRED', /expired/],
  ['CERT_NOT_YET_VALID', /not valid yet/],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', /not trusted here/],
  ['ERR_TLS_CERT_ALTNAME_INVALID', /another host name/],
  ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', /did not accept the certificate/],
  ['ERR_OSSL_PEM_NO_START_LINE', /cannot be used/],
  ['ESOMETHING', /failed/],
])('%s is said in plain words, with a cure', (code, words) => {
  const said = explainError('broker:1883', Object.assign(new Error('low-level \u001b[31mwords'), { code }));
  expect(said.message).toMatch(words);
  expect(said.message).toContain(code.startsWith('ERR_OSSL') ? 'MQTT broker' : 'broker:1883');
  expect(said.message).not.toMatch(/\u001b/);
  expect(said.hint.length).toBeGreaterThan(10);
});
