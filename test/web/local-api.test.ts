import { mkdtemp, rm, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { PorchlightError } from '../../src/errors.ts';
import type { Command } from '../../src/lights/command.ts';
import { createLog } from '../../src/log.ts';
import { streamDaemon } from '../../src/web/client.ts';
import { localApi } from '../../src/web/local-api.ts';
import { serveOnSocket } from '../../src/web/socket.ts';

const clock = { monotonic: () => performance.now(), wall: () => Date.now() };
const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

/** The API on a real socket; `ask` speaks HTTP to it as anybody might. */
async function served() {
  const folder = await mkdtemp(join(tmpdir(), 'porchlight-api-'));
  const commands: Command[] = [];
  const listeners = new Set<(event: string, data: unknown) => void>();
  const scanners = new Set<(update: object) => void>();
  let level = 'info';
  const app = localApi({
    status: () => ({ healthy: false }),
    lights: () => [{ id: 'porch' }],
    forget: async (id) =>
      id === 'full' ? Promise.reject(new PorchlightError('state_unusable')) : id === 'porch' || undefined,
    handle: async (command) => {
      commands.push(command);
      const { target, problem } = command;
      return problem === undefined
        ? { target, outcome: 'confirmed', took_ms: 1 }
        : {
            target,
            outcome: 'failed',
            code: problem.code === 'payload_too_large' ? problem.code : 'bad_command',
            took_ms: 0,
          };
    },
    requestCode: () => Promise.reject(new PorchlightError('server_unreachable')),
    revoke: () => Promise.resolve({ revokedAtServer: true }),
    logLevel: { now: () => level, set: (wanted) => (level = wanted) },
    watch: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    scan: (listener) => {
      scanners.add(listener);
      listener({ adapter: 'poweredOn', sightings: [] });
      return () => scanners.delete(listener);
    },
    clock,
    log: createLog('silent'),
  });
  const stop = new AbortController();
  const socketPath = join(folder, 'a.sock');
  const { closed } = await serveOnSocket(app, socketPath, 0o600, stop.signal);
  ends.push(async () => {
    stop.abort();
    await closed;
    await rm(folder, { recursive: true });
  });
  const ask = (method: string, path: string, body?: string, headers: Record<string, string> = {}) =>
    new Promise<{ status: number; body: unknown }>((resolve, reject) => {
      const call = request({ socketPath, method, path, headers }, (answer) => {
        let text = '';
        answer.on('data', (chunk) => {
          text += chunk;
        });
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, body: text === '' ? undefined : JSON.parse(text) }),
        );
      });
      call.on('error', reject);
      call.end(body);
    });
  return { ask, commands, listeners, scanners, socketPath };
}

