import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LinkCharacteristic } from '../../src/bluetooth/central.ts';
import { fingerprintOf } from '../../src/bluetooth/fingerprint.ts';

const of = (service: string, uuid: string, ...properties: string[]): LinkCharacteristic => ({
  service,
  uuid,
  properties,
});

/** A Triones lamp as noble shows it: with Generic Access, in the order of its handles. */
const TRIONES = [
  of('1800', '2a00', 'read'),
  of('1800', '2a01', 'read'),
  of('ffd0', 'ffd4', 'notify'),
  of('ffd5', 'ffd9', 'writeWithoutResponse'),
];

describe('the fingerprint of a lamp', () => {
  it('is a promise to later versions: what is pinned today must not be a mismatch after an update', () => {
    const text = 'ffd0 ffd4 notify\nffd5 ffd9 writeWithoutResponse';
    expect(fingerprintOf(TRIONES)).toBe(createHash('sha256').update(text).digest('hex').slice(0, 32));
    expect(fingerprintOf(TRIONES)).toBe('10807460505e7df590b293e97331bd95');
  });

  it('is the same through bluetoothd, which lists in any order and hides the services that it uses itself', () => {
    const throughBluetoothd = [of('ffd5', 'ffd9', 'writeWithoutResponse'), of('ffd0', 'ffd4', 'notify')];
    expect(fingerprintOf(throughBluetoothd)).toBe(fingerprintOf(TRIONES));
    for (const service of ['1801', '180a', '180f', '1812', '1813']) {
      expect(fingerprintOf([...TRIONES, of(service, '2a19', 'read')])).toBe(fingerprintOf(TRIONES));
    }
  });

  it('does not hang on the order of characteristics or properties, nor on properties that backends spell differently', () => {
    const property = fc.constantFrom('read', 'write', 'writeWithoutResponse', 'notify', 'indicate');
    const hex = fc.constantFrom('fff0', 'fff3', 'ffd5', 'ffd9', '6e400001-b5a3-f393-e0a9-e50e24dcca9e');
    const one = fc.record({ service: hex, uuid: hex, properties: fc.uniqueArray(property) });
    const shuffled = fc
      .array(one, { maxLength: 12 })
      .chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })));
    fc.assert(
      fc.property(shuffled, ([all, again]) => {
        const spelled = again.map((each) => ({
          ...each,
          properties: ['extendedProperties', ...[...each.properties].reverse(), 'broadcast'],
        }));
        expect(fingerprintOf(spelled)).toBe(fingerprintOf(all));
      }),
      { numRuns: 200 },
    );
  });

  it('differs where anything differs that decides how a lamp is driven', () => {
    const lamp = TRIONES.slice(2);
    const [notify = of('', ''), write = of('', '')] = lamp;
    const others: Record<string, readonly LinkCharacteristic[]> = {
      'nothing at all': [],
      'one less': [write],
      'one more, in a service of its own': [...lamp, of('180d', '2a37', 'notify')],
      'one more, in the same service': [...lamp, of('ffd5', 'ffda', 'write')],
      'the same one twice': [...lamp, write],
      'in another service': [notify, of('ffe5', 'ffd9', 'writeWithoutResponse')],
      'by another id': [notify, of('ffd5', 'ffd8', 'writeWithoutResponse')],
      'writable in another way': [notify, of('ffd5', 'ffd9', 'write')],
      'writable in one more way': [notify, of('ffd5', 'ffd9', 'writeWithoutResponse', 'write')],
      indicating: [of('ffd0', 'ffd4', 'indicate'), write],
      'with the two swapped': [of('ffd5', 'ffd4', 'notify'), of('ffd0', 'ffd9', 'writeWithoutResponse')],
      'a 128-bit id that ends alike': [
        notify,
        of('ffd5', '0000ffd9-0000-1000-8000-00805f9b34fc', 'writeWithoutResponse'),
      ],
    };
    const seen = new Map([[fingerprintOf(lamp), 'the lamp']]);
    for (const [what, characteristics] of Object.entries(others)) {
      const fingerprint = fingerprintOf(characteristics);
      expect(seen.get(fingerprint), what).toBeUndefined();
      seen.set(fingerprint, what);
    }
  });

  it('cannot be forged by ids that contain each other', () => {
    // The radio's messages admit canonical UUIDs only; even so, no two lists may read alike.
    expect(fingerprintOf([of('ffd5', 'ffd9', 'read'), of('ffd0', 'ffd4')])).not.toBe(
      fingerprintOf([of('ffd5', 'ffd9'), of('ffd0', 'ffd4', 'read')]),
    );
  });
});
