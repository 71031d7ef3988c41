import type { Stats } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { PorchlightError } from '../errors.ts';
import type { Log } from '../log.ts';
import { type FileSystem, notOurs, realFileSystem, unusable } from './file-system.ts';
import { isLockLeftover, type Lock, takeLock } from './lock.ts';
import { DurableFile, isLeftover, type StateFile, type StateFileOptions } from './state-file.ts';

export type { StateFile } from './state-file.ts';

export interface StateDirectoryOptions {
  readonly log: Log;
  readonly fs?: FileSystem;
  /** Where the kernel shows processes: `/proc`. */
  readonly proc?: string;
  /** Who must own the directory; default: the user of this process. */
  readonly uid: number;
}

const NAME = /^[a-z0-9][a-z0-9_.-]{0,63}$/;

/** The one folder that this gateway writes: private to its user, and locked, so that one gateway uses it at a time. */
export class StateDirectory {
  readonly path: string;
  readonly #fs: FileSystem;
  readonly #log: Log;
  readonly #uid: number;
  readonly #lock: Lock;
  readonly #files = new Map<string, DurableFile>();
  #closing: Promise<void> | undefined;
  #open = true;

  private constructor(path: string, fs: FileSystem, log: Log, uid: number, lock: Lock) {
    this.path = path;
    this.#uid = uid;
    this.#fs = fs;
    this.#log = log;
    this.#lock = lock;
  }

  /**
   * Makes the directory (and those above it) with mode 0700 where it is missing, repairs a mode that lets others in, takes the
   * lock and sweeps up what a crash left. Rejects with `state_locked`, or with `state_unusable` and the reason in words.
   */
  static async open(path: string, options: StateDirectoryOptions): Promise<StateDirectory> {
    const { log, fs = realFileSystem, proc = '/proc', uid } = options;
    const folder = resolve(path);
    try {
      await fs.mkdir(folder, { recursive: true, mode: 0o700 });
      await makePrivate(folder, fs, log, uid);
      const lock = await takeLock(folder, fs, log, proc);
      try {
        await sweep(folder, fs, log);
      } catch (thrown) {
        await lock.release();
        throw thrown;
      }
      return new StateDirectory(folder, fs, log, uid, lock);
    } catch (thrown) {
      throw unusable(folder, thrown);
    }
  }

  /** The file of this name (`[a-z0-9_.-]`, at most 64); asking twice gives the same one, with the options of the first time. */
  file(name: string, options: StateFileOptions = { ifDamaged: 'move_aside' }): StateFile {
    if (!NAME.test(name) || name === 'lock')
      throw new PorchlightError('internal', `"${name}" is no name for a state file.`);
    const known = this.#files.get(name);
    if (known !== undefined) return known;
    const parts = { folder: this.path, fs: this.#fs, log: this.#log, uid: this.#uid, open: () => this.#open };
    const file = new DurableFile(name, parts, options);
    this.#files.set(name, file);
    return file;
  }

  /** Waits for what is being saved, then lets go of the lock. Nothing can be saved afterwards. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#files.values()].map((file) => file.idle()));
    this.#open = false;
    try {
      await this.#lock.release();
    } catch (thrown) {
      throw unusable(this.path, thrown);
    }
  }
}

async function makePrivate(folder: string, fs: FileSystem, log: Log, uid: number): Promise<void> {
  let stat = await fs.lstat(folder);
  if (stat.isSymbolicLink()) {
    if (!(await isSystemdPrivate(folder, stat, fs))) {
      throw new PorchlightError('state_unusable', `${folder}: it is a symbolic link.`, {
        hint: 'Set gateway.state_directory to the folder itself.',
      });
    }
    stat = await fs.lstat(join(dirname(folder), 'private', basename(folder)));
  }
  if (!stat.isDirectory()) throw new PorchlightError('state_unusable', `${folder}: it is not a folder.`);
  if (stat.uid !== uid) throw notOurs(folder, stat.uid, uid);
  if ((stat.mode & 0o077) !== 0) {
    await fs.chmod(folder, 0o700);
    log.warn({ folder }, 'others could look into the state directory; its mode is 0700 again');
  }
}

/** With DynamicUser=, systemd keeps /var/lib/NAME as root's symbolic link to private/NAME (systemd.exec(5)). */
async function isSystemdPrivate(folder: string, link: Stats, fs: FileSystem): Promise<boolean> {
  return link.uid === 0 && (await fs.readlink(folder)) === `private/${basename(folder)}`;
}

/** Another gateway that is starting right now has such a file for milliseconds; only older ones were left behind. */
const STARTING_MS = 60_000;

/** Half-written files of a gateway that was killed. Only whoever holds the lock may remove them. */
async function sweep(folder: string, fs: FileSystem, log: Log): Promise<void> {
  for (const name of await fs.readdir(folder)) {
    if (!isLeftover(name)) continue;
    const path = join(folder, name);
    // Both are wall-clock times of one machine, and nothing worse than a file of 200 bytes hangs on the comparison.
    if (isLockLeftover(name) && Date.now() - (await fs.lstat(path)).mtimeMs < STARTING_MS) continue;
    await fs.unlink(path);
    log.info({ file: path }, 'removed what an interrupted save left behind');
  }
}
