import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { startBroker } from '../../src/demo/broker.ts';
import { sleep } from '../../src/task-group.ts';
import { confirmed, joinBroker, type Peer, type RunningBridge, runBridge, until } from '../mqtt/harness.ts';
import { cuttable } from '../mqtt/wires.ts';
import {
  type Authority,
  type Certificate,
  createAuthority,
  freePort,
  type Mosquitto,
  type MosquittoOptions,
  mosquittoMissing,
  startMosquitto,
} from '../support/mosquitto.ts';

const cleanup: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).reverse()) await undo();
});

async function mosquitto(options: MosquittoOptions = {}): Promise<Mosquitto> {
  const broker = await startMosquitto(options);
  cleanup.push(() => broker.stop());
  return broker;
}

function gateway(options: Parameters<typeof runBridge>[0]): RunningBridge {
  const running = runBridge(options);
  cleanup.push(() => running.stop());
  return running;
}

async function peer(...args: Parameters<typeof joinBroker>): Promise<Peer> {
  const joined = await joinBroker(...args);
  cleanup.push(() => joined.end());
  return joined;
}

const ON = '{"state":"ON"}';

describe.skipIf(mosquittoMissing() !== undefined)('the bridge and a real mosquitto', () => {
  test('speaks MQTT 5, obeys a command with its token, answers, and retains states', async () => {
    const { url } = await mosquitto();
    const bridge = gateway({ url });
    expect(await bridge.connected()).toMatchObject({ connected: true, protocol: '5' });
    bridge.bridge.publishState('porch', { state: 'ON', confidence: 'confirmed' });
    bridge.bridge.publishAvailability('porch', true);
    bridge.bridge.publishStatus({ version: '0' });
    const phone = await peer(url, 'porchlight/#');
    const state = await phone.hears('porchlight/porch/state', '{"state":"ON","confidence":"confirmed"}');
    expect(state.packet).toMatchObject({ retain: true, qos: 1 });
    await phone.hears('porchlight/porch/availability', 'online');
    await phone.hears('porchlight/gateway/porch-pi/availability', 'online');
    await phone.hears('porchlight/gateway/porch-pi/status', '{"version":"0"}');
    phone.client.publish('porchlight/porch/set', '{"state":"ON","id":"a1"}', {
      qos: 1,
      properties: { userProperties: { authorization: 'bearer abc.def.ghi' }, messageExpiryInterval: 9 },
    });
    const result = await phone.hears('porchlight/porch/result');
    expect(JSON.parse(result.text)).toEqual({
      id: 'a1',
      target: 'porch',
      outcome: 'confirmed',
      by: 'owner',
      took_ms: 1,
    });
    expect(result.packet).toMatchObject({ retain: false, qos: 0 });
    const [command] = bridge.commands;
    expect(command).toMatchObject({
      kind: 'lights',
      target: 'porch',
      change: { state: 'ON' },
      credential: { kind: 'bearer', token: 'abc.def.ghi' },
      retained: false,
    });
    expect((command?.expiresAt ?? 0) - (command?.receivedAt ?? 0)).toBeLessThanOrEqual(9000);
    expect((command?.expiresAt ?? 0) - (command?.receivedAt ?? 0)).toBeGreaterThan(5000);
    expect(bridge.logged()).not.toContain('abc.def.ghi');
  });

  test('hears all four command topics, and tells which tree each came by', async () => {
    const { url } = await mosquitto();
    const bridge = gateway({ url });
    await bridge.connected();
    const phone = await peer(url, 'porchlight/+/result');
    for (const topic of ['porch', 'local/hall', 'scene/movie', 'local/scene/movie']) {
      const body = topic.includes('scene') ? '{}' : ON;
      await phone.client.publishAsync(`porchlight/${topic}/set`, body, { qos: 1 });
    }
    await until(() => bridge.commands.length === 4, 'four commands');
    expect(bridge.commands.map(({ kind, target, credential }) => [kind, target, credential.kind])).toEqual([
      ['lights', 'porch', 'bearer'],
      ['lights', 'hall', 'broker'],
      ['scene', 'movie', 'bearer'],
      ['scene', 'movie', 'broker'],
    ]);
  });

  test('is there as soon as a broker that was away at start comes', async () => {
    const port = await freePort();
    const bridge = gateway({ url: `mqtt://localhost:${port}` });
    const away = await bridge.problem(/refuses connections/);
    expect(away).toMatchObject({ connected: false, problem: { code: 'broker_unreachable' } });
    expect(away.problem?.hint).toMatch(/broker running/);
    bridge.bridge.publishState('porch', { state: 'OFF', confidence: 'assumed' });
    bridge.bridge.publishState('porch', { state: 'ON', confidence: 'confirmed' });
    const { url } = await mosquitto({ port });
    await bridge.connected();
    const phone = await peer(url, 'porchlight/#');
    await phone.hears('porchlight/porch/state', /"ON"/);
    expect(phone.heard.filter(({ text }) => text.includes('OFF'))).toEqual([]);
  });

  test('subscribes again and publishes all retained values again after the broker restarted', async () => {
    const broker = await mosquitto();
    const bridge = gateway({ url: broker.url });
    await bridge.connected();
    bridge.bridge.publishState('hall', { state: 'ON', confidence: 'confirmed' });
    await broker.restart();
    await until(() => bridge.states.some(({ problem }) => problem !== undefined), 'the loss is noticed');
    await bridge.connected();
    const phone = await peer(broker.url, 'porchlight/#');
    await phone.hears('porchlight/hall/state', /"ON"/);
    await phone.hears('porchlight/gateway/porch-pi/availability', 'online');
    await phone.client.publishAsync('porchlight/hall/set', ON, { qos: 1 });
    await phone.hears('porchlight/hall/result');
  });

  test('says offline and leaves when stopped, within 2 s, also with a command that never ends', async () => {
    const { url } = await mosquitto();
    const bridge = runBridge({ url, handle: () => new Promise(() => undefined) });
    await bridge.connected();
    const phone = await peer(url, 'porchlight/gateway/+/availability');
    await phone.client.publishAsync('porchlight/porch/set', ON, { qos: 1 });
    await until(() => bridge.commands.length === 1, 'the command');
    const from = performance.now();
    await bridge.stop();
    expect(performance.now() - from).toBeLessThan(2000);
    await phone.hears('porchlight/gateway/porch-pi/availability', 'offline');
    await sleep(100);
    // Once: the will, which says the same, stayed unsaid.
    expect(phone.heard.filter(({ text }) => text === 'offline')).toHaveLength(1);
    const later = await peer(url, 'porchlight/gateway/+/availability');
    expect((await later.hears('porchlight/gateway/porch-pi/availability', 'offline')).packet.retain).toBe(true);
    expect(bridge.states.at(-1)).toMatchObject({ connected: false });
  });

  test('stops within 2 s while the broker is frozen', async () => {
    const broker = await mosquitto();
    const bridge = runBridge({ url: broker.url });
    await bridge.connected();
    broker.freeze();
    const from = performance.now();
    await bridge.stop();
    expect(performance.now() - from).toBeLessThan(2000);
  });

  test('notices a broker that is there but dead, and heals', async () => {
    const broker = await mosquitto();
    const bridge = gateway({ url: broker.url, keepalive: 1 });
    await bridge.connected();
    broker.freeze();
    await until(() => bridge.states.at(-1)?.connected === false, 'the link is given up', 4000);
    broker.thaw();
    await bridge.connected();
  });

  test('a retained command arrives as retained, and clearing it is no command', async () => {
    const { url } = await mosquitto();
    const phone = await peer(url, 'porchlight/+/result');
    await phone.client.publishAsync('porchlight/porch/set', ON, { qos: 1, retain: true });
    await phone.client.publishAsync('porchlight/hall/set', 'lies', { qos: 1, retain: true });
    const bridge = gateway({ url });
    await bridge.connected();
    await until(() => bridge.commands.length === 2, 'the retained commands');
    expect(bridge.commands).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ target: 'porch', retained: true }),
        expect.objectContaining({
          target: 'hall',
          retained: true,
          problem: expect.objectContaining({ code: 'bad_command' }),
        }),
      ]),
    );
    await phone.client.publishAsync('porchlight/porch/set', '', { qos: 1, retain: true });
    await phone.client.publishAsync('porchlight/porch/set', ON, { qos: 1, retain: true });
    await until(() => bridge.commands.length === 3, 'the command that is published with the retain flag now');
    expect(bridge.commands[2]).toMatchObject({ retained: true });
  });

  test('answers on the Response Topic inside its own tree alone, with the Correlation Data as received', async () => {
    const { url } = await mosquitto();
    const bridge = gateway({ url });
    await bridge.connected();
    const phone = await peer(url, '#');
    const ask = (responseTopic: string, correlationData = Buffer.from([0, 255, 1])): Promise<unknown> =>
      phone.client.publishAsync('porchlight/porch/set', ON, { qos: 1, properties: { responseTopic, correlationData } });
    await ask('porchlight/porch/state');
    await ask('porchlight/response/');
    await ask('porchlight/response');
    await ask('porchlight/response//x');
    await ask('elsewhere/response/a');
    await ask('porchlight/local/porch/set');
    await ask(`porchlight/response/${'x'.repeat(300)}`);
    await ask('porchlight/response/long', Buffer.alloc(1025));
    await ask('porchlight/response/phone/7');
    const answer = await phone.hears('porchlight/response/phone/7');
    expect([...(answer.packet.properties?.correlationData ?? [])]).toEqual([0, 255, 1]);
    expect(answer.packet).toMatchObject({ qos: 0, retain: false });
    expect(JSON.parse(answer.text)).toMatchObject({ target: 'porch', outcome: 'confirmed' });
    const allowed = new Set(['porchlight/porch/set', 'porchlight/porch/result', 'porchlight/response/phone/7']);
    const stray = phone.heard
      .map(({ topic }) => topic)
      .filter((topic) => !allowed.has(topic) && !topic.includes('/gateway/'));
    expect(stray).toEqual([]);
    expect(phone.heard.filter(({ topic }) => topic === 'porchlight/porch/result')).toHaveLength(9);
  });

  test('two tokens that differ, several, or another scheme are token_invalid; the same one twice is fine', async () => {
    const { url } = await mosquitto();
    const bridge = gateway({ url, ports: { clock: { monotonic: ever(), wall: () => Date.now() } } });
    await bridge.connected();
    const phone = await peer(url, 'porchlight/+/result');
    const send = (authorization: string | string[], body: object = { state: 'ON' }): Promise<unknown> =>
      phone.client.publishAsync('porchlight/porch/set', JSON.stringify(body), {
        qos: 1,
        properties: { userProperties: { authorization } },
      });
    await send('Bearer a.b.c', { state: 'ON', authorization: 'a.b.d' });
    await send(['Bearer a.b.c', 'Bearer a.b.c']);
    await send('Basic a.b.c');
    await send('Bearer ');
    await send('BEARER  a.b.c', { state: 'ON', authorization: 'Bearer a.b.c' });
    await until(() => phone.heard.length === 5, 'five answers');
    expect(phone.heard.map(({ text }) => JSON.parse(text).code)).toEqual([
      'token_invalid',
      'token_invalid',
      'token_invalid',
      'token_invalid',
      undefined,
    ]);
    expect(bridge.commands.map(({ credential }) => credential)).toEqual([{ kind: 'bearer', token: 'a.b.c' }]);
    expect(phone.heard.map(({ text }) => text).join('')).not.toContain('a.b');
  });

  test('a flood is bounded, keeps its order per target, is acknowledged without waiting, and strangers hear one answer', async () => {
    const { url } = await mosquitto({ extra: ['max_queued_messages 10000'] });
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const bridge = gateway({ url, handle: (command) => gate.then(() => confirmed(command)) });
    await bridge.connected();
    const phone = await peer(url, 'porchlight/+/result');
    const sent = [];
    for (let n = 0; n < 5000; n += 1) {
      const body = JSON.stringify({ state: 'ON', id: String(n) });
      sent.push(phone.client.publishAsync(`porchlight/${n % 2 === 0 ? 'porch' : 'hall'}/set`, body, { qos: 1 }));
    }
    await Promise.all(sent);
    await until(() => bridge.bridge.counts.received === 5000, 'all arrived while none has ended');
    expect(bridge.commands).toHaveLength(1000);
    expect(bridge.commands.map(({ id }) => Number(id))).toEqual([...Array(1000).keys()]);
    const busy = JSON.parse((await phone.hears('porchlight/porch/result')).text);
    expect(busy).toMatchObject({ outcome: 'failed', code: 'busy' });
    expect(phone.heard.length).toBeLessThanOrEqual(5);
    release();
    await until(() => phone.heard.length >= 1001, 'the outcomes of those that were accepted');
    expect(bridge.bridge.counts.swallowed).toBeGreaterThan(3900);
    await phone.client.publishAsync('porchlight/porch/set', '{"state":"ON","id":"after"}', { qos: 1 });
    await phone.hears('porchlight/porch/result', /"after"/);
  });

  test('what is too large is refused, and far too large never arrives; the bridge stays', async () => {
    const { url } = await mosquitto();
    const bridge = gateway({ url, ports: { clock: { monotonic: ever(), wall: () => Date.now() } } });
    await bridge.connected();
    const phone = await peer(url, 'porchlight/+/result');
    const body = (size: number): string => ON.padEnd(size, ' ');
    await phone.client.publishAsync('porchlight/porch/set', body(16 * 1024), { qos: 1 });
    await phone.client.publishAsync('porchlight/hall/set', body(16 * 1024 + 1), { qos: 1 });
    await phone.client.publishAsync('porchlight/hall/set', body(3_000_000), { qos: 1 });
    await phone.client.publishAsync('porchlight/hall/set', '', { qos: 1 });
    await phone.hears('porchlight/hall/result', /"payload_too_large"/);
    await phone.hears('porchlight/hall/result', /"bad_command"/);
    expect(bridge.commands.map(({ target, problem }) => [target, problem?.code])).toEqual([
      ['porch', undefined],
      ['hall', 'payload_too_large'],
      ['hall', 'bad_command'],
    ]);
    expect(bridge.states.filter(({ connected }) => !connected)).toHaveLength(1);
  });

  test('hostile topics are ignored; an unknown target is answered, once a second', async () => {
    const { url } = await mosquitto();
    const bridge = gateway({
      url,
      handle: async ({ target }) => ({ target, outcome: 'failed', code: 'unknown_target', by: 'owner', took_ms: 0 }),
    });
    await bridge.connected();
    const phone = await peer(url, '#');
    const bad = [
      '',
      '/porch',
      'porch/',
      'pörch',
      'рorch',
      'PORCH',
      'local',
      'scene',
      'gateway',
      'response',
      'a b',
      'x'.repeat(41),
    ];
    for (const target of [...bad, 'x'.repeat(65_000), 'porch\u202e', '$SYS', '../porch']) {
      await phone.client.publishAsync(`porchlight/${target}/set`, ON, { qos: 1 });
    }
    for (const target of ['garden', 'garden', 'attic']) await phone.client.publishAsync(`porchlight/${target}/set`, ON);
    await phone.hears('porchlight/garden/result', /unknown_target/);
    await until(() => bridge.commands.length === 3, 'three commands');
    expect(bridge.commands.map(({ target }) => target)).toEqual(['garden', 'garden', 'attic']);
    await sleep(50);
    expect(phone.heard.filter(({ topic }) => topic.endsWith('/result'))).toHaveLength(1);
    expect(bridge.bridge.counts.swallowed).toBe(2);
  });

  test('a fight with another client over our id is named, and not hot', async () => {
    const { url } = await mosquitto();
    const waits: number[] = [];
    const pause = async (ms: number, signal?: AbortSignal): Promise<void> => {
      waits.push(ms);
      await sleep(ms > 20_000 ? 500 : ms / 20, signal);
    };
    const bridge = gateway({ url, ports: { sleep: pause } });
    for (let round = 0; round < 4; round += 1) {
      await bridge.connected();
      const lost = bridge.states.length;
      const thief = await joinBroker(url, 'x', { clientId: 'porchlight-porch-pi' });
      await until(() => bridge.states.length > lost, 'the loss is noticed');
      await thief.end();
    }
    const { problem } = await bridge.problem(/took over/);
    expect(problem?.hint).toMatch(/gateway.id/);
    expect(waits).toHaveLength(4);
    expect(waits[3]).toBeGreaterThanOrEqual(30_000);
    await bridge.connected();
  });

  test('wrong credentials are named, without them, and not tried hotly; a fresh password heals', async () => {
    const { url } = await mosquitto({ users: { porchlight: 'right-password' } });
    const waits: number[] = [];
    const passwords = ['wrong-password', 'right-password'];
    const pause = async (ms: number, signal?: AbortSignal): Promise<void> => {
      waits.push(ms);
      await sleep(10, signal);
    };
    const bridge = gateway({
      url,
      username: 'porchlight',
      password: async () => passwords.shift() ?? '',
      ports: { sleep: pause },
    });
    const { problem } = await bridge.problem(/refused the user name or password/);
    expect(problem?.hint).toMatch(/mqtt.username/);
    await bridge.connected();
    expect(waits).toHaveLength(1);
    expect(waits[0]).toBeGreaterThanOrEqual(30_000);
    expect(JSON.stringify(bridge.states) + bridge.logged()).not.toMatch(/wrong-password|right-password/);
  });

  test('a second gateway with the same base topic is noticed, and its leaving too', async () => {
    const { url } = await mosquitto();
    const first = gateway({ url, gateway_id: 'first' });
    await first.connected();
    expect(first.states.at(-1)?.problem).toBeUndefined();
    const second = runBridge({ url, gateway_id: 'second' });
    const warned = await second.problem(/"first"/);
    expect(warned).toMatchObject({ connected: true, problem: { code: 'config_invalid' } });
    await first.problem(/"second"/);
    await second.stop();
    await until(() => first.states.at(-1)?.problem === undefined, 'the problem is gone');
  });

  test('its own id, retained by an earlier run that was killed, is no second gateway', async () => {
    const { url } = await mosquitto();
    const other = await peer(url, 'x');
    await other.client.publishAsync('porchlight/gateway/porch-pi/availability', 'online', { retain: true, qos: 1 });
    await other.client.publishAsync('porchlight/gateway/old/availability', 'offline', { retain: true, qos: 1 });
    const bridge = gateway({ url });
    expect((await bridge.connected()).problem).toBeUndefined();
  });

  test('the will says offline when the line is cut, and the bridge comes back by itself', async () => {
    const broker = await mosquitto();
    const line = await cuttable(broker.port);
    cleanup.push(() => line.close());
    const bridge = gateway({ url: `mqtt://127.0.0.1:${line.port}` });
    await bridge.connected();
    const phone = await peer(broker.url, 'porchlight/gateway/+/availability');
    await phone.hears('porchlight/gateway/porch-pi/availability', 'online');
    line.cut();
    await phone.hears('porchlight/gateway/porch-pi/availability', 'offline');
    const later = await peer(broker.url, 'porchlight/gateway/+/availability');
    expect((await later.hears('porchlight/gateway/porch-pi/availability', 'offline')).packet.retain).toBe(true);
    line.mend();
    await bridge.connected();
    await until(() => phone.heard.at(-1)?.text === 'online', 'online again');
  });

  test('a broker that cannot retain is served without', async () => {
    const { url } = await mosquitto({ extra: ['retain_available false'] });
    const bridge = gateway({ url });
    await bridge.connected();
    const phone = await peer(url, 'porchlight/porch/state');
    bridge.bridge.publishState('porch', { state: null, confidence: 'unknown' });
    await phone.hears('porchlight/porch/state');
  });
});

