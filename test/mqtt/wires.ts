import { createHash } from 'node:crypto';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

export interface Wire {
  readonly port: number;
  readonly connections: () => number;
  close(): Promise<void>;
}

/** A listener on loopback that hands each socket to `serve`. */
export async function wire(serve: (socket: Socket, nth: number) => void): Promise<Wire> {
  const sockets = new Set<Socket>();
  let count = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    serve(socket, count++);
  });
  return {
    port: await listen(server),
    connections: () => count,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** What a broker that is made of bytes answers to each packet of a client: by packet type (the upper half of the first byte). */
export function answering(answers: Readonly<Record<number, (body: Buffer, socket: Socket) => string | undefined>>) {
  return (socket: Socket): void => {
    let bytes = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      for (;;) {
        let length = 0;
        let at = 1;
        for (let shift = 0; at < bytes.length; shift += 7) {
          const byte = bytes[at++] ?? 0;
          length += (byte & 0x7f) << shift;
          if ((byte & 0x80) === 0) break;
        }
        if (at < 2 || bytes.length < at + length) return;
        const body = bytes.subarray(at, at + length);
        const hex = answers[(bytes[0] ?? 0) >> 4]?.(body, socket);
        bytes = bytes.subarray(at + length);
        if (hex !== undefined) socket.write(Buffer.from(hex, 'hex'));
      }
    });
  };
}

/** A wire to another port that can be cut without a goodbye, and stays cut until it is mended. */
export async function cuttable(port: number): Promise<Wire & { cut(): void; mend(): void }> {
  let isCut = false;
  const pairs = new Set<Socket>();
  const made = await wire((socket) => {
    if (isCut) {
      socket.destroy();
      return;
    }
    const far = connect(port, '127.0.0.1');
    far.on('error', () => socket.destroy());
    for (const end of [socket, far]) pairs.add(end);
    socket.pipe(far).pipe(socket);
  });
  return {
    ...made,
    cut() {
      isCut = true;
      for (const end of pairs) end.resetAndDestroy();
    },
    mend() {
      isCut = false;
    },
  };
}

/** WebSocket (RFC 6455) in front of a TCP port: just enough of it for binary messages of less than 64 KiB. */
export async function websocketTo(port: number): Promise<Wire> {
  return wire((socket) => {
    let bytes = Buffer.alloc(0);
    let open = false;
    const far = connect(port, '127.0.0.1');
    far.on('error', () => socket.destroy()).on('close', () => socket.destroy());
    socket.on('close', () => far.destroy());
    far.on('data', (data: Buffer) => {
      const head = data.length < 126 ? [0x82, data.length] : [0x82, 126, data.length >> 8, data.length & 255];
      socket.write(Buffer.concat([Buffer.from(head), data]));
    });
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (!open) {
        const request = bytes.toString('latin1');
        if (!request.includes('\r\n\r\n')) return;
        open = true;
        bytes = Buffer.alloc(0);
        const key = /^sec-websocket-key: (.*)\r$/im.exec(request)?.[1] ?? '';
        const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
        const head = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade'];
        const rest = [`Sec-WebSocket-Accept: ${accept}`, 'Sec-WebSocket-Protocol: mqtt', '', ''];
        socket.write([...head, ...rest].join('\r\n'));
        return;
      }
      while (bytes.length >= 6) {
        const short = (bytes[1] ?? 0) & 0x7f;
        const at = short === 126 ? 4 : 2;
        const length = short === 126 ? bytes.readUInt16BE(2) : short;
        if (bytes.length < at + 4 + length) return;
        const mask = bytes.subarray(at, at + 4);
        const data = bytes.subarray(at + 4, at + 4 + length).map((byte, index) => byte ^ (mask[index % 4] ?? 0));
        if (((bytes[0] ?? 0) & 15) === 8) return void socket.end();
        far.write(data);
        bytes = bytes.subarray(at + 4 + length);
      }
    });
  });
}
