import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ChainOptions } from '../../src/access/audit/chain.ts';
import { type Entry, parseLine, seal } from '../../src/access/audit/record.ts';
import { lastRecords } from '../../src/access/audit/show.ts';
import { Trail } from '../../src/access/audit/trail.ts';
import { type Verdict, verifyTrail } from '../../src/access/audit/verify.ts';
import { type FileSystem, realFileSystem } from '../../src/storage/file-system.ts';
import { StateDirectory } from '../../src/storage/state-directory.ts';
import { keptLog } from '../support/log.ts';

let folder: string;
beforeEach(async () => {
  folder = await fs.mkdtemp(join(tmpdir(), 'porchlight-audit-'));
});
afterEach(() => fs.rm(folder, { recursive: true, force: true }));

class FakeClock {
  now = 1_000;
  monotonic = (): number => this.now;
  wall = (): number => 1_800_000_000_000 + this.now;
}

interface Opened {
  readonly trail: Trail;
  readonly clock: FakeClock;
  readonly lines: string[];
  readonly unclean: boolean;
  /** Lets go of the folder as a killed process would: without a word. */
  readonly drop: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Held, so that what a killed process leaves open is not closed with a warning. */
const held: Trail[] = [];

async function open(options: Partial<ChainOptions> = {}): Promise<Opened> {
  const { log, lines } = keptLog();
  const state = await StateDirectory.open(folder, { log, uid: process.getuid?.() ?? 0 });
  const clock = new FakeClock();
  const head = state.file('audit-head.json');
  const trail = new Trail({ folder, head, maxBytes: 1_000_000, clock, log, ...options });
  held.push(trail);
  const { unclean } = await trail.start();
  const drop = (): Promise<void> => state.close();
  const close = async (): Promise<void> => {
    await trail.close();
    await state.close();
  };
  return { trail, clock, lines, unclean, drop, close };
}

const command = (target: string, more: Partial<Entry> = {}): Entry => ({
  event: 'command',
  by: 'owner',
  decision: 'allow',
  target,
  change: { state: 'ON', brightness: 40 },
  ...more,
});

/** A trail of `count` records, closed in good order. */
async function write(count: number, options: Partial<ChainOptions> = {}, name = 'lamp'): Promise<void> {
  const { trail, close } = await open(options);
  for (let n = 1; n <= count; n += 1) {
    trail.note(command(`${name}-${n}`));
    if (n % 20 === 0) await trail.written();
  }
  await close();
}

const path = (name = 'audit.jsonl'): string => join(folder, name);
const linesOf = async (name?: string): Promise<string[]> =>
  (await fs.readFile(path(name), 'utf8')).split('\n').slice(0, -1);
const recordsOf = async (name?: string): Promise<Record<string, unknown>[]> =>
  (await linesOf(name)).map((line) => JSON.parse(line));
const put = (lines: readonly string[], name?: string): Promise<void> =>
  fs.writeFile(path(name), lines.map((line) => `${line}\n`).join(''));

async function verify(): Promise<Verdict> {
  const verdict = await verifyTrail(folder, realFileSystem);
  if (verdict === undefined) throw new Error('no trail');
  return verdict;
}

describe('a record', () => {
  /** Written from the documented format alone, with none of the program's code. */
  function strangerVerifies(text: string): number {
    let before = '0'.repeat(64);
    let count = 0;
    for (const line of text.split('\n').slice(0, -1)) {
      const { hash, ...record } = JSON.parse(line);
      const sorted = (value: unknown): unknown =>
        value === null || typeof value !== 'object' || Array.isArray(value)
          ? value
          : Object.fromEntries(
              Object.entries(value)
                .sort(([a], [b]) => (a < b ? -1 : 1))
                .map(([name, inner]) => [name, sorted(inner)]),
            );
      const told = createHash('sha256')
        .update(JSON.stringify(sorted(record)))
        .digest('hex');
      if (told !== hash || record.prev !== before) return -1;
      before = hash;
      count += 1;
    }
    return count;
  }

  it('can be verified by a stranger from the documented format', async () => {
    await write(30);
    expect(strangerVerifies(await fs.readFile(path(), 'utf8'))).toBe(30);
  });

  it('has the members that are promised, a number from 1 on, and is one canonical line', async () => {
    await write(2);
    const [line = ''] = await linesOf();
    const record = JSON.parse(line);
    expect(record).toEqual({
      seq: 1,
      at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      event: 'command',
      by: 'owner',
      target: 'lamp-1',
      change: { state: 'ON', brightness: 40 },
      decision: 'allow',
      prev: '0'.repeat(64),
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(Object.keys(record)).toEqual(Object.keys(record).sort());
  });

  it('is read back whatever is in it, and shows nothing raw', () => {
    const text = fc.oneof(
      fc.string({ maxLength: 20 }),
      fc.constantFrom('\u0000\n', '\ud800', '\u202eü💡', '"\\', 'x'.repeat(900)),
    );
    const value = fc.oneof(text, fc.double(), fc.boolean(), fc.integer());
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.stringMatching(/^[a-z_]{1,8}$/), value), { maxLength: 5 }),
        value,
        (members, more) => {
          const extra = Object.fromEntries(members);
          const { line } = seal({ event: 'command', by: 'x', extra, more }, '2026-01-01T00:00:00.000Z', {
            seq: 7,
            hash: 'a'.repeat(64),
          });
          expect(line.indexOf('\n')).toBe(line.length - 1);
          expect(line).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
          expect(parseLine(Buffer.from(line.slice(0, -1)))).toMatchObject({ seq: 8, prev: 'a'.repeat(64) });
        },
      ),
      { numRuns: 50 },
    );
  });

