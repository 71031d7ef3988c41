import { describe, expect, it } from 'vitest';
import { createLog, forPeople, printable, setLogLevel } from '../src/log.ts';

function lines(use: (log: ReturnType<typeof createLog>) => void, people = false): string[] {
  const written: string[] = [];
  const write = (text: string): void => void written.push(text);
  use(createLog('debug', people ? forPeople(write) : { write }));
  return written;
}

describe('the log', () => {
  it('writes one JSON object a line, without host name or process id', () => {
    const [line = ''] = lines((log) => log.warn({ lamp: 'porch' }, 'gone'));
    expect(line.endsWith('\n')).toBe(true);
    expect(JSON.parse(line)).toEqual({
      level: 'warn',
      time: expect.stringMatching(/^\d{4}-/),
      lamp: 'porch',
      msg: 'gone',
    });
  });

  it('never writes a secret, however deep it sits, for machines or for people', () => {
    const secret = 'eyJhbGciOiJFUzI1NiJ9.c2VjcmV0.c2ln';
    const record = {
      access_token: secret,
      options: { client_secret: secret, password: secret },
      answer: { body: { refresh_token: secret }, headers: { authorization: secret } },
      device_code: secret,
    };
    for (const people of [false, true])
      expect(lines((log) => log.info(record, 'x'), people).join('')).not.toContain(secret);
  });

  it('is one short line for people, and safe for their terminal', () => {
    const [line = ''] = lines((log) => log.warn({ hint: 'Do this.', lamp: 'a\u001b[31mb', n: 3 }, 'It is\nso'), true);
    expect(line).toMatch(/^\d\d:\d\d:\d\d ! It is\ufffdso \(Do this\.\) lamp=a\ufffd\[31mb n=3\n$/);
    const [failure = ''] = lines((log) => log.error({ err: new TypeError('no') }, 'failed'), true);
    expect(failure).toContain('TypeError: no');
  });
});

describe('printable', () => {
  it.each([
    ['\u001b[2J', '\ufffd[2J'],
    ['a\r\nb', 'a\ufffd\ufffdb'],
    ['\u202egnp', '\ufffdgnp'],
    ['\u0085\u009b', '\ufffd\ufffd'],
    ['\u061cA\u2066B\u2069', '\ufffdA\ufffdB\ufffd'],
    ['in\u00advi\u200bsi\ufeffble\u{e0041}', 'in\ufffdvi\ufffdsi\ufffdble\ufffd'],
    ['half \ud83d of a pair \udca1', 'half \ufffd of a pair \ufffd'],
    ['plain ünïcode 💡', 'plain ünïcode 💡'],
  ])('makes %j into %j', (text, safe) => expect(printable(text)).toBe(safe));

  it('is bounded', () => expect(printable('x'.repeat(1000), 10)).toBe('xxxxxxxxxx…'));

  it('is never cut in the middle of a character', () => {
    expect(printable('💡'.repeat(10), 5)).toBe('💡💡…');
    expect(printable('💡'.repeat(10), 6)).toBe('💡💡💡…');
    expect(printable('💡💡', 4)).toBe('💡💡');
  });
});

it('a new level holds at once for the log and all that were made from it, and hides secrets as every other', () => {
  const written: string[] = [];
  const log = createLog('warn', { write: (text: string) => void written.push(text) });
  const child = log.child({ light: 'porch' });
  const grandchild = child.child({ part: 'link' });
  for (const one of [log, child, grandchild]) one.debug('unheard');
  setLogLevel(log, 'trace');
  for (const one of [log, child, grandchild])
    one.trace({ access_token: 'secret-1', answer: { token: 'secret-2' } }, 'heard');
  expect(written).toHaveLength(3);
  expect(written.join('')).not.toMatch(/secret-\d/);
  setLogLevel(log, 'silent');
  for (const one of [log, child, grandchild]) one.error('unheard');
  expect(written).toHaveLength(3);
});
