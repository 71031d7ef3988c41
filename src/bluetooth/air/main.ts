import { Air } from './air.ts';
import type { Moment } from './lamp.ts';
import { type AirEvent, type AirRequest, parseRequest } from './messages.ts';

/**
 * The air process: forked by the gateway (backend `virtual`), by the demo or by a test, spoken to over its IPC channel
 * (`messages.ts`), and ended by `stop` or with the channel. It listens on a local socket only.
 */

/** Exit status of wrong use (sysexits). */
const USAGE = 64;

let air: Air | undefined;

const now = (): Moment => ({
  at: performance.timeOrigin + performance.now(),
  mono: Number(process.hrtime.bigint()) / 1e6,
});

function send(event: AirEvent): void {
  // A parent that has just died is no failure; `disconnect` follows.
  if (process.connected) process.send?.(event, undefined, {}, () => undefined);
}

function stop(status: number): void {
  air?.close();
  process.exit(status);
}

async function start(request: Extract<AirRequest, { op: 'start' }>): Promise<void> {
  const id = request.id === undefined ? {} : { id: request.id };
  if (air !== undefined) return send({ event: 'error', message: 'The air is started already.', ...id });
  const { op, id: _, ...options } = request;
  const starting = new Air(options, send, now);
  air = starting;
  try {
    send({ event: 'listening', address: await starting.listen(), ...id });
  } catch (thrown) {
    air = undefined;
    send({ event: 'error', message: thrown instanceof Error ? thrown.message : String(thrown), ...id });
  }
}

async function receive(message: unknown): Promise<void> {
  const parsed = parseRequest(message);
  if ('refused' in parsed) {
    return send({ event: 'error', message: parsed.refused, ...(parsed.id === undefined ? {} : { id: parsed.id }) });
  }
  const { request } = parsed;
  if (request.op === 'start') return await start(request);
  if (request.op === 'stop') return stop(0);
  if (air !== undefined) return air.handle(request);
  send({
    event: 'error',
    message: 'The air is not started yet.',
    ...(request.id === undefined ? {} : { id: request.id }),
  });
}

if (process.send === undefined) {
  process.stderr.write('The air process is forked by porchlight and spoken to over its IPC channel.\n');
  process.exitCode = USAGE;
} else {
  process.on('message', (message) => void receive(message));
  process.on('disconnect', () => stop(0));
  process.on('SIGTERM', () => stop(0));
  // Ctrl-C reaches the whole foreground group; the parent decides when the air ends.
  process.on('SIGINT', () => undefined);
}
