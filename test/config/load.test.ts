import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ReadFile } from '../../src/config/files.ts';
import { cleanHostName, defaultStateDirectory, loadConfig } from '../../src/config/load.ts';
import { NOT_YET } from '../../src/config/not-yet.ts';
import { PorchlightError } from '../../src/errors.ts';

const MINIMAL = 'authorization: {issuer: "https://auth.example.com", client_id: porchlight}\naccess: {audience: a}\n';

/** A disk in memory; whatever is not on it does not exist. */
function disk(
  files: Readonly<Record<string, string | Uint8Array>>,
  modes: Readonly<Record<string, number>> = {},
): ReadFile {
  return async (path, limit) => {
    const content = files[path];
    if (content === undefined) throw Object.assign(new Error('none'), { code: 'ENOENT' });
    const mode = modes[path];
    return { bytes: Buffer.from(content).subarray(0, limit + 1), ...(mode !== undefined && { mode }) };
  };
}

const load = (yaml: string | Uint8Array, env: Record<string, string> = {}, more: Record<string, string> = {}) =>
  loadConfig({ path: '/p.yaml', env: { HOME: '/home/me', ...env }, readFile: disk({ '/p.yaml': yaml, ...more }) });

/** The lines of the refusal; a configuration that is accepted fails the test. */
async function refusal(yaml: string | Uint8Array, env: Record<string, string> = {}, more: Record<string, string> = {}) {
  const thrown: unknown = await load(yaml, env, more).then(
    () => 'accepted',
    (error) => error,
  );
  if (!(thrown instanceof PorchlightError)) throw thrown;
  expect(thrown.code).toBe('config_invalid');
  expect(thrown.exitStatus).toBe(78);
  const lines = thrown.message.split('\n');
  expect(lines.every((line) => line.trim() !== '')).toBe(true);
  return lines;
}

describe('a right configuration', () => {
  it('gets every default, with durations in milliseconds', async () => {
    const { config, warnings } = await load(MINIMAL);
    expect(warnings).toEqual([]);
    expect(config.authorization).toMatchObject({
      dialect: 'standard',
      grant: 'device_code',
      client_authentication: 'none',
      scopes: ['openid', 'offline_access', 'profile', 'address'],
      dpop: 'auto',
      offline_grace: 86_400_000,
      endpoints: {},
    });
    expect(config.access).toMatchObject({
      issuer: 'https://auth.example.com',
      principals: ['owner'],
      scopes: { read: 'lights:read', control: 'lights:control' },
      require: 'bearer',
      unsigned: 'deny',
      max_age: 30_000,
    });
    expect(config.mqtt).toEqual({
      url: 'mqtt://localhost:1883',
      allow_insecure: false,
      base_topic: 'porchlight',
      home_assistant: { enabled: true, discovery_prefix: 'homeassistant' },
    });
    expect(config.bluetooth).toEqual({
      backend: 'hci',
      adapter: 'hci0',
      max_connections: 5,
      idle_disconnect: 120_000,
      virtual: { lights: 5, connection_interval: 15 },
    });
    expect(config.clock.trust).toBe('auto');
    expect(config.log.level).toBe('info');
    expect(config.gateway.id).toMatch(/^[a-z0-9-]{1,40}$/);
    expect(config.gateway.state_directory).toBe('/home/me/.local/state/porchlight');
  });

  it('may come with a byte order mark, with CRLF, or as JSON', async () => {
    for (const text of [
      `\ufeff${MINIMAL}`,
      MINIMAL.replaceAll('\n', '\r\n'),
      JSON.stringify({ authorization: { issuer: 'https://auth.example.com', client_id: 'porchlight' } }),
    ]) {
      expect((await load(text)).config.authorization.client_id).toBe('porchlight');
    }
  });

  it('may leave a section or a nested map without content', async () => {
    const { config } = await load(
      `${MINIMAL}lights:\ngroups: # none yet\nschedules: []\nweb:\nmqtt:\n  home_assistant:\nbluetooth: {virtual: }\n`,
    );
    expect(config.lights).toEqual([]);
    expect(config.mqtt.home_assistant.enabled).toBe(true);
    expect(config.bluetooth.virtual.lights).toBe(5);
  });

  it.each([
    ['BE-FF-20-00-11-22', 'be:ff:20:00:11:22'],
    ['"be:ff:20:00:11:22"', 'be:ff:20:00:11:22'],
    // YAML 1.1 would read this as a number to the base of sixty.
    ['11:22:33:44:55:06', '11:22:33:44:55:06'],
  ])('takes the address %s as %s', async (written, address) => {
    const { config } = await load(`${MINIMAL}lights: [{id: porch, address: ${written}}]`);
    expect(config.lights[0]).toEqual({ id: 'porch', name: 'porch', address });
  });

  it.each([
    ['15ms', 15],
    ['7.5ms', 7.5],
    ['1', 1000],
    ['0.25', 250],
    ['3 s', 3000],
    ['0ms', 0],
    ['4s', 4000],
  ])('takes the duration %s as %d ms', async (written, ms) => {
    const { config } = await load(`${MINIMAL}bluetooth: {virtual: {connection_interval: ${written}}}`);
    expect(config.bluetooth.virtual.connection_interval).toBe(ms);
  });

  it.each(['5m', '300', '300s', '"5m"', '0.1h'].map((written) => [written]))(
    'takes %s for minutes',
    async (written) => {
      const { config } = await load(MINIMAL.replace('audience: a', `audience: a, max_age: ${written}`));
      expect(config.access.max_age).toBe(written === '0.1h' ? 360_000 : 300_000);
    },
  );

  it.each([
    ['tcp://127.0.0.1:9000', 'tcp://127.0.0.1:9000'],
    ['tcp://[::1]:9000/', 'tcp://[::1]:9000'],
    ['unix:/run/h4.sock', 'unix:/run/h4.sock'],
    ['unix:///run/h4.sock', 'unix:/run/h4.sock'],
  ])('takes the controller %s', async (written, h4) => {
    expect((await load(`${MINIMAL}bluetooth: {backend: h4, h4: "${written}"}`)).config.bluetooth.h4).toBe(h4);
  });

  it('parses scenes with the code that parses commands; ON is text, as YAML 1.2 has it', async () => {
    const { config } = await load(
      `${MINIMAL}lights: [{id: porch, address: "be:ff:20:00:11:22"}]\ngroups: [{id: g, lights: [porch]}]\nscenes: [{id: movie, name: Movie, set: {porch: {state: ON, brightness: 40}, g: {state: OFF}}}]\n`,
    );
    expect(config.scenes).toEqual([
      { id: 'movie', name: 'Movie', set: { porch: { state: 'ON', brightness: 40 }, g: { state: 'OFF' } } },
    ]);
  });

  it('may be about the house alone for verbs that are not the daemon, and then reads no secret', async () => {
    const yaml =
      'mqtt: {password_file: /only/the/service/may/read}\nlights: [{id: porch, address: "be:ff:20:00:11:22"}]\n';
    const { config } = await loadConfig({
      path: '/p.yaml',
      env: {},
      only: 'house',
      readFile: disk({ '/p.yaml': yaml }),
    });
    expect(config.authorization).toBeUndefined();
    expect(config.lights).toHaveLength(1);
  });
});

