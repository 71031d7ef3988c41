import type { Duplex } from 'node:stream';

export interface ChannelEvents {
  onValue(value: unknown): void;
  /** What came was not lines of JSON, or a line was too long; nothing more is read. */
  onBroken(reason: string): void;
  /** The other side has closed, or is gone. Called once. */
  onClosed(): void;
}

const NEWLINE = 0x0a;

/**
 * JSON values, one a line, over a stream between two processes that need not trust each other: what waits of an unfinished
 * line is bounded. (Node's own channel between processes collects a line without any limit, and its writer cannot be asked how
 * much the other side has left unread.)
 */
export class LineChannel {
  readonly #stream: Duplex;
  readonly #events: ChannelEvents;
  readonly #longest: number;
  #parts: Buffer[] = [];
  #waiting = 0;
  #done = false;

  /** `longest`: bytes that a line may have. */
  constructor(stream: Duplex, longest: number, events: ChannelEvents) {
    this.#stream = stream;
    this.#longest = longest;
    this.#events = events;
  }

  /** Begins to read. */
  open(): void {
    this.#stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    // Its end follows, and is what counts.
    this.#stream.on('error', () => this.#stream.destroy());
    this.#stream.once('close', () => this.#events.onClosed());
  }

  get isOpen(): boolean {
    return !this.#done && !this.#stream.destroyed && this.#stream.writable;
  }

  /** Bytes that were sent and that the other side has not taken. */
  get unread(): number {
    return this.#stream.writableLength;
  }

  /** `onSent`: it was handed to the kernel, or never will be. */
  send(value: unknown, onSent?: () => void): void {
    if (this.isOpen)
      this.#stream.write(`${JSON.stringify(value)}\n`, onSent === undefined ? undefined : () => onSent());
    else onSent?.();
  }

  close(): void {
    this.#done = true;
    this.#parts = [];
    this.#waiting = 0;
    this.#stream.destroy();
  }

  #receive(chunk: Buffer): void {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      if (!this.#take(chunk.subarray(from, at))) return;
      const line = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
      this.#parts = [];
      this.#waiting = 0;
      from = at + 1;
      this.#parse(line?.toString('utf8') ?? '');
      if (this.#done) return;
    }
    if (from < chunk.length) this.#take(chunk.subarray(from));
  }

  #take(part: Buffer): boolean {
    if (this.#done) return false;
    this.#parts.push(part);
    this.#waiting += part.length;
    if (this.#waiting <= this.#longest) return true;
    this.#break('a line that is too long');
    return false;
  }

  #parse(line: string): void {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      this.#break('a line that is not JSON');
      return;
    }
    this.#events.onValue(value);
  }

  #break(reason: string): void {
    this.close();
    this.#events.onBroken(reason);
  }
}
