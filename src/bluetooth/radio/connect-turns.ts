import { PorchlightError } from '../../errors.ts';
import type { Directory } from './directory.ts';
import type { HciGuard } from './hci-guard.ts';
import type { Noble, NoblePeripheral } from './noble.ts';

/**
 * 7.5 to 22.5 ms between connection events, and 6 s without a packet until the link counts as lost: noble's 420 ms break
 * links on small gaps (analogdevicesinc/msdk#1508: about 3 % at 420 ms, none at 720 ms).
 */
const PARAMETERS = { minInterval: 6, maxInterval: 18, latency: 0, timeout: 600 } as const;

/** How long a cancelled attempt may take to end; after that the controller, or noble, is stuck. */
const CANCEL_MS = 3000;
const POLL_MS = 5;
/** How often the controller is told again that nothing is wanted of it. */
const AGAIN_MS = 500;

/** A connection that has ended for us is ended by the controller within its supervision timeout. */
const HELD_MS = PARAMETERS.timeout * 10 + 2000;
/** Refusals further apart than this are not of one connection. */
const HELD_GAP_MS = 15_000;

/** HCI status codes (Core specification, Vol 1, Part F). */
const CONNECTION_LIMIT = 0x09;
const CONNECTION_EXISTS = 0x0b;
const LIMITED_RESOURCES = 0x0d;

interface Attempt {
  readonly address: string;
  readonly fail: (thrown: PorchlightError) => void;
}

/** An attempt that nobody wants any more. */
interface Abandoned {
  readonly id: string;
  /** How many attempts the controller had been told to make before this one. */
  readonly creations: number;
  /** The connection that came all the same, while it is being ended. */
  unwanted: NoblePeripheral | undefined;
}

/**
 * Makes connections one at a time: a controller has one attempt in hand, and noble leaves every later one waiting behind an
 * attempt that it has lost. Each ends at its deadline, and the next begins only when the controller has let go.
 */
export class ConnectTurns {
  readonly #noble: Noble;
  readonly #guard: HciGuard;
  readonly #directory: Directory;
  readonly #fatal: (reason: string) => void;
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #current: Attempt | undefined;
  /** The lamp to which the controller says it is still connected: since when, and when it said so last. */
  #held: { readonly address: string; readonly since: number; at: number } | undefined;
  /** Addresses never heard, and the type that is tried next. */
  readonly #guessed = new Map<string, 'public' | 'random'>();

  constructor(noble: Noble, guard: HciGuard, directory: Directory, fatal: (reason: string) => void) {
    this.#noble = noble;
    this.#guard = guard;
    this.#directory = directory;
    this.#fatal = fatal;
  }

  /** True while attempts run or wait. */
  get busy(): boolean {
    return this.#waiting > 0;
  }

