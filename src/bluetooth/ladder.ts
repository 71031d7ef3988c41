import type { Clock } from '../lights/port.ts';
import { type Log, printable } from '../log.ts';
import type { AdapterState, Pulse, RadioEnd, Sign } from './central.ts';
import { LogCauses } from './log-causes.ts';
import { RadioWeight, type WeightTimings } from './radio-weight.ts';
import { CANNOT_CONNECT, MUTE, SILENT, type Trouble } from './stuck.ts';

export interface LadderParts {
  readonly clock: Clock;
  readonly log: Log;
  /** Some lamp has no link: an adapter that works would hear something, or make a link with those that it is told to connect to. */
  readonly shouldHear: () => boolean;
  /** A command is under way. */
  readonly busy: () => boolean;
  /** Gives back the links without work in flight. Returns how many. */
  readonly dropLinks: (reason: string) => number;
  readonly restartRadio: (reason: string) => void;
  /** `status` or `problem` is another. */
  readonly onChange?: () => void;
  readonly timings?: Partial<LadderTimings>;
}

export interface LadderTimings extends WeightTimings {
  /** Of silence until the links are dropped: others' scanners are begun anew after 90 s (habluetooth). */
  readonly silenceMs: number;
  /** More, until the radio is restarted. */
  readonly dropMs: number;
  /** More, in the new life, until the adapter is called stuck. */
  readonly freshMs: number;
  /** Then between further restarts; it doubles up to `longestPauseMs`. */
  readonly pauseMs: number;
  readonly longestPauseMs: number;
  /** A lamp that answered so lately keeps its link, and the radio its life ... */
  readonly answeredMs: number;
  /** ... but not when nobody else was heard for so long. */
  readonly heldMs: number;
  /** Lives in a row that ended by a controller that did not answer. */
  readonly stuckEnds: number;
  /** A connect that got stuck, and nothing after it, says nothing any more. */
  readonly forgetMs: number;
  /** Between two log lines of one cause. */
  readonly logMs: number;
}

const MIN = 60_000;

const TIMINGS: LadderTimings = {
  silenceMs: 90_000,
  dropMs: 30_000,
  freshMs: 60_000,
  pauseMs: MIN,
  longestPauseMs: 15 * MIN,
  answeredMs: 30_000,
  heldMs: 10 * MIN,
  stuckEnds: 3,
  forgetMs: 15 * MIN,
  recycleBytes: 96 * 1024 * 1024,
  recycleMs: 10 * MIN,
  logMs: MIN,
};

/** Between two pulses at most so much silence is believed: a gateway that was itself held up heard nothing either. */
const LONGEST_STEP_MS = 10_000;
/** A controller that hung was heard not long before; one that only cannot connect is heard all the time. */
const HEARD_LATELY_MS = 30_000;

/** What was done last against silence, in the order of the climb. */
export type Rung = 'none' | 'scan_restarted' | 'links_dropped' | 'radio_restarted' | 'stuck';

export interface LadderStatus {
  readonly rung: Rung;
  readonly scan_restarts: number;
  readonly links_dropped: number;
  /** Restarts of the radio that the ladder ordered. */
  readonly restarts: number;
  /** Of them, because its memory had grown. */
  readonly recycled: number;
  readonly stuck_since?: string;
}

/**
 * Judges from signs whether the adapter works, and what is done when it does not: (the radio itself begins a silent scan anew) →
 * drop links → restart the radio → say `adapter_stuck`, and restart it again and again with growing pauses. Anything heard ends
 * the climb. A radio that dies of its controller three times in a row is stuck as well. Only this decides; it holds no timer,
 * for the radio's pulses are its clock: where there are none, there is no radio to judge.
 */
