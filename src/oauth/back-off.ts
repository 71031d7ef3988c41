/** How long to wait before trying again, after failures that may pass. */
export interface BackOff {
  /** First wait in ms; doubled by every further failure. */
  readonly first: number;
  /** No wait is longer than this, in ms. */
  readonly longest: number;
}

/**
 * Milliseconds to wait after the `failures`th failure in a row (1, 2, ...): doubling, capped, less up to a fifth at random so that
 * a street of gateways does not return in step after a power cut. A Retry-After of the server is honoured within the cap.
 */
export function backOff(rule: BackOff, failures: number, random: () => number, retryAfter = 0): number {
  const doubled = Math.min(rule.longest, rule.first * 2 ** Math.min(failures - 1, 30));
  return Math.max(doubled * (1 - random() / 5), Math.min(retryAfter, rule.longest));
}
