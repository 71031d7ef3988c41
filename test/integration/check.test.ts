import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { systemClock } from '../../src/clock.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../src/demo/authorization-server.ts';
import { decidingFailure, examine } from '../../src/doctor/doctor.ts';
import type { Finding } from '../../src/doctor/finding.ts';
import { machine } from '../../src/doctor/places.ts';
import { ERRORS } from '../../src/errors.ts';
import { askDaemon } from '../../src/web/client.ts';
import { Daemon, porchlight } from '../support/daemon.ts';
import { AUDIENCE } from '../support/home.ts';
import { createAuthority, freePort, type Mosquitto, mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';

const PASSWORD = 'correct horse battery staple';
const ends: (() => unknown)[] = [];
let folder: string;
let server: AuthorizationServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'porchlight-check-'));
  server = await startAuthorizationServer({ gatewayClientId: 'porchlight', audience: AUDIENCE, intervalSeconds: 1 });
});
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});
afterAll(async () => {
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

const config = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  gateway: { id: 'porch-pi', state_directory: join(folder, 'state') },
  authorization: { issuer: server.issuer, client_id: 'porchlight' },
  access: { audience: AUDIENCE },
  mqtt: { url: 'mqtt://127.0.0.1:1' },
  clock: { trust: 'system' },
  bluetooth: { backend: 'virtual' },
  ...more,
});

/** Examines this machine by a configuration, given as values or as text, as the verb does. */
async function check(content: unknown) {
  const path = join(folder, 'porchlight.yaml');
  await writeFile(path, typeof content === 'string' ? content : stringify(content));
  const told: Finding[] = [];
  const checks = await examine(
    {
      path,
      env: { HOME: folder },
      uid: process.getuid?.() ?? 0,
      version: '1.0.0',
      fetch,
      clock: systemClock,
      places: machine,
      ask: (state) => askDaemon([join(state, 'porchlight.sock')], 'GET', '/api/status'),
      onFindings: (findings) => told.push(...findings),
    },
    new AbortController().signal,
  );
  expect(told).toEqual(checks);
  const code = decidingFailure(checks)?.code;
  const of = (name: string): readonly Finding[] => checks.filter((one) => one.check === name);
  return { status: code === undefined ? 0 : ERRORS[code].exit, all: JSON.stringify(checks), checks, of };
}

async function broker(options: Parameters<typeof startMosquitto>[0] = {}): Promise<Mosquitto> {
  const started = await startMosquitto(options);
  ends.push(() => started.stop());
  return started;
}

/** An HTTP server that answers everything the same. */
async function answering(status: number, type: string, body: string): Promise<string> {
  const http = createHttp((_, answer) => answer.writeHead(status, { 'content-type': type }).end(body));
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  ends.push(() => http.close());
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
}

