import type { Clock } from '../lights/port.ts';

/** A span of the day in minutes since midnight: `from` is in it, `to` is not. It passes midnight where `to` is not after `from`. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

const DAY = 1440;
const MINUTE_MS = 60_000;
/** Every zone's offset changes at a quarter of an hour of UTC. */
const BLOCK_MS = 15 * MINUTE_MS;
/** A day and an hour: further ahead nobody asks. */
const BLOCKS_AHEAD = 100;
const SPAN = /^([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)$/;

/** `HH:MM-HH:MM` as a span; `24:00` may be its end. Undefined: it is none, or it is empty. */
export function parseSpan(text: string): Span | undefined {
  const [, hour, minute, endHour, endMinute] = SPAN.exec(text) ?? [];
  if (hour === undefined) return undefined;
  const from = Number(hour) * 60 + Number(minute);
  const to = endHour === undefined ? DAY : Number(endHour) * 60 + Number(endMinute);
  return from === to ? undefined : { from, to };
}

/** Is this minute of the day in one of the spans? */
export function isWithin(spans: readonly Span[], minute: number): boolean {
  for (const { from, to } of spans) {
    if (from < to ? minute >= from && minute < to : minute >= from || minute < to) return true;
  }
  return false;
}

/** Something that holds at certain hours; undefined: always. */
interface Timed {
  readonly hours: readonly Span[] | undefined;
}

/** Minutes from `minute` to the next begin or end of a span, 1 to 1440. */
function toNextEdge(timed: readonly Timed[], minute: number): number {
  let next = DAY;
  for (const { hours = [] } of timed) {
    for (const { from, to } of hours) {
      next = Math.min(next, (from - minute + DAY - 1) % DAY, (to - minute + DAY - 1) % DAY);
    }
  }
  return Math.min(next + 1, DAY);
}

interface Present {
  readonly block: number;
  readonly offset: number;
  /** The clock is neither put forward nor back within a day and an hour. */
  readonly steady: boolean;
}

/**
 * The clock on the wall of the home. Spans mean what it shows: on the day when it jumps from 2:00 to 3:00 a span of 2:00-2:30 does
 * not come, one of 1:00-4:00 lasts two hours; on the day when it shows 2:00-3:00 twice, so does a span within.
 */
export class WallClock {
  readonly #clock: Clock;
  readonly #timeZone: () => string | undefined;
  #zone = '';
  #format: Intl.DateTimeFormat | undefined;
  /** By block of UTC: asking Intl takes longer than everything else about a command. */
  readonly #offsets = new Map<number, number>();
  #present: Present | undefined;

  /** `timeZone`: the home's, as IANA names it; undefined is the machine's own. */
  constructor(clock: Clock, timeZone: () => string | undefined) {
    this.#clock = clock;
    this.#timeZone = timeZone;
  }

  /** The minute of the day now; undefined: nobody can say (no such zone, or no such time). */
  get minute(): number | undefined {
    const wall = this.#clock.wall();
    const present = this.#presentAt(wall);
    return present === undefined ? undefined : minuteOf(wall, present.offset);
  }

  /** `19:05`, for people. */
  get text(): string {
    const { minute } = this;
    if (minute === undefined) return 'an unknown time';
    return [Math.floor(minute / 60), minute % 60].map((part) => String(part).padStart(2, '0')).join(':');
  }

  /**
   * When `holds` ends (wall-clock ms), asked about minutes of the day; it changes only at the edges of the spans of `timed`, and
   * holds now. Infinity: not within `withinMs`, which is at most a day.
   */
  endOf(holds: (minute: number) => boolean, timed: readonly Timed[], withinMs: number): number {
    const now = this.#clock.wall();
    const present = this.#presentAt(now);
    for (let at = now; present !== undefined; ) {
      const offset = at === now ? present.offset : this.#offsetAt(at);
      const minute = offset === undefined ? undefined : minuteOf(at, offset);
      if (minute === undefined || !holds(minute)) return at;
      const edge = (Math.floor(at / MINUTE_MS) + toNextEdge(timed, minute)) * MINUTE_MS;
      at = present.steady ? edge : (this.#firstChange(at, Math.min(edge, now + withinMs)) ?? edge);
      if (at >= now + withinMs) return Number.POSITIVE_INFINITY;
    }
    return now;
  }

  #presentAt(wall: number): Present | undefined {
    this.#noticeZone();
    const block = Math.floor(wall / BLOCK_MS);
    if (this.#present?.block === block) return this.#present;
    const offset = this.#offsetOf(block);
    if (offset === undefined) return undefined;
    this.#present = { block, offset, steady: this.#offsetOf(block + BLOCKS_AHEAD) === offset };
    return this.#present;
  }

  #noticeZone(): void {
    const zone = this.#timeZone() ?? machineZone();
    if (this.#zone === zone) return;
    this.#zone = zone;
    this.#format = undefined;
    this.#present = undefined;
    this.#offsets.clear();
  }

  /** The moment between the two at which the clock is put forward or back. */
  #firstChange(from: number, to: number): number | undefined {
    let low = Math.floor(from / BLOCK_MS);
    let high = Math.floor(to / BLOCK_MS);
    const before = this.#offsetOf(low);
    if (this.#offsetOf(high) === before) return undefined;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.#offsetOf(middle) === before) low = middle;
      else high = middle;
    }
    return high * BLOCK_MS;
  }

  #offsetAt(wall: number): number | undefined {
    return this.#offsetOf(Math.floor(wall / BLOCK_MS));
  }

  /** Milliseconds that the zone is ahead of UTC; undefined: no such zone, or no such time. Whoever asks allows nothing then. */
  #offsetOf(block: number): number | undefined {
    const known = this.#offsets.get(block);
    if (known !== undefined) return known;
    try {
      this.#format ??= formatOf(this.#zone);
      const offset = offsetBy(this.#format, block * BLOCK_MS);
      if (!Number.isFinite(offset)) return undefined;
      // Now, a horizon, and the days on which a clock is put forward or back need a dozen.
      if (this.#offsets.size >= 64) this.#offsets.clear();
      this.#offsets.set(block, offset);
      return offset;
    } catch {
      return undefined;
    }
  }
}

function minuteOf(wall: number, offset: number): number {
  const minute = Math.floor((wall + offset) / MINUTE_MS) % DAY;
  return minute < 0 ? minute + DAY : minute;
}

let machine: string | undefined;
function machineZone(): string {
  machine ??= new Intl.DateTimeFormat('en-US').resolvedOptions().timeZone;
  return machine;
}

function formatOf(timeZone: string): Intl.DateTimeFormat {
  const numeric = 'numeric' as const;
  return new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: numeric,
    month: numeric,
    day: numeric,
    hour: numeric,
    minute: numeric,
    second: numeric,
  });
}

function offsetBy(format: Intl.DateTimeFormat, wall: number): number {
  const parts = new Map(format.formatToParts(wall).map(({ type, value }) => [type, Number(value)]));
  const part = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? Number.NaN;
  const local = Date.UTC(part('year'), part('month') - 1, part('day'), part('hour'), part('minute'), part('second'));
  return local - wall;
}