  it.each([
    ['a topic', { target: 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJvIn0.c2ln' }],
    ['an id', { id: 'Bearer opaque-token-of-somebody' }],
    ['an effect', { change: { effect: 'x eyJhbGciOiJFUzI1NiJ9.eyJzdW' } }],
    ['the very end of a long text', { target: `${'x'.repeat(190)}eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJvIn0.c2ln` }],
  ])('keeps no token, not even one that was sent as %s', (_, more) => {
    const { line } = seal(command('porch', more), '2026-01-01T00:00:00.000Z', { seq: 0, hash: '0'.repeat(64) });
    expect(line).not.toMatch(/eyJhb|eyJz|opaque/);
    expect(line).toContain('[secret]'.slice(0, 5));
  });
});

describe('verify', () => {
  it('finds any single byte that was changed, and names the record', async () => {
    await write(12);
    const good = await fs.readFile(path());
    expect(await verify()).toMatchObject({ ok: true, records: 12, first: 1, last: 12, head: true, repaired: 0 });
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), async (at, by) => {
        const bad = Buffer.from(good);
        bad[at] = (bad[at] ?? 0) ^ by;
        await fs.writeFile(path(), bad);
        const line = good.subarray(0, at).toString('latin1').split('\n').length;
        const { ok, flaws } = await verify();
        expect(ok).toBe(false);
        // A newline that is gone makes one line of two: the first of them is then no record.
        expect(flaws[0]).toMatchObject({ seq: line, line, file: 'audit.jsonl' });
      }),
      { numRuns: 100 },
    );
  });

  it('finds records that were removed, inserted, moved or cut off, and names the first', async () => {
    await write(10);
    const good = await linesOf();
    const [a = '', b = ''] = good;
    const tampered: [string, string[], object][] = [
      ['removed', good.toSpliced(4, 1), { seq: 6, line: 5, why: 'record 5 is missing before it' }],
      ['two removed', good.toSpliced(4, 2), { seq: 7, why: 'records 5 to 6 are missing before it' }],
      ['the first removed', good.slice(1), { seq: 2, line: 1 }],
      ['repeated', good.toSpliced(4, 0, good[2] ?? ''), { seq: 3, line: 5, why: 'it stands where record 5 belongs' }],
      ['swapped', good.with(3, good[4] ?? '').with(4, good[3] ?? ''), { seq: 5, line: 4 }],
      ['an empty line', good.toSpliced(3, 0, ''), { seq: 4, line: 4 }],
      ['no JSON', good.with(3, 'what?'), { seq: 4, line: 4 }],
      ['spaces', good.with(3, (good[3] ?? '').replace(':', ': ')), { seq: 4, line: 4 }],
      ['cut off', good.slice(0, 7), { seq: 8, line: 7, why: 'records 8 to 10 are missing at its end' }],
      ['all gone', [], { seq: 1, why: 'records 1 to 10 are missing at its end' }],
      ['begun anew', [a, b], { seq: 3 }],
    ];
    for (const [how, lines, flaw] of tampered) {
      await put(lines);
      const { ok, flaws } = await verify();
      expect([how, ok, flaws[0]]).toEqual([how, false, expect.objectContaining(flaw)]);
    }
  });

  it('finds a record whose hash was made to fit, because the next does not continue it', async () => {
    await write(5);
    const lines = await linesOf();
    const { hash: _, ...record } = JSON.parse(lines[1] ?? '');
    const { line } = seal({ ...record, by: 'somebody' }, record.at, { seq: 1, hash: record.prev });
    await put(lines.with(1, line.trimEnd()));
    expect((await verify()).flaws).toEqual([
      { seq: 3, file: 'audit.jsonl', line: 3, why: 'it does not continue record 2: one of them was changed' },
    ]);
  });

  it('finds a whole trail that was replaced by another that is well made', async () => {
    await write(5);
    const head = await fs.readFile(path('audit-head.json'));
    await fs.rm(path());
    await fs.rm(path('audit-head.json'));
    await write(9, {}, 'other');
    await fs.writeFile(path('audit-head.json'), head);
    const { ok, flaws } = await verify();
    expect(ok).toBe(false);
    expect(flaws[0]).toMatchObject({ seq: 5, why: expect.stringContaining('audit-head.json') });
  });

  it('says that without the head nobody can tell whether the end was cut off', async () => {
    await write(5);
    await fs.rm(path('audit-head.json'));
    await put((await linesOf()).slice(0, 3));
    expect(await verify()).toMatchObject({ ok: true, head: false, records: 3 });
    await fs.rm(path());
    expect(await verifyTrail(folder, realFileSystem)).toBeUndefined();
  });

  it('is bounded on a hostile file: huge lines, no UTF-8, nesting, nothing but newlines', async () => {
    const hostile = [
      Buffer.alloc(3_000_000, 0x41),
      Buffer.alloc(300_000, 0x0a),
      Buffer.from([0xff, 0xfe, 0x0a, 0xc3, 0x28, 0x0a]),
      Buffer.from(`${'['.repeat(8_000)}\n{"__proto__":{"seq":1}}\n{"seq":1e400,"hash":1}\nnull\n"x"\n`),
      Buffer.alloc(100_000),
    ];
    for (const bytes of hostile) {
      await fs.writeFile(path(), bytes);
      const from = performance.now();
      const before = process.memoryUsage().rss;
      const { ok, flaws, records } = await verify().catch((): Partial<Verdict> => ({}));
      expect(records).toBe(0);
      expect(ok === false ? flaws?.length : 0).toBeLessThanOrEqual(20);
      expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000);
      expect(await lastRecords(folder, 50, realFileSystem)).toMatchObject({ records: [] });
      expect(performance.now() - from).toBeLessThan(3_000);
    }
    await fs.rm(path());
    await fs.mkdir(path());
    await expect(lastRecords(folder, 50, realFileSystem)).resolves.toBeUndefined();
  });
});

