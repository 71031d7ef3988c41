import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import type { Log } from '../log.ts';
import type { Central, Link } from './central.ts';
import { isRetried, Line, type Use } from './link-line.ts';

export interface LinksParts {
  readonly central: Central;
  /** How many links the adapter may have at once. */
  readonly maxConnections: number;
  /** A link that nobody used for this long is given back, so that a phone can have the lamp. */
  readonly idleMs: number;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly log: Log;
}

export interface LinksStatus {
  readonly used: number;
  readonly max: number;
  /** Lamps that somebody wants and that have no link. */
  readonly waiting: number;
  readonly links: readonly {
    readonly address: string;
    readonly state: 'connecting' | 'connected' | 'releasing';
    readonly busy: boolean;
  }[];
}

/** An attempt's deadline when nobody else waits: some lamps advertise every few seconds only. */
const ATTEMPT_MS = 10_000;
/** When others wait: a lamp that was heard answers in less, and one that was not must not hold up those that were. */
const ATTEMPT_OTHERS_MS = 4000;
const ATTEMPT_UNHEARD_OTHERS_MS = 2000;
/** A lamp that is commanded without pause gives way to one that has waited this long for a slot. */
const PATIENCE_MS = 2000;
const CLOSE_MS = 1000;
/** Should nobody say that the adapter is back. */
const ADAPTER_POLL_MS = 500;

/**
 * The link budget: who has one of the adapter's few connections. One turn at a time per lamp, one attempt at a time for all.
 * Retries are spent here and nowhere else.
 */