describe('where the configuration is', () => {
  const at = (path: string) => disk({ [path]: MINIMAL });

  it('is: given, $PORCHLIGHT_CONFIG, /etc, the checkout, in this order', async () => {
    const everywhere = disk({
      '/given': MINIMAL,
      '/env': MINIMAL,
      '/etc/porchlight/porchlight.yaml': MINIMAL,
      'config/porchlight.yaml': MINIMAL,
    });
    const env = { PORCHLIGHT_CONFIG: '/env' };
    expect((await loadConfig({ path: '/given', env, readFile: everywhere })).path).toBe('/given');
    expect((await loadConfig({ env, readFile: everywhere })).path).toBe('/env');
    expect((await loadConfig({ env: { PORCHLIGHT_CONFIG: '' }, readFile: everywhere })).path).toBe(
      '/etc/porchlight/porchlight.yaml',
    );
    expect((await loadConfig({ env: {}, readFile: at('config/porchlight.yaml') })).path).toBe('config/porchlight.yaml');
  });

  it('is told when there is none', async () => {
    await expect(loadConfig({ env: {}, readFile: disk({}) })).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(/\/etc\/porchlight\/porchlight\.yaml.*config\/porchlight\.yaml/),
    });
    // A file that was named is not silently replaced by another.
    await expect(
      loadConfig({ env: { PORCHLIGHT_CONFIG: '/typo' }, readFile: at('config/porchlight.yaml') }),
    ).rejects.toMatchObject({ message: expect.stringContaining('/typo: does not exist (from $PORCHLIGHT_CONFIG)') });
  });

  it('may be a folder or a device by mistake', async () => {
    await expect(loadConfig({ path: tmpdir(), env: {} })).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('is a folder'),
    });
    await expect(loadConfig({ path: '/dev/zero', env: {} })).rejects.toMatchObject({
      message: expect.stringContaining('larger than 256 KiB'),
    });
  });
});

