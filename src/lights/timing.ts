/** How long a lamp is waited for. Milliseconds. */
export interface Timing {
  /** How long an answer to one question is awaited. */
  readonly answerMs: number;
  /** How often the state is asked for after a write. */
  readonly asks: number;
  /** Calls `run` once after `ms`; the returned function takes that back. */
  readonly after: (ms: number, run: () => void) => () => void;
}

/** Half a second covers the slowest connection interval seen (a lamp answers within three); asked twice, it is one second in all. */
export const TIMING: Timing = {
  answerMs: 500,
  asks: 2,
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