export class Links {
  readonly #parts: LinksParts;
  readonly #lines = new Map<string, Line>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(parts: LinksParts) {
    this.#parts = parts;
  }

  /**
   * Finds or makes the link and runs `turn` with it, again after failures of the air until `until` (monotonic ms) or
   * `signal`; then rejects with the last failure. A turn that has begun is awaited, even beyond `until`.
   */
  use<T>(address: string, until: number, turn: (link: Link) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed || signal?.aborted === true) return reject(new PorchlightError('stopping'));
      const line = this.#line(address);
      let over = false;
      const end = (): boolean => {
        if (over) return false;
        over = true;
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        line.uses.splice(line.uses.indexOf(use), 1);
        return true;
      };
      const fail = (error: PorchlightError): void => {
        if (!end()) return;
        reject(error);
        this.#pump();
      };
      const use: Use = {
        until,
        last: undefined,
        isOver: () => over,
        fail,
        turn: async (link) => {
          const value = await turn(link);
          if (end()) resolve(value);
        },
      };
      const abort = (): void => fail(new PorchlightError('stopping'));
      const timer = setTimeout(() => this.#expire(line, use), Math.max(0, until - this.#now()));
      signal?.addEventListener('abort', abort, { once: true });
      if (line.uses.length === 0) line.waitingSince = this.#now();
      line.uses.push(use);
      this.#pump();
    });
  }

  /** An advert of this address: the lamp is there. */
  heard(address: string): void {
    const line = this.#lines.get(address);
    if (line === undefined) {
      this.#line(address).hear(this.#now());
    } else {
      line.hear(this.#now());
      if (line.uses.length > 0) this.#pump();
    }
  }

  /** The adapter's state changed: those who wait for it may go on. */
  adapterChanged(): void {
    this.#pump();
  }

  isLinked(address: string): boolean {
    return this.#lines.get(address)?.link !== undefined;
  }

  status(): LinksStatus {
    const taken = [...this.#lines.values()].filter((line) => line.takesSlot);
    return {
      used: taken.length,
      max: this.#parts.maxConnections,
      waiting: [...this.#lines.values()].filter((line) => line.wantsLink()).length,
      links: taken.map((line) => ({
        address: line.address,
        state: line.releasing ? 'releasing' : line.link === undefined ? 'connecting' : 'connected',
        busy: line.running,
      })),
    };
  }

  /** Ends everyone who waits with `stopping` and gives the links back, within a second. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const lines = [...this.#lines.values()];
    for (const line of lines) {
      for (const use of [...line.uses]) use.fail(new PorchlightError('stopping'));
      line.attempt?.cancel.abort();
    }
    let late: NodeJS.Timeout | undefined;
    await Promise.race([
      Promise.all(lines.map((line) => this.#release(line))),
      new Promise<void>((resolve) => {
        late = setTimeout(resolve, CLOSE_MS);
      }),
    ]);
    clearTimeout(late);
  }

  #now(): number {
    return this.#parts.clock.monotonic();
  }

  #line(address: string): Line {
    const known = this.#lines.get(address);
    if (known !== undefined) return known;
    const line = new Line(address);
    this.#lines.set(address, line);
    return line;
  }

  /** Looks at who waits and starts whatever can be started. Called after every change. */
  #pump(): void {
    if (this.#closed) return;
    for (const line of this.#lines.values()) {
      const use = line.uses[0];
      if (use !== undefined && line.link !== undefined && !line.running && !line.releasing) {
        void this.#runTurn(line, line.link, use);
      }
    }
    this.#connectNext();
  }

  async #runTurn(line: Line, link: Link, use: Use): Promise<void> {
    line.current = use;
    clearTimeout(line.idleTimer);
    try {
      await use.turn(link);
      line.succeed();
    } catch (thrown) {
      await this.#turnFailed(line, link, use, asPorchlightError(thrown));
    }
    line.current = undefined;
    line.lastUsedAt = this.#now();
    if (line.link === undefined) line.waitingSince = this.#now();
    if (this.#mustYield(line)) void this.#release(line);
    else if (line.isIdle) this.#rest(line);
    this.#pump();
  }

  async #turnFailed(line: Line, link: Link, use: Use, error: PorchlightError): Promise<void> {
    if (!isRetried(error)) {
      use.fail(error);
      // Whoever puts the right lamp back is not to wait until this link was idle for long enough.
      if (error.code === 'identity_mismatch' && line.link === link) await this.#release(line);
      return;
    }
    use.last = error;
    line.backOff(error, this.#now());
    if (use.until <= this.#now()) use.fail(error);
    // Whatever went wrong on it: the next attempt starts with a fresh link.
    if (line.link === link) await this.#release(line);
  }

  /** Who waits for a slot longest, if a lamp that is used without pause should make room. */
  #mustYield(line: Line): boolean {
    if (line.link === undefined || line.uses.length === 0 || this.#free() > 0) return false;
    const now = this.#now();
    return [...this.#lines.values()].some((other) => other.wantsLink() && now - other.waitingSince > PATIENCE_MS);
  }

  #free(): number {
    let taken = 0;
    for (const line of this.#lines.values()) if (line.takesSlot) taken += 1;
    return this.#parts.maxConnections - taken;
  }

  #connectNext(): void {
    const now = this.#now();
    const waiting = [...this.#lines.values()].filter((line) => line.wantsLink());
    const connecting = [...this.#lines.values()].find((line) => line.attempt !== undefined);
    if (connecting !== undefined) {
      this.#hurry(connecting, waiting, now);
      return;
    }
    if (waiting.length === 0) return;
    if (this.#parts.central.adapter !== 'poweredOn') {
      this.#later(ADAPTER_POLL_MS);
      return;
    }
    const ready = waiting.filter((line) => line.notBefore <= now);
    const next = ready.sort((a, b) => rank(a, now) - rank(b, now) || a.lastAttemptAt - b.lastAttemptAt)[0];
    if (next === undefined) {
      this.#later(Math.min(...waiting.map((line) => line.notBefore)) - now);
      return;
    }
    if (this.#free() > 0) {
      void this.#connect(next, waiting.length > 1);
    } else {
      this.#releaseIdle();
      for (const use of next.uses) use.last ??= new PorchlightError('out_of_slots');
    }
  }

  /** Gives back the link that nobody has used for longest. One at a time: its end leads to the next attempt. */
  #releaseIdle(): void {
    const lines = [...this.#lines.values()];
    const idle = lines.filter((line) => line.isIdle).sort((a, b) => a.lastUsedAt - b.lastUsedAt)[0];
    if (idle !== undefined && !lines.some((line) => line.releasing)) void this.#release(idle);
  }

  async #connect(line: Line, othersWait: boolean): Promise<void> {
    const startedAt = this.#now();
    const cancel = new AbortController();
    line.attempt = { cancel, startedAt };
    line.lastAttemptAt = startedAt;
    const wanted = Math.max(...line.uses.map((use) => use.until)) - startedAt;
    const timeoutMs = Math.max(1, Math.min(othersWait ? longest(line, startedAt) : ATTEMPT_MS, wanted));
    try {
      const link = await this.#parts.central.connect(line.address, { timeoutMs, signal: cancel.signal });
      line.attempt = undefined;
      this.#linked(line, link);
    } catch (thrown) {
      line.attempt = undefined;
      const error = asPorchlightError(thrown);
      this.#parts.log.debug({ address: line.address, code: error.code }, 'no link was made');
      line.backOff(error, this.#now());
      // The adapter holds fewer links than the configuration says.
      if (error.code === 'out_of_slots') this.#releaseIdle();
      for (const use of [...line.uses]) {
        use.last = error;
        if (!isRetried(error)) use.fail(error);
      }
    }
    this.#pump();
  }

  #linked(line: Line, link: Link): void {
    line.link = link;
    line.linkedAt = this.#now();
    line.lastUsedAt = line.linkedAt;
    const gone = (): void => {
      if (line.link === link) line.link = undefined;
      clearTimeout(line.idleTimer);
      line.waitingSince = this.#now();
      this.#pump();
    };
    if (link.gone.aborted) gone();
    else link.gone.addEventListener('abort', gone, { once: true });
    if (this.#closed) void this.#release(line);
    else if (line.isIdle) this.#rest(line);
  }

  /** Shortens the attempt under way when others have come to wait, and ends it when nobody wants it any more. */
  #hurry(line: Line, waiting: readonly Line[], now: number): void {
    const attempt = line.attempt;
    if (attempt === undefined) return;
    if (line.uses.length === 0) {
      attempt.cancel.abort();
      return;
    }
    if (waiting.length === 0) return;
    const left = attempt.startedAt + longest(line, attempt.startedAt) - now;
    if (left <= 0) attempt.cancel.abort();
    else this.#later(left);
  }

  #later(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#pump(), Math.max(1, Math.ceil(ms)));
  }

  #rest(line: Line): void {
    clearTimeout(line.idleTimer);
    line.idleTimer = setTimeout(() => {
      if (line.isIdle) void this.#release(line);
    }, this.#parts.idleMs);
  }

  async #release(line: Line): Promise<void> {
    const link = line.link;
    clearTimeout(line.idleTimer);
    if (link === undefined || line.releasing) return;
    line.releasing = true;
    try {
      await link.disconnect();
    } catch (thrown) {
      this.#parts.log.debug({ address: line.address, err: thrown }, 'a link was not given back in good order');
    }
    line.releasing = false;
    if (line.link === link) line.link = undefined;
    if (line.uses.length > 0) line.waitingSince = this.#now();
    this.#pump();
  }

  #expire(line: Line, use: Use): void {
    // A turn that has begun may still succeed, and its bytes may be at the lamp: its own end counts.
    if (line.current === use) return;
    // A lamp that nobody hears would not have answered with a free slot either.
    const known = use.last?.code === 'out_of_slots' && !line.isFresh(this.#now()) ? undefined : use.last;
    use.fail(known ?? new PorchlightError(this.#reason()));
  }

  #reason(): 'radio_restarting' | 'adapter_off' | 'unreachable' {
    const { adapter } = this.#parts.central;
    if (adapter === 'poweredOn') return 'unreachable';
    return adapter === 'unknown' || adapter === 'resetting' ? 'radio_restarting' : 'adapter_off';
  }
}

const longest = (line: Line, at: number): number => (line.isFresh(at) ? ATTEMPT_OTHERS_MS : ATTEMPT_UNHEARD_OTHERS_MS);

/** Lamps that were heard lately go first. */
const rank = (line: Line, now: number): number => (line.isFresh(now) ? 0 : 1);
