import type { Link, LinkCharacteristic } from '../../../src/bluetooth/central.ts';
import { PorchlightError } from '../../../src/errors.ts';
import type { Frame } from '../../../src/lights/family.ts';
import type { SimulatedLamp } from './air.ts';
import type { Random, SimulatedTime } from './time.ts';

/** A request that the lamp never answers costs the link after this long. */
const OPERATION_MS = 5000;

/** Write characteristic, notify characteristic, and their service, as the lamps on the market have them. */
const GATT = {
  triones: { service: 'ffd5', write: 'ffd9', notify: 'ffd4' },
  'elk-bledom': { service: 'fff0', write: 'fff3', notify: 'fff4' },
} as const;

/**
 * One simulated connection. Packets go at its connection events, which began at a moment of their own: a request is sent at the
 * next one and answered at the one after, a command is done when it was sent. One operation is on its way at a time, in order;
 * what is lost with the link rejects.
 */
export class SimulatedLink implements Link {
  readonly address: string;
  readonly lamp: SimulatedLamp;
  readonly characteristics: readonly LinkCharacteristic[];
  readonly #time: SimulatedTime;
  readonly #anchor: number;
  readonly #gone = new AbortController();
  readonly #onGone: () => void;
  /** The last event for which a packet is queued, and how many. */
  #last = { event: -1, packets: 0 };
  #onValue: ((bytes: Uint8Array) => void) | undefined;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(lamp: SimulatedLamp, time: SimulatedTime, random: Random, onGone: () => void) {
    this.lamp = lamp;
    this.address = lamp.address;
    this.#time = time;
    this.#anchor = time.monotonic() + random.between(0, lamp.habits.intervalMs);
    this.#onGone = onGone;
    const { service, write, notify } = GATT[lamp.bulb.family];
    const property = lamp.habits.writes === 'request' ? 'write' : 'writeWithoutResponse';
    this.characteristics = [
      { service, uuid: write, properties: [property] },
      { service, uuid: notify, properties: ['notify'] },
    ];
  }

  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  write(...frames: readonly Frame[]): Promise<void> {
    return this.#inTurn(async () => {
      const isRequest = this.lamp.habits.writes === 'request';
      const sent: Promise<void>[] = [];
      for (const { bytes } of frames) {
        // Commands of one change are handed to the controller together; each request waits for the answer to the one before.
        const sending = this.#toEvent(this.#nextEvent()).then(() => {
          const answer = this.lamp.bulb.take(bytes, this.#time.monotonic());
          if (answer !== undefined) this.#notify(answer);
        });
        if (isRequest) {
          await sending;
          await this.#answered();
        } else sent.push(sending);
      }
      await Promise.all(sent);
    });
  }

  read(): Promise<Uint8Array> {
    return Promise.reject(new PorchlightError('unsupported'));
  }

  subscribe(_characteristic: string, onValue: (bytes: Uint8Array) => void): Promise<void> {
    this.#onValue = onValue;
    return this.#inTurn(async () => {
      await this.#toEvent(this.#nextEvent());
      await this.#answered();
    });
  }

  async disconnect(): Promise<void> {
    if (this.gone.aborted) return;
    await this.#time.sleep(this.lamp.habits.releaseMs);
    this.lose(new PorchlightError('link_lost'));
  }

  /** The link is gone, for whatever reason. */
  lose(reason: PorchlightError): void {
    if (this.gone.aborted) return;
    this.#onValue = undefined;
    this.#onGone();
    this.#gone.abort(reason);
  }

  /** The first connection event after now that has room for a packet: what the host hands over during an event misses it. */
  #nextEvent(): number {
    const { intervalMs, packetsPerEvent } = this.lamp.habits;
    const passed = Math.floor((this.#time.monotonic() - this.#anchor) / intervalMs + 1e-9);
    const isFull = this.#last.packets >= packetsPerEvent;
    const event = Math.max(0, passed + 1, isFull ? this.#last.event + 1 : this.#last.event);
    this.#last = { event, packets: this.#last.event === event ? this.#last.packets + 1 : 1 };
    return this.#anchor + event * intervalMs;
  }

  /** The answer comes in the event after the one in which the request was sent. */
  async #answered(): Promise<void> {
    if (this.lamp.fault === 'deaf') {
      await this.#toEvent(this.#time.monotonic() + OPERATION_MS);
      this.lose(new PorchlightError('timed_out'));
      throw this.gone.reason;
    }
    await this.#toEvent(this.#time.monotonic() + this.lamp.habits.intervalMs);
  }

  #notify(bytes: Uint8Array): void {
    const { intervalMs, answerMs } = this.lamp.habits;
    const events = Math.ceil((this.#time.monotonic() + answerMs - this.#anchor) / intervalMs);
    const at = this.#anchor + events * intervalMs;
    this.#time.at(at - this.#time.monotonic(), () => this.#onValue?.(bytes));
  }

  #toEvent(at: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const lost = (): void => {
        timer.off = true;
        reject(this.gone.reason);
      };
      const timer = this.#time.at(Math.max(0, at - this.#time.monotonic()), () => {
        this.gone.removeEventListener('abort', lost);
        resolve();
      });
      if (this.gone.aborted) lost();
      else this.gone.addEventListener('abort', lost, { once: true });
    });
  }

  #inTurn(run: () => Promise<void>): Promise<void> {
    const mine = this.#tail.then(() => {
      if (this.gone.aborted) throw this.gone.reason;
      return run();
    });
    this.#tail = mine.catch(() => undefined);
    return mine;
  }
}
