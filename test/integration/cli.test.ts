import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { porchlight } from '../support/daemon.ts';
import { approve, type Home, PORCH, senderFor, startHome } from '../support/home.ts';
import { mosquittoMissing } from '../support/mosquitto.ts';

describe.skipIf(mosquittoMissing() !== undefined)('the command line, beside a running daemon', () => {
  let home: Home;
  const verb = (...args: string[]): ReturnType<typeof porchlight> =>
    porchlight([...args, '--config', home.daemon.configFile]);

  beforeAll(async () => {
    home = await startHome();
    await approve(home);
  });

  afterAll(() => home?.close());

  it('status tells people in sentences, and programs in one document without secrets', async () => {
    const people = await verb('status');
    expect(people).toMatchObject({ status: 0, stderr: '' });
    expect(people.stdout).toMatch(/authorization +approved by owner/);
    expect(people.stdout).toMatch(/broker +mqtt:.*\(MQTT 5\)/);
    expect(people.stdout).not.toContain('\u001b');
    const programs = await verb('status', '--json');
    expect(JSON.parse(programs.stdout)).toMatchObject({ id: 'porch-pi', healthy: true, links: { max: 5 } });
    expect(programs.stdout).not.toMatch(/eyJ/);
  });

  it('lights lists what is known of each lamp', async () => {
    await verb('send', 'hall', '{"state":"ON","brightness":128}');
    const { stdout } = await verb('lights');
    expect(stdout).toMatch(/hall +elk-bledom ELK-BLEDOM +ON +50 % +assumed/);
    expect(JSON.parse((await verb('lights', '--json')).stdout)).toMatchObject([
      { id: 'porch', family: 'triones' },
      { id: 'hall' },
    ]);
  });

  it('send prints the outcome, and its exit status tells it too', async () => {
    const sent = await verb('send', 'porch', '{"state":"ON"}', '--json');
    expect(sent.status).toBe(0);
    expect(JSON.parse(sent.stdout)).toMatchObject({ target: 'porch', outcome: 'confirmed', by: 'local' });
    expect((await verb('send', 'evening', '{"state":"OFF"}')).stdout).toMatch(
      /evening: assumed.*\n {2}porch: confirmed/,
    );
    expect((await verb('send', 'movie', '--scene')).status).toBe(0);
    const unknown = await verb('send', 'prch', '{"state":"ON"}');
    expect(unknown.status).toBe(1);
    expect(unknown.stderr).toMatch(/did you mean porch/);
    expect((await verb('send', 'porch', '{"brightness":999}')).stderr).toMatch(/brightness: .*0.*255/);
  });

  it('send --direct leaves the adapter to the daemon that has it', async () => {
    const { status, stderr } = await verb('send', '--direct', 'porch', '{"state":"ON"}');
    expect(status).toBe(69);
    expect(stderr).toMatch(/Leave out --direct/);
  });

  it('logout revokes and forgets; login shows a code here and waits until it is approved', async () => {
    const phone = await senderFor(home);
    const token = await home.server.tokenFor();
    expect((await verb('logout')).stdout).toMatch(/revoked and forgotten/);
    expect(await phone.command('porch', { state: 'ON' }, { token })).toMatchObject({
      outcome: 'denied',
      code: 'not_authorized',
    });

    const login = verb('login');
    const status = await home.daemon.until(({ authorization }) => authorization.state === 'pending', 'a code');
    expect(status.authorization.code_expires_at).toMatch(/^\d{4}-/);
    await home.server.approve(await home.daemon.code());
    const { status: exit, stdout } = await login;
    expect(stdout).toMatch(/[A-Z]{4}-[A-Z]{4}/);
    expect(stdout).toMatch(/Approved by owner/);
    expect(exit).toBe(0);
    expect(await phone.command('porch', { state: 'ON' }, { token })).toMatchObject({ outcome: 'confirmed' });
    await phone.close();
  });
});

describe('the command line, alone', () => {
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'porchlight-cli-'));
  });

  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('send --direct drives lamps without a daemon', async () => {
    const file = join(folder, 'direct.yaml');
    await writeFile(
      file,
      stringify({
        gateway: { state_directory: join(folder, 'state') },
        bluetooth: { backend: 'virtual', virtual: { lights: 1 } },
        lights: [{ id: 'porch', address: PORCH, model: 'triones' }],
      }),
    );
    const { status, stdout, stderr } = await porchlight([
      'send',
      '--direct',
      'porch',
      '{"state":"ON"}',
      '--config',
      file,
    ]);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^porch: confirmed/);
    expect(status).toBe(0);
  });

  it('a wrong configuration exits with 78, naming file, line, key and the likely spelling, and nothing starts', async () => {
    const file = join(folder, 'wrong.yaml');
    await writeFile(
      file,
      'authorization:\n  issuer: https://auth.example.com\n  client_id: porchlight\nmqtt:\n  urll: mqtt://localhost\n',
    );
    for (const args of [
      ['run', '--config', file],
      ['config', 'check', file],
    ]) {
      const { status, stdout, stderr } = await porchlight(args);
      expect(status).toBe(78);
      expect(stderr).toMatch(/wrong\.yaml:5:3: mqtt\.urll: .*url/);
      expect(stdout).toBe('');
    }
  });

  it('without a daemon says how to start one, and exits with 69', async () => {
    const { status, stderr } = await porchlight(['status'], { HOME: folder });
    expect(status).toBe(69);
    expect(stderr).toMatch(/porchlight run/);
  });

  it.each([
    [['statsu'], /did you mean status/i],
    [['send'], /Which lamp/],
    [['send', 'porch', 'ON'], /not JSON/],
    [['send', '--dry-run', '{"state":"ON"}'], /--family/],
    [['send', '--dry-run', '--family', 'trones', '{"state":"ON"}'], /triones/],
    [['decode', '--family', 'triones', 'xyz'], /hexadecimal/],
    [['run', '--colour'], /colour/],
  ])('%j is wrong use (64), with a word that helps', async (args, word) => {
    const { status, stderr, stdout } = await porchlight(args);
    expect({ status, stdout }).toEqual({ status: 64, stdout: '' });
    expect(stderr).toMatch(word);
  });

  it('each verb explains itself, and --version prints one line', async () => {
    const verbs = [
      'run',
      'demo',
      'login',
      'logout',
      'status',
      'lights',
      'scan',
      'identify',
      'check',
      'send',
      'recognise',
      'decode',
      'config',
      'config check',
      'config schema',
    ];
    for (const verb of verbs) {
      const { status, stdout } = await porchlight([...verb.split(' '), '--help']);
      expect(status, verb).toBe(0);
      expect(stdout, verb).toContain(`Usage: porchlight ${verb}`);
    }
    expect((await porchlight(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect((await porchlight([])).status).toBe(64);
  });
});
