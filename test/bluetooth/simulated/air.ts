import type { AdapterState, Central, ConnectOptions, Link } from '../../../src/bluetooth/central.ts';
import { PorchlightError } from '../../../src/errors.ts';
import { Bulb } from './bulb.ts';
import { SimulatedLink } from './link.ts';
import type { Random, SimulatedTime } from './time.ts';

/** How the lamps and the adapter are. Milliseconds. */
export interface Habits {
  /** From one connection event to the next. */
  readonly intervalMs: number;
  /** How a lamp's write characteristic is written: a request takes the answer of the next event; commands none. */
  readonly writes: 'request' | 'command';
  /** Packets that the controller sends in one connection event. */
  readonly packetsPerEvent: number;
  /** From the begin of an attempt until the connection stands. */
  readonly connectMs: number;
  /** For reading the characteristics. */
  readonly discoverMs: number;
  /** From being told to give a link back until the controller says that it is gone. */
  readonly releaseMs: number;
  /** Until a lamp's answer to a question is ready to be sent. */
  readonly answerMs: number;
  /** Whether an attempt is ended while characteristics are read, or only when they were, or its deadline passed. */
  readonly cancelsDiscovery: boolean;
}

export const HABITS: Habits = {
  intervalMs: 22.5,
  writes: 'command',
  packetsPerEvent: 1,
  connectMs: 60,
  discoverMs: 400,
  releaseMs: 60,
  answerMs: 5,
  cancelsDiscovery: true,
};

/** How a lamp fails. `dead`: it answers no attempt; `mute`: it takes the connection and no more; `deaf`: no request is answered. */
export type Fault = 'dead' | 'mute' | 'deaf' | 'fails' | undefined;

export interface SimulatedLamp {
  readonly address: string;
  readonly bulb: Bulb;
  fault: Fault;
  readonly habits: Habits;
}

/** A cancelled attempt is over when the controller has let go, which is looked for every 25 ms. */
const LET_GO_MS = 110;
/** A lamp that connected gets this long to name its characteristics, whatever is left of the attempt. */
const LEAST_DISCOVERY_MS = 3000;

/**
 * A central in simulated time, with the habits of the real one: attempts run one after the other, each until the lamp answers or
 * its deadline passes, and a cancelled one lets the next begin only when the controller has let go; the characteristics are read
 * beside the next attempt; the controller refuses a connection too many; everything ends when the adapter goes.
 */
export class SimulatedAir implements Central {
  adapter: AdapterState = 'poweredOn';
  readonly lamps = new Map<string, SimulatedLamp>();
  readonly links = new Map<string, SimulatedLink>();
  readonly time: SimulatedTime;
  readonly random: Random;
  /** Links that the controller itself has room for. */
  room = Number.POSITIVE_INFINITY;
  /** What every attempt is refused with. */
  refusal: PorchlightError['code'] | undefined;
  attempts = 0;
  mostLinks = 0;
  /** When each connection stood. */
  readonly stood: { readonly address: string; readonly at: number }[] = [];
  #tail: Promise<unknown> = Promise.resolve();
  readonly #ends = new Set<(reason: PorchlightError) => void>();

  constructor(time: SimulatedTime, random: Random) {
    this.time = time;
    this.random = random;
  }

  add(address: string, family: Bulb['family'], habits: Partial<Habits> = {}, fault?: Fault): SimulatedLamp {
    const lamp = { address, bulb: new Bulb(family), fault, habits: { ...HABITS, ...habits } };
    this.lamps.set(address, lamp);
    return lamp;
  }

  scan(): Promise<void> {
    return Promise.resolve();
  }

  async connect(address: string, { timeoutMs, signal, onConnected }: ConnectOptions): Promise<Link> {
    this.attempts += 1;
    if (this.refusal !== undefined) throw new PorchlightError(this.refusal);
    if (this.adapter !== 'poweredOn') throw new PorchlightError('adapter_off');
    const until = this.time.monotonic() + timeoutMs;
    const turn = this.#tail.then(() => this.#attempt(address, until, signal));
    this.#tail = turn.catch(() => undefined);
    const link = await turn;
    onConnected?.();
    await this.#discover(link, until, signal);
    if (signal?.aborted === true) {
      await link.disconnect();
      throw new PorchlightError('unreachable');
    }
    return link;
  }

  /** The adapter goes off, or its process is killed, or it comes back. */
  setAdapter(state: AdapterState): void {
    this.adapter = state;
    if (state === 'poweredOn') return;
    const code = state === 'unknown' ? 'radio_restarting' : 'adapter_off';
    for (const end of [...this.#ends]) end(new PorchlightError(code));
    for (const link of [...this.links.values()]) link.lose(new PorchlightError('link_lost'));
  }

  async #attempt(address: string, until: number, signal: AbortSignal | undefined): Promise<SimulatedLink> {
    const lamp = this.lamps.get(address);
    const now = this.time.monotonic();
    if (signal?.aborted === true || now >= until) throw new PorchlightError('unreachable');
    const isThere = lamp !== undefined && lamp.fault !== 'dead';
    const answers = now + (lamp?.habits.connectMs ?? 0);
    const ended = await this.#wait(Math.min(isThere ? answers : until, until) - now, signal);
    if (ended !== undefined && ended !== 'aborted') throw ended;
    if (!isThere || ended === 'aborted' || this.time.monotonic() < answers) {
      await this.#wait(LET_GO_MS, undefined);
      throw new PorchlightError('unreachable');
    }
    if (lamp.fault === 'fails') throw new PorchlightError('connect_failed');
    if (this.links.size >= this.room) throw new PorchlightError('out_of_slots');
    if (this.links.has(address)) throw new PorchlightError('connect_failed');
    const link = new SimulatedLink(lamp, this.time, this.random, () => this.links.delete(address));
    this.links.set(address, link);
    this.mostLinks = Math.max(this.mostLinks, this.links.size);
    this.stood.push({ address, at: this.time.monotonic() });
    return link;
  }

  async #discover(link: SimulatedLink, until: number, signal: AbortSignal | undefined): Promise<void> {
    const { habits, fault } = link.lamp;
    const deadline = Math.max(until - this.time.monotonic(), LEAST_DISCOVERY_MS);
    const isMute = fault === 'mute';
    const needed = isMute ? Number.POSITIVE_INFINITY : habits.discoverMs;
    const ended = await this.#wait(Math.min(needed, deadline), habits.cancelsDiscovery ? signal : undefined, link.gone);
    if (ended === undefined && needed <= deadline) return;
    const reason = ended instanceof PorchlightError ? ended : new PorchlightError('timed_out');
    if (!link.gone.aborted) link.lose(reason);
    throw reason;
  }

  /** Waits; undefined where nothing came between. */
  #wait(
    ms: number,
    signal: AbortSignal | undefined,
    gone?: AbortSignal,
  ): Promise<PorchlightError | 'aborted' | undefined> {
    return new Promise((resolve) => {
      const end = (what: PorchlightError | 'aborted' | undefined): void => {
        timer.off = true;
        signal?.removeEventListener('abort', abort);
        this.#ends.delete(end);
        resolve(what);
      };
      const abort = (): void => end('aborted');
      const timer = this.time.at(Math.max(0, ms), () => end(undefined));
      signal?.addEventListener('abort', abort, { once: true });
      gone?.addEventListener('abort', () => end(new PorchlightError('link_lost')), { once: true });
      this.#ends.add(end);
      if (signal?.aborted === true) abort();
    });
  }
}
