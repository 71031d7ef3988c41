import type { IPublishPacket } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommanderKey } from '../support/commander-key.ts';
import { AUDIENCE, approve, type Home, PORCH, senderFor, startHome } from '../support/home.ts';
import { mosquittoMissing } from '../support/mosquitto.ts';
import type { Sender } from '../support/sender.ts';

const RESPONSE = 'porchlight/response/test';
const seconds = (): number => Math.floor(Date.now() / 1000);

/** Everything of a message that goes over the wire. */
interface Message {
  readonly topic: string;
  readonly payload: Buffer;
  readonly packet: IPublishPacket;
}

/** What whoever reads along has: whole messages, and a client to send them with. */
class Thief {
  readonly sender: Sender;
  readonly #loot: Message[] = [];

  private constructor(sender: Sender) {
    this.sender = sender;
    sender.client.on('message', (topic, payload, packet) => {
      if (topic.endsWith('/set')) this.#loot.push({ topic, payload, packet });
    });
  }

  static async in(home: Home): Promise<Thief> {
    return new Thief(await senderFor(home));
  }

  /** The newest command that went by. */
  async steal(): Promise<Message> {
    await expect.poll(() => this.#loot.length).toBeGreaterThan(0);
    const last = this.#loot.at(-1);
    return last ?? expect.fail('nothing was stolen');
  }

  async send({ topic, payload, packet: { properties } }: Message, changed: Changed = {}): Promise<void> {
    const { responseTopic, userProperties } = properties ?? {};
    const answer = changed.responseTopic === undefined ? responseTopic : changed.responseTopic;
    await this.sender.client.publishAsync(changed.topic ?? topic, changed.payload ?? payload, {
      qos: 1,
      retain: changed.retain ?? false,
      properties: {
        ...(answer !== undefined && answer !== 'none' && { responseTopic: answer }),
        userProperties: { ...userProperties, ...changed.user },
      },
    });
  }
}

interface Changed {
  readonly topic?: string;
  readonly payload?: Buffer;
  /** `none`: without. */
  readonly responseTopic?: string;
  readonly user?: Record<string, string | string[]>;
  readonly retain?: boolean;
}

/** A message that somebody recorded is worth nothing: no byte reaches a lamp, and each attempt has one outcome with its code. */
describe.skipIf(mosquittoMissing() !== undefined)('bound commands', () => {
  let home: Home;
  let phone: Sender;
  let thief: Thief;
  let key: CommanderKey;
  let token: string;
  const bound = (to: CommanderKey, claims: Record<string, unknown> = {}): string =>
    home.server.mint({
      iss: home.server.issuer,
      sub: 'owner',
      aud: AUDIENCE,
      client_id: 'phone',
      scope: 'lights:control',
      iat: seconds(),
      exp: seconds() + 600,
      jti: `t${Math.random()}`,
      cnf: { jkt: to.thumbprint },
      ...claims,
    });
  const access = { audience: AUDIENCE, max_age: '20s' };

  beforeAll(async () => {
    home = await startHome({ config: { access: { ...access, require: 'bound' } } });
    await approve(home);
    phone = await senderFor(home);
    thief = await Thief.in(home);
    key = await CommanderKey.make();
    token = bound(key);
    // Links stand before the first theft, so that silence at the lamps is not for want of them.
    for (const lamp of ['porch', 'hall']) await obeyed(lamp);
  });

  afterAll(async () => {
    await thief?.sender.close();
    await phone?.close();
    await home?.close();
  });

  /** Sends a command until it is obeyed: after a crash, none is in the very second in which the clock came to be trusted. */
  async function obeyed(target: string): Promise<void> {
    for (let tries = 0; tries < 10; tries += 1) {
      const { outcome } = await phone.command(target, { state: 'ON' }, { token, key });
      if (outcome === 'confirmed' || outcome === 'assumed') return;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    throw new Error(`${target} does not obey`);
  }

  /** Runs `act`; resolves with the outcomes on result topics. No byte may have reached a lamp. */
  async function unmoved(act: () => Promise<unknown>, answers = 1): Promise<readonly Record<string, unknown>[]> {
    // Denials of strangers are answered once a second; a denial of somebody who is known always is.
    const bytes = (await home.air.written()).length;
    const before = phone.heard.length;
    const results = () =>
      phone.heard.slice(before).filter(({ topic }) => topic.endsWith('/result') && topic.startsWith('porchlight/'));
    await act();
    await expect.poll(() => results().length, { timeout: 5_000 }).toBe(answers);
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(results()).toHaveLength(answers);
    expect((await home.air.written()).slice(bytes)).toEqual([]);
    return results().map(({ body }) => body);
  }

  async function denied(code: string, act: () => Promise<unknown>): Promise<Record<string, unknown>> {
    const [outcome = {}] = await unmoved(act);
    expect(outcome).toMatchObject({ outcome: 'denied', code });
    expect(String(outcome['message']).length + String(outcome['hint']).length).toBeGreaterThan(30);
    return outcome;
  }

  /** A command that the lamp obeyed, as the thief recorded it. */
  async function stolen(change: object = { state: 'TOGGLE' }): Promise<Message> {
    const bytes = (await home.air.written()).length;
    const outcome = await phone.command('porch', change, { token, key });
    expect(outcome).toMatchObject({ outcome: 'confirmed', by: 'owner' });
    expect((await home.air.written()).length).toBeGreaterThan(bytes);
    return await thief.steal();
  }

  it('a stolen message on its own topic is replayed', async () => {
    const message = await stolen();
    const outcome = await denied('replayed', () => thief.send(message));
    expect(outcome).toMatchObject({ by: 'owner', target: 'porch' });
    await unmoved(() => Promise.all([thief.send(message), thief.send(message), thief.send(message)]), 3);
  });

  it.each<[string, Changed, string]>([
    ['on the topic of another lamp', { topic: 'porchlight/hall/set' }, 'proof_invalid'],
    ['on the topic of a group', { topic: 'porchlight/evening/set' }, 'proof_invalid'],
    ['on the topic of a scene', { topic: 'porchlight/scene/movie/set', payload: Buffer.from('{}') }, 'proof_invalid'],
    ['with another payload', { payload: Buffer.from('{"state":"OFF"}') }, 'proof_invalid'],
    ['with a space more', { payload: Buffer.from('{"state":"TOGGLE"} ') }, 'proof_invalid'],
    ['with an id of its own', { payload: Buffer.from('{"state":"TOGGLE","id":"1"}') }, 'proof_invalid'],
    ['with another Response Topic', { responseTopic: 'porchlight/response/thief' }, 'proof_invalid'],
    ['without its Response Topic', { responseTopic: 'none' }, 'proof_invalid'],
    ['without its proof', { user: { proof: '' } }, 'proof_invalid'],
    ['retained', { retain: true }, 'retained'],
  ])('a stolen message %s moves nothing', async (_what, changed, code) => {
    const message = await stolen();
    try {
      await denied(code, () => thief.send(message, changed));
    } finally {
      if (changed.retain) await thief.sender.client.publishAsync(message.topic, '', { qos: 1, retain: true });
    }
  });

  it('with two proofs, or another token of the same key, or of another key, it moves nothing', async () => {
    const message = await stolen();
    const proof = String(message.packet.properties?.userProperties?.['proof']);
    await denied('proof_invalid', () => thief.send(message, { user: { proof: [proof, proof] } }));
    const authorization = `Bearer ${bound(key)}`;
    await denied('proof_invalid', () => thief.send(message, { user: { authorization } }));
    const own = await CommanderKey.make();
    await denied('proof_invalid', () => thief.send(message, { user: { authorization: `Bearer ${bound(own)}` } }));
    const signed = await own.proof({ ...message, responseTopic: RESPONSE, token });
    await denied('proof_invalid', () => thief.send(message, { user: { proof: signed } }));
  });

  it('a message that never arrived moves nothing where it was not meant', async () => {
    const meant = { topic: 'porchlight/porch/set', payload: '{"state":"TOGGLE"}', token };
    const user = { authorization: `Bearer ${token}`, proof: await key.proof(meant, { gateway: 'hall-pi' }) };
    const outcome = await denied('proof_invalid', () =>
      phone.client.publishAsync(meant.topic, meant.payload, { qos: 1, properties: { userProperties: user } }),
    );
    expect(outcome['message']).toContain('gateway');
  });

  it('an old proof and one from the future move nothing', async () => {
    const on = { state: 'TOGGLE' };
    await denied('too_old', () => phone.command('porch', on, { token, key, claims: { iat: seconds() - 21 } }));
    await denied('proof_invalid', () => phone.command('porch', on, { token, key, claims: { iat: seconds() + 61 } }));
  });

  it('an exact redelivery of a command with an id gets its first outcome again and moves nothing', async () => {
    const message = await stolen({ state: 'TOGGLE', id: 'dup' });
    const first = phone.heard.findLast(({ topic }) => topic === 'porchlight/porch/result')?.body;
    const again = await unmoved(() => Promise.all([thief.send(message), thief.send(message)]), 2);
    expect(again).toEqual([first, first]);
    expect(first).toMatchObject({ id: 'dup', outcome: 'confirmed' });
  });

  it('copies that arrive at the same time as the original act once', async () => {
    const topic = 'porchlight/porch/set';
    const payload = JSON.stringify({ state: 'TOGGLE', id: 'twins' });
    const properties = {
      userProperties: { authorization: `Bearer ${token}`, proof: await key.proof({ topic, payload, token }) },
    };
    const before = await home.air.lamp(PORCH);
    const heard = phone.heard.length;
    const send = () => phone.client.publishAsync(topic, payload, { qos: 1, properties });
    await Promise.all([send(), send(), send(), send(), send()]);
    const results = () => phone.heard.slice(heard).filter(({ topic: on }) => on === 'porchlight/porch/result');
    await expect.poll(() => results().length).toBe(5);
    expect(new Set(results().map(({ body }) => body.outcome))).toEqual(new Set(['confirmed']));
    const after = await home.air.lamp(PORCH);
    expect(after.state.on).toBe(!before.state.on);
  });

  it('of many signed commands the last one wins, as with a slider', async () => {
    const topic = 'porchlight/porch/set';
    const heard = phone.heard.length;
    const steps: { readonly payload: string; readonly proof: string }[] = [];
    for (let n = 0; n < 25; n += 1) {
      const payload = JSON.stringify({ state: 'ON', brightness: 10 + 9 * n, id: `step-${n}` });
      steps.push({ payload, proof: await key.proof({ topic, payload, token }) });
    }
    for (const { payload, proof } of steps) {
      const userProperties = { authorization: `Bearer ${token}`, proof };
      phone.client.publish(topic, payload, { qos: 1, properties: { userProperties } });
    }
    const outcomes = () =>
      phone.heard.slice(heard).filter(({ topic: on, body }) => on.endsWith('/result') && /^step-/.test(body.id));
    await expect.poll(() => outcomes().length).toBe(25);
    expect(outcomes().filter(({ body }) => !/confirmed|assumed|superseded/.test(body.outcome))).toEqual([]);
    expect(outcomes().find(({ body }) => body.id === 'step-24')?.body.outcome).toBe('confirmed');
    await expect.poll(() => phone.newest('porchlight/porch/state')?.brightness).toBe(226);
  });

  it('a bearer token commands nothing here, and is told what is missing', async () => {
    const plain = await home.server.tokenFor();
    const outcome = await denied('proof_missing', () => phone.command('porch', { state: 'TOGGLE' }, { token: plain }));
    expect(outcome['hint']).toContain('DPoP');
    await denied('proof_invalid', () => phone.command('porch', { state: 'TOGGLE' }, { token: plain, key }));
  });

  it('a bound token from MQTT 3.1.1 is told that it takes MQTT 5', async () => {
    const outcome = await denied('proof_missing', () =>
      phone.command('porch', {}, { raw: JSON.stringify({ state: 'TOGGLE', authorization: token }) }),
    );
    expect(outcome['hint']).toContain('MQTT 5');
  });

  it('a stolen message moves nothing after a restart, however quick; a new one does', async () => {
    const { daemon } = home;
    const messages: Message[] = [await stolen()];
    // A sender whose clock is ahead: its proof is not yet old when the new process starts.
    const ahead = seconds() + 4;
    for (const iat of [seconds(), ahead]) {
      await phone.command('porch', { state: 'TOGGLE' }, { token, key, claims: { iat } });
      messages.push(await thief.steal());
    }
    daemon.kill('SIGKILL');
    await daemon.exit;
    daemon.start();
    await daemon.until(
      ({ authorization, broker }) => authorization.state === 'authorized' && broker.connected,
      'authorized again',
    );
    const outcomes = await unmoved(() => Promise.all(messages.map((message) => thief.send(message))), 3);
    expect(outcomes.map(({ code }) => code)).toEqual(['too_old', 'too_old', 'too_old']);
    // After the one that was ahead.
    await new Promise((resolve) => setTimeout(resolve, 1000 * (ahead - seconds() + 1)));
    await obeyed('porch');
  });

  it('where a bearer token is enough, a bound one still needs its proof', async () => {
    const { daemon } = home;
    await daemon.stop();
    await daemon.configure({ ...home.config, access });
    daemon.start();
    await daemon.until(
      ({ authorization, broker }) => authorization.state === 'authorized' && broker.connected,
      'authorized again',
    );
    await obeyed('porch');
    await denied('proof_missing', () => phone.command('porch', { state: 'TOGGLE' }, { token }));
    const plain = await home.server.tokenFor();
    expect(await phone.command('porch', { state: 'ON' }, { token: plain })).toMatchObject({ outcome: 'confirmed' });
  });
});
