import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Frame } from '../lights/family.ts';
import type { Clock, LampAtHand } from '../lights/port.ts';
import type { LightState } from '../lights/state.ts';
import { Limiter } from '../limiter.ts';
import type { Log } from '../log.ts';
import { sleep } from '../task-group.ts';
import type { Link } from './central.ts';
import type { Identified } from './identity.ts';

export interface PreparationParts {
  readonly address: string;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** What the lamp said of itself. */
  readonly onState: (partial: Partial<LightState>) => void;
  readonly log: Log;
}

/** Subscription, wake and question together: the slowest lamp that is known needs 2 s. */
const PREPARE_MS = 12_000;
/** Some lamps take a subscription only some time after the link was made. */
const SUBSCRIBE_AGAIN_MS = 1000;
/** A lamp that left two subscriptions in a row unanswered, each of which cost its link, is commanded unheard for this long. */
const DEAF_MS = 600_000;
const MOST_UNANSWERED = 2;
/** A lamp may say what makes no sense ten times a second. */
const FAULTS_MS = 60_000;

/** What each new link to a lamp needs before the first command: to be heard, woken, and asked how it shines. */
export class Preparation {
  readonly #parts: PreparationParts;
  #deafUntil = Number.NEGATIVE_INFINITY;
  #unanswered = 0;
  #faults: Limiter | undefined;

  constructor(parts: PreparationParts) {
    this.#parts = parts;
  }

  /** Rejects with the codes of the air; `timed_out` after `PREPARE_MS`. Its answer to the question is not waited for. */
  async prepare(link: Link, identified: Identified): Promise<LampAtHand> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new PorchlightError('timed_out')), PREPARE_MS);
    });
    try {
      return await Promise.race([this.#prepare(link, identified), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #prepare(link: Link, identified: Identified): Promise<LampAtHand> {
    const { family, model, layout } = identified;
    const isDeaf = this.#parts.clock.monotonic() < this.#deafUntil;
    const ears = { open: !isDeaf && (await this.#listen(link, identified)) };
    for (const [index, frame] of (model.wake?.frames ?? []).entries()) {
      if (index > 0) await sleep(model.wake?.gap_ms ?? 0, link.gone);
      await link.write(frame);
    }
    const query = family.query?.(model, layout);
    if (query !== undefined && ears.open) await link.write(query);
    if (!ears.open && !isDeaf && layout.notify !== undefined) void this.#listenLater(link, identified, ears, query);
    return {
      family,
      model,
      layout,
      write: (...frames) => link.write(...frames),
      get hears() {
        return ears.open;
      },
    };
  }

  /** True when the lamp's answers are heard from now on. A lamp that refuses can still be commanded. */
  async #listen(link: Link, identified: Identified): Promise<boolean> {
    const { notify } = identified.layout;
    if (notify === undefined || !link.characteristics.some((one) => one.uuid === notify)) return false;
    try {
      await link.subscribe(notify, (bytes) => this.#decode(bytes, identified));
      this.#unanswered = 0;
      return true;
    } catch (thrown) {
      const error = asPorchlightError(thrown);
      if (error.code === 'timed_out') this.#countUnanswered();
      if (link.gone.aborted || (error.code !== 'refused_by_light' && error.code !== 'unsupported')) throw error;
      this.#parts.log.debug(
        { address: this.#parts.address, code: error.code },
        'the lamp does not let itself be heard',
      );
      return false;
    }
  }

  /** The first may be the radio's own fault. */
  #countUnanswered(): void {
    this.#unanswered += 1;
    if (this.#unanswered < MOST_UNANSWERED) return;
    this.#unanswered = 0;
    this.#deafUntil = this.#parts.clock.monotonic() + DEAF_MS;
  }

  async #listenLater(
    link: Link,
    identified: Identified,
    ears: { open: boolean },
    query: Frame | undefined,
  ): Promise<void> {
    await sleep(SUBSCRIBE_AGAIN_MS, link.gone);
    if (link.gone.aborted) return;
    try {
      ears.open = await this.#listen(link, identified);
      if (ears.open && query !== undefined) await link.write(query);
    } catch (thrown) {
      this.#parts.log.debug({ address: this.#parts.address, err: thrown }, 'the lamp could not be heard later either');
    }
  }

  #decode(bytes: Uint8Array, { family, model }: Identified): void {
    let said: Partial<LightState> | undefined;
    try {
      said = family.decode?.(bytes, model);
    } catch (thrown) {
      // Bytes from the air must not end more than themselves.
      this.#sayFault(thrown);
    }
    if (said !== undefined) this.#parts.onState(said);
  }

  #sayFault(thrown: unknown): void {
    const { address, clock, log } = this.#parts;
    this.#faults ??= new Limiter(FAULTS_MS);
    if (!this.#faults.pass(clock.monotonic())) return;
    log.warn({ address, err: thrown, unsaid: this.#faults.swallowed }, 'a notification could not be decoded');
  }
}
