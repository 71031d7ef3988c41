/** Many of one kind, told as one. */
export interface Counted<E> {
  readonly key: string;
  /** The newest of them, or what `merge` made of them. */
  readonly last: E;
  /** How many there were since the last one that was told by itself or in a count. */
  readonly count: number;
}

export interface CoalescerOptions<E> {
  /** How many of a kind are told one by one before counting begins. */
  readonly burst: number;
  /** How long the first count runs, ms; each that follows without a quiet one runs twice as long, up to `longestMs`. */
  readonly windowMs: number;
  readonly longestMs: number;
  /** Kinds that are told apart at a time; what comes beyond is one kind, `OTHERS`. */
  readonly kinds: number;
  /** What stands for two that are counted together; default: the newer one. */
  readonly merge?: (before: E, now: E) => E;
}

/** The key of everything that comes while there are too many kinds. */
export const OTHERS = '';

interface Kind<E> {
  told: number;
  counted: Counted<E> | undefined;
  windowMs: number;
  /** Monotonic ms: when the count is told; or, with nothing counted, when the kind is forgotten. */
  due: number;
}

/** Tells the first few of each kind at once and then counts. What is counted comes out of `due`, in time. */
export class Coalescer<E> {
  readonly #options: CoalescerOptions<E>;
  readonly #kinds = new Map<string, Kind<E>>();
  #next = Number.POSITIVE_INFINITY;

  constructor(options: CoalescerOptions<E>) {
    this.#options = options;
  }

  /** When to ask `due` again, monotonic ms; never too late. */
  get next(): number {
    return this.#next;
  }

  /** True: tell this one by itself. False: it was counted. */
  tells(wanted: string, entry: E, now: number): boolean {
    const { burst, windowMs, kinds, merge = newer } = this.#options;
    const key = this.#kinds.has(wanted) || this.#kinds.size < kinds ? wanted : OTHERS;
    let kind = this.#kinds.get(key);
    if (kind === undefined || (kind.counted === undefined && now >= kind.due)) {
      kind = { told: 0, counted: undefined, windowMs, due: now + windowMs };
      this.#kinds.set(key, kind);
      this.#next = Math.min(this.#next, kind.due);
    }
    if (kind.told < burst) {
      kind.told += 1;
      kind.due = now + windowMs;
      return true;
    }
    const { last, count } = kind.counted ?? { last: entry, count: 0 };
    kind.counted = { key, last: merge(last, entry), count: count + 1 };
    return false;
  }

  /** What was counted and is to be told now. */
  due(now: number): readonly Counted<E>[] {
    if (now < this.next) return [];
    const out: Counted<E>[] = [];
    this.#next = Number.POSITIVE_INFINITY;
    for (const [key, kind] of this.#kinds) {
      if (now >= kind.due) {
        if (kind.counted === undefined) {
          this.#kinds.delete(key);
          continue;
        }
        out.push(kind.counted);
        kind.counted = undefined;
        kind.windowMs = Math.min(2 * kind.windowMs, this.#options.longestMs);
        kind.due = now + kind.windowMs;
      }
      this.#next = Math.min(this.#next, kind.due);
    }
    return out;
  }

  /** Everything that was counted, whether it is due or not. */
  rest(): readonly Counted<E>[] {
    return this.due(Number.POSITIVE_INFINITY);
  }
}

const newer = <E>(_: E, now: E): E => now;
