import { appendFile, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lastRecords } from '../../src/access/audit/show.ts';
import { realFileSystem } from '../../src/storage/file-system.ts';
import { porchlight } from '../support/daemon.ts';
import { approve, type Home, senderFor, startHome } from '../support/home.ts';
import { mosquittoMissing } from '../support/mosquitto.ts';
import type { Sender } from '../support/sender.ts';

// biome-ignore lint/suspicious/noExplicitAny: a test reads whatever the program prints, and fails where it is something else
type Json = any;

describe.skipIf(mosquittoMissing() !== undefined)('the audit trail of a real gateway', () => {
  let home: Home;
  let sender: Sender;
  let token: string;

  const config = (): string[] => ['--config', home.daemon.configFile];
  const file = (): string => join(home.daemon.stateDirectory, 'audit.jsonl');
  const records = async (): Promise<Json[]> => [
    ...((await lastRecords(home.daemon.stateDirectory, 100_000, realFileSystem))?.records ?? []),
  ];
  const verify = () => porchlight(['audit', 'verify', ...config()]);
  const start = async (): Promise<void> => {
    home.daemon.start();
    await home.daemon.until(
      ({ authorization, broker, lights }) =>
        authorization.state === 'authorized' && broker.connected && lights.every(({ available }: Json) => available),
      'running',
    );
  };
  const until = async (good: (all: Json[]) => boolean, what: string): Promise<Json[]> => {
    for (let tries = 0; tries < 40; tries += 1) {
      const all = await records();
      if (good(all)) return all;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`not on record: ${what}\n${JSON.stringify((await records()).slice(-5), null, 1)}`);
  };

  beforeAll(async () => {
    home = await startHome({ config: { log: { level: 'trace' } } });
    await approve(home);
    await home.daemon.until(({ lights }) => lights.every(({ available }: Json) => available), 'lamps');
    sender = await senderFor(home);
    token = await home.server.tokenFor();
  });
  afterAll(async () => {
    await sender?.close();
    await home?.close();
  });

  it('tells of the approval: that a code was shown, not which, and who approved', async () => {
    const all = await records();
    expect(all.map(({ event }) => event)).toEqual(expect.arrayContaining(['started', 'code_shown', 'approved']));
    expect(all.find(({ event }) => event === 'approved')).toMatchObject({ by: 'owner' });
  });

  it('tells of each command who, what, how it was decided and what became of it, by whichever way it came', async () => {
    const { client_id: client } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    await sender.command('porch', { state: 'ON', brightness: 90, id: 'first' }, { token });
    await sender.command('hall', { state: 'ON' }, { token });
    await sender.command('scene/movie', {}, { token });
    await sender.command('nowhere', { state: 'ON' }, { token });
    await home.daemon.ask('POST', '/api/lights/porch/set', { state: 'OFF' });
    await sender.command('porch', { state: 'ON' }, { local: true });
    await sender.command('porch', { state: 'ON' }, { token: `${token.slice(0, -6)}AAAAAA` });
    await sender.command('porch', { stat: 'ON' }, { token });
    const all = await until((found) => found.filter(({ event }) => event === 'outcome').length >= 6, 'outcomes');
    const story = all
      .filter(({ event }) => event === 'command')
      .map(({ seq, by, via, target, decision, outcome, code }) => {
        const later = all.find(({ event, of }) => event === 'outcome' && of === seq);
        return [by, via, target, decision, outcome ?? later?.outcome, code ?? later?.code];
      });
    expect(story).toEqual([
      ['owner', 'bearer', 'porch', 'allow', 'confirmed', undefined],
      ['owner', 'bearer', 'hall', 'allow', 'assumed', undefined],
      ['owner', 'bearer', 'scene/movie', 'allow', expect.stringMatching(/confirmed|assumed/), undefined],
      ['owner', 'bearer', 'nowhere', 'allow', 'failed', 'unknown_target'],
      ['local', 'local', 'porch', 'allow', 'confirmed', undefined],
      ['broker', 'broker', 'porch', 'deny', 'denied', 'policy'],
      ['unknown', 'bearer', 'porch', 'deny', 'denied', 'token_invalid'],
      ['owner', 'bearer', 'porch', 'allow', 'failed', 'bad_command'],
    ]);
    expect(all.find(({ id }) => id === 'first')).toMatchObject({
      client,
      change: { state: 'ON', brightness: 90 },
    });
  });

  it('has the decision before the lamp has the bytes', async () => {
    const from = (await home.air.written()).length;
    await sender.command('porch', { brightness: 33 }, { token });
    const [first] = (await home.air.written()).slice(from);
    const found = (await records()).findLast(({ change }) => change?.brightness === 33);
    expect(found.decision).toBe('allow');
    expect(first).toBeDefined();
  });

  it('is told to people and to programs, and verified beside the running gateway', async () => {
    const shown = await porchlight(['audit', 'show', '--lines', '3', ...config()]);
    expect(shown.stderr).toBe('');
    const lines = shown.stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^TIME \(UTC\) +WHO +WHAT +DECISION +OUTCOME$/);
    expect(lines).toHaveLength(4);
    expect(lines.at(-1)).toMatch(
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +owner by \S+ +porch brightness 33 +allow +confirmed$/,
    );
    const { records: told } = JSON.parse((await porchlight(['audit', 'show', '--json', ...config()])).stdout);
    expect(told).toEqual((await records()).slice(-50));
    const verified = await verify();
    expect(verified).toMatchObject({ status: 0, stderr: '' });
    expect(verified.stdout).toMatch(/is whole: \d+ records, 1 to \d+\./);
    for (const args of [
      ['--lines', '0'],
      ['--lines', 'x'],
    ])
      expect((await porchlight(['audit', 'show', ...args, ...config()])).status).toBe(64);
    expect((await porchlight(['audit', 'verify'], { HOME: '/nonexistent' })).status).toBe(69);
  });

  it('stays small under a flood of refused commands, and forgets no allowed one', async () => {
    const before = (await stat(file())).size;
    for (let n = 0; n < 2_000; n += 1)
      sender.client.publish('porchlight/porch/set', JSON.stringify({ state: 'ON' }), {
        properties: { userProperties: { authorization: `Bearer ${token.slice(0, -8)}${10_000_000 + n}` } },
      });
    const outcome = await sender.command('hall', { state: 'OFF' }, { token });
    expect(outcome.outcome).toBe('assumed');
    await home.daemon.until(({ counts }) => counts.denied >= 2_000, 'all refused');
    expect((await stat(file())).size - before).toBeLessThan(5_000);
    const all = await records();
    expect(all.findLast(({ decision }) => decision === 'allow')).toMatchObject({ target: 'hall' });
  });

  it('survives being killed under load: what was accepted is on record, and verify is content', async () => {
    const load = setInterval(() => {
      for (const target of ['porch', 'hall'])
        sender.client.publish(
          `porchlight/${target}/set`,
          JSON.stringify({ brightness: Math.ceil(Math.random() * 255) }),
          {
            properties: { userProperties: { authorization: `Bearer ${token}` } },
          },
        );
    }, 5);
    await new Promise((resolve) => setTimeout(resolve, 600));
    home.daemon.kill('SIGKILL');
    await home.daemon.exit;
    clearInterval(load);
    // What a power cut may leave besides.
    await appendFile(file(), '{"at":"2026-01-01T00:0');
    const dead = await verify();
    expect(dead.status).toBe(0);
    expect(dead.stdout).toContain('The last line has no end (22 bytes)');
    await start();
    const all = await records();
    const again = all.findLastIndex(({ event }) => event === 'started');
    expect(all[again]).toMatchObject({ unclean: true });
    expect(all[again - 1]).toMatchObject({ event: 'repaired', bytes: 23 });
    expect(home.daemon.stderr).toContain('the audit trail was damaged; a record says so');
    expect(await verify()).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('One torn line is accounted for'),
    });
  });

  it('names what was tampered with, and ends with 1', async () => {
    await home.daemon.stop();
    const good = await readFile(file(), 'utf8');
    const lines = good.split('\n');
    expect(lines.at(-2)).toContain('"event":"stopped"');
    const victim = lines.findIndex((line) => line.includes('"deny"'));
    const { seq } = JSON.parse(lines[victim] ?? '');
    await writeFile(file(), lines.with(victim, (lines[victim] ?? '').replace('"deny"', '"allow"')).join('\n'));
    const changed = await verify();
    expect(changed.status).toBe(1);
    expect(changed.stderr).toContain(`Record ${seq} (audit.jsonl:${victim + 1}): it was changed`);
    await writeFile(file(), lines.toSpliced(victim, 1).join('\n'));
    const removed = await verify();
    expect(removed.status).toBe(1);
    expect(removed.stderr).toContain(`record ${seq} is missing`);
    await writeFile(file(), lines.slice(0, -3).join('\n').concat('\n'));
    expect(await verify()).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/records? \d+.* missing at its end/),
    });
    const told = JSON.parse((await porchlight(['audit', 'verify', '--json', ...config()])).stdout);
    expect(told).toMatchObject({ ok: false, count: 1, flaws: [{ file: 'audit.jsonl' }] });
    await writeFile(file(), good);
    expect((await verify()).status).toBe(0);
  });

  it('holds no token and no code, and neither does the log at its loudest', async () => {
    const stored = JSON.parse(await readFile(join(home.daemon.stateDirectory, 'authorization.json'), 'utf8'));
    const trail = await readFile(file(), 'utf8');
    const signature = token.split('.')[2] ?? '';
    for (const secret of [token, signature, stored.access_token, stored.refresh_token]) {
      expect(secret).toEqual(expect.any(String));
      expect(trail.includes(secret)).toBe(false);
      expect(home.daemon.stderr.includes(secret)).toBe(false);
    }
    const [code = ''] = /\b[A-Z]{4}-[A-Z]{4}\b/.exec(home.daemon.stdout) ?? [];
    expect(code).not.toBe('');
    expect(trail.includes(code)).toBe(false);
    expect(home.daemon.stderr.includes(code)).toBe(false);
  });
});
