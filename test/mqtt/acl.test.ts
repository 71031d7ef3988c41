import { readFileSync } from 'node:fs';
import { connectAsync } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Mosquitto, mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';
import { joinBroker, type Peer, runBridge, until } from './harness.ts';

const file = (name: string): string => readFileSync(new URL(`../../config/${name}`, import.meta.url), 'utf8');

/** Who may do what: `w` publish, `r` receive. Written from what each user is for, not from the list. */
const MATRIX: readonly (readonly [topic: string, porchlight: string, homeassistant: string, phone: string])[] = [
  ['porchlight/porch/set', 'r', '', 'w'],
  ['porchlight/scene/movie/set', 'r', '', 'w'],
  ['porchlight/local/porch/set', 'r', 'w', ''],
  ['porchlight/local/scene/movie/set', 'r', 'w', ''],
  ['porchlight/porch/state', 'w', 'r', 'r'],
  ['porchlight/porch/availability', 'w', 'r', 'r'],
  ['porchlight/porch/result', 'w', 'r', 'r'],
  ['porchlight/scene/movie/result', 'w', 'r', 'r'],
  ['porchlight/gateway/porch-pi/availability', 'rw', 'r', 'r'],
  ['porchlight/gateway/porch-pi/status', 'w', 'r', ''],
  ['porchlight/response/phone/1', 'w', '', 'r'],
  ['porchlight/response/homeassistant/1', 'w', 'r', ''],
  ['porchlight/response/other/1', 'w', '', ''],
  ['homeassistant/device/porchlight_porch/config', 'w', 'rw', ''],
  ['homeassistant/device/porchlight/porch/config', 'w', 'rw', ''],
  ['homeassistant/status', 'r', 'rw', ''],
  ['homeassistant/light/other/config', '', 'rw', ''],
  ['porchlight/local/porch/extra/set', '', '', ''],
  ['porchlight/local/porch/state', '', '', ''],
  ['porchlight/anything', '', '', ''],
  ['porchlight', '', '', ''],
  ['$SYS/broker/version', '', '', ''],
  ['other/porch/set', '', '', ''],
];
const USERS = ['porchlight', 'homeassistant', 'phone'] as const;
const names: readonly string[] = USERS;

