import { PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import { type Log, printable } from '../log.ts';
import type { RadioEnd, Sign } from './central.ts';
import type { LogCauses } from './log-causes.ts';
import { parseRadioMessage, type RadioBackend, type RadioMessage, type RadioRequest } from './messages.ts';
import { RadioLink } from './radio-link.ts';
import { RadioProcess } from './radio-process.ts';

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

/** What a radio says unasked, and its signs of life. */
export type News = Extract<RadioMessage, { is: 'adapter' | 'heard' | 'alive' }>;

export interface LifeEvents {
  readonly onNews: (news: News) => void;
  readonly onSign: (sign: Sign) => void;
}

export interface LifeParts {
  readonly entry: URL;
  readonly backend: RadioBackend;
  readonly events: LifeEvents;
  readonly log: Log;
  /** Over all lives: what each life says once is not to be said by each of a thousand. */
  readonly causes: LogCauses;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly timings: Timings;
}

interface Pending {
  readonly op: Question['op'];
  readonly expects: Answer['is'];
  readonly resolve: (answer: Answer) => void;
  readonly reject: (thrown: PorchlightError) => void;
  readonly timer: NodeJS.Timeout;
  /** For a connect: the connection stands. */
  readonly onConnected: (() => void) | undefined;
}

/** More messages in a second than all the lamps of a house could cause, and a radio that hears a flood of adverts tells on. */
const MOST_MESSAGES_PER_SECOND = 3000;
/** So many may wait in the pipe while the gateway itself is held up: the radio does not let more than half a megabyte wait. */
const MOST_MESSAGES_AT_ONCE = 3 * MOST_MESSAGES_PER_SECOND;
/** A radio that does not read what it is told; a whole scene for fifty lamps is a tenth of this. */
const MOST_UNREAD = 512 * 1024;
/** One run of the radio process, from fork to exit. Everything asked of it ends with it. */
export class RadioLife {
  readonly #parts: LifeParts;
  readonly #child: RadioProcess;
  readonly #pending = new Map<number, Pending>();
  readonly #links = new Map<number, RadioLink>();
  readonly #beat: NodeJS.Timeout;
  readonly #budget = { at: Number.NEGATIVE_INFINITY, messages: MOST_MESSAGES_AT_ONCE };
  #nextId = 1;
  #unanswered = 0;
  #end: RadioEnd | undefined;
  /** Resolves once the process is gone. */
  readonly ended: Promise<RadioEnd>;

  private constructor(parts: LifeParts) {
    this.#parts = parts;
    this.#child = RadioProcess.fork(parts.entry, {
      onValue: (value) => this.#receive(value),
      onBroken: (reason) => this.#kill(`it sent ${reason}`),
      onPrinted: (line) => this.#logWords(line, 'the radio printed'),
    });
    this.#beat = setInterval(() => this.#heartbeat(), parts.timings.pingMs);
    this.ended = this.#child.ended.then((how) => {
      clearInterval(this.#beat);
      return this.#conclude(how);
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
    onConnected?: () => void,
  ): { readonly id: number; readonly answer: Promise<Answer> } {
    const id = this.#nextId;
    this.#nextId += 1;
    const answer = new Promise<Answer>((resolve, reject) => {
      if (this.#end !== undefined) return reject(new PorchlightError('radio_restarting'));
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new PorchlightError('timed_out', 'The radio did not answer in time.'));
      }, deadlineMs);
      this.#pending.set(id, { op: question.op, expects, resolve, reject, timer, onConnected });
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
  async stop(reason = 'stopped'): Promise<void> {
    this.#end ??= { reason, connecting: this.#isConnecting() };
    this.#send({ op: 'stop' });
    const timer = setTimeout(() => this.#child.kill(), this.#parts.timings.stopMs);
    await this.ended;
    clearTimeout(timer);
  }

  #kill(reason: string, code?: RadioEnd['code']): void {
    if (this.#end !== undefined) return;
    this.#conclude(reason, code);
    this.#child.kill();
  }

  /** Nothing more is taken from it, and whoever waits need not wait for the kernel. */
  #conclude(reason: string, code?: RadioEnd['code']): RadioEnd {
    this.#end ??= { reason, connecting: this.#isConnecting(), ...(code !== undefined ? { code } : {}) };
    this.#abandonAll();
    return this.#end;
  }

  #isConnecting(): boolean {
    return [...this.#pending.values()].some(({ op }) => op === 'connect');
  }

  #send(request: RadioRequest): void {
    this.#child.send(request);
    if (this.#child.unread > MOST_UNREAD) this.#kill('it does not read what it is told');
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
    if (this.#end !== undefined) return;
    this.#unanswered = 0;
    if (!this.#isWithinBudget()) {
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

  #isWithinBudget(): boolean {
    const now = this.#parts.clock.monotonic();
    const gained = ((now - this.#budget.at) * MOST_MESSAGES_PER_SECOND) / 1000;
    this.#budget.messages = Math.min(this.#budget.messages + gained, MOST_MESSAGES_AT_ONCE) - 1;
    this.#budget.at = now;
    return this.#budget.messages >= 0;
  }

  #handle(message: RadioMessage): void {
    switch (message.is) {
      case 'done':
      case 'linked':
      case 'read':
        this.#answer(message);
        return;
      case 'connected':
        this.#pending.get(message.id)?.onConnected?.();
        return;
      case 'failed': {
        const pending = this.#take(message.id);
        if (pending?.op === 'connect' && LET_GO.has(message.code)) this.#parts.events.onSign('let_go');
        const { code, hint } = message;
        const options = hint === undefined ? {} : { hint: printable(hint) };
        pending?.reject(new PorchlightError(code, printable(message.message), options));
        return;
      }
      case 'notified':
        this.#parts.events.onSign('answered');
        this.#links.get(message.link)?.hear(message.at, Buffer.from(message.hex, 'hex'));
        return;
      case 'gone': {
        const link = this.#links.get(message.link);
        this.#links.delete(message.link);
        link?.lose(new PorchlightError('link_lost', printable(message.reason)));
        return;
      }
      case 'note':
        this.#logWords(message.text, 'the radio says');
        return;
      case 'dying':
        this.#kill(printable(message.reason), message.code);
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
    const sign = signOf(pending.op);
    if (sign !== undefined) this.#parts.events.onSign(sign);
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

  #logWords(text: string, what: string): void {
    const passed = this.#parts.causes.pass(`${what}: ${text}`, this.#parts.clock.monotonic());
    if (passed !== undefined) this.#parts.log.debug({ radio: printable(text), ...passed }, what);
  }
}

/** Ends of an attempt that are the controller's own word. `unreachable` may also be said of one that only waited. */
const LET_GO: ReadonlySet<string> = new Set(['connect_failed', 'out_of_slots']);

/** What an answer to this question shows. */
function signOf(op: Question['op']): Sign | undefined {
  if (op === 'connect') return 'linked';
  return op === 'write' || op === 'read' || op === 'subscribe' ? 'answered' : undefined;
}
