import { Socket } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { startBroker } from '../../src/demo/broker.ts';
import { PorchlightError } from '../../src/errors.ts';
import { sleep } from '../../src/task-group.ts';
import { joinBroker, type RunningBridge, runBridge, until } from './harness.ts';
import { answering, type Wire, websocketTo, wire } from './wires.ts';

const cleanup: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).reverse()) await undo();
  vi.restoreAllMocks();
});

function kept<T extends { close(): Promise<void> }>(thing: T): T {
  cleanup.push(() => thing.close());
  return thing;
}

function gateway(at: { port: number }, options: Partial<Parameters<typeof runBridge>[0]> = {}): RunningBridge {
  const running = runBridge({ url: `mqtt://127.0.0.1:${at.port}`, ...options });
  cleanup.push(() => running.stop());
  return running;
}

/** A pause that is written down and hardly waited for. */
function impatient(): { waits: number[]; ports: { sleep: typeof sleep; random: () => number } } {
  const waits: number[] = [];
  const pause: typeof sleep = async (ms, signal) => {
    waits.push(ms);
    await sleep(2, signal);
  };
  return { waits, ports: { sleep: pause, random: () => 0 } };
}

const versionOf = (connect: Buffer): number => connect[6] ?? 0;
/** SUBACK that grants the same to each filter that was asked for. MQTT 5 has (empty) properties before the filters. */
function suback(body: Buffer, grant = '01', version: 4 | 5 = 4): string {
  const properties = version === 5 ? '00' : '';
  let filters = 0;
  for (let at = version === 5 ? 3 : 2; at < body.length; at += 3 + body.readUInt16BE(at)) filters += 1;
  const rest = `${body.toString('hex', 0, 2)}${properties}${grant.repeat(filters)}`;
  return `90${(rest.length / 2).toString(16).padStart(2, '0')}${rest}`;
}
const puback = (body: Buffer): string => {
  const at = 2 + body.readUInt16BE(0);
  return `4002${body.toString('hex', at, at + 2)}`;
};
/** A 3.1.1 broker that takes everything. */
const welcoming = { 1: () => '20020000', 8: (body: Buffer) => suback(body), 3: puback, 12: () => 'd000' };

async function broker(answers: Parameters<typeof answering>[0]): Promise<Wire> {
  return kept(await wire(answering(answers)));
}

describe('the version of MQTT', () => {
  test.each([
    ['an MQTT 5 CONNACK with 0x84', '2003008400'],
    ['a 3.1.1 CONNACK with 1', '20020001'],
    ['a close', undefined],
  ])('5 is refused by %s: 3.1.1 is used at once, without a wait', async (_what, refusal) => {
    const versions: number[] = [];
    const at = await broker({
      ...welcoming,
      1: (body, socket) => {
        versions.push(versionOf(body));
        if (versionOf(body) === 4) return '20020000';
        setImmediate(() => socket.end());
        return refusal;
      },
    });
    const { waits, ports } = impatient();
    const bridge = gateway(at, { ports });
    expect(await bridge.connected()).toMatchObject({ protocol: '3.1.1' });
    expect(versions).toEqual([5, 4]);
    expect(waits).toEqual([]);
  });

  test('a broker that once spoke 3.1.1 is not asked for 5 again', async () => {
    const versions: number[] = [];
    const at = await broker({
      ...welcoming,
      1: (body, socket) => {
        versions.push(versionOf(body));
        if (versionOf(body) === 5) return '2003008400';
        if (versions.length < 5) setTimeout(() => socket.destroy(), 30);
        return '20020000';
      },
    });
    const bridge = gateway(at, impatient());
    await until(() => versions.length >= 5, 'three reconnects');
    expect(versions).toEqual([5, 4, 4, 4, 4]);
    await bridge.connected();
  });

  test('a broker that closes whatever is said to it is asked for both, in turn, with growing waits', async () => {
    const versions: number[] = [];
    const at = await broker({
      1: (body, socket) => {
        versions.push(versionOf(body));
        socket.destroy();
        return undefined;
      },
    });
    const { waits, ports } = impatient();
    const bridge = gateway(at, { ports });
    await until(() => waits.length >= 9, 'nine rounds');
    expect(versions.slice(0, 6)).toEqual([5, 4, 5, 4, 5, 4]);
    expect(waits.slice(0, 9)).toEqual([375, 750, 1500, 3000, 6000, 12_000, 22_500, 22_500, 22_500]);
    expect(bridge.states.at(-1)?.problem?.message).toMatch(/without a word|broke/);
  });
});

