import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Daemon, porchlight } from '../support/daemon.ts';
import { type Deed, HOSTILE, type HostileServer, json, startHostileServer, status } from '../support/hostile-server.ts';
import { createAuthority } from '../support/mosquitto.ts';

const RAW = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/u;
const deed = (name: string): Deed => {
  const found = HOSTILE.find(([one]) => one === name)?.[1];
  if (found === undefined) throw new Error(`no such deed: ${name}`);
  return found;
};
const config = (issuer: string): object => ({
  authorization: { issuer, client_id: 'porchlight', scopes: ['profile', 'offline_access'] },
  mqtt: { url: 'mqtt://127.0.0.1:1' },
  bluetooth: { backend: 'h4', h4: 'tcp://127.0.0.1:1' },
  clock: { trust: 'system' },
  lights: [],
  log: { level: 'trace' },
});

describe('a real daemon and a hostile server', () => {
  let server: HostileServer;
  let daemon: Daemon;
  const device = (): Record<string, unknown> => ({
    device_code: 'the-device-code-of-this-test',
    user_code: 'WDJB-MJHT',
    verification_uri: `${server.issuer}/go`,
    expires_in: 600,
    interval: 1,
  });
  const rss = async (): Promise<number> =>
    Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${daemon.pid}/status`, 'utf8'))?.[1]) / 1024;

  beforeAll(async () => {
    server = await startHostileServer();
    server.answer('/.well-known/oauth-authorization-server', json(server.metadata()));
    server.answer('/token', json({ error: 'authorization_pending' }, 400));
    server.answer('/device', status(503));
    daemon = await Daemon.prepare(config(server.issuer));
    daemon.start();
    await daemon.until(({ authorization }) => authorization.problem !== undefined, 'a first problem');
  });
  afterAll(async () => {
    await daemon?.remove();
    await server?.close();
  });

  it.each([
    ['a page that calls itself JSON', deed('a page that calls itself JSON')],
    ['a hundred megabytes', deed('a hundred megabytes')],
    ['a gigabyte in gzip', deed('a gigabyte in gzip')],
    ['a body without end', deed('a body without end')],
    ['ten thousand headers', deed('ten thousand headers')],
    ['an object of ten thousand levels', deed('an object of ten thousand levels')],
    ['something else than HTTP', deed('something else than HTTP')],
    ['a reset in mid-body', deed('a reset in mid-body')],
    ['a 302 to a file', deed('a 302 to a file')],
    [
      'a script to approve at',
      (...how: Parameters<Deed>) => json({ ...device(), verification_uri: 'javascript:alert(1)' })(...how),
    ],
    [
      'an escape in the user code',
      (...how: Parameters<Deed>) => json({ ...device(), user_code: 'A\u001b[2JB' })(...how),
    ],
    [
      'words with colours',
      json({ error: 'x\u001b[31m', error_description: '\u001b]0;owned\u0007\nport\u202eevil' }, 400),
    ],
    ['a body that drips', deed('a body that drips')],
  ])('says one clear thing to %s, and goes on', async (_, hostile) => {
    server.answer('/device', hostile);
    const before = await rss();
    const said = await daemon.ask('POST', '/api/authorization/code');
    expect(said).toMatchObject({
      code: expect.stringMatching(/^server_/),
      message: expect.any(String),
      hint: expect.any(String),
    });
    expect(JSON.stringify(said)).not.toMatch(/\\u00|\u202e|<html/);
    expect((await rss()) - before).toBeLessThan(120);
  });

  it('is well as soon as the server is', async () => {
    server.answer('/device', (...how) => json(device())(...how));
    expect((await daemon.ask('POST', '/api/authorization/code')).user_code).toBe('WDJB-MJHT');
    server.answer(
      '/token',
      json({
        access_token: 'access-of-this-test',
        refresh_token: 'refresh-of-this-test',
        token_type: 'Bearer',
        expires_in: 600,
      }),
    );
    const { authorization } = await daemon.until(
      (now) => now.authorization.state === 'authorized',
      'authorized',
      8_000,
    );
    expect(authorization.problem).toBeUndefined();
    expect(daemon.stderr).not.toMatch(RAW);
    expect(daemon.stderr).not.toMatch(/\\u00|-of-this-test|uncaught|UnhandledPromise/i);
    expect((await porchlight(['status', '--config', daemon.configFile])).stdout).not.toMatch(RAW);
  });

  it.each([
    ['that nobody vouches for', undefined, /vouches|not trusted/],
    ['of another host', 'DNS:elsewhere.example', /another host/],
  ])('does not talk to a server with a certificate %s', async (_, names, words) => {
    const authority = createAuthority('Test');
    const secure = await startHostileServer(authority.issue('server', names === undefined ? {} : { names }));
    const other = await Daemon.prepare(
      config(secure.issuer),
      names === undefined ? {} : { NODE_EXTRA_CA_CERTS: `${daemon.folder}/ca.crt` },
    );
    const { writeFile } = await import('node:fs/promises');
    await writeFile(`${daemon.folder}/ca.crt`, authority.ca);
    other.start();
    const { authorization } = await other.until((now) => now.authorization.problem !== undefined, 'a problem');
    expect(authorization.problem).toMatchObject({ code: 'server_unreachable', message: expect.stringMatching(words) });
    expect(secure.asked).toEqual([]);
    await other.remove();
    await secure.close();
  });
});