describe.skipIf(mosquittoMissing() !== undefined)('the shipped access control list and broker configuration', () => {
  let broker: Mosquitto;
  let observer: Peer;
  const password = (user: string): string => `${user}-password`;
  const users = Object.fromEntries([...USERS, 'observer', 'unlisted'].map((user) => [user, password(user)]));
  const join = (user: string): Promise<Peer> =>
    joinBroker(broker.url, ['#', ...MATRIX.map(([topic]) => topic)], { username: user, password: password(user) });

  beforeAll(async () => {
    const config = file('mosquitto.example.conf')
      .replace(/^password_file .*$/m, 'password_file {users}')
      .replace(/^acl_file .*$/m, 'acl_file {acl}')
      .replace(/^listener .*$/m, '')
      .replace(/^max_connections .*$/m, '')
      .replace(/^persistence .*$/m, 'persistence false');
    const acl = `${file('mosquitto.acl.example')}\nuser observer\ntopic readwrite #\n`;
    broker = await startMosquitto({ users, acl, config });
    observer = await join('observer');
  });
  afterAll(async () => {
    await observer?.end();
    await broker?.stop();
  });

  test.each([...USERS, 'unlisted'])('%s publishes where it may, and nowhere else', async (user) => {
    const peer = await join(user);
    const mark = `from ${user}`;
    for (const [topic] of MATRIX) {
      // MQTT 5 brokers answer 0x87 (mqtt.js: an error) to a publication that is forbidden.
      await peer.client.publishAsync(topic, mark, { qos: 1 }).catch(() => undefined);
    }
    await peer.client.publishAsync(`porchlight/response/${user}/end`, mark, { qos: 1 }).catch(() => undefined);
    await observer.client.publishAsync('end', mark, { qos: 1 });
    await observer.hears('end', mark);
    const arrived = observer.heard
      .filter(({ text, topic }) => text === mark && topic !== 'end')
      .map(({ topic }) => topic);
    const column = 1 + names.indexOf(user);
    const allowed = MATRIX.filter((row) => column > 0 && row[column]?.includes('w')).map(([topic]) => topic);
    expect([...new Set(arrived)].filter((topic) => !topic.endsWith('/end')).sort()).toEqual([...allowed].sort());
    await peer.end();
  });

  test.each([...USERS, 'unlisted'])('%s receives what it may, and nothing else', async (user) => {
    const peer = await join(user);
    const topics = MATRIX.map(([topic]) => topic).filter((topic) => !topic.startsWith('$'));
    await Promise.all(topics.map((topic) => observer.client.publishAsync(topic, `to ${user}`, { qos: 1 })));
    // Each user may read its own answers: when the last of these arrives, all the others that could have arrived have.
    await observer.client.publishAsync(`porchlight/response/${user}/last`, 'last', { qos: 1 });
    await peer.hears(`porchlight/response/${user}/last`);
    const arrived = peer.heard.filter(({ text }) => text === `to ${user}`).map(({ topic }) => topic);
    const column = 1 + names.indexOf(user);
    const allowed = MATRIX.filter((row) => column > 0 && row[column]?.includes('r')).map(([topic]) => topic);
    expect([...new Set(arrived)].sort()).toEqual([...allowed].sort());
    expect(peer.heard.filter(({ topic }) => topic.startsWith('$'))).toEqual([]);
    await peer.end();
  });

  test('nobody enters without a user, with a wrong password, or with a name that is a wildcard', async () => {
    const enter = (options: object): Promise<unknown> =>
      connectAsync(broker.url, { protocolVersion: 5, reconnectPeriod: 0, ...options }, false);
    await expect(enter({})).rejects.toThrow(/refused/);
    await expect(enter({ username: 'phone', password: 'wrong' })).rejects.toThrow(/refused/);
    await expect(enter({ username: '#', password: '' })).rejects.toThrow(/refused/);
  });

  test('the gateway does all its work as its user, and its will is heard', async () => {
    const bridge = runBridge({ url: broker.url, username: 'porchlight', password: password('porchlight') });
    expect((await bridge.connected()).problem).toBeUndefined();
    const [phone, home] = [await join('phone'), await join('homeassistant')];
    bridge.bridge.publishState('porch', { state: 'ON', confidence: 'confirmed' });
    bridge.bridge.publishStatus({ version: '0' });
    await phone.hears('porchlight/porch/state');
    await home.hears('porchlight/gateway/porch-pi/status');
    const properties = { responseTopic: 'porchlight/response/phone/9', correlationData: Buffer.from('9') };
    await phone.client.publishAsync('porchlight/porch/set', '{"state":"ON"}', { qos: 1, properties });
    await phone.hears('porchlight/response/phone/9');
    await home.client.publishAsync('porchlight/local/hall/set', '{"state":"ON"}', { qos: 1 });
    await home.hears('porchlight/hall/result');
    await phone.client.publishAsync('porchlight/local/porch/set', '{"state":"OFF"}', { qos: 1 }).catch(() => undefined);
    await until(() => bridge.commands.length === 2, 'two commands');
    await bridge.stop();
    await phone.hears('porchlight/gateway/porch-pi/availability', 'offline');
    expect(bridge.commands.map(({ credential }) => credential.kind)).toEqual(['bearer', 'broker']);
    expect(bridge.logged()).not.toMatch(/does not let this gateway/);
    await Promise.all([phone.end(), home.end()]);
  });

  test('the shipped configuration turns Nagle off and lets nobody in unnamed', () => {
    const lines = file('mosquitto.example.conf').split('\n');
    expect(lines).toContain('set_tcp_nodelay true');
    expect(lines).toContain('allow_anonymous false');
    expect(lines.filter((line) => line.startsWith('listener '))).toEqual(['listener 1883 127.0.0.1']);
  });
});
