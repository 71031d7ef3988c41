import { Message, type MessageBus, MessageType, sessionBus } from '@particle/dbus-next';
import { PorchlightError } from '../../../errors.ts';

/** Where the system's bus listens (D-Bus specification, "Well-known Message Bus Instances"). */
const SYSTEM_BUS = 'unix:path=/run/dbus/system_bus_socket';
/** For the handshake and the bus's greeting, which take milliseconds. */
const OPEN_MS = 5000;
const CALL_MS = 5000;

export interface Signal {
  /** The unique name of who sent it; the bus vouches for it. */
  readonly sender: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly body: readonly unknown[];
}

export interface Call {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature?: string;
  readonly body?: readonly unknown[];
}

/** A method call that was answered with an error, or not at all. */
export class CallFailed extends PorchlightError {
  /** `org.bluez.Error.Failed` and the like; for silence `NO_REPLY`, for a lost bus `DISCONNECTED`. */
  readonly error: string;
  readonly text: string;

  constructor(error: string, text: string) {
    super('internal', `${error}: ${text}`.slice(0, 200));
    this.error = error;
    this.text = text;
  }
}

export const NO_REPLY = 'org.freedesktop.DBus.Error.NoReply';
export const DISCONNECTED = 'org.freedesktop.DBus.Error.Disconnected';

interface Pending {
  readonly answer: (values: readonly unknown[]) => void;
  readonly fail: (thrown: CallFailed) => void;
}

/**
 * A connection to a message bus: calls with a deadline, and signals. The library has neither deadlines nor a word for a bus
 * that went away, and an error that nobody listens for ends the process.
 */
export class Bus {
  readonly #library: MessageBus;
  readonly #onSignal: (signal: Signal) => void;
  readonly #onClosed: (reason: string) => void;
  /** By serial. */
  readonly #pending = new Map<number, Pending>();
  readonly #inbox: Message[] = [];
  #delivering = false;
  #closed = false;

  private constructor(library: MessageBus, onSignal: (signal: Signal) => void, onClosed: (reason: string) => void) {
    this.#library = library;
    this.#onSignal = onSignal;
    this.#onClosed = onClosed;
  }

  /** Connects as the user of this process. Rejects with the reason where no bus answers. `onClosed` comes once, after that. */
  static async open(
    address: string | undefined,
    onSignal: (signal: Signal) => void,
    onClosed: (reason: string) => void,
  ): Promise<Bus> {
    // Only by the user id that the kernel vouches for: the other ways look for files of cookies.
    const library = sessionBus({ busAddress: address ?? SYSTEM_BUS, authMethods: ['EXTERNAL'] });
    const bus = new Bus(library, onSignal, onClosed);
    let opened = false;
    await new Promise<void>((resolve, reject) => {
      const giveUp = (why: CallFailed): void => {
        clearTimeout(timer);
        bus.close();
        reject(why);
      };
      const timer = setTimeout(() => giveUp(new CallFailed(NO_REPLY, 'the bus does not answer')), OPEN_MS);
      // For good: an error that comes later, or again, has to find a listener too.
      library.on('error', (thrown: unknown) => {
        if (!opened) giveUp(new CallFailed(DISCONNECTED, reasonOf(thrown)));
        else if (isEnd(thrown)) bus.#lose(reasonOf(thrown));
      });
      library.on('connect', () => {
        clearTimeout(timer);
        opened = true;
        resolve();
      });
    });
    library.on('message', (message) => {
      bus.#inbox.push(message);
      // Not in this turn: what is thrown here the library would answer with a message to whoever sent this one.
      if (!bus.#delivering) setImmediate(() => bus.#deliver());
      bus.#delivering = true;
    });
    return bus;
  }

  /** The answer's values. Rejects with `CallFailed`, after `deadlineMs` at the latest. */
  call({ body = [], signature = '', ...to }: Call, deadlineMs = CALL_MS): Promise<readonly unknown[]> {
    const serial = this.#library.newSerial();
    return new Promise((resolve, reject) => {
      const end = (finish: () => void): void => {
        clearTimeout(timer);
        this.#pending.delete(serial);
        finish();
      };
      const fail = (thrown: CallFailed): void => end(() => reject(thrown));
      const timer = setTimeout(
        () => fail(new CallFailed(NO_REPLY, `${to.member} was not answered`)),
        Math.max(1, deadlineMs),
      );
      if (this.#closed) return fail(new CallFailed(DISCONNECTED, 'the bus is gone'));
      this.#pending.set(serial, { answer: (values) => end(() => resolve(values)), fail });
      try {
        this.#library.send(new Message({ ...to, serial, signature, body: [...body] }));
      } catch (thrown) {
        fail(new CallFailed(DISCONNECTED, reasonOf(thrown)));
        if (isEnd(thrown)) this.#lose(reasonOf(thrown));
      }
    });
  }

  /**
   * In the order in which they came: who awaited an answer goes on before the signal after it is told. The library hands over a
   * whole batch in one turn, and a value read would else be acted upon after the signal that says that it has changed.
   */
  #deliver(): void {
    for (let next = this.#inbox.shift(); next !== undefined; next = this.#inbox.shift()) {
      if (next.type === MessageType.SIGNAL) {
        const { sender, path, interface: from, member, body } = next;
        this.#onSignal({ sender, path, interface: from, member, body });
      } else if (this.#settle(next)) {
        setImmediate(() => this.#deliver());
        return;
      }
    }
    this.#delivering = false;
  }

  /** True where somebody awaited it. */
  #settle({ type, replySerial, body, errorName }: Message): boolean {
    const pending = type === MessageType.METHOD_CALL ? undefined : this.#pending.get(Number(replySerial));
    if (type === MessageType.ERROR) pending?.fail(new CallFailed(errorName, reasonOf(body[0] ?? '')));
    else pending?.answer(body);
    return pending !== undefined;
  }

  close(): void {
    this.#end('the bus was left');
    this.#library.disconnect();
  }

  #lose(reason: string): void {
    if (this.#end(reason)) this.#onClosed(reason);
  }

  #end(reason: string): boolean {
    if (this.#closed) return false;
    this.#closed = true;
    for (const { fail } of this.#pending.values()) fail(new CallFailed(DISCONNECTED, reason));
    return true;
  }
}

/** The socket's errors have a code; the library notices an end when it is to send. Other errors are a message that it did not like. */
const isEnd = (thrown: unknown): boolean =>
  thrown instanceof Error && ('code' in thrown || /closed stream|stream is closed/.test(thrown.message));

const reasonOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown)).slice(0, 200);
