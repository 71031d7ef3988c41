import { type ChildProcess, fork } from 'node:child_process';
import { PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import { type Log, printable } from '../log.ts';
import { parseRadioMessage, type RadioBackend, type RadioMessage, type RadioRequest } from './messages.ts';
import { RadioLink } from './radio-link.ts';

export type Answer = Extract<RadioMessage, { is: 'done' | 'linked' | 'read' }>;
type WithoutId<T> = T extends { readonly id: number } ? Omit<T, 'id'> : never;
export type Question = WithoutId<RadioRequest>;

export interface Timings {
  /** Between two signs of life that are asked for. */
  readonly pingMs: number;
  /** Silence after which the radio is killed: connecting may block its thread for 2 s. */
  readonly silenceMs: number;
  /** For a stop in good order, before it is killed. */
  readonly stopMs: number;
}

export interface LifeEvents {
  readonly onNews: (news: Extract<RadioMessage, { is: 'adapter' | 'heard' }>) => void;
}

export interface LifeParts {
  readonly entry: URL;
  readonly backend: RadioBackend;
  readonly events: LifeEvents;
  readonly log: Log;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly timings: Timings;
}

interface Pending {
  readonly expects: Answer['is'];
  readonly resolve: (answer: Answer) => void;
  readonly reject: (thrown: PorchlightError) => void;
  readonly timer: NodeJS.Timeout;
}

/** A peer can make noble's lists grow without end; a small heap makes that a quick crash instead of a full memory. */
const HEAP_MB = 64;
/** Its garbage is a packet each; without a limit V8 keeps 16 MB for it. */
const YOUNG_MB = 1;
/** More messages in a second than all the lamps of a house could cause, and a radio that hears a flood of adverts tells on. */
const MOST_MESSAGES_PER_SECOND = 3000;
/** What the radio and noble print is for debugging only, and may come from the air. */
const MOST_OUTPUT = 64 * 1024;

/** One run of the radio process, from fork to exit. Everything asked of it ends with it. */
export class RadioLife {
  readonly #parts: LifeParts;
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  readonly #links = new Map<number, RadioLink>();
  readonly #beat: NodeJS.Timeout;
  readonly #counter: { since: number; messages: number } = { since: 0, messages: 0 };
  #nextId = 1;
  #unanswered = 0;
  #reason: string | undefined;
  #output = 0;
  /** Resolves with the reason once the process is gone. */
  readonly ended: Promise<string>;

  private constructor(parts: LifeParts) {
    this.#parts = parts;
    this.#child = fork(parts.entry, [], {
      env: {},
      execArgv: [`--max-old-space-size=${HEAP_MB}`, `--max-semi-space-size=${YOUNG_MB}`],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.#child.on('message', (raw) => this.#receive(raw));
    this.#child.stdout?.on('data', (chunk: Buffer) => this.#print(chunk));
    this.#child.stderr?.on('data', (chunk: Buffer) => this.#print(chunk));
    this.#beat = setInterval(() => this.#heartbeat(), parts.timings.pingMs);
    this.ended = new Promise((resolve) => {
      const end = (how: string): void => {
        clearInterval(this.#beat);
        this.#reason ??= how;
        this.#abandonAll();
        resolve(this.#reason);
      };
      this.#child.once('error', (error) => end(`it could not be run: ${error.message}`));
      this.#child.once('exit', (code, signal) => end(signal === null ? `it exited with ${code}` : `it got ${signal}`));
    });
    this.#send({ op: 'start', backend: parts.backend });
  }

  /** Forks the radio and hands it its controller. */
  static begin(parts: LifeParts): RadioLife {
    return new RadioLife(parts);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Asks, and rejects with the radio's code, with `timed_out` after `deadlineMs`, or with `radio_restarting` at its end. */
  ask(question: Question, expects: Answer['is'], deadlineMs: number): Promise<Answer> {
    return this.askWithId(question, expects, deadlineMs).answer;
  }

  /** The same, for a question that may be cancelled by its id. */
  askWithId(
    question: Question,
    expects: Answer['is'],
    deadlineMs: number,
  ): { readonly id: number; readonly answer: Promise<Answer> } {
    const id = this.#nextId;
    this.#nextId += 1;
    const answer = new Promise<Answer>((resolve, reject) => {
      if (this.#reason !== undefined) return reject(new PorchlightError('radio_restarting'));
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new PorchlightError('timed_out', 'The radio did not answer in time.'));
      }, deadlineMs);
      this.#pending.set(id, { expects, resolve, reject, timer });
      this.#send({ ...question, id });
    });
    return { id, answer };
  }

  /** The link that a `linked` answer announced. */
  adopt(address: string, answer: Extract<Answer, { is: 'linked' }>): RadioLink {
    const link = new RadioLink(this, address, answer.link, answer.characteristics);
    this.#links.set(answer.link, link);
    return link;
  }

  /** Lets the lamps go, then ends; killed when it takes too long. */
  async stop(): Promise<void> {
    this.#reason ??= 'stopped';
    this.#send({ op: 'stop' });
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), this.#parts.timings.stopMs);
    await this.ended;
    clearTimeout(timer);
  }

  #kill(reason: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    // Whoever waits need not wait for the kernel.
    this.#abandonAll();
    this.#child.kill('SIGKILL');
  }

  #send(request: RadioRequest): void {
    if (!this.#child.connected) return;
    this.#child.send(request, (error) => {
      if (error !== null) this.#kill(`its channel broke: ${error.message}`);
    });
  }

  /** Counts signs of life that did not come, not time: a gateway that was itself held up must not blame the radio. */
  #heartbeat(): void {
    const { pingMs, silenceMs } = this.#parts.timings;
    if (this.#unanswered * pingMs >= silenceMs) {
      this.#kill(`it was silent for ${Math.round((this.#unanswered * pingMs) / 1000)} s`);
    } else {
      this.#unanswered += 1;
      this.#send({ op: 'ping', id: 0 });
    }
  }

  #receive(raw: unknown): void {
    if (this.#reason !== undefined) return;
    const now = this.#parts.clock.monotonic();
    this.#unanswered = 0;
    if (now - this.#counter.since > 1000) {
      this.#counter.since = now;
      this.#counter.messages = 0;
    }
    this.#counter.messages += 1;
    if (this.#counter.messages > MOST_MESSAGES_PER_SECOND) {
      this.#kill('it flooded the gateway with messages');
      return;
    }
    const message = parseRadioMessage(raw);
    if (message === undefined) {
      this.#kill('it sent a message that is not one');
      return;
    }
    this.#handle(message);
  }

  #handle(message: RadioMessage): void {
    switch (message.is) {
      case 'done':
      case 'linked':
      case 'read':
        this.#answer(message);
        return;
      case 'failed': {
        const pending = this.#take(message.id);
        pending?.reject(new PorchlightError(message.code, printable(message.message)));
        return;
      }
      case 'notified':
        this.#links.get(message.link)?.hear(message.at, Buffer.from(message.hex, 'hex'));
        return;
      case 'gone': {
        const link = this.#links.get(message.link);
        this.#links.delete(message.link);
        link?.lose(new PorchlightError('link_lost', printable(message.reason)));
        return;
      }
      case 'note':
        this.#parts.log.debug({ radio: printable(message.text) }, 'the radio says');
        return;
      case 'dying':
        this.#kill(printable(message.reason));
        return;
      default:
        this.#parts.events.onNews(message);
        return;
    }
  }

  #answer(message: Answer): void {
    const pending = this.#take(message.id);
    // Nobody waits: the heartbeat's own, or one that came after its deadline.
    if (pending === undefined) return;
    if (pending.expects !== message.is || (message.is === 'linked' && this.#links.has(message.link))) {
      pending.reject(new PorchlightError('radio_restarting'));
      this.#kill('it gave an answer to another question');
      return;
    }
    pending.resolve(message);
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    clearTimeout(pending?.timer);
    return pending;
  }

  #abandonAll(): void {
    const gone = new PorchlightError('link_lost', 'The radio was restarted.');
    for (const link of this.#links.values()) link.lose(gone);
    this.#links.clear();
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new PorchlightError('radio_restarting'));
    }
    this.#pending.clear();
  }

  #print(chunk: Buffer): void {
    this.#output += chunk.length;
    if (this.#output > MOST_OUTPUT) return;
    for (const line of chunk.toString('utf8').split('\n')) {
      if (line !== '') this.#parts.log.debug({ radio: printable(line) }, 'the radio printed');
    }
  }
}
