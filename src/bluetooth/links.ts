import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import type { Log } from '../log.ts';
import type { Central, Link } from './central.ts';
import { Attempts } from './link-attempts.ts';
import { Line } from './link-line.ts';
import { isRetried } from './link-retry.ts';
import { type Use, useOf } from './link-use.ts';

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
  /** Links that are held, made or given back. */
  readonly used: number;
  /** As configured. */
  readonly max: number;
  /** Links that could be made now: fewer than `max - used` while the adapter is known to have less room. */
  readonly free: number;
  /** Lamps that somebody wants and that have no link. */
  readonly waiting: number;
  readonly links: readonly {
    readonly address: string;
    readonly state: 'connecting' | 'connected' | 'releasing';
    readonly busy: boolean;
  }[];
}

const CLOSE_MS = 1000;

/**
 * The link budget: who has one of the adapter's few connections. One turn at a time per lamp. Links are kept while used, and
 * given back when idle or when others wait: the one that is idle longest first, never one with work in flight, as many at once
 * as lamps wait. Retries are spent here and nowhere else (`link-retry.ts`).
 *
 * None starves. Let N lamps want K links, D of them be dead and M mute; t_connect the time until a living lamp's connection
 * stands, t_cycle the time from the begin of its attempt until its link is given back, with one turn in between. A lamp that
 * answers has its turn, counted from when it came to wait or, after a failure, from the end of its wait, within
 *
 *     H + P + A·(D + 1) + N·t_connect + (⌈N/K⌉ + 1)·t_cycle + ⌈M/K⌉·S
 *
 * P = 2 s: the patience with lamps that are commanded without pause (`link-queue.ts`). A: the share of an attempt that nobody
 * answers, 4 s for a lamp that was heard and has not failed, else 2 s, and the time its cancelling takes. S = 8 s: the longest
 * that a mute lamp keeps a link for which others wait, where the radio ends an attempt when told to (`link-share.ts`). H = 4 s
 * for a lamp that failed, 2 s for one that is not heard, else 0 (`link-line.ts`). Each lamp goes before it at most once.
 */
export class Links {
  readonly #parts: LinksParts;
  readonly #lines = new Map<string, Line>();
  readonly #attempts: Attempts;
  #closed = false;

