import * as z from 'zod';
import { readClaims } from '../identity.ts';
import type { HomeSource, Said } from './location.ts';
import { coordinates, timeZoneNamed } from './location.ts';

/** What is kept of the home: whose it is, and what each source said. Readable by the gateway's user alone. */
export interface StoredHome {
  readonly issuer: string;
  readonly client_id: string;
  /** The owner's subject, or where the server names none (Salesforce without openid) their identity URL. */
  readonly owner: string;
  /** The query that was asked, if one is configured. */
  readonly query?: string | undefined;
  /** Wall clock, ms since 1970. */
  readonly read_at: number;
  readonly said: { readonly [S in HomeSource]?: Said | undefined };
}

/** What was said is read as it was when it came: the file may be as old as the tz database of another machine. */
const Kept = z
  .object({
    latitude: z.unknown(),
    longitude: z.unknown(),
    time_zone: z.unknown(),
    address: z.unknown(),
  })
  .partial()
  .transform(({ latitude, longitude, time_zone, address }): Said => {
    const zone = timeZoneNamed(time_zone);
    return {
      ...coordinates(latitude, longitude),
      ...readClaims({ address }),
      ...(zone === undefined ? {} : { time_zone: zone }),
    };
  });

const Stored = z.object({
  version: z.literal(1),
  issuer: z.string(),
  client_id: z.string(),
  owner: z.string().min(1).max(2048),
  query: z.string().optional(),
  read_at: z.number().nonnegative(),
  said: z.object({ id_token: Kept, userinfo: Kept, salesforce_query: Kept, salesforce_identity: Kept }).partial(),
});

/** What the file held; undefined when that is nothing, or nothing that this version wrote. It can be read anew, so nothing is lost. */
export function readStoredHome(stored: unknown): StoredHome | undefined {
  return Stored.safeParse(stored).data;
}

export function toStore(home: StoredHome): unknown {
  return { version: 1, ...home };
}