  /**
   * `make` is called in the very moment of the connection: its end may stand in the next packet.
   * Rejects with `unreachable` at the deadline (`until`, monotonic ms), `connect_failed`, `out_of_slots`, `adapter_off`.
   */
  async connect<T>(
    address: string,
    until: number,
    signal: AbortSignal,
    make: (peripheral: NoblePeripheral) => T,
  ): Promise<T> {
    this.#waiting += 1;
    const before = this.#tail;
    let done = (): void => undefined;
    this.#tail = new Promise<void>((resolve) => {
      done = resolve;
    });
    try {
      await turn(before, until, signal);
      return await this.#attempt(address, until, signal, make);
    } finally {
      this.#waiting -= 1;
      // One that gave up while it waited does not let the next one past those before it.
      void before.then(done);
    }
  }

  giveUp(reason: PorchlightError): void {
    this.#current?.fail(reason);
  }

  /** The controller's word on a connection. noble keeps a failure to itself where it never met the peer. */
  onConnection(address: string, status: number): void {
    const current = this.#current;
    if (status === CONNECTION_EXISTS) this.#hold(address);
    else if (this.#held?.address === address) this.#held = undefined;
    if (status === 0 || current === undefined || current.address !== address) return;
    current.fail(failure(status));
  }

  /** Nobody else uses a controller that is ours alone: a link that it keeps for too long can be ended only by its reset. */
  #hold(address: string): void {
    const now = performance.now();
    const held = this.#held;
    if (held?.address !== address || now - held.at > HELD_GAP_MS) {
      if (held === undefined || now - held.at > HELD_GAP_MS) this.#held = { address, since: now, at: now };
      return;
    }
    held.at = now;
    if (!this.#guard.shared && now - held.since > HELD_MS) this.#fatal('the adapter keeps a connection that has ended');
  }

  async #attempt<T>(
    address: string,
    until: number,
    signal: AbortSignal,
    make: (peripheral: NoblePeripheral) => T,
  ): Promise<T> {
    const id = address.replaceAll(':', '');
    const abandoned: Abandoned = { id, creations: this.#guard.creations, unwanted: undefined };
    let failedByUs = false;
    try {
      return await new Promise<T>((resolve, reject) => {
        const giveUp = (): void => {
          failedByUs = true;
          end();
          reject(new PorchlightError('unreachable'));
        };
        const timer = setTimeout(giveUp, Math.max(1, until - performance.now()));
        const end = (): void => {
          clearTimeout(timer);
          signal.removeEventListener('abort', giveUp);
        };
        const fail = (thrown: PorchlightError): void => {
          end();
          reject(thrown);
        };
        signal.addEventListener('abort', giveUp, { once: true });
        this.#current = { address, fail };
        this.#noble.connect(id, { ...PARAMETERS, addressType: this.#typeOf(address) }, (error, peripheral) => {
          end();
          if (peripheral === undefined || (error !== undefined && error !== null)) {
            reject(new PorchlightError('connect_failed', undefined, { cause: error }));
          } else if (failedByUs) {
            abandoned.unwanted = peripheral;
          } else {
            resolve(make(peripheral));
          }
        });
      });
    } catch (thrown) {
      if (failedByUs) {
        await this.#letGo(abandoned);
        // Only silence speaks against the type: a connection that failed was begun with a lamp that answered to it.
        if (!signal.aborted) this.#guessed.set(address, this.#typeOf(address) === 'public' ? 'random' : 'public');
      }
      throw thrown;
    } finally {
      this.#current = undefined;
    }
  }

  /**
   * Cancels, and waits until the controller has really let go. A cancel that overtakes the attempt (which waits for the scan to
   * stop, or for a reset) would cancel nothing, so the attempt is let through first. Where it never reaches the controller (the
   * answer to noble's reset before it was lost), noble would keep every later one waiting behind it, for ever.
   */
  async #letGo(abandoned: Abandoned): Promise<void> {
    const until = performance.now() + CANCEL_MS;
    let told = Number.NEGATIVE_INFINITY;
    let ending = false;
    for (; performance.now() < until; await new Promise((resolve) => setTimeout(resolve, POLL_MS))) {
      const { unwanted } = abandoned;
      if (unwanted !== undefined) {
        if (!ending) unwanted.disconnect();
        ending = true;
        if (unwanted.state !== 'connected' && unwanted.state !== 'disconnecting') return;
      } else if (this.#guard.creating) {
        if (told === Number.NEGATIVE_INFINITY) this.#noble.cancelConnect(abandoned.id);
        else if (performance.now() - told > AGAIN_MS) this.#guard.cancelCreation();
        else continue;
        told = performance.now();
      } else if (this.#guard.creations !== abandoned.creations) {
        return;
      }
    }
    // A lamp that has vanished keeps its link until the supervision timeout; that is no reason to begin anew.
    if (!ending) this.#fatal('a connection attempt cannot be cancelled');
  }

  /**
   * As heard; else a guess, the other way round after each attempt that nobody answered. A static random address has its two upper bits set
   * (Core specification, Vol 6, Part B, 1.3.2.1).
   */
  #typeOf(address: string): 'public' | 'random' {
    const heard = this.#directory.find(address)?.addressType;
    if (heard !== undefined) return heard;
    return this.#guessed.get(address) ?? (Number.parseInt(address.slice(0, 2), 16) >= 0xc0 ? 'random' : 'public');
  }
}

/** Waits for the turn. Rejects with `unreachable` where nobody wants it any more before it comes. */
async function turn(before: Promise<unknown>, until: number, signal: AbortSignal): Promise<void> {
  const unwanted = new PorchlightError('unreachable');
  await new Promise<void>((resolve, reject) => {
    const giveUp = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
      reject(unwanted);
    };
    const timer = setTimeout(giveUp, Math.max(1, until - performance.now()));
    signal.addEventListener('abort', giveUp, { once: true });
    void before.then(() => {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
      if (signal.aborted || performance.now() >= until) reject(unwanted);
      else resolve();
    });
  });
}

/** What a status of the controller means to a person. */
function failure(status: number): PorchlightError {
  const hex = `0x${status.toString(16).padStart(2, '0')}`;
  switch (status) {
    case CONNECTION_LIMIT:
    case LIMITED_RESOURCES:
      return new PorchlightError('out_of_slots', `The adapter has no room for another connection (${hex}).`);
    case CONNECTION_EXISTS:
      return new PorchlightError(
        'connect_failed',
        `The adapter still holds a connection to the lamp (${hex}). It ends within seconds, unless another program uses the lamp.`,
      );
    default:
      return new PorchlightError('connect_failed', `The connection to the lamp could not be made (${hex}).`);
  }
}