describe('a wrong configuration', () => {
  it.each<[string, string, string]>([
    ['an unknown key', 'mqtt:\n  urll: x', '/p.yaml:4:3: mqtt.urll: unknown key; did you mean "url"?'],
    ['an unknown section', 'lihgts: []', '/p.yaml:3:1: lihgts: unknown key; did you mean "lights"?'],
    [
      'dashes for underscores',
      'mqtt: {base-topic: x}',
      '/p.yaml:3:8: mqtt.base-topic: unknown key; did you mean "base_topic"?',
    ],
    [
      'a key of another section',
      'mqtt: {principals: []}',
      '/p.yaml:3:8: mqtt.principals: unknown key here; did you mean it under "access:" or under "access.policy:"?',
    ],
    ['a key at the top', 'trust: auto', '/p.yaml:3:1: trust: unknown key here; did you mean it under "clock:"?'],
    [
      'a key in a list entry',
      'lights: [{id: a, address: "be:ff:20:00:11:22", rooom: x}]',
      '/p.yaml:3:48: lights[0].rooom: unknown key; did you mean "room"?',
    ],
    [
      'a missing key',
      'lights:\n- {id: a}',
      '/p.yaml:4:3: lights[0].address: is missing: expected a Bluetooth address such as "be:ff:20:00:11:22"',
    ],
    [
      'a number as text',
      'bluetooth: {max_connections: "5"}',
      '/p.yaml:3:30: bluetooth.max_connections: expected a whole number from 1 to 32; found text',
    ],
    [
      'text as a number',
      'lights: [{id: 5, address: "be:ff:20:00:11:22"}]',
      '/p.yaml:3:15: lights[0].id: expected an id: 1 to 40 of a-z, 0-9, _ and - (put a number in quotes); found a number',
    ],
    [
      'yes for true',
      'mqtt: {allow_insecure: yes}',
      '/p.yaml:3:24: mqtt.allow_insecure: expected true or false, without quotes (yes and on are text in YAML 1.2)',
    ],
    [
      'a misspelt choice',
      'bluetooth: {backend: virtul}',
      '/p.yaml:3:22: bluetooth.backend: expected one of hci, dbus, h4, virtual; did you mean virtual?',
    ],
    [
      'a value of nothing',
      'mqtt:\n  username:',
      '/p.yaml:4:12: mqtt.username: expected text of 1 to 1000 characters; found nothing',
    ],
    ['a map for a list', 'lights: {porch: {}}', '/p.yaml:3:9: lights: expected a list, such as [a, b]; found a map'],
    [
      'a quoted plain number of seconds',
      'bluetooth: {idle_disconnect: "30"}',
      '/p.yaml:3:30: bluetooth.idle_disconnect: expected a duration from 0s to 24h, with its unit (ms, s, m, h; a plain number is seconds)',
    ],
    [
      'a duration without sense',
      'bluetooth: {idle_disconnect: -1}',
      '/p.yaml:3:30: bluetooth.idle_disconnect: expected a duration from 0s to 24h',
    ],
    ['infinity', 'bluetooth: {idle_disconnect: .inf}', '/p.yaml:3:30: bluetooth.idle_disconnect: expected a duration'],
    [
      'no number at all',
      'home: {latitude: .nan, longitude: 5}',
      '/p.yaml:3:18: home.latitude: expected a number from -90 to 90',
    ],
    [
      'a pole too far',
      'home: {latitude: 90.1, longitude: 5}',
      '/p.yaml:3:18: home.latitude: expected a number from -90 to 90',
    ],
    [
      'a time zone on no map',
      'home: {latitude: 1, longitude: 5, time_zone: Mars/Base}',
      'home.time_zone: expected a time zone',
    ],
    [
      'a short address',
      'lights: [{id: a, address: "be:ff:20:00:11"}]',
      'lights[0].address: expected a Bluetooth address',
    ],
    [
      'the address of nobody',
      'lights: [{id: a, address: "00:00:00:00:00:00"}]',
      'lights[0].address: expected a Bluetooth address',
    ],
    ['a reserved id', 'lights: [{id: local, address: "be:ff:20:00:11:22"}]', '/p.yaml:3:15: lights[0].id: is reserved'],
    ['a look-alike id', 'lights: [{id: "p\u043erch", address: "be:ff:20:00:11:22"}]', 'lights[0].id: expected an id'],
    ['an id with a topic level', 'lights: [{id: a/b, address: "be:ff:20:00:11:22"}]', 'lights[0].id: expected an id'],
    ['a long id', `lights: [{id: ${'a'.repeat(41)}, address: "be:ff:20:00:11:22"}]`, 'lights[0].id: expected an id'],
    ['a gateway id with an underscore', 'gateway: {id: porch_pi}', 'gateway.id: expected a name'],
    [
      'one id twice',
      'lights: [{id: a, address: "be:ff:20:00:11:22"}, {id: a, address: "be:ff:20:00:11:23"}]',
      '/p.yaml:3:54: lights[1].id: is used already by lights[0]',
    ],
    [
      'an id of a light and of a scene',
      'lights: [{id: a, address: "be:ff:20:00:11:22"}]\nscenes: [{id: a, set: {a: {state: ON}}}]',
      '/p.yaml:4:15: scenes[0].id: is used already by lights[0]',
    ],
    [
      'one lamp twice',
      'lights: [{id: a, address: "be:ff:20:00:11:22"}, {id: b, address: BE-FF-20-00-11-22}]',
      'lights[1].address: is the address of lights[0] already',
    ],
    ['a group of nobody', 'groups: [{id: g, lights: []}]', 'groups[0].lights: expected at least one light'],
    [
      'a group of a stranger',
      'lights: [{id: porch, address: "be:ff:20:00:11:22"}]\ngroups: [{id: g, lights: [proch]}]',
      '/p.yaml:4:27: groups[0].lights[0]: no light has this id; did you mean porch?',
    ],
    [
      'a group of groups',
      'lights: [{id: a, address: "be:ff:20:00:11:22"}]\ngroups: [{id: g, lights: [a]}, {id: h, lights: [g]}]',
      'groups[1].lights[0]: is a group; a group may hold lights only',
    ],
    [
      'a scene for a stranger',
      'lights: [{id: a, address: "be:ff:20:00:11:22"}]\nscenes: [{id: s, set: {b: {state: ON}}}]',
      '/p.yaml:4:24: scenes[0].set.b: no light or group has this id',
    ],
    [
      'a scene with a bad change',
      'lights: [{id: a, address: "be:ff:20:00:11:22"}]\nscenes: [{id: s, set: {a: {brightness: 256}}}]',
      '/p.yaml:4:27: scenes[0].set.a: ',
    ],
    [
      'a scene named like the prototype',
      'lights: [{id: a, address: "be:ff:20:00:11:22"}]\nscenes: [{id: s, set: {a: {state: ON}, __proto__: {state: ON}}}]',
      'no light or group has this id',
    ],
    [
      'unsigned for a stranger',
      'lights: [{id: a, address: "be:ff:20:00:11:22"}]\naccess: {unsigned: {lights: [b]}}',
      'access.unsigned.lights[0]: no light or group has this id',
    ],
    [
      'a remote broker in the clear',
      'mqtt: {url: "mqtt://broker.example.com"}',
      '/p.yaml:3:13: mqtt.url: is not encrypted and not on this machine',
    ],
    [
      'a remote broker behind a loopback look-alike',
      'mqtt: {url: "ws://127.0.0.1.example.com"}',
      'mqtt.url: is not encrypted',
    ],
    ['another protocol', 'mqtt: {url: "http://localhost"}', 'mqtt.url: expected a broker address'],
    ['a broker without host', 'mqtt: {url: "mqtt:localhost"}', 'mqtt.url: expected a broker address'],
    ['a topic with a wildcard', 'mqtt: {base_topic: "home/#"}', 'mqtt.base_topic: expected a topic'],
    ['a topic with an empty level', 'mqtt: {base_topic: "home//x"}', 'mqtt.base_topic: expected a topic'],
    ["the broker's own tree", 'mqtt: {base_topic: $SYS}', 'mqtt.base_topic: expected a topic'],
    ['a certificate without its key', 'mqtt: {url: "mqtts://b", cert_file: /c}', 'mqtt.cert_file: needs mqtt.key_file'],
    [
      'a file that is not there',
      'mqtt: {url: "mqtts://b", ca_file: /no/ca.pem}',
      '/p.yaml:3:35: mqtt.ca_file: /no/ca.pem does not exist',
    ],
    [
      'the token for no purpose',
      'mqtt: {password: access_token}',
      '/p.yaml:3:18: mqtt.password: access_token needs authorization.resource',
    ],
    ['h4 to nowhere', 'bluetooth: {backend: h4}', '/p.yaml:3:22: bluetooth.backend: h4 needs bluetooth.h4'],
    [
      'h4 at a bad port',
      'bluetooth: {backend: h4, h4: "tcp://h:70000"}',
      'bluetooth.h4: expected tcp://host:port or unix:/path',
    ],
    [
      'h4 by a relative path',
      'bluetooth: {backend: h4, h4: "unix:h4.sock"}',
      'bluetooth.h4: expected tcp://host:port or unix:/path',
    ],
    [
      'a list where nobody can be',
      'access: {unsigned: {light: [a]}}',
      'access.unsigned.light: unknown key; did you mean "lights"?',
    ],
    ['one scope text for all', 'access: {scopes: {control: "a b"}}', 'access.scopes.control: expected one scope'],
  ])('%s is refused at its place', async (_, yaml, expected) => {
    // A second `access:` would be a duplicate key: the case brings its own.
    const start = yaml.includes('access:') ? MINIMAL.replace('access: {audience: a}', '') : MINIMAL;
    const lines = await refusal(start + yaml);
    expect(
      lines.some((line) => line.includes(expected)),
      lines.join('\n'),
    ).toBe(true);
    expect(lines).toHaveLength(1 + Number(yaml.includes('light: [a]')) + Number(yaml.includes('mqtts://b", cert')));
  });

  it.each<[string, string, string]>([
    ['a plain address of a stranger', 'http://auth.example.com', 'must be https; http is allowed on this machine only'],
    ['a loopback look-alike', 'http://localhost.example.com', 'must be https'],
    ['another scheme', 'ftp://auth.example.com', 'expected an address'],
    ['a query', 'https://auth.example.com/?tenant=1', 'must not hold a query'],
    ['a fragment', 'https://auth.example.com/#x', 'must not hold a fragment'],
    ['a control character', 'https://auth.example.com/\\u0000', 'expected an address'],
    ['no address', 'auth.example.com', 'expected an address'],
  ])('an issuer with %s is refused', async (_, issuer, expected) => {
    const lines = await refusal(`authorization: {client_id: a, issuer: "${issuer}"}`);
    expect(lines[0]).toMatch(/^\/p\.yaml:1:39: authorization\.issuer: /);
    expect(lines[0]).toContain(expected);
  });

  it.each(['http://localhost:3000', 'http://127.0.0.1:3000/x', 'http://[::1]:3000'])(
    'an issuer at %s is fine',
    async (issuer) => {
      expect((await load(`authorization: {client_id: a, issuer: "${issuer}"}`)).config.access.issuer).toBe(issuer);
    },
  );

  it('is told every problem at once, in the order of the file', async () => {
    const lines = await refusal(
      'authorization:\n  isuer: https://a.example\n  scopes: openid\nmqtt: {urll: x, base_topic: "#"}\nlights:\n- {id: local, address: 5}\ngroups: [{id: g, lights: [x]}]\n',
    );
    expect(lines.map((line) => line.split(': ')[1])).toEqual([
      'authorization.issuer',
      'authorization.client_id',
      'authorization.isuer',
      'authorization.scopes',
      'mqtt.urll',
      'mqtt.base_topic',
      'lights[0].id',
      'lights[0].address',
      'groups[0].lights[0]',
    ]);
  });

  it('without authorization cannot run the daemon', async () => {
    expect(await refusal('lights: []')).toEqual([expect.stringMatching(/^\/p\.yaml:1:1: authorization: is missing/)]);
  });

  it('that is nothing at all, a list, a word, or a comment is told so', async () => {
    for (const text of [
      '',
      '\n\n',
      '# only a comment\n',
      '---\n',
      'null',
      '~',
      '[]',
      'porchlight',
      '5',
      '\ufeff',
      '---\n...\n',
    ]) {
      const [line] = await refusal(text);
      expect(line).toMatch(/^\/p\.yaml:1:1: (the file is empty|expected sections)/);
    }
  });

  it('with hundreds of mistakes lists fifty', async () => {
    const lines = await refusal(MINIMAL + Array.from({ length: 300 }, (_, n) => `zz${n}: 1`).join('\n'));
    expect(lines).toHaveLength(51);
    expect(lines.at(-1)).toBe('… and 250 more');
  });
});

