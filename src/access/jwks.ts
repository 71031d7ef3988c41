import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import { type Log, printable } from '../log.ts';
import { sleep, type Task } from '../task-group.ts';
import { type Fetch, fetchJson } from './fetch-json.ts';
import { fits, type VerificationKey, verificationKey } from './jwk.ts';
import { orAborted } from './or-aborted.ts';

/** A key that is removed stops working within ten minutes, also where the fetch takes its time or the first one fails. */
const REFRESH_MS = 9 * 60_000;
/** Whatever tokens arrive, an unknown key makes us ask no more often than this. */
const UNKNOWN_KEY_PAUSE_MS = 30_000;
/** With no key at all nothing can be judged, so a server that came back should be noticed sooner. */
const NO_KEYS_PAUSE_MS = 5_000;
/** For finding the address and reading the set together; a command is waiting for it. */
const DEADLINE_MS = 5_000;
const MAX_BYTES = 256 * 1024;
const MAX_KEYS = 100;
/** Commands that may wait for one fetch: each holds its token in memory. */
const MAX_WAITING = 64;

const KeySet = z.object({ keys: z.array(z.unknown()).max(MAX_KEYS) });
const Kept = KeySet.extend({ issuer: z.string() });

export interface JwksOptions {
  /** Where the key set is: found by discovery, or given. Asked before each fetch, since servers move. */
  readonly locate: (signal: AbortSignal) => Promise<URL>;
  readonly fetch: Fetch;
  readonly clock: Clock;
  readonly log: Log;
  /** Keeps the last key set over a restart, for the day when the server is away at the start. Public keys only. */
  readonly store?: {
    /** Whose keys they are: those of another issuer are not used. */
    readonly issuer: string;
    readonly file: { load(): Promise<unknown>; save(value: unknown): Promise<void> };
  };
  readonly deadlineMs?: number;
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** The public keys of the authorization server (RFC 7517), kept fresh. While the server is away the known ones go on being used. */
export class JwksSource {
  readonly #options: JwksOptions;
  #keys: ReadonlyMap<string, VerificationKey> = new Map();
  #fetching: Promise<void> | undefined;
  #waiting = 0;
  /** Monotonic ms of the last fetch that an unknown key caused. */
  #askedAt = Number.NEGATIVE_INFINITY;
  #failure: PorchlightError | undefined;

  constructor(options: JwksOptions) {
    this.#options = options;
  }

  /**
   * Fetches at start and every nine minutes; after a failure in 30 s, then less and less often. A token whose key is not known
   * also causes a fetch, so this task only makes the first command fast and removed keys forgotten.
   */
  readonly run: Task = async (signal) => {
    const pause = this.#options.sleep ?? sleep;
    await this.#recall();
    let failures = 0;
    while (!signal.aborted) {
      await this.#refresh(signal).catch(() => undefined);
      failures = this.#failure === undefined ? 0 : failures + 1;
      const retry = Math.min(UNKNOWN_KEY_PAUSE_MS * 2 ** (failures - 1), REFRESH_MS);
      await pause(failures === 0 ? REFRESH_MS : retry, signal);
    }
  };

  /** The server can be reached after all: worth another try where there are no keys yet. */
  nudge(): void {
    if (this.#keys.size === 0) this.#refresh().catch(() => undefined); // the failure is logged where it happens
  }

  /**
   * The keys that may have signed a token with this header; at least one. Rejects `token_invalid`: the key is unknown to
   * the server, or the server could not be asked.
   */
  async find(kid: string | undefined, alg: string): Promise<readonly VerificationKey[]> {
    const known = this.#fitting(kid, alg);
    if (known.length > 0) return known;
    await this.#ask();
    const fresh = this.#fitting(kid, alg);
    if (fresh.length > 0) return fresh;
    throw new PorchlightError(
      'token_invalid',
      'The token is signed with a key that the authorization server does not publish.',
    );
  }

  /**
   * None of the keys that were known has signed the token: those that the server publishes now, beside them. It is asked no more
   * often than about an unknown key, so that forged signatures cost it nothing. Rejects as `find`.
   */
  async findOthers(
    kid: string | undefined,
    alg: string,
    tried: readonly VerificationKey[],
  ): Promise<readonly VerificationKey[]> {
    await this.#ask();
    return this.#fitting(kid, alg).filter((key) => !tried.includes(key));
  }

  /** Is this key, found earlier, still published? */
  holds(key: VerificationKey): boolean {
    return this.#keys.get(key.identity) === key;
  }

  #fitting(kid: string | undefined, alg: string): readonly VerificationKey[] {
    return [...this.#keys.values()].filter((key) => fits(key, kid, alg));
  }

  #pauseMs(): number {
    return this.#keys.size === 0 ? NO_KEYS_PAUSE_MS : UNKNOWN_KEY_PAUSE_MS;
  }

