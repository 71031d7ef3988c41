import type { HouseConfig } from './config/schema.ts';
import { asPorchlightError, PorchlightError } from './errors.ts';
import { Lamps } from './lamps.ts';
import { type LightChange, parseChange } from './lights/change.ts';
import type { Outcome } from './lights/outcome.ts';
import type { Clock } from './lights/port.ts';
import type { Log } from './log.ts';
import { StateDirectory } from './storage/state-directory.ts';
import { runAll } from './task-group.ts';

export interface DirectParts {
  readonly config: HouseConfig;
  readonly entries: { readonly radio: URL; readonly air: URL };
  readonly clock: Clock;
  readonly log: Log;
  readonly uid: number;
}

/**
 * One command by a radio of our own, without daemon, broker or authorization server: whoever may open the adapter may do this.
 * Rejects with `state_locked` while a daemon is running: two programs on one adapter break each other.
 */
export async function sendDirectly(
  parts: DirectParts,
  wanted: { readonly kind: 'lights' | 'scene'; readonly target: string; readonly change: unknown },
  signal: AbortSignal,
): Promise<Outcome> {
  const { config, clock, log, uid } = parts;
  const change: LightChange = wanted.kind === 'scene' ? {} : parseChange(wanted.change);
  const unlock = await lockOut(config.gateway.state_directory, log, uid);
  try {
    const lamps = await Lamps.open({ ...parts, onAvailability: () => undefined });
    try {
      return await throughRadio(lamps, { ...wanted, change }, config.access.max_age, clock, signal);
    } finally {
      await lamps.closeAir();
    }
  } finally {
    await unlock();
  }
}

async function throughRadio(
  lamps: Lamps,
  {
    kind,
    target,
    change,
  }: { readonly kind: 'lights' | 'scene'; readonly target: string; readonly change: LightChange },
  maxAgeMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<Outcome> {
  const done = new AbortController();
  let outcome: Outcome | undefined;
  const began = clock.monotonic();
  await runAll(
    [
      () => lamps.run(done.signal),
      async (inner) => {
        const interrupt = (): void => void lamps.close();
        inner.addEventListener('abort', interrupt, { once: true });
        const result = await lamps.house.apply(kind, target, change, { by: 'local', until: began + maxAgeMs });
        inner.removeEventListener('abort', interrupt);
        outcome = { ...result, took_ms: Math.round(clock.monotonic() - began) };
        await lamps.close();
        done.abort();
      },
    ],
    signal,
  );
  if (outcome === undefined) throw new PorchlightError('internal');
  return outcome;
}

/** Keeps a daemon from starting meanwhile. Without rights to the state directory there is no daemon of ours to lock out. */
async function lockOut(path: string, log: Log, uid: number): Promise<() => Promise<void>> {
  try {
    const state = await StateDirectory.open(path, { log, uid });
    return () => state.close();
  } catch (thrown) {
    const error = asPorchlightError(thrown);
    if (error.code !== 'state_locked') return () => Promise.resolve();
    throw new PorchlightError('state_locked', 'The gateway is running and has the adapter.', {
      hint: 'Leave out --direct: the command then goes through the running gateway.',
      cause: thrown,
    });
  }
}
