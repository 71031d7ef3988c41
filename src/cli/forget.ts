import type { Command } from 'commander';
import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import type { Io } from '../io.ts';
import { askDaemon } from '../web/client.ts';
import { configOption, socketsOf } from './sockets.ts';

const Forgotten = z.object({ target: z.string(), forgotten: z.boolean() });
const Refusal = z.object({
  code: z.enum(['unknown_target', 'state_unusable', 'stopping']),
  message: z.string(),
  hint: z.string(),
});

export function registerForget(root: Command, io: Io): void {
  configOption(
    root
      .command('forget')
      .description('Forget who a lamp is, after it was replaced or updated: its next connection learns it anew.')
      .argument('<light>', 'the id of a lamp')
      .option('--json', 'one JSON document for programs'),
  ).action(async (light: string, options: { json?: true; config?: string }) => {
    const sockets = await socketsOf(io, options.config);
    const path = `/api/lights/${encodeURIComponent(light)}/forget`;
    const { body } = await askDaemon(sockets, 'POST', path, { signal: io.signal });
    const answer = Forgotten.safeParse(body);
    if (!answer.success) throw refusal(body);
    if (options.json) return io.stdout(`${JSON.stringify(answer.data)}\n`);
    io.stdout(
      answer.data.forgotten
        ? `${answer.data.target}: forgotten. Its next connection decides who it is.\n`
        : `${answer.data.target}: nothing was known of it yet.\n`,
    );
  });
}

function refusal(body: unknown): PorchlightError {
  const { data } = Refusal.safeParse(body);
  return data === undefined
    ? new PorchlightError('daemon_unreachable', 'The gateway that answers is of another version.')
    : new PorchlightError(data.code, data.message, { hint: data.hint });
}
