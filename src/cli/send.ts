import { type Command, Option } from 'commander';
import * as z from 'zod';
import { systemClock } from '../clock.ts';
import { loadConfig } from '../config/load.ts';
import { PorchlightError } from '../errors.ts';
import type { Io, Program } from '../io.ts';
import type { Outcome } from '../lights/outcome.ts';
import { createLog, forPeople } from '../log.ts';
import { askDaemon } from '../web/client.ts';
import { dryRun } from './offline.ts';
import { configOption, socketsOf } from './sockets.ts';

interface SendOptions {
  readonly config?: string;
  readonly json?: true;
  readonly direct?: true;
  readonly dryRun?: true;
  readonly scene?: true;
  readonly family?: string;
  readonly name?: string;
  readonly manufacturerData?: string;
  readonly known?: string;
}

export function registerSend(root: Command, io: Io, program: Program): void {
  configOption(
    root
      .command('send')
      .description('Send one command to a lamp or group through the running gateway, and print its outcome.')
      .argument('[target]', 'the id of a lamp or group (not with --dry-run)')
      .argument('[change]', 'a LightChange as JSON: \'{"state":"ON","brightness":128}\'')
      .option('--json', 'print the Outcome as JSON')
      .option('--scene', 'TARGET is a scene; no change is given')
      .option('--direct', 'drive the Bluetooth adapter from here, without a running gateway')
      .option('--dry-run', 'print the frames for a lamp of --family, and send nothing')
      .addOption(new Option('--family <id>', 'with --dry-run: the lamp protocol, such as triones'))
      .addOption(new Option('--name <name>', 'with --dry-run: the name that the lamp advertises'))
      .addOption(new Option('--manufacturer-data <hex>', 'with --dry-run: company id first'))
      .addOption(new Option('--known <json>', 'with --dry-run: the LightState before the change')),
  )
    .addHelpText(
      'after',
      `
Examples:
  porchlight send porch '{"state":"ON","brightness":128}'
  porchlight send evening '{"state":"OFF"}'
  porchlight send --dry-run --family triones '{"color":{"r":90,"g":0,"b":157}}'

A dry run prints one frame a line: <characteristic> <hex> <request|command>.`,
    )
    .action(async (target: string | undefined, change: string | undefined, options: SendOptions) => {
      if (options.dryRun) return sendDry(io, target, change, options);
      const wanted = changeOf(target, change, options);
      const outcome = options.direct
        ? await direct(io, program, wanted, options)
        : await sendThroughDaemon(await socketsOf(io, options.config), wanted, io.signal);
      io.stdout(options.json ? `${JSON.stringify(outcome)}\n` : renderOutcome(outcome));
      refuseBad(outcome);
    });
}

/** Throws what became of a command that was not carried out, so that the exit status tells it. */
export function refuseBad({ outcome, code, message, hint }: Outcome): void {
  if (outcome === 'denied' || outcome === 'failed' || outcome === 'expired') {
    throw new PorchlightError(code ?? 'timed_out', message, { hint: hint ?? '' });
  }
}

/** A command as it was typed; `change` is JSON. */
interface Wanted {
  readonly kind: 'lights' | 'scene';
  readonly target: string;
  readonly change: string;
}

function changeOf(target: string | undefined, change: string | undefined, options: SendOptions): Wanted {
  if (
    options.family !== undefined ||
    options.known !== undefined ||
    options.name !== undefined ||
    options.manufacturerData !== undefined
  ) {
    throw new PorchlightError('wrong_use', '--family, --name, --manufacturer-data and --known belong to --dry-run.');
  }
  if (target === undefined) throw new PorchlightError('wrong_use', 'Which lamp? Give TARGET and CHANGE_JSON.');
  if (options.scene) {
    if (change !== undefined) throw new PorchlightError('wrong_use', 'A scene takes no change.');
    return { kind: 'scene', target, change: '{}' };
  }
  if (change === undefined)
    throw new PorchlightError('wrong_use', 'What is to change? Give CHANGE_JSON after the target.');
  try {
    JSON.parse(change);
  } catch (cause) {
    throw new PorchlightError('wrong_use', `CHANGE_JSON is not JSON: ${change.slice(0, 60)}`, { cause });
  }
  return { kind: 'lights', target, change };
}

function sendDry(io: Io, target: string | undefined, change: string | undefined, options: SendOptions): void {
  if (options.family === undefined) throw new PorchlightError('wrong_use', '--dry-run needs --family.');
  if (options.direct) throw new PorchlightError('wrong_use', '--dry-run sends nothing, so it cannot be --direct.');
  // `send --dry-run TARGET CHANGE` is accepted too: whoever tries a command first must not have to rewrite it.
  const json = change ?? target;
  if (json === undefined) throw new PorchlightError('wrong_use', '--dry-run needs CHANGE_JSON.');
  const lines = dryRun({
    family: options.family,
    change: json,
    ...(options.name !== undefined && { name: options.name }),
    ...(options.manufacturerData !== undefined && { manufacturerData: options.manufacturerData }),
    ...(options.known !== undefined && { known: options.known }),
  });
  io.stdout(`${lines.join('\n')}\n`);
}

const member = z.object({
  target: z.string(),
  outcome: z.enum(['confirmed', 'assumed', 'superseded', 'expired', 'denied', 'failed']),
  code: z.string().optional(),
  message: z.string().optional(),
  hint: z.string().optional(),
  took_ms: z.number().optional(),
});
const OutcomeAnswer = member.extend({ members: z.array(member).optional() });

/** One command through the running daemon. Rejects with `daemon_unreachable`, or `stopping` when `signal` aborts. */
export async function sendThroughDaemon(
  sockets: readonly string[],
  { kind, target, change }: Wanted,
  signal: AbortSignal,
): Promise<Outcome> {
  const path = `/api/${kind === 'scene' ? 'scenes' : 'lights'}/${encodeURIComponent(target)}/set`;
  const { body } = await askDaemon(sockets, 'POST', path, { body: change, signal });
  if (!OutcomeAnswer.safeParse(body).success) {
    throw new PorchlightError('daemon_unreachable', 'The gateway that answers is of another version.');
  }
  return body as Outcome;
}

async function direct(
  io: Io,
  program: Program,
  { kind, target, change }: Wanted,
  options: SendOptions,
): Promise<Outcome> {
  const { config } = await loadConfig({
    env: io.env,
    only: 'house',
    ...(options.config !== undefined && { path: options.config }),
  });
  const log = createLog('warn', io.logsToTerminal ? forPeople(io.stderr) : { write: io.stderr });
  const { sendDirectly } = await import('../direct.ts');
  return sendDirectly(
    { config, entries: program.entries, clock: systemClock, log, uid: io.uid },
    { kind, target, change: JSON.parse(change) },
    io.signal,
  );
}

function renderOutcome(outcome: Outcome): string {
  const line = (each: Outcome, indent: string): string =>
    `${indent}${each.target}: ${each.outcome}${each.took_ms === undefined ? '' : ` (${each.took_ms} ms)`}\n`;
  return line(outcome, '') + (outcome.members ?? []).map((each) => line(each, '  ')).join('');
}
