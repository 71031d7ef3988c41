import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { basename, join } from 'node:path';
import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import type { Log } from '../log.ts';
import { sleep } from '../task-group.ts';
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
/** Who loses a race looks again in a moment, and then sees the winner's lock; more rounds than this are no race. */
const ROUNDS = 10;
const PAUSE_MS = 20;
/** Taking over what somebody left who was killed while taking over what somebody left ... */
const DEEPEST = 4;

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
  const holder = await acquire(path, { folder, fs, log, proc, self }, 0);
  if (holder === self) return { release: () => release(path, self, fs) };
  throw new PorchlightError(
    'state_locked',
    holder === undefined
      ? `Other gateways are starting on ${folder} at the same moment.`
      : `Another gateway (process ${holder.pid}) already uses ${folder}.`,
  );
}

interface Contest {
  readonly folder: string;
  readonly fs: FileSystem;
  readonly log: Log;
  readonly proc: string;
  readonly self: Holder;
}

/** Makes the file ours, unless a living process has it. Answers with whose it then is; undefined: others are at it right now. */
async function acquire(path: string, contest: Contest, depth: number): Promise<Holder | undefined> {
  const { fs, proc, self } = contest;
  for (let round = 0; round < ROUNDS; round++) {
    if (round > 0) await sleep(PAUSE_MS);
    if (await create(path, contest)) return self;
    const text = await readText(fs, path);
    // Where there are no hard links, an empty one is being written right now.
    if (text === undefined || (text === '' && round < 2)) continue;
    const holder = parse(text);
    if (holder !== undefined && (await isAlive(holder, self, fs, proc))) return holder;
    if (await takeOver(path, text, contest, depth)) return self;
  }
  return undefined;
}

/**
 * Puts our lock in the place of a dead one. Several starters may have judged the same file to be dead, and one of them may be slow: it
 * must not throw out who was faster. So each file that is judged dead has a claim, named after its content, that one process at a time
 * can hold, and only who holds it and still finds that content replaces it. A claim is a lock like any other.
 */
async function takeOver(path: string, judged: string, contest: Contest, depth: number): Promise<boolean> {
  const { folder, fs, log, self } = contest;
  if (depth === DEEPEST) return false;
  const digest = createHash('sha256')
    .update(`${basename(path)}\n${judged}`)
    .digest('hex');
  const claim = join(folder, `.${NAME}.tmp-${digest.slice(0, 16)}`);
  if ((await acquire(claim, contest, depth + 1)) !== self) return false;
  try {
    if ((await readText(fs, path)) !== judged) return false;
    if (depth === 0)
      log.warn(
        { file: path, pid: parse(judged)?.pid },
        'a lock was left behind by a gateway that is gone; it is taken over',
      );
    await fs.rename(await writeBeside(contest), path);
    return true;
  } finally {
    await release(claim, self, fs);
  }
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

/** Our lock, complete, under a name that nobody else looks at. */
async function writeBeside({ folder, fs, self }: Contest): Promise<string> {
  const temporary = join(folder, temporaryName(NAME));
  const file = await fs.open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(textOf(self));
    await file.sync();
  } finally {
    await file.close();
  }
  return temporary;
}

const textOf = (holder: Holder): string => `${JSON.stringify(holder)}\n`;

/** Makes the file with its content in one step, so that nobody ever reads half a lock. False: there is one already. */
async function create(path: string, contest: Contest): Promise<boolean> {
  const { fs } = contest;
  const temporary = await writeBeside(contest);
  try {
    await fs.link(temporary, path);
    return true;
  } catch (thrown) {
    if (errorCode(thrown) === 'EEXIST') return false;
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(errorCode(thrown) ?? '')) throw thrown;
    return await createPlainly(path, contest);
  } finally {
    await fs.unlink(temporary);
  }
}

/** For file systems without hard links. */
async function createPlainly(path: string, { fs, self }: Contest): Promise<boolean> {
  try {
    const file = await fs.open(path, 'wx', 0o600);
    try {
      await file.writeFile(textOf(self));
    } finally {
      await file.close();
    }
  } catch (thrown) {
    if (errorCode(thrown) === 'EEXIST') return false;
    throw thrown;
  }
  return (await readText(fs, path)) === textOf(self);
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
