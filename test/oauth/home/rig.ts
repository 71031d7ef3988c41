import { createLog } from '../../../src/log.ts';
import { Home, type HomeParts } from '../../../src/oauth/home/home.ts';
import type { HomeSession } from '../../../src/oauth/home/sources.ts';
import type { GrantInfo } from '../../../src/oauth/session.ts';
import type { AuthorizationStatus } from '../../../src/oauth/status.ts';
import type { Reply } from '../../../src/oauth/wire.ts';
import { clock, pass } from '../script.ts';

export const ISSUER = 'https://auth.example.com';
export const USERINFO = `${ISSUER}/userinfo`;
export type Body = Readonly<Record<string, unknown>>;
type Turn = Reply<Body> | Error | ((signal: AbortSignal) => Promise<Reply<Body>>);

export const answered = (value: Body): Reply<Body> => ({ kind: 'answered', value });
export const refused = (error: string, status: number): Reply<Body> => ({ kind: 'refused', error, status });

/** The gateway's own authorization as far as the home sees it. As the real one it tells of each change, and only of changes. */
export class FakeSession implements HomeSession {
  status: AuthorizationStatus = { state: 'unauthorized', since: '2026-11-01T00:00:00.000Z' };
  info: GrantInfo | undefined;
  readonly asked: { readonly at: number; readonly url: string }[] = [];
  readonly turns: Turn[] = [];
  metadataProblem: Error | undefined;
  userinfo: string | undefined = USERINFO;
  readonly #listeners = new Set<(status: AuthorizationStatus) => void>();

  become(status: Partial<AuthorizationStatus>, info?: GrantInfo): void {
    const { since } = this.status;
    this.status = { state: 'unauthorized', since, ...status };
    this.info = info;
    for (const listener of this.#listeners) listener(this.status);
  }

  /** A person approves: a code is shown, then it is no more. */
  approve(info: GrantInfo, scopes: readonly string[] = ['openid', 'profile', 'address']): void {
    const code_expires_at = '2026-11-01T00:10:00.000Z';
    const subject = info.subject === undefined ? {} : { subject: info.subject };
    if (this.info === undefined) this.become({ state: 'pending', code_expires_at });
    else this.become({ ...this.status, code_expires_at }, this.info);
    this.become({ state: 'authorized', scopes, ...subject, code_expires_at }, info);
    this.become({ state: 'authorized', scopes, ...subject }, info);
  }

  readonly grantInfo = (): GrantInfo | undefined => this.info;

  async metadata(): ReturnType<HomeSession['metadata']> {
    if (this.metadataProblem !== undefined) throw this.metadataProblem;
    return { issuer: ISSUER, ...(this.userinfo === undefined ? {} : { userinfo_endpoint: this.userinfo }) };
  }

  readonly resource: HomeSession['resource'] = async (_purpose, url, signal) => {
    this.asked.push({ at: performance.now(), url });
    const turn = this.turns.length > 1 ? this.turns.shift() : this.turns[0];
    if (turn === undefined) throw new Error('nobody said what to answer');
    if (turn instanceof Error) throw turn;
    return typeof turn === 'function' ? turn(signal) : turn;
  };

  onChange(listener: (status: AuthorizationStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

/** A file: what is saved comes back as JSON would bring it. */
export class FakeStore {
  text: string | undefined;
  broken = false;

  constructor(value?: unknown) {
    this.text = value === undefined ? undefined : JSON.stringify(value);
  }

  async load(): Promise<unknown> {
    return this.text === undefined ? undefined : JSON.parse(this.text);
  }

  async save(value: unknown): Promise<void> {
    await Promise.resolve();
    if (this.broken) throw Object.assign(new TypeError('no space left on device'), { code: 'ENOSPC' });
    this.text = JSON.stringify(value);
  }

  async clear(): Promise<void> {
    await Promise.resolve();
    this.text = undefined;
  }
}

export interface Rig {
  readonly home: Home;
  readonly session: FakeSession;
  readonly store: FakeStore;
  readonly lines: string[];
  stop(): Promise<void>;
}

/** A home that runs, over a fake session; jitter off, and the machine lives in Paris. */
export async function rig(
  more: Partial<Omit<HomeParts, 'store' | 'session'>> & { store?: FakeStore; session?: FakeSession } = {},
): Promise<Rig> {
  const { session = new FakeSession(), store = new FakeStore(), ...parts } = more;
  const lines: string[] = [];
  const log = createLog('trace', { write: (line: string) => void lines.push(line) });
  const home = new Home({
    options: { issuer: ISSUER, client_id: 'porchlight' },
    how: 'userinfo',
    session,
    store,
    clock,
    log,
    random: () => 0,
    machineTimeZone: () => 'Europe/Paris',
    ...parts,
  });
  const controller = new AbortController();
  const ended = home.run(controller.signal);
  await pass(0);
  const stop = async (): Promise<void> => {
    controller.abort();
    await pass(0);
    await ended;
  };
  return { home, session, store, lines, stop };
}
