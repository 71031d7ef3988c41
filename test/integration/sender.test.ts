import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AUDIENCE, approve, type Home, senderFor, startHome } from '../support/home.ts';
import { mosquittoMissing } from '../support/mosquitto.ts';
import type { Sender } from '../support/sender.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGE = readFileSync(join(ROOT, 'docs/commanding.md'), 'utf8');
const missing = (program: string): boolean =>
  !(process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)));

/** The shell lines of the page, by the program that they run. */
const shown = (program: string): string[] =>
  [...PAGE.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, lines = '']) => lines).filter((lines) => lines.includes(program));

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What the page and the examples promise, done as they say it. */
describe.skipIf(mosquittoMissing() !== undefined)('a sender that follows docs/commanding.md', () => {
  let home: Home;
  let listener: Sender;
  let token: string;
  let boundToken: string;
  const keyFile = (): string => join(home.daemon.folder, 'key.json');

  beforeAll(async () => {
    const myPhone = {
      client_id: 'my-phone',
      token_endpoint_auth_method: 'none' as const,
      grant_types: ['urn:ietf:params:oauth:grant-type:device_code'],
      redirect_uris: [],
      response_types: [],
      application_type: 'native' as const,
    };
    home = await startHome({ server: { dpop: 'nonce', clients: [myPhone] } });
    await approve(home);
    listener = await senderFor(home);
    [token, boundToken] = await Promise.all([getToken(), getToken({ KEY_FILE: keyFile() })]);
  });

  afterAll(async () => {
    await listener?.close();
    await home?.close();
  });

  function run(command: string, args: readonly string[], env: Record<string, string>, seen?: (text: string) => void) {
    return new Promise<Ended>((resolve) => {
      const child = spawn(command, args, { cwd: ROOT, env: { PATH: process.env['PATH'], ...env } });
      let [stdout, stderr] = ['', ''];
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += text;
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr += text;
        seen?.(stderr);
      });
      child.once('close', (status) => resolve({ status, stdout, stderr }));
    });
  }

  /** Runs the example; somebody reads the code and approves it. */
  async function getToken(env: Record<string, string> = {}): Promise<string> {
    let code: string | undefined;
    const approved: Promise<string>[] = [];
    const ended = await run(
      process.execPath,
      ['examples/get-token.mjs'],
      { ISSUER: home.server.issuer, CLIENT_ID: 'my-phone', AUDIENCE, ...env },
      (text) => {
        code ??= /enter (\S+)\n/.exec(text)?.[1];
        if (code !== undefined && approved.length === 0) approved.push(home.server.approve(code));
      },
    );
    await Promise.all(approved);
    expect(ended, ended.stderr).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+\n$/),
    });
    return ended.stdout.trim();
  }

  const example = (file: string, args: readonly string[], env: Record<string, string>): Promise<Ended> =>
    run(process.execPath, [`examples/${file}`, home.broker.url, ...args], env);

  /** Runs lines of the page as they stand, only at the port of this test's broker. */
  async function page(lines: string, env: Record<string, string>): Promise<Ended> {
    expect(lines).toContain('-p 1883');
    return await run('sh', ['-c', lines.replace('-p 1883', `-p ${home.broker.port}`)], env);
  }

  it('gets tokens for the gateway, one of them bound to its key', async () => {
    expect(decodeJwt(token)).toMatchObject({ aud: AUDIENCE, client_id: 'my-phone', scope: 'lights:control' });
    expect(decodeJwt(token)).not.toHaveProperty('cnf');
    expect(decodeJwt(boundToken)).toMatchObject({ aud: AUDIENCE, cnf: { jkt: expect.any(String) } });
    expect((await stat(keyFile())).mode & 0o777).toBe(0o600);
  });

  it('commands with a bearer token, and is told when it may not', async () => {
    const good = await example('send-bearer.mjs', ['porch', '{"state":"ON"}'], { TOKEN: token });
    expect(good, good.stderr).toMatchObject({ status: 0, stderr: '' });
    expect(JSON.parse(good.stdout)).toMatchObject({ target: 'porch', outcome: 'confirmed', by: 'owner' });
    const bad = await example('send-bearer.mjs', ['porch', '{"state":"ON"}'], { TOKEN: boundToken });
    expect(bad.status).toBe(1);
    expect(JSON.parse(bad.stdout)).toMatchObject({ outcome: 'denied', code: 'proof_missing' });
  });

  it('commands with signed commands, also scenes, and not at another gateway', async () => {
    const env = { TOKEN: boundToken, KEY_FILE: keyFile() };
    const [lamp, scene, elsewhere] = await Promise.all([
      example('send-bound.mjs', ['porch', '{"state":"ON","brightness":80}', 'porch-pi'], env),
      example('send-bound.mjs', ['scene/movie', '{}', 'porch-pi'], env),
      example('send-bound.mjs', ['porch', '{"state":"OFF"}', 'hall-pi'], env),
    ]);
    expect(lamp, lamp.stdout + lamp.stderr).toMatchObject({ stderr: '' });
    expect(JSON.parse(lamp.stdout).outcome).toMatch(/^(confirmed|assumed|superseded)$/);
    expect(scene, scene.stdout + scene.stderr).toMatchObject({ status: 0, stderr: '' });
    expect(JSON.parse(elsewhere.stdout)).toMatchObject({ outcome: 'denied', code: 'proof_invalid' });
    expect(elsewhere.status).toBe(1);
  });

  it.skipIf(missing('mosquitto_rr'))('commands from a shell and sees the outcome', async () => {
    const [line = ''] = shown('mosquitto_rr');
    const ended = await page(line, { TOKEN: token });
    expect(JSON.parse(ended.stdout)).toMatchObject({ target: 'porch', outcome: 'confirmed', by: 'owner' });
  });

  it.skipIf(missing('mosquitto_pub'))('commands from a shell in every way that the page shows', async () => {
    const lines = shown('mosquitto_pub');
    expect(lines).toHaveLength(2);
    for (const line of lines) {
      const before = listener.heard.length;
      expect(await page(line, { TOKEN: token })).toMatchObject({ status: 0, stderr: '' });
      await expect
        .poll(() => listener.heard.slice(before).find(({ topic }) => topic === 'porchlight/porch/result')?.body)
        .toMatchObject({ outcome: 'confirmed', by: 'owner' });
    }
  });

  it('finds the command of the README among those that work', async () => {
    const readme = await readFile(join(ROOT, 'README.md'), 'utf8');
    expect(readme).toMatch(/-D publish user-property authorization "Bearer \$TOKEN"/);
  });
});
