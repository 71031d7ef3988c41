import type { Command } from 'commander';
import { jsonSchema } from '../config/json-schema.ts';
import { loadConfig } from '../config/load.ts';
import { dialectLimits } from '../dialect-limits.ts';
import type { Io } from '../io.ts';

/** `porchlight config check [FILE]` and `porchlight config schema`. */
export function registerConfig(program: Command, io: Io): void {
  const config = program.command('config').description('Check the configuration, or print what it may hold.');
  config
    .command('check')
    .description(
      'Check the configuration and the files it names. Each problem is one line: FILE:LINE:COLUMN: key: what is wrong.',
    )
    .argument('[file]', 'default: $PORCHLIGHT_CONFIG, /etc/porchlight/porchlight.yaml, config/porchlight.yaml')
    .action(async (file: string | undefined) => {
      const { path, config, warnings } = await loadConfig({ env: io.env, ...(file !== undefined && { path: file }) });
      for (const warning of [...warnings, ...dialectLimits(config)]) io.stderr(`warning: ${warning}\n`);
      io.stdout(`${path}: ok\n`);
    });
  config
    .command('schema')
    .description('Print the JSON Schema of the configuration, for editors that check as you type.')
    .action(() => io.stdout(`${JSON.stringify(jsonSchema(), null, 2)}\n`));
}
