import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Pins } from '../../src/bluetooth/pins.ts';
import { PorchlightError } from '../../src/errors.ts';
import { StateDirectory, type StateFile } from '../../src/storage/state-directory.ts';
import { keptLog } from '../support/log.ts';

const A = 'be:ff:20:00:11:22';
const B = 'be:ff:20:00:11:33';
const FOUND = { family: 'triones', model: 'Triones', fingerprint: 'ab'.repeat(16) };
const clock = { wall: () => Date.parse('2026-11-24T12:00:00Z') };

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

/** Opens the state directory, takes up its pins, and lets go of it at the end of `use`. */
async function withPins<T>(folder: string, use: (pins: Pins, lines: string[]) => Promise<T>): Promise<T> {
  const { log, lines } = keptLog();
  const state = await StateDirectory.open(folder, { log, uid: process.getuid?.() ?? 0 });
  try {
    const pins = new Pins({ file: state.file('lamps.json'), clock, log });
    await pins.load();
    return await use(pins, lines);
  } finally {
    await state.close();
  }
}

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'porchlight-pins-'));
  folders.push(folder);
  return folder;
}

/** A file whose saves are counted, and fail while `full`. */
class CountedFile implements StateFile {
  saved: unknown[] = [];
  full = false;
  async load(): Promise<unknown> {
    return this.saved.at(-1);
  }
  async save(value: unknown): Promise<void> {
    const copy: unknown = JSON.parse(JSON.stringify(value));
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (this.full) throw new PorchlightError('state_unusable', 'the disk is full');
    this.saved.push(copy);
  }
  async clear(): Promise<void> {
    this.saved = [];
  }
}

