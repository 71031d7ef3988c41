import { describe, expect, it } from 'vitest';
import { saidByClaims } from '../../../src/oauth/home/claims.ts';
import { coordinates, homeOf, timeZoneNamed } from '../../../src/oauth/home/location.ts';
import { homeStatus } from '../../../src/oauth/home/view.ts';
import { readClaims } from '../../../src/oauth/identity.ts';

const BERLIN = { latitude: 52.5219, longitude: 13.4132 };
/** Whoever nests ten thousand objects hopes for a reader that calls itself. */
const deep = (depth: number): unknown => JSON.parse(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`);

const saidByUserinfo = (body: unknown) => saidByClaims(readClaims(body));

describe('coordinates', () => {
  it.each([
    [52.5219, 13.4132],
    [-90, 180],
    [90, -180],
    [0, 13],
    [51.4779, 0],
  ])('%s, %s are a place', (latitude, longitude) => {
    expect(coordinates(latitude, longitude)).toEqual({ latitude, longitude });
  });

  it.each([
    ['a latitude of 91', 91, 13],
    ['a longitude of 181', 52, 181],
    ['a text', '52.5', '13.4'],
    ['one text', 52.5, '13.4'],
    ['not a number', Number.NaN, 13],
    ['infinity', 52, Number.POSITIVE_INFINITY],
    ['the first without the second', 52, undefined],
    ['the second without the first', null, 13],
    ['0/0, where programs put what they can not place', 0, 0],
    ['minus 0/0', -0, 0],
    ['an object', { valueOf: 52 }, 13],
    ['a list', [52], [13]],
    ['true', true, true],
  ])('%s is none', (_, latitude, longitude) => {
    expect(coordinates(latitude, longitude)).toEqual({});
  });
});

describe('a time zone', () => {
  it.each(['Europe/Berlin', 'America/Argentina/Buenos_Aires', 'UTC', 'Asia/Kolkata'])(
    '%s is known, and keeps its name',
    (name) => {
      expect(timeZoneNamed(name)).toBe(name);
    },
  );

  it.each([
    'Mars/Olympus',
    '',
    '+01:00',
    'Europe/Berlin\u001b[2J',
    'Europe/../../etc/passwd',
    'x'.repeat(100_000),
    7200,
    null,
    { name: 'Europe/Berlin' },
    ['Europe/Berlin'],
  ])('%j is none', (name) => {
    expect(timeZoneNamed(name)).toBeUndefined();
  });
});

describe('the claims of the owner', () => {
  it('tell address and time zone as OpenID Connect Core sections 5.1 and 5.1.1 have them', () => {
    const said = saidByUserinfo({
      sub: 'ada',
      zoneinfo: 'Europe/Berlin',
      address: {
        formatted: 'Unter den Linden 1\n10117 Berlin\nDE',
        street_address: 'Unter den Linden 1',
        locality: 'Berlin',
        region: 'Berlin',
        postal_code: '10117',
        country: 'DE',
      },
    });
    expect(said).toEqual({
      time_zone: 'Europe/Berlin',
      address: {
        formatted: 'Unter den Linden 1 10117 Berlin DE',
        street_address: 'Unter den Linden 1',
        locality: 'Berlin',
        region: 'Berlin',
        postal_code: '10117',
        country: 'DE',
      },
    });
  });

  it('tell coordinates only where an administrator has added them, as numbers', () => {
    expect(saidByUserinfo({ sub: 'ada', ...BERLIN })).toEqual(BERLIN);
    expect(saidByUserinfo({ sub: 'ada', latitude: '52.5219', longitude: '13.4132' })).toEqual({});
    expect(saidByUserinfo({ sub: 'ada', geoip: BERLIN, location: { lat: 52, long: 13 }, address: BERLIN })).toEqual({});
  });

  it.each([
    ['of wrong types', { address: 7, zoneinfo: {}, latitude: [], longitude: true }],
    ['with members of wrong types', { address: { locality: 7, country: ['DE'], region: null, street_address: {} } }],
    ['that are null', { address: null, zoneinfo: null, latitude: null, longitude: null }],
    ['that are a list', { address: ['Berlin'], zoneinfo: ['Europe/Berlin'] }],
    ['ten thousand objects deep', { address: deep(10_000), zoneinfo: deep(10_000) }],
    ['a megabyte long', { address: { locality: 'x'.repeat(1_000_000) }, zoneinfo: 'y'.repeat(1_000_000) }],
    ['that look like inherited ones', JSON.parse('{"__proto__": {"address": {"locality": "Berlin"}}}')],
  ])('%s say nothing', (_, body) => {
    expect(saidByUserinfo(body)).toEqual({});
  });

  it('carry nothing onto a terminal but text', () => {
    const locality = 'Ber\u001b]0;gotcha\u0007lin\u202e\u2028';
    const { address } = saidByClaims(readClaims({ address: { locality } }));
    expect(address?.locality).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}]/u);
    expect(address?.locality).toContain('lin');
  });
});

describe('what several sources say', () => {
  it('becomes one place, from the first that knows coordinates, and one time zone', () => {
    expect(
      homeOf({
        id_token: { address: { locality: 'Berlin' }, time_zone: 'Europe/Berlin' },
        userinfo: { ...BERLIN, time_zone: 'Europe/Paris' },
      }),
    ).toEqual({ ...BERLIN, time_zone: 'Europe/Berlin', source: 'userinfo' });
  });

  it('is an address where nobody knows coordinates, and nothing where nobody knows anything', () => {
    expect(homeOf({ userinfo: { address: { country: 'DE' } }, salesforce_identity: { time_zone: 'UTC' } })).toEqual({
      address: { country: 'DE' },
      time_zone: 'UTC',
      source: 'userinfo',
    });
    expect(homeOf({ id_token: {}, userinfo: undefined })).toEqual({ source: 'none' });
  });
});

describe('what people see', () => {
  const address = {
    formatted: 'Secret 7',
    street_address: 'Secret 7',
    postal_code: '10117',
    locality: 'Berlin',
    country: 'DE',
  };

  it('is a kilometre exact and has no street', () => {
    const shown = homeStatus(
      { ...BERLIN, address, time_zone: 'Europe/Berlin', source: 'userinfo' },
      'Europe/Berlin',
      undefined,
    );
    expect(shown).toEqual({
      latitude: 52.52,
      longitude: 13.41,
      time_zone: 'Europe/Berlin',
      locality: 'Berlin',
      country: 'DE',
      source: 'userinfo',
    });
  });

  it.each([
    [52.525, 52.53],
    [-33.8688, -33.87],
    [-0.001, 0],
    [89.999, 90],
  ])('%s is shown as %s', (latitude, shown) => {
    expect(homeStatus({ latitude, longitude: 10, source: 'userinfo' }, 'UTC', undefined).latitude).toBe(shown);
  });

  it('says what is missing and why; a machine is no source', () => {
    const problem = { code: 'server_refused', message: 'It refused.', hint: 'Ask it.' } as const;
    expect(homeStatus({ source: 'none' }, 'Europe/Paris', problem)).toEqual({
      time_zone: 'Europe/Paris',
      source: 'none',
      missing: ['latitude', 'longitude', 'time_zone'],
      problem,
    });
    const all = homeStatus({ ...BERLIN, time_zone: 'UTC', source: 'configuration' }, 'UTC', problem);
    expect(all).not.toHaveProperty('missing');
    expect(all).not.toHaveProperty('problem');
  });
});
