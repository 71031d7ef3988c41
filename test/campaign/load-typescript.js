// Compiles a module of this folder with all that it imports of ours, and loads it.
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';

export async function load(script) {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  // Within the checkout: what it imports is found from where it stands.
  const folder = mkdtempSync(join(root, 'node_modules', '.porchlight-campaign-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const bundle = await rolldown({
    input: fileURLToPath(script),
    platform: 'node',
    external: [/^node:/, /^@stoprocent\//, 'rolldown', 'fast-check', 'mqtt', 'zod', 'aedes', 'oidc-provider'],
    // Each module keeps its own place, not the compiled file's.
    plugins: [
      {
        name: 'places',
        transform: (code, id) => code.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(id).href)),
      },
    ],
    logLevel: 'silent',
  });
  await bundle.write({ dir: folder, format: 'esm', entryFileNames: 'module.js' });
  await bundle.close();
  return await import(pathToFileURL(join(folder, 'module.js')).href);
}
