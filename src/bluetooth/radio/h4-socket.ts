import { EventEmitter } from 'node:events';
import { connect, type Socket } from 'node:net';
import { PorchlightError } from '../../errors.ts';
import { COMMAND, EVENT, H4Framer } from './h4-framer.ts';
import type { HciTransport, TransportEvents } from './hci-transport.ts';

const RESET = 0x0c03;
const EVENT_COMMAND_COMPLETE = 0x0e;
const EVENT_COMMAND_STATUS = 0x0f;

/** As Linux waits (HCI_CMD_TIMEOUT, HCI_INIT_TIMEOUT): a controller that swallows one command must not stop all others. */
const COMMAND_TIMEOUT_MS = 2000;
const RESET_TIMEOUT_MS = 10_000;
/** Commands in a row that nothing at all answered: the controller hangs, and only a new connection can help. */
const MOST_TIMEOUTS = 2;
/** No packet takes so long: what was taken for its length is none, and all that follows would be lost in it. */
const PACKET_TIMEOUT_MS = 2000;
/** Read BD_ADDR: what any controller answers, to see whether it is there. */
const ARE_YOU_THERE = Buffer.from([COMMAND, 0x09, 0x10, 0x00]);

/** Where a controller listens: `tcp://host:port` or `unix:/path`. */
export function parseH4Address(
  address: string,
): { readonly host: string; readonly port: number } | { readonly path: string } {
  if (address.startsWith('unix:')) {
    const path = address.slice('unix:'.length).replace(/^\/\/(?=\/)/, '');
    if (path !== '') return { path };
  }
  const tcp = /^tcp:\/\/(?:\[([0-9a-fA-F:.]+)\]|([^:/[\]]+)):(\d{1,5})\/?$/.exec(address);
  const host = tcp?.[1] ?? tcp?.[2];
  const port = Number(tcp?.[3]);
  if (host !== undefined && port > 0 && port < 65536) return { host, port };
  throw new PorchlightError(
    'config_invalid',
    `"${address}" is not a controller's address (tcp://host:port, unix:/path).`,
  );
}

/**
 * A Bluetooth controller behind a stream socket that speaks H4. Commands obey the controller's own flow control (Vol 4,
 * Part E, 4.4), which a kernel would do for noble: noble sends all it has at once. Nothing is ever emitted from within
 * `write`, and what is written before the connection stands is kept in order and sent then.
 */
export class H4Socket extends EventEmitter<TransportEvents> implements HciTransport {
  readonly #address: string;
  readonly #framer = new H4Framer();
  readonly #commands: Buffer[] = [];
  readonly #early: Buffer[] = [];
  #socket: Socket | undefined;
  #connected = false;
  #credits = 1;
  #timer: NodeJS.Timeout | undefined;
  #packetTimer: NodeJS.Timeout | undefined;
  #timeouts = 0;

  constructor(address: string) {
    super();
    this.#address = address;
  }

  /** Resolves once connected; rejects where nothing listens. Afterwards the end of the connection is a `state` event. */
  open(): Promise<void> {
    const at = parseH4Address(this.#address);
    return new Promise((resolve, reject) => {
      const socket = connect({ ...at, noDelay: true });
      this.#socket = socket;
      socket.on('data', (chunk: Buffer) => this.#receive(chunk));
      socket.on('error', (cause) => {
        reject(new PorchlightError('adapter_off', `No Bluetooth controller answers at ${this.#address}.`, { cause }));
        if (this.#connected) this.emit('error', cause);
      });
      socket.on('close', () => this.#closed());
      socket.once('connect', () => {
        this.#connected = true;
        for (const packet of this.#early.splice(0)) this.write(packet);
        resolve();
      });
    });
  }

  bindRaw(): void {
    // Nothing to bind: this socket is one controller's, and all of it is ours.
  }

  bindUser(): void {
    // As bindRaw.
  }

  setFilter(): void {
    // Filters are the kernel's business; whoever listens here gets every packet.
  }

  isDevUp(): boolean {
    return this.#connected;
  }

  start(): void {
    if (this.#connected) queueMicrotask(() => this.emit('state', true));
  }

  stop(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#packetTimer);
    this.#socket?.end();
  }

  write(packet: Buffer): void {
    if (!this.#connected) {
      this.#early.push(packet);
    } else if (packet[0] === COMMAND) {
      this.#commands.push(packet);
      this.#sendCommands();
    } else {
      this.#socket?.write(packet);
    }
  }

  #sendCommands(): void {
    while (this.#credits > 0) {
      const next = this.#commands.shift();
      if (next === undefined) return;
      this.#credits -= 1;
      this.#socket?.write(next);
      clearTimeout(this.#timer);
      this.#timer = setTimeout(
        () => this.#timeOut(),
        next.readUInt16LE(1) === RESET ? RESET_TIMEOUT_MS : COMMAND_TIMEOUT_MS,
      );
    }
  }

  #grant(credits: number): void {
    clearTimeout(this.#timer);
    this.#credits = credits;
    if (credits > 0) this.#sendCommands();
    else this.#timer = setTimeout(() => this.#timeOut(), COMMAND_TIMEOUT_MS);
  }

  #timeOut(): void {
    this.#timeouts += 1;
    if (this.#timeouts >= MOST_TIMEOUTS) {
      this.emit('error', new PorchlightError('adapter_stuck', 'The Bluetooth controller does not answer.'));
      this.#socket?.destroy();
      return;
    }
    if (this.#commands.length === 0) this.#commands.push(ARE_YOU_THERE);
    this.#grant(1);
  }

  #receive(chunk: Buffer): void {
    try {
      this.#framer.push(chunk, (packet) => {
        this.#timeouts = 0;
        clearTimeout(this.#packetTimer);
        this.#packetTimer = undefined;
        const credits = creditsOf(packet);
        if (credits !== undefined) this.#grant(credits);
        this.emit('data', packet);
      });
      if (this.#framer.isWithin) this.#packetTimer ??= setTimeout(() => this.#loseFrames(), PACKET_TIMEOUT_MS);
    } catch (thrown) {
      this.#socket?.destroy();
      this.emit('error', thrown);
    }
  }

  #loseFrames(): void {
    this.emit('error', new PorchlightError('adapter_stuck', 'The controller sent half a packet.'));
    this.#socket?.destroy();
  }

  #closed(): void {
    const was = this.#connected;
    this.#connected = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#packetTimer);
    this.#commands.length = 0;
    if (was) this.emit('state', false);
  }
}

/** Num_HCI_Command_Packets of Command Complete and Command Status (Vol 4, Part E, 7.7.14 and 7.7.15). */
function creditsOf(packet: Buffer): number | undefined {
  if (packet[0] !== EVENT) return undefined;
  if (packet[1] === EVENT_COMMAND_COMPLETE) return packet[3];
  if (packet[1] === EVENT_COMMAND_STATUS) return packet[4];
  return undefined;
}
