import { PorchlightError } from '../errors.ts';
import type { Link } from './central.ts';

/** One who wants a lamp's link, and what is to be done with it. Settled exactly once. */
export interface Use {
  /** Monotonic ms. */
  readonly until: number;
  readonly turn: (link: Link) => Promise<void>;
  readonly fail: (error: PorchlightError) => void;
  /** The latest failure: what is told when time is up. */
  last: PorchlightError | undefined;
}

export interface UseParts<T> {
  readonly until: number;
  readonly now: number;
  readonly turn: (link: Link) => Promise<T>;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (value: T) => void;
  readonly reject: (error: PorchlightError) => void;
  /** Its time is up: whether it fails is for the scheduler to say. */
  readonly onTime: (use: Use) => void;
  /** It was settled, one way or the other. */
  readonly onEnd: (use: Use) => void;
}

export function useOf<T>(parts: UseParts<T>): Use {
  const { until, now, turn, signal, resolve, reject, onTime, onEnd } = parts;
  let over = false;
  const end = (): boolean => {
    if (over) return false;
    over = true;
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
    onEnd(use);
    return true;
  };
  const use: Use = {
    until,
    last: undefined,
    turn: async (link) => {
      const value = await turn(link);
      if (end()) resolve(value);
    },
    fail: (error) => {
      if (end()) reject(error);
    },
  };
  const abort = (): void => use.fail(new PorchlightError('stopping'));
  const timer = setTimeout(() => onTime(use), Math.max(0, until - now));
  signal?.addEventListener('abort', abort, { once: true });
  return use;
}
