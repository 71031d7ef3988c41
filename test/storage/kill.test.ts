import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { StateDirectory } from '../../src/storage/state-directory.ts';
import { DIST, distPath } from '../support/dist.ts';
import { keptLog } from '../support/log.ts';

const KILLS = 12;
/** Saves without pause, and says each number only once it is saved. */
const WRITER = `
  import { StateDirectory } from ${JSON.stringify(new URL('storage/state-directory.js', DIST).href)};
  const log = { info() {}, warn() {}, debug() {} };
  const directory = await StateDirectory.open(process.argv[1], { log, uid: process.getuid() });
  const file = directory.file('grant.json');
  const before = await file.load();
  for (let n = (before?.n ?? 0) + 1; ; n++) {
    await file.save({ n, body: String(n).repeat(3000) });
    process.stdout.write(n + '\\n');
  }
`;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'porchlight-kill-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a gateway killed while it saves', () => {
  it.skipIf(!existsSync(distPath('storage/state-directory.js')))(
    `leaves a whole file that is not older than what it said was saved, ${KILLS} times (needs "npm run build")`,
    async () => {
      let highest = 0;
      let takenOver = 0;
      for (let kill = 0; kill < KILLS; kill++) {
        const writer = spawn(process.execPath, ['--input-type=module', '-e', WRITER, folder], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        let said = '';
        writer.stdout.on('data', (chunk: Buffer) => {
          said += chunk.toString();
        });
        await once(writer.stdout, 'data');
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 12));
        writer.kill('SIGKILL');
        await once(writer, 'close');
        const acknowledged = Number(said.split('\n').at(-2));

        const { log, lines } = keptLog();
        const directory = await StateDirectory.open(folder, { log, uid: process.getuid?.() ?? 0 });
        const value = await directory.file('grant.json').load();
        await directory.close();
        expect(lines.filter((line) => line.includes('damaged'))).toEqual([]);
        takenOver += Number(lines.some((line) => line.includes('taken over')));
        const { n, body } = value as { n: number; body: string };
        expect(body).toBe(String(n).repeat(3000));
        expect(n).toBeGreaterThanOrEqual(acknowledged);
        expect(acknowledged).toBeGreaterThan(highest - 1);
        highest = n;
        expect(await readdir(folder)).toEqual(['grant.json']);
      }
      expect(takenOver).toBe(KILLS);
    },
  );
});
