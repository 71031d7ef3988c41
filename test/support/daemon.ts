import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { askDaemon } from '../../src/web/client.ts';
import { distPath } from './dist.ts';
import { jwtIn } from './secrets.ts';

// biome-ignore lint/suspicious/noExplicitAny: a test reads whatever the daemon says, and fails where it is something else
type Json = any;

/** A real daemon in a real process, with its own folder for configuration and state. */
export class Daemon {
  readonly folder: string;
  readonly stateDirectory: string;
  stdout = '';
  stderr = '';
  exit: Promise<{ code: number | null; signal: NodeJS.Signals | null }> | undefined;
  #child: ChildProcess | undefined;
  /** Beside PATH; read at each start. */
  readonly env: Record<string, string>;

  private constructor(folder: string, env: Record<string, string>) {
    this.folder = folder;
    this.stateDirectory = join(folder, 'state');
    this.env = { ...env };
  }

  /** Writes the configuration (its state directory is set for it), but starts nothing yet. */
  static async prepare(config: Json, env: Record<string, string> = {}): Promise<Daemon> {
    const daemon = new Daemon(await mkdtemp(join(tmpdir(), 'porchlight-')), env);
    await daemon.configure(config);
    return daemon;
  }

  async configure(config: Json): Promise<void> {
    const whole = { ...config, gateway: { id: 'porch-pi', ...config.gateway, state_directory: this.stateDirectory } };
    await writeFile(this.configFile, stringify(whole));
  }

  get configFile(): string {
    return join(this.folder, 'porchlight.yaml');
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('the daemon was not started');
    return pid;
  }

  start(): void {
    const child = spawn(process.execPath, [distPath('main.js'), 'run', '--config', this.configFile], {
      env: { PATH: process.env['PATH'], ...this.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.exit = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
    this.#child = child;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async ask(method: 'GET' | 'POST', path: string, body?: Json): Promise<Json> {
    const options = body === undefined ? {} : { body: JSON.stringify(body) };
    return (await askDaemon([join(this.stateDirectory, 'porchlight.sock')], method, path, options)).body;
  }

  status(): Promise<Json> {
    return this.ask('GET', '/api/status');
  }

  /** Polls `status` until `good` says so; the failure shows the last status and the log. */
  async until(good: (status: Json) => boolean, what: string, ms = 20_000): Promise<Json> {
    const deadline = performance.now() + ms;
    let last: Json;
    while (performance.now() < deadline) {
      try {
        last = await this.status();
        if (good(last)) return last;
      } catch (thrown) {
        last = thrown;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`not within ${ms} ms: ${what}\n${JSON.stringify(last, null, 1)}\n${this.stderr.slice(-3000)}`);
  }

  /** The user code as a person reads it from the daemon's standard output. */
  async code(ms = 15_000): Promise<string> {
    await this.until(({ authorization }) => authorization.state === 'pending', 'a code', ms);
    return this.ask('POST', '/api/authorization/code').then((code) => code.user_code);
  }

  async stop(): Promise<void> {
    if (this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGTERM');
      const late = setTimeout(() => this.#child?.kill('SIGKILL'), 8000);
      await this.exit;
      clearTimeout(late);
    }
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.folder, { recursive: true, force: true });
    // Whatever a test is about: no token ever gets into a log.
    const leaked = jwtIn(this.stdout) ?? jwtIn(this.stderr);
    if (leaked !== undefined) throw new Error(`the daemon said what looks like a token: ${leaked}`);
  }
}

/** Runs a verb of the real program to its end. */
export async function porchlight(
  args: readonly string[],
  env: Record<string, string> = {},
  stdin?: string,
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [distPath('main.js'), ...args], {
    env: { PATH: process.env['PATH'], HOME: tmpdir(), ...env },
    stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  if (stdin !== undefined) child.stdin?.end(stdin);
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { status, stdout, stderr };
}
