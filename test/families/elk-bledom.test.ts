import { describe, expect, test } from 'vitest';
import { elkBledom } from '../../src/families/elk-bledom.ts';
import type { LightChange } from '../../src/lights/change.ts';
import { UNKNOWN_STATE } from '../../src/lights/state.ts';

const LAYOUT = { service: 'fff0', write: 'fff3' };

function model(name: string) {
  const found = elkBledom.recognise({ localName: name, serviceUuids: [] });
  if (found === undefined) throw new Error(`${name} is not recognised`);
  return found;
}

function frames(name: string, change: LightChange): readonly string[] {
  return elkBledom
    .encode(change, model(name), UNKNOWN_STATE, LAYOUT)
    .map(({ bytes }) => Buffer.from(bytes).toString('hex').toUpperCase());
}

/** One row per name: on, off, colour (r 18 g 52 b 86 = 12 34 56), brightness at 50 %, warm 25 cold 75, effect 92. */
const TABLE: readonly (readonly [
  string,
  string,
  string,
  string | undefined,
  string,
  number,
  string,
  string | undefined,
])[] = [
  [
    'ELK-BLEDOM',
    '7E0004F00001FF00EF',
    '7E0004000000FF00EF',
    '7E00050312345600EF',
    '7E00013200000000EF',
    5700,
    '7E000502194B0000EF',
    '7E00039203000000EF',
  ],
  [
    'ELK-BLE12',
    '7E0004F00001FF00EF',
    '7E0004000000FF00EF',
    '7E00050312345600EF',
    '7E00013200000000EF',
    5700,
    '7E000502194B0000EF',
    '7E00039203000000EF',
  ],
  [
    'ELK-BTC',
    '7E0004F00001FF00EF',
    '7E0004000000FF00EF',
    undefined,
    '7E00013200000000EF',
    5550,
    '7E000502194B0000EF',
    '7E00039203FFFF00EF',
  ],
  [
    'ELK-BTCW',
    '7E0004F00001FF00EF',
    '7E0004000000FF00EF',
    undefined,
    '7E00013200000000EF',
    5550,
    '7E000502194B0000EF',
    '7E00039203FFFF00EF',
  ],
  [
    'ELK-BLEDOB',
    '7E0704FF00010201EF',
    '7E07040000000201EF',
    '7E07050312345610EF',
    '7E04013201FF0201EF',
    5700,
    '7E070502194B0000EF',
    '7E07039203FFFF00EF',
  ],
  [
    'ELK-BLEDDM',
    '7E0404F00001FF00EF',
    '7E0404000000FF00EF',
    '7E00050312345600EF',
    '7E040132FF00FF00EF',
    5700,
    '7E000502194B0000EF',
    '7E00039203000000EF',
  ],
  [
    'ELK-BLEDW',
    '7E040401FFFFFF00EF',
    '7E040400FFFFFF00EF',
    '7E07050312345600EF',
    '7E040132FFFFFF00EF',
    5700,
    '7E060502194BFF08EF',
    '7E05039203FFFF00EF',
  ],
  [
    'ELK-BULB',
    '7E00040100000000EF',
    '7E0004000000FF00EF',
    '7E00050312345600EF',
    '7E040132FF00FF00EF',
    5700,
    '7E000502194B0000EF',
    '7E00039203000000EF',
  ],
  [
    'ELK-BULB2',
    '7E00040100000000EF',
    '7E0004000000FF00EF',
    '7E00050312345600EF',
    '7E040132FF00FF00EF',
    5700,
    '7E000502194B0000EF',
    '7E00039203000000EF',
  ],
  [
    'ELK-LAMPL',
    '7E00040100000000EF',
    '7E0004000000FF00EF',
    '7E00050312345600EF',
    '7E040132FF00FF00EF',
    5700,
    '7E000502194B0000EF',
    '7E00039203000000EF',
  ],
  [
    'MELK',
    '7E00040100000000EF',
    '7E0004000000FF00EF',
    '7E00050312345600EF',
    '7E040132FF00FF00EF',
    5700,
    '7E060502194BFF08EF',
    undefined,
  ],
  [
    'MELK-OA10 10',
    '7E0404F00001FF00EF',
    '7E0404000000FF00EF',
    '7E00050312345600EF',
    '7E04013201FFFF00EF',
    5700,
    '7E060502194BFF08EF',
    undefined,
  ],
  [
    'MELK-OC10',
    '7E0404F00001FF00EF',
    '7E0404000000FF00EF',
    '7E00050312345600EF',
    '7E04013201FFFF00EF',
    5700,
    '7E060502194BFF08EF',
    undefined,
  ],
  [
    'MELK-OF10',
    '7E0404F00001FF00EF',
    '7E0404000000FF00EF',
    '7E00050312345600EF',
    '7E04013201FFFF00EF',
    5700,
    '7E060502194BFF08EF',
    undefined,
  ],
  [
    'MELK-OG10',
    '7E0704FF00010201EF',
    '7E07040000000200EF',
    '7E00050312345600EF',
    '7E040132FF00FF00EF',
    5700,
    '7E060502194BFF08EF',
    undefined,
  ],
];