describe('refusals', () => {
  test.each([
    ['MQTT 5, 0x86', '2003008600'],
    ['MQTT 5, 0x87', '2003008700'],
    ['3.1.1, 4', '20020004'],
    ['3.1.1, 5', '20020005'],
  ])('of the credentials (%s) are named and tried again after 30 s at the soonest', async (_what, connack) => {
    const five = connack.length > 8;
    const at = await broker({ 1: (body) => (five || versionOf(body) === 4 ? connack : '2003008400') });
    const { waits, ports } = impatient();
    const bridge = gateway(at, { ports, username: 'u', password: 'hush-hush' });
    const { problem } = await bridge.problem(/refused the user name or password/);
    await until(() => waits.length >= 2, 'two waits');
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(30_000);
    expect(JSON.stringify(problem) + bridge.logged()).not.toContain('hush-hush');
  });

  test('a DISCONNECT that says "session taken over" is named, and waited for', async () => {
    const at = await broker({
      1: () => '2003000000',
      8: (body) => suback(body, '01', 5),
      3: (_body, socket) => {
        socket.end(Buffer.from('e0028e00', 'hex'));
        return undefined;
      },
    });
    const { waits, ports } = impatient();
    const bridge = gateway(at, { ports });
    await bridge.problem(/took over its connection/);
    await until(() => waits.length >= 1, 'a wait');
    expect(waits[0]).toBeGreaterThanOrEqual(30_000);
  });

  test('a filter that the broker does not grant is named, and the rest works on', async () => {
    const at = await broker({
      ...welcoming,
      1: (b) => (versionOf(b) === 4 ? '20020000' : '20020001'),
      8: (b) => suback(b, '80'),
    });
    const bridge = gateway(at, impatient());
    expect(await bridge.connected()).toMatchObject({
      problem: { message: expect.stringContaining('porchlight/+/set') },
    });
  });
});

describe('brokers that misbehave', () => {
  test('bytes that are not MQTT are a problem, not a crash', async () => {
    const at = await broker({ 1: () => 'ffffffffffffffffffffffff' });
    const { waits, ports } = impatient();
    const bridge = gateway(at, { ports });
    await until(() => waits.length >= 3, 'it goes on trying');
    expect(bridge.states.at(-1)?.problem?.code).toBe('broker_unreachable');
  });

  test('a message that announces 200 MB is not collected', async () => {
    const at = await broker({ ...welcoming, 8: (body) => `${suback(body)}30ffffff5f` });
    const bridge = gateway(at, impatient());
    const { problem } = await bridge.problem(/more than 1024 KiB/);
    expect(problem?.hint).toMatch(/max_packet_size/);
  });

  test('a broker that takes the connection and says nothing is given up after 10 s', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const at = await broker({});
      const bridge = runBridge({ url: `mqtt://127.0.0.1:${at.port}` });
      await vi.waitUntil(() => at.connections() === 1);
      await vi.advanceTimersByTimeAsync(9_900);
      expect(bridge.states.at(-1)?.problem).toBeUndefined();
      await vi.advanceTimersByTimeAsync(200);
      await vi.waitUntil(() => bridge.states.at(-1)?.problem !== undefined);
      expect(bridge.states.at(-1)?.problem?.message).toMatch(/did not answer within 10 s/);
      vi.useRealTimers();
      await bridge.stop();
    } finally {
      vi.useRealTimers();
    }
  });

  test.each([
    'porchlight/#/set',
    'porchlight/+/set',
    '$SYS/broker',
    'porchlight/po\u0000rch/set',
    'other/porch/set',
    '',
  ])('a message in %j, which nobody asked for, is ignored', async (topic) => {
    const name = Buffer.from(topic);
    const payload = Buffer.from('{"state":"ON"}');
    const head = Buffer.from([0x30, 2 + name.length + payload.length, 0, name.length]);
    const message = Buffer.concat([head, name, payload]).toString('hex');
    const at = await broker({ ...welcoming, 8: (body) => `${suback(body)}${message}` });
    const bridge = gateway(at, impatient());
    await until(() => at.connections() > 0 && bridge.states.length > 1, 'a connection');
    await sleep(30);
    expect(bridge.commands).toEqual([]);
  });
});

