import type { AdapterState, Heard } from '../../src/bluetooth/central.ts';
import { RadioClient } from '../../src/bluetooth/radio-client.ts';
import { DIST } from '../support/dist.ts';
import { keptLog, realClock } from '../support/log.ts';

/** Looks every few milliseconds until it is so. */
export async function until(what: () => boolean, ms = 10_000): Promise<void> {
  const end = performance.now() + ms;
  while (!what()) {
    if (performance.now() > end) throw new Error(`it did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The real radio process on the controller at `address`, and what it tells. */
export function radioOn(address: string) {
  const states: AdapterState[] = [];
  const heard: Heard[] = [];
  const { log, lines } = keptLog();
  const client = new RadioClient({
    entry: new URL('bluetooth/radio/main.js', DIST),
    backend: { kind: 'h4', address },
    events: { onAdapter: (state) => states.push(state), onHeard: (one) => heard.push(one) },
    log,
    clock: realClock,
  });
  const stop = new AbortController();
  const run = client.run(stop.signal);
  const end = async (): Promise<void> => {
    stop.abort();
    await run;
  };
  return { client, states, heard, lines, end };
}
