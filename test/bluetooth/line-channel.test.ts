import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LineChannel } from '../../src/bluetooth/line-channel.ts';
import { LogCauses } from '../../src/bluetooth/log-causes.ts';

function reader(longest = 1000) {
  const stream = new PassThrough();
  const values: unknown[] = [];
  const broken: string[] = [];
  const channel = new LineChannel(stream, longest, {
    onValue: (value) => values.push(value),
    onBroken: (reason) => broken.push(reason),
    onClosed: () => undefined,
  });
  channel.open();
  return { stream, values, broken, channel };
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('values between two processes', () => {
  it('arrive whole and in order, however the pipe cuts them', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue(), { maxLength: 20 }), fc.array(fc.nat(40)), async (values, cuts) => {
        const { stream, values: got, broken } = reader(1_000_000);
        const bytes = Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(''));
        let at = 0;
        for (const cut of cuts) {
          stream.write(bytes.subarray(at, at + cut));
          at += cut;
          await turn();
        }
        stream.write(bytes.subarray(at));
        await turn();
        expect(got).toEqual(JSON.parse(JSON.stringify(values)));
        expect(broken).toEqual([]);
      }),
      { numRuns: 50, seed: 3 },
    );
  });

  it('are not taken any more after one that is too long, in one piece or in many', async () => {
    for (const size of [1001, 400, 1]) {
      const { stream, values, broken } = reader(1000);
      stream.write('"a"\n');
      for (let n = 0; n < 1001; n += size) stream.write('x'.repeat(size));
      stream.write('\n"b"\n');
      await turn();
      await turn();
      expect(values).toEqual(['a']);
      expect(broken).toEqual(['a line that is too long']);
    }
  });

  it('of exactly the longest length are taken', async () => {
    const { stream, values, broken } = reader(1000);
    stream.write(`"${'x'.repeat(998)}"\n`);
    await turn();
    expect([values.length, broken.length]).toEqual([1, 0]);
  });

  it.each(['', '{', 'undefined', '{}{}', '\u0000', '"\u0001"'])('must be JSON: %j is the end', async (line) => {
    const { stream, broken, values } = reader();
    stream.write(`${line}\n"b"\n`);
    await turn();
    expect(broken).toEqual(['a line that is not JSON']);
    expect(values).toEqual([]);
  });

  it('that nobody reads are counted', () => {
    const stream = new PassThrough({ highWaterMark: 1 });
    const channel = new LineChannel(stream, 100, {
      onValue: () => undefined,
      onBroken: () => undefined,
      onClosed: () => undefined,
    });
    for (let n = 0; n < 10; n += 1) channel.send('x'.repeat(100));
    expect(channel.unread).toBeGreaterThan(800);
  });
});

describe('log lines that the air causes', () => {
  it('are one a minute per cause, and the next says how many there were', () => {
    const causes = new LogCauses();
    expect(causes.pass('a lamp is odd', 0)).toEqual({});
    for (let at = 1; at < 60_000; at += 1000) expect(causes.pass('a lamp is odd', at)).toBeUndefined();
    expect(causes.pass('another cause', 30_000)).toEqual({});
    expect(causes.pass('a lamp is odd', 60_000)).toEqual({ swallowed: 60 });
    expect(causes.pass('a lamp is odd', 120_000)).toEqual({});
  });

  it('are one cause where only numbers and addresses differ', () => {
    const causes = new LogCauses();
    expect(causes.pass('the lamp be:ff:aa:cc:dd:ee sent 12 octets (0x3e)', 0)).toEqual({});
    expect(causes.pass('the lamp 01:02:03:04:05:06 sent 4711 octets (0x0e)', 1)).toBeUndefined();
  });

  it('stay bounded when the air makes up causes', () => {
    const causes = new LogCauses();
    const word = (n: number): string => [...n.toString()].map((digit) => 'ghijklmnop'[Number(digit)]).join('');
    let passed = 0;
    for (let n = 0; n < 10_000; n += 1) if (causes.pass(`${word(n)} happened`, n) !== undefined) passed += 1;
    expect(passed).toBeLessThanOrEqual(51);
    expect(causes.pass('the one that matters', 70_000)).toEqual({});
  });
});
