import type { Command } from 'commander';
import { systemClock } from '../clock.ts';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { asPorchlightError } from '../errors.ts';
import type { Io, Program } from '../io.ts';
import { createLog, forPeople } from '../log.ts';
import { renderCode } from '../prompt/terminal.ts';
import { createNotifier } from '../service/notify.ts';
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
  let loaded = await read();
  const log = createLog(loaded.config.log.level, io.logsToTerminal ? forPeople(io.stderr) : { write: io.stderr });
  const notifier = createNotifier({ env: io.env, pid: io.pid, log });

  io.signal.addEventListener('abort', () => void notifier.stopping(), { once: true });

  let retired: readonly string[] = [];
  while (!io.signal.aborted) {
    for (const warning of loaded.warnings) log.warn(warning);
    const reload = new AbortController();
    let next: Promise<typeof loaded> | undefined;
    const stopListening = program.onHangup(() => {
      next = read();
      next.then(
        () => {
          // Not STOPPING=1: systemd would take that for the end of the service.
          void notifier.reloading();
          reload.abort();
        },
        (thrown) =>
          log.error({ reason: asPorchlightError(thrown).message }, 'the new configuration is wrong; the old one stays'),
      );
    });
    try {
      await gatewayOf(loaded.config, retired, io, program, log, notifier, AbortSignal.any([io.signal, reload.signal]));
    } finally {
      stopListening();
    }
    if (!reload.signal.aborted || next === undefined) return;
    const before = targetsOf(loaded.config);
    loaded = await next;
    const now = new Set(targetsOf(loaded.config));
    retired = [...retired, ...before].filter((target) => !now.has(target));
    log.info({ config: loaded.path }, 'the configuration was read again');
  }
}

const targetsOf = ({ lights, groups }: Config): readonly string[] => [...lights, ...groups].map(({ id }) => id);

async function gatewayOf(
  config: Config,
  retired: readonly string[],
  io: Io,
  program: Program,
  log: ReturnType<typeof createLog>,
  notifier: ReturnType<typeof createNotifier>,
  signal: AbortSignal,
): Promise<void> {
  // Loaded here: the other verbs need neither broker nor radio, and answer sooner without them.
  const { runGateway } = await import('../gateway.ts');
  await runGateway(
    {
      config,
      version: program.version,
      entries: program.entries,
      fetch: program.fetch,
      socket: daemonSocket(io.env, config.gateway.state_directory),
      clock: systemClock,
      log,
      uid: io.uid,
      retired,
      onReady: () => void notifier.ready('Running'),
      watchdog: notifier.watchdog,
      interactive: io.isTerminal,
      showCode: (code) => io.stdout(renderCode(code, { qr: io.isTerminal, colours: io.colours })),
      hideCode: () => undefined,
    },
    signal,
  );
}
