import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

/** What is done with one request: anything, to the bytes of the socket. */
export type Deed = (answer: ServerResponse, request: IncomingMessage, body: URLSearchParams) => void;

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: URLSearchParams;
}

/** Timers that a test's frozen clock does not hold. */
const { setTimeout: later, setInterval: every, clearInterval: stop } = globalThis;

/** An authorization server over loopback that does what a script says, byte by byte. */
export interface HostileServer {
  readonly issuer: string;
  readonly asked: readonly Asked[];
  /** Bytes that clients were willing to take, since the start. */
  readonly sent: () => number;
  /** The deeds of a path, used up in order; the last one stays. */
  answer(path: string, ...deeds: Deed[]): void;
  /** Addresses, as RFC 8414 metadata names them. */
  metadata(): Record<string, string>;
  close(): Promise<void>;
}

/** Starts one. With `tls`, over TLS with that certificate. */
export async function startHostileServer(
  tls?: { readonly cert: string; readonly key: string },
  port = 0,
): Promise<HostileServer> {
  const deeds = new Map<string, Deed[]>();
  const asked: Asked[] = [];
  const sockets = new Set<Socket>();
  let gone = 0;
  const listener: RequestListener = (request, response) => {
    const pieces: Buffer[] = [];
    request.on('error', () => undefined).on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const { pathname } = new URL(request.url ?? '/', 'http://x');
      const body = new URLSearchParams(Buffer.concat(pieces).toString('utf8'));
      asked.push({ method: request.method ?? '', path: pathname, headers: request.headers, body });
      const turns = deeds.get(pathname) ?? [status(404)];
      const turn = turns.length > 1 ? turns.shift() : turns[0];
      response.on('error', () => undefined).setHeader('connection', 'close');
      turn?.(response, request, body);
    });
  };
  const server = tls === undefined ? createServer(listener) : createSecureServer(tls, listener);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket
      .on('error', () => undefined)
      .on('close', () => {
        sockets.delete(socket);
        gone += socket.bytesWritten;
      });
  });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const { port: at } = server.address() as AddressInfo;
  const issuer = `http${tls === undefined ? '' : 's'}://${tls === undefined ? '127.0.0.1' : 'localhost'}:${at}`;
  const metadata = (): Record<string, string> => ({
    issuer,
    device_authorization_endpoint: `${issuer}/device`,
    token_endpoint: `${issuer}/token`,
    revocation_endpoint: `${issuer}/revoke`,
    introspection_endpoint: `${issuer}/introspect`,
    userinfo_endpoint: `${issuer}/userinfo`,
    jwks_uri: `${issuer}/keys`,
  });
  return {
    issuer,
    asked,
    sent: () => [...sockets].reduce((sum, { bytesWritten }) => sum + bytesWritten, gone),
    answer: (path, ...turns) => void deeds.set(path, turns),
    metadata,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

const JSON_TYPE = { 'content-type': 'application/json' };

/** An honest answer, as far as its form goes; a text is sent as it is. */
export const json =
  (value: unknown, code = 200, headers: Record<string, string | string[]> = {}): Deed =>
  (answer) =>
    answer.writeHead(code, { ...JSON_TYPE, ...headers }).end(typeof value === 'string' ? value : JSON.stringify(value));

export const bytes =
  (body: Uint8Array | string, headers: Record<string, string> = JSON_TYPE, code = 200): Deed =>
  (answer) =>
    answer.writeHead(code, headers).end(body);

export const status =
  (code: number): Deed =>
  (answer) =>
    answer.writeHead(code).end();

const raw =
  (text: string | Uint8Array, end = true): Deed =>
  (answer) => {
    answer.socket?.write(text);
    if (end) later(() => answer.socket?.end(), 5);
  };

/** Writes `piece` as fast as it is taken: `times`, or without end. */
const pour =
  (piece: Uint8Array, times = Number.POSITIVE_INFINITY, headers: Record<string, string> = JSON_TYPE): Deed =>
  (answer) => {
    answer.writeHead(200, headers);
    let left = times;
    const more = (): void => {
      while (left > 0 && !answer.destroyed) {
        left -= 1;
        if (!answer.write(piece)) return void answer.once('drain', more);
      }
      answer.end();
    };
    more();
  };

/** One byte at a time, for as long as anybody listens. */
const drip =
  (first: string): Deed =>
  (answer) => {
    answer.socket?.write(first);
    const timer = every(() => {
      if (answer.socket === null || answer.socket.destroyed) stop(timer);
      else answer.socket.write('x');
    }, 50);
    answer.socket?.once('close', () => stop(timer));
  };

const MEGABYTE = 1024 * 1024;
const OK = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n';

const once = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
};
/** A thousand million blanks in a megabyte. */
const gzipBomb = once(() => {
  const member = gzipSync(Buffer.alloc(32 * MEGABYTE, ' '), { level: 1 });
  return Buffer.concat(Array.from({ length: 32 }, () => member));
});
const brotliBomb = once(() =>
  brotliCompressSync(Buffer.alloc(64 * MEGABYTE, ' '), { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
);
const packed =
  (encoding: string, make: () => Uint8Array): Deed =>
  (answer) =>
    answer.writeHead(200, { ...JSON_TYPE, 'content-encoding': encoding }).end(make());

const redirect = (code: number, location: string): Deed => {
  return (answer) => answer.writeHead(code, { location }).end();
};

/** Deeds that are no answer to anything, whatever was asked: what each is, and whether it takes the whole deadline. */
export const HOSTILE: readonly (readonly [string, Deed, 'slow'?])[] = [
  ['a page with status 200', bytes('<html><script>alert(1)</script>', { 'content-type': 'text/html' })],
  ['a page that calls itself JSON', bytes('<!doctype html>\u001b[2J')],
  ['a page with status 500', bytes('<html>', { 'content-type': 'text/html' }, 500)],
  ['an empty 200', status(200)],
  ['an empty 400', status(400)],
  ['an empty 401', status(401)],
  ['an empty 403', status(403)],
  ['an empty 404', status(404)],
  ['an empty 429', status(429)],
  ['an empty 503', status(503)],
  ['an absurd status', raw('HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n')],
  ['no status at all', raw('HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n')],
  ['a JSON array', json([])],
  ['null', json('null')],
  ['a number', json('1e400')],
  ['a text', json('"ok"')],
  ['true', json('true')],
  ['NaN', json('NaN')],
  ['half an object', json('{"access_token":"')],
  ['an array of a hundred thousand levels', json('['.repeat(100_000))],
  ['an object of ten thousand levels', json(`${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`)],
  ['arrays of thirty thousand levels in an object', json(`{"a":${'['.repeat(30_000)}${']'.repeat(30_000)}}`)],
  ['UTF-16', bytes(Buffer.from('\ufeff{"error":"access_denied"}', 'utf16le'))],
  ['bytes that are no text', bytes(randomBytes(2_000))],
  [
    'an error that is inherited',
    json('{"__proto__":{"error":"invalid_grant"},"constructor":{"error":"invalid_grant"}}'),
  ],
  ['a hundred megabytes', pour(Buffer.alloc(MEGABYTE, 'x'), 100)],
  ['a body without end', pour(Buffer.alloc(65_536, ' '))],
  ['one object without end', pour(Buffer.from('"a":"'.padEnd(65_536, 'a')))],
  ['a gigabyte in gzip', packed('gzip', gzipBomb)],
  ['sixty-four megabytes in Brotli', packed('br', brotliBomb)],
  ['gzip that is none', bytes('{}', { ...JSON_TYPE, 'content-encoding': 'gzip' })],
  ['gzip in gzip, fifty times', bytes('{}', { ...JSON_TYPE, 'content-encoding': Array(50).fill('gzip').join(', ') })],
  ['half a gzip', bytes(gzipSync('{"error":"access_denied"}').subarray(0, 24), { 'content-encoding': 'gzip' })],
  ['a header of a hundred kilobytes', raw(`${OK}X-Long: ${'a'.repeat(100_000)}\r\n\r\n{}`)],
  ['ten thousand headers', raw(`${OK}${'Set-Cookie: a=b\r\n'.repeat(10_000)}\r\n{}`)],
  ['a length that is longer than the body', raw(`${OK}Content-Length: 500\r\n\r\n{"error":`)],
  ['two lengths', raw(`${OK}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} `)],
  ['a chunk that is none', raw(`${OK}Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}`)],
  ['something else than HTTP', raw('SSH-2.0-OpenSSH_9.2\r\n')],
  ['another protocol', raw('HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n')],
  ['a thousand times "go on"', raw('HTTP/1.1 100 Continue\r\n\r\n'.repeat(1000))],
  ['the end of the connection', raw('')],
  ['a reset', (answer) => answer.socket?.resetAndDestroy()],
  [
    'a reset in mid-body',
    (answer) => {
      answer.socket?.write(`${OK}Content-Length: 500\r\n\r\n{"error":"access_den`);
      later(() => answer.socket?.resetAndDestroy(), 5);
    },
  ],
  ...[301, 302, 303, 307, 308].map((code) => [`a ${code} to a file`, redirect(code, 'file:///etc/passwd')] as const),
  ['a 307 to another host', redirect(307, 'https://127.0.0.1:1/token')],
  ['a 308 to itself', redirect(308, '?')],
  ['no answer', () => undefined, 'slow'],
  ['headers that drip', drip('HTTP/1.1 200 OK\r\nX-Slow: '), 'slow'],
  ['a body that drips', drip(`${OK}\r\n{"a":"`), 'slow'],
  ['headers and no body', raw(`${OK}Content-Length: 500\r\n\r\n`, false), 'slow'],
];
