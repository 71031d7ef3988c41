import { Variant } from '@particle/dbus-next';
import { describe, expect, it } from 'vitest';
import type { Report } from '../../../src/bluetooth/radio/adverts.ts';
import { parseAdvertised } from '../../../src/bluetooth/radio/adverts.ts';
import { addressAt, devicePath } from '../../../src/bluetooth/radio/dbus/bluez.ts';
import { advertisementOf, Broadcasts } from '../../../src/bluetooth/radio/dbus/broadcasts.ts';
import { CallFailed } from '../../../src/bluetooth/radio/dbus/bus.ts';
import { connectFailure, operationFailure } from '../../../src/bluetooth/radio/dbus/failures.ts';
import { propertiesOf, stringsOf, wholeOf } from '../../../src/bluetooth/radio/dbus/values.ts';

const BASE = '-0000-1000-8000-00805f9b34fb';
const bytes = (hex: string): Variant => new Variant('ay', Buffer.from(hex, 'hex'));

describe('paths', () => {
  it('lead from an address to its device and back', () => {
    const path = devicePath('hci1', 'be:ff:20:00:11:22');
    expect(path).toBe('/org/bluez/hci1/dev_BE_FF_20_00_11_22');
    expect(addressAt('hci1', path)).toBe('be:ff:20:00:11:22');
  });

  it.each([
    '/org/bluez/hci0/dev_BE_FF_20_00_11_22',
    '/org/bluez/hci1/dev_BE_FF_20_00_11_22/service000a',
    '/org/bluez/hci1/dev_BE_FF_20_00_11',
    '/org/bluez/hci1/dev_BE_FF_20_00_11_ZZ',
    '/org/bluez/hci1',
    '',
  ])('are no device of hci1: %s', (path) => expect(addressAt('hci1', path)).toBeUndefined());
});

describe('what bluetoothd says of a device', () => {
  it('is written down as the advertisement that it came from', () => {
    const known = new Map<string, unknown>([
      ['Name', 'ELK-BLEDOM'],
      ['UUIDs', [`0000fff0${BASE}`, '12345678-1234-5678-9abc-def012345678']],
      ['ManufacturerData', { 21076: bytes('c0ffee') }],
      ['ServiceData', { [`0000fd3d${BASE}`]: bytes('01') }],
    ]);
    expect(parseAdvertised(advertisementOf(known))).toEqual({
      localName: 'ELK-BLEDOM',
      serviceUuids: ['fff0', '12345678-1234-5678-9abc-def012345678'],
      manufacturerData: '5452c0ffee',
      serviceData: [['fd3d', '01']],
    });
  });

  it.each<[string, Record<string, unknown>]>([
    ['nothing', {}],
    ['other types', { Name: 7, UUIDs: 'x', ManufacturerData: [1], ServiceData: null }],
    ['bytes that are none', { ManufacturerData: { 1: 'x' }, ServiceData: { [`0000fd3d${BASE}`]: Buffer.from('x') } }],
    ['companies that are none', { ManufacturerData: { '-1': bytes('00'), x: bytes('00'), 65536: bytes('00') } }],
    ['UUIDs that are none', { UUIDs: ['fff0', '', `0000fff0${BASE}0`], ServiceData: { fd3d: bytes('01') } }],
    ['what no advertisement can hold', { ManufacturerData: { 1: bytes('00'.repeat(300)) } }],
  ])('is nothing where there is %s', (_, properties) => {
    expect(advertisementOf(new Map(Object.entries(properties)))).toHaveLength(0);
  });

  it('cuts a name that is too long without leaving the structure', () => {
    const parsed = parseAdvertised(advertisementOf(new Map([['Name', 'ü'.repeat(400)]])));
    expect(parsed.localName?.startsWith('üüü')).toBe(true);
    expect(parsed.localName?.length).toBeLessThanOrEqual(248);
  });
});

