import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Clock, Identity, LampAtHand, LampPort } from '../lights/port.ts';
import type { LightState } from '../lights/state.ts';
import { type Log, printable } from '../log.ts';
import type { Heard, Link } from './central.ts';
import { identify, type Protocols, pinnedIdentity } from './identity.ts';
import type { Links } from './links.ts';
import { LogCauses } from './log-causes.ts';
import type { Pins } from './pins.ts';
import { Preparation } from './preparation.ts';
import { type ListeningTime, Presence } from './presence.ts';

export interface LampParts extends Protocols {
  readonly address: string;
  /** From the configuration: adverts do not change it. */
  readonly pinned?: Identity;
  /** Who was found at each address. */
  readonly pins: Pins;
  readonly links: Pick<Links, 'use' | 'heard' | 'isLinked'>;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly listening: ListeningTime;
  /** What the lamp said of itself. */
  readonly onState: (partial: Partial<LightState>) => void;
  readonly onAvailability: (online: boolean) => void;
  readonly log: Log;
}

/** Another device at a lamp's address is looked at again, without a word to it: at first after this long, then ever more seldom. */
const FIRST_LOOK_MS = 60_000;
const LONGEST_LOOK_MS = 3_600_000;
/** How long such a look may wait for a link; and it is only taken at something that was heard this lately. */
const LOOK_MS = 10_000;
const HEARD_MS = 30_000;

/** A device at the lamp's address that is not the lamp. */
interface Stranger {
  readonly error: PorchlightError;
  lookAt: number;
  wait: number;
}

/** One configured address: who it is, whether it is there, and the road to it. */
export class Lamp implements LampPort {
  readonly address: string;
  readonly #parts: LampParts;
  readonly #presence: Presence;
  readonly #preparation: Preparation;
  /** Whom its adverts (or its pin, or the configuration) say that it is, the likeliest first. */
  #candidates: readonly Identity[];
  /** Which candidate the lamp's characteristics agreed with. */
  #confirmed: Identity | undefined;
  #prepared: { readonly link: Link; readonly lamp: Promise<LampAtHand> } | undefined;
  #stranger: Stranger | undefined;
  /** Two that take turns at one address must not fill the log. */
  readonly #causes = new LogCauses();
  #misnamed = false;

  constructor(parts: LampParts) {
    this.#parts = parts;
    this.address = parts.address;
    this.#presence = new Presence(parts.clock, parts.listening, parts.onAvailability);
    this.#preparation = new Preparation(parts);
    const pinned = parts.pinned ?? pinnedIdentity(parts.pins.get(parts.address), parts.families);
    this.#candidates = pinned === undefined ? [] : [pinned];
  }

  get identity(): Identity | undefined {
    return this.#parts.pinned ?? this.#confirmed ?? this.#candidates[0];
  }

  get rssi(): number | undefined {
    return this.#presence.rssi;
  }

  /** Monotonic ms of its last advert or link. */
  get seenAt(): number | undefined {
    return this.#presence.seenAt;
  }

  get online(): boolean | undefined {
    return this.#presence.online;
  }

  /** What keeps it from being commanded, until a link shows that it is over. */
  get problem(): PorchlightError | undefined {
    return this.#stranger?.error;
  }