  async #ask(): Promise<void> {
    if (this.#fetching === undefined) {
      const now = this.#options.clock.monotonic();
      if (now - this.#askedAt < this.#pauseMs()) {
        if (this.#failure !== undefined) throw unfetched(this.#failure);
        return;
      }
      this.#askedAt = now;
    } else if (this.#waiting >= MAX_WAITING) {
      throw unfetched(new PorchlightError('server_unreachable', 'Too many commands wait for the key set.'));
    }
    this.#waiting += 1;
    try {
      await this.#refresh();
    } catch (thrown) {
      throw unfetched(thrown);
    } finally {
      this.#waiting -= 1;
    }
  }

  /** One fetch at a time; whoever comes meanwhile shares it. */
  #refresh(signal?: AbortSignal): Promise<void> {
    this.#fetching ??= this.#fetch(signal).finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetch(signal: AbortSignal | undefined): Promise<void> {
    const { locate, fetch, log, deadlineMs = DEADLINE_MS } = this.#options;
    const deadline = AbortSignal.timeout(deadlineMs);
    const limit = signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
    try {
      const work = async (): Promise<void> => {
        const set = KeySet.safeParse(await fetchJson(fetch, await locate(limit), MAX_BYTES, limit));
        if (!set.success) throw new PorchlightError('server_answer', 'The answer is not a JSON Web Key Set.');
        // An answer after the deadline is not news any more: a later fetch may have been faster.
        if (!limit.aborted && this.#replace(set.data.keys)) await this.#remember(set.data.keys);
      };
      await orAborted(work(), limit);
      if (this.#failure !== undefined) log.info('the keys of the authorization server are read again');
      this.#failure = undefined;
    } catch (thrown) {
      if (signal?.aborted) throw thrown;
      const reason = thrown instanceof Error ? printable(thrown.message) : 'unknown';
      // Once per outage: a server that is away for a day should not fill the journal.
      log[this.#failure === undefined ? 'warn' : 'debug'](
        { reason, known: this.#keys.size },
        'the keys of the authorization server cannot be fetched',
      );
      this.#failure = new PorchlightError('server_unreachable', undefined, { cause: thrown });
      throw this.#failure;
    }
  }

  async #recall(): Promise<void> {
    const { store, log } = this.#options;
    try {
      const kept = Kept.safeParse(await store?.file.load());
      if (kept.success && kept.data.issuer === store?.issuer && this.#keys.size === 0) this.#replace(kept.data.keys);
    } catch (thrown) {
      log.warn({ err: thrown }, 'the stored keys of the authorization server cannot be read');
    }
  }

  async #remember(keys: readonly unknown[]): Promise<void> {
    try {
      const { store } = this.#options;
      await store?.file.save({ issuer: store.issuer, keys });
    } catch (thrown) {
      this.#options.log.warn({ err: thrown }, 'the keys of the authorization server cannot be stored');
    }
  }

  /** True when the set is another than before. */
  #replace(published: readonly unknown[]): boolean {
    const next = new Map<string, VerificationKey>();
    for (const member of published) {
      const key = verificationKey(member);
      // A key that is still published stays the same object: tokens verified with it stay verified.
      if (key !== undefined) next.set(key.identity, this.#keys.get(key.identity) ?? key);
    }
    const changed = next.size !== this.#keys.size || [...next.keys()].some((identity) => !this.#keys.has(identity));
    this.#keys = next;
    return changed;
  }
}

function unfetched(cause: unknown): PorchlightError {
  return new PorchlightError(
    'token_invalid',
    'The token cannot be judged: the keys of the authorization server cannot be fetched.',
    { hint: 'Send it again in a moment; if this stays, check the network and access.issuer.', cause },
  );
}