describe('the local API on its socket', () => {
  it('is for this user alone, and replaces a socket that was left behind', async () => {
    const { socketPath } = await served();
    expect((await stat(socketPath)).mode & 0o777).toBe(0o600);
    await expect(
      serveOnSocket(localApiThatIsNeverAsked(), `/tmp/${'x'.repeat(120)}`, 0o600, new AbortController().signal),
    ).rejects.toMatchObject({ code: 'state_unusable' });
  });

  it('takes commands as the principal of the socket, whatever the transfer', async () => {
    const { ask, commands } = await served();
    const on = '{"state":"ON","id":"7","expires_in":5}';
    expect(await ask('POST', '/api/lights/porch/set', on)).toMatchObject({
      status: 200,
      body: { outcome: 'confirmed' },
    });
    await ask('POST', '/api/lights/porch/set', on, { 'transfer-encoding': 'chunked' });
    await ask('POST', '/api/scenes/movie/set', '{}');
    expect(commands).toMatchObject([
      {
        kind: 'lights',
        target: 'porch',
        id: '7',
        change: { state: 'ON' },
        credential: { kind: 'local' },
        retained: false,
      },
      { kind: 'lights', target: 'porch' },
      { kind: 'scene', target: 'movie', change: {} },
    ]);
    expect((commands[0]?.expiresAt ?? 0) - (commands[0]?.receivedAt ?? 0)).toBeCloseTo(5000);
  });

  it.each([
    ['DELETE', '/api/lights', 404],
    ['PUT', '/api/lights', 404],
    ['OPTIONS', '/api/status', 404],
    ['TRACE', '/api/status', 404],
    ['GET', '/api/lights/porch/set', 404],
    ['GET', '/api/../../etc/passwd', 404],
    ['GET', '/api/lights%00', 404],
    ['GET', '/', 404],
    ['GET', '/health', 503],
  ])('%s %s is answered with %i', async (method, path, status) => {
    expect((await (await served()).ask(method, path)).status).toBe(status);
  });

  it('bounds and judges what is sent', async () => {
    const { ask, commands } = await served();
    expect((await ask('POST', '/api/lights/porch/set', 'x'.repeat(20_000))).status).toBe(413);
    expect(
      (await ask('POST', '/api/lights/porch/set', 'x'.repeat(2_000_000), { 'transfer-encoding': 'chunked' })).status,
    ).toBe(413);
    expect((await ask('POST', '/api/lights/porch/set', '{"brightness":999}')).status).toBe(400);
    expect((await ask('POST', '/api/lights/porch/set')).status).toBe(400);
    expect(commands.every(({ problem }) => problem !== undefined)).toBe(true);
  });

  it('says what kept it from getting a code', async () => {
    expect(await (await served()).ask('POST', '/api/authorization/code')).toMatchObject({
      status: 503,
      body: { code: 'server_unreachable', hint: expect.stringMatching(/network/) },
    });
  });

  it('tells of changes as they come, and forgets who has gone', async () => {
    const { socketPath, listeners } = await served();
    const call = request({ socketPath, path: '/api/events' });
    const heard = new Promise<string>((resolve) => {
      call.on('response', (answer) => answer.once('data', (chunk) => resolve(String(chunk))));
    });
    call.end();
    await expect.poll(() => listeners.size).toBe(1);
    for (const listener of listeners) listener('state', { target: 'porch' });
    expect(await heard).toBe('event: state\ndata: {"target":"porch"}\n\n');
    call.destroy();
    await expect.poll(() => listeners.size).toBe(0);
  });

  it('forgets who a lamp is, and tells lamps from what is none', async () => {
    const { ask } = await served();
    expect(await ask('POST', '/api/lights/porch/forget')).toEqual({
      status: 200,
      body: { target: 'porch', forgotten: true },
    });
    expect(await ask('POST', '/api/lights/prch/forget')).toMatchObject({
      status: 404,
      body: { code: 'unknown_target' },
    });
    expect(await ask('POST', '/api/lights/full/forget')).toMatchObject({
      status: 503,
      body: { code: 'state_unusable' },
    });
    expect((await ask('GET', '/api/lights/porch/forget')).status).not.toBe(200);
  });

  it('streams a scan for as long as it was asked, and stops listening with its client', async () => {
    const { scanners, socketPath } = await served();
    const events: string[] = [];
    const stop = new AbortController();
    const listen = (seconds: number): Promise<boolean> =>
      streamDaemon([`${socketPath}.gone`, socketPath], `/api/scan?seconds=${seconds}`, (event) => events.push(event), {
        timeoutMs: 5000,
        signal: stop.signal,
      });
    expect(await listen(1)).toBe(true);
    expect(events).toEqual(['scan', 'end']);
    expect(scanners.size).toBe(0);
    const long = listen(300);
    await expect.poll(() => scanners.size).toBe(1);
    stop.abort();
    expect(await long).toBe(true);
    await expect.poll(() => scanners.size).toBe(0);
  });

  it('refuses a fifth scan and seconds that are none; a stream tells nobody, false and refusals apart', async () => {
    const { scanners, socketPath } = await served();
    const stop = new AbortController();
    const listen = (path: string, sockets = [socketPath]): Promise<boolean> =>
      streamDaemon(sockets, path, () => undefined, { timeoutMs: 5000, signal: stop.signal });
    const four = [1, 2, 3, 4].map(() => listen('/api/scan?seconds=9'));
    await expect.poll(() => scanners.size).toBe(4);
    await expect(listen('/api/scan')).rejects.toMatchObject({ code: 'busy' });
    await expect(listen('/api/scan?seconds=301')).rejects.toMatchObject({ code: 'wrong_use' });
    await expect(listen('/api/nothing')).rejects.toMatchObject({ code: 'daemon_unreachable' });
    expect(await listen('/api/scan', [`${socketPath}.gone`])).toBe(false);
    stop.abort();
    await Promise.all(four);
  });
});

function localApiThatIsNeverAsked(): ReturnType<typeof localApi> {
  const never = (): never => {
    throw new PorchlightError('internal');
  };
  return localApi({
    status: never,
    lights: never,
    forget: never,
    handle: never,
    requestCode: never,
    revoke: never,
    logLevel: { now: never, set: never },
    watch: never,
    scan: never,
    clock,
    log: createLog('silent'),
  });
}
