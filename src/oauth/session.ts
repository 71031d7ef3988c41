import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import type { Log } from '../log.ts';
import { runAll, type Task } from '../task-group.ts';
import { Approvals } from './approvals.ts';
import type { ShownCode } from './device-code.ts';
import type { Dialect } from './dialects/dialect.ts';
import { standard } from './dialects/standard.ts';
import type { ServerMetadata } from './discovery.ts';
import type { TokenStore } from './grant.ts';
import type { IdentityClaims } from './identity.ts';
import { GrantKeeper } from './keeper.ts';
import { MachineGrant, nothingToApprove } from './machine-grant.ts';
import { isMachine, vouchedFor } from './machine-request.ts';
import type { AuthorizationOptions, Fetch } from './options.ts';
import { Renewals } from './renewals.ts';
import { askWithRenewal, type Credential, type ResourceReply } from './resource.ts';
import type { Revocation } from './revocation.ts';
import { Server } from './server.ts';
import { type AuthorizationStatus, deriveStatus } from './status.ts';

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
  /** May the wall clock be believed? What is signed with a wrong one is refused, and that decides nothing. Default: yes. */
  readonly clockTrusted?: () => boolean;
}

/** What is known of the grant in use, beyond its tokens. */
export interface GrantInfo {
  readonly subject?: string;
  /** What the dialect keeps of the token answers. */
  readonly kept?: Readonly<Record<string, string>>;
  /** What the id_token of this process's last approval or renewal said beyond the subject; gone after a restart. */
  readonly claims?: IdentityClaims;
}

