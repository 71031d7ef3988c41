/**
 * The radio process: forked by the gateway with an empty environment, it drives one Bluetooth adapter and holds nothing
 * worth stealing. Packets from the air may crash it; the gateway then starts another.
 */

import type { RadioMessage, RadioRequest } from '../messages.ts';
import { airCode, NobleAdapter, textOf } from './noble-adapter.ts';
import { parseRequest } from './requests.ts';

/** However an adapter behaves, stopping must end before the gateway's patience does. */
const STOP_MS = 1200;

// noble's default binding is made while it loads; on every platform it is to be the one that loads nothing native.
process.env['NOBLE_BINDINGS'] = 'hci';

let ending = false;

function tell(message: RadioMessage): void {
  if (process.connected) process.send?.(message);
}

/** Says why, once, and ends: the gateway's answer to anything unexpected is a fresh process. */
function die(reason: string): void {
  if (ending) return;
  ending = true;
  setTimeout(() => process.exit(1), 200);
  if (!process.connected || process.send === undefined) process.exit(1);
  const last: RadioMessage = { is: 'dying', reason: reason.slice(0, 200) };
  process.send(last, () => process.exit(1));
}

async function stop(): Promise<void> {
  if (ending) return;
  ending = true;
  setTimeout(() => process.exit(0), STOP_MS);
  try {
    await adapter.stop();
  } finally {
    process.exit(0);
  }
}

process.on('uncaughtException', (error) => die(`uncaught: ${textOf(error)}`));
process.on('unhandledRejection', (error) => die(`unhandled: ${textOf(error)}`));
// The terminal sends these to the whole group; the gateway says itself when the radio is to end.
const ignore = (): void => undefined;
process.on('SIGINT', ignore);
process.on('SIGTERM', ignore);
process.on('SIGHUP', ignore);
process.on('disconnect', () => void stop());

const adapter = new NobleAdapter({
  tell,
  fatal: die,
});
const connecting = new Map<number, AbortController>();

async function answer(id: number, work: () => Promise<RadioMessage>): Promise<void> {
  try {
    tell(await work());
  } catch (thrown) {
    tell({ is: 'failed', id, code: airCode(thrown), message: textOf(thrown).slice(0, 200) });
  }
}

async function start(backend: Extract<RadioRequest, { op: 'start' }>['backend']): Promise<void> {
  try {
    await adapter.start(backend);
  } catch (thrown) {
    die(textOf(thrown));
  }
  // noble has put its own listener there a moment after it was made, and exits when that is the last.
  setImmediate(() => {
    process.removeAllListeners('SIGINT');
    process.on('SIGINT', ignore);
  });
}

async function connect({ id, address, timeoutMs }: Extract<RadioRequest, { op: 'connect' }>): Promise<RadioMessage> {
  const cancel = new AbortController();
  connecting.set(id, cancel);
  try {
    return { ...(await adapter.connect(address, timeoutMs, cancel.signal)), id };
  } finally {
    connecting.delete(id);
  }
}

async function subscribe(id: number, link: number, at: number): Promise<RadioMessage> {
  await adapter.link(link).subscribe(at, (bytes) => {
    if (bytes.length <= 512) tell({ is: 'notified', link, at, hex: bytes.toString('hex') });
  });
  return { is: 'done', id };
}

function handle(request: RadioRequest): void {
  switch (request.op) {
    case 'write': {
      const { id, link, values } = request;
      void answer(id, async () => {
        await adapter
          .link(link)
          .write(...values.map(({ at, hex, kind }) => ({ at, bytes: Buffer.from(hex, 'hex'), kind })));
        return { is: 'done', id };
      });
      return;
    }
    case 'ping':
      // The gateway's heartbeat is this process's as well.
      adapter.tend();
      tell({ is: 'done', id: request.id });
      return;
    case 'connect':
      void answer(request.id, () => connect(request));
      return;
    case 'cancel':
      connecting.get(request.connect)?.abort();
      tell({ is: 'done', id: request.id });
      return;
    case 'read': {
      const { id, link, at } = request;
      void answer(id, async () => ({ is: 'read', id, hex: (await adapter.link(link).read(at)).toString('hex') }));
      return;
    }
    case 'subscribe':
      void answer(request.id, () => subscribe(request.id, request.link, request.at));
      return;
    case 'disconnect': {
      const { id, link } = request;
      void answer(id, async () => {
        await adapter.link(link).disconnect();
        return { is: 'done', id };
      });
      return;
    }
    case 'listen':
      adapter.listen(request.on, request.only);
      tell({ is: 'done', id: request.id });
      return;
    case 'start':
      void start(request.backend);
      return;
    case 'stop':
      void stop();
      return;
  }
}

process.on('message', (raw) => {
  const request = parseRequest(raw);
  if (request === undefined) die('the gateway sent what is not a request');
  else handle(request);
});
if (process.send === undefined) die('the radio is started by the gateway, not by hand');
