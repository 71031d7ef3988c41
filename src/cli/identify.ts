import type { Command } from 'commander';
import * as z from 'zod';
import { systemClock } from '../clock.ts';
import { loadConfig } from '../config/load.ts';
import { PorchlightError } from '../errors.ts';
import type { Io, Program } from '../io.ts';
import { createLog, forPeople } from '../log.ts';
import { askDaemon } from '../web/client.ts';
import { type Blinked, type Blinker, blink } from './blink.ts';
import { refuseBad, sendThroughDaemon } from './send.ts';
import { configOption, socketsOf } from './sockets.ts';

const States = z.array(z.object({ id: z.string(), state: z.object({ state: z.enum(['ON', 'OFF']).nullable() }) }));

interface IdentifyOptions {
  readonly config?: string;
  readonly direct?: true;
}

export function registerIdentify(root: Command, io: Io, program: Program): void {
  configOption(
    root
      .command('identify')
      .description('Blink a lamp, or all of a group, to see which it is; then put each back as it was.')
      .argument('<light>', 'the id of a lamp or group')
      .option('--direct', 'drive the Bluetooth adapter from here, without a running gateway'),
  )
    .addHelpText(
      'after',
      `
Off and on, three times, about half a second apart; a slow link makes it slower. Ctrl-C ends it and puts the
lamp back too. Where the state before is not known (a lamp that cannot tell), it is left on.`,
    )
    .action(async (light: string, options: IdentifyOptions) => {
      const use = (road: Blinker, signal: AbortSignal): Promise<Blinked> => blink(road, light, signal);
      if (io.isTerminal) io.stdout(`Blinking ${light} …\n`);
      const blinked = options.direct
        ? await directly(io, program, options, use)
        : await use(await throughDaemon(io, options), io.signal);
      io.stdout(tell(light, blinked));
      if (!blinked.interrupted) refuseBad(blinked.outcome);
      for (const outcome of blinked.lost) refuseBad(outcome);
    });
}

async function throughDaemon(io: Io, options: IdentifyOptions): Promise<Blinker> {
  const sockets = await socketsOf(io, options.config);
  return {
    async states() {
      const { body } = await askDaemon(sockets, 'GET', '/api/lights', { signal: io.signal });
      const lights = States.safeParse(body);
      if (!lights.success)
        throw new PorchlightError('daemon_unreachable', 'The gateway that answers is of another version.');
      return new Map(lights.data.map(({ id, state }) => [id, state.state]));
    },
    apply: (target, state, signal) =>
      sendThroughDaemon(sockets, { kind: 'lights', target, change: JSON.stringify({ state }) }, signal),
  };
}

async function directly(
  io: Io,
  program: Program,
  options: IdentifyOptions,
  use: (road: Blinker, signal: AbortSignal) => Promise<Blinked>,
): Promise<Blinked> {
  const named = options.config === undefined ? {} : { path: options.config };
  const { config } = await loadConfig({ env: io.env, only: 'house', ...named });
  const log = createLog('warn', io.logsToTerminal ? forPeople(io.stderr) : { write: io.stderr });
  const { applyDirectly, withOwnLamps } = await import('../direct.ts');
  const parts = { config, entries: program.entries, clock: systemClock, log, uid: io.uid };
  return withOwnLamps(
    parts,
    (lamps, signal) =>
      use(
        {
          states: () => Promise.resolve(new Map(lamps.view().map(({ id, state }) => [id, state.state]))),
          apply: (target, state) => applyDirectly(parts, lamps, { kind: 'lights', target, change: { state } }),
        },
        signal,
      ),
    'Leave out --direct: the lamp then blinks through the running gateway.',
    io.signal,
  );
}

/** What was done, in a sentence or two. */
function tell(target: string, { outcome, left, lost, interrupted, yielded }: Blinked): string {
  const lines: string[] = [];
  const failed = new Set(lost.map((one) => one.target));
  for (const [lamp, state] of left) {
    if (failed.has(lamp)) lines.push(`${lamp} could not be put back${state === null ? '' : ` to ${state}`}.`);
    else if (state === null) lines.push(`${lamp} is left on: its state before is not known.`);
    else lines.push(`${lamp} is ${state} again.`);
  }
  for (const lamp of yielded) lines.push(`${lamp} was commanded by somebody else meanwhile, and is left to them.`);
  if (left.size === 0 && yielded.length > 0) return `${lines.join(' ')}\n`;
  const blinked = interrupted ? `${target} was interrupted.` : `${target} blinked.`;
  const unreached = (outcome.members ?? []).filter((one) => !left.has(one.target) && one.outcome !== 'superseded');
  for (const one of unreached) lines.push(`${one.target} did not: ${one.message ?? one.outcome}`);
  return left.size === 0 && lines.length === 0 ? '' : `${blinked} ${lines.join(' ')}\n`;
}
