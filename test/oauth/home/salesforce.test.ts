import { describe, expect, it } from 'vitest';
import { isUser, saidByIdentity, saidByQuery } from '../../../src/oauth/home/salesforce.ts';
import { escapeSoql, OWNERS_RECORD, queryUrl, userIn } from '../../../src/oauth/home/soql.ts';

const answer = (record: object): Record<string, unknown> => ({ totalSize: 1, done: true, records: [record] });
const attributes = { type: 'User', url: '/services/data/v60.0/sobjects/User/005xx0000012Q9PAAU' };

describe('a query for the home', () => {
  it('asks the REST API at the instance for the record of the owner', () => {
    const url = new URL(queryUrl('https://acme.my.salesforce.com', OWNERS_RECORD, '005xx0000012Q9PAAU'));
    expect(url.origin).toBe('https://acme.my.salesforce.com');
    expect(url.pathname).toMatch(/^\/services\/data\/v\d\d\.0\/query$/);
    expect(url.searchParams.get('q')).toMatch(
      /^SELECT .*\bLatitude, Longitude\b.* FROM User WHERE Id = '005xx0000012Q9PAAU'$/,
    );
  });

  it.each([
    ["x' OR Name != '", String.raw`x\' OR Name != \'`],
    [String.raw`x\' OR Id != \'`, String.raw`x\\\' OR Id != \\\'`],
    ['x\\', 'x\\\\'],
    ["$'$&", "$\\'$&"],
  ])('a user called %s stays inside the quotes', (user, escaped) => {
    expect(escapeSoql(user)).toBe(escaped);
    const soql = new URL(queryUrl('https://acme.example', "WHERE Id = '{user}' LIMIT 1", user)).searchParams.get('q');
    expect(soql).toBe(`WHERE Id = '${escaped}' LIMIT 1`);
    // SOQL's own rule: a backslash takes the next character along, and the first quote without one ends the text.
    const inner = /^WHERE Id = '((?:\\.|[^'\\])*)'/.exec(soql ?? '')?.[1];
    expect(inner?.replace(/\\(.)/g, '$1')).toBe(user);
  });

  it('names the user by the last segment of the identity URL', () => {
    expect(userIn('https://login.salesforce.com/id/00Dx0000000BV7zEAO/005x00000012Q9PAAU')).toBe('005x00000012Q9PAAU');
    expect(userIn('https://login.salesforce.com/id/00D/it%27s')).toBe("it's");
  });

  it.each([
    'https://acme.example/',
    'https://acme.example/id/00D/',
    'https://acme.example/%E0%A4%A',
    'https://acme.example/a%0Ab',
  ])('can not be made from %s', (url) => {
    expect(userIn(url)).toBeUndefined();
  });

  it('is answered by the first record', () => {
    expect(
      saidByQuery(
        answer({
          attributes,
          Latitude: 52.5219,
          Longitude: 13.4132,
          GeocodeAccuracy: 'Address',
          Street: 'Unter den Linden 1',
          City: 'Berlin',
          State: 'Berlin',
          PostalCode: '10117',
          Country: 'Germany',
          TimeZoneSidKey: 'Europe/Berlin',
        }),
      ),
    ).toEqual({
      latitude: 52.5219,
      longitude: 13.4132,
      time_zone: 'Europe/Berlin',
      address: {
        street_address: 'Unter den Linden 1',
        locality: 'Berlin',
        region: 'Berlin',
        postal_code: '10117',
        country: 'Germany',
      },
    });
  });

  it.each([
    ['of a Contact', { MailingLatitude: 52.5, MailingLongitude: 13.4, MailingCity: 'Berlin' }],
    ['of a geolocation field', { Home__Latitude__s: 52.5, Home__Longitude__s: 13.4, Home__City__c: 'Berlin' }],
    ['of a compound field', { MailingAddress: { latitude: 52.5, longitude: 13.4, city: 'Berlin', country: null } }],
    [
      'of a related record',
      { Account: { attributes, BillingLatitude: 52.5, BillingLongitude: 13.4, BillingCity: 'Berlin' } },
    ],
    [
      'of the second address, where the first was never geocoded',
      {
        MailingLatitude: null,
        MailingLongitude: null,
        MailingCity: 'Bonn',
        OtherLatitude: 52.5,
        OtherLongitude: 13.4,
        OtherCity: 'Berlin',
      },
    ],
  ])('may be that %s', (_, record) => {
    expect(saidByQuery(answer({ attributes, ...record }))).toMatchObject({ latitude: 52.5, longitude: 13.4 });
    expect(saidByQuery(answer({ attributes, ...record }))?.address?.locality).toBe('Berlin');
  });

  it('never mixes the latitude of one address with the longitude of another', () => {
    expect(saidByQuery(answer({ MailingLatitude: 52.5, OtherLongitude: 13.4 }))).toEqual({});
  });

  it('does not take the middle of a state for a home', () => {
    const said = saidByQuery(answer({ Latitude: 37.2, Longitude: -119.3, GeocodeAccuracy: 'State', State: 'CA' }));
    expect(said).toEqual({ address: { region: 'CA' } });
  });

  it.each([
    ['no record', { totalSize: 0, done: true, records: [] }],
    ['a record of nulls', answer({ attributes, Latitude: null, Longitude: null, City: null, TimeZoneSidKey: null })],
    ['texts for numbers', answer({ Latitude: '52.5', Longitude: '13.4' })],
    ['91 degrees', answer({ Latitude: 91, Longitude: 13 })],
    ['a time zone that is none', answer({ TimeZoneSidKey: 'Europe/Berlin\u0000' })],
    ['ten thousand members', answer(Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`x${n}`, n])))],
    ['lists where texts should be', answer({ City: ['Berlin'], Country: [['DE']] })],
  ])('that brings %s says nothing', (_, body) => {
    expect(saidByQuery(body)).toEqual({});
  });

  it.each([{}, { records: 'none' }, { records: [7] }, { records: null }])('answered by %j has no answer', (body) => {
    expect(saidByQuery(body)).toBeUndefined();
  });
});

describe('an identity URL', () => {
  /** By the example payloads of developers.prismatic.io and the Salesforce Mobile SDK. */
  const body = {
    id: 'https://login.salesforce.com/id/00Dx0000000BV7zEAO/005x00000012Q9PAAU',
    asserted_user: true,
    user_id: '005x00000012Q9PAAU',
    organization_id: '00Dx0000000BV7zEAO',
    timezone: 'America/Los_Angeles',
    addr_street: null,
    addr_city: 'San Francisco',
    addr_state: 'CA',
    addr_country: 'US',
    addr_zip: null,
  };

  it('tells address and time zone', () => {
    expect(saidByIdentity(body)).toEqual({
      time_zone: 'America/Los_Angeles',
      address: { locality: 'San Francisco', region: 'CA', country: 'US' },
    });
  });

  it('is believed only when it speaks of the user', () => {
    expect(isUser(body, '005x00000012Q9PAAU')).toBe(true);
    expect(isUser(body, '005x00000012Q9P')).toBe(true);
    expect(isUser(body, '005x00000012q9P')).toBe(false);
    expect(isUser({ ...body, user_id: undefined }, '005x00000012Q9PAAU')).toBe(false);
    expect(isUser({ ...body, user_id: { toString: () => '005x00000012Q9PAAU' } }, '005x00000012Q9PAAU')).toBe(false);
  });
});
