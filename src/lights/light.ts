import { asPorchlightError, PorchlightError } from '../errors.ts';
import { reconciled } from './agree.ts';
import { type Awaited, allAgree, conclude, joined, verdictOn } from './answer.ts';
import { Arrivals } from './arrivals.ts';
import { refusalBy } from './capabilities.ts';
import type { LightChange } from './change.ts';
import type { Frame, Model } from './family.ts';
import { type Asked, type Batch, Desired, deadlineOf, type LightOutcome, type Order, ownedIn } from './orders.ts';
import { outcomeOf } from './outcome.ts';
import type { Clock, LampAtHand, LampPort } from './port.ts';
import { type LightState, successor, UNKNOWN_STATE } from './state.ts';
import { TIMING, type Timing } from './timing.ts';
import { changeFor, stateAfter, wishOf } from './wish.ts';

/**
 * A command that only implies ON need not say it to a lamp that was told so, or said so, this lately, as long as it is written to
 * without pause: a slider's every step would need two writes. After a pause somebody's remote may have switched it off.
 */
const LIT_MS = 10_000;
const PAUSE_MS = 2000;

/** Two clocks that round differently must not make a deadline look like a failure before it. */
const CLOCK_SLACK_MS = 20;

/**
 * One lamp: what is known of it, what is desired, and one write at a time. Commands merge attribute by attribute and the newest
 * wins; each gets exactly one outcome. What is desired is forgotten once its outcome is known, so nothing is ever replayed and
 * nothing fights a change made elsewhere.
 */
export class Light {
  readonly id: string;
  readonly #port: LampPort;
  readonly #clock: Clock;
  readonly #timing: Timing;
  readonly #desired = new Desired();
  readonly #arrivals = new Arrivals();
  readonly #watchers = new Set<(state: LightState) => void>();
  readonly #stop = new AbortController();
  #known: LightState = UNKNOWN_STATE;
  #count = 0;
  #reports = 0;
  #busy = false;
  #running: Promise<void> | undefined;
  #reachUntil = Number.NEGATIVE_INFINITY;
  /** Being written now: too late to be superseded. */
  #inFlight: Batch | undefined;
  #awaited: Awaited | undefined;
  #wake: (() => void) | undefined;
  /** Reports before this moment (monotonic) may be older than the last write. */
  #quietFrom = Number.NEGATIVE_INFINITY;
  /** When (monotonic) the lamp was last told to be on, or said so; and when it was last written to since then. */
  #litAt = Number.NEGATIVE_INFINITY;
  #touchedAt = Number.NEGATIVE_INFINITY;
  readonly #unsettled = new Map<Order, () => void>();

  constructor(parts: {
    readonly id: string;
    readonly port: LampPort;
    readonly clock: Clock;
    readonly timing?: Timing;
  }) {
    this.id = parts.id;
    this.#port = parts.port;
    this.#clock = parts.clock;
    this.#timing = parts.timing ?? TIMING;
  }

  /** What is known now. */
  get state(): LightState {
    return this.#known;
  }

  /** On or off as it will be once everything under way is written: what TOGGLE turns round. */
  get power(): 'ON' | 'OFF' | null {
    return this.#desired.power ?? this.#inFlight?.wish.power ?? this.#awaited?.batch.wish.power ?? this.#known.state;
  }

  /** Tells `listener` of every change of the state; it must not throw. The returned function ends that. */
  watch(listener: (state: LightState) => void): () => void {
    this.#watchers.add(listener);
    return () => this.#watchers.delete(listener);
  }

  /** One command, one outcome. Never rejects. */
  apply(change: LightChange, asked: Asked): Promise<LightOutcome> {
    const refusal = this.#refusal(change);
    if (refusal !== undefined) return Promise.resolve({ ...outcomeOf(refusal), by: asked.by });
    return new Promise((resolve) => {
      this.#count += 1;
      this.#accept({ ...asked, change, number: this.#count, resolve });
    });
  }

  /** The lamp's own words, whether asked for or not. While a write waits for its answer they are weighed against it first. */
  observe(report: Partial<LightState>): void {
    this.#reports += 1;
    if (report.state != null) this.#noteLit(report.state);
    if (this.#awaited !== undefined) {
      this.#awaited.seen = joined(this.#awaited.seen ?? {}, report);
    } else {
      this.#know(reconciled(this.#known, report, this.#port.identity?.model), undefined);
      // A report just after a write may be older than it.
      const fresh = this.#inFlight === undefined && this.#clock.monotonic() >= this.#quietFrom;
      if (fresh) this.#settleWhatIsSoAlready(report);
    }
    this.#wake?.();
  }