describe('elk-bledom', () => {
  test.each(TABLE)(
    '%s has the frames that its models.json row and captures give',
    (name, on, off, color, dim, kelvin, temperature, effect) => {
      expect(frames(name, { state: 'ON' })).toEqual([on]);
      expect(frames(name, { state: 'OFF' })).toEqual([off]);
      expect(frames(name, { brightness: 128 })).toEqual([on, dim]);
      expect(frames(name, { color_temp: kelvin })).toEqual([on, temperature]);
      if (color !== undefined) expect(frames(name, { color: { r: 0x12, g: 0x34, b: 0x56 } })).toEqual([on, color]);
      expect(model(name).color).toBe(color === undefined ? undefined : true);
      if (effect !== undefined) expect(frames(name, { effect: 'fade rg' })).toEqual([on, effect]);
      expect(model(name).effects === undefined).toBe(effect === undefined);
    },
  );

  test('takes the longest name, whatever the case and the padding', () => {
    expect(model('elk-bledob   ').id).toBe('ELK-BLEDOB');
    expect(model('ELK-BLEDOM\0\0\0').id).toBe('ELK-BLEDOM');
    expect(model('ELK-BLEDDM 74').id).toBe('ELK-BLEDDM');
    expect(model('MELK-OA20').id).toBe('MELK');
    expect(model('LED LIGHT STRIP').id).toBe('ELK-BLEDOM');
    for (const localName of ['ELK-', 'XELK-BLEDOM', ' ELK-BLEDOM', 'JACKYLED', '', '   ', 'Triones:1']) {
      expect(elkBledom.recognise({ localName, serviceUuids: ['fff0'] })).toBeUndefined();
    }
    expect(elkBledom.recognise({ serviceUuids: ['fff0', '1812'] })).toBeUndefined();
  });

  test('gives percent for brightness, and at least 1 for any light at all', () => {
    const percent = (brightness: number) => frames('ELK-BLEDOM', { brightness })[1]?.slice(6, 8);
    expect([1, 2, 3, 64, 127, 128, 191, 254, 255].map(percent)).toEqual([
      '01',
      '01',
      '01',
      '19',
      '32',
      '32',
      '4B',
      '64',
      '64',
    ]);
    expect(frames('ELK-BLEDOM', { state: 'ON', brightness: 0 })).toEqual(['7E0004000000FF00EF']);
  });

  test('gives warm at the low end, cold at the high end, and the nearest beyond them', () => {
    const white = (name: string, color_temp: number) => frames(name, { color_temp })[1]?.slice(8, 12);
    expect([1000, 1800, 4400, 7000, 20_000].map((kelvin) => white('ELK-BLEDOM', kelvin))).toEqual([
      '6400',
      '6400',
      '3232',
      '0064',
      '0064',
    ]);
    expect([2700, 4600, 6500].map((kelvin) => white('ELK-BTC', kelvin))).toEqual(['6400', '3232', '0064']);
  });

  test('takes colours in every form', () => {
    expect(frames('ELK-BLEDOM', { color: { h: 240, s: 100 } })[1]).toBe('7E0005030000FF00EF');
    expect(frames('ELK-BLEDOM', { color: { x: 0.64, y: 0.33 } })[1]).toBe('7E000503FF000000EF');
  });

  test('puts on first, the colour before its brightness, and nothing after off', () => {
    expect(frames('ELK-BLEDOM', { state: 'ON', brightness: 255, color: { r: 1, g: 2, b: 3 } })).toEqual([
      '7E0004F00001FF00EF',
      '7E00050301020300EF',
      '7E00016400000000EF',
    ]);
    expect(frames('ELK-BLEDOM', { state: 'OFF', brightness: 255 })).toEqual(['7E0004000000FF00EF']);
  });

  test('wakes every MELK with two short writes a second apart, and nobody else', () => {
    for (const { id, wake } of elkBledom.models) {
      const bytes = wake?.frames.map((frame) => Buffer.from(frame.bytes).toString('hex'));
      expect(bytes).toEqual(id.startsWith('MELK') ? ['7e0783', '7e0404'] : undefined);
      if (wake !== undefined) expect(wake.gap_ms).toBe(1000);
    }
  });

  test('never subscribes: what these lamps notify is not dependable', () => {
    expect(elkBledom.gatt.every(({ notify }) => notify === undefined)).toBe(true);
    expect(elkBledom.decode).toBeUndefined();
    expect(elkBledom.query).toBeUndefined();
  });
});
