import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { effectNamed, kelvinWithin } from '../../src/lights/capabilities.ts';
import { dimmed, rgbOf, undimmed } from '../../src/lights/color.ts';

describe('colours', () => {
  test.each([
    [
      { h: 0, s: 100 },
      { r: 255, g: 0, b: 0 },
    ],
    [
      { h: 60, s: 100 },
      { r: 255, g: 255, b: 0 },
    ],
    [
      { h: 120, s: 100 },
      { r: 0, g: 255, b: 0 },
    ],
    [
      { h: 180, s: 100 },
      { r: 0, g: 255, b: 255 },
    ],
    [
      { h: 240, s: 100 },
      { r: 0, g: 0, b: 255 },
    ],
    [
      { h: 300, s: 100 },
      { r: 255, g: 0, b: 255 },
    ],
    [
      { h: 360, s: 100 },
      { r: 255, g: 0, b: 0 },
    ],
    [
      { h: 30, s: 50 },
      { r: 255, g: 191, b: 128 },
    ],
    [
      { h: 77, s: 0 },
      { r: 255, g: 255, b: 255 },
    ],
  ])('hue and saturation %j are %j', (color, rgb) => {
    expect(rgbOf(color)).toEqual(rgb);
  });

  // The primaries and the white point of sRGB, from its standard.
  test.each([
    [
      { x: 0.64, y: 0.33 },
      { r: 255, g: 0, b: 0 },
    ],
    [
      { x: 0.3, y: 0.6 },
      { r: 0, g: 255, b: 0 },
    ],
    [
      { x: 0.15, y: 0.06 },
      { r: 0, g: 0, b: 255 },
    ],
    [
      { x: 0.3127, y: 0.329 },
      { r: 255, g: 255, b: 255 },
    ],
  ])('chromaticity %j is %j', (color, rgb) => {
    const found = rgbOf(color);
    for (const name of ['r', 'g', 'b'] as const) expect(Math.abs(found[name] - rgb[name])).toBeLessThanOrEqual(2);
  });

  test('every colour has whole channels from 0 to 255, and light', () => {
    const part = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(part, part, (x, y) => {
        for (const { r, g, b } of [rgbOf({ x, y }), rgbOf({ h: x * 360, s: y * 100 })]) {
          for (const channel of [r, g, b]) {
            expect(Number.isInteger(channel) && channel >= 0 && channel <= 255).toBe(true);
          }
          expect(Math.max(r, g, b)).toBe(255);
        }
      }),
    );
  });

  test('dimming never makes a light dark that is not off, and can be read back', () => {
    const byte = fc.integer({ min: 0, max: 255 });
    fc.assert(
      fc.property(byte, byte, byte, fc.integer({ min: 1, max: 255 }), (r, g, b, brightness) => {
        const dim = dimmed({ r, g, b }, brightness);
        expect(Math.max(dim.r, dim.g, dim.b) > 0).toBe(Math.max(r, g, b) > 0);
        const back = undimmed(dim);
        if (back === undefined) return;
        const again = dimmed(back.color, back.brightness);
        for (const name of ['r', 'g', 'b'] as const) expect(Math.abs(again[name] - dim[name])).toBeLessThanOrEqual(1);
      }),
    );
    expect(dimmed({ r: 100, g: 50, b: 20 }, 1)).toEqual({ r: 1, g: 0, b: 0 });
  });
});

describe('capabilities', () => {
  const model = {
    id: 'X',
    color_temp: { min: 2700, max: 6500 },
    effects: ['fade rg', 'red fade', 'seven-colour jump'],
  };

  test('a kelvin outside of the range becomes the nearest end', () => {
    expect([1000, 2700, 4000, 6500, 20_000].map((kelvin) => kelvinWithin(kelvin, model))).toEqual([
      2700, 2700, 4000, 6500, 6500,
    ]);
  });

  test('an effect is known however its words are written', () => {
    expect(effectNamed('Fade Red', model)).toBe('red fade');
    expect(effectNamed('rg_fade', model)).toBe('fade rg');
    expect(effectNamed('SEVEN COLOR JUMP', model)).toBe('seven-colour jump');
    expect(effectNamed('fade', model)).toBeUndefined();
    expect(effectNamed('', model)).toBeUndefined();
  });
});
