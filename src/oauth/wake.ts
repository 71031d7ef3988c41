import { sleep } from '../task-group.ts';

/** A wait that can be cut short by another part. A ring that comes while nobody waits is kept for the next wait. */
export class Wake {
  #bell = new AbortController();

  ring(): void {
    this.#bell.abort();
  }

  /** Resolves after `ms` (Infinity is allowed), at the next ring, or when `signal` aborts. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#bell.signal.aborted) await sleep(ms, AbortSignal.any([signal, this.#bell.signal]));
    if (this.#bell.signal.aborted) this.#bell = new AbortController();
  }
}
