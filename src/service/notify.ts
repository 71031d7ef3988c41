import { type ChildProcess, spawn as spawnChild } from 'node:child_process';
import { type Log, printable } from '../log.ts';
import { sleep, type Task } from '../task-group.ts';

/** Starts a program; `spawn` of node:child_process, or a test's own. */
export type Spawn = (
  command: string,
  args: readonly string[],
  options: { readonly env: Record<string, string>; readonly stdio: ['ignore', 'ignore', 'ignore'] },
) => ChildProcess;

export interface NotifierOptions {
  /** Where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read from (sd_notify(3), sd_watchdog_enabled(3)). */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  /** This process's id, compared with WATCHDOG_PID: a watchdog that was meant for another process is not ours to feed. */
  readonly pid?: number;
  readonly spawn?: Spawn;
  /** Milliseconds after which a child is killed; 5 s. */
  readonly childDeadlineMs?: number;
}

/**
 * Tells systemd how the daemon is. Without NOTIFY_SOCKET (no systemd) every call does nothing. No call ever rejects: a
 * service manager that cannot be reached is one line in the log, and systemd draws its own conclusions.
 */
export interface Notifier {
  /** READY=1: the local socket answers. Also ends a reload. */
  ready(status?: string): Promise<void>;
  /** STATUS=: one line for `systemctl status`; control characters are replaced, at most 200 characters. */
  status(text: string): Promise<void>;
  /** RELOADING=1: the configuration is being read again; `ready` follows, whether it was taken or refused. */
  reloading(): Promise<void>;
  /** STOPPING=1 */
  stopping(): Promise<void>;
  /**
   * WATCHDOG=1 every third of WatchdogSec, each time only after `healthy` said true within that third. Returns at once
   * where systemd set no watchdog. `healthy` must speak of this process alone: a missing adapter, broker or network is not
   * healed by a restart.
   */
  watchdog(healthy: () => boolean | Promise<boolean>): Task;
}

/** systemd-notify waits up to 5 s for systemd's barrier by itself; longer than that it will not come back. */
const CHILD_DEADLINE_MS = 5_000;
/** Shorter watchdogs than this exist only by mistake; the pings must not become a busy loop. */
const SHORTEST_PERIOD_MS = 100;

/**
 * sd_notify by way of the program `systemd-notify`, because Node has no Unix datagram sockets; the unit needs
 * `NotifyAccess=all` for it. `--pid` is never given: it would make systemd take the child for the service's main process.
 */
export function createNotifier(options: NotifierOptions): Notifier {
  const { env, log } = options;
  const socket = env['NOTIFY_SOCKET'];
  const { spawn = spawnChild, childDeadlineMs = CHILD_DEADLINE_MS } = options;
  const childEnv = { NOTIFY_SOCKET: socket ?? '', PATH: env['PATH'] || '/usr/bin:/bin' };
  const speaker = socket ? new Speaker(childEnv, childDeadlineMs, log, spawn) : undefined;
  const say = async (...lines: readonly string[]): Promise<void> => speaker?.say(lines);
  const statusLine = (text: string): string => `STATUS=${printable(text, 200)}`;
  return {
    ready: (text) => (text === undefined ? say('READY=1') : say('READY=1', statusLine(text))),
    status: (text) => say(statusLine(text)),
    reloading: () => say('RELOADING=1'),
    stopping: () => say('STOPPING=1'),
    watchdog: (healthy) => async (signal) => {
      const period = watchdogPeriodMs(env, options.pid);
      if (speaker === undefined || period === undefined) return;
      await feed(() => say('WATCHDOG=1'), healthy, period, log, signal);
    },
  };
}

/** A third of WATCHDOG_USEC in milliseconds; undefined where no watchdog waits for this process. */
export function watchdogPeriodMs(
  env: Readonly<Record<string, string | undefined>>,
  pid: number | undefined,
): number | undefined {
  const text = env['WATCHDOG_USEC'] ?? '';
  if (!/^[0-9]{1,15}$/.test(text) || Number(text) === 0) return undefined;
  const meantFor = env['WATCHDOG_PID'];
  if (meantFor !== undefined && pid !== undefined && meantFor !== String(pid)) return undefined;
  return Math.max(SHORTEST_PERIOD_MS, Number(text) / 3_000);
}

