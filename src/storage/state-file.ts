import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Log } from '../log.ts';
import { errorCode, type FileSystem, notOurs, syncFolder, unusable } from './file-system.ts';

/** One durable JSON value. Calls are done one after another, in the order in which they were made. */
export interface StateFile {
  /**
   * The value that was saved last; undefined when there is none. What is damaged is treated as the file's options say. Rejects with
   * `state_unusable` for what is no regular file, or belongs to another user.
   */
  load(): Promise<unknown>;
  /**
   * Resolves once the value would survive a power cut. Rejects with `state_unusable`; the value before it is then still
   * whole (only where the very last step failed, the folder's fsync, is it the new one). `value` is copied at once.
   */
  save(value: unknown): Promise<void>;
  clear(): Promise<void>;
}

export interface StateFileOptions {
  /**
   * What becomes of a file that is torn, too large or no JSON. `move_aside`: it is kept under another name and taken as absent.
   * `reject`: it stays where it is, and loading it rejects with `state_unusable`, where "absent" would be dangerous to believe.
   */
  readonly ifDamaged: 'move_aside' | 'reject';
  /** With `reject`: what a person can do about it. */
  readonly hint?: string;
}

/** What a file needs to know of its folder. */
export interface StateFileParts {
  readonly folder: string;
  readonly fs: FileSystem;
  readonly log: Log;
  /** Whose the files are. */
  readonly uid: number;
  /** False once the state directory was let go of; nothing is written after that. */
  readonly open: () => boolean;
}

/** Bytes. Everything kept here is a few kilobytes; more is a fault, or somebody else's file. */
const MAX_BYTES = 1_048_576;
/** How many damaged files are kept for whoever wants to look into it. */
const MAX_CORRUPT = 5;

const LEFTOVER = /^\..+\.tmp-[0-9a-f]{16}$/;

/** True for what a crash in mid-save leaves behind. */
export function isLeftover(name: string): boolean {
  return LEFTOVER.test(name);
}

/** A name beside `name`, for content that is not complete yet. */
export function temporaryName(name: string): string {
  return `.${name}.tmp-${randomBytes(8).toString('hex')}`;
}

export class DurableFile implements StateFile {
  readonly #parts: StateFileParts;
  readonly #name: string;
  readonly #options: StateFileOptions;
  #last: Promise<unknown> = Promise.resolve();

  constructor(name: string, parts: StateFileParts, options: StateFileOptions) {
    this.#parts = parts;
    this.#name = name;
    this.#options = options;
  }

  get #path(): string {
    return join(this.#parts.folder, this.#name);
  }

  load(): Promise<unknown> {
    return this.#inTurn(() => this.#load());
  }

  async save(value: unknown): Promise<void> {
    const bytes = this.#serialise(value);
    await this.#inTurn(() => this.#write(bytes));
  }

  async clear(): Promise<void> {
    await this.#inTurn(() => this.#remove());
  }

