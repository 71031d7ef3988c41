import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lastRecords } from '../../src/access/audit/show.ts';
import { verifyTrail } from '../../src/access/audit/verify.ts';
import { realFileSystem } from '../../src/storage/file-system.ts';
import { porchlight } from '../support/daemon.ts';
import { approve, HALL, type Home, PORCH, senderFor, startHome } from '../support/home.ts';
import { mosquittoMissing } from '../support/mosquitto.ts';
import type { Sender } from '../support/sender.ts';

// biome-ignore lint/suspicious/noExplicitAny: a test reads whatever the program prints, and fails where it is something else
type Json = any;

describe.skipIf(mosquittoMissing() !== undefined)('SIGHUP', () => {
  let home: Home;
  let sender: Sender;
  let token: string;

  beforeAll(async () => {
    home = await startHome({ config: { log: { level: 'info' } } });
    await approve(home);
    sender = await senderFor(home);
    token = await home.server.tokenFor();
  });
  afterAll(async () => {
    await sender?.close();
    await home?.close();
  });

  const trail = async (): Promise<readonly Json[]> =>
    (await lastRecords(home.daemon.stateDirectory, 1000, realFileSystem))?.records ?? [];
  const last = async (event: string): Promise<Json> => (await trail()).findLast((one) => one.event === event);
  /** On record within a moment: a loaded disk takes its time. */
  async function recorded(event: string, more: Json): Promise<void> {
    for (const end = performance.now() + 5_000; ; ) {
      const found = await last(event);
      if (found !== undefined && Object.entries(more).every(([name, value]) => isDeepStrictEqual(found[name], value)))
        return;
      if (performance.now() > end) expect(found).toMatchObject(more);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  const grant = async (): Promise<Json> =>
    JSON.parse(await readFile(join(home.daemon.stateDirectory, 'authorization.json'), 'utf8'));

  /** SIGHUP with this file; resolves when another gateway of the same process has started. */
  async function reload(more: Json): Promise<void> {
    const { started_at } = await home.daemon.status();
    await home.daemon.configure({ ...home.config, log: { level: 'info' }, ...more });
    home.daemon.kill('SIGHUP');
    await home.daemon.until(
      (status) =>
        status.started_at !== started_at && status.broker.connected && status.authorization.state === 'authorized',
      'reloaded',
    );
  }
  async function said(text: string): Promise<void> {
    for (const end = performance.now() + 5_000; !home.daemon.stderr.includes(text); ) {
      if (performance.now() > end) throw new Error(`not in the log: ${text}\n${home.daemon.stderr.slice(-2000)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  it('takes up other lamps and another policy, keeps the grant, and says so in the trail', async () => {
    const { pid } = home.daemon;
    const before = await grant();
    expect((await sender.command('attic', { state: 'ON' }, { token })).code).toBe('unknown_target');
    expect((await sender.command('hall', { state: 'ON' }, { local: true })).code).toBe('policy');
    await reload({
      access: { audience: 'https://porchlight.example/porch-pi', max_age: '10s', unsigned: { lights: ['hall'] } },
      lights: [
        { id: 'attic', address: PORCH },
        { id: 'hall', address: HALL },
      ],
      groups: [],
      scenes: [],
    });
    expect((await sender.command('attic', { state: 'ON' }, { token })).outcome).toBe('confirmed');
    expect((await sender.command('hall', { state: 'ON' }, { local: true })).outcome).toBe('assumed');
    expect((await sender.command('porch', { state: 'ON' }, { token })).code).toBe('unknown_target');
    expect(home.daemon.pid).toBe(pid);
    expect((await grant()).refresh_token).toBe(before.refresh_token);
    await recorded('configuration_reloaded', {
      by: 'local',
      changed: ['access', 'groups', 'lights', 'scenes'],
    });
    await recorded('stopped', { why: 'reload' });
    expect((await last('started')).unclean).toBeUndefined();
  });

  it('takes up other principals: who may no longer command is refused from then on', async () => {
    const access = { audience: 'https://porchlight.example/porch-pi', max_age: '10s' };
    await reload({ access: { ...access, principals: ['somebody'] } });
    expect((await sender.command('porch', { state: 'ON' }, { token })).code).toBe('principal_unknown');
    await reload({ access: { ...access, principals: ['owner'] } });
    expect((await sender.command('porch', { state: 'ON' }, { token })).outcome).toBe('confirmed');
    expect((await trail()).find(({ code }) => code === 'principal_unknown')).toMatchObject({ decision: 'deny' });
  });

  it('gives every command that is under way its outcome, on record too', async () => {
    await reload({
      lights: [
        { id: 'porch', address: PORCH },
        { id: 'hall', address: HALL },
        { id: 'cellar', address: 'be:ff:20:00:11:99' },
      ],
    });
    const waiting = sender.command('cellar', { state: 'ON', id: 'under-way' }, { token });
    await home.daemon.until(({ links }) => links !== undefined, 'status');
    await new Promise((resolve) => setTimeout(resolve, 300));
    await reload({});
    expect(await waiting).toMatchObject({ id: 'under-way', outcome: 'failed', code: 'stopping' });
    const all = await trail();
    const allowed = all.find(({ id }) => id === 'under-way');
    expect(all.find(({ of }) => of === allowed.seq)).toMatchObject({ outcome: 'failed', code: 'stopping' });
  });

  it('refuses a wrong file: the old one stays, and the trail tells', async () => {
    const { started_at } = await home.daemon.status();
    await writeFile(home.daemon.configFile, 'lights: [{id: 7}]\nlihgts: 1\n');
    home.daemon.kill('SIGHUP');
    await said('the new configuration is wrong; the old one stays');
    expect((await home.daemon.status()).started_at).toBe(started_at);
    expect((await sender.command('porch', { state: 'OFF' }, { token })).outcome).toBe('confirmed');
    await home.daemon.configure({ ...home.config, log: { level: 'info' } });
    await recorded('configuration_refused', { by: 'local', code: 'config_invalid' });
  });

  it('goes back to the old file when the new one is well formed and can not be run', async () => {
    const held = join(home.daemon.folder, 'taken');
    await writeFile(held, 'a file where a folder should be');
    const whole = { ...home.config, gateway: { id: 'porch-pi', state_directory: held }, log: { level: 'info' } };
    await writeFile(home.daemon.configFile, JSON.stringify(whole));
    home.daemon.kill('SIGHUP');
    await said('the new configuration can not be run; the old one is started again');
    await home.daemon.until(
      ({ broker, authorization }) => broker.connected && authorization.state === 'authorized',
      'old one',
    );
    expect((await sender.command('porch', { state: 'ON' }, { token })).outcome).toBe('confirmed');
    await home.daemon.configure({ ...home.config, log: { level: 'info' } });
    await recorded('configuration_refused', { code: 'state_unusable' });
  });

  it('survives a volley of signals with good and bad files', async () => {
    for (let n = 0; n < 12; n += 1) {
      if (n % 3 === 0) await writeFile(home.daemon.configFile, 'nonsense');
      else
        await home.daemon.configure({
          ...home.config,
          log: { level: 'info' },
          mqtt: { ...(home.config['mqtt'] as Json), home_assistant: { enabled: n % 2 === 0 } },
        });
      home.daemon.kill('SIGHUP');
      await new Promise((resolve) => setTimeout(resolve, (n * 37) % 150));
    }
    await home.daemon.configure({ ...home.config, log: { level: 'info' } });
    home.daemon.kill('SIGHUP');
    // A reload may still be under way: then there is no socket for a moment, or the outcome is `stopping`.
    let code: Json = 'none';
    for (const end = performance.now() + 15_000; code !== undefined && performance.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      const outcome = await home.daemon.ask('POST', '/api/lights/porch/set', { state: 'OFF' }).catch(() => ({ code }));
      code = outcome.code;
    }
    expect(code).toBeUndefined();
    await home.daemon.until(({ broker }) => broker.connected, 'connected');
    expect(await verifyTrail(home.daemon.stateDirectory, realFileSystem)).toMatchObject({ ok: true });
  });

  it('changes the level of the log without a restart, and so does the verb at once; both are on record', async () => {
    const { started_at } = await home.daemon.status();
    const level = (...args: string[]) => porchlight(['log-level', ...args, '--config', home.daemon.configFile]);
    const levelIs = async (wanted: string): Promise<void> => {
      for (const end = performance.now() + 5_000; ; ) {
        const { level: now } = await home.daemon.ask('GET', '/api/log');
        if (now === wanted) return;
        if (performance.now() > end) throw new Error(`the level is ${now}, not ${wanted}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    await levelIs('info');
    await home.daemon.configure({ ...home.config, log: { level: 'warn' } });
    home.daemon.kill('SIGHUP');
    await levelIs('warn');
    await recorded('configuration_reloaded', { changed: ['log'] });
    expect((await level('trace')).stdout).toBe('trace (before: warn)\n');
    await recorded('log_level', { by: 'local', level: 'trace' });
    const from = home.daemon.stderr.length;
    await sender.command('porch', { state: 'ON' }, { token });
    await sender.command('hall', { state: 'ON' }, { token });
    expect(home.daemon.stderr.slice(from)).toContain('"outcome":"confirmed"');
    expect(home.daemon.stderr.includes(token.split('.')[2] ?? '?')).toBe(false);
    expect((await level('loud')).status).toBe(64);
    expect(await home.daemon.ask('POST', '/api/log', { level: 'loud' })).toMatchObject({ code: 'wrong_use' });
    home.daemon.kill('SIGHUP');
    await levelIs('warn');
    expect((await home.daemon.status()).started_at).toBe(started_at);
  });
});
