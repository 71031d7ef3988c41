import type { Command } from 'commander';
import { systemClock } from '../clock.ts';
import { defaultStateDirectory } from '../config/load.ts';
import type { Finding } from '../doctor/finding.ts';
import { ERRORS, PorchlightError } from '../errors.ts';
import type { Io, Program } from '../io.ts';
import { printable } from '../log.ts';
import { LiveLines } from '../prompt/live.ts';
import { paint } from '../prompt/table.ts';
import { wrapped } from '../prompt/width.ts';
import { askDaemon } from '../web/client.ts';
import { configOption, socketCandidates } from './sockets.ts';

/** A daemon that does not say how it is within this time hangs. */
const ASK_MS = 4000;
const WIDEST = 110;

export function registerCheck(root: Command, io: Io, program: Program): void {
  configOption(
    root
      .command('check')
      .description('Look for what is wrong, from the configuration to the lamps, and say what to do about it.')
      .option('--json', 'one JSON document for programs'),
  )
    .addHelpText(
      'after',
      `
Each line is ok, warn or fail, with the cure below it. Nothing is changed, no lamp is commanded and no secret is
shown. It works with and without a running gateway; with sudo it can look at more.

Exit status: 0 nothing fails (it may warn), 78 the configuration does, 77 the approval or the clock, 69 something else.`,
    )
    .action((options: { config?: string; json?: true }) => check(io, program, options));
}

async function check(io: Io, program: Program, options: { config?: string; json?: true }): Promise<void> {
  // Loaded here: the other verbs need neither broker nor authorization server.
  const [{ examine, decidingFailure }, { machine }] = await Promise.all([
    import('../doctor/doctor.ts'),
    import('../doctor/places.ts'),
  ]);
  const columns = Math.min(io.size?.().columns ?? WIDEST, WIDEST);
  const live = io.size !== undefined && io.isTerminal ? new LiveLines({ write: io.stdout, size: io.size }) : undefined;
  const show = (findings: readonly Finding[]): void => {
    if (options.json) return;
    live?.clear();
    for (const finding of findings) io.stdout(`${renderFinding(finding, io.colours, columns)}\n`);
    live?.draw([paint(io.colours).dim('looking on …')]);
  };
  let all: readonly Finding[];
  try {
    all = await examine(
      {
        ...(options.config !== undefined && { path: options.config }),
        env: io.env,
        uid: io.uid,
        version: program.version,
        fetch: program.fetch,
        clock: systemClock,
        places: machine,
        ask: (stateDirectory) =>
          askDaemon(socketCandidates(io.env, [stateDirectory, defaultStateDirectory(io.env)]), 'GET', '/api/status', {
            signal: io.signal,
            timeoutMs: ASK_MS,
          }),
        onFindings: show,
      },
      io.signal,
    );
  } finally {
    live?.clear();
  }
  if (io.signal.aborted) throw new PorchlightError('stopping', 'Interrupted.', { hint: '' });
  const worst = decidingFailure(all);
  const counts = { ok: count(all, 'ok'), warn: count(all, 'warn'), fail: count(all, 'fail') };
  if (options.json) {
    const exit = worst?.code === undefined ? 0 : ERRORS[worst.code].exit;
    io.stdout(`${JSON.stringify({ version: program.version, exit, counts, checks: all }, undefined, 2)}\n`);
  } else if (worst === undefined) {
    io.stdout(counts.warn > 0 ? `\nNothing fails; ${many(counts.warn, 'warning', 'warnings')}.\n` : '\nAll is well.\n');
  } else io.stdout('\n');
  if (worst?.code === undefined) return;
  const warnings = counts.warn > 0 ? `, ${many(counts.warn, 'warning', 'warnings')}` : '';
  const message = `${many(counts.fail, 'thing fails', 'things fail')}${warnings}.`;
  throw new PorchlightError(worst.code, message, { hint: '' });
}

function count(findings: readonly Finding[], status: Finding['status']): number {
  return findings.filter((one) => one.status === status).length;
}

function many(number: number, one: string, more: string): string {
  return `${number} ${number === 1 ? one : more}`;
}

const NAME_WIDTH = 20;

/** `ok    broker   …`, and the cure in lines of its own below. Texts of servers and brokers are made harmless. */
function renderFinding({ status, check, message, cure }: Finding, colours: boolean, columns: number): string {
  const { green, yellow, red, dim } = paint(colours);
  const mark = status === 'ok' ? green('ok  ') : status === 'warn' ? yellow('warn') : red('fail');
  const indent = ' '.repeat(6 + NAME_WIDTH + 2);
  const room = Math.max(30, columns - indent.length - 1);
  const [first = '', ...rest] = wrapped(printable(message, 1000), room);
  const lines = [`${mark}  ${check.padEnd(NAME_WIDTH)}  ${first}`, ...rest.map((line) => indent + line)];
  if (cure !== undefined) {
    const [begin = '', ...more] = wrapped(printable(cure, 1000), room - 2);
    lines.push(indent + dim(`→ ${begin}`), ...more.map((line) => `${indent}  ${dim(line)}`));
  }
  return lines.join('\n');
}