describe('what is not part of this version', () => {
  const section = (path: readonly string[], value: string): string => {
    const text = `{${path.slice(1).join(': {')}: ${value}${'}'.repeat(path.length - 1)}`;
    return `${path[0]}: ${path.length === 1 ? value : text}\n`;
  };

  it.each(
    NOT_YET.filter(({ warns }) => warns === undefined).flatMap((entry) =>
      (entry.values ?? []).map((value) => [entry.path.join('.'), value, entry] as const),
    ),
  )('%s: %s is refused, once', async (name, value, { path }) => {
    const yaml =
      path[0] === 'authorization'
        ? `authorization: {issuer: "https://a.example", client_id: a, ${path[1]}: ${value}}\n`
        : MINIMAL.replace('access: {audience: a}\n', path[0] === 'access' ? '' : 'access: {audience: a}\n') +
          section(path, value);
    const lines = await refusal(yaml);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(`${name}: `);
    expect(lines[0]).toContain('is not part of this version yet');
  });

  it.each([
    ['schedules', 'schedules: [{id: late, cron: "30 23 * * *", set: {porch: {state: OFF}}}]\n'],
    ['web.listen', 'web: {listen: "127.0.0.1:8470"}\n'],
  ])('%s is accepted, with a warning that it is not carried out', async (name, yaml) => {
    const lights = 'lights: [{id: porch, address: "be:ff:20:00:11:22"}]\n';
    const { warnings } = await load(MINIMAL + lights + yaml);
    expect(warnings.filter((line) => line.includes('not part of this version'))).toEqual([
      expect.stringMatching(new RegExp(`:\\d+:\\d+: ${name}: .*is not carried out$`)),
    ]);
  });
});