describe.skipIf(mosquittoMissing() !== undefined)('TLS', () => {
  let authority: Authority;
  let stranger: Authority;
  let good: Certificate;
  beforeAll(() => {
    authority = createAuthority('Home authority');
    stranger = createAuthority('Another authority');
    good = authority.issue('broker');
  });

  test('a private authority is trusted when its certificate is given, and Nagle is off there too', async () => {
    const calls: boolean[] = [];
    const real = Socket.prototype.setNoDelay;
    const spy = vi.spyOn(Socket.prototype, 'setNoDelay').mockImplementation(function (this: Socket, on?: boolean) {
      if (this instanceof TLSSocket && on === true) calls.push(this.readyState === 'open');
      return real.call(this, on);
    });
    cleanup.push(async () => spy.mockRestore());
    const { url } = await mosquitto({ tls: good });
    const bridge = gateway({ url, ca: authority.ca });
    await bridge.connected();
    expect(calls).toEqual([true]);
  });

  const faults: [string, { names?: string; days?: number }, 'nobody' | 'authority' | 'stranger', RegExp][] = [
    ['of an authority that nobody here knows', {}, 'nobody', /not trusted here/],
    ['of another authority than the one given', {}, 'stranger', /not trusted here/],
    ['for another host name', { names: 'DNS:broker.example' }, 'authority', /another host name/],
    ['that has expired', { days: -1 }, 'authority', /expired/],
  ];
  test.each(faults)(
    'a certificate %s is refused and named, and no password is sent',
    async (_what, issue, trusted, words) => {
      const ca = { nobody: undefined, authority: authority.ca, stranger: stranger.ca }[trusted];
      const { url, output } = await mosquitto({ tls: authority.issue('broker', issue) });
      const bridge = gateway({ url, username: 'u', password: 'p', ...(ca === undefined ? {} : { ca }) });
      expect((await bridge.problem(words)).connected).toBe(false);
      expect(output()).not.toMatch(/New client connected/);
    },
  );

  test("a client certificate opens a broker that wants one; without it, or with a stranger's, the refusal is named", async () => {
    const { url } = await mosquitto({ tls: { ...good, ca: authority.ca } });
    const bridge = gateway({ url, ca: authority.ca, ...authority.issue('gateway') });
    await bridge.connected();
    await gateway({ url, ca: authority.ca, gateway_id: 'bare' }).problem(/did not accept the certificate/);
    const wrong = gateway({ url, ca: authority.ca, gateway_id: 'wrong', ...stranger.issue('gateway') });
    await wrong.problem(/did not accept the certificate/);
  });

  test('a plain port behind mqtts, and TLS behind mqtt, are problems and never a downgrade', async () => {
    const plain = await mosquitto();
    await gateway({ url: `mqtts://localhost:${plain.port}`, ca: authority.ca }).problem(/TLS|broke|without a word/);
    const tls = await mosquitto({ tls: good });
    await gateway({ url: `mqtt://localhost:${tls.port}` }).problem(/without a word|broke/);
    expect(plain.output() + tls.output()).not.toMatch(/New client connected/);
  });

  test('files that are not PEM are a problem that says so', async () => {
    const { url } = await mosquitto({ tls: good });
    await gateway({ url, ca: authority.ca, cert: 'rubbish', key: 'rubbish' }).problem(/cannot be used/);
  });
});

