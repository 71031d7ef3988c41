import type { Log } from '../../src/log.ts';
import { createLog } from '../../src/log.ts';

/** A log that keeps its lines. */
export function keptLog(): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  return { log: createLog('trace', { write: (line: string) => void lines.push(line) }), lines };
}

export const realClock = { monotonic: () => performance.now(), wall: () => Date.now() };
