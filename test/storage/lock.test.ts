import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FileSystem, realFileSystem } from '../../src/storage/file-system.ts';
import { takeLock } from '../../src/storage/lock.ts';
import { StateDirectory } from '../../src/storage/state-directory.ts';
import { keptLog } from '../support/log.ts';

let root: string;
let folder: string;
beforeEach(async () => {
  root = await fs.mkdtemp(join(tmpdir(), 'porchlight-lock-'));
  folder = join(root, 'state');
  await fs.mkdir(folder);
});
afterEach(() => fs.rm(root, { recursive: true, force: true }));

interface Process {
  readonly pid: number;
  readonly started: number;
  readonly name?: string;
  readonly state?: string;
}

/** A /proc as the process `self` sees it. */
async function proc(
  self: Process,
  others: readonly Process[] = [],
  kernel: { boot?: string; namespace?: string } = {},
): Promise<string> {
  const path = await fs.mkdtemp(join(root, 'proc-'));
  const stat = ({ pid, started, name = 'node', state = 'S' }: Process) =>
    `${pid} (${name}) ${state} 1 ${pid} ${pid} 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 11 0 ${started} 999 888\n`;
  for (const [dir, one] of [
    ['self', self],
    [String(self.pid), self],
    ...others.map((o) => [String(o.pid), o] as const),
  ] as const) {
    await fs.mkdir(join(path, dir, 'ns'), { recursive: true });
    await fs.writeFile(join(path, dir, 'stat'), stat(one));
  }
  if (kernel.boot !== undefined) {
    await fs.mkdir(join(path, 'sys/kernel/random'), { recursive: true });
    await fs.writeFile(join(path, 'sys/kernel/random/boot_id'), `${kernel.boot}\n`);
  }
  if (kernel.namespace !== undefined) await fs.symlink(kernel.namespace, join(path, 'self/ns/pid'));
  return path;
}

const take = (path: string, fileSystem: FileSystem = realFileSystem) =>
  takeLock(folder, fileSystem, keptLog().log, path);

const holder: Process = { pid: 100, started: 5000 };
const starter: Process = { pid: 200, started: 7000 };

