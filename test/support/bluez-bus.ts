import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

const PROGRAM = (process.env['PATH'] ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'dbus-daemon'))
  .find((path) => existsSync(path));

/**
 * Why tests on a real message bus cannot run here, or undefined. In CI (`CI=true`) they must run: there this throws instead.
 * Use: `describe.skipIf(dbusMissing() !== undefined)(...)`.
 */
export function dbusMissing(): string | undefined {
  if (PROGRAM !== undefined) return undefined;
  const message =
    'dbus-daemon is not installed: "apt-get install dbus-daemon" (or dbus) to run the tests on a real bus';
  if (process.env['CI'] === 'true') throw new Error(message);
  process.stderr.write(`skipped: ${message}\n`);
  return message;
}

/** A message bus of the test's own, with nobody on it. */
export interface PrivateBus {
  readonly address: string;
  /** Ends it; the socket stays away until `start`. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Ends it for good. */
  remove(): Promise<void>;
}

/** `denies`: as the system's policy where a user may not speak to bluetoothd. */
export async function startBus({ denies = false } = {}): Promise<PrivateBus> {
  if (PROGRAM === undefined) throw new Error('dbus-daemon is not installed');
  const program = PROGRAM;
  const folder = mkdtempSync(join(tmpdir(), 'porchlight-bus-'));
  const config = join(folder, 'bus.conf');
  const rule = denies ? '<deny send_destination="org.bluez"/>' : '';
  writeFileSync(
    config,
    `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
      "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
    <busconfig><type>session</type><listen>unix:path=${folder}/bus</listen><auth>EXTERNAL</auth>
    <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/>${rule}</policy>
    </busconfig>`,
  );
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    rmSync(join(folder, 'bus'), { force: true });
    const running = spawn(program, [`--config-file=${config}`, '--nofork', '--nopidfile', '--print-address=1'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child = running;
    let said = '';
    running.stderr?.on('data', (text) => (said += String(text)));
    if (running.stdout !== null) await Promise.race([once(running.stdout, 'data'), once(running, 'exit')]);
    if (running.exitCode !== null) throw new Error(`the private bus ended at once:\n${said}`);
  };
  const stop = async (): Promise<void> => {
    const running = child;
    child = undefined;
    if (running === undefined || running.exitCode !== null) return;
    const gone = once(running, 'exit');
    running.kill('SIGTERM');
    await gone;
    rmSync(join(folder, 'bus'), { force: true });
  };
  await start();
  return {
    address: `unix:path=${folder}/bus`,
    start,
    stop,
    async remove() {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
