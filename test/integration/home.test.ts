import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { porchlight } from '../support/daemon.ts';
import { approve, type Home, senderFor, startHome } from '../support/home.ts';
import { mosquittoMissing } from '../support/mosquitto.ts';

const SCOPES = ['openid', 'offline_access', 'profile', 'address'];
const BERLIN = {
  latitude: 52.52,
  longitude: 13.41,
  time_zone: 'Europe/Berlin',
  locality: 'Berlin',
  country: 'DE',
  source: 'userinfo',
};
/** Where the demo's owner lives, exactly: nothing of it may leave the state directory. */
const EXACT = /52\.5208|13\.4094|Panorama|10178/;

async function statusOf({ daemon }: Home): Promise<{ home: Record<string, unknown>; words: string }> {
  const [json, words] = await Promise.all([
    porchlight(['status', '--json', '--config', daemon.configFile]),
    porchlight(['status', '--config', daemon.configFile]),
  ]);
  expect(json.status).toBe(0);
  expect(`${json.stdout}${words.stdout}`).not.toMatch(EXACT);
  return { home: JSON.parse(json.stdout).home, words: words.stdout };
}

describe.skipIf(mosquittoMissing() !== undefined)('the home of the owner', () => {
  let made: Home;

  beforeAll(async () => {
    made = await startHome();
    const authorization = { ...Object(made.config['authorization']), scopes: SCOPES };
    Object.assign(made.config, { authorization });
    await made.daemon.configure(made.config);
    await approve(made);
  });

  afterAll(async () => {
    await made?.close();
  });

  const file = (): Promise<string> => readFile(join(made.daemon.stateDirectory, 'home.json'), 'utf8');

  it('is read after the approval, kept whole, and shown rounded', async () => {
    await made.daemon.until((status) => status.home.source === 'userinfo', 'the home');
    const { home, words } = await statusOf(made);
    expect(home).toEqual(BERLIN);
    expect(words).toMatch(/home +Berlin, DE at 52\.52, 13\.41; time zone Europe\/Berlin/);
    expect(await file()).toMatch(EXACT);
  });

  it('is nothing for the broker and the log', async () => {
    const listener = await senderFor(made);
    await expect.poll(() => listener.heard.some(({ topic }) => topic.endsWith('/status'))).toBe(true);
    const published = JSON.stringify(listener.heard);
    expect(published).not.toMatch(/52\.5|13\.4|Berlin|"home"/);
    expect(made.daemon.stderr).toContain('read from userinfo');
    expect(made.daemon.stderr).not.toMatch(/52\.5|13\.4|Berlin/);
    await listener.close();
  });

  it('stays known over a restart without the server; coordinates of the configuration win, and the time zone stays the owner’s', async () => {
    const { daemon, server } = made;
    await daemon.stop();
    await server.close();
    daemon.start();
    await daemon.until((status) => status.authorization.state === 'authorized', 'authorized again');
    expect((await daemon.status()).home).toEqual(BERLIN);

    await daemon.stop();
    await daemon.configure({ ...made.config, home: { latitude: 48.137154, longitude: 11.576124 } });
    daemon.start();
    await daemon.until((status) => status.authorization.state === 'authorized', 'authorized again');
    const { home, words } = await statusOf(made);
    expect(home).toEqual({ latitude: 48.14, longitude: 11.58, time_zone: 'Europe/Berlin', source: 'configuration' });
    expect(words).toMatch(/home +48\.14, 11\.58; time zone Europe\/Berlin; as configured/);
  });

  it('is forgotten at logout, also on the disk', async () => {
    expect(await file()).toMatch(EXACT);
    expect((await porchlight(['logout', '--config', made.daemon.configFile])).status).toBe(0);
    await expect(file()).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await made.daemon.status()).home).toMatchObject({ source: 'configuration', missing: ['time_zone'] });
  });
});
