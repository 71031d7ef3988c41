#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { runCommandLine } from './cli/index.ts';
import type { Io } from './io.ts';

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort(signal));

// Node would open its inspector on this signal; a gateway has no debug interface that others can switch on.
process.on('SIGUSR1', () => undefined);

// A reader that goes away (`porchlight lights | head -1`) is not a failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

const isTerminal = process.stdout.isTTY === true;
const io: Io = {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  env: process.env,
  isTerminal,
  ...(isTerminal && { size: () => ({ columns: process.stdout.columns ?? 80, rows: process.stdout.rows ?? 24 }) }),
  logsToTerminal: process.stderr.isTTY === true,
  colours: isTerminal && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb',
  pid: process.pid,
  uid: process.getuid?.() ?? 0,
  signal: stop.signal,
};

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

process.exitCode = await runCommandLine(process.argv.slice(2), io, {
  version,
  entries: {
    radio: new URL('./bluetooth/radio/main.js', import.meta.url),
    air: new URL('./bluetooth/air/main.js', import.meta.url),
  },
  fetch: globalThis.fetch,
  onHangup: (listener) => {
    process.on('SIGHUP', listener);
    return () => process.off('SIGHUP', listener);
  },
});

// Everything was stopped in order by now. Should a library still hold the process, systemd must not have to kill it.
setTimeout(() => process.exit(), 1000).unref();