describe('the lock', () => {
  it('names the living process that holds it, and is free again once released', async () => {
    const lock = await take(await proc(holder));
    const second = await proc(starter, [holder]);
    await expect(take(second)).rejects.toMatchObject({
      code: 'state_locked',
      exitStatus: 69,
      message: expect.stringContaining('(process 100)'),
    });
    await lock.release();
    await (await take(second)).release();
    expect(await fs.readdir(folder)).toEqual([]);
  });

  it('is held against the same process, too', async () => {
    const { log } = keptLog();
    const directory = await StateDirectory.open(folder, { log, uid: process.getuid?.() ?? 0 });
    await expect(StateDirectory.open(folder, { log, uid: process.getuid?.() ?? 0 })).rejects.toMatchObject({
      code: 'state_locked',
      message: expect.stringContaining(`(process ${process.pid})`),
    });
    await directory.close();
    await (await StateDirectory.open(folder, { log, uid: process.getuid?.() ?? 0 })).close();
  });

  it.each<[string, Process[], object, object]>([
    ['is dead', [], {}, {}],
    ['is dead and its pid was given to another', [{ pid: 100, started: 6000 }], {}, {}],
    ['is a zombie', [{ ...holder, state: 'Z' }], {}, {}],
    ['ran before a restart of the machine', [holder], { boot: 'one' }, { boot: 'two' }],
    ['ran in a container that is gone', [holder], { namespace: 'pid:[1]' }, { namespace: 'pid:[2]' }],
  ])('is taken over when its holder %s', async (_, others, before, now) => {
    const old = await take(await proc(holder, [], before));
    const lock = await take(await proc(starter, others, now));
    // The old holder's late release must not remove the new lock.
    await old.release();
    await expect(take(await proc({ pid: 300, started: 9000 }, [starter], now))).rejects.toMatchObject({
      message: expect.stringContaining('200'),
    });
    await lock.release();
  });

  it.each<[string, Process, object]>([
    ['has an odd name', { ...holder, name: 'a) Z 1 (b c' }, {}],
    ['is seen from a sandbox that hides the boot id', holder, {}],
    ['sleeps uninterruptibly', { ...holder, state: 'D' }, {}],
  ])('is respected when its holder %s', async (_, living, kernel) => {
    await take(await proc(holder, [], { boot: 'one' }));
    await expect(take(await proc(starter, [living], kernel))).rejects.toMatchObject({ code: 'state_locked' });
  });

  it.each(['', '{', 'null', '[]', '{"pid":-1}', '{"pid":"100"}', 'x'.repeat(100_000), '\u0000'.repeat(100)])(
    'of rubbish (%#) is taken over, and said',
    async (content) => {
      await fs.writeFile(join(folder, 'lock'), content);
      const { log, lines } = keptLog();
      await (await takeLock(folder, realFileSystem, log, await proc(starter))).release();
      expect(lines).toEqual([expect.stringContaining('taken over')]);
      expect(await fs.readdir(folder)).toEqual([]);
    },
  );

  it('is won by one of many that start at once, over nothing and over a stale lock', async () => {
    const many = Array.from({ length: 12 }, (_, n) => ({ pid: 1000 + n, started: 10_000 + n }));
    for (const stale of [false, true]) {
      if (stale) await fs.writeFile(join(folder, 'lock'), JSON.stringify({ pid: 1, started: '1', nonce: 'x' }));
      const folders = await Promise.all(many.map((one) => proc(one, many)));
      const results = await Promise.allSettled(folders.map((path) => take(path)));
      const won = results.filter((result) => result.status === 'fulfilled');
      expect(won).toHaveLength(1);
      for (const result of results)
        if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'state_locked' });
      await won[0]?.value.release();
      expect(await fs.readdir(folder)).toEqual([]);
    }
  });

  it('also works where the file system has no hard links', async () => {
    const noLinks: FileSystem = {
      ...realFileSystem,
      link: async () => {
        throw Object.assign(new Error('no'), { code: 'EPERM' });
      },
    };
    const lock = await take(await proc(holder), noLinks);
    await expect(take(await proc(starter, [holder]), noLinks)).rejects.toMatchObject({ code: 'state_locked' });
    await lock.release();
  });

  it('is won by one, however slow some of the starters are, and nothing is left lying about', async () => {
    const random = seeded(1);
    const many = Array.from({ length: 5 }, (_, n) => ({ pid: 1000 + n, started: 10_000 + n }));
    const folders = await Promise.all(many.map((one) => proc(one, many)));
    for (let time = 0; time < 15; time += 1) {
      await fs.writeFile(join(folder, 'lock'), JSON.stringify({ pid: 1, started: '1', nonce: `of ${time}` }));
      const slow = each(async () => {
        if (random() < 0.3) await new Promise((resolve) => setTimeout(resolve, random() * 4));
      });
      const results = await Promise.allSettled(folders.map((path) => take(path, slow)));
      const won = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      expect(won, `time ${time}`).toHaveLength(1);
      await won[0]?.release();
      expect(await fs.readdir(folder), `time ${time}`).toEqual([]);
    }
  });

  it('is won by the next one, wherever the one before was killed while taking it over', async () => {
    const standing: unknown[] = [];
    let calls = 0;
    const stale = JSON.stringify({ pid: 1, started: '1', nonce: 'x' });
    const victim = await proc({ pid: 999, started: 1 });
    const others = [1000, 1001].map((pid) => ({ pid, started: pid }));
    const folders = await Promise.all(others.map((one) => proc(one, others)));
    for (let last = 1; ; last += 1) {
      await fs.writeFile(join(folder, 'lock'), stale);
      calls = 0;
      const killed = new Promise<'killed'>((resolve) => {
        const mortal = each(async () => {
          calls += 1;
          if (calls < last) return;
          resolve('killed');
          await new Promise((never) => standing.push(never));
        });
        take(victim, mortal).catch(() => undefined);
        // Once it holds the lock it makes no more calls.
        setTimeout(resolve, 500, 'killed').unref();
      });
      await killed;
      if (calls < last) break;
      const results = await Promise.allSettled(folders.map((path) => take(path)));
      const won = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      expect(won, `killed at call ${last}`).toHaveLength(1);
      await won[0]?.release();
      await fs.rm(folder, { recursive: true });
      await fs.mkdir(folder);
    }
    expect(calls).toBeGreaterThan(30);
  });
});

/** The real disk, and something before each call. */
function each(before: () => Promise<void>): FileSystem {
  const wrap = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(object, name) {
        const member: unknown = Reflect.get(object, name);
        if (typeof member !== 'function') return member;
        return async (...args: unknown[]) => {
          await before();
          const result: unknown = await Reflect.apply(member, object, args);
          return name === 'open' ? wrap(result as fs.FileHandle) : result;
        };
      },
    });
  return wrap({ ...realFileSystem });
}

/** Random numbers that come again with their seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
