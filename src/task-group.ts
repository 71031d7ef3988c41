import { setMaxListeners } from 'node:events';

/** A long-running part: it runs until `signal` aborts, and rejects only when it can not go on. */
export type Task = (signal: AbortSignal) => Promise<void>;

/** Runs tasks side by side until all have ended. The first that fails stops its siblings, and its failure is thrown. */
export async function runAll(tasks: readonly Task[], signal: AbortSignal): Promise<void> {
  const siblings = new AbortController();
  const inner = AbortSignal.any([signal, siblings.signal]);
  // As many listeners as there are tasks and what they wait for: a house of fifty lamps is no leak.
  setMaxListeners(0, inner);
  let failure: { readonly thrown: unknown } | undefined;
  await Promise.all(
    tasks.map(async (task) => {
      try {
        await task(inner);
      } catch (thrown) {
        failure ??= { thrown };
        siblings.abort(thrown);
      }
    }),
  );
  if (failure !== undefined) throw failure.thrown;
}

/** Resolves after `ms`, or at once when `signal` aborts. Longer than 2^31-1 ms is waited for in pieces (Node fires at once). */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  const LONGEST = 2 ** 31 - 1;
  let left = ms;
  do {
    const piece = Math.min(left, LONGEST);
    await new Promise<void>((resolve) => {
      if (signal?.aborted) return resolve();
      const done = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, piece);
      signal?.addEventListener('abort', done, { once: true });
    });
    left -= piece;
  } while (left > 0 && !signal?.aborted);
}
