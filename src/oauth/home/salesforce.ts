import * as z from 'zod';
import { readClaims } from '../identity.ts';
import { saidByClaims } from './claims.ts';
import { coordinates, type Said, timeZoneNamed } from './location.ts';

/**
 * What an identity URL answers of the home: `addr_street`, `addr_city`, `addr_state`, `addr_country`, `addr_zip`, `timezone`, null
 * where the user's record has nothing (Salesforce Help: Identity URLs). It has no coordinates.
 */
export function saidByIdentity(body: Readonly<Record<string, unknown>>): Said {
  return saidByClaims(
    readClaims({
      zoneinfo: body['timezone'],
      address: {
        street_address: body['addr_street'],
        locality: body['addr_city'],
        region: body['addr_state'],
        postal_code: body['addr_zip'],
        country: body['addr_country'],
      },
    }),
  );
}

/** The same user? A Salesforce id has 15 characters, or the same and three more that only tell upper from lower case. */
export function isUser(body: Readonly<Record<string, unknown>>, user: string): boolean {
  const named = body['user_id'];
  return typeof named === 'string' && named.slice(0, 15) === user.slice(0, 15);
}

const Answer = z.object({ records: z.array(z.record(z.string(), z.unknown())) });

/** More members than a query of 2,000 characters can ask for are not looked at. */
const MOST_MEMBERS = 100;
const FIELDS = [
  'latitude',
  'longitude',
  'geocodeaccuracy',
  'street',
  'city',
  'state',
  'postalcode',
  'country',
] as const;
type Fields = Partial<Record<(typeof FIELDS)[number], unknown>>;

/**
 * What the first record of a query's answer says of the home; undefined when the answer is none (REST API Developer Guide: Query).
 * Members are known by the ends of their names, since SOQL can not rename them: `Latitude` of a User, `MailingLatitude` of a
 * Contact, `Home__Latitude__s` of a geolocation field, and the same within a compound field or one related record.
 */
export function saidByQuery(body: Readonly<Record<string, unknown>>): Said | undefined {
  const answer = Answer.safeParse(body).data;
  if (answer === undefined) return undefined;
  const record = answer.records[0] ?? {};
  const groups = new Map<string, Fields>();
  let zone: unknown;
  for (const [path, name, value] of members(record)) {
    const plain = name.toLowerCase().replace(/__[sc]$/, '');
    if (plain === 'timezonesidkey') zone ??= value;
    const field = FIELDS.find((one) => plain.endsWith(one));
    if (field === undefined) continue;
    const group = `${path}.${plain.slice(0, -field.length)}`;
    groups.set(group, { [field]: value, ...groups.get(group) });
  }
  const places = [...groups.values()].map(placeOf);
  const place =
    places.find(({ latitude }) => latitude !== undefined) ?? places.find(({ address }) => address !== undefined);
  const time_zone = timeZoneNamed(zone);
  return { ...place, ...(time_zone === undefined ? {} : { time_zone }) };
}

/** The record's own members and those one level below, as [where, name, value]. `attributes` describes the record. */
function members(record: Readonly<Record<string, unknown>>): [string, string, unknown][] {
  return Object.entries(record)
    .slice(0, MOST_MEMBERS)
    .flatMap(([name, value]): [string, string, unknown][] => {
      if (name === 'attributes') return [];
      if (typeof value !== 'object' || value === null) return [['', name, value]];
      const below = Object.entries(value).slice(0, MOST_MEMBERS);
      return below.flatMap(([inner, it]) => (inner === 'attributes' ? [] : [[name, inner, it]]));
    });
}

/** Geocoded no better than this is somewhere in the country (Object Reference: Compound Fields, Address, `geocodeAccuracy`). */
const TOO_COARSE: readonly unknown[] = ['State', 'Unknown'];

function placeOf({ latitude, longitude, geocodeaccuracy, street, city, state, postalcode, country }: Fields): Said {
  const { address } = readClaims({
    address: { street_address: street, locality: city, region: state, postal_code: postalcode, country },
  });
  return {
    ...(TOO_COARSE.includes(geocodeaccuracy) ? {} : coordinates(latitude, longitude)),
    ...(address === undefined ? {} : { address }),
  };
}
