import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Places } from '../../src/doctor/places.ts';

/** A machine made of files: `sys/class/bluetooth/hci0/` is a folder, everything else a file with this text. */
export async function fakeMachine(
  tree: Readonly<Record<string, string>>,
  ask: Places['ask'] = () => Promise.resolve(undefined),
): Promise<Places & { readonly root: string; readonly remove: () => Promise<void> }> {
  const root = await mkdtemp(join(tmpdir(), 'porchlight-machine-'));
  for (const [path, text] of Object.entries({ 'sys/': '', 'proc/': '', 'run/': '', ...tree })) {
    await mkdir(join(root, path.endsWith('/') ? path : dirname(path)), { recursive: true });
    if (!path.endsWith('/')) await writeFile(join(root, path), text);
  }
  const at = (folder: string): string => join(root, folder);
  return {
    root,
    sys: at('sys'),
    proc: at('proc'),
    run: at('run'),
    serviceState: at('var/lib/porchlight'),
    units: [at('etc/systemd/system')],
    ask,
    remove: () => rm(root, { recursive: true, force: true }),
  };
}
