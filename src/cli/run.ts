import type { Command } from 'commander';
import { Remarks } from '../access/audit/remarks.ts';
import { systemClock } from '../clock.ts';
import { type Loaded, loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import type { GatewayParts } from '../gateway.ts';
import type { Io, Program } from '../io.ts';
import { createLog, forPeople } from '../log.ts';
import { renderCode } from '../prompt/terminal.ts';
import { createNotifier } from '../service/notify.ts';
import { Reloads } from './reload.ts';
import { configOption, daemonSocket } from './sockets.ts';

export function registerRun(root: Command, io: Io, program: Program): void {
  configOption(
    root
      .command('run')
      .description(
        'Run the gateway. Without an approval it shows a code for its owner; SIGHUP reads the configuration again.',
      ),
  ).action((options: { config?: string }) => run(io, program, options.config));
}

async function run(io: Io, program: Program, path: string | undefined): Promise<void> {
  const read = () => loadConfig({ env: io.env, ...(path !== undefined && { path }) });
  const first = await read();
  const log = createLog(first.config.log.level, io.logsToTerminal ? forPeople(io.stderr) : { write: io.stderr });
  const notifier = createNotifier({ env: io.env, pid: io.pid, log });
  const remarks = new Remarks();
  // Not STOPPING=1: systemd would take that for the end of the service.
  const reloads = new Reloads({ read, first, log, remarks, onReloading: () => void notifier.reloading() });
  const stopListening = program.onHangup(() => reloads.request());
  io.signal.addEventListener('abort', () => void notifier.stopping(), { once: true });

  const known = new Set<string>();
  let before: Loaded | undefined;
  try {
    while (!io.signal.aborted) {
      const { config, warnings } = reloads.running;
      for (const warning of warnings) log.warn(warning);
      const targets = targetsOf(config);
      const retired = [...known].filter((target) => !targets.includes(target));
      for (const target of targets) known.add(target);
      let ready = false;
      const onReady = (): void => {
        ready = true;
        void notifier.ready('Running');
      };
      try {
        const signal = AbortSignal.any([io.signal, reloads.signal]);
        await gatewayOf({ config, retired, remarks, log, onReady, watchdog: notifier.watchdog }, io, program, signal);
      } catch (thrown) {
        if (ready || before === undefined || io.signal.aborted) throw thrown;
        reloads.fallBack(before, thrown);
        before = undefined;
        continue;
      }
      before = reloads.running;
      if (reloads.take() === undefined) return;
    }
  } finally {
    stopListening();
  }
}

const targetsOf = ({ lights, groups }: Config): readonly string[] => [...lights, ...groups].map(({ id }) => id);

async function gatewayOf(
  parts: Pick<GatewayParts, 'config' | 'retired' | 'log' | 'onReady' | 'watchdog'> & { readonly remarks: Remarks },
  io: Io,
  program: Program,
  signal: AbortSignal,
): Promise<void> {
  // Loaded here: the other verbs need neither broker nor radio, and answer sooner without them.
  const { runGateway } = await import('../gateway.ts');
  await runGateway(
    {
      ...parts,
      version: program.version,
      entries: program.entries,
      fetch: program.fetch,
      socket: daemonSocket(io.env, parts.config.gateway.state_directory),
      clock: systemClock,
      uid: io.uid,
      interactive: io.isTerminal,
      showCode: (code) => io.stdout(renderCode(code, { qr: io.isTerminal, colours: io.colours })),
      hideCode: () => undefined,
    },
    signal,
  );
}