describe('who the lamps are', () => {
  it('is there again after a restart, with when it was pinned', async () => {
    const folder = await newFolder();
    await withPins(folder, async (pins) => {
      pins.set(A, FOUND);
      await pins.settle();
    });
    await withPins(folder, async (pins) => {
      expect(pins.get(A)).toEqual({ ...FOUND, at: '2026-11-24T12:00:00.000Z' });
      expect(pins.get(B)).toBeUndefined();
    });
  });

  it('is forgotten for good: after a restart nothing is known of it', async () => {
    const folder = await newFolder();
    await withPins(folder, async (pins) => {
      pins.set(A, FOUND);
      pins.set(B, FOUND);
      expect(await pins.forget(A)).toBe(true);
      expect(await pins.forget(A)).toBe(false);
    });
    await withPins(folder, async (pins) => {
      expect([pins.get(A), pins.get(B)?.family]).toEqual([undefined, 'triones']);
    });
  });

  it('goes with an address that is no longer configured', async () => {
    const folder = await newFolder();
    await withPins(folder, async (pins) => {
      pins.set(A, FOUND);
      pins.set(B, FOUND);
      pins.keepOnly(new Set([B]));
      await pins.settle();
    });
    await withPins(folder, async (pins) => {
      expect([pins.get(A), pins.get(B)?.family]).toEqual([undefined, 'triones']);
    });
  });

  it.each([
    ['torn in the middle', '{"version":1,"lamps":{"be:ff:20:00:11:22":{"family":"tri'],
    ['empty', ''],
    ['not UTF-8', Buffer.from([0xff, 0xfe, 0x00])],
    ['of another shape', '[1,2,3]'],
    ['null', 'null'],
    ['of a later version', '{"version":2,"lamps":{}}'],
    ['with lamps that are no record', '{"version":1,"lamps":"all of them"}'],
    ['deep', `${'['.repeat(50_000)}${']'.repeat(50_000)}`],
    ['larger than any state', Buffer.alloc(2_000_000, 0x20)],
  ])('a file that is %s is said in the log, and the lamps are pinned anew', async (_, content) => {
    const folder = await newFolder();
    await writeFile(join(folder, 'lamps.json'), content, { mode: 0o600 });
    await withPins(folder, async (pins, lines) => {
      expect(pins.get(A)).toBeUndefined();
      expect(lines.filter((line) => line.includes('"warn"')).join()).toMatch(/damaged/);
      pins.set(A, FOUND);
      await pins.settle();
    });
    await withPins(folder, async (pins, lines) => {
      expect(pins.get(A)).toMatchObject(FOUND);
      expect(lines.filter((line) => line.includes('"warn"'))).toEqual([]);
    });
  });

  it('of a damaged file, what makes sense is kept, and nothing else is believed', async () => {
    const folder = await newFolder();
    const good = { ...FOUND, at: '2026-01-01T00:00:00.000Z' };
    const lamps = {
      [A]: good,
      'BE:FF:20:00:11:33': good,
      'be:ff:20:00:11:44': { ...good, fingerprint: 'zz' },
      'be:ff:20:00:11:55': { ...good, family: 'x'.repeat(65) },
      'be:ff:20:00:11:66': { ...good, model: 7 },
      'be:ff:20:00:11:77': null,
      '../../etc/passwd': good,
    };
    // As text: an object literal would set the prototype instead.
    const text = JSON.stringify({ version: 1, lamps }).replace(
      '"lamps":{',
      `"lamps":{"__proto__":${JSON.stringify(good)},`,
    );
    await writeFile(join(folder, 'lamps.json'), text, { mode: 0o600 });
    await withPins(folder, async (pins, lines) => {
      expect(pins.get(A)).toEqual(good);
      for (const address of Object.keys(lamps).slice(1)) expect(pins.get(address), address).toBeUndefined();
      expect(pins.get('__proto__')).toBeUndefined();
      expect(lines.some((line) => line.includes('damaged') && line.includes('"kept":1'))).toBe(true);
    });
  });

  it('a folder, a pipe or a link in place of the file does not keep anybody from starting', async () => {
    const folder = await newFolder();
    await mkdir(join(folder, 'lamps.json'));
    await withPins(folder, async (pins, lines) => {
      expect(lines.some((line) => line.includes('"warn"') && line.includes('cannot be read'))).toBe(true);
      pins.set(A, FOUND);
      pins.set(B, FOUND);
      await pins.settle();
      expect(pins.get(A)).toMatchObject(FOUND);
      expect(lines.filter((line) => line.includes('could not be stored'))).toHaveLength(1);
      await expect(pins.forget(A)).rejects.toMatchObject({ code: 'state_unusable' });
      expect(pins.get(A)).toBeUndefined();
    });
    expect(await readdir(folder)).toEqual(['lamps.json']);
  });

  it('is stored in a few writes, however many lamps are met at once', async () => {
    const file = new CountedFile();
    const { log } = keptLog();
    const pins = new Pins({ file, clock, log });
    for (let n = 0; n < 1000; n += 1) {
      pins.set(
        `be:ff:20:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`,
        FOUND,
      );
    }
    await pins.settle();
    expect(file.saved.length).toBeLessThanOrEqual(2);
    expect(Object.keys((file.saved.at(-1) as { lamps: object }).lamps)).toHaveLength(1000);
    // A state file holds a megabyte.
    expect(JSON.stringify(file.saved.at(-1)).length).toBeLessThan(250_000);
  });

  it('is not written again by connections that find what they found before', async () => {
    const file = new CountedFile();
    const pins = new Pins({ file, clock, log: keptLog().log });
    for (let n = 0; n < 5; n += 1) {
      pins.set(A, FOUND);
      await pins.settle();
    }
    expect(file.saved).toHaveLength(1);
  });

  it('is stored later where the disk was full, and said once', async () => {
    const file = new CountedFile();
    const { log, lines } = keptLog();
    const pins = new Pins({ file, clock, log });
    file.full = true;
    for (let n = 0; n < 3; n += 1) {
      pins.set(A, FOUND);
      await pins.settle();
    }
    expect(lines.filter((line) => line.includes('"warn"'))).toHaveLength(1);
    file.full = false;
    await pins.settle();
    expect(file.saved).toHaveLength(1);
  });

  it('is bounded', async () => {
    const pins = new Pins({ clock, log: keptLog().log });
    const address = (n: number): string =>
      `be:ff:20:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`;
    for (let n = 0; n < 5000; n += 1) pins.set(address(n), FOUND);
    expect(pins.get(address(4095))).toBeDefined();
    expect(pins.get(address(4096))).toBeUndefined();
  });

  it('is stored in plain words, for its user alone', async () => {
    const folder = await newFolder();
    await withPins(folder, async (pins) => {
      pins.set(A, FOUND);
      await pins.settle();
    });
    expect((await stat(join(folder, 'lamps.json'))).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await readFile(join(folder, 'lamps.json'), 'utf8'))).toEqual({
      version: 1,
      lamps: { [A]: { ...FOUND, at: '2026-11-24T12:00:00.000Z' } },
    });
  });
});
