import { SERVICE_STATE_DIRECTORY } from './config/load.ts';
import type { HouseConfig } from './config/schema.ts';
import { asPorchlightError, PorchlightError } from './errors.ts';
import { Lamps } from './lamps.ts';
import { type LightChange, parseChange } from './lights/change.ts';
import type { Outcome } from './lights/outcome.ts';
import type { Clock } from './lights/port.ts';
import type { Log } from './log.ts';
import { realFileSystem } from './storage/file-system.ts';
import { lockHolder } from './storage/lock.ts';
import { StateDirectory } from './storage/state-directory.ts';
import { runAll } from './task-group.ts';

export interface DirectParts {
  readonly config: HouseConfig;
  readonly entries: { readonly radio: URL; readonly air: URL };
  readonly clock: Clock;
  readonly log: Log;
  readonly uid: number;
}

/** What to do instead, where a daemon has the adapter. */
const LEAVE_OUT = 'Leave out --direct: the command then goes through the running gateway.';

/**
 * One command by a radio of our own, without daemon, broker or authorization server: whoever may open the adapter may do this.
 * Rejects with `state_locked` while a daemon is running: two programs on one adapter break each other.
 */
export async function sendDirectly(
  parts: DirectParts,
  wanted: { readonly kind: 'lights' | 'scene'; readonly target: string; readonly change: unknown },
  signal: AbortSignal,
): Promise<Outcome> {
  const change: LightChange = wanted.kind === 'scene' ? {} : parseChange(wanted.change);
  const send = async (lamps: Lamps, inner: AbortSignal): Promise<Outcome> => {
    const interrupt = (): void => void lamps.close();
    inner.addEventListener('abort', interrupt, { once: true });
    const outcome = await applyDirectly(parts, lamps, { ...wanted, change });
    inner.removeEventListener('abort', interrupt);
    return outcome;
  };
  return withOwnLamps(parts, send, LEAVE_OUT, signal);
}

/** One command to lamps that are open, as the road would carry it. */
export async function applyDirectly(
  { config, clock }: Pick<DirectParts, 'config' | 'clock'>,
  lamps: Lamps,
  {
    kind,
    target,
    change,
  }: { readonly kind: 'lights' | 'scene'; readonly target: string; readonly change: LightChange },
): Promise<Outcome> {
  const began = clock.monotonic();
  const result = await lamps.house.apply(kind, target, change, { by: 'local', until: began + config.access.max_age });
  return { ...result, took_ms: Math.round(clock.monotonic() - began) };
}

/**
 * Does `use` with lamps and a radio of our own, which end with it. `use` gets a signal that aborts when `signal` does or the radio
 * cannot go on. Rejects with `state_locked` and the hint `instead` while a daemon is running.
 */
export async function withOwnLamps<T>(
  parts: DirectParts,
  use: (lamps: Lamps, signal: AbortSignal) => Promise<T>,
  instead: string,
  signal: AbortSignal,
): Promise<T> {
  const { config, log, uid } = parts;
  const state = await lockOut(config.gateway.state_directory, log, uid, instead);
  try {
    // Who the lamps are is known to daemon and verbs alike. What the daemon knows of lamps of its own configuration stays.
    const lamps = await Lamps.open({
      ...parts,
      ...(state !== undefined && { pins: state.file('lamps.json') }),
      onAvailability: () => undefined,
    });
    try {
      return await whileRunning(lamps, use, signal);
    } finally {
      await lamps.closeAir();
    }
  } finally {
    await state?.close();
  }
}

async function whileRunning<T>(
  lamps: Lamps,
  use: (lamps: Lamps, signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const done = new AbortController();
  let result: { readonly value: T } | undefined;
  await runAll(
    [
      () => lamps.run(done.signal),
      async (inner) => {
        try {
          result = { value: await use(lamps, inner) };
        } finally {
          await lamps.close();
          done.abort();
        }
      },
    ],
    signal,
  );
  if (result === undefined) throw new PorchlightError('internal');
  return result.value;
}

/** Does the installed service run? root's own default state directory is another one, whose lock would say nothing of it. */
async function serviceLives(): Promise<boolean> {
  try {
    return typeof (await lockHolder(SERVICE_STATE_DIRECTORY, realFileSystem)) === 'number';
  } catch {
    // Not there, or not for this user's eyes.
    return false;
  }
}

/** Keeps a daemon from starting meanwhile. Without rights to the state directory there is no daemon of ours to lock out. */
async function lockOut(path: string, log: Log, uid: number, instead: string): Promise<StateDirectory | undefined> {
  try {
    if (await serviceLives()) throw new PorchlightError('state_locked');
    return await StateDirectory.open(path, { log, uid });
  } catch (thrown) {
    const error = asPorchlightError(thrown);
    if (error.code !== 'state_locked') return undefined;
    throw new PorchlightError(
      'state_locked',
      'Another Porchlight has the adapter: the gateway that is running, or a scan.',
      {
        hint: instead,
        cause: thrown,
      },
    );
  }
}
