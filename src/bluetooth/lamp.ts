import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Advertisement, Frame, GattLayout, LightFamily } from '../lights/family.ts';
import type { Clock, Identity, LampAtHand, LampPort } from '../lights/port.ts';
import type { LightState } from '../lights/state.ts';
import { type Log, printable } from '../log.ts';
import { sleep } from '../task-group.ts';
import type { Heard, Link } from './central.ts';
import type { Links } from './links.ts';

export interface LampParts {
  readonly address: string;
  /** From the configuration: adverts do not change it. */
  readonly pinned?: Identity;
  readonly families: readonly LightFamily[];
  /** Every family and model that an advertisement can be, the likeliest first. */
  readonly recognise: (advert: Advertisement) => readonly Identity[];
  readonly links: Links;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** What the lamp said of itself. */
  readonly onState: (partial: Partial<LightState>) => void;
  readonly onAvailability: (online: boolean, rssi?: number) => void;
  readonly log: Log;
}

/** A lamp that was neither heard nor linked for this long is offline. */
const OFFLINE_MS = 60_000;
/** At the start nothing was heard of anybody: lamps advertise at least every few seconds, so who is still silent is not there. */
const FIRST_MS = 15_000;
const CHECK_MS = 2000;
/** Some lamps take a subscription only some time after the link was made. */
const SUBSCRIBE_AGAIN_MS = 1000;
/** Device Name, of the Generic Access service: who is it that never was heard? */
const DEVICE_NAME = '2a00';

/** One configured address: who it is, whether it is there, and the road to it. */
export class Lamp implements LampPort {
  readonly address: string;
  readonly #parts: LampParts;
  #candidates: readonly Identity[];
  /** Which candidate the lamp's characteristics agreed with. */
  #confirmed: Identity | undefined;
  #prepared: { readonly link: Link; readonly lamp: Promise<LampAtHand> } | undefined;
  #seenAt = Number.NEGATIVE_INFINITY;
  #rssi: number | undefined;
  #online: boolean | undefined;

  constructor(parts: LampParts) {
    this.#parts = parts;
    this.address = parts.address;
    this.#candidates = parts.pinned === undefined ? [] : [parts.pinned];
  }

  get identity(): Identity | undefined {
    return this.#parts.pinned ?? this.#confirmed ?? this.#candidates[0];
  }

  /** dBm of the last advert; undefined: not heard, or not known. */
  get rssi(): number | undefined {
    return this.#rssi;
  }

  /** Undefined until it was heard, linked, or missed for a minute. */
  get online(): boolean | undefined {
    return this.#online;
  }

  /** An advert of this lamp's address. It says who the lamp is and that it is there, never what it shines. */
  heard(advert: Heard): void {
    this.#seenAt = this.#parts.clock.monotonic();
    if (advert.rssi !== 127) this.#rssi = advert.rssi;
    if (this.#parts.pinned === undefined) {
      const identities = this.#parts.recognise(advert);
      if (identities.length > 0) this.#meet(identities);
    }
    this.#parts.links.heard(this.address);
    this.#setOnline(true);
  }

