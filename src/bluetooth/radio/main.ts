/**
 * The radio process: forked by the gateway with an empty environment, it drives one Bluetooth adapter and holds nothing
 * worth stealing. Packets from the air may crash it; the gateway then starts another.
 */

import { Socket } from 'node:net';
import { ERRORS, PorchlightError } from '../../errors.ts';
import { LineChannel } from '../line-channel.ts';
import type { RadioBackend, RadioMessage, RadioRequest } from '../messages.ts';
import type { Adapter } from './adapter.ts';
import { airCode, textOf } from './failures.ts';
import { NobleAdapter } from './noble-adapter.ts';
import { parseRequest } from './requests.ts';

/** However an adapter behaves, stopping must end before the gateway's patience does. */
const STOP_MS = 1200;

// noble's default binding is made while it loads; on every platform it is to be the one that loads nothing native.
process.env['NOBLE_BINDINGS'] = 'hci';

let ending = false;

/** The pipe to the gateway, as `RadioLife` made it. */
const PIPE = 4;
/** A request is never longer: it is the gateway's list of a thousand addresses. */
const LONGEST_REQUEST = 1024 * 1024;
/** When so much of what was told waits unread (the gateway is held up), what will be told again anyway is left out ... */
const CONGESTED = 256 * 1024;
/** ... and from here on nobody is there any more. */
const FORSAKEN = 4 * 1024 * 1024;

function openPipe(): Socket {
  try {
    return new Socket({ fd: PIPE, readable: true, writable: true });
  } catch {
    process.stderr.write('The radio is started by the gateway, not by hand.\n');
    return process.exit(64);
  }
}

const channel = new LineChannel(openPipe(), LONGEST_REQUEST, {
  onValue: (value) => {
    const request = parseRequest(value);
    if (request === undefined) die('the gateway sent what is not a request');
    else handle(request);
  },
  onBroken: (reason) => die(`the gateway sent ${reason}`),
  onClosed: () => void stop(),
});

function tell(message: RadioMessage): void {
  if (channel.unread > CONGESTED && (message.is === 'heard' || message.is === 'note')) return;
  channel.send(message);
  if (channel.unread > FORSAKEN) die('the gateway does not read what it is told');
}

/** Says why, once, and ends: the gateway's answer to anything unexpected is a fresh process. */
function die(reason: string, code?: 'adapter_off' | 'adapter_stuck'): void {
  if (ending) return;
  ending = true;
  setTimeout(() => process.exit(1), 200);
  const last: RadioMessage = { is: 'dying', reason: reason.slice(0, 200), ...(code !== undefined ? { code } : {}) };
  channel.send(last, () => process.exit(1));
}

async function stop(): Promise<void> {
  if (ending) return;
  ending = true;
  setTimeout(() => process.exit(0), STOP_MS);
  try {
    await adapter?.stop();
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

const events = { tell, fatal: die };
let adapter: Adapter | undefined;
/** What was asked before the adapter was made. */
let wanted: Extract<RadioRequest, { op: 'listen' }> | undefined;
const connecting = new Map<number, AbortController>();

async function answer(id: number, work: () => Promise<RadioMessage>): Promise<void> {
  try {
    tell(await work());
  } catch (thrown) {
    const code = airCode(thrown);
    const hint = thrown instanceof PorchlightError && thrown.hint !== ERRORS[code].hint ? thrown.hint : undefined;
    const message = textOf(thrown).slice(0, 200);
    tell({ is: 'failed', id, code, message, ...(hint !== undefined ? { hint: hint.slice(0, 200) } : {}) });
  }
}

/** The library for D-Bus is loaded only where it is used. */
async function adapterFor(backend: RadioBackend): Promise<Adapter> {
  if (backend.kind !== 'dbus') return new NobleAdapter(events);
  const { DbusAdapter } = await import('./dbus/dbus-adapter.ts');
  return new DbusAdapter(events);
}

function inUse(): Adapter {
  if (adapter === undefined) throw new PorchlightError('radio_restarting');
  return adapter;
}

async function start(backend: RadioBackend): Promise<void> {
  if (adapter !== undefined) return;
  try {
    adapter = await adapterFor(backend);
    if (wanted !== undefined) adapter.listen(wanted.on, wanted.only, wanted.silenceMs);
    await adapter.start(backend);
  } catch (thrown) {
    const code = airCode(thrown);
    die(textOf(thrown), code === 'adapter_off' || code === 'adapter_stuck' ? code : undefined);
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
    const onConnected = (): void => tell({ is: 'connected', id });
    return { ...(await inUse().connect(address, { timeoutMs, signal: cancel.signal, onConnected })), is: 'linked', id };
  } finally {
    connecting.delete(id);
  }
}

async function subscribe(id: number, link: number, at: number): Promise<RadioMessage> {
  await inUse()
    .link(link)
    .subscribe(at, (bytes) => {
      if (bytes.length <= 512) tell({ is: 'notified', link, at, hex: bytes.toString('hex') });
    });
  return { is: 'done', id };
}

function handle(request: RadioRequest): void {
  switch (request.op) {
    case 'write': {
      const { id, link, values } = request;
      void answer(id, async () => {
        await inUse()
          .link(link)
          .write(...values.map(({ at, hex, kind }) => ({ at, bytes: Buffer.from(hex, 'hex'), kind })));
        return { is: 'done', id };
      });
      return;
    }
    case 'ping':
      // The gateway's heartbeat is this process's as well.
      adapter?.tend();
      tell({ is: 'alive', id: request.id, rss: process.memoryUsage.rss(), ...(adapter?.pulse() ?? { rescans: 0 }) });
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
      void answer(id, async () => ({ is: 'read', id, hex: (await inUse().link(link).read(at)).toString('hex') }));
      return;
    }
    case 'subscribe':
      void answer(request.id, () => subscribe(request.id, request.link, request.at));
      return;
    case 'disconnect': {
      const { id, link } = request;
      void answer(id, async () => {
        await inUse().link(link).disconnect();
        return { is: 'done', id };
      });
      return;
    }
    case 'listen':
      wanted = request;
      adapter?.listen(request.on, request.only, request.silenceMs);
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

channel.open();