  /** Ends everything: what is under way fails with `stopping`, and so does every later command. */
  async stop(): Promise<void> {
    this.#stop.abort(new PorchlightError('stopping'));
    for (const order of [...this.#unsettled.keys()]) this.#fail(order, new PorchlightError('stopping'));
    this.#wake?.();
    await this.#running;
  }

  #refusal(change: LightChange): PorchlightError | undefined {
    if (this.#stop.signal.aborted) return new PorchlightError('stopping');
    const model = this.#port.identity?.model;
    return model === undefined ? undefined : refusalBy(change, model);
  }

  #accept(order: Order): void {
    const wish = wishOf(order.change, this.power);
    const newest = this.#arrivals.newest(wish, order.arrived);
    if (newest.length === 0) {
      order.resolve({ outcome: 'superseded', by: order.by });
      return;
    }
    const before = this.#desired.orders();
    this.#unsettled.set(order, () => undefined);
    this.#desired.take(wish, order, newest);
    for (const old of before) this.#supersede(old);

    const deadline = deadlineOf(order);
    if (deadline < this.#reachUntil) {
      // The attempt under way runs longer than this order may wait, so it needs a clock of its own.
      const cancel = this.#timing.after(deadline - this.#clock.monotonic(), () => this.#overdue(order));
      this.#unsettled.set(order, cancel);
    }
    this.#wake?.();
    if (this.#busy) return;
    this.#busy = true;
    this.#running = this.#run();
  }

  /** Each of its attributes was replaced, and none of them is being written. */
  #supersede(order: Order): void {
    if (this.#desired.owns(order) || this.#inFlight?.orders.includes(order)) return;
    this.#settle(order, { outcome: 'superseded' });
  }

  #settle(order: Order, outcome: LightOutcome): void {
    const cancel = this.#unsettled.get(order);
    if (cancel === undefined) return;
    cancel();
    this.#unsettled.delete(order);
    this.#desired.drop(order);
    order.resolve({ ...outcome, by: order.by });
  }

  #fail(order: Order, thrown: unknown): void {
    this.#settle(order, outcomeOf(thrown));
  }

  /** Its own limit passed while an attempt for others went on. What is being written is left to its answer. */
  #overdue(order: Order): void {
    if (this.#inFlight?.orders.includes(order) || !this.#desired.owns(order)) return;
    this.#late(order, new PorchlightError('unreachable'));
  }

