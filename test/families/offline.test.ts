import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { decodeVerb, dryRun, recogniseVerb, registerOffline } from '../../src/cli/offline.ts';
import { PorchlightError } from '../../src/errors.ts';
import { pinned, recognise } from '../../src/families/index.ts';

function refusal(run: () => unknown): PorchlightError {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof PorchlightError) return thrown;
    throw thrown;
  }
  throw new Error('not refused');
}

describe('a dry run', () => {
  test('prints characteristic, bytes and kind of each frame', () => {
    expect(dryRun({ family: 'triones', change: '{"color":{"r":90,"g":0,"b":157}}' })).toEqual([
      'ffd9 cc2333 command',
      'ffd9 565a009d00f0aa command',
    ]);
    expect(dryRun({ family: 'elk-bledom', name: 'ELK-BLEDOB', change: { state: 'OFF' } })).toEqual([
      'fff3 7e07040000000201ef command',
    ]);
    expect(dryRun({ family: 'triones', name: 'LEDBLE-78630A2B', change: { white: 10 } })).toEqual([
      'ffe9 cc2333 command',
      'ffe9 560000000a0faa command',
    ]);
  });

  test('scales by what is known, and turns TOGGLE round from it', () => {
    const known =
      '{"state":"ON","brightness":255,"color_mode":"rgb","color":{"r":0,"g":0,"b":200},"confidence":"confirmed"}';
    expect(dryRun({ family: 'triones', known, change: '{"brightness":128}' })[1]).toBe('ffd9 5600006400f0aa command');
    expect(dryRun({ family: 'triones', known, change: '{"state":"TOGGLE"}' })).toEqual(['ffd9 cc2433 command']);
    expect(dryRun({ family: 'triones', change: '{"state":"TOGGLE"}' })).toEqual(['ffd9 cc2333 command']);
  });

  test('refuses by name what the lamp lacks (exit 1), and what is not a change', () => {
    const lacking = refusal(() =>
      dryRun({ family: 'elk-bledom', name: 'ELK-BTCW', change: '{"color":{"r":1,"g":2,"b":3}}' }),
    );
    expect([lacking.code, lacking.exitStatus]).toEqual(['unsupported', 1]);
    expect(lacking.message).toContain('color');
    expect(refusal(() => dryRun({ family: 'triones', change: '{"brightness":300}' })).code).toBe('bad_command');
  });

  test.each([
    [{ family: 'trionez', change: '{"state":"ON"}' }, 'did you mean triones?'],
    [{ family: 'triones', name: 'ELK-BLEDOM', change: '{"state":"ON"}' }, 'ELK-BLEDOM'],
    [{ family: 'triones', change: '{"state":"ON"' }, 'JSON'],
    [{ family: 'triones', change: '{"state":"ON"}', known: '{"state":"MAYBE"}' }, 'state'],
    [{ family: 'triones', change: '{"state":"ON"}', manufacturerData: 'xyz' }, 'hexadecimal'],
  ])('is wrong use (exit 64) with %j', (request, message) => {
    const error = refusal(() => dryRun(request));
    expect([error.code, error.exitStatus]).toEqual(['wrong_use', 64]);
    expect(error.message).toContain(message);
  });
});

