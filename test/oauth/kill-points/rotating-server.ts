import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

/**
 * How a server treats refresh tokens. `fixed`: one for ever. `strict`: each is used once, and one that comes back ends the whole grant
 * (RFC 9700 section 4.14.2). With grace, the last one used is answered again for some time: with the tokens that were lost (`again`),
 * or with new ones in their place (`anew`).
 */
export type Habit = 'fixed' | 'strict' | 'again' | 'anew';

/** The evidence: what was shown to the server, and whether a client may have shown it. */
export interface Evidence {
  /** Refresh tokens in the order in which they came, by their number in the family. */
  readonly shown: readonly number[];
  /** A token came back after its successor had been used by the same client: two copies of one grant in use. */
  readonly twoCopies: number;
  /** A refresh came while another one of the same process was not answered yet. */
  readonly atOnce: number;
  /** Refreshes that were refused, the first of which ended the grant. */
  readonly refused: number;
  readonly alive: boolean;
}

type Hold = 'sent' | 'headers' | 'body';

export const GRACE_MS = 30_000;

/** One grant: every token that was ever issued for it. */
class Family {
  readonly habit: Habit;
  alive = true;
  shown: number[] = [];
  twoCopies = 0;
  atOnce = 0;
  refused = 0;
  /** The number of the newest token that the client is known to have: it has shown it, or an access token that came with it. */
  known = 0;
  /** In ms, as the test lets it pass. */
  now = 0;
  underWay = 0;
  hold: { readonly where: Hold; readonly reached: () => void } | undefined;
  readonly #name: string;
  #issued = 0;
  /** The last one that was taken, and when. */
  #used = Number.NaN;
  #usedAt = 0;

  constructor(name: string, habit: Habit) {
    this.#name = name;
    this.habit = habit;
  }

  /** The refresh token that a client should hold now. */
  get current(): string {
    return this.refreshToken(this.habit === 'fixed' ? 0 : this.#issued);
  }

  refreshToken(number: number): string {
    return `refresh-${this.#name}-${number}`;
  }

  first(): Record<string, unknown> {
    return this.#answer(0);
  }

  /** Undefined: invalid_grant. */
  refresh(token: string): Record<string, unknown> | undefined {
    const [, number] = new RegExp(`^refresh-${this.#name}-(\\d+)$`).exec(token) ?? [];
    const shown = Number(number ?? Number.NaN);
    this.shown.push(shown);
    if (!this.alive || Number.isNaN(shown) || shown > this.#issued) return undefined;
    if (this.habit === 'fixed') {
      this.#issued += 1;
      return this.#answer(this.#issued);
    }
    if (shown < this.known) this.twoCopies += 1;
    const inGrace = this.habit !== 'strict' && shown === this.#used && this.now - this.#usedAt <= GRACE_MS;
    if (shown === this.#issued) {
      this.known = shown;
      this.#used = shown;
      this.#usedAt = this.now;
    } else if (!inGrace || this.known > shown) {
      this.alive = false;
      return undefined;
    } else if (this.habit === 'again') return this.#answer(this.#issued);
    // A successor that nobody has shown is taken back when another one is issued.
    this.#issued += 1;
    return this.#answer(this.#issued);
  }

  /** A resource is asked for. */
  use(token: string): boolean {
    const [, number] = new RegExp(`^access-${this.#name}-(\\d+)$`).exec(token) ?? [];
    if (number === undefined || !this.alive) return false;
    if (this.habit !== 'fixed') this.known = Math.max(this.known, Number(number));
    return true;
  }

  #answer(number: number): Record<string, unknown> {
    return {
      access_token: `access-${this.#name}-${number}`,
      token_type: 'Bearer',
      expires_in: 3600,
      ...(this.habit === 'fixed' ? {} : { refresh_token: this.refreshToken(number) }),
    };
  }
}

/** An authorization server for many grants, each under an issuer of its own, that keeps the evidence. */
export class RotatingServer {
  readonly #families = new Map<string, Family>();
  #server: Server | undefined;
  #origin = '';

  async start(): Promise<void> {
    const server = createServer((request, response) => void this.#serve(request, response));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    this.#origin = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  /** A person has approved: the issuer, and the tokens as a client holds them then. */
  grant(name: string, habit: Habit): { readonly issuer: string; readonly tokens: Record<string, unknown> } {
    const family = new Family(name, habit);
    this.#families.set(name, family);
    return { issuer: `${this.#origin}/${name}`, tokens: { refresh_token: family.refreshToken(0), ...family.first() } };
  }

  /** The next refresh of this grant is done, but answered no further than this; `reached` is called then. */
  hold(name: string, where: Hold, reached: () => void): void {
    this.#family(name).hold = { where, reached };
  }

  /** A process was killed: its connections are gone, and so much time has passed before another one starts. */
  killed(name: string, ms: number): void {
    const family = this.#family(name);
    family.hold = undefined;
    family.underWay = 0;
    family.now += ms;
  }

  /** The refresh token that a client must hold to go on. */
  current(name: string): string {
    return this.#family(name).current;
  }

  evidence(name: string): Evidence {
    return this.#family(name);
  }

  #family(name: string): Family {
    const family = this.#families.get(name);
    if (family === undefined) throw new Error(`no grant ${name}`);
    return family;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts = (request.url ?? '').split('/').slice(1);
    const json = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    if (parts[0] === '.well-known') {
      const issuer = `${this.#origin}/${parts[2]}`;
      const endpoints = { device_authorization_endpoint: `${issuer}/device`, token_endpoint: `${issuer}/token` };
      return parts[1] === 'oauth-authorization-server' ? json(200, { issuer, ...endpoints }) : json(404, {});
    }
    const family = this.#family(parts[0] ?? '');
    if (parts[1] === 'resource') {
      const [, token = ''] = /^Bearer (.+)$/.exec(request.headers.authorization ?? '') ?? [];
      return family.use(token) ? json(200, {}) : json(401, {});
    }
    if (parts[1] !== 'token') return json(404, {});
    let text = '';
    for await (const piece of request) text += String(piece);
    if (family.underWay > 0) family.atOnce += 1;
    family.underWay += 1;
    response.once('close', () => {
      family.underWay = Math.max(0, family.underWay - 1);
    });
    const tokens = family.refresh(new URLSearchParams(text).get('refresh_token') ?? '');
    if (tokens === undefined) {
      family.refused += 1;
      return json(400, { error: 'invalid_grant' });
    }
    const { hold } = family;
    family.hold = undefined;
    if (hold === undefined) return json(200, tokens);
    const body = JSON.stringify(tokens);
    if (hold.where !== 'sent') {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
      if (hold.where === 'body') response.write(body.slice(0, body.length / 2));
      else response.flushHeaders();
    }
    hold.reached();
  }
}
