import { PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import type { Log } from '../log.ts';
import { sleep } from '../task-group.ts';
import type { AdapterState, Central, CentralEvents, Heard, Link } from './central.ts';
import type { RadioBackend, RadioMessage } from './messages.ts';
import { RadioLife, type Timings } from './radio-life.ts';

export interface RadioParts {
  /** The radio's program, compiled. */
  readonly entry: URL;
  readonly backend: RadioBackend;
  readonly events: CentralEvents;
  readonly log: Log;
  readonly clock: Clock;
  readonly timings?: Partial<RadioTimings>;
}

export interface RadioTimings extends Timings {
  /** A run that lived longer than this is followed by the next at once. */
  readonly healthyMs: number;
  /** Otherwise the first wait before the next run; it doubles up to `longestWaitMs`. */
  readonly firstWaitMs: number;
  readonly longestWaitMs: number;
}

const TIMINGS: RadioTimings = {
  pingMs: 2000,
  silenceMs: 10_000,
  stopMs: 1500,
  healthyMs: 5000,
  firstWaitMs: 250,
  longestWaitMs: 30_000,
};

/** Beyond its own deadline the radio may need 3 s to discover, 3 s to cancel, and 2 s in which noble blocks its thread. */
const CONNECT_MARGIN_MS = 10_000;

export interface RadioStatus {
  readonly adapter: AdapterState;
  readonly running: boolean;
  readonly pid?: number;
  /** Runs that ended other than by being stopped. */
  readonly restarts: number;
  /** Why the last of them ended. */
  readonly lastReason?: string;
}

/** The radio as the gateway sees it: a Central whose process is started again for ever. */
export class RadioClient implements Central {
  readonly #parts: RadioParts;
  readonly #timings: RadioTimings;
  #life: RadioLife | undefined;
  #adapter: AdapterState = 'unknown';
  #scanning = false;
  #only: readonly string[] | undefined;
  #restarts = 0;
  #lastReason: string | undefined;

  constructor(parts: RadioParts) {
    this.#parts = parts;
    this.#timings = { ...TIMINGS, ...parts.timings };
  }

  get adapter(): AdapterState {
    return this.#adapter;
  }

  status(): RadioStatus {
    const pid = this.#life?.pid;
    return {
      adapter: this.#adapter,
      running: this.#life !== undefined,
      ...(pid !== undefined ? { pid } : {}),
      restarts: this.#restarts,
      ...(this.#lastReason !== undefined ? { lastReason: this.#lastReason } : {}),
    };
  }

  /** Runs the radio, and the next one when it ends, until `signal` aborts; then stops it within two seconds. */
  async run(signal: AbortSignal): Promise<void> {
    let wait = 0;
    while (!signal.aborted) {
      const began = this.#parts.clock.monotonic();
      const reason = await this.#live(signal);
      if (signal.aborted) return;
      this.#restarts += 1;
      this.#lastReason = reason;
      const healthy = this.#parts.clock.monotonic() - began > this.#timings.healthyMs;
      if (healthy) wait = 0;
      else wait = wait === 0 ? this.#timings.firstWaitMs : Math.min(wait * 2, this.#timings.longestWaitMs);
      this.#parts.log.warn({ reason, wait_ms: wait, restarts: this.#restarts }, 'the radio is started again');
      await sleep(wait, signal);
    }
  }

  /** Narrows what is heard to these addresses; undefined: everyone, within the radio's bounds. */
  watch(addresses: readonly string[] | undefined): void {
    this.#only = addresses;
    this.#listen();
  }

  async scan(on: boolean): Promise<void> {
    this.#scanning = on;
    this.#listen();
  }

  async connect(
    address: string,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Link> {
    const life = this.#life;
    if (life === undefined) throw new PorchlightError('radio_restarting');
    if (this.#adapter !== 'poweredOn') throw new PorchlightError(this.#notOn());
    const { timeoutMs, signal } = options;
    const question = { op: 'connect', address, timeoutMs } as const;
    const { id, answer } = life.askWithId(question, 'linked', timeoutMs + CONNECT_MARGIN_MS);
    const cancel = (): void => {
      // Whether it was still in time, the connect's own answer tells.
      life.ask({ op: 'cancel', connect: id }, 'done', CONNECT_MARGIN_MS).catch(() => undefined);
    };
    signal?.addEventListener('abort', cancel, { once: true });
    if (signal?.aborted === true) cancel();
    try {
      const linked = await answer;
      if (linked.is !== 'linked') throw new PorchlightError('internal');
      const link = life.adopt(address, linked);
      if (signal?.aborted === true) {
        await link.disconnect();
        throw new PorchlightError('unreachable');
      }
      return link;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  async #live(signal: AbortSignal): Promise<string> {
    const { entry, backend, log, clock } = this.#parts;
    const life = RadioLife.begin({
      entry,
      backend,
      log,
      clock,
      timings: this.#timings,
      events: { onNews: (news) => this.#hear(news) },
    });
    this.#life = life;
    this.#listen();
    const stop = (): void => {
      life.stop().catch((error: unknown) => log.error({ err: error }, 'the radio could not be stopped'));
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    const reason = await life.ended;
    signal.removeEventListener('abort', stop);
    this.#life = undefined;
    this.#changeAdapter('unknown');
    return reason;
  }

  #listen(): void {
    const question = {
      op: 'listen',
      on: this.#scanning,
      ...(this.#only !== undefined ? { only: this.#only } : {}),
    } as const;
    this.#life?.ask(question, 'done', CONNECT_MARGIN_MS).catch((error: unknown) => {
      // It is said again to the next run.
      this.#parts.log.debug({ err: error }, 'the radio did not take up the scan');
    });
  }

  #hear(news: Extract<RadioMessage, { is: 'adapter' | 'heard' }>): void {
    if (news.is === 'adapter') this.#changeAdapter(news.state);
    else this.#parts.events.onHeard(asHeard(news));
  }

  #changeAdapter(state: AdapterState): void {
    if (state === this.#adapter) return;
    this.#adapter = state;
    this.#parts.events.onAdapter(state);
  }

  #notOn(): 'radio_restarting' | 'adapter_off' {
    return this.#adapter === 'unknown' || this.#adapter === 'resetting' ? 'radio_restarting' : 'adapter_off';
  }
}

function asHeard(news: Extract<RadioMessage, { is: 'heard' }>): Heard {
  const { address, rssi, connectable, localName, serviceUuids, manufacturerData, serviceData } = news;
  return {
    address,
    rssi,
    connectable,
    serviceUuids,
    ...(localName !== undefined ? { localName } : {}),
    ...(manufacturerData !== undefined ? { manufacturerData: Buffer.from(manufacturerData, 'hex') } : {}),
    ...(serviceData !== undefined
      ? { serviceData: Object.fromEntries(serviceData.map(([uuid, hex]) => [uuid, Buffer.from(hex, 'hex')])) }
      : {}),
  };
}
