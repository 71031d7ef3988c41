import { asPorchlightError } from '../../errors.ts';
import type { Clock } from '../../lights/port.ts';
import type { Log } from '../../log.ts';
import { type FileSystem, realFileSystem } from '../../storage/file-system.ts';
import { type Found, linkOf, TrailFiles } from './files.ts';
import { Head, type HeadFile } from './head.ts';
import { BEGINNING, type Entry, type Link, seal } from './record.ts';

export interface ChainOptions {
  /** The state directory. */
  readonly folder: string;
  readonly head: HeadFile;
  /** Of all files together. */
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly fs?: FileSystem;
}

/** A record on its way to the disk; its number is known once it was written. */
export interface Noted {
  readonly seq: number | undefined;
}

export interface Waiting {
  readonly entry: Entry;
  readonly at: string;
  /** The record that this one is about. */
  readonly of?: Noted | undefined;
  seq: number | undefined;
}

/** An SD card is asked to make the trail durable at most this often. */
const SYNC_MS = 1_000;
/** The head is saved as a file of its own, which costs a card more than the line does. */
const HEAD_MS = 10_000;

/** The chain of records on the disk: seals and appends, finds out at the start where it ended, and makes durable what was written. */
export class Chain {
  readonly #options: ChainOptions;
  readonly #files: TrailFiles;
  #link: Link = BEGINNING;
  /** The oldest record that is still kept. */
  #first = 1;
  #opened = false;
  #unclean = false;
  /** Goes before everything else: what was wrong with how the trail was found. */
  #firsts: readonly Entry[] = [];
  #unsyncedSince: number | undefined;
  #syncedAt = Number.NEGATIVE_INFINITY;
  #headAt = Number.NEGATIVE_INFINITY;
  #headSeq = 0;
  #durable = true;

  constructor(options: ChainOptions) {
    this.#options = options;
    this.#files = new TrailFiles(options.folder, options.fs ?? realFileSystem, options.maxBytes);
  }

  /** The last record that was written. */
  get seq(): number {
    return this.#link.seq;
  }

  /** The run before this one came to no orderly end. */
  get unclean(): boolean {
    return this.#unclean;
  }