  /** Resolves when everything asked for so far is done, well or badly. */
  async idle(): Promise<void> {
    await this.#last;
  }

  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(async () => {
      if (!this.#parts.open())
        throw new PorchlightError('state_unusable', `${this.#path}: the state directory is closed.`);
      try {
        return await step();
      } catch (thrown) {
        throw unusable(this.#path, thrown);
      }
    });
    // The next call takes its turn whatever became of this one; this one's caller hears of it through `turn`.
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  #serialise(value: unknown): Buffer {
    let text: string | undefined;
    try {
      text = JSON.stringify(value);
    } catch (thrown) {
      throw asPorchlightError(thrown, 'internal');
    }
    if (text === undefined) throw new PorchlightError('internal', `${this.#name}: nothing to save.`);
    const bytes = Buffer.from(`${text}\n`);
    if (bytes.length > MAX_BYTES) {
      throw new PorchlightError(
        'state_unusable',
        `${this.#path}: ${bytes.length} bytes are more than is kept (${MAX_BYTES}).`,
      );
    }
    return bytes;
  }

  async #load(): Promise<unknown> {
    const bytes = await this.#read();
    if (bytes === undefined) return undefined;
    try {
      if (bytes.length > MAX_BYTES) throw new PorchlightError('state_unusable', 'too large');
      return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    } catch {
      // What is wrong with it cannot be said without quoting it, and it may hold a token.
      if (this.#options.ifDamaged === 'reject')
        throw new PorchlightError('state_unusable', `${this.#path}: it is damaged. It was left as it is.`, {
          ...(this.#options.hint !== undefined && { hint: this.#options.hint }),
        });
      const aside = await this.#moveAside();
      this.#parts.log.warn(
        { file: this.#path, moved_to: aside },
        'a state file is damaged; it was moved aside, and is taken as absent',
      );
      return undefined;
    }
  }

  async #read(): Promise<Buffer | undefined> {
    let file: FileHandle;
    try {
      // O_NONBLOCK: a pipe in place of the file must not stop the gateway.
      file = await this.#parts.fs.open(this.#path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (thrown) {
      if (errorCode(thrown) === 'ENOENT') return undefined;
      throw thrown;
    }
    try {
      const stat = await file.stat();
      if (!stat.isFile()) throw new PorchlightError('state_unusable', `${this.#path}: it is not a regular file.`);
      if (stat.uid !== this.#parts.uid) throw notOurs(this.#path, stat.uid, this.#parts.uid);
      if ((stat.mode & 0o077) !== 0) {
        await file.chmod(0o600);
        this.#parts.log.warn({ file: this.#path }, 'others could read a state file; its mode is 0600 again');
      }
      const buffer = Buffer.alloc(Math.min(stat.size, MAX_BYTES) + 1);
      let length = 0;
      for (let more = true; more && length < buffer.length; ) {
        const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
        length += bytesRead;
        more = bytesRead > 0;
      }
      return buffer.subarray(0, length);
    } finally {
      await file.close();
    }
  }

  async #write(bytes: Buffer): Promise<void> {
    const temporary = join(this.#parts.folder, temporaryName(this.#name));
    try {
      const file = await this.#parts.fs.open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await this.#changeFolder(() => this.#parts.fs.rename(temporary, this.#path));
    } catch (thrown) {
      await this.#forget(temporary);
      throw thrown;
    }
  }

  async #remove(): Promise<void> {
    try {
      await this.#changeFolder(() => this.#parts.fs.unlink(this.#path));
    } catch (thrown) {
      if (errorCode(thrown) !== 'ENOENT') throw thrown;
    }
  }

  /** Changes a name durably. The folder is opened first, so that nothing but its fsync can fail after the change. */
  async #changeFolder(change: () => Promise<void>): Promise<void> {
    const folder = await this.#parts.fs.open(this.#parts.folder, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await change();
      await syncFolder(folder);
    } finally {
      await folder.close();
    }
  }

  async #moveAside(): Promise<string> {
    const taken = new Set(await this.#parts.fs.readdir(this.#parts.folder));
    const names = Array.from({ length: MAX_CORRUPT }, (_, n) => `${this.#name}.corrupt-${n + 1}`);
    // All taken: the last one is given up. The first ones tell how the trouble began.
    const name = names.find((one) => !taken.has(one)) ?? `${this.#name}.corrupt-${MAX_CORRUPT}`;
    await this.#changeFolder(() => this.#parts.fs.rename(this.#path, join(this.#parts.folder, name)));
    return name;
  }

  async #forget(temporary: string): Promise<void> {
    try {
      await this.#parts.fs.unlink(temporary);
    } catch (thrown) {
      // It may never have been made, or the disk refuses everything: the next start sweeps.
      if (errorCode(thrown) !== 'ENOENT')
        this.#parts.log.debug({ file: temporary }, 'a temporary file stays until the next start');
    }
  }
}
