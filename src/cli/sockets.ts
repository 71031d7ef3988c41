import { join } from 'node:path';
import type { Command } from 'commander';
import { defaultStateDirectory, loadConfig } from '../config/load.ts';
import type { Io } from '../io.ts';

/** Where systemd puts the runtime directory of the shipped unit. */
const SYSTEM_RUNTIME = '/run/porchlight';
const NAME = 'porchlight.sock';

/** Where the daemon listens, and the socket's mode: group members may use it under systemd, else only this user. */
export function daemonSocket(
  env: Readonly<Record<string, string | undefined>>,
  stateDirectory: string,
): { readonly path: string; readonly mode: number } {
  const runtime = env['RUNTIME_DIRECTORY']?.split(':')[0];
  return runtime ? { path: join(runtime, NAME), mode: 0o660 } : { path: join(stateDirectory, NAME), mode: 0o600 };
}

/** Where a verb looks for a running daemon, in this order. */
export function socketCandidates(
  env: Readonly<Record<string, string | undefined>>,
  stateDirectories: readonly string[],
): readonly string[] {
  const folders = [env['RUNTIME_DIRECTORY']?.split(':')[0], ...stateDirectories, SYSTEM_RUNTIME];
  return [
    ...new Set(folders.filter((folder): folder is string => Boolean(folder)).map((folder) => join(folder, NAME))),
  ];
}

/** The option of every verb that needs the configuration or the daemon. */
export function configOption(verb: Command): Command {
  return verb.option(
    '--config <file>',
    'the configuration (default: $PORCHLIGHT_CONFIG, /etc/porchlight/porchlight.yaml, config/porchlight.yaml)',
  );
}

/**
 * The sockets at which the daemon may be. A configuration that cannot be read here is no reason to fail: the usual places
 * are tried. Files with secrets are not opened, since only the service may read them.
 */
export async function socketsOf(io: Io, config: string | undefined): Promise<readonly string[]> {
  const usual = defaultStateDirectory(io.env);
  try {
    const loaded = await loadConfig({ env: io.env, only: 'house', ...(config !== undefined && { path: config }) });
    return socketCandidates(io.env, [loaded.config.gateway.state_directory, usual]);
  } catch (thrown) {
    if (config !== undefined) throw thrown;
    return socketCandidates(io.env, [usual]);
  }
}
