// Runs kill-points.ts: Node 20 does not run TypeScript.
import { fileURLToPath } from 'node:url';
import { load } from './load-typescript.js';

export async function bench(args) {
  const campaign = await load(new URL('kill-points.ts', import.meta.url));
  await campaign.bench(args);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bench(process.argv.slice(2));