  constructor(parts: LinksParts) {
    this.#parts = parts;
    this.#attempts = new Attempts({
      central: parts.central,
      max: parts.maxConnections,
      now: () => parts.clock.monotonic(),
      log: parts.log,
      onLinked: (line, link) => this.#linked(line, link),
      release: (line) => void this.#release(line),
    });
  }

  /**
   * Finds or makes the link and runs `turn` with it, again after failures of the air until `until` (monotonic ms) or
   * `signal`; then rejects with the last failure. A turn that has begun is awaited, even beyond `until`.
   */
  use<T>(address: string, until: number, turn: (link: Link) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed || signal?.aborted === true) return reject(new PorchlightError('stopping'));
      const line = this.#line(address);
      const onTime = (late: Use): void => this.#expire(line, late);
      const onEnd = (ended: Use): void => this.#end(line, ended);
      const use = useOf({ until, now: this.#now(), turn, signal, resolve, reject, onTime, onEnd });
      line.uses.push(use);
      this.#attempts.file(line);
      if (line.phase === 'none') this.#attempts.schedule();
      else this.#serve(line);
    });
  }

  /** An advert of this address: the lamp is there. */
  heard(address: string): void {
    if (this.#line(address).see(this.#now())) this.#attempts.schedule();
  }

  /** The adapter's state changed: those who wait for it may go on. */
  adapterChanged(): void {
    this.#attempts.adapterChanged();
  }

  isLinked(address: string): boolean {
    return this.#lines.get(address)?.link !== undefined;
  }

  status(): LinksStatus {
    const { slots, queue } = this.#attempts;
    return {
      used: slots.used,
      max: slots.max,
      free: Math.max(0, slots.free(this.#now())),
      waiting: queue.size,
      links: [...slots].map(({ address, phase, current }) => ({
        address,
        state: phase === 'linked' ? 'connected' : phase === 'releasing' ? 'releasing' : 'connecting',
        busy: current !== undefined,
      })),
    };
  }

  /** Gives back every link without work in flight, and returns how many. What is wanted is linked anew. */
  releaseAll(reason: string): number {
    const idle = [...this.#attempts.slots].filter((line) => line.isIdle);
    if (idle.length > 0) this.#parts.log.debug({ reason, links: idle.length }, 'links are given back');
    for (const line of idle) void this.#release(line);
    return idle.length;
  }

  /** Ends everyone who waits with `stopping` and gives the links back, within a second. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#attempts.stop();
    const { slots, queue } = this.#attempts;
    for (const line of [...queue, ...slots]) {
      for (const use of [...line.uses]) use.fail(new PorchlightError('stopping'));
      line.attempt?.cancel.abort();
    }
    let late: NodeJS.Timeout | undefined;
    await Promise.race([
      Promise.all([...slots].map((line) => this.#release(line))),
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

  #end(line: Line, use: Use): void {
    line.uses.splice(line.uses.indexOf(use), 1);
    if (line.current !== undefined) return;
    this.#attempts.file(line);
    // An attempt that nobody wants any more holds up others.
    if (line.uses.length === 0 && line.attempt !== undefined) this.#attempts.schedule();
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

  #linked(line: Line, link: Link): void {
    const now = this.#now();
    line.link = link;
    line.phase = 'linked';
    line.lastUsedAt = now;
    line.see(now);
    this.#attempts.file(line);
    const gone = (): void => this.#gone(line, link);
    if (link.gone.aborted) gone();
    else link.gone.addEventListener('abort', gone, { once: true });
    if (this.#closed) void this.#release(line);
    else this.#serve(line);
  }

  #gone(line: Line, link: Link): void {
    if (line.link !== link) return;
    line.link = undefined;
    line.phase = 'none';
    clearTimeout(line.idleTimer);
    this.#attempts.file(line);
    this.#attempts.schedule();
  }

  /** Begins the next turn with a link that stands; without one to begin, the link rests for a while. */
  #serve(line: Line): void {
    const use = line.uses[0];
    if (line.phase !== 'linked' || line.link === undefined || line.current !== undefined) return;
    if (use !== undefined) void this.#runTurn(line, line.link, use);
    else this.#rest(line);
  }

  #rest(line: Line): void {
    clearTimeout(line.idleTimer);
    line.idleTimer = setTimeout(() => {
      if (line.isIdle) void this.#release(line);
    }, this.#parts.idleMs);
  }

  async #runTurn(line: Line, link: Link, use: Use): Promise<void> {
    line.beginTurn(use, this.#now());
    let isSpent = false;
    try {
      await use.turn(link);
      line.succeed(this.#now());
    } catch (thrown) {
      isSpent = this.#turnFailed(line, use, asPorchlightError(thrown));
    }
    line.endTurn(this.#now());
    this.#attempts.file(line);
    if (isSpent || this.#attempts.mustYield(line)) void this.#release(line);
    else this.#serve(line);
    this.#attempts.schedule();
  }

  /** True where the next turn needs a fresh link, whatever went wrong on this one. */
  #turnFailed(line: Line, use: Use, error: PorchlightError): boolean {
    if (!isRetried(error)) {
      use.fail(error);
      if (error.code !== 'identity_mismatch') return false;
      // Whoever puts the right lamp back is not to wait until this link was idle for long enough.
      line.distrust();
      return true;
    }
    use.last = error;
    this.#attempts.blame(line, error);
    if (use.until <= this.#now()) use.fail(error);
    return true;
  }

  async #release(line: Line): Promise<void> {
    const { link } = line;
    clearTimeout(line.idleTimer);
    if (link === undefined || line.phase !== 'linked') return;
    line.phase = 'releasing';
    try {
      await link.disconnect();
    } catch (thrown) {
      this.#parts.log.debug({ address: line.address, err: thrown }, 'a link was not given back in good order');
    }
    this.#gone(line, link);
  }
}