describe('secrets', () => {
  const client = 'authorization: {issuer: "https://a.example", client_id: a, client_authentication: client_secret_post';
  const rest = '}\naccess: {audience: a}\n';

  it('come from the key, from a file without its last line end, or from a systemd credential, in this order', async () => {
    const creds = { CREDENTIALS_DIRECTORY: '/creds' };
    const files = { '/f': 'from-file\n', '/creds/client_secret': 'from-credential\r\n' };
    const secretOf = async (key: string, env = {}) =>
      (await load(client + key + rest, env, files)).config.authorization.client_secret;
    expect(await secretOf(', client_secret: inline', creds)).toBe('inline');
    expect(await secretOf(', client_secret_file: /f', creds)).toBe('from-file');
    expect(await secretOf(', client_secret_file: f', creds)).toBe('from-file');
    expect(await secretOf('', creds)).toBe('from-credential');
  });

  it('of the broker are looked for under both names', async () => {
    const password = async (files: Record<string, string>) =>
      (await load(MINIMAL, { CREDENTIALS_DIRECTORY: '/creds' }, files)).config.mqtt.password;
    expect(await password({ '/creds/mqtt_password': 'a', '/creds/password': 'b' })).toBe('a');
    expect(await password({ '/creds/password': 'b' })).toBe('b');
    expect(await password({})).toBeUndefined();
  });

  it('do not leave the name of their file behind', async () => {
    const { config } = await load(`${client}, client_secret_file: /f${rest}`, {}, { '/f': 's' });
    expect(Object.keys(config.authorization)).not.toContain('client_secret_file');
  });

  it.each<[string, string, Record<string, string>, string]>([
    [
      'twice',
      ', client_secret: hunter2, client_secret_file: /f',
      { '/f': 'hunter2' },
      'cannot be given together with client_secret',
    ],
    ['missing', '', {}, 'client_secret_post needs client_secret_file'],
    ['in a missing file', ', client_secret_file: /f', {}, 'client_secret_file: /f does not exist'],
    ['empty', ', client_secret_file: /f', { '/f': '\n' }, 'client_secret_file: is empty'],
    ['of two lines', ', client_secret_file: /f', { '/f': 'hunter2\nhunter2\n' }, 'holds more than one line'],
    ['of a binary', ', client_secret_file: /f', { '/f': 'hunter2\u0000' }, 'holds a control character'],
    ['without end', ', client_secret_file: /f', { '/f': 'hunter2'.repeat(4000) }, 'is larger than 16384 bytes'],
    ['of a number', ', client_secret: 4242424242', {}, 'client_secret: expected text'],
  ])('%s are refused, and not shown', async (_, key, files, expected) => {
    const lines = await refusal(client + key + rest, {}, files);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(expected);
    expect(lines[0]).not.toMatch(/hunter2|4242424242/);
  });

  it('in a file that every user may read get a warning', async () => {
    const yaml = `${client}, client_secret_file: /f${rest}`;
    const warnings = async (mode: number) =>
      (await loadConfig({ path: '/p.yaml', env: {}, readFile: disk({ '/p.yaml': yaml, '/f': 's' }, { '/f': mode }) }))
        .warnings;
    expect(await warnings(0o644)).toEqual([
      expect.stringMatching(
        /^\/p\.yaml:1:\d+: authorization\.client_secret_file: every user of this machine may read \/f/,
      ),
    ]);
    expect(await warnings(0o640)).toEqual([]);
  });

  it('that are not used get a warning', async () => {
    const yaml =
      'authorization: {issuer: "https://a.example", client_id: a, client_secret: hunter2}\naccess: {audience: a}';
    expect((await load(yaml)).warnings).toEqual([expect.stringContaining('client_authentication is none')]);
  });

  it('are not the special word when they come from a file', async () => {
    const lines = await refusal(`${MINIMAL}mqtt: {password_file: /f}`, {}, { '/f': 'access_token\n' });
    expect(lines[0]).toContain('mqtt.password_file: holds the word access_token');
  });

  // Wherever a person might put a secret by mistake, the refusal must not repeat it.
  it.each([
    'mqtt: {url: "mqtts://me:hunter2@b.example"}',
    'mqtt: {url: "mqtts://hunter2@b.example"}',
    'mqtt: {url: "hunter2"}',
    'mqtt: {passwort: hunter2}',
    'mqtt: {password:hunter2}',
    'mqtt: {password hunter2}',
    'mqtt:\n  password:hunter2\n  username: x',
    'mqtt:\n  password: "hunter2\n',
    'mqtt:\n  password: hunter2: x\n',
    'mqtt:\n  password: @hunter2\n',
    'mqtt:\n  password: !hunter2 x\n',
    'mqtt:\n  password: *hunter2\n',
    'mqtt:\n  password: &hunter2\n',
    'mqtt:\n  password: "\\qhunter2"\n',
    'mqtt:\n  password: [hunter2]\n',
    'mqtt:\n  password: {hunter2: 1}\n',
    'mqtt:\n  ? [hunter2]\n  : x\n',
    'mqtt: hunter2',
    'bluetooth: {backend: hunter2}',
    'lights: [{id: HUNTER2 hunter2, address: hunter2}]',
    'lights: hunter2',
    'access: {unsigned: hunter2}',
    'hunter2',
    'mqtt:\n\thunter2: 1',
    '%hunter2 x\n---\na: 1',
  ])('stay out of the refusal of %j', async (yaml) => {
    const start = yaml.startsWith('access') || yaml.startsWith('%') ? '' : MINIMAL;
    const lines = await refusal(start + yaml);
    expect(lines.join('\n').toLowerCase()).not.toContain('hunter2');
  });
});

