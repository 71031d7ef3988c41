import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { PorchlightError } from '../../errors.ts';
import { errorCode, type FileSystem, syncFolder } from '../../storage/file-system.ts';
import { type AuditRecord, type Link, MAX_LINE, parseLine, sha256 } from './record.ts';

/** The file that is written; the newest. */
export const ACTIVE = 'audit.jsonl';
/** What the trail is cut into: the oldest fifth makes room. */
const FILES = 5;
/** Bytes at the end of a file among which its last record is looked for. A power cut tears less. */
export const TAIL = 1_048_576;
/** Bytes: two hashes alone are longer. A megabyte of empty lines must not cost seconds. */
export const MIN_LINE = 150;
/** O_NONBLOCK: a pipe in place of the file must not stop the gateway. */
const READ_APPEND = constants.O_RDWR | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK;

const ARCHIVE = /^audit\.([1-9]\d{0,3})\.jsonl$/;

/** The trail's older files, newest first: `audit.1.jsonl`, `audit.2.jsonl` and so on. */
export async function archives(folder: string, fs: Pick<FileSystem, 'readdir'>): Promise<readonly string[]> {
  const numbers = (await fs.readdir(folder)).flatMap((name) => {
    const number = ARCHIVE.exec(name)?.[1];
    return number === undefined ? [] : [Number(number)];
  });
  return numbers.sort((a, b) => a - b).map(archive);
}

const archive = (number: number): string => `audit.${number}.jsonl`;

/** What was found behind the last whole record: a line that a power cut tore, say. */
export interface Damage {
  /** How many bytes, the newline that ends them among them, and their SHA-256. */
  readonly bytes: number;
  readonly sha256: string;
}

/** How a file was found. */
export interface Found {
  /** The last record that is whole; undefined: there is none. */
  readonly last?: AuditRecord;
  readonly damage?: Damage;
  /** The number of the oldest record of all files. */
  readonly first?: number;
  /** Nothing in the file that was written could be read; it is an archive now. */
  readonly unreadable?: true;
}

/** The trail's files: one is appended to, at most four are kept beside it. Rejects as the file system does. */
export class TrailFiles {
  readonly #folder: string;
  readonly #fs: FileSystem;
  readonly #limit: number;
  readonly #maxBytes: number;
  #file: FileHandle | undefined;
  #size = 0;
  /** Ends what a power cut tore. */
  #prefix = '';

  constructor(folder: string, fs: FileSystem, maxBytes: number) {
    this.#folder = folder;
    this.#fs = fs;
    this.#maxBytes = maxBytes;
    this.#limit = Math.floor(maxBytes / FILES);
  }

  get isOpen(): boolean {
    return this.#file !== undefined;
  }

  /** Is there too little room for so many bytes more? */
  isFull(bytes: number): boolean {
    return this.#size > 0 && this.#size + bytes > this.#limit;
  }

  /** Opens or makes the file, and finds where the trail ended. */
  async open(): Promise<Found> {
    const found = await this.#open();
    const first = await this.#firstOf((await archives(this.#folder, this.#fs)).at(-1) ?? ACTIVE);
    return { ...found, ...(first !== undefined && { first }) };
  }

  async #open(): Promise<Found> {
    await this.close();
    this.#prefix = '';
    const file = await this.#openOrMake();
    try {
      const { size } = await file.stat();
      const tail = await tailOf(file, size);
      if (size === 0) return await this.#archived(file, {});
      if (tail.last === undefined && tail.damage === undefined) {
        await file.close();
        await this.#shift(await archives(this.#folder, this.#fs));
        return await this.#archived(await this.#openOrMake(), { unreadable: true });
      }
      this.#prefix = tail.prefix;
      this.#size = size;
      this.#file = file;
      const { prefix: _, ...found } = tail;
      return found.last === undefined ? { ...(await this.#lastArchived()), ...found } : found;
    } finally {
      if (this.#file !== file) await file.close();
    }
  }

  async #archived(file: FileHandle, found: Found): Promise<Found> {
    const last = await this.#lastArchived();
    this.#file = file;
    this.#size = 0;
    return { ...last, ...found };
  }

  async #lastArchived(): Promise<Pick<Found, 'last'>> {
    for (const name of await archives(this.#folder, this.#fs)) {
      const { last } = await this.#look(name, async (file) => tailOf(file, (await file.stat()).size));
      if (last !== undefined) return { last };
    }
    return {};
  }

  /** Adds whole lines. When that fails the file is as it was, or is closed and looked at again by the next `open`. */
  async append(lines: string): Promise<void> {
    const file = this.#opened();
    const bytes = Buffer.from(this.#prefix + lines);
    let written = 0;
    try {
      while (written < bytes.length) {
        const { bytesWritten } = await file.write(bytes, written, bytes.length - written, null);
        written += bytesWritten;
      }
      this.#size += bytes.length;
      this.#prefix = '';
    } catch (thrown) {
      await this.#takeBack(file);
      throw thrown;
    }
  }

  async #takeBack(file: FileHandle): Promise<void> {
    try {
      await file.truncate(this.#size);
    } catch {
      // The next `open` finds what is torn and says so.
      await this.close();
    }
  }

  /** Makes durable what was appended. False: the file is no longer the one in the folder, or shorter than it was. */
  async sync(): Promise<boolean> {
    const file = this.#opened();
    const size = this.#size;
    await file.datasync();
    const [mine, there] = await Promise.all([
      file.stat(),
      this.#fs.lstat(join(this.#folder, ACTIVE)).catch((thrown: unknown) => {
        if (errorCode(thrown) === 'ENOENT') return undefined;
        throw thrown;
      }),
    ]);
    return this.#file !== file || (there?.ino === mine.ino && there.dev === mine.dev && mine.size >= size);
  }