describe('after a power cut or a kill', () => {
  it('a torn last line is named in the trail and in the log, and is no tampering', async () => {
    await write(6);
    await fs.rm(path('audit-head.json'));
    const whole = await fs.readFile(path());
    const torn = whole.length - 40;
    await fs.truncate(path(), torn);
    expect(await verify()).toMatchObject({ ok: true, records: 5, unfinished: expect.any(Number) });
    const { trail, lines, close } = await open();
    trail.note(command('after'));
    await close();
    expect(lines.join('')).toContain('the audit trail was damaged');
    const last = (await linesOf()).at(-2) ?? '';
    expect(JSON.parse(last)).toMatchObject({ seq: 6, event: 'repaired', bytes: expect.any(Number) });
    expect(await verify()).toMatchObject({ ok: true, records: 7, repaired: 1 });
    // Whoever touches what was torn is found.
    const bytes = await fs.readFile(path());
    bytes[torn - 5] = (bytes[torn - 5] ?? 0) ^ 1;
    await fs.writeFile(path(), bytes);
    expect(await verify()).toMatchObject({ ok: false, flaws: [{ seq: 6, line: 6 }] });
  });

  it('is repaired wherever the file was cut, and every whole record is kept', async () => {
    await write(4);
    await fs.rm(path('audit-head.json'));
    const whole = await fs.readFile(path());
    for (let cut = 1; cut < whole.length; cut += 97) {
      await fs.writeFile(path(), whole.subarray(0, cut));
      await fs.rm(path('audit-head.json'), { force: true });
      const complete = whole.subarray(0, cut).toString().split('\n').length - 1;
      await write(1);
      const verdict = await verify();
      expect([cut, verdict.ok, verdict.records]).toEqual([cut, true, complete + (whole[cut - 1] === 0x0a ? 1 : 2)]);
    }
  });

  it('takes zeros at the end, as some file systems leave them, for damage of the same kind', async () => {
    await write(4);
    await fs.appendFile(path(), Buffer.alloc(5_000));
    await write(1);
    expect(await verify()).toMatchObject({ ok: true, records: 6, repaired: 1 });
  });

  it('says at the next start that durable records are gone, and verify goes on saying it', async () => {
    await write(8);
    await put((await linesOf()).slice(0, 5));
    await write(2);
    const records = await recordsOf();
    expect(records[5]).toMatchObject({ seq: 9, event: 'repaired', missing: { from: 6, to: 8 } });
    const { ok, flaws, count } = await verify();
    expect([ok, count]).toEqual([false, 1]);
    expect(flaws[0]).toMatchObject({ seq: 6, why: expect.stringContaining('records 6 to 8 are missing') });
    await fs.rm(path());
    await write(1);
    expect((await recordsOf())[0]).toMatchObject({ event: 'repaired', missing: { from: 1, to: 11 } });
  });

  it('goes on beside a file that holds nothing but nonsense, which it sets aside', async () => {
    await write(3);
    await fs.writeFile(path(), Buffer.alloc(2_000_000, 0x7b));
    await write(2);
    expect(await recordsOf()).toMatchObject([{ seq: 4, event: 'repaired', unreadable: true }, { seq: 5 }, { seq: 6 }]);
    expect((await verify()).ok).toBe(false);
  });

  it('tells an end without farewell from an orderly one', async () => {
    const first = await open();
    first.trail.note({ event: 'started', by: 'gateway' });
    await first.trail.written();
    await first.drop();
    const second = await open();
    expect([first.unclean, second.unclean]).toEqual([false, true]);
    second.trail.note({ event: 'stopped', by: 'gateway' });
    await second.close();
    const third = await open();
    expect(third.unclean).toBe(false);
    await third.close();
  });
});