describe('check, alone', () => {
  it('names what is wrong with the configuration, line by line, and exits with 78', async () => {
    const { status, of } = await check('authorization: {issuer: "https://a.example", client_id: a}\nmqtt: {urll: x}\n');
    expect(status).toBe(78);
    expect(of('configuration')[0]).toMatchObject({ status: 'fail', code: 'config_invalid' });
    expect(of('configuration')[0]?.message).toMatch(/porchlight\.yaml:2:\d+: mqtt\.urll: .*url/);
  });

  it('says where it looked when there is no configuration, and looks at the machine all the same', async () => {
    const { status, stdout } = await porchlight(['check', '--json'], { HOME: folder, PORCHLIGHT_CONFIG: '' });
    expect(status).toBe(78);
    expect(stdout).toMatch(/There is no configuration/);
    expect(JSON.parse(stdout).checks.map((one: Finding) => one.check)).toContain('adapter');
  });

  it('says that the broker refuses connections, and people get a cure; nothing has colours in a pipe', async () => {
    const path = join(folder, 'porchlight.yaml');
    await writeFile(path, stringify(config()));
    const { status, stdout, stderr } = await porchlight(['check', '--config', path]);
    expect(status).toBe(69);
    expect(stdout).toMatch(/^fail {2}broker +.*127\.0\.0\.1:1 refuses connections/m);
    expect(stdout).toMatch(/→ Is the broker running/);
    expect(stdout).not.toContain('\u001b');
    expect(stderr).toMatch(/^1 thing fails/);
  });

  it('knows an authorization server from a page that asks for a sign-in, and from one that is away', async () => {
    const page = await answering(200, 'text/html', '<html>Welcome to the hotel</html>');
    const html = await check(config({ authorization: { issuer: page, client_id: 'a' } }));
    expect(html.status).toBe(69);
    expect(html.of('authorization server')[0]?.message).toMatch(/not JSON.*sign-in/);
    const away = await check(
      config({ authorization: { issuer: `http://127.0.0.1:${await freePort()}`, client_id: 'a' } }),
    );
    expect(away.of('authorization server')[0]).toMatchObject({ status: 'fail', code: 'server_unreachable' });
    expect(away.of('authorization server')[0]?.message).toMatch(/refuses the connection/);
  });

  it('tells a private authority and an expired certificate apart, each with its cure', async () => {
    const authority = createAuthority('Home');
    const serve = async (days: number): Promise<string> => {
      const { cert, key } = authority.issue('localhost', { days });
      const https = createHttps({ cert, key }, (_, answer) => answer.end('{}'));
      await new Promise<void>((resolve) => https.listen(0, '127.0.0.1', resolve));
      ends.push(() => https.close());
      return `https://localhost:${(https.address() as AddressInfo).port}`;
    };
    const ca = join(folder, 'ca.crt');
    await writeFile(ca, authority.ca);
    const unknown = await check(config({ authorization: { issuer: await serve(30), client_id: 'a' } }));
    expect(unknown.of('authorization server')[0]?.message).toMatch(/not trusted|nobody vouches/);
    expect(unknown.of('authorization server')[0]?.cure).toMatch(/NODE_EXTRA_CA_CERTS/);
    // Only a process that is started with it trusts another authority.
    const path = join(folder, 'expired.yaml');
    await writeFile(path, stringify(config({ authorization: { issuer: await serve(-1), client_id: 'a' } })));
    const { stdout } = await porchlight(['check', '--config', path], { NODE_EXTRA_CA_CERTS: ca });
    expect(stdout).toMatch(/^fail {2}authorization server .*expired/m);
  });

  it('finds a clock that differs from that of the authorization server', async () => {
    const http = createHttp((_, answer) =>
      answer.writeHead(200, { date: new Date(Date.now() - 7_200_000).toUTCString() }).end('{}'),
    );
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    ends.push(() => http.close());
    const issuer = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
    const { of } = await check(config({ authorization: { issuer, client_id: 'a' } }));
    expect(of('clock')[0]).toMatchObject({ status: 'fail', code: 'clock_untrusted' });
    expect(of('clock')[0]?.message).toMatch(/2 h ahead of|120 min ahead of/);
  });

  it('does not wait for servers that never answer', async () => {
    const mute = createHttp(() => undefined);
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    ends.push(
      () => mute.closeAllConnections(),
      () => mute.close(),
    );
    const port = (mute.address() as AddressInfo).port;
    const began = performance.now();
    const { of } = await check(
      config({
        authorization: { issuer: `http://127.0.0.1:${port}`, client_id: 'a' },
        mqtt: { url: `mqtt://127.0.0.1:${port}` },
        bluetooth: { backend: 'h4', h4: `tcp://127.0.0.1:${port}` },
      }),
    );
    expect(performance.now() - began).toBeLessThan(12_000);
    expect(of('authorization server')[0]?.message).toMatch(/did not answer within 5 s/);
    expect(of('broker')[0]).toMatchObject({ status: 'fail' });
  });
});