export class Ladder {
  readonly #parts: LadderParts;
  readonly #timings: LadderTimings;
  readonly #causes: LogCauses;
  #isOn = false;
  /** Monotonic ms. */
  #pulseAt: number | undefined;
  #heardAt = Number.NEGATIVE_INFINITY;
  #answeredAt = Number.NEGATIVE_INFINITY;
  /** Milliseconds of silence while something should have been heard. */
  #quietMs = 0;
  #rung: Rung = 'none';
  /** At so much silence the next step is due. */
  #dueMs: number;
  #pauseMs: number;
  /** A restart was asked for, and the life that it is to end has not ended. */
  #ordered = false;
  /** Ends in a row that a controller which does not answer was to blame for, and how the last of them was. */
  #ends = 0;
  #endAt = 0;
  #endedConnecting = false;
  #rescans = 0;
  readonly #weight: RadioWeight;
  #stuckSince: string | undefined;
  #counts = { scan_restarts: 0, links_dropped: 0, restarts: 0, recycled: 0 };

  constructor(parts: LadderParts) {
    this.#parts = parts;
    this.#timings = { ...TIMINGS, ...parts.timings };
    this.#causes = new LogCauses(this.#timings.logMs);
    this.#weight = new RadioWeight(this.#timings);
    this.#dueMs = this.#timings.silenceMs;
    this.#pauseMs = this.#timings.pauseMs;
  }

  status(): LadderStatus {
    const since = this.#stuckSince;
    return {
      rung: since === undefined ? this.#rung : 'stuck',
      ...this.#counts,
      ...(since !== undefined ? { stuck_since: since } : {}),
    };
  }

