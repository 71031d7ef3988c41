import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PorchlightError } from '../../src/errors.ts';
import { type FileSystem, realFileSystem } from '../../src/storage/file-system.ts';
import { StateDirectory, type StateDirectoryOptions } from '../../src/storage/state-directory.ts';
import { keptLog } from '../support/log.ts';

let parent: string;
let folder: string;
beforeEach(async () => {
  parent = await fs.mkdtemp(join(tmpdir(), 'porchlight-state-'));
  folder = join(parent, 'a', 'state');
});
afterEach(() => fs.rm(parent, { recursive: true, force: true }));

const mode = async (path: string) => ((await fs.stat(path)).mode & 0o777).toString(8);

async function open(options: Partial<StateDirectoryOptions> = {}) {
  const { log, lines } = keptLog();
  return { directory: await StateDirectory.open(folder, { log, uid: process.getuid?.() ?? 0, ...options }), lines };
}

/** A file system whose n-th call (of its own, or of a file opened through it) fails. `calls` counts them. */
function failing(n: number, code: string): { readonly fs: FileSystem; calls: number } {
  const state = { fs: realFileSystem, calls: 0 };
  const counted = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(object, name) {
        const member: unknown = Reflect.get(object, name);
        if (typeof member !== 'function') return member;
        return async (...args: unknown[]) => {
          state.calls += 1;
          // A real close frees the descriptor even when it reports an error.
          if (state.calls === n && name !== 'close') throw Object.assign(new Error(code), { code });
          const result: unknown = await Reflect.apply(member, object, args);
          if (state.calls === n && name === 'close') throw Object.assign(new Error(code), { code });
          return name === 'open' ? counted(result as fs.FileHandle) : result;
        };
      },
    });
  state.fs = counted({ ...realFileSystem });
  return state;
}

describe('the state directory', () => {
  it('is made with those above it, for this user alone', async () => {
    const { directory, lines } = await open();
    expect(await mode(folder)).toBe('700');
    expect(await mode(join(parent, 'a'))).toBe('700');
    expect(lines).toEqual([]);
    await directory.close();
  });

  it('has its mode repaired when others could look in, and says so', async () => {
    await fs.mkdir(folder, { recursive: true });
    await fs.chmod(folder, 0o777);
    const { directory, lines } = await open();
    expect(await mode(folder)).toBe('700');
    expect(lines).toEqual([expect.stringContaining('0700 again')]);
    await directory.close();
  });

  it('is refused as a symbolic link, as a file, and under another owner', async () => {
    await fs.mkdir(join(parent, 'a'));
    await fs.symlink(parent, folder);
    await expect(open()).rejects.toMatchObject({
      code: 'state_unusable',
      message: expect.stringContaining('symbolic link'),
    });
    await fs.unlink(folder);
    await fs.writeFile(folder, '');
    await expect(open()).rejects.toMatchObject({ code: 'state_unusable' });
    await fs.unlink(folder);
    const { uid } = await fs.stat(parent);
    await expect(open({ uid: uid + 1 })).rejects.toMatchObject({
      code: 'state_unusable',
      message: `${folder}: it belongs to another user (uid ${uid}, not ${uid + 1}).`,
    });
  });

  // systemd.exec(5), DynamicUser=: /var/lib/NAME is root's link to private/NAME. Only root can make such a link.
  it.runIf(process.getuid?.() === 0)("may be systemd's own link to private/NAME", async () => {
    await fs.mkdir(join(parent, 'a', 'private', 'state'), { recursive: true });
    await fs.symlink('private/state', folder);
    const { directory } = await open();
    await directory.file('x.json').save(1);
    expect(await fs.readFile(join(parent, 'a', 'private', 'state', 'x.json'), 'utf8')).toBe('1\n');
    await directory.close();
  });

  it.each([
    ['ENOSPC', 'the disk is full'],
    ['EROFS', 'the disk is read-only'],
    ['EACCES', 'this user may not write there'],
    ['EIO', 'the disk reports errors'],
    ['EWEIRD', 'it cannot be used (EWEIRD)'],
  ])('that cannot be made for %s says so in words, with its path', async (code, words) => {
    await expect(open({ fs: failing(1, code).fs })).rejects.toMatchObject({
      code: 'state_unusable',
      message: expect.stringMatching(new RegExp(`^${folder}: ${words.replace(/[()]/g, '\\$&')}`)),
    });
  });

  it('lets go of the lock whichever call of opening fails', async () => {
    const counter = failing(0, '');
    await (await open({ fs: counter.fs })).directory.close();
    expect(counter.calls).toBeGreaterThan(10);
    for (let n = 1; n <= counter.calls; n++) {
      const attempt = await open({ fs: failing(n, 'EIO').fs })
        .then(
          ({ directory }) => directory.close(),
          (error: unknown) => error,
        )
        .catch((error: unknown) => error);
      if (attempt !== undefined)
        expect(attempt).toMatchObject({ code: expect.stringMatching(/^state_(unusable|locked)$/) });
      // Whatever went wrong, another process is not kept out for ever: here the holder counts as gone.
      await fs.rm(join(folder, 'lock'), { force: true });
      await (await open()).directory.close();
    }
  });
});