describe.skipIf(mosquittoMissing() !== undefined)('check, with a broker', () => {
  it('is content with a home in order, and exits with 0', async () => {
    const { url } = await broker();
    const { status, checks, of } = await check(config({ mqtt: { url } }));
    expect(status).toBe(0);
    expect(checks.filter((one) => one.status === 'fail')).toEqual([]);
    expect(of('broker').map((one) => one.status)).toEqual(['ok', 'ok']);
    expect(of('authorization server')).toMatchObject([{ status: 'ok' }]);
    expect(of('keys')[0]).toMatchObject({ status: 'ok' });
  });

  it('says that the password is wrong, without saying the password', async () => {
    const { url } = await broker({ users: { porchlight: 'another' } });
    const { status, all, of } = await check(config({ mqtt: { url, username: 'porchlight', password: PASSWORD } }));
    expect(status).toBe(69);
    expect(of('broker')[0]?.message).toMatch(/refused the user name or password/);
    expect(all).not.toContain(PASSWORD);
    const right = await broker({ users: { porchlight: PASSWORD } });
    const well = await check(config({ mqtt: { url: right.url, username: 'porchlight', password: PASSWORD } }));
    expect(well.status).toBe(0);
    expect(well.all).not.toContain(PASSWORD);
  });

  it('names the topics of retained commands in all four trees, and never what they hold', async () => {
    const { url } = await broker();
    const sender = await connectAsync(url);
    ends.push(() => sender.endAsync(true));
    const lying = [
      'porchlight/porch/set',
      'porchlight/local/porch/set',
      'porchlight/scene/movie/set',
      'porchlight/local/scene/movie/set',
    ];
    const odd = 'porchlight/$(reboot)\u202e/set';
    const token = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJvd25lciJ9.c2lnbmF0dXJl';
    for (const topic of [...lying, odd, 'porchlight/porch/state', 'porchlight/a/b/set']) {
      await sender.publishAsync(topic, JSON.stringify({ state: 'ON', authorization: token }), { retain: true, qos: 1 });
    }
    const { status, all, of } = await check(config({ mqtt: { url } }));
    expect(status).toBe(0);
    const found = of('broker').find(({ message }) => message.includes('Retained'));
    expect(found?.status).toBe('warn');
    for (const topic of lying) expect(found?.message).toContain(topic);
    expect(found?.message).not.toMatch(/state|a\/b|\u202e/);
    expect(found?.cure).toMatch(/mosquitto_pub -r -n -t porchlight\/[a-z/]+set/);
    expect(found?.cure).not.toContain('reboot');
    expect(all).not.toContain('eyJ');
    // It only looked: they are all still there.
    const again = await check(config({ mqtt: { url } }));
    expect(again.of('broker').find(({ message }) => message.includes('Retained'))?.message).toBe(found?.message);
  });

  it("notices Nagle's algorithm at the broker, and not where it is off", async () => {
    const [slow, fast] = [await broker({ noDelay: false }), await broker({ noDelay: true })];
    const nagle = async (url: string) =>
      (await check(config({ mqtt: { url } }))).of('broker').filter(({ message }) => message.includes('Nagle'));
    expect(await nagle(slow.url)).toMatchObject([
      { status: 'warn', cure: expect.stringMatching(/set_tcp_nodelay true/) },
    ]);
    expect(await nagle(fast.url)).toEqual([]);
  });

  it('says what the access control list forbids', async () => {
    const about = async (acl: string): Promise<readonly Finding[]> => {
      const { url } = await broker({ users: { porchlight: PASSWORD }, acl: `user porchlight\n${acl}` });
      return (await check(config({ mqtt: { url, username: 'porchlight', password: PASSWORD } }))).of('broker').slice(1);
    };
    const readsOnly = await about('topic read porchlight/#\n');
    expect(readsOnly.map(({ message }) => message).join()).toMatch(/does not let this gateway publish/);
    const noAnswers = await about('topic readwrite porchlight/gateway/#\ntopic read porchlight/+/set\n');
    expect(noAnswers.map(({ message }) => message).join()).toMatch(/lets no answers through/);
    for (const { status, cure } of [...readsOnly, ...noAnswers]) {
      expect(status).not.toBe('ok');
      expect(cure).toMatch(/access control list/);
    }
    const example = (await readFile('config/mosquitto.acl.example', 'utf8')).replaceAll('\r', '');
    const { url } = await broker({ users: { porchlight: PASSWORD, homeassistant: 'x', phone: 'y' }, acl: example });
    const well = await check(config({ mqtt: { url, username: 'porchlight', password: PASSWORD } }));
    expect(well.of('broker').map(({ status }) => status)).toEqual(['ok', 'ok']);
  });

  it('speaks TLS with the given authority, and says which one is missing without it', async () => {
    const authority = createAuthority('Home');
    const { url } = await broker({ tls: authority.issue('localhost') });
    const ca = join(folder, 'broker-ca.crt');
    await writeFile(ca, authority.ca);
    const without = await check(config({ mqtt: { url } }));
    expect(without.status).toBe(69);
    expect(without.of('broker')[0]).toMatchObject({ cure: expect.stringMatching(/mqtt\.ca_file/) });
    const trusting = await check(config({ mqtt: { url, ca_file: ca } }));
    expect(trusting.of('broker')[0]?.message).toMatch(/TLS/);
    const expired = await broker({ tls: authority.issue('localhost', { days: -1 }) });
    const old = await check(config({ mqtt: { url: expired.url, ca_file: ca } }));
    expect(old.of('broker')[0]?.message).toMatch(/expired/);
  });

  it('leaves a running gateway in peace, compares versions, and tells of other gateways and of Home Assistant', async () => {
    const { url } = await broker();
    const sender = await connectAsync(url);
    ends.push(() => sender.endAsync(true));
    await sender.publishAsync('porchlight/gateway/attic/availability', 'online', { retain: true });
    await sender.publishAsync('homeassistant/light/x/config', '{}', { retain: true });
    const daemon = await Daemon.prepare(
      config({ mqtt: { url }, lights: [{ id: 'porch', address: 'be:ff:20:00:11:22' }] }),
    );
    ends.push(() => daemon.remove());
    daemon.start();
    await daemon.until((one) => one.broker.connected && one.radio.adapter === 'poweredOn', 'running');
    await daemon.until(({ lights }) => lights[0].available && lights[0].family !== undefined, 'the lamp');
    const before = await daemon.status();
    const { stdout } = await porchlight(['check', '--json', '--config', daemon.configFile]);
    const checks: readonly Finding[] = JSON.parse(stdout).checks;
    const of = (name: string): readonly Finding[] => checks.filter((one) => one.check === name);
    expect(of('daemon')[0]?.status).toBe('ok');
    expect(of('state')[0]?.message).toMatch(new RegExp(`in use by process ${daemon.pid}`));
    expect(
      of('broker')
        .map(({ message }) => message)
        .join('\n'),
    ).toMatch(/Another gateway \(attic\)/);
    expect(of('home assistant')[0]).toMatchObject({ status: 'warn', cure: expect.stringMatching(/unsigned/) });
    expect(of('radio')[0]?.status).toBe('ok');
    expect(of('lamps')[0]).toMatchObject({ status: 'ok' });
    const after = await daemon.status();
    expect(after.broker.since).toBe(before.broker.since);
    expect(after.counts.received).toBe(before.counts.received);
  });
});
