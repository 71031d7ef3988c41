import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { pbkdf2Sync, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/** The real broker, if this machine has one. */
const PROGRAM = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  .map((folder) => join(folder, 'mosquitto'))
  .find((path) => existsSync(path));

/**
 * Why tests with a real broker cannot run here, or undefined. In CI (`CI=true`) they must run: there this throws instead.
 * Use: `describe.skipIf(mosquittoMissing() !== undefined)(...)`.
 */
export function mosquittoMissing(): string | undefined {
  if (PROGRAM !== undefined) return undefined;
  const message =
    'mosquitto is not installed: "apt-get install mosquitto" (or brew) to run the tests with a real broker';
  if (process.env['CI'] === 'true') throw new Error(message);
  process.stderr.write(`skipped: ${message}\n`);
  return message;
}

/** PEM texts. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface MosquittoOptions {
  /** With `ca`: clients must show a certificate of this authority. */
  readonly tls?: Certificate & { readonly ca?: string };
  /** Names and passwords; without them everyone may connect. */
  readonly users?: Readonly<Record<string, string>>;
  /** Text of an ACL file. */
  readonly acl?: string;
  /** Also without a name; default: only when there are no users. */
  readonly anonymous?: boolean;
  /** `accept_protocol_versions`, for example '4' for MQTT 3.1.1 only. mosquitto 2.1 and later; Debian 12 has 2.0. */
  readonly protocols?: string;
  /** Default true. */
  readonly noDelay?: boolean;
  /** More lines for the listener or the broker. */
  readonly extra?: readonly string[];
  /** All of the configuration but the listener, instead of the options above: `{users}` and `{acl}` become paths. */
  readonly config?: string;
  readonly websockets?: boolean;
  /** Default: a free one. */
  readonly port?: number;
}

export interface Mosquitto {
  readonly port: number;
  /** mqtt, mqtts, ws or wss, on localhost. */
  readonly url: string;
  /** What the broker said. */
  readonly output: () => string;
  /** SIGTERM, and the port is free. */
  stop(): Promise<void>;
  /** SIGKILL; `restart` brings it back. */
  kill(): Promise<void>;
  /** On the same port, with an empty memory. */
  restart(): Promise<void>;
  /** SIGSTOP and SIGCONT: there, but dead. */
  freeze(): void;
  thaw(): void;
}

export async function startMosquitto(options: MosquittoOptions = {}): Promise<Mosquitto> {
  if (PROGRAM === undefined) throw new Error('mosquitto is not installed');
  const program = PROGRAM;
  const folder = mkdtempSync(join(tmpdir(), 'porchlight-mosquitto-'));
  const port = options.port ?? (await freePort());
  const file = join(folder, 'mosquitto.conf');
  writeFileSync(file, configuration(folder, port, options));
  let said = '';
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    const running = spawn(program, ['-c', file], { stdio: ['ignore', 'pipe', 'pipe'] });
    child = running;
    for (const stream of [running.stdout, running.stderr]) stream?.on('data', (text) => (said += String(text)));
    await listening(port, () => {
      if (running.exitCode !== null) throw new Error(`mosquitto ended:\n${said}`);
    });
  };
  const end = async (signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> => {
    const running = child;
    child = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const gone = new Promise((resolve) => running.once('exit', resolve));
    running.kill('SIGCONT');
    running.kill(signal);
    // One that is told to end in the moment of its start may miss it.
    const late = setTimeout(() => running.kill('SIGKILL'), 3000);
    await gone;
    clearTimeout(late);
  };
  await start();
  const scheme = options.websockets ? 'ws' : 'mqtt';
  return {
    port,
    url: `${scheme}${options.tls ? 's' : ''}://localhost:${port}`,
    output: () => said,
    async stop() {
      await end();
      rmSync(folder, { recursive: true, force: true });
    },
    kill: () => end('SIGKILL'),
    async restart() {
      await end();
      await start();
    },
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
  };
}

function configuration(folder: string, port: number, options: MosquittoOptions): string {
  const file = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const { tls, users, acl } = options;
  const passwords = users && file('passwords', Object.entries(users).map(passwordLine).join(''));
  const list = acl === undefined ? undefined : file('acl', acl);
  const lines = [`listener ${port} 127.0.0.1`, `max_connections -1`];
  if (options.websockets) lines.push('protocol websockets');
  // Started by root, mosquitto would become a user that cannot read these files.
  if (process.getuid?.() === 0) lines.push('user root');
  if (tls !== undefined) {
    lines.push(`certfile ${file('broker.crt', tls.cert)}`, `keyfile ${file('broker.key', tls.key)}`);
    if (tls.ca !== undefined) lines.push(`cafile ${file('ca.crt', tls.ca)}`, 'require_certificate true');
  }
  if (options.config !== undefined) {
    lines.push(options.config.replaceAll('{users}', passwords ?? '').replaceAll('{acl}', list ?? ''));
    return `${lines.join('\n')}\n`;
  }
  lines.push(`allow_anonymous ${options.anonymous ?? users === undefined}`);
  lines.push(`set_tcp_nodelay ${options.noDelay ?? true}`);
  if (passwords !== undefined) lines.push(`password_file ${passwords}`);
  if (list !== undefined) lines.push(`acl_file ${list}`);
  if (options.protocols !== undefined) lines.push(`accept_protocol_versions ${options.protocols}`);
  return `${[...lines, ...(options.extra ?? [])].join('\n')}\n`;
}

/** As mosquitto_passwd writes them: PBKDF2 with SHA-512. */
function passwordLine([name, password]: [string, string]): string {
  const salt = randomBytes(12);
  const hash = pbkdf2Sync(password, salt, 101, 64, 'sha512');
  return `${name}:$7$101$${salt.toString('base64')}$${hash.toString('base64')}\n`;
}

/** A port of 127.0.0.1 that nobody uses now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function listening(port: number, check: () => void): Promise<void> {
  for (let tries = 0; tries < 300; tries += 1) {
    check();
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('mosquitto does not listen');
}

/** A private certificate authority, made with openssl. */
export interface Authority {
  readonly ca: string;
  /** A certificate for a server or client. `names`: subject alternative names, as openssl writes them. */
  issue(name: string, options?: { readonly names?: string; readonly days?: number }): Certificate;
}

export function createAuthority(name: string): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'porchlight-ca-'));
  const path = (file: string): string => join(folder, file);
  const openssl = (...words: string[]): string => execFileSync('openssl', words, { encoding: 'utf8', stdio: 'pipe' });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const read = (file: string): string => execFileSync('cat', [path(file)], { encoding: 'utf8' });
  openssl(
    'req',
    '-x509',
    ...curve,
    '-days',
    '30',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    path('ca.key'),
    '-out',
    path('ca.crt'),
  );
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  let serial = 0;
  return {
    ca: read('ca.crt'),
    issue(subject, { names = 'DNS:localhost,IP:127.0.0.1', days = 30 } = {}) {
      serial += 1;
      const [key, request, cert, extensions] = ['key', 'csr', 'crt', 'ext'].map((end) => path(`${serial}.${end}`)) as [
        string,
        string,
        string,
        string,
      ];
      writeFileSync(extensions, `subjectAltName=${names}\n`);
      openssl('req', ...curve, '-subj', `/CN=${subject}`, '-keyout', key, '-out', request);
      const by = ['-CA', path('ca.crt'), '-CAkey', path('ca.key'), '-set_serial', String(serial)];
      openssl('x509', '-req', '-in', request, ...by, '-days', String(days), '-extfile', extensions, '-out', cert);
      return { cert: read(`${serial}.crt`), key: read(`${serial}.key`) };
    },
  };
}