describe('the bridge and the embedded broker, which speaks 3.1.1 alone', () => {
  test('falls back to 3.1.1 when it closes without a word, and takes the token from the payload', async () => {
    const broker = await startBroker();
    cleanup.push(() => broker.close());
    const bridge = gateway({ url: broker.url });
    expect(await bridge.connected()).toMatchObject({ protocol: '3.1.1' });
    expect(bridge.states.filter(({ problem }) => problem !== undefined)).toEqual([]);
    const phone = await peer(broker.url, 'porchlight/#', { protocolVersion: 4 });
    await phone.hears('porchlight/gateway/porch-pi/availability', 'online');
    await phone.client.publishAsync('porchlight/porch/set', '{"state":"ON","authorization":"Bearer x.y.z"}', {
      qos: 1,
    });
    await phone.hears('porchlight/porch/result');
    expect(bridge.commands[0]?.credential).toEqual({ kind: 'bearer', token: 'x.y.z' });
  });

  test('a retained command arrives as retained there as well', async () => {
    const broker = await startBroker();
    cleanup.push(() => broker.close());
    const phone = await peer(broker.url, 'porchlight/#', { protocolVersion: 4 });
    await phone.client.publishAsync('porchlight/porch/set', ON, { qos: 1, retain: true });
    const bridge = gateway({ url: broker.url });
    await until(() => bridge.commands.length === 1, 'the retained command');
    expect(bridge.commands[0]).toMatchObject({ retained: true });
  });

  test('is back at once, in 3.1.1, when it restarts', async () => {
    const broker = await startBroker();
    const bridge = gateway({ url: broker.url });
    await bridge.connected();
    await broker.close();
    await bridge.problem(/refuses|closed|broke/);
    const again = await startBroker({ port: broker.port });
    cleanup.push(() => again.close());
    expect(await bridge.connected()).toMatchObject({ protocol: '3.1.1' });
  });
});

/** A clock by which more than a second passes between any two answers. */
function ever(): () => number {
  let now = 0;
  return () => (now += 2000);
}
