import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { lookAtClock, type ServerDate } from '../../src/doctor/clock.ts';
import { lookAtState, stateDirectory } from '../../src/doctor/state.ts';
import { createLog } from '../../src/log.ts';
import { StateDirectory } from '../../src/storage/state-directory.ts';
import { fakeMachine } from './machine.ts';

const uid = process.getuid?.() ?? 0;

describe('the state directory', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'porchlight-doctor-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const look = (path: string) => lookAtState(path, uid, '/proc');

  it('in order is ok, and the look leaves nothing behind', async () => {
    expect((await look(folder)).findings).toMatchObject([{ status: 'ok' }]);
    expect(await readdir(folder)).toEqual([]);
  });

  it('names the living process that holds it, and knows a lock that was left behind', async () => {
    const held = await StateDirectory.open(folder, { log: createLog('silent'), uid });
    expect(await look(folder)).toMatchObject({ holder: process.pid });
    await held.close();
    await writeFile(join(folder, 'lock'), JSON.stringify({ pid: 4_000_000, started: '1', nonce: 'x' }));
    expect(await look(folder)).toMatchObject({ holder: 'gone', findings: [{ status: 'ok' }] });
  });

  it("is the service's where that runs, whoever looks; else the configured one", async () => {
    const places = { serviceState: folder, proc: '/proc' };
    expect(await stateDirectory('/root/.local/state/porchlight', places)).toBe('/root/.local/state/porchlight');
    const held = await StateDirectory.open(folder, { log: createLog('silent'), uid });
    expect(await stateDirectory('/root/.local/state/porchlight', places)).toBe(folder);
    await held.close();
    expect(await stateDirectory('/elsewhere', places)).toBe('/elsewhere');
    expect(await stateDirectory('/elsewhere', { ...places, serviceState: join(folder, 'nowhere') })).toBe('/elsewhere');
  });

  it('that others may enter, that is a file, or a symbolic link, is named with its cure', async () => {
    await chmod(folder, 0o755);
    expect((await look(folder)).findings).toMatchObject([{ status: 'warn', cure: `chmod 0700 ${folder}` }]);
    const file = join(folder, 'file');
    await writeFile(file, '');
    expect((await look(file)).findings).toMatchObject([{ status: 'fail', code: 'state_unusable' }]);
    await symlink(folder, join(folder, 'link'));
    expect((await look(join(folder, 'link'))).findings).toMatchObject([{ status: 'fail' }]);
  });

  it('that is not there yet is no failure', async () => {
    expect((await look(join(folder, 'a', 'b', 'c'))).findings).toMatchObject([{ status: 'warn' }]);
  });

  it.skipIf(uid !== 0)('on a full disk fails', async () => {
    const disk = join(folder, 'disk');
    await mkdir(disk);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'none', disk], { stdio: 'pipe' });
    } catch {
      // Not every machine lets root mount; then there is no full disk to look at.
      return;
    }
    try {
      await writeFile(join(disk, 'full'), Buffer.alloc(64 * 1024)).catch(() => undefined);
      const { findings } = await look(disk);
      expect(findings).toMatchObject([{ status: 'fail', code: 'state_unusable' }]);
      expect(findings[0]?.message).toMatch(/full/);
    } finally {
      execFileSync('umount', [disk]);
    }
  });
});

describe('the clock', () => {
  let places: Awaited<ReturnType<typeof fakeMachine>>;
  let synchronised: Awaited<ReturnType<typeof fakeMachine>>;
  beforeAll(async () => {
    places = await fakeMachine({ 'proc/99/comm': 'chronyd\n' });
    synchronised = await fakeMachine({ 'run/systemd/timesync/synchronized': '' });
  });
  afterAll(() => Promise.all([places.remove(), synchronised.remove()]));

  const look = async (
    options: {
      trust?: 'auto' | 'system';
      wall?: number;
      server?: Partial<ServerDate>;
      at?: typeof places;
      needed?: boolean;
      mark?: number;
    } = {},
  ) => {
    const { trust = 'auto', wall = Date.UTC(2026, 10, 24), at = places, needed = true } = options;
    if (options.mark !== undefined)
      await writeFile(join(at.root, 'clock.json'), JSON.stringify({ wall: options.mark }));
    const server = options.server && {
      header: new Date(wall).toUTCString(),
      ahead: 0,
      verified: true,
      ...options.server,
    };
    const clock = { wall: () => wall, monotonic: () => performance.now() };
    const findings = await lookAtClock(trust, {
      clock,
      places: at,
      stateDirectory: at.root,
      server,
      daemon: undefined,
      needed,
    });
    await rm(join(at.root, 'clock.json'), { force: true });
    return findings[0];
  };

  it('that nobody has set is not trusted, and it is said who could have', async () => {
    expect(await look()).toMatchObject({
      status: 'fail',
      code: 'clock_untrusted',
      message: expect.stringMatching(/chronyd runs/),
    });
    expect(await look({ needed: false })).toMatchObject({ status: 'warn' });
    expect(await look({ wall: 0, at: synchronised })).toMatchObject({
      status: 'fail',
      message: expect.stringMatching(/1970/),
    });
  });

  it('is trusted when it is synchronised, when TLS proves the time, or when the configuration says so', async () => {
    expect(await look({ at: synchronised })).toMatchObject({ status: 'ok' });
    expect(await look({ server: {} })).toMatchObject({ status: 'ok' });
    expect(await look({ server: { verified: false } })).toMatchObject({ status: 'fail' });
    expect(await look({ trust: 'system' })).toMatchObject({ status: 'ok' });
  });

  it('that was set back, or is off a server by more than a minute, fails whatever else is said of it', async () => {
    const mark = Date.UTC(2026, 11, 24);
    expect(await look({ at: synchronised, mark })).toMatchObject({
      status: 'fail',
      message: expect.stringMatching(/set back/),
    });
    expect(await look({ trust: 'system', server: { ahead: -90_000 } })).toMatchObject({
      status: 'fail',
      message: expect.stringMatching(/90 s behind/),
    });
  });
});
