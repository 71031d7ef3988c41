import type { IdentityClaims } from '../identity.ts';
import { coordinates, type Said, timeZoneNamed } from './location.ts';

/**
 * What claims say of the home, in an id_token or in a userinfo answer (OpenID Connect Core sections 5.1 and 5.1.1). No standard claim
 * has coordinates, so those of an administrator who adds some are read (section 5.1.2): `latitude` and `longitude`, numbers. Not
 * read: `geoip`, which tells where an IP address is, and the `location` of RFC 9711, which tells where a device is.
 */
export function saidByClaims({ address, zoneinfo, latitude, longitude }: IdentityClaims): Said {
  const time_zone = timeZoneNamed(zoneinfo);
  return {
    ...(address === undefined ? {} : { address }),
    ...(time_zone === undefined ? {} : { time_zone }),
    ...coordinates(latitude, longitude),
  };
}