  /** Its time is up. Where that was the end of a right to act (a token's, say), the right's own words are the better answer. */
  #late(order: Order, thrown: unknown): void {
    if ((order.expiresAt ?? Number.POSITIVE_INFINITY) <= order.until) this.#settle(order, { outcome: 'expired' });
    else this.#fail(order, order.refusal?.() ?? thrown);
  }

  async #run(): Promise<void> {
    for (;;) {
      for (const order of this.#desired.orders()) {
        if (deadlineOf(order) <= this.#clock.monotonic()) this.#late(order, new PorchlightError('unreachable'));
      }
      if (this.#desired.empty) break;
      this.#reachUntil = Math.min(...this.#desired.orders().map(deadlineOf));
      try {
        await this.#port.reach(this.#reachUntil, (lamp) => this.#turn(lamp), this.#stop.signal);
      } catch (thrown) {
        this.#notReached(thrown);
      }
    }
    this.#reachUntil = Number.NEGATIVE_INFINITY;
    // Nothing is awaited between the test above and this, so no command can slip in between.
    this.#busy = false;
  }

  /** `reach` gave up: at its time, only those whose time it was; before it, everyone. */
  #notReached(thrown: unknown): void {
    const failure = asPorchlightError(thrown);
    this.#inFlight = undefined;
    const inTime = this.#clock.monotonic() < this.#reachUntil - CLOCK_SLACK_MS;
    for (const order of [...this.#unsettled.keys()]) {
      if (!this.#desired.owns(order)) this.#supersede(order);
      else if (inTime) this.#fail(order, failure);
      else if (deadlineOf(order) <= this.#reachUntil) this.#late(order, failure);
    }
  }

  /** One turn at the lamp. It is called again when the link breaks, and then takes whatever is desired by that time. */
  async #turn(lamp: LampAtHand): Promise<void> {
    this.#inFlight = undefined;
    for (const order of [...this.#unsettled.keys()]) this.#supersede(order);
    await this.#learnBeforeScaling(lamp);
    this.#judge(lamp.model);
    const batch = this.#desired.batch();
    if (batch === undefined) return;
    const frames = this.#encode(batch, lamp);
    if (frames === undefined) return;

    this.#inFlight = batch;
    const litAt = this.#litAt;
    // Who knows what a lamp that breaks off goes through: only a write that ends well leaves it lit.
    this.#litAt = Number.NEGATIVE_INFINITY;
    await lamp.write(...frames.list);
    this.#inFlight = undefined;
    if (frames.switches) this.#noteLit(batch.wish.power);
    else this.#litAt = litAt;
    this.#touchedAt = this.#clock.monotonic();
    for (const order of batch.orders) this.#desired.drop(order);
    this.#quietFrom = this.#clock.monotonic() + this.#timing.answerMs * this.#timing.asks;
    for (const order of batch.orders) {
      if (ownedIn(batch, order).length === 0) this.#settle(order, { outcome: 'superseded' });
    }
    const written = stateAfter(this.#known, batch.wish, lamp.model);
    await this.#hearOut(lamp, { batch, written, model: lamp.model });
  }

  /**
   * Last judgement before a write: what the model lacks is refused; what is too late, or not allowed any more, is not written,
   * however long the link took to be ready.
   */
  #judge(model: Model): void {
    for (const order of this.#desired.orders()) {
      const late = deadlineOf(order) <= this.#clock.monotonic();
      const refusal = refusalBy(order.change, model) ?? (late ? undefined : order.refusal?.());
      if (refusal !== undefined) this.#fail(order, refusal);
      else if (late) this.#late(order, new PorchlightError('unreachable'));
    }
  }

  #noteLit(power: 'ON' | 'OFF'): void {
    this.#litAt = power === 'ON' ? this.#clock.monotonic() : Number.NEGATIVE_INFINITY;
    this.#touchedAt = this.#litAt;
  }

  /** `switches`: the frames also say ON or OFF. A slider's colours, which only imply ON, would need twice the writes. */
  #encode(
    batch: Batch,
    { family, model, layout }: LampAtHand,
  ): { readonly list: readonly Frame[]; readonly switches: boolean } | undefined {
    try {
      const list = family.encode(changeFor(batch.wish), model, this.#known, layout);
      const named = batch.slots.power?.order.change.state !== undefined;
      const now = this.#clock.monotonic();
      if (named || now - this.#litAt > LIT_MS || now - this.#touchedAt > PAUSE_MS) return { list, switches: true };
      const on = family.encode({ state: 'ON' }, model, this.#known, layout);
      const implied = on.length < list.length && on.every((frame, at) => isSame(frame, list[at]));
      return implied ? { list: list.slice(on.length), switches: false } : { list, switches: true };
    } catch (thrown) {
      // Not the air's fault, so trying again would not help.
      for (const order of batch.orders) this.#fail(order, thrown);
      return undefined;
    }
  }

  /** A brightness alone can be scaled only from a colour that is known, so the lamp is asked first. */
  async #learnBeforeScaling(lamp: LampAtHand): Promise<void> {
    const wish = this.#desired.batch()?.wish;
    const blind = this.#known.color_mode === undefined && this.#known.effect === undefined;
    if (lamp.model.brightness !== 'scaled' || !blind) return;
    if (wish?.power !== 'ON' || wish.brightness === undefined || wish.look !== undefined) return;
    const query = questionFor(lamp);
    if (query === undefined) return;
    const before = this.#reports;
    await lamp.write(query);
    await this.#pause(() => this.#reports > before);
  }

  /** Asks the lamp what became of a write, and gives every order of the batch its outcome. */
  async #hearOut(lamp: LampAtHand, awaited: Awaited): Promise<void> {
    const query = questionFor(lamp);
    const enough = (): boolean => allAgree(awaited) || !this.#desired.empty || this.#stop.signal.aborted;
    this.#awaited = awaited;
    try {
      for (let asked = 0; query !== undefined && asked < this.#timing.asks && !enough(); asked++) {
        await lamp.write(query);
        await this.#pause(enough);
      }
    } catch {
      // Only the question failed: the change itself is written, and is judged by what was heard so far.
    }
    this.#awaited = undefined;
    const { state, by, outcomes } = conclude(awaited, this.#known, !this.#desired.empty);
    this.#know(state, by);
    for (const { order, outcome } of outcomes) this.#settle(order, outcome);
  }

  /** The lamp says, unasked and with no write in the way, that it already is as an order wants it. */
  #settleWhatIsSoAlready(seen: Partial<LightState>): void {
    const model = this.#port.identity?.model;
    const batch = this.#desired.batch();
    if (model === undefined || batch === undefined) return;
    const awaited = { batch, written: stateAfter(this.#known, batch.wish, model), model, seen };
    const alreadyOff = batch.wish.power === 'OFF' && seen.state === 'OFF';
    for (const order of batch.orders) {
      // What OFF makes invisible is superseded by it, whether it had to be written or not.
      if (ownedIn(batch, order).length === 0) {
        if (alreadyOff) this.#settle(order, { outcome: 'superseded' });
      } else if (verdictOn(order, awaited) === true) this.#settle(order, { outcome: 'confirmed' });
    }
  }

  /** Takes over a state and tells the watchers, unless it says nothing new. `by`: whose command changed it, if one did. */
  #know(next: LightState, by: string | undefined): void {
    const state = successor(this.#known, next, by, this.#clock.wall());
    if (state === this.#known) return;
    this.#known = state;
    for (const watcher of this.#watchers) watcher(this.#known);
  }

  /** Waits for an answer, or until `enough` says that there is no need to. */
  #pause(enough: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        this.#wake = undefined;
        resolve();
      };
      const cancel = this.#timing.after(this.#timing.answerMs, done);
      this.#wake = () => {
        if (enough() || this.#stop.signal.aborted) done();
      };
      this.#wake();
    });
  }
}

const isSame = (a: Frame, b: Frame | undefined): boolean =>
  b !== undefined && a.characteristic === b.characteristic && Buffer.compare(a.bytes, b.bytes) === 0;

/** The frame that asks this lamp for its state, where it knows such a question and its answer can be heard. */
function questionFor(lamp: LampAtHand): Frame | undefined {
  return lamp.hears && lamp.family.decode !== undefined ? lamp.family.query?.(lamp.model, lamp.layout) : undefined;
}
