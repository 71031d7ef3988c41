import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose';

/** A request as it came over the wire. */
export interface Received {
  /** Seconds on the frozen clock. */
  readonly at: number;
  readonly method: string;
  readonly path: string;
  readonly form: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

export const json = (status: number, body: unknown, type = 'application/json'): Answer => ({
  status,
  type,
  body: JSON.stringify(body),
});
export const text = (status: number, body: string, type = 'text/plain'): Answer => ({ status, type, body });
export const refusal = (status: number, error: string, error_description?: string, more: object = {}): Answer =>
  json(status, { error, ...(error_description === undefined ? {} : { error_description }), ...more });
export const NOT_FOUND = text(404, '<html><body>404</body></html>', 'text/html');

export type Handler = (request: Received) => Answer | Promise<Answer>;

export type CodeState = 'pending' | 'approved' | 'denied' | 'expired' | 'used' | 'forgotten';
export interface Code {
  readonly device_code: string;
  readonly user_code: string;
  state: CodeState;
  /** Seconds that polls must be apart. */
  interval: number;
  polled: number;
}

const seconds = (): number => performance.now() / 1000;

/** What every kind of server keeps in its books: codes, what became of them, and which tokens are alive. */
export class Desk {
  readonly codes: Code[] = [];
  readonly alive = new Set<string>();
  /** Says "too fast" to the next poll, whatever the client does: another of its polls was delayed on its way, say. */
  impatient = false;
  issued = 0;

  issue(device_code: string, user_code: string, interval: number): Code {
    const code: Code = { device_code, user_code, state: 'pending', interval, polled: seconds() };
    this.codes.push(code);
    return code;
  }

  find(device_code: string | undefined): Code | undefined {
    return this.codes.find((code) => code.device_code === device_code);
  }

  /** Is this poll sooner after the last than it may be? */
  tooFast(code: Code): boolean {
    const fast = this.impatient || seconds() - code.polled < code.interval - 0.001;
    this.impatient = false;
    code.polled = seconds();
    return fast;
  }

  /** The person at the browser, or time, decides about every code that is open. */
  decide(state: CodeState): void {
    for (const code of this.codes) if (code.state === 'pending') code.state = state;
  }

  mint(prefix: string): string {
    this.issued += 1;
    const token = `${prefix}${this.issued}`;
    this.alive.add(token);
    return token;
  }
}

/** A vendor's server: real HTTP on the loopback interface, answering as the vendor documents. */
export class VendorServer {
  readonly desk = new Desk();
  readonly received: Received[] = [];
  readonly origin: string;
  readonly #server: Server;

  private constructor(server: Server, origin: string) {
    this.#server = server;
    this.origin = origin;
  }

  static async open(handlerFor: (vendor: VendorServer) => Handler): Promise<VendorServer> {
    let vendor: VendorServer | undefined;
    let handler: Handler = () => NOT_FOUND;
    const server = createServer(async (incoming, outgoing) => {
      const request = await read(incoming);
      vendor?.received.push(request);
      const { status, type, body } = await handler(request);
      outgoing.writeHead(status, { 'content-type': type, connection: 'close' }).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new TypeError('no port');
    vendor = new VendorServer(server, `http://127.0.0.1:${address.port}`);
    handler = handlerFor(vendor);
    return vendor;
  }

  /** The forms that a path got, oldest first. */
  forms(path: string): readonly Received['form'][] {
    return this.received.filter((one) => one.path === path && one.method === 'POST').map(({ form }) => form);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

async function read(incoming: IncomingMessage): Promise<Received> {
  const pieces: Buffer[] = [];
  for await (const piece of incoming) pieces.push(Buffer.from(piece));
  const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://127.0.0.1');
  const typed = incoming.headers['content-type']?.startsWith('application/x-www-form-urlencoded') === true;
  const form = typed ? new URLSearchParams(Buffer.concat(pieces).toString('utf8')) : searchParams;
  return {
    at: Math.round(seconds()),
    method: incoming.method ?? '',
    path: pathname,
    form: Object.fromEntries(form),
    headers: incoming.headers,
  };
}

let keys: Promise<{ privateKey: CryptoKey; jwk: object }> | undefined;
/** One RSA key for all vendors that sign: making one takes long. Published without `alg`, as Entra and Salesforce do. */
export function signingKey(): Promise<{ privateKey: CryptoKey; jwk: object }> {
  keys ??= generateKeyPair('RS256', { extractable: true }).then(async ({ privateKey, publicKey }) => ({
    privateKey,
    jwk: { ...(await exportJWK(publicKey)), kid: 'key-1', use: 'sig' },
  }));
  return keys;
}

export async function signed(
  claims: Record<string, unknown>,
  header: Record<string, unknown> = { typ: 'JWT' },
): Promise<string> {
  const { privateKey } = await signingKey();
  return await new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: 'key-1', ...header }).sign(privateKey);
}

/** An id_token with what OpenID Connect Core section 2 asks for. */
export async function idToken(iss: string, aud: string, sub: string, more: object = {}): Promise<string> {
  const iat = Math.floor(Date.now() / 1000);
  return await signed({ iss, aud, sub, iat, exp: iat + 3600, ...more });
}
