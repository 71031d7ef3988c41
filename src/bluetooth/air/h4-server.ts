import { once } from 'node:events';
import { lstat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { PorchlightError } from '../../errors.ts';
import type { HostPort } from './controller.ts';
import { H4Framer } from './h4.ts';
import type { StartOptions } from './messages.ts';

/** Above this many unread bytes adverts are dropped; above the second the host is given up. */
const CONGESTED = 256 * 1024;
const GIVEN_UP = 8 * 1024 * 1024;

/** What a host connection is served by. */
export interface HostSession {
  receive(packet: Buffer): void;
  lostSynchronisation(): void;
  close(): void;
}

/** One host at a time, as on a serial line: a new connection takes the place of the old one. */
export class H4Server {
  readonly #attach: (port: HostPort) => HostSession;
  readonly #onFault: (thrown: unknown) => void;
  readonly #server: Server;
  #host: Socket | undefined;
  /** Refuse every connection. */
  closed = false;

  /** `attach` makes the session of a new host; `onFault` hears of what went wrong while one was served. */
  constructor(attach: (port: HostPort) => HostSession, onFault: (thrown: unknown) => void) {
    this.#attach = attach;
    this.#onFault = onFault;
    this.#server = createServer({ noDelay: true }, (socket) => this.#serve(socket));
  }

  /** Resolves with the address to give to the host. Rejects with `daemon_unreachable` where it can not listen. */
  async listen(on: StartOptions['listen']): Promise<string> {
    if ('unix' in on) {
      await removeStale(on.unix);
      await this.#bind({ path: on.unix });
      return `unix:${on.unix}`;
    }
    await this.#bind({ host: '127.0.0.1', port: on.tcp });
    const bound = this.#server.address();
    return `tcp://127.0.0.1:${typeof bound === 'object' && bound !== null ? bound.port : on.tcp}`;
  }

  dropHost(): void {
    this.#host?.destroy();
  }

  close(): void {
    this.dropHost();
    this.#server.close();
  }

  async #bind(where: { readonly path: string } | { readonly host: string; readonly port: number }): Promise<void> {
    this.#server.listen(where);
    try {
      await once(this.#server, 'listening');
    } catch (thrown) {
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      throw new PorchlightError('internal', `The virtual air can not listen: ${reason}`, { cause: thrown });
    }
    this.#server.on('error', this.#onFault);
  }

  #serve(socket: Socket): void {
    // A host that is killed resets the connection; that is no fault of ours, and `close` follows.
    socket.on('error', () => socket.destroy());
    if (this.closed) return void socket.destroy();
    this.dropHost();
    this.#host = socket;
    const together = (moves: () => void): void => {
      socket.cork();
      try {
        moves();
      } finally {
        socket.uncork();
      }
    };
    const session = this.#attach({
      send: (packet) => {
        if (socket.destroyed) return;
        socket.write(packet);
        if (socket.writableLength > GIVEN_UP) socket.destroy();
      },
      together,
      get congested() {
        return socket.writableLength > CONGESTED;
      },
    });
    const framer = new H4Framer(
      (packet) => session.receive(packet),
      () => session.lostSynchronisation(),
    );
    socket.on('data', (chunk) => {
      try {
        together(() => framer.push(chunk));
      } catch (thrown) {
        this.#onFault(thrown);
      }
    });
    socket.on('close', () => {
      if (this.#host === socket) this.#host = undefined;
      session.close();
    });
  }
}

/** A socket file that nobody listens on, left behind by a killed process, is in the way. */
async function removeStale(path: string): Promise<void> {
  const probe = connect(path);
  const outcome = await new Promise<string>((resolve) => {
    probe.once('connect', () => resolve('alive'));
    probe.once('error', (error) => resolve('code' in error && typeof error.code === 'string' ? error.code : 'unknown'));
  });
  probe.destroy();
  // A plain file refuses as well, and is somebody's.
  if (outcome === 'ECONNREFUSED' && (await lstat(path)).isSocket()) await unlink(path);
}
