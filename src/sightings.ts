import type { Heard } from './bluetooth/central.ts';
import type { HeardView } from './heard.ts';
import type { Lamps } from './lamps.ts';

/** One device in the air while somebody scans; of a configured lamp also when it was not heard. */
export interface Sighting extends HeardView {
  /** Connected to us: a lamp that is does not advertise. */
  readonly linked: boolean;
  readonly heard: boolean;
}

/** What is new since the update before. */
export interface ScanUpdate {
  /** As the radio said last; `unknown` until it did. */
  readonly adapter: string;
  /** False: the radio's process is being started again; `trouble` says why, where that is known. */
  readonly running: boolean;
  readonly trouble?: string;
  /** New, or changed. */
  readonly sightings: readonly Sighting[];
  /** Addresses that gave way to others: there is no room for everybody. */
  readonly gone: readonly string[];
}

/** Often enough to look alive, seldom enough to be read. */
const UPDATE_MS = 300;
/** Phones change their address every few minutes and a flood changes it at every advert; nobody reads more rows than this. */
const MOST_SIGHTINGS = 300;
/** Of a new measurement; the rest is the measurements before. One advert differs from the next by 10 dB. */
const WEIGHT = 0.3;

type AirView = Pick<Lamps, 'scan' | 'describe' | 'view'> & {
  readonly radio: Pick<Lamps['radio'], 'status'>;
  readonly links: Pick<Lamps['links'], 'isLinked'>;
};

/**
 * Scans until the returned function is called: `listener`, which must not throw, is told a few times a second what changed,
 * and at once that it began.
 */
export function watchAir(lamps: AirView, listener: (update: ScanUpdate) => void): () => void {
  const found = new Sightings();
  const stop = lamps.scan((heard) => found.hear(lamps.describe(heard), heard));
  const update = (): void => {
    for (const { id, address, family, model, name } of lamps.view()) {
      const configured = {
        address,
        name,
        connectable: true,
        configured: id,
        ...(family !== undefined && { family, supported: true }),
        ...(model !== undefined && { model }),
      };
      found.expect(configured, lamps.links.isLinked(address));
    }
    const { adapter, running, lastReason } = lamps.radio.status();
    const trouble = running && adapter !== 'unknown' ? undefined : lastReason;
    listener({ adapter, running, ...(trouble !== undefined && { trouble }), ...found.changes() });
  };
  update();
  const timer = setInterval(update, UPDATE_MS);
  return () => {
    clearInterval(timer);
    stop();
  };
}

/** Who was seen, at most `most`: ours and lamps that we know first, then the strongest. */
export class Sightings {
  readonly #most: number;
  readonly #all = new Map<string, Sighting & { readonly level?: number }>();
  readonly #changed = new Set<string>();
  readonly #gone = new Set<string>();

  constructor(most = MOST_SIGHTINGS) {
    this.#most = most;
  }

  hear(view: HeardView, heard: Pick<Heard, 'rssi'>): void {
    const before = this.#all.get(view.address);
    if (before === undefined && !this.#makeRoom(view)) return;
    const level =
      heard.rssi === 127
        ? before?.level
        : before?.level === undefined
          ? heard.rssi
          : before.level + WEIGHT * (heard.rssi - before.level);
    const { rssi: _, ...rest } = view;
    this.#put({
      ...rest,
      // A name that comes in the scan response alone is not forgotten with the next advert.
      name: view.name === '' && before?.heard === true ? before.name : view.name,
      ...(level !== undefined && { level, rssi: Math.round(level) }),
      linked: before?.linked ?? false,
      heard: true,
    });
  }

  /** A configured lamp is listed whether or not it is heard. */
  expect(view: HeardView, linked: boolean): void {
    const before = this.#all.get(view.address);
    if (before?.heard === true && before.linked === linked) return;
    this.#put(before?.heard === true ? { ...before, linked } : { ...view, linked, heard: false });
  }

  /** What changed since the last call. */
  changes(): Pick<ScanUpdate, 'sightings' | 'gone'> {
    const sightings = [...this.#changed].flatMap((address) => {
      const known = this.#all.get(address);
      if (known === undefined) return [];
      const { level: _, ...sighting } = known;
      return [sighting];
    });
    const gone = [...this.#gone];
    this.#changed.clear();
    this.#gone.clear();
    return { sightings, gone };
  }

  #put(sighting: Sighting & { readonly level?: number }): void {
    const before = this.#all.get(sighting.address);
    this.#all.set(sighting.address, sighting);
    const { level: _, ...shown } = sighting;
    const { level: _before, ...shownBefore } = before ?? {};
    if (JSON.stringify(shown) === JSON.stringify(shownBefore)) return;
    this.#gone.delete(sighting.address);
    this.#changed.add(sighting.address);
  }

  /** Where all places are taken, a newcomer gets that of a weaker stranger, or none. */
  #makeRoom(view: HeardView): boolean {
    if (this.#all.size < this.#most || view.configured !== undefined) return true;
    let weakest: Sighting | undefined;
    for (const one of this.#all.values()) {
      if (one.family !== undefined || one.configured !== undefined) continue;
      if (weakest === undefined || (one.rssi ?? -128) < (weakest.rssi ?? -128)) weakest = one;
    }
    if (weakest === undefined) return false;
    if (view.family === undefined && (view.rssi ?? -128) <= (weakest.rssi ?? -128)) return false;
    this.#all.delete(weakest.address);
    this.#changed.delete(weakest.address);
    this.#gone.add(weakest.address);
    return true;
  }
}