  /**
   * Begins a new file. `keeps` is told the number of the oldest record that will be left (undefined: only the new file's) before
   * anything is deleted. Resolves with it.
   */
  async rotate(keeps: (first: number | undefined) => Promise<void>): Promise<number | undefined> {
    await this.#opened().datasync();
    const old = await archives(this.#folder, this.#fs);
    const kept = await this.#fitting(old);
    const first = await this.#firstOf(kept.at(-1) ?? ACTIVE);
    await keeps(first);
    for (const name of old.slice(kept.length)) await this.#fs.unlink(join(this.#folder, name));
    await this.close();
    await this.#shift(kept);
    const file = await this.#openOrMake();
    this.#file = file;
    this.#size = 0;
    return first;
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    this.#size = 0;
    await file?.close();
  }

  #opened(): FileHandle {
    if (this.#file === undefined) throw new PorchlightError('internal', 'The audit trail is not open.');
    return this.#file;
  }

  /** Of the archives (newest first), those that stay when the present file becomes one and another is begun. */
  async #fitting(old: readonly string[]): Promise<readonly string[]> {
    let room = this.#maxBytes - this.#limit - this.#size;
    const kept: string[] = [];
    for (const name of old.slice(0, FILES - 2)) {
      room -= (await this.#fs.lstat(join(this.#folder, name))).size;
      if (room < 0) break;
      kept.push(name);
    }
    return kept;
  }

  /** The present file becomes the newest archive. */
  async #shift(old: readonly string[]): Promise<void> {
    const path = (name: string): string => join(this.#folder, name);
    for (const name of old.toReversed()) {
      const number = Number(ARCHIVE.exec(name)?.[1] ?? 0);
      await this.#fs.rename(path(name), path(archive(number + 1)));
    }
    await this.#fs.rename(path(ACTIVE), path(archive(1)));
  }

  async #openOrMake(): Promise<FileHandle> {
    const path = join(this.#folder, ACTIVE);
    try {
      const file = await this.#fs.open(path, READ_APPEND);
      try {
        const stat = await file.stat();
        if (!stat.isFile()) throw new PorchlightError('state_unusable', `${path}: it is not a regular file.`);
        if ((stat.mode & 0o077) !== 0) await file.chmod(0o600);
        return file;
      } catch (thrown) {
        await file.close();
        throw thrown;
      }
    } catch (thrown) {
      if (errorCode(thrown) !== 'ENOENT') throw thrown;
    }
    const file = await this.#fs.open(path, READ_APPEND | constants.O_CREAT | constants.O_EXCL, 0o600);
    const folder = await this.#fs.open(this.#folder, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await syncFolder(folder);
    } finally {
      await folder.close();
    }
    return file;
  }

  async #firstOf(name: string): Promise<number | undefined> {
    return await this.#look(name, async (file) => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_LINE), 0, MAX_LINE, 0);
      const end = buffer.subarray(0, bytesRead).indexOf(0x0a);
      const record = parseLine(buffer.subarray(0, Math.max(0, end)));
      return typeof record === 'string' ? undefined : record.seq;
    });
  }

  async #look<T>(name: string, look: (file: FileHandle) => Promise<T>): Promise<T> {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const file = await this.#fs.open(join(this.#folder, name), flags);
    try {
      return await look(file);
    } finally {
      await file.close();
    }
  }
}

/** The last whole record of a file and what lies behind it. Neither: nothing in the last mebibyte is a record. */
async function tailOf(file: FileHandle, size: number): Promise<Found & { readonly prefix: '' | '\n' }> {
  const bytes = Buffer.alloc(Math.min(size, TAIL));
  let filled = 0;
  for (let more = true; more && filled < bytes.length; ) {
    const at = size - bytes.length + filled;
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, at);
    filled += bytesRead;
    more = bytesRead > 0;
  }
  const prefix = bytes.at(-1) === 0x0a || size === 0 ? '' : '\n';
  const behind = (from: number): Pick<Found, 'damage'> => {
    const damaged = Buffer.concat([bytes.subarray(from), Buffer.from(prefix)]);
    return from === bytes.length ? {} : { damage: { bytes: damaged.length, sha256: sha256(damaged) } };
  };
  for (let end = bytes.lastIndexOf(0x0a); end >= 0; ) {
    const start = end === 0 ? 0 : bytes.lastIndexOf(0x0a, end - 1) + 1;
    const length = end - start;
    const record = length >= MIN_LINE && length <= MAX_LINE ? parseLine(bytes.subarray(start, end)) : '';
    if (typeof record !== 'string') return { last: record, prefix, ...behind(end + 1) };
    end = start - 1;
  }
  return { prefix, ...(size <= TAIL && behind(0)) };
}

/** The link that continues a record. */
export const linkOf = ({ seq, hash }: AuditRecord): Link => ({ seq, hash });
