import type { Problem } from '../status.ts';
import type { HomeLocation } from './location.ts';

/** The home as `status` shows it: about a kilometre exact, and without street. Never for the broker: it says where somebody lives. */
export interface HomeStatus {
  /** Two decimals. */
  readonly latitude?: number;
  readonly longitude?: number;
  /** The one that is used: of the home, or else of this machine. */
  readonly time_zone: string;
  readonly locality?: string;
  readonly country?: string;
  readonly source: HomeLocation['source'];
  /** What neither the configuration nor the owner's account says. It is not guessed. */
  readonly missing?: readonly ('latitude' | 'longitude' | 'time_zone')[];
  /** Why it could not be read. */
  readonly problem?: Problem;
}

/** `time_zone`: the one that is used. */
export function homeStatus(home: HomeLocation, time_zone: string, problem: Problem | undefined): HomeStatus {
  const { latitude, longitude, address, source } = home;
  const placed = latitude !== undefined && longitude !== undefined;
  const missing = [
    ...(placed ? [] : (['latitude', 'longitude'] as const)),
    ...(home.time_zone === undefined ? (['time_zone'] as const) : []),
  ];
  return {
    ...(placed ? { latitude: rounded(latitude), longitude: rounded(longitude) } : {}),
    time_zone,
    ...(address?.locality === undefined ? {} : { locality: address.locality }),
    ...(address?.country === undefined ? {} : { country: address.country }),
    source,
    ...(missing.length === 0 ? {} : { missing }),
    ...(problem === undefined || missing.length === 0 ? {} : { problem }),
  };
}

/** A hundredth of a degree is 1.1 km of latitude. Adding zero turns a minus zero into a zero. */
const rounded = (degrees: number): number => Math.round(degrees * 100) / 100 + 0;
