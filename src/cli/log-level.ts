import { Argument, type Command } from 'commander';
import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import type { Io } from '../io.ts';
import { LOG_LEVELS } from '../log.ts';
import { askDaemon } from '../web/client.ts';
import { configOption, socketsOf } from './sockets.ts';

const Level = z.object({ level: z.string(), before: z.string().optional() });

export function registerLogLevel(root: Command, io: Io): void {
  configOption(
    root
      .command('log-level')
      .description(
        'Show how much the running gateway logs, or change it at once, without reading the configuration again.',
      )
      .addArgument(new Argument('[level]', 'until the next SIGHUP or start').choices(LOG_LEVELS)),
  )
    .addHelpText(
      'after',
      `
For good: log.level in the configuration, then SIGHUP ("systemctl reload porchlight"). Secrets are in no level's log.`,
    )
    .action(async (level: string | undefined, { config }: { config?: string }) => {
      const sockets = await socketsOf(io, config);
      const { body } =
        level === undefined
          ? await askDaemon(sockets, 'GET', '/api/log', { signal: io.signal })
          : await askDaemon(sockets, 'POST', '/api/log', { signal: io.signal, body: JSON.stringify({ level }) });
      const { data } = Level.safeParse(body);
      if (data === undefined)
        throw new PorchlightError('daemon_unreachable', 'The gateway that answers is of another version.');
      io.stdout(data.before === undefined ? `${data.level}\n` : `${data.level} (before: ${data.before})\n`);
    });
}
