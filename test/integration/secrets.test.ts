import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AirUnderTest, startAir } from '../support/air.ts';
import { Daemon, porchlight } from '../support/daemon.ts';
import { AUDIENCE, LAMPS } from '../support/home.ts';
import { type HostileServer, json, startHostileServer } from '../support/hostile-server.ts';
import { type Mosquitto, mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';
import { planted, plantedToken, SecretSearch } from '../support/secrets.ts';
import { Sender } from '../support/sender.ts';

const CLIENT_SECRET = planted('client-secret');
const MQTT_PASSWORD = planted('mqtt-password');
const DEVICE_CODE = planted('device-code').replace(/[Ü"]/g, '');
const USER_CODE = 'QXZJ-WVKP';

/** Signs as an authorization server does. */
function jwt(key: KeyObject, claims: object, header: object = {}): string {
  const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');
  const input = `${encode({ alg: 'ES256', kid: 'k1', typ: 'at+jwt', ...header })}.${encode(claims)}`;
  return `${input}.${sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

// One daemon, every secret of its life marked; then everything that it ever said, wrote or shows is searched for all of them.
describe.skipIf(mosquittoMissing() !== undefined)('a planted secret', () => {
  const search = new SecretSearch();
  const said = new Map<string, string>();
  let server: HostileServer;
  let broker: Mosquitto;
  let air: AirUnderTest;
  let daemon: Daemon;
  let radio = 0;

  const tell = (where: string, text: string): void => void said.set(where, `${said.get(where) ?? ''}${text}\n`);
  const run = async (...args: string[]): Promise<void> => {
    const done = await porchlight([...args, '--config', daemon.configFile]);
    tell(`porchlight ${args.join(' ')}`, `${done.stdout}${done.stderr}`);
  };

  beforeAll(async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    [server, broker, air] = await Promise.all([
      startHostileServer(),
      startMosquitto({ users: { gateway: MQTT_PASSWORD, phone: 'phone' } }),
      startAir(LAMPS, { connectionIntervalMs: 0 }),
    ]);
    const { issuer } = server;
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: issuer,
      sub: 'ada',
      aud: AUDIENCE,
      client_id: 'phone',
      scope: 'lights:control',
      iat: now,
      exp: now + 600,
    };
    const good = jwt(privateKey, { ...claims, jti: plantedToken() });
    const bad = [
      jwt(stranger, { ...claims, jti: plantedToken() }),
      jwt(privateKey, { ...claims, exp: now - 10, jti: plantedToken() }),
      jwt(privateKey, { ...claims, aud: 'https://elsewhere.example', jti: plantedToken() }),
      jwt(privateKey, { ...claims, sub: 'eve', jti: plantedToken() }),
      jwt(privateKey, { ...claims, jti: plantedToken() }, { kid: 'unknown' }),
      plantedToken(),
    ];
    const proof = jwt(
      stranger,
      { jti: plantedToken(), iat: now, payload: plantedToken() },
      { typ: 'porchlight-command+jwt' },
    );
    const tokens: string[] = [];
    const fresh = (): string => {
      const token = plantedToken();
      tokens.push(token);
      search.add(`token ${tokens.length} of the gateway`, token);
      return token;
    };
    const answer = (): object => {
      const id_token = jwt(
        privateKey,
        { iss: issuer, sub: 'ada', aud: 'porchlight', iat: now, exp: now + 600, at_hash: plantedToken() },
        { typ: 'JWT' },
      );
      search.add('an id_token', id_token);
      return {
        access_token: fresh(),
        refresh_token: fresh(),
        id_token,
        token_type: 'Bearer',
        expires_in: 3,
        scope: 'openid offline_access',
      };
    };
    search.add('the client secret', CLIENT_SECRET);
    search.add('the MQTT password', MQTT_PASSWORD);
    search.add('the device code', DEVICE_CODE);
    search.add('the user code', USER_CODE);
    search.add('the good command token', good);
    for (const [at, token] of bad.entries()) search.add(`bad command token ${at}`, token);
    search.add('a proof', proof);

    server.answer('/.well-known/oauth-authorization-server', json(server.metadata()));
    server.answer(
      '/keys',
      json({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256', use: 'sig' }] }),
    );
    const device = {
      device_code: DEVICE_CODE,
      user_code: USER_CODE,
      verification_uri: `${issuer}/go`,
      verification_uri_complete: `${issuer}/go?c=${USER_CODE}`,
      expires_in: 600,
      interval: 1,
    };
    server.answer('/device', json(device));
    /** Repeats what it was sent, as some servers do and every hostile one. */
    const echo =
      (error: string, code = 400) =>
      (
        response: Parameters<ReturnType<typeof json>>[0],
        request: Parameters<ReturnType<typeof json>>[1],
        body: URLSearchParams,
      ) => {
        const all = [...body.values(), request.headers.authorization ?? '', ...tokens.slice(-2)];
        const error_description = [...all, ...all.map((one) => Buffer.from(one).toString('base64'))]
          .reverse()
          .join(' ');
        json({ error, error_description, error_uri: `${issuer}/?${body}`, scope: tokens.at(-1) }, code)(
          response,
          request,
          body,
        );
      };
    const approve = (...more: Parameters<HostileServer['answer']>[1][]): void =>
      server.answer('/token', ...more, (...how) => json(answer())(...how));
    approve(echo('authorization_pending'), echo('slow_down', 200), echo('server_error', 503));
    server.answer(
      '/token',
      echo('authorization_pending'),
      (...how) => json(answer())(...how),
      echo('temporarily_unavailable', 503),
      echo('server_error'),
      (...how) => json(answer())(...how),
    );
    server.answer('/revoke', echo('unsupported_token_type'));

    daemon = await Daemon.prepare({
      authorization: {
        issuer,
        client_id: 'porchlight',
        client_authentication: 'client_secret_basic',
        client_secret: CLIENT_SECRET,
        scopes: ['openid', 'offline_access'],
      },
      access: { audience: AUDIENCE, max_age: '10s', principals: ['owner'] },
      mqtt: { url: broker.url, username: 'gateway', password: MQTT_PASSWORD },
      bluetooth: { backend: 'h4', h4: air.address },
      clock: { trust: 'system' },
      lights: LAMPS.map(({ address }, at) => ({ id: `lamp${at}`, address })),
      log: { level: 'trace' },
    });

    // Everything on the broker, but the commands that were sent here.
    const listener = await connectAsync(broker.url, { protocolVersion: 5, username: 'phone', password: 'phone' });
    listener.on('message', (topic, payload, { properties }) => {
      if (!/\/set$/.test(topic)) tell('the broker', `${topic} ${payload} ${JSON.stringify(properties)}`);
    });
    await listener.subscribeAsync('#');
    const sender = await Sender.connect(broker.url, { username: 'phone', password: 'phone' });

    daemon.start();
    const code = await daemon.code();
    expect(code).toBe(USER_CODE);
    tell('status while pending', JSON.stringify(await daemon.status()));
    await daemon.until(
      ({ authorization, broker: { connected } }) => authorization.state === 'authorized' && connected,
      'authorized',
    );
    radio = (await daemon.status()).radio.pid;

    const done = await sender.command('lamp0', { state: 'ON', id: 'one' }, { token: good });
    expect(done).toMatchObject({ outcome: 'confirmed', by: 'owner' });
    expect((await sender.command('lamp1', { state: 'ON', authorization: `Bearer ${good}` })).outcome).toBe('assumed');
    await sender.command('lamp0', { state: 'ON' }, { token: good, properties: { proof } });
    for (const token of bad)
      await sender.client.publishAsync('porchlight/lamp0/set', '{"state":"ON"}', {
        properties: { userProperties: { authorization: `Bearer ${token}` } },
      });
    // In all the wrong places, by an owner, who is always answered, and by nobody.
    for (const properties of [{ authorization: `Bearer ${good}` }, {}] as Record<string, string>[]) {
      for (const token of [good, bad[0] ?? '', bad.at(-1) ?? '']) {
        const change = { state: 'ON' };
        for (const [topic, payload] of [
          [`porchlight/${token.replace(/[+#]/g, '')}/set`, change],
          ['porchlight/lamp0/set', { ...change, effect: token }],
          ['porchlight/lamp0/set', { ...change, [token]: token }],
          ['porchlight/lamp0/set', { state: token }],
          ['porchlight/lamp0/set', { ...change, expires_in: token }],
          ['porchlight/lamp0/set', { ...change, color: { [token]: 1 } }],
          ['porchlight/lamp0/set', { ...change, authorization: token }],
          ['porchlight/lamp0/set', { ...change, authorization: [token] }],
          ['porchlight/lamp0/set', token],
        ] as const) {
          const body = typeof payload === 'string' ? payload : JSON.stringify(payload);
          await sender.client.publishAsync(topic, body, {
            properties: {
              responseTopic: 'porchlight/response/test',
              userProperties: { ...properties, [token.slice(0, 40)]: token },
            },
          });
        }
      }
      await sender.client.publishAsync('porchlight/lamp0/set', '{"state":"ON"}', {
        properties: { userProperties: { authorization: `Basic ${good}`, proof: good } },
      });
    }
    // A reload, and refreshes: one good, two refused with all that was sent.
    daemon.kill('SIGHUP');
    await daemon.until(() => server.asked.filter(({ path }) => path === '/token').length >= 5, 'the refreshes', 12_000);
    tell('status after refreshes', JSON.stringify(await daemon.status()));
    await daemon.until(({ authorization }) => authorization.problem === undefined, 'healed', 12_000);
    await Promise.all([
      run('status'),
      run('status', '--json'),
      run('lights', '--json'),
      run('check', '--json'),
      run('audit', 'show', '--json'),
      run('audit', 'verify'),
      run('config', 'check'),
    ]);
    for (const [name, pid] of [
      ['gateway', daemon.pid],
      ['radio', radio],
      ['air', air.pid],
    ] as const)
      for (const file of ['cmdline', 'environ'])
        tell(`/proc of the ${name}`, await readFile(`/proc/${pid}/${file}`, 'latin1'));
    await run('logout');
    await Promise.all([sender.close(), listener.endAsync(true)]);
    await daemon.stop();
    tell('the log', daemon.stderr);
    tell('standard output', daemon.stdout);
    // The same without what it needs: the words of a daemon that can not start.
    await writeFile(daemon.configFile, (await readFile(daemon.configFile, 'utf8')).replace('lights:', 'lihgts:'));
    await run('run');
  }, 40_000);
  afterAll(async () => {
    await daemon?.remove();
    await Promise.all([server?.close(), broker?.stop(), air?.stop()]);
  });

  it('was sent to the server, so that it could have leaked', () => {
    const sent = server.asked.map(({ body, headers }) => `${body} ${headers.authorization}`).join(' ');
    expect(decodeURIComponent(sent.replaceAll('+', ' '))).toContain(DEVICE_CODE.slice(0, 20));
    expect(sent).toContain('Basic ');
    expect(server.asked.filter(({ path }) => path === '/revoke').length).toBeGreaterThan(0);
    expect(search.in(`x ${CLIENT_SECRET} y`)).not.toEqual([]);
    expect(search.in(Buffer.from(`xyz${MQTT_PASSWORD}`).toString('base64'))).not.toEqual([]);
    expect(search.in([...DEVICE_CODE].reverse().join(''))).not.toEqual([]);
    expect(
      createHash('sha256')
        .update(said.get('the log') ?? '')
        .digest('hex'),
    ).not.toBe('');
  });

  it.each([
    'the log',
    'the broker',
    'status while pending',
    'status after refreshes',
    'porchlight status',
    'porchlight status --json',
    'porchlight lights --json',
    'porchlight check --json',
    'porchlight audit show --json',
    'porchlight audit verify',
    'porchlight config check',
    'porchlight logout',
    'porchlight run',
    '/proc of the gateway',
    '/proc of the radio',
    '/proc of the air',
  ])('is not in %s', (where) => {
    const text = said.get(where) ?? '';
    expect(text.length).toBeGreaterThan(20);
    expect(search.in(text)).toEqual([]);
  });

  it('is on standard output only as the code that a person reads', () => {
    const text = (said.get('standard output') ?? '')
      .replaceAll(USER_CODE, '')
      .replaceAll(encodeURIComponent(USER_CODE), '');
    expect(search.in(text)).toEqual([]);
  });

  it('is in no file but the one of the grant, and after logging out not there either; all are for one user only', async () => {
    const names = await readdir(daemon.stateDirectory, { recursive: true });
    expect(names.length).toBeGreaterThan(2);
    expect((await stat(daemon.stateDirectory)).mode & 0o777).toBe(0o700);
    for (const name of names) {
      const path = join(daemon.stateDirectory, name);
      const { mode } = await stat(path);
      expect([name, (mode & 0o077).toString(8)]).toEqual([name, '0']);
      if ((await stat(path)).isFile()) expect([name, search.in(await readFile(path, 'latin1'))]).toEqual([name, []]);
    }
  });
});
