import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import type { Log } from '../log.ts';
import { runAll } from '../task-group.ts';
import { Approvals } from './approvals.ts';
import type { ShownCode } from './device-code.ts';
import type { Dialect } from './dialects/dialect.ts';
import { standard } from './dialects/standard.ts';
import type { TokenStore } from './grant.ts';
import { GrantKeeper } from './keeper.ts';
import type { AuthorizationOptions, Fetch } from './options.ts';
import { Renewals } from './renewals.ts';
import type { Revocation } from './revocation.ts';
import { Server } from './server.ts';
import { type AuthorizationState, type AuthorizationStatus, asProblem } from './status.ts';

export interface SessionParts {
  readonly options: AuthorizationOptions;
  readonly store: TokenStore;
  readonly fetch: Fetch;
  readonly clock: Clock;
  /** A code to approve: to a terminal, a page. Never to the log. */
  readonly show: (code: ShownCode) => void;
  /** The code that was shown is over, whatever came of it (RFC 8628 section 5.5). */
  readonly hide: () => void;
  readonly log: Log;
  /** A person sits before the output: expired codes are replaced without end. */
  readonly interactive: boolean;
  /** 0 to 1, for jitter. */
  readonly random?: () => number;
  readonly dialect?: Dialect;
}

/** The gateway's own authorization: gets approved, keeps an access token fresh, and knows how it stands. */
export class Session {
  readonly #parts: SessionParts;
  readonly #keeper: GrantKeeper;
  readonly #approvals: Approvals;
  readonly #renewals: Renewals;
  readonly #listeners = new Set<(status: AuthorizationStatus) => void>();
  /** No code without a person: nothing is loaded yet, or something was decided (denied, refused, logged out). */
  #quiet = true;
  #code: ShownCode | undefined;
  /** When the last shown code expires: told also while its approval is being verified and stored. */
  #lastExpiry: number | undefined;
  #problem: PorchlightError | undefined;
  #status: AuthorizationStatus;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    const { options, fetch, clock, log, interactive, store, random = Math.random, dialect = standard } = parts;
    const server = new Server({ options, fetch, clock, dialect });
    const keeper = new GrantKeeper({
      options,
      store,
      server,
      clock,
      random,
      log,
      onChange: () => this.#changed(),
      onProblem: (problem) => this.#note(problem),
    });
    this.#keeper = keeper;
    this.#approvals = new Approvals({
      server,
      clock,
      random,
      log,
      interactive,
      wanted: () => !this.#quiet && keeper.grant === undefined && keeper.lost === undefined,
      onCode: (code) => this.#showCode(code),
      onProblem: (problem) => this.#note(problem),
      onRefused: (problem) => this.#refused(problem),
      accept: (tokens, signal) => keeper.accept(tokens, signal),
      discard: (tokens, signal) => keeper.discard(tokens, signal),
    });
    this.#renewals = new Renewals({
      clock,
      random,
      log,
      grant: () => keeper.grant,
      renew: (signal) => keeper.renew(signal),
      onExpired: async () => {
        await keeper.expire();
        this.#publish();
      },
      onProblem: (problem) => this.#note(problem),
    });
    this.#status = { state: 'unauthorized', since: new Date(clock.wall()).toISOString() };
  }

  /** The task: runs until aborted. A server that is away is a state, never a failure. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.#keeper.load();
      this.#quiet = false;
    } catch (thrown) {
      // It was a grant once, so whoever meets the next code might not be its owner: only a person who is there asks for one.
      this.#problem = asPorchlightError(thrown, 'state_unusable', 'The stored authorization can not be read.');
      this.#parts.log.error({ code: this.#problem.code }, this.#problem.message);
    }
    this.#publish();
    await runAll([(inner) => this.#approvals.run(inner), (inner) => this.#renewals.run(inner)], signal);
  }

  get status(): AuthorizationStatus {
    return this.#status;
  }

  get clientId(): string {
    return this.#parts.options.client_id;
  }

  /** The owner: who approved, as the verified id_token named them. Known also while the grant is lost. */
  get subject(): string | undefined {
    return this.#keeper.subject;
  }

  /** Calls `listener` at every change of the status. Returns what ends that. */
  onChange(listener: (status: AuthorizationStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** A live access token. Waits for a refresh under way. Rejects with `not_authorized`. */
  async accessToken(): Promise<string> {
    await this.#renewals.underWay;
    const keeper = this.#keeper;
    if (!keeper.live && !this.#renewals.backingOff) await this.renew();
    const token = keeper.live ? keeper.grant?.record.access_token : undefined;
    if (token !== undefined) return token;
    if (keeper.grant === undefined) throw new PorchlightError('not_authorized');
    throw new PorchlightError('not_authorized', 'The access token has expired and can not be renewed right now.', {
      hint: 'The gateway keeps trying; see "porchlight status".',
      cause: this.#problem,
    });
  }

  /** Refreshes at once, for a resource server that no longer takes the token. Resolves when that has ended, well or not. */
  async renew(): Promise<void> {
    if (this.#keeper.grant?.record.refresh_token !== undefined) await this.#renewals.now();
  }

  /**
   * A code for a person who is there. Works in every state; a grant that works stays until the new one is stored.
   * Rejects with what keeps the server from giving one, or `stopping` when the session does not run.
   */
  requestCode(): Promise<ShownCode> {
    return this.#approvals.request();
  }

  /** Revokes at the server, then forgets, whatever the server said. No code is asked for afterwards without a person. */
  async revoke(): Promise<Revocation> {
    this.#quiet = true;
    const [outcome] = await Promise.all([this.#keeper.forget(), this.#approvals.withdraw()]).finally(() => {
      this.#problem = undefined;
      this.#changed();
    });
    this.#parts.log.info({ revokedAtServer: outcome.revokedAtServer }, 'logged out');
    return outcome;
  }

  #showCode(code: ShownCode | undefined): void {
    const before = this.#code;
    this.#code = code;
    if (code !== undefined) this.#lastExpiry = code.expires_at;
    const { show, hide, log } = this.#parts;
    try {
      if (code !== undefined) show(code);
      else if (before !== undefined) hide();
    } catch (thrown) {
      log.error({ code: asPorchlightError(thrown).code }, 'the code could not be shown');
    }
    this.#publish();
  }

  #note(problem: PorchlightError | undefined): void {
    this.#problem = problem;
    this.#publish();
  }

  #refused(problem: PorchlightError): void {
    this.#quiet = true;
    if (problem.code === 'approval_denied') this.#keeper.denied();
    this.#note(problem);
  }

  #changed(): void {
    if (this.#keeper.grant !== undefined) this.#problem = undefined;
    this.#renewals.reconsider();
    this.#approvals.reconsider();
    this.#publish();
  }

  #publish(): void {
    const before = this.#status;
    const status = this.#derive();
    if (JSON.stringify(before) === JSON.stringify(status)) return;
    this.#status = status;
    const { log } = this.#parts;
    if (before.state !== status.state || before.reason !== status.reason)
      log.info({ state: status.state, reason: status.reason }, 'authorization');
    for (const listener of this.#listeners) {
      try {
        listener(status);
      } catch (thrown) {
        log.error({ code: asPorchlightError(thrown).code }, 'a watcher of the authorization failed');
      }
    }
  }

  #derive(): AuthorizationStatus {
    const { grant, lost, subject, live } = this.#keeper;
    const state = this.#state(grant !== undefined, live, lost !== undefined);
    const reason = state === 'relink_needed' ? lost?.reason : undefined;
    const same = state === this.#status.state && reason === this.#status.reason;
    const began = state === 'relink_needed' && lost !== undefined ? lost.at : this.#parts.clock.wall();
    return {
      state,
      ...(reason === undefined ? {} : { reason }),
      since: same ? this.#status.since : new Date(began).toISOString(),
      ...(subject === undefined ? {} : { subject }),
      ...(grant?.record.scope === undefined ? {} : { scopes: grant.record.scope.split(' ') }),
      ...(grant?.record.expires_at === undefined
        ? {}
        : { expires_at: new Date(grant.record.expires_at).toISOString() }),
      ...(this.#approvals.pending && this.#lastExpiry !== undefined
        ? { code_expires_at: new Date(this.#lastExpiry).toISOString() }
        : {}),
      ...(this.#problem === undefined ? {} : { problem: asProblem(this.#problem) }),
    };
  }

  #state(granted: boolean, live: boolean, lost: boolean): AuthorizationState {
    if (granted) return live ? 'authorized' : 'grace';
    if (this.#approvals.pending) return 'pending';
    return lost ? 'relink_needed' : 'unauthorized';
  }
}
