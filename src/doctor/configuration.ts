import { join } from 'node:path';
import { loadConfig, loadHouse } from '../config/load.ts';
import type { HouseConfig } from '../config/schema.ts';
import { dialectLimits } from '../dialect-limits.ts';
import { asPorchlightError } from '../errors.ts';
import { type Finding, fail, ok, warn } from './finding.ts';
import { namesIn, type Places } from './places.ts';

type Env = Readonly<Record<string, string | undefined>>;

export interface ConfigurationLook {
  readonly findings: readonly Finding[];
  /** Absent: it cannot be read, so nothing that hangs on it can be looked at. */
  readonly config?: HouseConfig;
  /** False: there is no file, so everything is a default that nobody chose. */
  readonly chosen: boolean;
  /** False: the files with secrets and certificates were not read, so nothing can be tried with them. */
  readonly complete: boolean;
}

const CHECK = 'configuration';
/** As systemd names the folder of a service's credentials (systemd.exec(5), CREDENTIALS). */
const CREDENTIALS = 'credentials/porchlight.service';

/** Reads the configuration as the daemon would; where that is not possible, as far as it goes. */
export async function lookAtConfiguration(
  path: string | undefined,
  env: Env,
  { run }: Pick<Places, 'run'>,
): Promise<ConfigurationLook> {
  const options = { env: await withCredentials(env, run), ...(path !== undefined && { path }) };
  try {
    const { config, path: read, warnings } = await loadConfig(options);
    const findings = [...warnings, ...dialectLimits(config)].map((line) => warn(CHECK, line));
    return { findings: [ok(CHECK, `${read} is valid`), ...findings], config, chosen: true, complete: true };
  } catch (thrown) {
    return partly(asPorchlightError(thrown).message, asPorchlightError(thrown).hint, options);
  }
}

async function partly(
  message: string,
  hint: string,
  options: { readonly env: Env; readonly path?: string },
): Promise<ConfigurationLook> {
  const lines = message.split('\n');
  try {
    const { config, path } = await loadHouse(options);
    if (path === undefined)
      return { findings: [fail(CHECK, 'config_invalid', message, hint)], config, chosen: false, complete: false };
    // Every line is about a file with a secret that only the service may read.
    const secret = lines.every((line) => /may not be read by this user$/.test(line));
    const findings = secret
      ? [warn(CHECK, `${path} is valid, but this user may not read the secrets that it names.`, 'Run this with sudo.')]
      : lines.map((line) => fail(CHECK, 'config_invalid', line, ''));
    return { findings, config, chosen: true, complete: false };
  } catch {
    // What is wrong with it was said by the error before.
    return {
      findings: lines.map((line, at) => fail(CHECK, 'config_invalid', line, at === 0 ? hint : '')),
      chosen: false,
      complete: false,
    };
  }
}

/** systemd hands secrets to the service in a folder that root may read while the service runs. */
async function withCredentials(env: Env, run: string): Promise<Env> {
  const folder = join(run, CREDENTIALS);
  if (env['CREDENTIALS_DIRECTORY'] !== undefined || ((await namesIn(folder)) ?? []).length === 0) return env;
  return { ...env, CREDENTIALS_DIRECTORY: folder };
}