describe('broadcasts', () => {
  const LAMP = 'be:ff:20:00:11:22';
  function rig(
    read: (address: string) => Promise<ReadonlyMap<string, unknown>> = () => Promise.reject(new Error('none')),
  ) {
    const reports: Report[] = [];
    const broadcasts = new Broadcasts(read, (report) => reports.push(report));
    broadcasts.listenFor(undefined);
    return { broadcasts, reports };
  }
  const say = (properties: Record<string, unknown>): ReadonlyMap<string, unknown> =>
    new Map(Object.entries(properties));

  it('are what only an advertisement can have caused', () => {
    const { broadcasts, reports } = rig();
    broadcasts.take(LAMP, say({ Name: 'x', Connected: false }), [], true);
    broadcasts.take(LAMP, say({ Connected: true }), [], false);
    broadcasts.take(LAMP, say({ ServicesResolved: true, UUIDs: [] }), [], false);
    broadcasts.take(LAMP, say({}), ['RSSI'], false);
    expect(reports).toEqual([]);
    broadcasts.take(LAMP, say({ RSSI: -70 }), [], false);
    expect(reports.map(({ rssi, address }) => [rssi, address])).toEqual([[-70, LAMP]]);
  });

  it.each([-129, 128, 'x', 1.5, undefined])('with a strength of %s say that it is not known', (RSSI) => {
    const { broadcasts, reports } = rig();
    broadcasts.take(LAMP, say({ RSSI }), [], true);
    expect(reports[0]?.rssi).toBe(127);
  });

  it('carry the manufacturer data that is new, though bluetoothd keeps that of every company', () => {
    const { broadcasts, reports } = rig();
    const data = (): string | undefined => parseAdvertised(reports.at(-1)?.data ?? Buffer.alloc(0)).manufacturerData;
    broadcasts.take(LAMP, say({ ManufacturerData: { 9: bytes('aa') } }), [], true);
    expect(data()).toBe('0900aa');
    broadcasts.take(LAMP, say({ ManufacturerData: { 5: bytes('bb'), 9: bytes('aa') } }), [], false);
    expect(data()).toBe('0500bb');
    // The same again, as with duplicate data: the company that spoke last still counts.
    broadcasts.take(LAMP, say({ ManufacturerData: { 5: bytes('bb'), 9: bytes('aa') } }), [], false);
    expect(data()).toBe('0500bb');
    broadcasts.take(LAMP, say({ ManufacturerData: { 5: bytes('bb'), 9: bytes('ac') } }), [], false);
    expect(data()).toBe('0900ac');
  });

  it('of those who are not listened for are not even remembered', async () => {
    let reads = 0;
    const { broadcasts, reports } = rig(() => {
      reads += 1;
      return Promise.resolve(say({ RSSI: -1 }));
    });
    broadcasts.listenFor(new Set([LAMP]));
    broadcasts.take('da:00:00:00:00:01', say({ RSSI: -70 }), [], true);
    broadcasts.take('da:00:00:00:00:02', say({ RSSI: -70 }), [], false);
    await Promise.resolve();
    expect([reads, reports]).toEqual([0, []]);
  });

  it('of thousands of devices that bluetoothd knew before are read a few at a time', () => {
    let reads = 0;
    const { broadcasts } = rig(() => {
      reads += 1;
      return new Promise(() => undefined);
    });
    for (let i = 0; i < 5000; i += 1) broadcasts.take(`da:00:00:00:00:${i}`, say({ RSSI: -70 }), [], false);
    expect(reads).toBe(8);
  });
});

describe('values', () => {
  it('of a dictionary are its own, and variants', () => {
    const raw = JSON.parse('{"__proto__": {"value": 1}, "b": {"signature": "s", "value": "x"}}');
    raw.a = new Variant('s', 'y');
    expect([...propertiesOf(raw)]).toEqual([['a', 'y']]);
  });

  it.each([undefined, null, 7, 'x', [], [new Variant('s', 'x')], Buffer.from('x')])('of %j are none', (raw) => {
    expect(propertiesOf(raw).size).toBe(0);
  });

  it('are bounded', () => {
    const many = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`k${i}`, new Variant('s', 'x')]));
    expect(propertiesOf(many).size).toBe(64);
    expect(stringsOf(Array.from({ length: 5000 }, () => 'x'))).toHaveLength(256);
    expect([wholeOf(1.5, 0, 9), wholeOf(10, 0, 9), wholeOf(10n, 0, 99), wholeOf(9, 0, 9)]).toEqual([
      undefined,
      undefined,
      undefined,
      9,
    ]);
  });
});

describe('failures', () => {
  const bus = 'org.freedesktop.DBus.Error.';
  it.each([
    [`${bus}ServiceUnknown`, '', 'adapter_off'],
    [`${bus}Disconnected`, '', 'adapter_off'],
    [`${bus}AccessDenied`, '', 'adapter_off'],
    [`${bus}UnknownObject`, '', 'unreachable'],
    ['org.bluez.Error.Failed', 'le-connection-adapter-not-powered', 'adapter_off'],
    ['org.bluez.Error.Failed', 'le-connection-timeout', 'unreachable'],
    ['org.bluez.Error.Failed', '', 'connect_failed'],
    ['x.y', 'z', 'connect_failed'],
  ])('of a connect: %s %s is %s', (error, text, code) => {
    expect(connectFailure(new CallFailed(error, text)).code).toBe(code);
  });

  it.each([
    [`${bus}UnknownObject`, '', 'link_lost'],
    [`${bus}ServiceUnknown`, '', 'link_lost'],
    ['org.bluez.Error.Failed', 'Not connected', 'link_lost'],
    ['org.bluez.Error.NotConnected', 'Not Connected', 'link_lost'],
    ['org.bluez.Error.Failed', 'Operation failed with ATT error: 0x0e', 'refused_by_light'],
    ['org.bluez.Error.NotPermitted', 'Read not permitted', 'refused_by_light'],
    ['x.y', 'z', 'link_lost'],
  ])('of an operation: %s %s is %s', (error, text, code) => {
    expect(operationFailure(new CallFailed(error, text), 'pair it').code).toBe(code);
  });
});
