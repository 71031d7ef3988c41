import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PorchlightError } from '../../src/errors.ts';
import { parseChange, parseCommandBody } from '../../src/lights/change.ts';

function refusal(run: () => unknown): PorchlightError {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof PorchlightError) return thrown;
    throw thrown;
  }
  throw new Error('not refused');
}

describe('a LightChange', () => {
  test.each([
    { state: 'ON' },
    { state: 'OFF', transition: 2 },
    { state: 'TOGGLE' },
    { state: 'ON', brightness: 0 },
    { state: 'ON', brightness: 255, color: { r: 0, g: 127, b: 255 } },
    { color: { h: 360, s: 0 } },
    { color: { h: 12.5, s: 99.9 } },
    { color: { x: 0.3127, y: 0.329 } },
    { state: 'ON', color_temp: 2700, transition: 0.5 },
    { white: 1 },
    { effect: 'seven-colour fade', brightness: 3 },
    { effect: 'pulse', color: { r: 1, g: 2, b: 3 } },
    { state: 'ON', flash: 2 },
  ])('is taken as Home Assistant sends it: %j', (change) => {
    expect(parseChange(change)).toEqual(change);
  });

  test('takes a whole number written as 127.0', () => {
    expect(parseCommandBody('{"state":"ON","brightness":127.0}').change).toEqual({ state: 'ON', brightness: 127 });
  });

  test.each([
    [{ brightness: 256 }, 'brightness: 0 to 255 expected'],
    [{ brightness: -1 }, 'brightness: 0 to 255 expected'],
    [{ brightness: Number.NaN }, 'brightness: 0 to 255 expected'],
    [{ brightness: '50' }, 'brightness: 0 to 255 expected'],
    [{ brightness: null }, 'brightness: 0 to 255 expected'],
    [{ brightness: [50] }, 'brightness: 0 to 255 expected'],
    [{ brightness: 50.5 }, 'brightness: a whole number'],
    [{ state: 'on' }, 'state: "ON", "OFF", "TOGGLE" expected'],
    [{ state: true }, 'state: '],
    [{ state: ['ON'] }, 'state: '],
    [{ white: 300 }, 'white: '],
    [{ color_temp: 999 }, 'mireds'],
    [{ color_temp: 20_001 }, 'color_temp: '],
    [{ color: '#ff0000' }, 'color: '],
    [{ color: {} }, 'color: '],
    [{ color: [255, 0, 0] }, 'color: '],
    [{ color: { r: 255, g: 0 } }, 'color.b'],
    [{ color: { r: 255, g: 0, b: 256 } }, 'color.b'],
    [{ color: { r: 1.5, g: 0, b: 0 } }, 'color.r'],
    [{ color: { h: 361, s: 0 } }, 'color.h'],
    [{ color: { h: 0, s: 101 } }, 'color.s'],
    [{ color: { x: 1.1, y: 0 } }, 'color.x'],
    [{ color: { r: 1, g: 2, b: 3, h: 4 } }, 'color: '],
    [{ color: { r: 1, g: 2, b: 3, w: 4 } }, '"w"'],
    [{ color: { r: 1, g: 2, b: 3 }, color_temp: 3000 }, 'color and color_temp contradict'],
    [{ color: { r: 1, g: 2, b: 3 }, white: 3 }, 'color and white contradict'],
    [{ effect: '' }, 'effect: '],
    [{ effect: 'x'.repeat(65) }, 'effect: '],
    [{ effect: 'red\u001b[2Jfade' }, 'effect: '],
    [{ effect: 'edaf\u202eder' }, 'effect: '],
    [{ transition: -1, state: 'ON' }, 'transition: 0 to 3600'],
    [{ flash: 4000 }, 'flash: '],
    [{ brigthness: 5 }, 'did you mean brightness?'],
    [{ colour: { r: 0, g: 0, b: 0 } }, 'did you mean color?'],
    [{ color_mode: 'rgb', state: 'ON' }, '"color_mode"'],
    [{ state: 'ON', id: 'x' }, '"id"'],
    [{}, 'nothing to change'],
    [{ transition: 2 }, 'nothing to change'],
    [null, 'object expected'],
    [[], 'object expected'],
    ['ON', 'object expected'],
    [7, 'object expected'],
  ])('refuses %j, naming what is wrong', (value, message) => {
    const error = refusal(() => parseChange(value));
    expect(error.code).toBe('bad_command');
    expect(error.message).toContain(message);
  });

  test('never repeats what was sent beyond a few clean characters', () => {
    const hostile = `<script>\u001b]0;owned\u0007${'A'.repeat(5000)}`;
    for (const value of [{ [hostile]: 1 }, { state: hostile }, { effect: hostile }, { color: { [hostile]: 1 } }]) {
      const { message } = refusal(() => parseChange(value));
      expect(message.length).toBeLessThan(250);
      expect(message).toMatch(/^[\x20-\x7e]*$/);
    }
  });

  test('has no way into prototypes', () => {
    for (const json of [
      '{"__proto__":{"state":"ON"}}',
      '{"constructor":1}',
      '{"toString":1}',
      '{"color":{"__proto__":{"r":1}}}',
    ]) {
      expect(refusal(() => parseCommandBody(json)).code).toBe('bad_command');
    }
    expect(refusal(() => parseChange(Object.create({ state: 'ON' }))).message).toContain('nothing to change');
    expect(({} as Record<string, unknown>)['state']).toBeUndefined();
  });

  test('is what it was, or refused by its code: nothing else ever happens', () => {
    const member = fc.oneof(
      fc.constantFrom('state', 'brightness', 'color', 'color_temp', 'white', 'effect', 'flash'),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.dictionary(member, fc.jsonValue(), { maxKeys: 4 }), (value) => {
        try {
          expect(parseChange(value)).toEqual(value);
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'bad_command' });
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("a command's payload", () => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

  test('carries what the sender says of the command beside the change', () => {
    const body = {
      state: 'ON',
      id: 'a-1',
      expires_in: 2.5,
      authorization: 'Bearer abc.def.ghi',
      sent_at: '2026-01-31T20:15:00.250+01:00',
    };
    expect(parseCommandBody(bytes(JSON.stringify(body)))).toEqual({
      change: { state: 'ON' },
      id: 'a-1',
      expires_in: 2.5,
      authorization: 'Bearer abc.def.ghi',
      sent_at: Date.UTC(2026, 0, 31, 19, 15, 0, 250),
    });
    expect(parseCommandBody('{"state":"ON","sent_at":1700000000.5}').sent_at).toBe(1_700_000_000_500);
  });

  test('takes the last of duplicate keys, as every JSON parser does', () => {
    expect(parseCommandBody('{"state":"ON","state":"OFF"}').change).toEqual({ state: 'OFF' });
  });

  test('may already be parsed', () => {
    expect(parseCommandBody({ state: 'ON', id: 'x' })).toEqual({ change: { state: 'ON' }, id: 'x' });
  });

  test.each([
    ['{"state":"ON","id":""}', 'id: '],
    [`{"state":"ON","id":"${'x'.repeat(65)}"}`, 'id: '],
    ['{"state":"ON","id":7}', 'id: '],
    ['{"state":"ON","id":"a\\nb"}', 'id: '],
    ['{"state":"ON","expires_in":0}', 'expires_in: '],
    ['{"state":"ON","expires_in":-3}', 'expires_in: '],
    ['{"state":"ON","expires_in":86401}', 'expires_in: '],
    ['{"state":"ON","expires_in":"5"}', 'expires_in: '],
    ['{"state":"ON","authorization":["Bearer x"]}', 'authorization: '],
    ['{"state":"ON","sent_at":"yesterday"}', 'sent_at: '],
    ['{"state":"ON","sent_at":"2026-01-31T20:15:00"}', 'sent_at: '],
    ['{"state":"ON","sent_at":"2026-13-31T20:15:00Z"}', 'sent_at: '],
    ['{"state":"ON","sent_at":1700000000500}', 'sent_at: '],
    ['{"state":"ON","token":"x"}', 'did you mean authorization?'],
    ['{}', 'nothing to change'],
    ['ON', 'not JSON'],
    ['', 'empty'],
    ['{"state":"ON"', 'not JSON'],
    ['{"state":"ON"}{"state":"OFF"}', 'not JSON'],
    ['[{"state":"ON"}]', 'object expected'],
    ['null', 'object expected'],
  ])('is refused with its member named: %s', (text, message) => {
    const error = refusal(() => parseCommandBody(bytes(text)));
    expect(error.code).toBe('bad_command');
    expect(error.message).toContain(message);
  });

  test('that is a bare word is answered with how to say it', () => {
    expect(refusal(() => parseCommandBody(bytes('ON'))).hint).toContain('{"state":"ON"}');
  });

  test('that is not UTF-8 is refused', () => {
    expect(refusal(() => parseCommandBody(Uint8Array.of(0x7b, 0xff, 0x7d))).message).toContain('UTF-8');
  });

  test('of more than 16 KiB is too large; of exactly that much it is not', () => {
    const pad = (size: number): string => `{"state":"ON"${' '.repeat(size - 14)}}`;
    expect(parseCommandBody(bytes(pad(16_384))).change).toEqual({ state: 'ON' });
    expect(refusal(() => parseCommandBody(bytes(pad(16_385)))).code).toBe('payload_too_large');
    expect(refusal(() => parseCommandBody(pad(16_385))).code).toBe('payload_too_large');
    expect(refusal(() => parseCommandBody('['.repeat(16_000))).code).toBe('bad_command');
  });

  test('of a scene is empty, and asks nothing of its own', () => {
    expect(parseCommandBody('{}', 'scene')).toEqual({ change: {} });
    expect(parseCommandBody('{"id":"7"}', 'scene')).toEqual({ change: {}, id: '7' });
    expect(refusal(() => parseCommandBody('{"state":"ON"}', 'scene')).message).toContain('"state"');
  });
});
