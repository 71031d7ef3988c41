import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Central, Link } from './central.ts';
import type { Attempt, Line } from './link-line.ts';
import { type Look, Queue } from './link-queue.ts';
import { AdapterPause, isAdaptersFault, isRetried } from './link-retry.ts';
import { ATTEMPT_MS, Shares } from './link-share.ts';
import { Slots } from './link-slots.ts';
import { LogCauses } from './log-causes.ts';

export interface AttemptsParts {
  readonly central: Central;
  readonly max: number;
  /** Monotonic ms. */
  readonly now: () => number;
  readonly log: Log;
  readonly onLinked: (line: Line, link: Link) => void;
  /** Gives an idle link back. */
  readonly release: (line: Line) => void;
}

/** Should nobody say that the adapter is back. */
const ADAPTER_POLL_MS = 500;

/**
 * Who is connected next, and whose link makes room for that. One connection is made at a time; the next begins while the
 * characteristics of the former are being read, and while links that were given back are still ending.
 */
export class Attempts {
  readonly slots: Slots;
  readonly queue = new Queue();
  readonly #parts: AttemptsParts;
  readonly #shares = new Shares();
  readonly #pause = new AdapterPause();
  readonly #causes = new LogCauses();
  #connecting: Line | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(parts: AttemptsParts) {
    this.#parts = parts;
    this.slots = new Slots(parts.max);
  }

  /** Puts a line where it belongs after a change: among those who hold a link, those who wait for one, or neither. */
  file(line: Line): void {
    this.slots.file(line);
    this.queue.file(line, this.#parts.now());
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** The adapter's state changed: those who wait for it may go on, and what it did is blamed on no lamp. */
  adapterChanged(): void {
    this.#pause.end();
    if (this.#parts.central.adapter !== 'poweredOn') for (const line of this.queue) line.forgive(this.#parts.now());
    this.schedule();
  }

  /** Lets those wait who are to wait after a failure: the lamp that failed, or everyone where the adapter did. */
  blame(line: Line, error: PorchlightError): void {
    const now = this.#parts.now();
    if (isAdaptersFault(error)) this.#pause.fail(error, now);
    else if (this.#parts.central.adapter === 'poweredOn') line.backOff(error, now);
  }

  /** A lamp that is used without pause makes room for one that has waited long enough. */
  mustYield(line: Line): boolean {
    if (line.phase !== 'linked' || line.uses.length === 0 || this.queue.size === 0) return false;
    const now = this.#parts.now();
    return this.queue.look(now).overdue > this.slots.free(now) + this.slots.count('releasing');
  }

  /** Looks at who waits and starts what can be started. Called after every change that could let one of them go on. */
  schedule(): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    const now = this.#parts.now();
    this.#endUnwanted();
    if (this.queue.size === 0) return;
    const wait = this.#parts.central.adapter === 'poweredOn' ? this.#pause.until - now : ADAPTER_POLL_MS;
    if (wait > 0) this.#later(wait);
    else {
      const look = this.queue.look(now);
      if (look.next === undefined) this.#later(look.laterAt - now);
      else this.#serve(look.next, look, now);
    }
  }

  #serve(next: Line, look: Look, now: number): void {
    const runEnds = this.#makeRoom(look, now);
    const hasRoom = this.slots.free(now) > 0;
    if (hasRoom && this.#connecting === undefined) {
      void this.#connect(next, look.demand > 1);
      // The others: whom they now wait for has a share of time.
      if (this.queue.size > 0) this.schedule();
      return;
    }
    if (!hasRoom) for (const use of next.uses) use.last ??= new PorchlightError('out_of_slots');
    this.#later(Math.min(Math.min(look.laterAt, this.slots.triedAnewAt) - now, this.#hurry(look, now), runEnds));
  }

  #later(ms: number): void {
    if (ms < Number.POSITIVE_INFINITY) this.#timer = setTimeout(() => this.schedule(), Math.max(1, Math.ceil(ms)));
  }

  /**
   * Gives back as many idle links as lamps wait, those first that are idle longest. Returns the time until the next of those may
   * be given back that only seem idle, between two turns of a run; who has waited long enough gets them at once.
   */
  #makeRoom({ demand, overdue }: Look, now: number): number {
    const coming = this.slots.free(now) + this.slots.count('releasing');
    const wanted = Math.min(demand, this.slots.limit(now)) - coming;
    if (wanted <= 0) return Number.POSITIVE_INFINITY;
    const idle = [...this.slots].filter((line) => line.isIdle).sort((a, b) => a.lastUsedAt - b.lastUsedAt);
    const spare = idle.filter((line) => overdue > coming || line.runEnds <= now).slice(0, wanted);
    for (const line of spare) this.#parts.release(line);
    const kept = spare.length < wanted ? idle.filter((line) => line.isIdle) : [];
    return Math.min(...kept.map((line) => line.runEnds - now));
  }

  #endUnwanted(): void {
    for (const { attempt, uses } of this.slots) if (uses.length === 0) attempt?.cancel.abort();
  }

  /** Ends attempts that hold up others for longer than their share. Returns the time until the next share is used up. */
  #hurry({ trusted }: Look, now: number): number {
    let soonest = Number.POSITIVE_INFINITY;
    const lacksLinks = this.slots.free(now) <= 0 && this.slots.count('releasing') === 0;
    for (const line of this.slots) {
      const { attempt } = line;
      if (attempt === undefined || attempt.cancel.signal.aborted) continue;
      if (line.phase === 'discovering' && !lacksLinks) continue;
      const left = this.#shares.left(line, attempt, now, trusted);
      if (left <= 0) attempt.cancel.abort();
      else soonest = Math.min(soonest, left);
    }
    return soonest;
  }

  async #connect(line: Line, othersWait: boolean): Promise<void> {
    const { central, now, onLinked } = this.#parts;
    const startedAt = now();
    const attempt: Attempt = { cancel: new AbortController(), startedAt, connectedAt: undefined };
    const { waitingSince } = line;
    const wanted = Math.max(...line.uses.map((use) => use.until)) - startedAt;
    const share = othersWait ? this.#shares.connecting(line, startedAt, false) : ATTEMPT_MS;
    line.attempt = attempt;
    line.phase = 'connecting';
    this.#connecting = line;
    this.file(line);
    try {
      const link = await central.connect(line.address, {
        timeoutMs: Math.max(1, Math.min(share, wanted)),
        signal: attempt.cancel.signal,
        onConnected: () => this.#connected(line, attempt),
      });
      this.#made(line, attempt);
      onLinked(line, link);
    } catch (thrown) {
      this.#failed(line, attempt, asPorchlightError(thrown), waitingSince);
    }
    this.schedule();
  }

  /** The connection stands: the adapter has its attempt free for the next. */
  #connected(line: Line, attempt: Attempt): void {
    if (line.attempt !== attempt || attempt.connectedAt !== undefined) return;
    const now = this.#parts.now();
    attempt.connectedAt = now;
    line.phase = 'discovering';
    line.see(now);
    if (this.#connecting === line) this.#connecting = undefined;
    this.#shares.learn('connecting', now - attempt.startedAt);
    this.#pause.end();
    this.schedule();
  }

  #end(line: Line): void {
    line.attempt = undefined;
    line.phase = 'none';
    if (this.#connecting === line) this.#connecting = undefined;
  }

  #made(line: Line, attempt: Attempt): void {
    const now = this.#parts.now();
    const { connectedAt, startedAt } = attempt;
    this.#end(line);
    if (connectedAt === undefined) this.#shares.learn('connecting', now - startedAt);
    else this.#shares.learn('discovering', now - connectedAt);
    this.#pause.end();
  }

  #failed(line: Line, { connectedAt, cancel }: Attempt, thrown: PorchlightError, waitingSince: number): void {
    const now = this.#parts.now();
    this.#end(line);
    this.file(line);
    // Connected, and then silent: a mute lamp, whatever word its attempt was ended with.
    const wasCut = connectedAt !== undefined && cancel.signal.aborted;
    const error = wasCut ? new PorchlightError('timed_out', undefined, { cause: thrown }) : thrown;
    if (wasCut) line.cut();
    const passed = this.#causes.pass(`${error.code} ${line.address.replaceAll(':', 'x')}`, now);
    if (passed !== undefined)
      this.#parts.log.debug({ ...passed, address: line.address, code: error.code }, 'no link was made');
    if (error.code === 'out_of_slots') this.#lackRoom(error, now);
    else if (line.uses.length > 0) this.blame(line, error);
    // Its place in the queue is lost only where the lamp itself failed.
    if (isAdaptersFault(error)) line.waitingSince = waitingSince;
    for (const use of [...line.uses]) {
      use.last = error;
      if (!isRetried(error)) use.fail(error);
    }
  }

  /** The adapter holds fewer links than the configuration says; without any of ours, others have them all. */
  #lackRoom(error: PorchlightError, now: number): void {
    const { used, max } = this.slots;
    if (used === 0) this.#pause.fail(error, now);
    if (!this.slots.refuse(now)) return;
    const passed = this.#causes.pass('room', now);
    if (passed === undefined) return;
    const facts = { ...passed, links: used, max_connections: max };
    this.#parts.log.warn(facts, 'the adapter has room for fewer links than configured');
  }
}