describe('certificates', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'porchlight-config-'));
    writeFileSync(join(folder, 'rubbish.pem'), '-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('are judged when the configuration is read', async () => {
    const path = join(folder, 'p.yaml');
    writeFileSync(
      path,
      `${MINIMAL}mqtt: {url: "mqtts://b", ca_file: rubbish.pem, cert_file: rubbish.pem, key_file: rubbish.pem}`,
    );
    const thrown = await loadConfig({ path, env: {} }).catch((error: unknown) => error);
    expect(thrown).toMatchObject({ code: 'config_invalid' });
    const message = thrown instanceof Error ? thrown.message : '';
    expect(message.split('\n').map((line) => line.slice(path.length))).toEqual([
      ':3:35: mqtt.ca_file: holds no certificate in PEM',
      ':3:59: mqtt.cert_file: holds no certificate in PEM',
      ':3:82: mqtt.key_file: holds no private key in PEM (without passphrase)',
    ]);
  });
});

describe('warnings', () => {
  it.each<[string, string]>([
    ['mqtt: {url: "mqtt://b.example", allow_insecure: true}', '/p.yaml:3:13: mqtt.url: is not encrypted'],
    ['mqtt: {url: "mqtt://localhost", ca_file: /ca}', 'mqtt.ca_file: is not used'],
    ['bluetooth: {h4: "tcp://h:1"}', '/p.yaml:3:17: bluetooth.h4: is not used'],
  ])('%s', async (yaml, expected) => {
    const readFile = disk({ '/p.yaml': MINIMAL + yaml, '/ca': (await import('node:tls')).rootCertificates[0] ?? '' });
    const { warnings } = await loadConfig({ path: '/p.yaml', env: {}, readFile });
    expect(warnings).toEqual([expect.stringContaining(expected)]);
  });

  it('say that no token is accepted without an audience', async () => {
    const { warnings } = await load('authorization: {issuer: "https://a.example", client_id: a}');
    expect(warnings).toEqual([expect.stringContaining('access.audience: is missing: no command token is accepted')]);
  });
});

