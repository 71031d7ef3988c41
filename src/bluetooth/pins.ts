import * as z from 'zod';
import { asPorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import type { Log } from '../log.ts';
import type { StateFile } from '../storage/state-directory.ts';

/** Who was found at an address when it was first identified. */
const Pin = z.object({
  family: z.string().min(1).max(64),
  model: z.string().min(1).max(64),
  /** `fingerprintOf` its characteristics. */
  fingerprint: z.string().regex(/^[0-9a-f]{32}$/),
  /** When it was pinned. Wall clock; for people only. */
  at: z.string().max(40),
});
export type Pin = Readonly<z.infer<typeof Pin>>;

const VERSION = 1;
const Stored = z.object({ version: z.literal(VERSION), lamps: z.record(z.string(), z.unknown()) });
const ADDRESS = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;
/** As many as fit into a state file, and more than any configuration has lamps. */
const MOST = 4096;

export interface PinsParts {
  /** Absent: they are kept in memory only. */
  readonly file?: StateFile;
  readonly clock: Pick<Clock, 'wall'>;
  readonly log: Log;
}

/**
 * Which lamp each address is, durably. What is stored is never needed to go on: a file that is damaged, or that nobody can
 * read or write, is said in the log, and the lamps are pinned anew by their next connections.
 */
export class Pins {
  readonly #parts: PinsParts;
  readonly #pins = new Map<string, Pin>();
  #queued: Promise<void> | undefined;
  #last: Promise<unknown> = Promise.resolve();
  /** Something is not stored yet. */
  #dirty = false;
  #troubled = false;

  constructor(parts: PinsParts) {
    this.#parts = parts;
  }

  /** Takes up what is stored. Never rejects. */
  async load(): Promise<void> {
    const { file, log } = this.#parts;
    let raw: unknown;
    try {
      raw = await file?.load();
    } catch (thrown) {
      log.warn({ reason: asPorchlightError(thrown).message }, 'what is known of the lamps cannot be read');
      return;
    }
    if (raw === undefined) return;
    const stored = Stored.safeParse(raw);
    let refused = 0;
    for (const [address, entry] of Object.entries(stored.data?.lamps ?? {})) {
      const pin = Pin.safeParse(entry);
      if (pin.success && ADDRESS.test(address) && this.#pins.size < MOST) this.#pins.set(address, pin.data);
      else refused += 1;
    }
    if (!stored.success || refused > 0) {
      log.warn(
        { kept: this.#pins.size, refused },
        'what was known of the lamps is damaged; those whose entries make no sense are pinned anew',
      );
    }
  }

  get(address: string): Pin | undefined {
    return this.#pins.get(address);
  }

  /** Pins, or confirms, who was found. Stored soon; where that fails, it is tried again with the next one. */
  set(address: string, found: Omit<Pin, 'at'>): void {
    const known = this.#pins.get(address);
    const same =
      known !== undefined &&
      known.family === found.family &&
      known.model === found.model &&
      known.fingerprint === found.fingerprint;
    if (same && !this.#dirty) return;
    if (!same) {
      if (known === undefined && this.#pins.size >= MOST) return;
      const { family, model, fingerprint } = found;
      this.#pins.set(address, { family, model, fingerprint, at: new Date(this.#parts.clock.wall()).toISOString() });
    }
    this.#saveSoon();
  }

  /** Resolves, once that is durable, with whether there was a pin. Rejects with `state_unusable`; it is then forgotten until the restart. */
  async forget(address: string): Promise<boolean> {
    const had = this.#pins.delete(address);
    if (had || this.#dirty) await this.#save();
    return had;
  }

  /** Drops the pins of all other addresses: who is no longer configured is no longer known. */
  keepOnly(addresses: ReadonlySet<string>): void {
    const gone = [...this.#pins.keys()].filter((address) => !addresses.has(address));
    for (const address of gone) this.#pins.delete(address);
    if (gone.length > 0) this.#saveSoon();
  }

  /** Resolves once everything is stored, as far as that is possible. */
  async settle(): Promise<void> {
    if (this.#dirty && this.#queued === undefined) this.#saveSoon();
    await this.#last;
  }

  #saveSoon(): void {
    this.#save().catch((thrown: unknown) => {
      if (this.#troubled) return;
      this.#troubled = true;
      const { message, hint } = asPorchlightError(thrown);
      this.#parts.log.warn({ reason: message, hint }, 'who the lamps are could not be stored');
    });
  }

  /** One at a time; what changes meanwhile is in the next one. */
  #save(): Promise<void> {
    this.#dirty = true;
    if (this.#queued !== undefined) return this.#queued;
    const queued = this.#last.then(async () => {
      this.#queued = undefined;
      this.#dirty = false;
      try {
        await this.#parts.file?.save({ version: VERSION, lamps: Object.fromEntries(this.#pins) });
        this.#troubled = false;
      } catch (thrown) {
        this.#dirty = true;
        throw thrown;
      }
    });
    this.#queued = queued;
    this.#last = queued.catch(() => undefined);
    return queued;
  }
}
