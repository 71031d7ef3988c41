import type { AddressClaim } from '../identity.ts';

/** Where something about the home was read. */
export type HomeSource = 'id_token' | 'userinfo' | 'salesforce_query' | 'salesforce_identity';

/** What one source says of the home; each may be missing. Nothing is worked out from anything else (no geocoding, no IP address). */
export interface Said {
  /** Degrees north of the equator and east of Greenwich (WGS 84): both, or none. */
  readonly latitude?: number | undefined;
  readonly longitude?: number | undefined;
  /** A name of the tz database that this machine knows. */
  readonly time_zone?: string | undefined;
  readonly address?: AddressClaim | undefined;
}

/** The home as it is used. The place comes from one source as a whole; the time zone may come from another. */
export interface HomeLocation extends Said {
  /** Of the place, or of the time zone where no place is known; `none`: nobody said anything. */
  readonly source: HomeSource | 'configuration' | 'none';
}

/** The order in which sources are believed: the id_token is signed, a query says what its author meant it to say. */
const ORDER: readonly HomeSource[] = ['id_token', 'userinfo', 'salesforce_query', 'salesforce_identity'];

/** What several sources say, as one home: the first that knows coordinates, else the first that knows an address. */
export function homeOf(said: { readonly [S in HomeSource]?: Said | undefined }): HomeLocation {
  const known = ORDER.flatMap((source) => {
    const what = said[source];
    return what === undefined ? [] : [{ source, ...what }];
  });
  const place =
    known.find(({ latitude }) => latitude !== undefined) ?? known.find(({ address }) => address !== undefined);
  const zone = known.find(({ time_zone }) => time_zone !== undefined);
  return {
    ...coordinates(place?.latitude, place?.longitude),
    ...(place?.address === undefined ? {} : { address: place.address }),
    ...(zone?.time_zone === undefined ? {} : { time_zone: zone.time_zone }),
    source: place?.source ?? zone?.source ?? 'none',
  };
}

/**
 * Both coordinates, or none: numbers within their ranges. A text is none: nobody documents one, and what else would it be? 0/0 is
 * where programs put those whose place they do not know; the sea is there and no house.
 */
export function coordinates(latitude: unknown, longitude: unknown): { latitude?: number; longitude?: number } {
  if (typeof latitude !== 'number' || typeof longitude !== 'number') return {};
  // Not a number is within no range.
  if (!(Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180) || (latitude === 0 && longitude === 0)) return {};
  return { latitude, longitude };
}

/** A time zone that this machine's tz database has, as it was spelled (engines still rename Kolkata to Calcutta); else undefined. */
export function timeZoneNamed(name: unknown): string | undefined {
  // An offset such as +01:00 is taken by newer engines, but knows nothing of summer.
  if (typeof name !== 'string' || !/^[A-Za-z][\w+/-]{0,63}$/.test(name)) return undefined;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return name;
  } catch (thrown) {
    if (thrown instanceof RangeError) return undefined;
    throw thrown;
  }
}