describe('the text itself', () => {
  it.each<[string, string, string]>([
    ['a key given twice', 'mqtt: {}\nmqtt: {}\n', '/p.yaml:2:1: mqtt is given twice'],
    ['a tab as indentation', 'mqtt:\n\tusername: x\n', 'a tab is used for indentation'],
    ['an open quote', 'mqtt: {username: "x}\n', 'missing'],
    ['JSON with comments', '{\n// c\n"mqtt": {}}', '/p.yaml:2:'],
    ['a tag of Home Assistant', 'mqtt: {password: !secret mqtt}\n', 'tags ("!name") are not understood here'],
    ['an alias to nowhere', 'mqtt: *x\n', 'an alias ("*name") needs an anchor'],
    ['a second document', 'mqtt: {}\n---\nmqtt: {}\n', 'only one is read'],
    ['YAML 1.1', '%YAML 1.1\n---\nmqtt: {}\n', 'YAML 1.1'],
    ['a merge key', 'a: &a {x: 1}\nmqtt:\n  <<: *a\n', 'merge keys'],
    ['a key that is a number', '5: x\n', 'a key must be text'],
    ['a key that is a list', '? [a]\n: b\n', 'a key must be text'],
    ['UTF-16', 'UTF-16', 'UTF-16'],
    ['Latin-1', 'Latin-1', '/p.yaml:2:1: the file is not UTF-8'],
  ])('%s is refused', async (name, yaml, expected) => {
    const bytes =
      name === 'UTF-16'
        ? Buffer.from('\ufeffmqtt: {}', 'utf16le')
        : name === 'Latin-1'
          ? Buffer.from('a: 1\nb: \xfc\n', 'latin1')
          : yaml;
    const lines = await refusal(bytes);
    expect(
      lines.some((line) => line.includes(expected)),
      lines.join('\n'),
    ).toBe(true);
  });

  it.each<[string, string]>([
    ['10 MB', 'a: 1\n'.repeat(2_000_000)],
    [
      'a billion laughs',
      `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghij'
        .split('')
        .map((c, i) => `${c}: &${c} [${`*${'abcdefghi'[i]},`.repeat(9)}]`)
        .join('\n')}`,
    ],
    ['an alias to itself', 'a: &a [*a]\n'],
    ['deep lists', '['.repeat(262_000)],
    ['deep maps', '{a: '.repeat(50_000)],
    ['deep lists on lines', '[\n'.repeat(100_000)],
    ['deep dashes', '- '.repeat(100_000)],
    ['deep questions', '? '.repeat(100_000)],
    ['deep indentation', Array.from({ length: 600 }, (_, n) => `${' '.repeat(n)}a:\n`).join('')],
    ['closing brackets', ']'.repeat(262_000)],
    ['many keys', Array.from({ length: 3_000 }, (_, n) => `k${n}: 1\n`).join('')],
    ['many equal keys', 'a: 1\n'.repeat(5_000)],
    ['many quotes', '"'.repeat(5_000)],
    ['many anchors', '&a '.repeat(5_000)],
    ['many aliases', `a: &a x\nb: [${'*a,'.repeat(5_000)}]\n`],
    ['NUL', '\u0000'.repeat(1000)],
  ])('%s cost little and end in a refusal', async (_, yaml) => {
    const before = performance.now();
    await refusal(yaml);
    expect(performance.now() - before).toBeLessThan(5000);
  });
});

