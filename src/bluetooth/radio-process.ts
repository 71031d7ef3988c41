import { type ChildProcess, fork } from 'node:child_process';
import { Duplex } from 'node:stream';
import { LONGEST_MESSAGE } from './limits.ts';
import { LineChannel } from './line-channel.ts';

export interface ProcessEvents {
  onValue(value: unknown): void;
  /** What came is not what two processes say to each other; nothing more is read. */
  onBroken(reason: string): void;
  /** A line on its standard output or error. */
  onPrinted(line: string): void;
}

/** A peer can make noble's lists grow without end; a small heap makes that a quick crash instead of a full memory. */
const HEAP_MB = 64;
/** Its garbage is a packet each; without a limit V8 keeps 16 MB for it. */
const YOUNG_MB = 1;
/** What the radio and noble print is for debugging only, and may come from the air. */
const MOST_OUTPUT = 64 * 1024;
/** Its last words may still be in the pipe when the process has ended. */
const LAST_WORDS_MS = 200;
/** A process that the kernel holds (a driver that hangs) does not even end when it is killed. The next must not wait for it. */
const UNKILLABLE_MS = 5000;
/** Which of its files the pipe is. */
const PIPE = 4;

/** The radio's process, from fork to exit, and the pipe to it. */
export class RadioProcess {
  readonly #events: ProcessEvents;
  readonly #child: ChildProcess;
  readonly #channel: LineChannel | undefined;
  #printed = 0;
  #finish: (how: string) => void = () => undefined;
  #onClosed: () => void = () => undefined;
  /** Resolves with how it ended, once it is gone. */
  readonly ended: Promise<string>;

  private constructor(child: ChildProcess, events: ProcessEvents) {
    this.#events = events;
    this.#child = child;
    this.ended = new Promise((resolve) => {
      this.#finish = resolve;
    });
    child.stdout?.on('data', (chunk: Buffer) => this.#print(chunk));
    child.stderr?.on('data', (chunk: Buffer) => this.#print(chunk));
    child.once('error', (error) => this.#finish(`it could not be run: ${error.message}`));
    child.once('exit', (code, signal) => this.#exited(signal === null ? `it exited with ${code}` : `it got ${signal}`));
    const pipe = child.stdio[PIPE];
    if (!(pipe instanceof Duplex)) return;
    this.#channel = new LineChannel(pipe, LONGEST_MESSAGE, {
      onValue: (value) => events.onValue(value),
      onBroken: (reason) => events.onBroken(reason),
      onClosed: () => this.#onClosed(),
    });
    this.#channel.open();
  }

  /** Starts it, with an empty environment. */
  static fork(entry: URL, events: ProcessEvents): RadioProcess {
    const child = fork(entry, [], {
      env: {},
      execArgv: [`--max-old-space-size=${HEAP_MB}`, `--max-semi-space-size=${YOUNG_MB}`],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'],
    });
    // `fork` knows which Node is running us; its own channel, which has no bounds, is closed at once.
    if (child.connected) child.disconnect();
    return new RadioProcess(child, events);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Bytes that it was sent and has not taken. */
  get unread(): number {
    return this.#channel?.unread ?? 0;
  }

  send(value: unknown): void {
    this.#channel?.send(value);
  }

  /** Ends it now; nothing more is read from it. */
  kill(): void {
    this.#channel?.close();
    this.#child.kill('SIGKILL');
    setTimeout(() => this.#finish('it does not end'), UNKILLABLE_MS).unref();
  }

  #exited(how: string): void {
    const end = (): void => {
      this.#channel?.close();
      this.#finish(how);
    };
    if (this.#channel?.isOpen === true) {
      this.#onClosed = end;
      setTimeout(end, LAST_WORDS_MS).unref();
    } else {
      end();
    }
  }

  #print(chunk: Buffer): void {
    this.#printed += chunk.length;
    if (this.#printed > MOST_OUTPUT) return;
    for (const line of chunk.toString('utf8').split('\n')) if (line !== '') this.#events.onPrinted(line);
  }
}
