import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as topics from '../../src/mqtt/topics.ts';

describe('command topics', () => {
  test.each([
    ['p/porch/set', 'lights', 'porch', 'authorized'],
    ['p/local/porch/set', 'lights', 'porch', 'local'],
    ['p/scene/movie/set', 'scene', 'movie', 'authorized'],
    ['p/local/scene/movie/set', 'scene', 'movie', 'local'],
    [`p/${'a-_9'.repeat(10)}/set`, 'lights', 'a-_9'.repeat(10), 'authorized'],
    ['p/set/set', 'lights', 'set', 'authorized'],
  ])('%s', (topic, kind, target, tree) => {
    expect(topics.parseCommandTopic('p', topic)).toEqual({ kind, target, tree });
  });

  test.each([
    ...['', 'p', 'p/', 'p//set', 'p/set', 'p/porch', 'p/porch/set/', '/p/porch/set', 'p/porch/SET', 'P/porch/set'],
    ...['p/local/set', 'p/scene/set', 'p/gateway/set', 'p/response/set', 'p/local/local/set', 'p/local/gateway/set'],
    ...['p/scene/local/set', 'p/scene/local/movie/set', 'p/local/scene/scene/set', 'p/local/local/porch/set'],
    ...['p/+/set', 'p/#/set', 'p/#', 'q/porch/set', 'pp/porch/set', 'p/a/b/set', 'p/porch/state'],
    ...[
      'p/PORCH/set',
      'p/pörch/set',
      'p/рorch/set',
      'p/porch\u200b/set',
      'p/porch\n/set',
      'p/porch\0/set',
      'p/ porch/set',
    ],
    ...[
      `p/${'a'.repeat(41)}/set`,
      `p/${'a'.repeat(65_000)}/set`,
      'p/../porch/set',
      '$SYS/porch/set',
      'p/__proto__x/set/',
    ],
  ])('%j asks for nothing', (topic) => {
    expect(topics.parseCommandTopic('p', topic)).toBeUndefined();
  });

  test('whatever is understood was well-formed, and was one of the four shapes', () => {
    const level = fc.oneof(
      fc.constantFrom('local', 'scene', 'set', 'p', 'porch', '', '+', '#', 'gateway'),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(level, { maxLength: 6 }), (levels) => {
        const parsed = topics.parseCommandTopic('p', levels.join('/'));
        if (parsed === undefined) return;
        expect(topics.isTarget(parsed.target)).toBe(true);
        const middle = [...(parsed.tree === 'local' ? ['local'] : []), ...(parsed.kind === 'scene' ? ['scene'] : [])];
        expect(levels.join('/')).toBe(['p', ...middle, parsed.target, 'set'].join('/'));
      }),
    );
  });

  test('every filter matches what its topic parser understands, also under a base of several levels', () => {
    expect(topics.commandFilters('home/lights')).toEqual([
      'home/lights/+/set',
      'home/lights/local/+/set',
      'home/lights/scene/+/set',
      'home/lights/local/scene/+/set',
    ]);
    expect(topics.parseCommandTopic('home/lights', 'home/lights/local/porch/set')).toMatchObject({ target: 'porch' });
  });
});

test.each([
  ['porchlight', true],
  ['home/ground floor/lights', true],
  ['häuser', true],
  ['x'.repeat(100), true],
  ['x'.repeat(101), false],
  ['ä'.repeat(51), false],
  ...[
    '',
    '/',
    '/a',
    'a/',
    'a//b',
    'a/+',
    '#',
    'a#',
    '$SYS',
    '$share/x',
    'a\0b',
    'a\nb',
    'a\u0085',
    '\ud800',
    '\uffff',
  ].map((text): [string, boolean] => [text, false]),
])('the base topic %j is usable: %s', (text, usable) => {
  expect(topics.isBaseTopic(text)).toBe(usable);
});

test.each([
  ['p/response/phone', true],
  ['p/response/phone/a/b/c', true],
  ['p/response/ключ', true],
  [`p/response/${'x'.repeat(189)}`, true],
  [`p/response/${'x'.repeat(190)}`, false],
  ...[
    'p/response',
    'p/response/',
    'p/response//a',
    'p/response/a/',
    'p/response/+',
    'p/response/#',
    'p/response/a\0',
    '',
  ].map((text): [string, boolean] => [text, false]),
  ...['q/response/a', 'p/responses/a', 'p/porch/set', '/p/response/a', 'P/response/a', 'p/response/\ud800'].map(
    (text): [string, boolean] => [text, false],
  ),
])('answers may go to %j: %s', (text, may) => {
  expect(topics.isResponseTopic('p', text)).toBe(may);
});

test('the names of a gateway are read back as they were written, and strange ones are not read at all', () => {
  expect(topics.parseGatewayAvailability('p', topics.gatewayAvailabilityTopic('p', 'porch-pi'))).toBe('porch-pi');
  for (const topic of [
    'p/gateway//availability',
    'p/gateway/a/b/availability',
    'p/gateway/availability',
    'p/gateway/A/availability',
  ]) {
    expect(topics.parseGatewayAvailability('p', topic)).toBeUndefined();
  }
});

test('outcomes stand beside their target, whichever tree the command came by', () => {
  expect(topics.resultTopic('p', { kind: 'lights', target: 'porch', tree: 'local' })).toBe('p/porch/result');
  expect(topics.resultTopic('p', { kind: 'scene', target: 'movie', tree: 'authorized' })).toBe('p/scene/movie/result');
});
