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
const POLL_MS = 25;

/** HCI status codes (Core specification, Vol 1, Part F). */
const CONNECTION_LIMIT = 0x09;
const LIMITED_RESOURCES = 0x0d;

interface Attempt {
  readonly address: string;
  readonly fail: (thrown: PorchlightError) => void;
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
      await before;
      if (signal.aborted || performance.now() >= until) throw new PorchlightError('unreachable');
      return await this.#attempt(address, until, signal, make);
    } finally {
      this.#waiting -= 1;
      done();
    }
  }

  giveUp(reason: PorchlightError): void {
    this.#current?.fail(reason);
  }

  /** The controller's word on a connection. noble keeps a failure to itself where it never met the peer. */
  onConnection(address: string, status: number): void {
    const current = this.#current;
    if (status === 0 || current === undefined || current.address !== address) return;
    const hex = `0x${status.toString(16).padStart(2, '0')}`;
    current.fail(
      status === CONNECTION_LIMIT || status === LIMITED_RESOURCES
        ? new PorchlightError('out_of_slots', `The adapter has no room for another connection (${hex}).`)
        : new PorchlightError('connect_failed', `The connection to the lamp could not be made (${hex}).`),
    );
  }

  async #attempt<T>(
    address: string,
    until: number,
    signal: AbortSignal,
    make: (peripheral: NoblePeripheral) => T,
  ): Promise<T> {
    const id = address.replaceAll(':', '');
    const creations = this.#guard.creations;
    let failedByUs = false;
    try {
      return await new Promise<T>((resolve, reject) => {
        const giveUp = (): void => {
          failedByUs = true;
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
          if (peripheral !== undefined && (error === undefined || error === null)) resolve(make(peripheral));
          else reject(new PorchlightError('connect_failed', undefined, { cause: error }));
        });
      });
    } catch (thrown) {
      if (failedByUs) {
        await this.#letGo(id, creations);
        // Only silence speaks against the type: a connection that failed was begun with a lamp that answered to it.
        this.#guessed.set(address, this.#typeOf(address) === 'public' ? 'random' : 'public');
      }
      throw thrown;
    } finally {
      this.#current = undefined;
    }
  }

  /**
   * Cancels, and waits until the controller has really let go. The attempt may not even have reached it yet; and where it never
   * does (the answer to noble's reset before it was lost), noble would keep every later one waiting behind it, for ever.
   */
  async #letGo(id: string, creations: number): Promise<void> {
    this.#noble.cancelConnect(id);
    const until = performance.now() + CANCEL_MS;
    let quiet = 0;
    for (let round = 1; performance.now() < until; round += 1) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      quiet = this.#guard.creating || this.#guard.creations === creations ? 0 : quiet + 1;
      if (quiet >= 4) return;
      if (this.#guard.creating && round % 20 === 0) this.#guard.cancelCreation();
    }
    this.#fatal('a connection attempt cannot be cancelled');
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
