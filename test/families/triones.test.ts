import { describe, expect, test } from 'vitest';
import { triones } from '../../src/families/triones.ts';
import type { LightChange } from '../../src/lights/change.ts';
import { type LightState, UNKNOWN_STATE } from '../../src/lights/state.ts';

const LAYOUT = { service: 'ffd5', write: 'ffd9', notify: 'ffd4' };

function called(id: string) {
  const model = triones.models.find((candidate) => candidate.id === id);
  if (model === undefined) throw new Error(`no model ${id}`);
  return model;
}

function frames(change: LightChange, known: LightState = UNKNOWN_STATE, id = 'Triones'): readonly string[] {
  return triones.encode(change, called(id), known, LAYOUT).map(({ bytes }) => Buffer.from(bytes).toString('hex'));
}

const status = (hex: string, id = 'Triones') => triones.decode?.(Buffer.from(hex, 'hex'), called(id));
const recognised = (localName: string, serviceUuids: string[] = []) =>
  triones.recognise({ localName, serviceUuids })?.id;

describe('triones: what is written', () => {
  const red: LightState = {
    state: 'ON',
    color: { r: 255, g: 0, b: 0 },
    color_mode: 'rgb',
    brightness: 255,
    confidence: 'confirmed',
  };

  test.each<[LightChange, LightState, readonly string[]]>([
    [{ state: 'ON', color: { r: 200, g: 100, b: 0 }, brightness: 128 }, UNKNOWN_STATE, ['cc2333', '5664320000f0aa']],
    [{ brightness: 51 }, red, ['cc2333', '5633000000f0aa']],
    [{ brightness: 51 }, UNKNOWN_STATE, ['cc2333', '5633333300f0aa']],
    [{ brightness: 1 }, { ...red, color: { r: 100, g: 50, b: 20 } }, ['cc2333', '5601000000f0aa']],
    // A colour alone keeps the brightness that the lamp has.
    [{ color: { r: 0, g: 255, b: 0 } }, { ...red, brightness: 51 }, ['cc2333', '5600330000f0aa']],
    [
      { brightness: 48 },
      { state: 'ON', color_mode: 'white', brightness: 9, confidence: 'confirmed' },
      ['cc2333', '56000000300faa'],
    ],
    [{ white: 200, brightness: 128 }, red, ['cc2333', '56000000640faa']],
    [{ white: 0 }, red, ['cc2433']],
    [{ state: 'ON', brightness: 0 }, red, ['cc2433']],
    [{ color: { r: 0, g: 0, b: 0 } }, red, ['cc2433']],
    [{ state: 'OFF', color: { r: 1, g: 2, b: 3 } }, red, ['cc2433']],
    [{ color: { h: 120, s: 100 } }, UNKNOWN_STATE, ['cc2333', '5600ff0000f0aa']],
    [{ color: { x: 0.15, y: 0.06 } }, UNKNOWN_STATE, ['cc2333', '560000ff00f0aa']],
    [{ effect: 'seven-colour jump' }, red, ['cc2333', 'bb381044']],
    [{ effect: 'seven-colour fade' }, red, ['cc2333', 'bb251044']],
    [{ effect: 'gb fade' }, red, ['cc2333', 'bb2f1044']],
    [{ effect: 'white strobe' }, red, ['cc2333', 'bb371044']],
  ])('%j', (change, known, expected) => {
    expect(frames(change, known)).toEqual(expected);
  });

  test('a Zerproc gets 32 steps rounded up, with 255 kept', () => {
    const color = (r: number, g: number, b: number) => frames({ color: { r, g, b } }, UNKNOWN_STATE, 'Zerproc')[1];
    expect(color(64, 128, 192)).toBe('5608101800f0aa');
    expect(color(1, 1, 1)).toBe('5601010100f0aa');
    expect(color(255, 255, 255)).toBe('56ffffff00f0aa');
    expect(color(254, 0, 8)).toBe('561f000100f0aa');
  });

  test('the question for the state goes to the same characteristic', () => {
    const query = triones.query?.(called('Triones'), { service: 'ffe5', write: 'ffe9', notify: 'ffe4' });
    expect(query).toEqual({ characteristic: 'ffe9', bytes: Uint8Array.of(0xef, 0x01, 0x77), kind: 'command' });
  });

  test('a Dream has no named effect and no white, and says so by having none', () => {
    expect(called('Dream').effects).toBeUndefined();
    expect(called('Dream').white).toBeUndefined();
  });
});

