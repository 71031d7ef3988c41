import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Log } from '../log.ts';
import { sleep } from '../task-group.ts';
import { type BackOff, backOff } from './back-off.ts';
import type { GrantRecord, TokenStore } from './grant.ts';

/** A disk that is full may have room in a moment; a rotated refresh token must not be lost meanwhile. */
const SAVE_AGAIN: BackOff = { first: 1_000, longest: 60_000 };

export interface Safekeeping {
  readonly store: TokenStore;
  readonly random: () => number;
  readonly log: Log;
  readonly onProblem: (problem: PorchlightError) => void;
}

/**
 * Stores, however long that takes: an answer that is not stored may be the only way to refresh again. Rejects with `stopping` when
 * the signal aborts first.
 */
export async function saveForSure(record: GrantRecord, parts: Safekeeping, signal: AbortSignal): Promise<void> {
  const { store, random, log, onProblem } = parts;
  for (let failures = 1; ; failures += 1) {
    const problem = await trySave(record, store);
    if (problem === undefined) return;
    if (failures === 1)
      log.error({ code: problem.code, problem: problem.message }, 'the authorization can not be stored');
    onProblem(problem);
    await sleep(backOff(SAVE_AGAIN, failures, random), signal);
    if (signal.aborted) throw new PorchlightError('stopping');
  }
}

/** One attempt. Undefined when it is stored. */
export async function trySave(record: GrantRecord, store: TokenStore): Promise<PorchlightError | undefined> {
  try {
    await store.save(record);
    return undefined;
  } catch (thrown) {
    return asPorchlightError(thrown, 'state_unusable');
  }
}