describe('what is asked before each connect', () => {
  test('the password is fresh each time, and one that cannot be had is a state', async () => {
    const seen: string[] = [];
    const at = await broker({
      ...welcoming,
      1: (body, socket) => {
        seen.push(body.toString('latin1').slice(-3));
        if (seen.length < 3) socket.end();
        return '20020000';
      },
    });
    let n = 0;
    const password = async (): Promise<string> => {
      n += 1;
      if (n === 1) throw new PorchlightError('not_authorized');
      return `pw${n}`;
    };
    const bridge = gateway(at, { ...impatient(), username: 'u', password });
    await bridge.problem(/has not been approved/);
    await until(() => seen.length >= 3, 'three tries');
    expect(seen.slice(0, 3)).toEqual(['pw2', 'pw3', 'pw4']);
  });

  test('credentials in the URL are used, and never shown', async () => {
    let seen = '';
    const at = await broker({
      1: (body) => {
        seen = body.toString('latin1');
        return '2003008600';
      },
    });
    const bridge = gateway(at, { ...impatient(), url: `mqtt://us%40er:sec%3Aret@127.0.0.1:${at.port}` });
    await bridge.problem(/refused/);
    expect(seen).toContain('us@er');
    expect(seen).toContain('sec:ret');
    expect(JSON.stringify(bridge.states) + bridge.logged()).not.toMatch(/sec.{0,3}ret/);
  });
});

describe('the wire', () => {
  test('Nagle is off at the socket, on the first connect and on the next', async () => {
    const calls: unknown[] = [];
    const real = Socket.prototype.setNoDelay;
    vi.spyOn(Socket.prototype, 'setNoDelay').mockImplementation(function (this: Socket, on?: boolean) {
      // Only a call on a connected socket reaches the system for sure.
      if (this.remotePort === port) calls.push([on, this.readyState]);
      return real.call(this, on);
    });
    const first = await startBroker();
    const { port } = first;
    const bridge = gateway(first, impatient());
    await bridge.connected();
    await first.close();
    await until(() => bridge.states.at(-1)?.connected === false, 'the loss is noticed');
    kept(await startBroker({ port }));
    await bridge.connected();
    expect(calls.length).toBeGreaterThanOrEqual(2);
    expect(calls.every((call) => JSON.stringify(call) === '[true,"open"]')).toBe(true);
  });

  test('websockets carry it too', async () => {
    const mqtt = kept(await startBroker());
    const front = kept(await websocketTo(mqtt.port));
    const bridge = gateway(mqtt, { url: `ws://127.0.0.1:${front.port}/mqtt` });
    await bridge.connected();
    const phone = await joinBroker(mqtt.url, 'porchlight/#', { protocolVersion: 4 });
    cleanup.push(() => phone.end());
    await phone.client.publishAsync('porchlight/porch/set', '{"state":"ON"}', { qos: 1 });
    await phone.hears('porchlight/porch/result');
  });
});
