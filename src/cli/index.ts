import { Command, CommanderError } from 'commander';
import { asPorchlightError } from '../errors.ts';
import type { Io, Program } from '../io.ts';
import { registerAudit } from './audit.ts';
import { registerCheck } from './check.ts';
import { registerConfig } from './config.ts';
import { registerDemo } from './demo.ts';
import { registerForget } from './forget.ts';
import { registerIdentify } from './identify.ts';
import { registerLights } from './lights.ts';
import { registerLogLevel } from './log-level.ts';
import { registerLogin, registerLogout } from './login.ts';
import { registerOffline } from './offline.ts';
import { registerRun } from './run.ts';
import { registerScan } from './scan.ts';
import { registerSend } from './send.ts';
import { registerStatus } from './status.ts';

/** Runs one command line and resolves with its exit status; nothing is thrown. */
export async function runCommandLine(argv: readonly string[], io: Io, program: Program): Promise<number> {
  try {
    await commandLine(io, program).parseAsync([...argv], { from: 'user' });
    return 0;
  } catch (thrown) {
    // commander has already printed what was wrong with the command line, or the help that was asked for.
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : 64;
    const error = asPorchlightError(thrown);
    io.stderr(`${error.message}\n`);
    if (error.hint !== '') io.stderr(`${error.hint}\n`);
    if (error.code === 'internal') io.stderr(`${thrown instanceof Error ? thrown.stack : String(thrown)}\n`);
    return error.exitStatus;
  }
}

function commandLine(io: Io, program: Program): Command {
  const root = new Command('porchlight')
    .description('Bridges authorized MQTT commands to Bluetooth lamps. Its owner approves it once, by scanning a code.')
    .version(program.version, '--version', 'print the version')
    .helpOption('-h, --help', 'explain this verb')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: io.stdout,
      writeErr: io.stderr,
      getOutHasColors: () => io.colours,
      outputError: (text, write) => write(`${text.replace(/^error: /, '')}See "porchlight --help".\n`),
    })
    .showSuggestionAfterError(true)
    .addHelpText(
      'after',
      `
First steps:
  porchlight demo --approve --once     see all of it work, with virtual lamps
  porchlight config check              is the configuration right?
  porchlight run                       the daemon; shows a code to approve when it has none
  porchlight status                    is everything well, and if not, what to do

Exit status: 0 done, 1 failed, 64 wrong use, 69 something needed is unavailable,
77 not authorized, 78 configuration wrong.`,
    );
  registerRun(root, io, program);
  registerDemo(root, io, program);
  registerLogin(root, io);
  registerLogout(root, io);
  registerStatus(root, io);
  registerLights(root, io);
  registerScan(root, io, program);
  registerIdentify(root, io, program);
  registerSend(root, io, program);
  registerForget(root, io);
  registerCheck(root, io, program);
  registerAudit(root, io);
  registerLogLevel(root, io);
  registerOffline(root, io);
  registerConfig(root, io);
  return inherit(root);
}

/** Subcommands made with `command()` inherit these settings; those of a group's verbs are set here, whoever made them. */
function inherit(command: Command): Command {
  for (const child of command.commands) {
    child.copyInheritedSettings(command).helpOption('-h, --help', 'explain this verb');
    inherit(child);
  }
  return command;
}