describe('recognise', () => {
  test('tells family and model', () => {
    expect(recogniseVerb('{"localName":"ELK-BLEDDM 74","serviceUuids":[]}')).toEqual({
      family: 'elk-bledom',
      model: 'ELK-BLEDDM',
      supported: true,
    });
  });

  test('understands every spelling of a UUID, and absent members', () => {
    const base = '-0000-1000-8000-00805f9b34fb';
    for (const uuids of [
      ['ffe0', 'ffe5', 'fff0'],
      ['FFE0', '0xFFE5', '0000fff0'],
      [`0000ffe0${base}`, `0000FFE5${base}`.toUpperCase(), `0000fff0${base}`.replaceAll('-', '')],
    ]) {
      expect(recogniseVerb(JSON.stringify({ serviceUuids: uuids, localName: null }))).toMatchObject({
        model: 'Zerproc',
      });
    }
  });

  test('exits 1 when nobody claims it', () => {
    for (const json of [
      '{}',
      '{"localName":"Kettle","serviceUuids":["180f"],"manufacturerData":"4c000215"}',
      '{"localName":"LEDBLE-01-9201"}',
    ]) {
      expect(refusal(() => recogniseVerb(json)).exitStatus).toBe(1);
    }
  });

  test.each([
    '',
    'x',
    '[]',
    '{"localName":7}',
    '{"serviceUuids":"ffe0"}',
    '{"serviceUuids":["no"]}',
    '{"manufacturerData":"abc"}',
  ])('is wrong use with %j', (json) => {
    expect(refusal(() => recogniseVerb(json)).exitStatus).toBe(64);
  });

  test('puts the longest name first where two families claim one advertisement', () => {
    const both = recognise({ localName: 'ELK-BLEDOM', serviceUuids: ['ffe0', 'ffe5', 'fff0'] });
    expect(both.map(({ family, model }) => `${family.id}/${model.id}`)).toEqual([
      'elk-bledom/ELK-BLEDOM',
      'triones/Zerproc',
    ]);
  });
});

describe('decode', () => {
  test('gives the state as the lamp says it', () => {
    expect(decodeVerb({ family: 'triones', hex: '66:15:23:41:20:00:00:FF:00:00:06:99' })).toEqual({
      state: 'ON',
      color: { r: 0, g: 255, b: 0 },
      brightness: 255,
      color_mode: 'rgb',
      confidence: 'confirmed',
    });
    expect(decodeVerb({ family: 'triones', hex: '66e300162401ffffff000199' })).toEqual({
      state: null,
      confidence: 'unknown',
    });
  });

  test('exits 1 for bytes that say nothing and for lamps that never report', () => {
    expect(refusal(() => decodeVerb({ family: 'triones', hex: '0102' })).exitStatus).toBe(1);
    expect(refusal(() => decodeVerb({ family: 'elk-bledom', hex: '7e00' })).exitStatus).toBe(1);
  });

  test('is wrong use with half a byte, or far too many', () => {
    for (const hex of ['661', '', 'zz', 'ab'.repeat(600)]) {
      expect(refusal(() => decodeVerb({ family: 'triones', hex })).exitStatus).toBe(64);
    }
  });

  test('prints one JSON document on standard output', async () => {
    let out = '';
    const program = new Command();
    registerOffline(program, {
      stdout: (text) => {
        out += text;
      },
      stderr: () => undefined,
      env: {},
      colours: false,
      isTerminal: false,
      logsToTerminal: false,
      pid: 1,
      uid: 0,
      signal: new AbortController().signal,
    });
    await program.parseAsync(['decode', '--family', 'triones', '--name', 'Triones:1', 'cc230000'], { from: 'user' });
    await program.parseAsync(['recognise', '{"localName":"Dream~1"}'], { from: 'user' });
    expect(
      out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual([
      { state: 'ON', confidence: 'confirmed' },
      { family: 'triones', model: 'Dream', supported: true },
    ]);
  });
});

describe('a pinned model', () => {
  test.each([
    ['elk-bledom', 'elk-bledom', 'ELK-BLEDOM'],
    ['elk-bledom/ELK-BLEDOB', 'elk-bledom', 'ELK-BLEDOB'],
    ['ELK-BLEDOM/elk-btc', 'elk-bledom', 'ELK-BTC'],
    ['ELK-BTC', 'elk-bledom', 'ELK-BTC'],
    ['MELK-OC10', 'elk-bledom', 'MELK-OA10'],
    ['triones', 'triones', 'Triones'],
    ['Zerproc', 'triones', 'Zerproc'],
    ['triones/magic blue', 'triones', 'Magic Blue'],
  ])('%s', (text, family, model) => {
    const found = pinned(text);
    expect([found.family.id, found.model.id]).toEqual([family, model]);
  });

  test.each(['govee', 'triones/ELK-BTC', '', '/', 'x'.repeat(5000)])('%j is refused, listing what exists', (text) => {
    const error = refusal(() => pinned(text));
    expect(error.code).toBe('config_invalid');
    expect(error.hint).toContain('elk-bledom/ELK-BLEDOB');
    expect(error.message.length).toBeLessThan(200);
  });
});