async function feed(
  ping: () => Promise<void>,
  healthy: () => boolean | Promise<boolean>,
  period: number,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const check = oneAtATime(healthy);
  let wasHealthy = true;
  while (!signal.aborted) {
    const isHealthy = await within(period, check(), signal);
    if (signal.aborted) return;
    if (isHealthy) await ping();
    if (isHealthy !== wasHealthy) {
      if (isHealthy) log.info('healthy again; the watchdog is fed');
      else log.error('not healthy; the watchdog is not fed, and systemd will restart the gateway if this stays');
      wasHealthy = isHealthy;
    }
    await sleep(period, signal);
  }
}

/** A check that hangs is asked about again, not started again: ten hung writes are worse than one. */
function oneAtATime(healthy: () => boolean | Promise<boolean>): () => Promise<boolean> {
  let underWay: Promise<boolean> | undefined;
  const run = async (): Promise<boolean> => {
    try {
      return await healthy();
    } catch {
      return false; // a check that throws has found something
    } finally {
      underWay = undefined;
    }
  };
  return () => {
    underWay ??= Promise.resolve().then(run);
    return underWay;
  };
}

async function within(ms: number, answer: Promise<boolean>, signal: AbortSignal): Promise<boolean> {
  const enough = new AbortController();
  const tooLate = sleep(ms, AbortSignal.any([signal, enough.signal])).then(() => false);
  const result = await Promise.race([answer, tooLate]);
  enough.abort();
  return result;
}

/** Runs one `systemd-notify` at a time. What is said meanwhile waits, and goes out together in the next one. */
class Speaker {
  readonly #env: Record<string, string>;
  readonly #deadlineMs: number;
  readonly #log: Log;
  readonly #spawn: Spawn;
  /** By name (`STATUS`): a newer line of one name replaces the older, which nobody would have seen. */
  #waiting = new Map<string, string>();
  #underWay: Promise<void> | undefined;
  #lastFailure: string | undefined;

  constructor(env: Record<string, string>, deadlineMs: number, log: Log, spawn: Spawn) {
    this.#env = env;
    this.#deadlineMs = deadlineMs;
    this.#log = log;
    this.#spawn = spawn;
  }

  /** Resolves when a child has carried these lines (or has failed to). */
  async say(lines: readonly string[]): Promise<void> {
    for (const line of lines) {
      const name = line.slice(0, line.indexOf('='));
      this.#waiting.delete(name); // the newest goes last: of READY, RELOADING and STOPPING systemd obeys the last
      this.#waiting.set(name, line);
    }
    while (this.#underWay !== undefined) await this.#underWay;
    if (this.#waiting.size === 0) return; // somebody else's child took them along
    const batch = [...this.#waiting.values()];
    this.#waiting = new Map();
    this.#underWay = this.#run(batch).finally(() => {
      this.#underWay = undefined;
    });
    await this.#underWay;
  }

  async #run(lines: readonly string[]): Promise<void> {
    const failure = await this.#child(lines);
    if (failure !== undefined && failure !== this.#lastFailure) {
      this.#log.warn(`systemd was not told how the gateway is: ${failure}`);
    }
    this.#lastFailure = failure;
  }

  /** What went wrong, if anything. */
  #child(lines: readonly string[]): Promise<string | undefined> {
    return new Promise((resolve) => {
      let child: ChildProcess;
      try {
        child = this.#spawn('systemd-notify', lines, { env: this.#env, stdio: ['ignore', 'ignore', 'ignore'] });
      } catch (thrown) {
        return resolve(`systemd-notify could not be started (${codeOf(thrown)})`);
      }
      const deadline = setTimeout(() => child.kill('SIGKILL'), this.#deadlineMs);
      const end = (failure?: string): void => {
        clearTimeout(deadline);
        resolve(failure);
      };
      child.once('error', (error) => {
        const code = codeOf(error);
        end(
          code === 'ENOENT' ? 'the program systemd-notify is missing' : `systemd-notify could not be started (${code})`,
        );
      });
      child.once('exit', (status, signal) => {
        if (signal === 'SIGKILL') return end(`systemd-notify was stopped after ${this.#deadlineMs / 1000} s`);
        end(status === 0 ? undefined : `systemd-notify ended with ${status ?? signal}`);
      });
    });
  }
}

function codeOf(thrown: unknown): string {
  return thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'unknown';
}
