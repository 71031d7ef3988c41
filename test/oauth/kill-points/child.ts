/** The process that is killed: the real session over the real state directory, for several lives at once. */
import type { FileHandle } from 'node:fs/promises';
import { createLog } from '../../../src/log.ts';
import type { GrantRecord, TokenStore } from '../../../src/oauth/grant.ts';
import { Session } from '../../../src/oauth/session.ts';
import { type FileSystem, realFileSystem } from '../../../src/storage/file-system.ts';
import { StateDirectory } from '../../../src/storage/state-directory.ts';
import type { Place, Save, Task, Word } from './points.ts';

const say = (word: Word): void => void process.send?.(word);

/** Kept, so that nobody tidies up behind those who stand still. */
const standing: unknown[] = [];

/** Where a life stands still, for good: its process is killed there. */
class Trap {
  readonly #task: Task;
  save: Save | undefined;

  constructor(task: Task) {
    this.#task = task;
  }

  async pass(place: Place | `${Save} ${string}`): Promise<void> {
    if (place !== this.#task.stopAt) return;
    say({ life: this.#task.life, kind: 'reached' });
    await new Promise((resolve) => standing.push(resolve));
  }

  async saving(what: string): Promise<void> {
    if (this.save !== undefined) await this.pass(`${this.save} ${what}`);
  }
}

/** The disk, with a trap behind each step of a save. */
function trapped(trap: Trap): FileSystem {
  const file = (handle: FileHandle, folder: boolean): FileHandle =>
    new Proxy(handle, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        return async (...args: unknown[]) => {
          const result: unknown = await Reflect.apply(member, target, args);
          if (name === 'writeFile') await trap.saving('written');
          if (name === 'sync') await trap.saving(folder ? 'folder' : 'synced');
          return result;
        };
      },
    });
  return {
    ...realFileSystem,
    open: async (path, flags, mode) => file(await realFileSystem.open(path, flags, mode), flags !== 'wx'),
    rename: async (from, to) => {
      await realFileSystem.rename(from, to);
      await trap.saving('renamed');
    },
  };
}

async function answerTrapped(trap: Trap, url: string, init: RequestInit): Promise<Response> {
  const answer = await fetch(url, init);
  if (!url.endsWith('/token')) return answer;
  await trap.pass('headers');
  const pieces: Uint8Array[] = [];
  for await (const piece of answer.body ?? []) {
    pieces.push(piece);
    await trap.pass('body');
  }
  return new Response(Buffer.concat(pieces), { status: answer.status, headers: answer.headers });
}

async function live(task: Task, signal: AbortSignal): Promise<void> {
  const trap = new Trap(task);
  const log = createLog('warn', { write: (line: string) => say({ life: task.life, kind: 'said', line }) });
  const fs = trapped(trap);
  const directory = await StateDirectory.open(task.folder, { log, fs, uid: process.getuid?.() ?? 0 });
  const file = directory.file('authorization.json');
  let before: GrantRecord | undefined;
  const store: TokenStore = {
    load: () => file.load(),
    clear: () => file.clear(),
    save: async (record) => {
      const renewed = before === undefined || before.access_token !== record.access_token;
      trap.save = record.refreshing_since !== undefined ? 'intent' : renewed ? 'tokens' : 'drop';
      if (record.ended !== undefined) trap.save = 'end';
      await trap.saving('before');
      await file.save(record);
      await trap.saving('after');
      trap.save = undefined;
      before = record;
    },
  };
  const session = new Session({
    options: { issuer: task.issuer, client_id: 'porchlight', client_authentication: 'none', scopes: [] },
    store,
    fetch: (url, init) => answerTrapped(trap, url, init),
    clock: { monotonic: () => performance.now(), wall: () => Date.now() },
    show: () => undefined,
    hide: () => undefined,
    log,
    interactive: false,
  });
  const loaded = new Promise((resolve) => session.onChange(resolve));
  const ended = session.run(signal);
  await loaded;
  let works = false;
  // Twice: the token of the first refresh must also be good for the next. A life that is to be stopped goes on to its place.
  for (let cycle = 0; cycle < (task.stopAt === undefined ? 2 : 3) && !signal.aborted; cycle += 1) {
    await session.renew();
    if (session.status.state !== 'authorized') break;
    const token = await session.accessToken();
    const answer = await fetch(`${task.issuer}/resource`, { headers: { authorization: `Bearer ${token}` } });
    works = answer.ok;
    if (works) await session.worked(token);
  }
  const { state, reason } = session.status;
  say({ life: task.life, kind: 'at rest', state, works, ...(reason === undefined ? {} : { reason }) });
  await ended;
  await directory.close();
}

const stop = new AbortController();
process.on('message', (tasks: readonly Task[] | 'stop') => {
  if (tasks === 'stop') return stop.abort();
  void Promise.all(tasks.map((task) => live(task, stop.signal))).then(() => process.disconnect());
});
