import type { Clock } from '../lights/port.ts';
import { sleep } from '../task-group.ts';
import type { Central, Link } from './central.ts';

/** A lamp that was neither heard nor linked for this long, while the radio listened, is offline. */
const OFFLINE_MS = 60_000;
/** However little the radio could listen meanwhile: nobody can say any more that the lamp is there. */
const OFFLINE_ANYWAY_MS = 180_000;
/** At the start nothing was heard of anybody: lamps advertise at least every few seconds, so who is still silent is not there. */
const FIRST_MS = 15_000;
const CHECK_MS = 2000;

/**
 * The time that the radio spent listening. While it connects, it does not hear: a scene for fifty lamps must not make the
 * fifty-first look absent. An adapter that is off or gone does not stop it: what cannot be heard for a minute is not known to be
 * there.
 */
export class ListeningTime {
  readonly #clock: Pick<Clock, 'monotonic'>;
  #connecting = 0;
  #since = 0;
  #deaf = 0;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /** Milliseconds since an arbitrary start. */
  now(): number {
    const now = this.#clock.monotonic();
    return now - this.#deaf - (this.#connecting > 0 ? now - this.#since : 0);
  }

  /** The radio connects; the function that it returns says that it listens again. */
  pause(): () => void {
    if (this.#connecting === 0) this.#since = this.#clock.monotonic();
    this.#connecting += 1;
    let over = false;
    return () => {
      if (over) return;
      over = true;
      this.#connecting -= 1;
      if (this.#connecting === 0) this.#deaf += this.#clock.monotonic() - this.#since;
    };
  }

  /** The same central, whose attempts to connect are counted. */
  watching(central: Central): Central {
    return {
      get adapter() {
        return central.adapter;
      },
      scan: (on) => central.scan(on),
      connect: async (address, options): Promise<Link> => {
        const resume = this.pause();
        const onConnected = (): void => {
          resume();
          options.onConnected?.();
        };
        try {
          return await central.connect(address, { ...options, onConnected });
        } finally {
          resume();
        }
      },
    };
  }
}

/** Whether one lamp is there, from its adverts and links. */
export class Presence {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #listening: ListeningTime;
  readonly #onChange: (online: boolean) => void;
  #online: boolean | undefined;
  #rssi: number | undefined;
  /** Monotonic and listening time of the last sign of it; until there is one, of the start. */
  #at: number;
  #listenedAt: number;
  #seen = false;

  constructor(clock: Pick<Clock, 'monotonic'>, listening: ListeningTime, onChange: (online: boolean) => void) {
    this.#clock = clock;
    this.#listening = listening;
    this.#onChange = onChange;
    this.#at = clock.monotonic();
    this.#listenedAt = listening.now();
  }

  /** Undefined until it was heard, linked, or missed. */
  get online(): boolean | undefined {
    return this.#online;
  }

  /** dBm of the last advert; undefined: not heard, or not known. */
  get rssi(): number | undefined {
    return this.#rssi;
  }

  /** Monotonic ms of the last advert or link; undefined: there was none. */
  get seenAt(): number | undefined {
    return this.#seen ? this.#at : undefined;
  }

  /** Something at its address was heard with this strength (dBm; 127: not known), or has a link. */
  see(rssi = 127): void {
    this.#seen = true;
    this.#at = this.#clock.monotonic();
    this.#listenedAt = this.#listening.now();
    if (rssi !== 127) this.#rssi = rssi;
  }

  /** Is it missed? Called every few seconds. */
  check(): void {
    const silence = this.#listening.now() - this.#listenedAt;
    if (silence >= (this.#seen ? OFFLINE_MS : FIRST_MS) || this.#clock.monotonic() - this.#at >= OFFLINE_ANYWAY_MS)
      this.set(false);
  }

  set(online: boolean): void {
    if (online === this.#online) return;
    this.#online = online;
    this.#onChange(online);
  }
}

/** The task: looks after all lamps with one timer, however many there are. */
export async function watchPresence(lamps: Iterable<{ check(): void }>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(CHECK_MS, signal);
    if (signal.aborted) return;
    for (const lamp of lamps) lamp.check();
  }
}
