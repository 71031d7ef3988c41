import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import type { Log } from '../log.ts';
import { errorCode, type FileSystem } from './file-system.ts';
import { temporaryName } from './state-file.ts';

/** Who holds the lock. A pid alone says little: pids are used again. */
const Holder = z.object({
  pid: z.number().int().positive(),
  /** In clock ticks since boot: field 22 of /proc/PID/stat (proc_pid_stat(5)). */
  started: z.string().max(40),
  /** /proc/sys/kernel/random/boot_id; absent where a sandbox hides it (systemd's ProcSubset=pid). */
  boot: z.string().max(80).optional(),
  /** Containers have pids of their own: those of another container say nothing here. */
  pid_namespace: z.string().max(80).optional(),
  /** Tells two holders apart that look the same. */
  nonce: z.string().max(40),
});
type Holder = z.infer<typeof Holder>;

const NAME = 'lock';
const LIMIT = 4096;
/** Taking over a stale lock can lose a race, and then sees the winner's; more rounds than this are no race. */
const ROUNDS = 5;

/** True for a temporary file of this module, which a gateway that is starting needs for a moment. */
export function isLockLeftover(name: string): boolean {
  return name.startsWith(`.${NAME}.tmp-`);
}

/** A held lock. */
export interface Lock {
  /** Removes the lock file, if it is still ours. */
  release(): Promise<void>;
}

/**
 * Takes the lock of a state directory. Rejects with `state_locked` while a living process holds it; the lock of a dead one
 * (or of another boot) is taken over. `proc`: where the kernel shows processes.
 */
export async function takeLock(folder: string, fs: FileSystem, log: Log, proc = '/proc'): Promise<Lock> {
  const path = join(folder, NAME);
  const self = await identify(fs, proc);
  const temporary = join(folder, temporaryName(NAME));
  for (let round = 0; round < ROUNDS; round++) {
    if (await create(path, temporary, self, fs)) return { release: () => release(path, self, fs) };
    const text = await readText(fs, path);
    if (text === undefined) continue;
    const holder = parse(text);
    if (holder !== undefined && (await isAlive(holder, self, fs, proc))) {
      throw new PorchlightError('state_locked', `Another gateway (process ${holder.pid}) already uses ${folder}.`);
    }
    log.warn({ file: path, pid: holder?.pid }, 'a lock was left behind by a gateway that is gone; it is taken over');
    await moveAway(path, text, fs);
  }
  throw new PorchlightError('state_locked', `Other gateways are starting on ${folder} at the same moment.`);
}

/**
 * Who holds the lock of a state directory now: the process id of a living gateway, `gone` for the lock of a dead one, undefined without
 * any. Touches nothing. Rejects as the file system does.
 */
export async function lockHolder(folder: string, fs: FileSystem, proc = '/proc'): Promise<number | 'gone' | undefined> {
  const text = await readText(fs, join(folder, NAME));
  if (text === undefined) return undefined;
  const holder = parse(text);
  return holder !== undefined && (await isAlive(holder, await identify(fs, proc), fs, proc)) ? holder.pid : 'gone';
}

/** Makes the lock file with its content in one step, so that nobody ever reads half a lock. False: there is one already. */
async function create(path: string, temporary: string, self: Holder, fs: FileSystem): Promise<boolean> {
  const text = `${JSON.stringify(self)}\n`;
  const file = await fs.open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    await fs.link(temporary, path);
    return true;
  } catch (thrown) {
    if (errorCode(thrown) === 'EEXIST') return false;
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(errorCode(thrown) ?? '')) throw thrown;
    return await createPlainly(path, text, fs);
  } finally {
    await fs.unlink(temporary);
  }
}

/** For file systems without hard links. */
async function createPlainly(path: string, text: string, fs: FileSystem): Promise<boolean> {
  try {
    const file = await fs.open(path, 'wx', 0o600);
    try {
      await file.writeFile(text);
    } finally {
      await file.close();
    }
    return true;
  } catch (thrown) {
    if (errorCode(thrown) === 'EEXIST') return false;
    throw thrown;
  }
}

/**
 * Removes a stale lock, but not a fresh one that another starter put there since it was read: the file is first renamed to a
 * name of our own, where it can be compared in peace, and put back if it is not the one that was judged.
 */
async function moveAway(path: string, judged: string, fs: FileSystem): Promise<void> {
  const aside = join(path, '..', temporaryName(NAME));
  try {
    await fs.rename(path, aside);
  } catch (thrown) {
    if (errorCode(thrown) === 'ENOENT') return;
    throw thrown;
  }
  try {
    if ((await readText(fs, aside)) !== judged) await fs.link(aside, path);
  } finally {
    await fs.unlink(aside);
  }
}

async function release(path: string, self: Holder, fs: FileSystem): Promise<void> {
  const text = await readText(fs, path);
  if (text === undefined || parse(text)?.nonce !== self.nonce) return;
  await fs.unlink(path);
}

async function isAlive(holder: Holder, self: Holder, fs: FileSystem, proc: string): Promise<boolean> {
  if (holder.boot !== undefined && self.boot !== undefined && holder.boot !== self.boot) return false;
  // Nothing can be known of another container's process. Its leftovers must not keep a restarted container from starting.
  if (holder.pid_namespace !== self.pid_namespace) return false;
  const stat = await statOf(fs, `${proc}/${holder.pid}/stat`);
  return stat !== undefined && stat.state !== 'Z' && stat.state !== 'X' && stat.started === holder.started;
}

async function identify(fs: FileSystem, proc: string): Promise<Holder> {
  const stat = await statOf(fs, `${proc}/self/stat`);
  const boot = (await readText(fs, `${proc}/sys/kernel/random/boot_id`))?.trim();
  const namespace = await fs.readlink(`${proc}/self/ns/pid`).catch(() => undefined);
  if (stat === undefined) {
    throw new PorchlightError('state_unusable', `${proc} does not show this process, so its state cannot be locked.`);
  }
  return {
    pid: stat.pid,
    started: stat.started,
    ...(boot !== undefined && { boot }),
    ...(namespace !== undefined && { pid_namespace: namespace }),
    nonce: randomBytes(8).toString('hex'),
  };
}

interface Stat {
  readonly pid: number;
  readonly state: string;
  readonly started: string;
}

/** The second field is the program's name in parentheses, and may itself hold spaces and parentheses (proc_pid_stat(5)). */
async function statOf(fs: FileSystem, path: string): Promise<Stat | undefined> {
  const text = await readText(fs, path);
  if (text === undefined) return undefined;
  const [state, ...rest] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [pid, started] = [Number.parseInt(text, 10), rest[18]];
  return state === undefined || started === undefined || !Number.isInteger(pid) ? undefined : { pid, state, started };
}

function parse(text: string): Holder | undefined {
  try {
    return Holder.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** At most `LIMIT` bytes; undefined when there is no such file (or it may not be seen). */
async function readText(fs: FileSystem, path: string): Promise<string | undefined> {
  try {
    const file = await fs.open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(LIMIT), 0, LIMIT, null);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (thrown) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'ENOTDIR'].includes(errorCode(thrown) ?? '')) return undefined;
    throw thrown;
  }
}
