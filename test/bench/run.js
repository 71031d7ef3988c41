// `npm run bench -- NAME`. Benchmarks run the daemon beside a baseline in one run and print ratios. Campaigns are tests of which
// the suite runs a share: here they run whole, and fail as tests do.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const benches = {
  authorization: () => import('./authorization.js'),
  latency: () => import('./latency.js'),
  malformed: () => import('../campaign/malformed.js'),
  flood: () => import('../campaign/flood.js'),
  'kill-points': () => import('../campaign/kill-points.js'),
};
const campaigns = ['slider', 'scene', 'mute', 'kills', 'soak'];

async function whole(name) {
  const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');
  const child = spawn(process.execPath, [vitest, 'run', `test/load/${name}.test.ts`], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    env: { ...process.env, PORCHLIGHT_CAMPAIGN: 'whole' },
    stdio: 'inherit',
  });
  const [code] = await once(child, 'exit');
  process.exitCode = code ?? 1;
}

const [name = '', ...args] = process.argv.slice(2);
if (name in benches) {
  const { bench } = await benches[name]();
  await bench(args);
} else if (campaigns.includes(name)) {
  await whole(name);
} else {
  process.stderr.write(`Which one? ${[...Object.keys(benches), ...campaigns].join(', ')}: npm run bench -- latency\n`);
  process.exitCode = 64;
}