  /** Why the adapter is taken for stuck, if it is. */
  get problem(): Trouble | undefined {
    if (this.#stuckSince === undefined) return undefined;
    if (this.#rung === 'stuck') return SILENT;
    return this.#endedConnecting ? CANNOT_CONNECT : MUTE;
  }

  /** An advert of anybody. */
  heard(): void {
    this.#heardAt = this.#parts.clock.monotonic();
    if (this.#quietMs === 0 && this.#ends === 0 && this.#stuckSince === undefined) return;
    // That it hears says nothing of an adapter that gets stuck in connecting.
    if (!this.#endedConnecting) this.#ends = 0;
    this.#settle();
  }

  sign(sign: Sign): void {
    const now = this.#parts.clock.monotonic();
    if (sign !== 'let_go') this.#answeredAt = now;
    // A lamp that answers on its link says nothing of the scan; one that was connected to has been heard.
    if (sign === 'answered') return;
    this.#ends = 0;
    if (sign === 'linked') {
      this.#heardAt = now;
      this.#settle();
    } else if (this.#rung !== 'stuck') {
      this.#unstick();
    }
  }

  adapter(state: AdapterState): void {
    this.#isOn = state === 'poweredOn';
    if (this.#isOn || state === 'unknown' || state === 'resetting') return;
    // It is off or unplugged, which is another trouble, and this one's cure.
    this.#ends = 0;
    this.#reset();
  }

  /** A life of the radio is over. */
  ended(end: RadioEnd): void {
    const now = this.#parts.clock.monotonic();
    this.#ordered = false;
    this.#pulseAt = undefined;
    this.#rescans = 0;
    this.#weight.begin();
    if (end.code !== 'adapter_stuck') return;
    this.#ends += 1;
    this.#endAt = now;
    this.#endedConnecting = end.connecting && now - this.#heardAt < HEARD_LATELY_MS;
    if (this.#ends >= this.#timings.stuckEnds) this.#beStuck({ last_reason: printable(end.reason), times: this.#ends });
  }

  pulse(pulse: Pulse): void {
    const now = this.#parts.clock.monotonic();
    const elapsed = this.#pulseAt === undefined ? 0 : now - this.#pulseAt;
    const isFirst = this.#pulseAt === undefined;
    this.#pulseAt = now;
    this.#forget(now);
    if (pulse.heardMs !== undefined && (isFirst || pulse.heardMs <= elapsed)) this.heard();
    else if (this.#listens()) this.#quietMs += Math.min(elapsed, LONGEST_STEP_MS);
    this.#countRescans(pulse.rescans);
    this.#weigh(pulse.rss, now);
    if (this.#quietMs >= this.#dueMs && this.#listens()) this.#climb(now);
  }

  #listens(): boolean {
    return this.#isOn && !this.#ordered && this.#parts.shouldHear();
  }

  /** It hears, and nobody has tried since to connect: after a while nobody knows whether it would get stuck again. */
  #forget(now: number): void {
    if (this.#ends === 0 || !this.#endedConnecting || now - this.#endAt < this.#timings.forgetMs) return;
    this.#ends = 0;
    if (this.#rung !== 'stuck') this.#unstick();
  }

  #countRescans(rescans: number): void {
    const more = rescans - this.#rescans;
    this.#rescans = rescans;
    if (more <= 0) return;
    this.#counts.scan_restarts += more;
    if (this.#rung !== 'none' || this.#quietMs === 0) return;
    this.#rung = 'scan_restarted';
    this.#say('info', 'nothing is heard: the scan was begun anew');
    this.#parts.onChange?.();
  }

  #climb(now: number): void {
    const { answeredMs, heldMs, dropMs, freshMs, longestPauseMs } = this.#timings;
    if (now - this.#answeredAt < answeredMs && this.#quietMs < heldMs) return;
    switch (this.#rung) {
      case 'none':
      case 'scan_restarted': {
        this.#rung = 'links_dropped';
        this.#dueMs = this.#quietMs + dropMs;
        const links = this.#parts.dropLinks('nothing was heard for too long');
        this.#counts.links_dropped += links;
        this.#say('warn', 'nothing is heard: links are dropped', { links });
        break;
      }
      case 'links_dropped':
        this.#rung = 'radio_restarted';
        this.#dueMs = this.#quietMs + freshMs;
        this.#say('warn', 'nothing is heard: the radio is restarted');
        this.#restart('nothing was heard for too long');
        break;
      case 'radio_restarted':
        this.#rung = 'stuck';
        this.#dueMs = this.#quietMs + this.#pauseMs;
        this.#beStuck({});
        break;
      case 'stuck':
        this.#pauseMs = Math.min(this.#pauseMs * 2, longestPauseMs);
        this.#dueMs = this.#quietMs + this.#pauseMs;
        this.#restart('nothing was heard for too long');
        break;
    }
    this.#parts.onChange?.();
  }

  #weigh(rss: number, now: number): void {
    if (this.#ordered || !this.#weight.isTooMuch(rss, now, this.#parts.busy)) return;
    this.#counts.recycled += 1;
    this.#restart(`its memory had grown to ${Math.round(rss / 1024 / 1024)} MB`);
    this.#parts.onChange?.();
  }

  #restart(reason: string): void {
    this.#ordered = true;
    this.#counts.restarts += 1;
    this.#parts.restartRadio(reason);
  }

  #beStuck(fields: Readonly<Record<string, unknown>>): void {
    if (this.#stuckSince !== undefined) return;
    this.#stuckSince = new Date(this.#parts.clock.wall()).toISOString();
    const { code, message, hint } = this.problem ?? MUTE;
    this.#say('error', message, { code, hint, ...fields });
    this.#parts.onChange?.();
  }

  /** It hears: the climb is over. A trouble with connecting alone lasts until a connect went well. */
  #settle(): void {
    if (this.#ends >= this.#timings.stuckEnds) {
      this.#resetClimb();
      return;
    }
    if (this.#rung !== 'none' || this.#stuckSince !== undefined) this.#say('info', 'the adapter works again');
    this.#reset();
  }

  /** No longer called stuck; a climb goes on where it is. */
  #unstick(): void {
    if (this.#stuckSince === undefined) return;
    this.#stuckSince = undefined;
    this.#parts.onChange?.();
  }

  #reset(): void {
    const changed = this.#rung !== 'none' || this.#stuckSince !== undefined;
    this.#stuckSince = undefined;
    this.#resetClimb();
    if (changed) this.#parts.onChange?.();
  }

  #resetClimb(): void {
    this.#quietMs = 0;
    this.#rung = 'none';
    this.#dueMs = this.#timings.silenceMs;
    this.#pauseMs = this.#timings.pauseMs;
  }

  /** At most once a minute each. */
  #say(level: 'info' | 'warn' | 'error', text: string, fields: Readonly<Record<string, unknown>> = {}): void {
    const passed = this.#causes.pass(text, this.#parts.clock.monotonic());
    const silent_s = Math.round(this.#quietMs / 1000);
    if (passed !== undefined) this.#parts.log[level]({ silent_s, ...fields, ...passed }, text);
  }
}
