import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, type FileSystem } from '../../storage/file-system.ts';
import { ACTIVE, archives, type Damage, MIN_LINE, TAIL } from './files.ts';
import { HEAD, Head } from './head.ts';
import { type AuditRecord, MAX_LINE, parseLine } from './record.ts';

/** A line of the trail, or what stands where one should. */
export interface Line {
  /** `audit.jsonl` or `audit.N.jsonl`. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** The record; otherwise, in words, why it is none. */
  readonly content: AuditRecord | string;
  /** The last line of the newest file, without a newline: it is being written, or a power cut tore it. */
  readonly unfinished?: { readonly bytes: number };
  /** What stands between this line and the record before it and is no record itself. */
  readonly before?: Damage;
}

/** An opened trail: oldest file first. */
export interface OpenTrail {
  readonly files: readonly { readonly name: string; readonly file: FileHandle; readonly size: number }[];
  close(): Promise<void>;
}

const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const CHUNK = 65_536;
/** A head is 150 bytes; more is none. */
const MAX_HEAD = 4_096;

/**
 * Opens the files of a trail to read them, also beside a gateway that writes. The newest comes first: should the gateway begin a new file
 * meanwhile, the one that was newest is met again under its new name, and is taken once. Rejects as the file system does.
 */
export async function openTrail(folder: string, fs: Pick<FileSystem, 'open' | 'readdir'>): Promise<OpenTrail> {
  const files: { name: string; file: FileHandle; size: number }[] = [];
  const close = async (): Promise<void> => {
    for (const { file } of files) await file.close();
  };
  const seen = new Set<string>();
  const add = async (name: string): Promise<void> => {
    const file = await opened(join(folder, name), fs);
    if (file === undefined) return;
    const stat = await file.stat();
    const identity = `${stat.dev}:${stat.ino}`;
    if (!stat.isFile() || seen.has(identity)) return await file.close();
    seen.add(identity);
    files.unshift({ name, file, size: stat.size });
  };
  try {
    await add(ACTIVE);
    for (const name of await archives(folder, fs)) await add(name);
    return { files, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

async function opened(path: string, fs: Pick<FileSystem, 'open'>): Promise<FileHandle | undefined> {
  try {
    return await fs.open(path, READ);
  } catch (thrown) {
    if (errorCode(thrown) === 'ENOENT') return undefined;
    throw thrown;
  }
}

/** What is remembered of the trail's end; undefined: nothing, or nothing that can be read. */
export async function readHead(folder: string, fs: Pick<FileSystem, 'open'>): Promise<Head | undefined> {
  const file = await opened(join(folder, HEAD), fs);
  if (file === undefined) return undefined;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_HEAD), 0, MAX_HEAD, 0);
    return Head.safeParse(JSON.parse(buffer.toString('utf8', 0, bytesRead))).data;
  } catch {
    return undefined; // a head that says nothing is as good as none
  } finally {
    await file.close();
  }
}

/**
 * The records of one file, in order, and the first line of each stretch that holds none. Whatever the file holds, no more than a line and
 * a chunk of it is in memory, and a stretch of a million empty lines costs little.
 */
export async function* linesOf(from: OpenTrail['files'][number], isNewest: boolean): AsyncGenerator<Line> {
  const { name: file } = from;
  const gap = new Gap();
  let line = 0;
  let parts: Buffer[] = [];
  let length = 0;
  /** The stretch began with this very line. */
  let tooLong = false;
  const finish = (end: Buffer): Line | undefined => {
    line += 1;
    const content = contentOf(parts, length, end.length > 0);
    const bytes = length;
    length = 0;
    if (typeof content !== 'string') {
      parts = [];
      const before = gap.close();
      return { file, line, content, ...(before !== undefined && { before }) };
    }
    const isFirst = !gap.isOpen || tooLong;
    tooLong = false;
    gap.add(...parts, end);
    parts = [];
    if (end.length === 0 && isNewest) return { file, line, content, unfinished: { bytes } };
    return isFirst ? { file, line, content } : undefined;
  };
  for await (const chunk of chunksOf(from)) {
    for (let start = 0; start < chunk.length; ) {
      const newline = chunk.indexOf(0x0a, start);
      const end = newline < 0 ? chunk.length : newline;
      length += end - start;
      parts.push(chunk.subarray(start, end));
      if (newline < 0) break;
      const finished = finish(chunk.subarray(newline, newline + 1));
      if (finished !== undefined) yield finished;
      start = newline + 1;
    }
    // A line that is too long is no record: what is there of it need not be kept.
    if (length > MAX_LINE && parts.length > 1) {
      tooLong ||= !gap.isOpen;
      gap.add(...parts);
      parts = [];
    }
  }
  const finished = length > 0 ? finish(Buffer.alloc(0)) : undefined;
  if (finished !== undefined) yield finished;
}

function contentOf(parts: readonly Buffer[], length: number, ended: boolean): AuditRecord | string {
  if (!ended) return 'it has no end';
  if (length > MAX_LINE) return 'it is longer than any record';
  return length < MIN_LINE
    ? 'it is no record'
    : parseLine(parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts));
}

/** Up to the size that the file had when it was opened, so that a reader ends however fast is written. */
async function* chunksOf({ file, size }: OpenTrail['files'][number]): AsyncGenerator<Buffer> {
  for (let at = 0; at < size; ) {
    const wanted = Math.min(CHUNK, size - at);
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(wanted), 0, wanted, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** The bytes between two records that are none themselves. */
class Gap {
  #hash: Hash | undefined;
  #bytes = 0;

  get isOpen(): boolean {
    return this.#hash !== undefined;
  }

  add(...pieces: readonly Buffer[]): void {
    this.#hash ??= createHash('sha256');
    for (const piece of pieces) {
      this.#bytes += piece.length;
      // More than that no start accounts for, so its hash is not asked for.
      if (piece.length > 0 && this.#bytes <= TAIL) this.#hash.update(piece);
    }
  }

  close(): Damage | undefined {
    const damage = this.#hash === undefined ? undefined : { bytes: this.#bytes, sha256: this.#hash.digest('hex') };
    this.#hash = undefined;
    this.#bytes = 0;
    return damage;
  }
}