  /** Watches whether the lamp is still there. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, links } = this.#parts;
    const startedAt = clock.monotonic();
    while (!signal.aborted) {
      await sleep(CHECK_MS, signal);
      if (links.isLinked(this.address)) this.#seenAt = clock.monotonic();
      const silence = clock.monotonic() - Math.max(this.#seenAt, startedAt);
      if (silence >= (this.#seenAt < startedAt ? FIRST_MS : OFFLINE_MS)) this.#setOnline(false);
    }
  }

  reach<T>(until: number, turn: (lamp: LampAtHand) => Promise<T>, signal: AbortSignal): Promise<T> {
    return this.#parts.links.use(this.address, until, async (link) => turn(await this.#atHand(link)), signal);
  }

  #meet(identities: readonly Identity[]): void {
    const same = (a: Identity, b: Identity): boolean => a.family === b.family && a.model === b.model;
    this.#candidates = identities;
    const confirmed = this.#confirmed;
    if (confirmed !== undefined && !identities.some((one) => same(one, confirmed))) this.#confirmed = undefined;
  }

  /** Everything that a new link needs once, and no second time while it lasts. */
  #atHand(link: Link): Promise<LampAtHand> {
    if (this.#prepared?.link === link) return this.#prepared.lamp;
    const lamp = this.#prepare(link);
    this.#prepared = { link, lamp };
    // A preparation that failed is tried anew by the next turn, should the link still stand.
    lamp.catch(() => {
      if (this.#prepared?.lamp === lamp) this.#prepared = undefined;
    });
    return lamp;
  }

  async #prepare(link: Link): Promise<LampAtHand> {
    const { identity, layout } = await this.#identify(link);
    if (identity.model.unsupported !== undefined) {
      throw new PorchlightError('unsupported', `This lamp cannot be driven: ${identity.model.unsupported}.`);
    }
    this.#confirmed = identity;
    this.#seenAt = this.#parts.clock.monotonic();
    this.#setOnline(true);
    const { family, model } = identity;
    const ears = { open: await this.#listen(link, identity, layout) };
    for (const [index, frame] of (model.wake?.frames ?? []).entries()) {
      if (index > 0) await sleep(model.wake?.gap_ms ?? 0, link.gone);
      await link.write(frame);
    }
    const query = family.query?.(model, layout);
    if (query !== undefined && ears.open) await link.write(query);
    if (!ears.open && layout.notify !== undefined) void this.#listenLater(link, identity, layout, ears, query);
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

  /** Which candidate the lamp's characteristics agree with. Rejects with `identity_mismatch`: nothing is ever written then. */
  async #identify(link: Link): Promise<{ readonly identity: Identity; readonly layout: GattLayout }> {
    for (const identity of await this.#possible(link)) {
      const layout = identity.family.gatt.find((one) => fits(one, link));
      if (layout !== undefined) return { identity, layout };
    }
    throw new PorchlightError('identity_mismatch');
  }

  async #possible(link: Link): Promise<readonly Identity[]> {
    if (this.#candidates.length > 0) return this.#candidates;
    const named = this.#parts.recognise({ localName: await deviceName(link), serviceUuids: [] });
    if (named.length > 0) return named;
    // Never heard and nameless: only where a single family could drive it is it no guess.
    const fitting = this.#parts.families.filter((family) => family.gatt.some((layout) => fits(layout, link)));
    const [family] = fitting;
    const model = family?.models.find((one) => one.unsupported === undefined);
    return fitting.length === 1 && family !== undefined && model !== undefined ? [{ family, model }] : [];
  }

  /** True when the lamp's answers are heard from now on. A lamp that refuses can still be commanded. */
  async #listen(link: Link, { family, model }: Identity, layout: GattLayout): Promise<boolean> {
    const { notify } = layout;
    if (notify === undefined || !link.characteristics.some((one) => one.uuid === notify)) return false;
    try {
      await link.subscribe(notify, (bytes) => this.#decode(bytes, family, model));
      return true;
    } catch (thrown) {
      const error = asPorchlightError(thrown);
      if (link.gone.aborted || (error.code !== 'refused_by_light' && error.code !== 'unsupported')) throw error;
      this.#parts.log.debug({ address: this.address, code: error.code }, 'the lamp does not let itself be heard');
      return false;
    }
  }

  async #listenLater(
    link: Link,
    identity: Identity,
    layout: GattLayout,
    ears: { open: boolean },
    query: Frame | undefined,
  ): Promise<void> {
    await sleep(SUBSCRIBE_AGAIN_MS, link.gone);
    if (link.gone.aborted) return;
    try {
      ears.open = await this.#listen(link, identity, layout);
      if (ears.open && query !== undefined) await link.write(query);
    } catch (thrown) {
      this.#parts.log.debug({ address: this.address, err: thrown }, 'the lamp could not be heard later either');
    }
  }

  #decode(bytes: Uint8Array, family: LightFamily, model: Identity['model']): void {
    let said: Partial<LightState> | undefined;
    try {
      said = family.decode?.(bytes, model);
    } catch (thrown) {
      // Bytes from the air must not end more than themselves.
      this.#parts.log.warn({ address: this.address, err: thrown }, 'a notification could not be decoded');
    }
    if (said !== undefined) this.#parts.onState(said);
  }

  #setOnline(online: boolean): void {
    if (online === this.#online) return;
    this.#online = online;
    this.#parts.onAvailability(online, this.#rssi);
  }
}

/** A layout fits where its write characteristic is there and can be written, in its service where it names one. */
function fits(layout: GattLayout, link: Link): boolean {
  return link.characteristics.some(
    (one) =>
      one.uuid === layout.write &&
      (layout.service === undefined || one.service === layout.service) &&
      (one.properties.includes('write') || one.properties.includes('writeWithoutResponse')),
  );
}

async function deviceName(link: Link): Promise<string> {
  const named = link.characteristics.some((one) => one.uuid === DEVICE_NAME && one.properties.includes('read'));
  if (!named) return '';
  try {
    return printable(
      Buffer.from(await link.read(DEVICE_NAME))
        .toString('utf8')
        .replace(/\0+$/, ''),
      248,
    );
  } catch (thrown) {
    const error = asPorchlightError(thrown);
    if (error.code === 'refused_by_light') return '';
    throw error;
  }
}