/** The gateway's own authorization: gets approved, keeps an access token fresh, and knows how it stands. */
export class Session {
  readonly #parts: SessionParts;
  readonly #server: Server;
  readonly #keeper: GrantKeeper;
  /** Who gets approved: a person's approval, or (`#machine`) the gateway's own credentials. */
  readonly #approvals: Approvals;
  readonly #machine: MachineGrant | undefined;
  readonly #renewals: Renewals | MachineGrant;
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
    const { fetch, clock, log, interactive, store, random = Math.random, dialect = standard } = parts;
    const { scopes } = parts.options;
    const options = { ...parts.options, scopes: dialect.scopes?.(scopes) ?? scopes };
    const server = new Server({ options, fetch, clock, dialect, clockTrusted: parts.clockTrusted });
    this.#server = server;
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
    this.#machine = isMachine(options) ? this.#machineGrant(server, keeper, options) : undefined;
    this.#renewals =
      this.#machine ??
      new Renewals({
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
    const approvals: Task[] = this.#machine === undefined ? [(inner) => this.#approvals.run(inner)] : [];
    await runAll([...approvals, (inner) => this.#renewals.run(inner)], signal);
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

  /** A resource server has taken this access token: the tokens before it are not needed any more. Never rejects. */
  worked(accessToken: string): Promise<void> {
    return this.#keeper.worked(accessToken);
  }

  /** Calls `listener` at every change of the status. Returns what ends that. */
  onChange(listener: (status: AuthorizationStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** What the server publishes about itself (RFC 8414), each address checked. Rejects with why it can not be had. */
  metadata(signal: AbortSignal): Promise<ServerMetadata> {
    return this.#server.metadata(signal);
  }

  /** Who approved and what came along with the tokens; undefined while there is no grant. */
  grantInfo(): GrantInfo | undefined {
    const { grant, subject } = this.#keeper;
    if (grant === undefined) return undefined;
    const { kept } = grant.record;
    const identity = this.#keeper.identity;
    const claims = identity !== undefined && identity.subject === subject ? identity.claims : undefined;
    return {
      ...(subject === undefined ? {} : { subject }),
      ...(kept === undefined ? {} : { kept }),
      ...(claims === undefined ? {} : { claims }),
    };
  }

  /**
   * A GET at a resource with this gateway's own token (RFC 6750, RFC 9449), answered by one JSON object. Redirects are not followed.
   * A token that is refused as invalid is renewed once, and the question asked once more. Rejects with `not_authorized` when there
   * is no token, and `stopping`.
   */
  readonly resource = async (
    purpose: 'userinfo' | 'home',
    url: string,
    signal: AbortSignal,
  ): Promise<ResourceReply> => {
    // A token that is for something else is refused at userinfo, however fresh it is: one for the server itself is lent for the question.
    const lends = purpose === 'userinfo' && this.#parts.options.resource !== undefined && this.#machine === undefined;
    let lent = false;
    try {
      return await askWithRenewal({
        credential: () => this.#credential(),
        ask: (credential) => this.#server.resource(purpose, url, credential, signal),
        renew: async () => {
          if (!lends) return await this.renew();
          lent = true;
          await this.#renewals.underWay;
          await this.#keeper.renew(signal, false);
        },
        worked: (accessToken) => this.worked(accessToken),
      });
    } finally {
      if (lent) await this.renew();
    }
  };

  /** What the server says of a token (RFC 7662). `not_offered` without an endpoint, or for a client that can not prove who it is. */
  introspect(token: string, signal: AbortSignal): Promise<ResourceReply | 'not_offered'> {
    return this.#server.introspect(token, signal);
  }

  /** A live access token. Waits for a refresh under way. Rejects with `not_authorized`. */
  async accessToken(): Promise<string> {
    return (await this.#credential()).access_token;
  }

  async #credential(): Promise<Credential> {
    await this.#renewals.underWay;
    const keeper = this.#keeper;
    if (!keeper.live && !this.#renewals.backingOff) await this.renew();
    const { access_token, token_type, dpop_key } = (keeper.live ? keeper.grant?.record : undefined) ?? {};
    if (access_token !== undefined) return { access_token, token_type, dpop_key };
    if (keeper.grant === undefined) throw new PorchlightError('not_authorized');
    throw new PorchlightError('not_authorized', 'The access token has expired and can not be renewed right now.', {
      hint: 'The gateway keeps trying; see "porchlight status".',
      cause: this.#problem,
    });
  }

  /** Refreshes at once, for a resource server that no longer takes the token. Resolves when that has ended, well or not. */
  async renew(): Promise<void> {
    if (this.#keeper.grant === undefined) return;
    if (this.#machine !== undefined || this.#keeper.grant.record.refresh_token !== undefined)
      await this.#renewals.now();
  }

  /**
   * A code for a person who is there. Works in every state; a grant that works stays until the new one is stored.
   * Rejects with what keeps the server from giving one, or `stopping` when the session does not run. A gateway that authorizes itself
   * has none to give: it tries once more, and rejects with how that went.
   */
  async requestCode(): Promise<ShownCode> {
    if (this.#machine === undefined) return this.#approvals.request();
    await this.#machine.now();
    throw nothingToApprove(this.#parts.options, this.status.state === 'authorized', this.#problem);
  }

  /** Revokes at the server, then forgets, whatever the server said. No code is asked for afterwards without a person. */
  async revoke(): Promise<Revocation> {
    this.#quiet = true;
    const withdrawn = (this.#machine ?? this.#approvals).withdraw();
    const [outcome] = await Promise.all([this.#keeper.forget(), withdrawn]).finally(() => {
      this.#problem = undefined;
      this.#changed();
    });
    this.#parts.log.info({ revokedAtServer: outcome.revokedAtServer }, 'logged out');
    return outcome;
  }

  #machineGrant(server: Server, keeper: GrantKeeper, options: AuthorizationOptions): MachineGrant {
    const { clock, log, random = Math.random } = this.#parts;
    const vouched = vouchedFor(options) ?? {};
    return new MachineGrant({
      options,
      clock,
      random,
      log,
      grant: () => keeper.grant,
      obtain: (signal) => server.obtain(signal),
      accept: (tokens, signal) => keeper.accept(tokens, signal, { vouched }),
      discard: (tokens, signal) => keeper.discard(tokens, signal),
      onRefused: async (problem, ends) => {
        if (ends !== undefined) await keeper.refused(ends);
        this.#note(problem);
      },
      onExpired: () => this.#publish(),
      onProblem: (problem) => this.#note(problem),
    });
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
    const { grant, lost, subject, live } = this.#keeper;
    const { pending } = this.#approvals;
    const facts = { grant, lost, subject, live, pending, codeExpires: this.#lastExpiry, problem: this.#problem };
    const status = deriveStatus(facts, before, this.#parts.clock.wall());
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
}
