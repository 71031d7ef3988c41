import { vi } from 'vitest';
import type { Clock } from '../../src/lights/port.ts';
import { createLog, type Log } from '../../src/log.ts';
import type { ShownCode } from '../../src/oauth/device-code.ts';
import type { GrantRecord, TokenStore } from '../../src/oauth/grant.ts';
import type { AuthorizationOptions, Fetch } from '../../src/oauth/options.ts';
import { Session, type SessionParts } from '../../src/oauth/session.ts';

export const ISSUER = 'https://auth.example.com';
export const options: AuthorizationOptions = {
  issuer: ISSUER,
  client_id: 'porchlight',
  client_authentication: 'none',
  scopes: ['profile', 'offline_access'],
};
export const metadata = {
  issuer: ISSUER,
  device_authorization_endpoint: `${ISSUER}/device/auth`,
  token_endpoint: `${ISSUER}/token`,
  revocation_endpoint: `${ISSUER}/revoke`,
  jwks_uri: `${ISSUER}/jwks`,
};
export const deviceAnswer = {
  device_code: 'device-code-secret',
  user_code: 'WDJB-MJHT',
  verification_uri: `${ISSUER}/device`,
  verification_uri_complete: `${ISSUER}/device?user_code=WDJB-MJHT`,
  expires_in: 600,
};
export const tokenAnswer = {
  access_token: 'access-1',
  refresh_token: 'refresh-1',
  token_type: 'Bearer',
  expires_in: 3600,
  scope: 'profile',
};

/** Time stands still except when a test lets it pass; crypto and streams keep the real event loop. */
export function freezeTime(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'], now: 1_700_000_000_000 });
}

/** Lets `ms` pass, and what real work (signatures, streams) it sets off come to its end. */
export async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
  for (let turns = 0; turns < 8; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  await vi.advanceTimersByTimeAsync(0);
}

/** Real work (a signature) takes real time, on a busy machine much of it: waits for its end while the frozen clock stands still. */
export async function until(condition: () => boolean): Promise<void> {
  const begun = process.hrtime.bigint();
  while (!condition()) {
    if (process.hrtime.bigint() - begun > 10_000_000_000n) throw new Error(`it did not happen: ${condition}`);
    await new Promise((resolve) => setImmediate(resolve));
    await vi.advanceTimersByTimeAsync(0);
  }
}

export const clock: Clock = { monotonic: () => performance.now(), wall: () => Date.now() };

/** What one request gets: a JSON body, a whole response, or an error to throw; a function decides when asked. */
export type Turn =
  | Readonly<Record<string, unknown>>
  | Response
  | Error
  | ((body: URLSearchParams, signal: AbortSignal | null | undefined) => Turn | Promise<Turn>);

export interface Asked {
  /** Monotonic ms. */
  readonly at: number;
  readonly path: string;
  readonly body: URLSearchParams;
  readonly headers: Headers;
  readonly init: RequestInit;
}

export const error = (name: string, status = 400, more: object = {}): Response =>
  Response.json({ error: name, ...more }, { status });
export const pending = (): Response => error('authorization_pending');

/** A server that answers by a table: the turns of a path are used up in order, the last one stays. */
export class Script {
  readonly asked: Asked[] = [];
  readonly #turns = new Map<string, Turn[]>();

  constructor() {
    this.answer('/.well-known/oauth-authorization-server', metadata);
    this.answer('/device/auth', deviceAnswer);
    this.answer('/token', pending);
    this.answer('/revoke', () => new Response(null));
  }

  answer(path: string, ...turns: Turn[]): this {
    this.#turns.set(path, turns);
    return this;
  }

  at(path: string): readonly Asked[] {
    return this.asked.filter((request) => request.path === path);
  }

  /** Milliseconds between the requests of a path. */
  gaps(path: string): readonly number[] {
    const times = this.at(path).map((request) => request.at);
    return times.slice(1).map((time, index) => Math.round(time - (times[index] ?? 0)));
  }

  readonly fetch: Fetch = async (url, init) => {
    const path = new URL(url).pathname;
    const body = new URLSearchParams(init.body instanceof URLSearchParams ? init.body : undefined);
    this.asked.push({ at: performance.now(), path, body, headers: new Headers(init.headers), init });
    const turns = this.#turns.get(path) ?? [() => new Response('not found', { status: 404 })];
    let turn = turns.length > 1 ? turns.shift() : turns[0];
    while (typeof turn === 'function') turn = await turn(body, init.signal);
    if (turn instanceof Error) throw turn;
    return turn instanceof Response ? turn : Response.json(turn);
  };
}

/** Keeps what was saved, in order; can be told to fail. */
export class Drawer implements TokenStore {
  readonly saved: GrantRecord[] = [];
  failures = 0;
  cleared = 0;
  record: unknown;

  constructor(record?: unknown) {
    this.record = record;
  }

  async load(): Promise<unknown> {
    return this.record;
  }

  async save(record: GrantRecord): Promise<void> {
    await Promise.resolve();
    if (this.failures > 0) {
      this.failures -= 1;
      throw Object.assign(new TypeError('no space left on device'), { code: 'ENOSPC' });
    }
    this.saved.push(record);
    this.record = record;
  }

  async clear(): Promise<void> {
    this.cleared += 1;
    this.record = undefined;
  }
}

/** A record as an approval an hour's life long leaves it. */
export function storedRecord(more: object = {}): Record<string, unknown> {
  return {
    version: 1,
    issuer: ISSUER,
    client_id: 'porchlight',
    subject: 'ada',
    scope: 'profile',
    access_token: 'access-0',
    refresh_token: 'refresh-0',
    obtained_at: Date.now(),
    expires_at: Date.now() + 3_600_000,
    ...more,
  };
}

export interface Bench {
  readonly session: Session;
  readonly script: Script;
  readonly store: Drawer;
  /** Each code shown, and `undefined` for each time it was hidden. */
  readonly shown: (ShownCode | undefined)[];
  readonly lines: string[];
  readonly log: Log;
  stop(): Promise<void>;
}

export interface BenchOptions extends Partial<Omit<SessionParts, 'options' | 'store'>> {
  readonly script?: Script;
  readonly store?: Drawer;
  readonly options?: Partial<AuthorizationOptions>;
}

/** A session over a script and a drawer, running; jitter off unless asked for. */
export function bench({
  script = new Script(),
  store = new Drawer(),
  options: more,
  ...parts
}: BenchOptions = {}): Bench {
  const shown: (ShownCode | undefined)[] = [];
  const lines: string[] = [];
  const log = createLog('trace', { write: (line: string) => void lines.push(line) });
  const session = new Session({
    options: { ...options, ...more },
    store,
    fetch: script.fetch,
    clock,
    show: (code) => shown.push(code),
    hide: () => shown.push(undefined),
    log,
    interactive: false,
    random: () => 0,
    ...parts,
  });
  const controller = new AbortController();
  const ended = session.run(controller.signal);
  const stop = async (): Promise<void> => {
    controller.abort();
    await pass(0);
    await ended;
  };
  return { session, script, store, shown, lines, log, stop };
}
