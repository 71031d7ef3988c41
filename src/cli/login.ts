import type { Command } from 'commander';
import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import type { Io } from '../io.ts';
import { renderCode } from '../prompt/terminal.ts';
import { sleep } from '../task-group.ts';
import { askDaemon } from '../web/client.ts';
import { configOption, socketsOf } from './sockets.ts';

const Code = z.object({
  user_code: z.string(),
  verification_uri: z.string(),
  verification_uri_complete: z.string().optional(),
  expires_at: z.number(),
  interval: z.number().optional(),
});
const Failure = z.object({ message: z.string(), hint: z.string().optional() });
const Progress = z.object({
  authorization: z.object({
    state: z.string(),
    subject: z.string().optional(),
    code_expires_at: z.string().optional(),
    reason: z.string().optional(),
    problem: Failure.optional(),
  }),
});

const POLL_MS = 1000;

export function registerLogin(root: Command, io: Io): void {
  configOption(
    root
      .command('login')
      .description('Ask the running gateway for a new code, show it here, and wait until a person has approved it.'),
  ).action(async (options: { config?: string }) => {
    const sockets = await socketsOf(io, options.config);
    const answer = await askDaemon(sockets, 'POST', '/api/authorization/code', { signal: io.signal });
    const code = Code.safeParse(answer.body);
    if (!code.success) throw refusal(answer.body, 'The gateway could not get a code.');
    const shown = {
      user_code: code.data.user_code,
      verification_uri: code.data.verification_uri,
      ...(code.data.verification_uri_complete !== undefined && {
        verification_uri_complete: code.data.verification_uri_complete,
      }),
      expires_at: code.data.expires_at,
    };
    io.stdout(renderCode(shown, { qr: io.isTerminal, colours: io.colours }));
    io.stdout(await waitForApproval(sockets, io));
  });
}

export function registerLogout(root: Command, io: Io): void {
  configOption(
    root.command('logout').description('Revoke the approval at the authorization server, then forget it here.'),
  ).action(async (options: { config?: string }) => {
    const sockets = await socketsOf(io, options.config);
    const answer = await askDaemon(sockets, 'POST', '/api/authorization/revoke', { signal: io.signal });
    const done = z.object({ revokedAtServer: z.boolean(), message: z.string().optional() }).safeParse(answer.body);
    if (!done.success) throw refusal(answer.body, 'The approval could not be revoked.');
    io.stdout(
      done.data.revokedAtServer
        ? 'The approval is revoked and forgotten. Remote commands are refused from now on.\n'
        : `The approval is forgotten here, but the server was not told${done.data.message ? ` (${done.data.message})` : ''}.\nRemove this gateway in your account at the authorization server as well.\n`,
    );
  });
}

/** Asks the daemon how far it is until the code was approved, refused or ran out; says it in a sentence. */
async function waitForApproval(sockets: readonly string[], io: Io): Promise<string> {
  for (;;) {
    await sleep(POLL_MS, io.signal);
    if (io.signal.aborted)
      throw new PorchlightError('stopping', 'Interrupted; the code stays valid until it expires.', { hint: '' });
    const { body } = await askDaemon(sockets, 'GET', '/api/status', { signal: io.signal });
    const now = Progress.safeParse(body);
    if (!now.success)
      throw new PorchlightError('daemon_unreachable', 'The gateway that answers is of another version.');
    const { authorization } = now.data;
    // A code is on its way for as long as its expiry is shown, whatever grant there was before.
    if (authorization.code_expires_at !== undefined) continue;
    if (authorization.state === 'authorized' && authorization.problem === undefined) {
      return `Approved by ${authorization.subject ?? 'the owner'}. The gateway is ready.\n`;
    }
    const { message, hint } = authorization.problem ?? { message: 'The code was not approved.' };
    throw new PorchlightError('approval_denied', message, hint === undefined ? {} : { hint });
  }
}

function refusal(body: unknown, otherwise: string): PorchlightError {
  const told = Failure.safeParse(body);
  return told.success
    ? new PorchlightError(
        'server_refused',
        told.data.message,
        told.data.hint === undefined ? {} : { hint: told.data.hint },
      )
    : new PorchlightError('daemon_unreachable', otherwise);
}
