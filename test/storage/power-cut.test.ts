import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FileSystem, realFileSystem } from '../../src/storage/file-system.ts';
import { StateDirectory } from '../../src/storage/state-directory.ts';
import { keptLog } from '../support/log.ts';

/** One step of a save, as the disk sees it. */
type Step =
  | { readonly kind: 'create' | 'write' | 'sync file' | 'unlink'; readonly name: string }
  | { readonly kind: 'rename'; readonly name: string; readonly to: string }
  | { readonly kind: 'sync folder' };

let folder: string;
beforeEach(async () => {
  folder = await fs.mkdtemp(join(tmpdir(), 'porchlight-power-'));
});
afterEach(() => fs.rm(folder, { recursive: true, force: true }));

const nameOf = (path: unknown): string => String(path).split('/').at(-1) ?? '';

/** The real disk, and what was done to it in order. */
function traced(steps: Step[]): FileSystem {
  const watch = (file: fs.FileHandle, name: string, isFolder: boolean): fs.FileHandle =>
    new Proxy(file, {
      get(target, member) {
        const value: unknown = Reflect.get(target, member);
        if (typeof value !== 'function') return value;
        return async (...args: unknown[]) => {
          const result: unknown = await Reflect.apply(value, target, args);
          if (member === 'writeFile') steps.push({ kind: 'write', name });
          if (member === 'sync' || member === 'datasync')
            steps.push(isFolder ? { kind: 'sync folder' } : { kind: 'sync file', name });
          return result;
        };
      },
    });
  return {
    ...realFileSystem,
    open: async (path, flags, mode) => {
      const file = await realFileSystem.open(path, flags, mode);
      if (flags === 'wx') steps.push({ kind: 'create', name: nameOf(path) });
      return watch(file, nameOf(path), (await file.stat()).isDirectory());
    },
    rename: async (from, to) => {
      await realFileSystem.rename(from, to);
      steps.push({ kind: 'rename', name: nameOf(from), to: nameOf(to) });
    },
    unlink: async (path) => {
      await realFileSystem.unlink(path);
      steps.push({ kind: 'unlink', name: nameOf(path) });
    },
  };
}

/**
 * What a power cut after these steps may leave under a name, at worst: POSIX promises the content of a file only after its fsync,
 * and a change of names only after the folder's. Before that, either may have reached the disk, and in any order.
 */
function afterPowerCut(steps: readonly Step[], name: string): Set<string> {
  const content = new Map<string, 'torn' | 'whole'>();
  let durable: string | undefined = 'the old value';
  let possible = new Set<string | undefined>([durable]);
  let now = durable as string | undefined;
  for (const step of steps) {
    if (step.kind === 'create' || step.kind === 'write') content.set(step.name, 'torn');
    if (step.kind === 'sync file') content.set(step.name, 'whole');
    if (step.kind === 'rename' && step.to === name) {
      now = step.name;
      possible.add(now);
    }
    if (step.kind === 'unlink' && step.name === name) {
      now = undefined;
      possible.add(now);
    }
    if (step.kind === 'sync folder') {
      durable = now;
      possible = new Set([durable]);
    }
  }
  return new Set(
    [...possible].map((file) => {
      if (file === undefined) return 'nothing';
      return file === 'the old value' ? file : content.get(file) === 'whole' ? 'the new value' : 'a torn file';
    }),
  );
}

async function steps(work: (file: ReturnType<StateDirectory['file']>, mark: () => number) => Promise<void>) {
  const all: Step[] = [];
  const directory = await StateDirectory.open(folder, {
    log: keptLog().log,
    fs: traced(all),
    uid: process.getuid?.() ?? 0,
  });
  await directory.file('grant.json').save('old');
  all.length = 0;
  await work(directory.file('grant.json'), () => all.length);
  const done = [...all];
  await directory.close();
  return done;
}

describe('a power cut', () => {
  it('at any step of a save leaves the old value or the new one, and the new one once the save has said so', async () => {
    const done = await steps((file) => file.save('new'));
    expect(done.map(({ kind }) => kind)).toEqual(['create', 'write', 'sync file', 'rename', 'sync folder']);
    for (let cut = 0; cut <= done.length; cut += 1) {
      const left = afterPowerCut(done.slice(0, cut), 'grant.json');
      expect(
        [...left].filter((what) => what !== 'the old value' && what !== 'the new value'),
        `step ${cut}`,
      ).toEqual([]);
    }
    expect(afterPowerCut(done, 'grant.json')).toEqual(new Set(['the new value']));
  });

  it('after a clear does not bring the value back', async () => {
    const done = await steps((file) => file.clear());
    expect(afterPowerCut(done, 'grant.json')).toEqual(new Set(['nothing']));
  });

  it('between two saves never leaves the one before the last', async () => {
    let first = 0;
    const done = await steps(async (file, mark) => {
      await file.save('new');
      first = mark();
      await file.save('newer');
    });
    for (let cut = first; cut <= done.length; cut += 1)
      expect(afterPowerCut(done.slice(0, cut), 'grant.json'), `step ${cut}`).not.toContain('the old value');
  });
});