describe('a state file', () => {
  it('gives back what was saved, also to the next start', async () => {
    const first = await open();
    const file = first.directory.file('grant.json');
    expect(await file.load()).toBeUndefined();
    await file.save({ refresh_token: 'r', list: [1, null, 'ü\u2028'] });
    expect(await mode(join(folder, 'grant.json'))).toBe('600');
    await first.directory.close();
    const second = await open();
    expect(await second.directory.file('grant.json').load()).toEqual({
      refresh_token: 'r',
      list: [1, null, 'ü\u2028'],
    });
    await second.directory.file('grant.json').clear();
    await second.directory.file('grant.json').clear();
    expect(await second.directory.file('grant.json').load()).toBeUndefined();
    await second.directory.close();
  });

  it('holds any JSON value', async () => {
    const { directory } = await open();
    const file = directory.file('any.json');
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (value) => {
        await file.save(value);
        expect(await file.load()).toEqual(JSON.parse(JSON.stringify(value)));
      }),
      { numRuns: 30 },
    );
    await directory.close();
  });

  it('is written in the order of the calls, each value as it was at its call', async () => {
    const { directory } = await open();
    const file = directory.file('x.json');
    const value = { n: 0 };
    const saves = Array.from({ length: 20 }, (_, n) => {
      value.n = n;
      return file.save(value);
    });
    const seen = file.load();
    value.n = 99;
    await Promise.all(saves);
    expect(await seen).toEqual({ n: 19 });
    await directory.close();
  });

  it.each(['ENOSPC', 'EIO', 'EMFILE'])('keeps its old content whichever call of a save fails with %s', async (code) => {
    const counter = failing(0, '');
    const measured = await open({ fs: counter.fs });
    await measured.directory.file('x.json').save('old');
    const before = counter.calls;
    await measured.directory.file('x.json').save('new');
    const calls = counter.calls - before;
    await measured.directory.close();
    expect(calls).toBeGreaterThanOrEqual(7);

    for (let n = 1; n <= calls; n++) {
      const probe = failing(before + n, code);
      // The first save of this run makes as many calls as the measured one did.
      await fs.rm(folder, { recursive: true, force: true });
      const { directory } = await open({ fs: probe.fs });
      const file = directory.file('x.json');
      await file.save('old');
      const outcome = await file.save('new').then(
        () => 'saved',
        (error: unknown) => error,
      );
      expect(outcome, `call ${n}`).toBeInstanceOf(PorchlightError);
      expect(outcome).toMatchObject({
        code: 'state_unusable',
        message: expect.stringContaining(join(folder, 'x.json')),
      });
      // Only once the new content has its name can it be there; that is the folder's fsync and close, the last two calls.
      expect(await file.load(), `call ${n}`).toBe(n > calls - 2 ? 'new' : 'old');
      await file.save('newer');
      expect(await file.load()).toBe('newer');
      await directory.close();
      const left = (await fs.readdir(folder)).filter((name) => name !== 'x.json');
      expect(left.length).toBeLessThanOrEqual(1);
      await (await open()).directory.close();
      expect(await fs.readdir(folder)).toEqual(['x.json']);
    }
  });

  it.each<[string, string | Uint8Array]>([
    ['empty', ''],
    ['torn', '{"refresh_token":"secret-r'],
    ['of zeros, as after a power cut', new Uint8Array(4096)],
    ['not text', new Uint8Array([0x22, 0xff, 0xfe, 0x22])],
    ['huge', `"${'x'.repeat(2_000_000)}"`],
  ])('that is %s is moved aside and taken as absent, without quoting it', async (_, content) => {
    await fs.mkdir(folder, { recursive: true });
    await fs.writeFile(join(folder, 'grant.json'), content, { mode: 0o600 });
    const { directory, lines } = await open();
    expect(await directory.file('grant.json').load()).toBeUndefined();
    const aside = await fs.readFile(join(folder, 'grant.json.corrupt-1'));
    expect(aside.equals(Buffer.from(content))).toBe(true);
    expect(lines.join('')).toContain('grant.json.corrupt-1');
    expect(lines.join('')).not.toContain('secret-r');
    await directory.file('grant.json').save(1);
    expect(await directory.file('grant.json').load()).toBe(1);
    await directory.close();
  });

  it.each<[string, string | Uint8Array]>([
    ['torn', '{"refresh_token":"secret-r'],
    ['huge', `"${'x'.repeat(5_000_000)}"`],
    ['of zeros', new Uint8Array(4096)],
  ])(
    'that is %s is left where it is when "absent" would be dangerous to believe, until it is replaced',
    async (_, content) => {
      await fs.mkdir(folder, { recursive: true });
      await fs.writeFile(join(folder, 'grant.json'), content, { mode: 0o600 });
      const { directory, lines } = await open();
      const file = directory.file('grant.json', { ifDamaged: 'reject' });
      for (let start = 0; start < 2; start += 1)
        await expect(file.load()).rejects.toMatchObject({
          code: 'state_unusable',
          message: expect.stringMatching(/grant\.json: it is damaged\. It was left as it is\.$/),
        });
      expect(lines.join('')).not.toContain('secret-r');
      expect((await fs.readFile(join(folder, 'grant.json'))).equals(Buffer.from(content))).toBe(true);
      await file.save(1);
      expect(await file.load()).toBe(1);
      await directory.close();
    },
  );

  it.runIf(process.getuid?.() === 0)(
    'that belongs to another user is not believed, and is named with its owner',
    async () => {
      const { directory } = await open();
      await fs.writeFile(join(folder, 'x.json'), '5', { mode: 0o600 });
      await fs.chown(join(folder, 'x.json'), 12_345, 12_345);
      await expect(directory.file('x.json').load()).rejects.toMatchObject({
        code: 'state_unusable',
        message: `${join(folder, 'x.json')}: it belongs to another user (uid 12345, not 0).`,
      });
      await directory.close();
    },
  );

  it('leaves at most five damaged copies behind', async () => {
    const { directory } = await open();
    for (let n = 0; n < 8; n++) {
      await fs.writeFile(join(folder, 'x.json'), `{${n}`);
      expect(await directory.file('x.json').load()).toBeUndefined();
    }
    const names = await fs.readdir(folder);
    expect(names.filter((name) => name.includes('corrupt')).sort()).toEqual(
      [1, 2, 3, 4, 5].map((n) => `x.json.corrupt-${n}`),
    );
    await directory.close();
  });

  it('that others could read gets its mode back, and says so', async () => {
    const { directory, lines } = await open();
    await fs.writeFile(join(folder, 'x.json'), '5', { mode: 0o644 });
    await fs.chmod(join(folder, 'x.json'), 0o644);
    expect(await directory.file('x.json').load()).toBe(5);
    expect(await mode(join(folder, 'x.json'))).toBe('600');
    expect(lines).toEqual([expect.stringContaining('0600 again')]);
    await directory.close();
  });

  it('is not followed elsewhere, and is no folder', async () => {
    const { directory } = await open();
    await fs.writeFile(join(parent, 'elsewhere'), '5');
    await fs.symlink(join(parent, 'elsewhere'), join(folder, 'x.json'));
    await expect(directory.file('x.json').load()).rejects.toMatchObject({
      code: 'state_unusable',
      message: expect.stringContaining('symbolic link'),
    });
    // Saving replaces the link itself.
    await directory.file('x.json').save(6);
    expect(await fs.readFile(join(parent, 'elsewhere'), 'utf8')).toBe('5');
    await fs.mkdir(join(folder, 'y.json'));
    await expect(directory.file('y.json').load()).rejects.toMatchObject({ code: 'state_unusable' });
    await expect(directory.file('y.json').save(1)).rejects.toMatchObject({ code: 'state_unusable' });
    await directory.close();
  });

  it('refuses what is no JSON or too much of it, and keeps what it had', async () => {
    const { directory } = await open();
    const file = directory.file('x.json');
    await file.save('old');
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    await expect(file.save(circle)).rejects.toBeInstanceOf(PorchlightError);
    await expect(file.save(undefined)).rejects.toBeInstanceOf(PorchlightError);
    await expect(file.save('x'.repeat(2_000_000))).rejects.toMatchObject({ code: 'state_unusable' });
    expect(await file.load()).toBe('old');
    await directory.close();
  });

  it.each(['', '.', '..', 'lock', '../x', 'a/b', '/etc/passwd', '.hidden', 'X.json', 'x'.repeat(65), 'a\0b'])(
    'is never named %j',
    async (name) => {
      const { directory } = await open();
      expect(() => directory.file(name)).toThrow(PorchlightError);
      await directory.close();
    },
  );

  it('is finished before the directory is closed, and not written afterwards', async () => {
    const { directory } = await open();
    const file = directory.file('x.json');
    const saving = file.save('last');
    await directory.close();
    await directory.close();
    await saving;
    await expect(file.save('too late')).rejects.toMatchObject({
      code: 'state_unusable',
      message: expect.stringContaining('closed'),
    });
    expect(await fs.readFile(join(folder, 'x.json'), 'utf8')).toBe('"last"\n');
  });

  it('says so when the directory was removed under it', async () => {
    const { directory } = await open();
    await fs.rm(folder, { recursive: true });
    await expect(directory.file('x.json').save(1)).rejects.toMatchObject({
      code: 'state_unusable',
      message: expect.stringContaining('removed'),
    });
    await directory.close();
  });
});

describe('left-over files', () => {
  it('of an interrupted save are removed at the next start; all else stays', async () => {
    await fs.mkdir(folder, { recursive: true, mode: 0o700 });
    const stays = ['audit.jsonl', 'grant.json', '.grant.json.tmp-x', 'notes.tmp'];
    for (const name of [...stays, '.grant.json.tmp-0123456789abcdef'])
      await fs.writeFile(join(folder, name), '1', { mode: 0o600 });
    const { directory, lines } = await open();
    await directory.close();
    expect((await fs.readdir(folder)).sort()).toEqual(stays.sort());
    expect(lines).toEqual([expect.stringContaining('interrupted save')]);
  });
});