  /** When `tick` has something to do, monotonic ms. */
  get next(): number {
    if (this.#unsyncedSince !== undefined) return Math.max(this.#unsyncedSince, this.#syncedAt) + SYNC_MS;
    return this.#headSeq < this.#link.seq ? this.#headAt + HEAD_MS : Number.POSITIVE_INFINITY;
  }

  /** Makes durable what is due. False: the file was moved away or cut; the next write finds what is missing and says so. */
  async tick(): Promise<boolean> {
    const now = this.#options.clock.monotonic();
    if (now < this.next) return true;
    const link = this.#link;
    let mine = true;
    await this.#durably(async () => {
      if (this.#unsyncedSince !== undefined) mine = await this.#sync(now);
      if (now >= this.#headAt + HEAD_MS) await this.#saveHead(link);
    });
    return mine;
  }

  /** Makes everything durable and lets go of the files. */
  async close(): Promise<void> {
    if (this.#files.isOpen) {
      await this.#durably(async () => {
        if (!(await this.#sync(this.#options.clock.monotonic()))) await this.write([], []);
        await this.#saveHead(this.#link);
      });
    }
    await this.#files.close();
  }

  /** Appends, in one write: what is wrong with the trail, then `before`, then `batch`. Rejects as the file system does; nothing is then written. */
  async write(before: readonly Entry[], batch: readonly Waiting[]): Promise<void> {
    if (!this.#files.isOpen) await this.#open();
    const firsts = [...this.#firsts, ...before];
    let sealed = this.#seal(firsts, batch);
    if (sealed.lines === '') return;
    if (this.#files.isFull(Buffer.byteLength(sealed.lines))) {
      const first = await this.#files.rotate((kept) => this.#forget(kept));
      this.#first = first ?? this.#first;
      sealed = this.#seal([rotated(this.#first), ...firsts], batch);
    }
    await this.#files.append(sealed.lines);
    this.#firsts = [];
    this.#link = sealed.link;
    for (const [at, waiting] of batch.entries()) waiting.seq = sealed.link.seq - batch.length + 1 + at;
    this.#unsyncedSince ??= this.#options.clock.monotonic();
  }

  #seal(firsts: readonly Entry[], batch: readonly Waiting[]): { readonly lines: string; readonly link: Link } {
    let link = this.#link;
    const lines: string[] = [];
    const add = (entry: Entry, at: string): number => {
      const { line, ...next } = seal(entry, at, link);
      link = next;
      lines.push(line);
      return next.seq;
    };
    for (const entry of firsts) add(entry, this.#now());
    const here = new Map<Noted, number>();
    for (const waiting of batch) {
      const about = waiting.of === undefined ? undefined : (waiting.of.seq ?? here.get(waiting.of));
      here.set(waiting, add(about === undefined ? waiting.entry : { ...waiting.entry, of: about }, waiting.at));
    }
    return { lines: lines.join(''), link };
  }

  /** Finds where the trail ended, and notes what is wrong with that. */
  async #open(): Promise<void> {
    const { head: file, log } = this.#options;
    const head = this.#opened ? this.#knownHead() : Head.safeParse(await file.load()).data;
    const found = await this.#files.open();
    const last = found.last === undefined ? BEGINNING : linkOf(found.last);
    const faults = faultsOf(found, last, head);
    this.#link = { seq: Math.max(last.seq, head?.seq ?? 0), hash: last.hash };
    this.#first = head?.first ?? found.first ?? this.#link.seq + 1;
    if (faults !== undefined) {
      log.warn(faults, 'the audit trail was damaged; a record says so');
      this.#firsts = [{ event: 'repaired', by: 'gateway', ...faults }];
    }
    this.#unclean = found.last !== undefined && found.last.event !== 'stopped' && !this.#opened;
    this.#opened = true;
  }

  #knownHead(): Head | undefined {
    const { seq, hash } = this.#link;
    return seq === 0 ? undefined : { seq, hash, first: this.#first };
  }

  async #forget(kept: number | undefined): Promise<void> {
    this.#first = kept ?? this.#link.seq + 1;
    await this.#saveHead(this.#link);
  }

  /** False: the file is not the one that was written. */
  async #sync(now: number): Promise<boolean> {
    this.#unsyncedSince = undefined;
    this.#syncedAt = now;
    if (await this.#files.sync()) return true;
    this.#options.log.warn('the audit trail was moved or cut while the gateway ran');
    await this.#files.close();
    return false;
  }

  /** What fails to become durable may be lost by a power cut; the next write tells whether the disk takes anything at all. */
  async #durably(step: () => Promise<void>): Promise<void> {
    try {
      await step();
      this.#durable = true;
    } catch (thrown) {
      const { code } = asPorchlightError(thrown, 'state_unusable');
      if (this.#durable) this.#options.log.warn({ code }, 'the audit trail can not be made durable; it is tried again');
      this.#durable = false;
      this.#unsyncedSince = this.#options.clock.monotonic();
    }
  }

  async #saveHead({ seq, hash }: Link): Promise<void> {
    if (seq === 0) return;
    this.#headAt = this.#options.clock.monotonic();
    await this.#options.head.save({ seq, hash, first: Math.min(this.#first, seq + 1) });
    this.#headSeq = seq;
  }

  #now(): string {
    return timeOf(this.#options.clock);
  }
}

/** The wall clock as a record shows it. */
export function timeOf(clock: Clock): string {
  const wall = clock.wall();
  return new Date(Math.abs(wall) <= 8.64e15 ? wall : 0).toISOString();
}

const rotated = (first: number): Entry => ({ event: 'rotated', by: 'gateway', from: first });

/** What is wrong with how the trail was found: `last` is its end, `head` what it is remembered to have been. */
function faultsOf({ damage, unreadable }: Found, last: Link, head: Head | undefined): Partial<Entry> | undefined {
  const missing = head !== undefined && head.seq > last.seq ? { from: last.seq + 1, to: head.seq } : undefined;
  const replaced = head?.seq === last.seq && head.hash !== last.hash;
  if (damage === undefined && missing === undefined && !unreadable && !replaced) return undefined;
  return {
    ...damage,
    ...(missing !== undefined && { missing }),
    ...(unreadable && { unreadable }),
    ...(replaced && { replaced }),
  };
}