  /** An advert of this lamp's address. It says that something is there and who it claims to be, never what it shines. */
  heard(advert: Heard): void {
    this.#presence.see(advert.rssi);
    if (this.#parts.pinned === undefined) this.#meet(this.#parts.recognise(advert), advert.localName);
    this.#parts.links.heard(this.address);
    // Adverts are the same whoever sends them: only a link tells that the lamp is back.
    if (this.#stranger === undefined) this.#presence.set(true);
  }

  /** Called every few seconds: is it still there? */
  check(): void {
    if (this.#parts.links.isLinked(this.address)) this.#presence.see();
    this.#presence.check();
    this.#lookAgain();
  }

  reach<T>(until: number, turn: (lamp: LampAtHand) => Promise<T>, signal: AbortSignal): Promise<T> {
    return this.#parts.links.use(this.address, until, async (link) => turn(await this.#atHand(link)), signal);
  }

  /** Forgets who was pinned here, durably: the next connection pins anew. Resolves with whether there was a pin. */
  async forget(): Promise<boolean> {
    this.#confirmed = undefined;
    this.#candidates = this.#parts.pinned === undefined ? [] : [this.#parts.pinned];
    this.#stranger = undefined;
    this.#misnamed = false;
    return this.#parts.pins.forget(this.address);
  }

  /** Takes up whom an advert claims to be. Within the pinned family it may say more; out of it, no advert leads. */
  #meet(claimed: readonly Identity[], name: string | undefined): void {
    if (claimed.length === 0) return;
    const pin = this.#parts.pins.get(this.address);
    const pinned = pinnedIdentity(pin, this.#parts.families);
    const believed = pinned === undefined ? claimed : claimed.filter(({ family }) => family === pinned.family);
    if (believed.length === 0) {
      if (!this.#misnamed) this.#sayMisnamed(name, pinned);
      this.#misnamed = true;
      return;
    }
    this.#misnamed = false;
    this.#candidates = believed;
    const same = (a: Identity, b: Identity): boolean => a.family === b.family && a.model === b.model;
    const confirmed = this.#confirmed;
    if (confirmed !== undefined && !believed.some((one) => same(one, confirmed))) this.#confirmed = undefined;
  }

  #sayMisnamed(name: string | undefined, pinned: Identity | undefined): void {
    const passed = this.#causes.pass('misnamed', this.#parts.clock.monotonic());
    if (passed === undefined) return;
    this.#parts.log.warn(
      { ...passed, address: this.address, name: printable(name ?? '', 80), family: pinned?.family.id },
      'somebody advertises another kind of lamp under the address of this one; it stays what it is',
    );
  }

  /** Everything that a new link needs once, and no second time while it lasts. */
  #atHand(link: Link): Promise<LampAtHand> {
    if (this.#prepared?.link === link) return this.#prepared.lamp;
    const lamp = this.#prepare(link);
    this.#prepared = { link, lamp };
    const forget = (): void => {
      if (this.#prepared?.lamp === lamp) this.#prepared = undefined;
    };
    // A preparation that failed is tried anew by the next turn, should the link still stand.
    lamp.catch(forget);
    link.gone.addEventListener('abort', forget, { once: true });
    return lamp;
  }

  /** Nothing is written, and nothing subscribed to, before the lamp has proven that it is the one that it was. */
  async #prepare(link: Link): Promise<LampAtHand> {
    const { pins } = this.#parts;
    const known = { candidates: this.#candidates, pin: pins.get(this.address) };
    const identified = await identify(link, known, this.#parts).catch((thrown: unknown) => {
      const error = asPorchlightError(thrown);
      if (error.code === 'identity_mismatch') this.#distrust(error);
      throw error;
    });
    const { family, model, fingerprint } = identified;
    if (model.unsupported !== undefined) {
      throw new PorchlightError('unsupported', `This lamp cannot be driven: ${model.unsupported}.`);
    }
    pins.set(this.address, { family: family.id, model: model.id, fingerprint });
    this.#trust({ family, model });
    return this.#preparation.prepare(link, identified);
  }

  #trust(identity: Identity): void {
    this.#confirmed = identity;
    const passed =
      this.#stranger === undefined ? undefined : this.#causes.pass('itself', this.#parts.clock.monotonic());
    if (passed !== undefined) this.#parts.log.info({ ...passed, address: this.address }, 'the lamp is itself again');
    this.#stranger = undefined;
    this.#presence.see();
    this.#presence.set(true);
  }

  /** Said once for as long as it lasts. A lamp in whose place is something else is not there. */
  #distrust(error: PorchlightError): void {
    const now = this.#parts.clock.monotonic();
    const { message, hint } = error;
    if (this.#stranger === undefined) {
      const passed = this.#causes.pass('stranger', now);
      if (passed !== undefined)
        this.#parts.log.warn({ ...passed, address: this.address, code: error.code, hint }, message);
      this.#stranger = { error, wait: FIRST_LOOK_MS, lookAt: now + FIRST_LOOK_MS };
    } else {
      const wait = Math.min(this.#stranger.wait * 2, LONGEST_LOOK_MS);
      this.#stranger = { error, wait, lookAt: now + wait };
    }
    this.#presence.set(false);
  }

  /** Without this, a lamp that is back would stay offline, and so uncommanded, for ever. */
  #lookAgain(): void {
    const stranger = this.#stranger;
    const now = this.#parts.clock.monotonic();
    if (stranger === undefined || now < stranger.lookAt || now - (this.seenAt ?? 0) > HEARD_MS) return;
    stranger.lookAt = now + stranger.wait;
    const nothing = async (): Promise<void> => undefined;
    this.reach(now + LOOK_MS, nothing, new AbortController().signal).catch((thrown: unknown) => {
      this.#parts.log.debug({ address: this.address, code: asPorchlightError(thrown).code }, 'still not the lamp');
    });
  }
}
