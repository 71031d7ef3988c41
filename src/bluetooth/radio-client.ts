import { PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import type { Log } from '../log.ts';
import { sleep } from '../task-group.ts';
import type {
  AdapterState,
  Central,
  CentralEvents,
  ConnectOptions,
  Heard,
  Link,
  Pulse,
  RadioEnd,
  Sign,
} from './central.ts';
import { LogCauses } from './log-causes.ts';
import type { RadioBackend, RadioMessage } from './messages.ts';
import { type News, RadioLife, type Timings } from './radio-life.ts';

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
  /** What the radio is told: after so long without a report the scan is begun anew. Absent: its own patience. */
  readonly scanSilenceMs?: number;
  /** Between two log lines of one cause. */
  readonly logMs: number;
}

const TIMINGS: RadioTimings = {
  pingMs: 2000,
  silenceMs: 10_000,
  stopMs: 1500,
  healthyMs: 5000,
  firstWaitMs: 250,
  longestWaitMs: 30_000,
  logMs: 60_000,
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
  /** The radio's last sign of life. */
  readonly pulse?: Pulse;
}

/** The radio as the gateway sees it: a Central whose process is started again for ever. */
export class RadioClient implements Central {
  readonly #parts: RadioParts;
  readonly #timings: RadioTimings;
  readonly #causes: LogCauses;
  #life: RadioLife | undefined;
  /** In this life an advert was heard or a link was made. */
  #worked = false;
  #pulse: Pulse | undefined;
  #adapter: AdapterState = 'unknown';
  #scanning = false;
  #only: readonly string[] | undefined;
  #restarts = 0;
  #lastReason: string | undefined;

  constructor(parts: RadioParts) {
    this.#parts = parts;
    this.#timings = { ...TIMINGS, ...parts.timings };
    this.#causes = new LogCauses(this.#timings.logMs);
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
      ...(this.#pulse !== undefined ? { pulse: this.#pulse } : {}),
    };
  }

  /** Runs the radio, and the next one when it ends, until `signal` aborts; then stops it within two seconds. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, events, log } = this.#parts;
    let wait = 0;
    while (!signal.aborted) {
      const began = clock.monotonic();
      const end = await this.#live(signal);
      if (signal.aborted) return;
      this.#restarts += 1;
      this.#lastReason = end.reason;
      // A controller that does not answer takes a life longer than that to be found out.
      const worked = this.#worked || end.code !== 'adapter_stuck';
      const healthy = worked && clock.monotonic() - began > this.#timings.healthyMs;
      if (healthy) wait = 0;
      else wait = wait === 0 ? this.#timings.firstWaitMs : Math.min(wait * 2, this.#timings.longestWaitMs);
      const passed = this.#causes.pass(end.reason, clock.monotonic());
      if (passed !== undefined) {
        log.warn(
          { reason: end.reason, wait_ms: wait, restarts: this.#restarts, ...passed },
          'the radio is started again',
        );
      }
      events.onEnded?.(end);
      await sleep(wait, signal);
    }
  }

  /** Ends this life of the radio in good order, if it can; the next one follows. */
  restart(reason: string): void {
    this.#life?.stop(reason).catch((thrown: unknown) => {
      this.#parts.log.error({ err: thrown }, 'the radio could not be stopped');
    });
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

  async connect(address: string, options: ConnectOptions): Promise<Link> {
    const life = this.#life;
    if (life === undefined) throw new PorchlightError('radio_restarting');
    if (this.#adapter !== 'poweredOn') throw new PorchlightError(this.#notOn());
    const { timeoutMs, signal, onConnected } = options;
    const question = { op: 'connect', address, timeoutMs } as const;
    const { id, answer } = life.askWithId(question, 'linked', timeoutMs + CONNECT_MARGIN_MS, onConnected);
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

  async #live(signal: AbortSignal): Promise<RadioEnd> {
    const { entry, backend, log, clock } = this.#parts;
    const life = RadioLife.begin({
      entry,
      backend,
      log,
      causes: this.#causes,
      clock,
      timings: this.#timings,
      events: { onNews: (news) => this.#hear(news), onSign: (sign) => this.#see(sign) },
    });
    this.#life = life;
    this.#worked = false;
    this.#listen();
    const stop = (): void => {
      life.stop().catch((error: unknown) => log.error({ err: error }, 'the radio could not be stopped'));
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    const end = await life.ended;
    signal.removeEventListener('abort', stop);
    this.#life = undefined;
    this.#pulse = undefined;
    // An adapter that is not there stays so while the next life begins to look for it.
    this.#changeAdapter(end.code === 'adapter_off' ? 'poweredOff' : 'unknown');
    return end;
  }

  #listen(): void {
    const question = {
      op: 'listen',
      on: this.#scanning,
      ...(this.#only !== undefined ? { only: this.#only } : {}),
      ...(this.#timings.scanSilenceMs !== undefined ? { silenceMs: this.#timings.scanSilenceMs } : {}),
    } as const;
    this.#life?.ask(question, 'done', CONNECT_MARGIN_MS).catch((error: unknown) => {
      // It is said again to the next run.
      this.#parts.log.debug({ err: error }, 'the radio did not take up the scan');
    });
  }

  #hear(news: News): void {
    switch (news.is) {
      case 'adapter':
        this.#changeAdapter(news.state);
        return;
      case 'alive': {
        const { heardMs, rescans, rss } = news;
        if (heardMs !== undefined) this.#worked = true;
        this.#pulse = { rescans, rss, ...(heardMs !== undefined ? { heardMs } : {}) };
        this.#parts.events.onPulse?.(this.#pulse);
        return;
      }
      case 'heard':
        this.#worked = true;
        this.#parts.events.onHeard(asHeard(news));
        return;
    }
  }

  #see(sign: Sign): void {
    this.#worked = true;
    this.#parts.events.onSign?.(sign);
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