describe('triones: what is read', () => {
  test.each<[string, Partial<LightState> | undefined]>([
    ['66152341200080400000 0699', { state: 'ON', color: { r: 255, g: 128, b: 0 }, brightness: 128, color_mode: 'rgb' }],
    ['661524412000 0000ff00 0699', { state: 'OFF', color: { r: 0, g: 0, b: 255 }, brightness: 255, color_mode: 'rgb' }],
    ['6604234120000000002a0699', { state: 'ON', brightness: 42, color_mode: 'white' }],
    ['661523412000000000000699', { state: 'ON' }],
    ['661523252010ff0000000699', { state: 'ON', effect: 'seven-colour fade' }],
    ['661523382010ff0000000699', { state: 'ON', effect: 'seven-colour jump' }],
    ['661523392010ff0000000699', { state: 'ON' }],
    ['661523242010ff0000000699', { state: 'ON' }],
    ['811523412000ff0000000699', { state: 'ON', color: { r: 255, g: 0, b: 0 }, brightness: 255, color_mode: 'rgb' }],
    ['cc240000', { state: 'OFF' }],
    ['cc770000', { state: null }],
    ['661500412000ff0000000699', { state: null }],
    ['661523412000ff0000000698', undefined],
    ['661523412000ff00000006', undefined],
    ['661523412000ff000000069999', undefined],
    ['671523412000ff0000000699', undefined],
    ['cc2300', undefined],
    ['cc23000000', undefined],
    ['', undefined],
    ['66', undefined],
  ])('%s', (hex, expected) => {
    expect(status(hex.replaceAll(' ', ''))).toEqual(expected);
  });

  test("a Zerproc's colour is read in 32 steps, clamped, whatever its mode byte says", () => {
    expect(status('66e3231624010810 18000199'.replaceAll(' ', ''), 'Zerproc')).toEqual({
      state: 'ON',
      color: { r: 85, g: 171, b: 255 },
      brightness: 197,
      color_mode: 'rgb',
    });
    expect(status('66e323162401ff0000000199', 'Zerproc')).toMatchObject({
      brightness: 255,
      color: { r: 255, g: 0, b: 0 },
    });
  });
});

describe('triones: who is one', () => {
  test.each([
    ['Triones:F30200000152C', 'Triones'],
    ['Triones-FFFF000081', 'Triones'],
    ['Triones*A1', 'Triones'],
    ['LEDBlue-7A5B', 'Triones'],
    ['QHM-1234', 'Triones'],
    ['BLE-LED', 'Triones'],
    ['AP-1A2B', 'Triones'],
    ['LEDBLE-78630A2B', 'Magic Blue'],
    ['ledble-78630a2b  ', 'Magic Blue'],
    ['Dream~1A2B', 'Dream'],
  ])('%s', (name, id) => {
    expect(recognised(name)).toBe(id);
  });

  test.each([
    'LEDBLE-01-9201',
    'LEDBLE-',
    'LEDBLE-78630A2',
    'LEDBLE-78630A2B1',
    'LEDBLE-7863ZZZZ',
    'Trione',
    'ELK-BLEDOM',
    '',
    '\u202eTriones:',
  ])('not %j', (name) => {
    expect(recognised(name)).toBeUndefined();
  });

  test('a Triones with a name of its own is told by the service that only it has', () => {
    expect(recognised('Kitchen strip', ['ffd5'])).toBe('Triones');
    expect(recognised('', ['180a', 'ffd5'])).toBe('Triones');
    expect(recognised('Kitchen strip', ['ffe5'])).toBeUndefined();
  });

  test('a Zerproc is told by three services together, named or not', () => {
    expect(triones.recognise({ serviceUuids: ['ffe0', 'ffe5', 'fff0'] })?.id).toBe('Zerproc');
    expect(recognised('LEDBLE-78630A2B', ['fff0', 'ffe5', 'ffe0', '180a'])).toBe('Zerproc');
    expect(triones.recognise({ serviceUuids: ['ffe0', 'ffe5'] })).toBeUndefined();
    expect(triones.recognise({ serviceUuids: ['fff0'] })).toBeUndefined();
  });

  test('a name of 248 hostile bytes is only a name', () => {
    const name = `Triones:${'\u001b[31m\u202e'.repeat(40)}`.slice(0, 248);
    expect(recognised(name)).toBe('Triones');
    expect(recognised('x'.repeat(100_000))).toBeUndefined();
  });
});