describe('rotation', () => {
  it('stays within its size, continues the chain over all files, and verify says from where it is complete', async () => {
    await write(600, { maxBytes: 100_000 });
    const names = (await fs.readdir(folder)).filter((name) => name.endsWith('.jsonl')).sort();
    expect(names).toEqual(['audit.1.jsonl', 'audit.2.jsonl', 'audit.3.jsonl', 'audit.4.jsonl', 'audit.jsonl']);
    const sizes = await Promise.all(names.map(async (name) => (await fs.stat(path(name))).size));
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(100_000);
    const verdict = await verify();
    expect(verdict).toMatchObject({ ok: true });
    const [first] = await recordsOf('audit.4.jsonl');
    expect(verdict.first).toBe(first?.['seq']);
    const newest = await recordsOf();
    expect(newest[0]).toMatchObject({ event: 'rotated', from: first?.['seq'] });
    const last = await lastRecords(folder, 300, realFileSystem);
    expect(last?.records.map(({ seq }) => seq)).toEqual(
      Array.from({ length: 300 }, (_, n) => (verdict.last ?? 0) - 299 + n),
    );
  });

  it('notices that its oldest file, one in the middle or the newest was deleted, and two that changed places', async () => {
    await write(600, { maxBytes: 100_000 });
    const copy = `${folder}-copy`;
    await fs.cp(folder, copy, { recursive: true });
    try {
      for (const name of ['audit.4.jsonl', 'audit.2.jsonl', 'audit.jsonl']) {
        await fs.rm(path(name));
        expect([name, (await verify()).ok]).toEqual([name, false]);
        await fs.copyFile(join(copy, name), path(name));
      }
      await fs.copyFile(join(copy, 'audit.2.jsonl'), path('audit.3.jsonl'));
      await fs.copyFile(join(copy, 'audit.3.jsonl'), path('audit.2.jsonl'));
      expect((await verify()).ok).toBe(false);
    } finally {
      await fs.rm(copy, { recursive: true });
    }
  });

  it('goes on where a crash between two of its steps left it', async () => {
    const move = (from: string, to: string): Promise<void> => fs.rename(path(from), path(to));
    await write(400, { maxBytes: 100_000 });
    // The oldest is deleted, two have moved, the rest has not.
    const head = JSON.parse(await fs.readFile(path('audit-head.json'), 'utf8'));
    const [oldest] = await recordsOf('audit.3.jsonl');
    await fs.writeFile(path('audit-head.json'), JSON.stringify({ ...head, first: oldest?.['seq'] }));
    await move('audit.3.jsonl', 'audit.4.jsonl');
    await move('audit.2.jsonl', 'audit.3.jsonl');
    expect(await verify()).toMatchObject({ ok: true, last: head.seq });
    await write(5, { maxBytes: 100_000 });
    // All have moved, and the new file is not there yet.
    await move('audit.1.jsonl', 'audit.2.jsonl');
    await move('audit.jsonl', 'audit.1.jsonl');
    expect(await verify()).toMatchObject({ ok: true, last: head.seq + 5 });
    await write(5, { maxBytes: 100_000 });
    expect(await verify()).toMatchObject({ ok: true, last: head.seq + 10, first: oldest?.['seq'] });
    await write(200, { maxBytes: 100_000 });
    expect(await verify()).toMatchObject({ ok: true });
  });
});