describe('whatever is in the file', () => {
  const mangled = fc
    .tuple(fc.nat(), fc.nat(60), fc.string({ unit: 'binary', maxLength: 12 }))
    .map(([at, drop, insert]) => {
      const base = `${MINIMAL}lights: [{id: a, address: "be:ff:20:00:11:22"}]\nscenes:\n- id: s\n  set: {a: {state: ON}}\nmqtt:\n  password: "x"\n`;
      const start = at % base.length;
      return base.slice(0, start) + insert + base.slice(start + drop);
    });
  const grammar = fc
    .array(
      fc.constantFrom(
        'a',
        ':',
        ' ',
        '\n',
        '- ',
        '? ',
        '{',
        '}',
        '[',
        ']',
        ',',
        '&a ',
        '*a',
        '!t ',
        '|',
        '>',
        '"',
        "'",
        '#',
        '%',
        '---',
        '\t',
        '<<',
        '5',
        'lights',
        'mqtt',
        '\r',
        '\u0085',
        '\u2028',
        '~',
      ),
      { maxLength: 60 },
    )
    .map((parts) => parts.join(''));

  it('it is accepted or refused with config_invalid; nothing else is thrown', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(mangled, grammar, fc.string({ unit: 'binary' })), async (yaml) => {
        const thrown = await load(yaml).then(
          () => undefined,
          (error: unknown) => error,
        );
        if (thrown === undefined) return;
        expect(thrown).toBeInstanceOf(PorchlightError);
        expect(thrown).toMatchObject({ code: 'config_invalid' });
        // One line per problem, each with its place: nothing from the file may break that form.
        for (const line of (thrown as PorchlightError).message.split('\n'))
          expect(line).toMatch(/^(\/p\.yaml:\d+:\d+: .|… and \d+ more)/);
      }),
      { numRuns: 150 },
    );
  });

  it('values of any type at any key are told, not thrown', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(
          fc.constantFrom(
            'gateway',
            'authorization',
            'access',
            'mqtt',
            'bluetooth',
            'clock',
            'lights',
            'groups',
            'scenes',
            'home',
            'schedules',
            'web',
            'log',
            '__proto__',
            'constructor',
          ),
          fc.jsonValue({ maxDepth: 4 }),
        ),
        async (file) => {
          await load(JSON.stringify(file)).then(
            () => undefined,
            (error: unknown) => expect(error).toMatchObject({ code: 'config_invalid' }),
          );
        },
      ),
      { numRuns: 80 },
    );
  });
});

describe('defaults of the machine', () => {
  it.each([
    ['Porch-Pi.local', 'porch-pi'],
    ['RASPBERRY_PI', 'raspberry-pi'],
    ['---', 'porchlight'],
    ['', 'porchlight'],
    ['\u00fcn\u00efcode', 'n-code'],
    ['x'.repeat(64), 'x'.repeat(40)],
  ])('the host name %j becomes the id %s', (name, id) => {
    expect(cleanHostName(name)).toBe(id);
  });

  it('the state directory is that of systemd, else one in the home folder', () => {
    expect(defaultStateDirectory({ STATE_DIRECTORY: '/var/lib/porchlight:/var/lib/other', HOME: '/h' })).toBe(
      '/var/lib/porchlight',
    );
    expect(defaultStateDirectory({ HOME: '/h' })).toBe('/h/.local/state/porchlight');
  });
});