/** A disk whose calls of one kind fail while `code` is set. */
class Disk {
  code: string | undefined;
  /** How much of each write it takes before it fails. */
  takes = 0;
  calls: string[] = [];
  hang: Promise<void> | undefined;
  readonly fs: FileSystem = {
    ...realFileSystem,
    open: async (...args) => {
      const file = await realFileSystem.open(...args);
      return new Proxy(file, {
        get: (target, name) => {
          const member: unknown = Reflect.get(target, name);
          if (typeof member !== 'function') return member;
          return async (...inner: unknown[]) => {
            this.calls.push(String(name));
            if (name === 'write') await this.hang;
            if (this.code !== undefined && (name === 'write' || (name === 'truncate' && this.code === 'EIO'))) {
              if (name === 'write' && this.takes > 0)
                await file.write(Buffer.from(inner[0] as Buffer).subarray(0, this.takes));
              throw Object.assign(new Error(this.code), { code: this.code });
            }
            return Reflect.apply(member, target, inner);
          };
        },
      });
    },
  };
}

describe('a disk that fails', () => {
  for (const [code, takes] of [
    ['ENOSPC', 0],
    ['ENOSPC', 50],
    ['EROFS', 0],
    ['EIO', 50],
  ] as const) {
    it(`does not stop commands (${code}, ${takes} bytes taken): records wait, and none is lost`, async () => {
      const disk = new Disk();
      const { trail, clock, close } = await open({ fs: disk.fs });
      trail.note(command('before'));
      await trail.written();
      disk.code = code;
      disk.takes = takes;
      trail.note(command('during-1'));
      await trail.written();
      expect(trail.status).toMatchObject({ seq: 1, waiting: 1, lost: 0, problem: { code: 'state_unusable' } });
      trail.note(command('during-2'));
      await trail.written();
      disk.code = undefined;
      clock.now += 60_000;
      await trail.tick();
      expect(trail.status.problem).toBeUndefined();
      await close();
      const targets = (await linesOf())
        .map((line) => parseLine(Buffer.from(line)))
        .flatMap((record) => (typeof record === 'string' ? [] : (record['target'] ?? [])));
      expect(targets).toEqual(['before', 'during-1', 'during-2']);
      expect(await verify()).toMatchObject({ ok: true });
    });
  }

  it('has what was lost counted in the first record that it takes again', async () => {
    const disk = new Disk();
    const { trail, clock, close } = await open({ fs: disk.fs, maxBytes: 50_000_000 });
    trail.note(command('before'));
    await trail.written();
    disk.code = 'ENOSPC';
    for (let n = 0; n < 5_010; n += 1) trail.note(command(`n${n}`));
    await trail.written();
    expect(trail.status).toMatchObject({ waiting: 5_000, lost: 10 });
    disk.code = undefined;
    clock.now += 60_000;
    await trail.tick();
    await close();
    const records = await recordsOf();
    expect(records[1]).toMatchObject({ seq: 2, event: 'resumed', lost: 10, why: expect.stringContaining('full') });
    expect(records).toHaveLength(5_002);
    expect(records.filter(({ event }) => event === 'resumed')).toHaveLength(1);
  });

  it('does not hold a command back for longer than half a second when it hangs', async () => {
    const disk = new Disk();
    const { trail, close } = await open({ fs: disk.fs });
    let go = (): void => undefined;
    disk.hang = new Promise((resolve) => {
      go = resolve;
    });
    trail.note(command('slow'));
    const from = performance.now();
    await trail.written();
    expect(performance.now() - from).toBeLessThan(1_500);
    trail.note(command('next'));
    const again = performance.now();
    await trail.written();
    expect(performance.now() - again).toBeLessThan(100);
    go();
    disk.hang = undefined;
    await close();
    expect((await recordsOf()).map(({ target }) => target)).toEqual(['slow', 'next']);
  });

  it('is asked for one write a turn of the event loop, and made durable at most once a second', async () => {
    const disk = new Disk();
    const { trail, clock, close } = await open({ fs: disk.fs });
    for (let n = 0; n < 50; n += 1) trail.note(command(`n${n}`));
    await trail.written();
    expect(disk.calls.filter((call) => call === 'write')).toHaveLength(1);
    const syncs = (): number => disk.calls.filter((call) => call === 'datasync').length;
    await trail.tick();
    expect(syncs()).toBe(0);
    for (let ms = 0; ms < 5_000; ms += 100) {
      clock.now += 100;
      trail.note(command('x'));
      await trail.written();
      await trail.tick();
    }
    expect(syncs()).toBeGreaterThanOrEqual(4);
    expect(syncs()).toBeLessThanOrEqual(6);
    await close();
  });

  it('whose file is moved away or emptied under the gateway gets that on record', async () => {
    for (const harm of [() => fs.rm(path()), () => fs.truncate(path(), 0), () => fs.rename(path(), path('mine'))]) {
      const { trail, clock, close, lines } = await open();
      for (let n = 0; n < 3; n += 1) trail.note(command(`n${n}`));
      await trail.written();
      await harm();
      clock.now += 5_000;
      await trail.tick();
      await trail.written();
      trail.note(command('later'));
      await close();
      expect(lines.join('')).toContain('moved or cut');
      const records = await recordsOf();
      expect(records[0]).toMatchObject({ event: 'repaired', missing: { to: expect.any(Number) } });
      expect(records.at(-1)).toMatchObject({ target: 'later' });
    }
  });
});
