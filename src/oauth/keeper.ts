import type { JsonWebKey } from 'node:crypto';
import type { PorchlightError } from '../errors.ts';
import { fallenBack, type Grant, type GrantRecord, proven, readStored, recordOf, withIntent } from './grant.ts';
import { HeldGrant, type HeldGrantParts, type Loss } from './held-grant.ts';
import type { Identity } from './identity.ts';
import { Lock } from './lock.ts';
import { grantName, vouchedFor } from './machine-request.ts';
import type { AuthorizationOptions } from './options.ts';
import { notTheOwner, whoApproved } from './owner.ts';
import type { Renewal } from './renewals.ts';
import { type Revocation, revokeRecord } from './revocation.ts';
import { setback } from './setback.ts';
import type { TokenAnswer } from './tokens.ts';
import type { Reply } from './wire.ts';

/** What the keeper asks of the authorization server. */
export interface GrantServer {
  /** `dpopKey`: the private key that the refresh token is bound to; undefined for one that is bound to none. */
  refresh(
    refreshToken: string,
    signal: AbortSignal,
    dpopKey?: Readonly<JsonWebKey> | undefined,
    forResource?: boolean,
  ): Promise<Reply<TokenAnswer>>;
  revoke(token: string, hint: 'refresh_token' | 'access_token', signal: AbortSignal): Promise<Reply<boolean>>;
  identityOf(idToken: string, signal: AbortSignal): Promise<Reply<Identity>>;
}

/** How tokens were got, where it was not by a person's approval. */
export interface Acceptance {
  /**
   * Present: no person has approved. The configuration itself says whose tokens these are, so there is nobody to compare them with;
   * `subject` is whom it names, if anybody. `authorization.owner` goes before it.
   */
  readonly vouched?: { readonly subject?: string | undefined };
}

export interface KeeperParts extends HeldGrantParts {
  readonly options: AuthorizationOptions;
  readonly server: GrantServer;
}

/** The one owner of the grant: whatever comes from the server is stored before it is used, and changes come one at a time. */
export class GrantKeeper {
  readonly #parts: KeeperParts;
  readonly #held: HeldGrant;
  readonly #lock = new Lock();
  #identity: Identity | undefined;
  /** A refresh was sent and its answer did not come to be stored: the server may have used up the refresh token. */
  #unsure = false;
  #forgetting = new AbortController();

  constructor(parts: KeeperParts) {
    this.#parts = parts;
    this.#held = new HeldGrant(parts);
  }

  get grant(): Grant | undefined {
    return this.#held.grant;
  }

  get lost(): Loss | undefined {
    return this.#held.lost;
  }

  get subject(): string | undefined {
    return this.#held.record?.subject;
  }

  /** What the last id_token that this process verified said of the owner; undefined without one. In memory only. */
  get identity(): Identity | undefined {
    return this.#identity;
  }

  /** There is an access token and it has not expired. */
  get live(): boolean {
    return this.grant !== undefined && this.#parts.clock.monotonic() < this.grant.expires;
  }

  /** Takes up what is stored. Rejects with `state_unusable` when that can not be read; it is left as it is. */
  load(): Promise<void> {
    return this.#lock.run(async () => {
      const { store, options, clock, log } = this.#parts;
      const judged = readStored(await store.load(), options);
      if (judged.kind === 'unreadable') throw judged.problem;
      if (judged.kind === 'foreign')
        log.warn(
          'the stored authorization belongs to another issuer or client, or was got in another way, and is not used',
        );
      if (judged.kind !== 'usable') return;
      const { record } = judged;
      const vouched = vouchedFor(options);
      // Whom the configuration vouches for now, not whom it did when this was stored.
      if (vouched !== undefined && record.subject !== vouched.subject) return;
      const stranger = options.owner !== undefined && record.subject !== options.owner;
      const lost = record.ended ?? (stranger ? ({ reason: 'owner_mismatch', at: clock.wall() } as const) : undefined);
      this.#unsure = record.refreshing_since !== undefined;
      this.#held.takeUp(record, lost);
    });
  }

  /**
   * A person has approved: finds out who, and whether they are the owner; then stores, then uses the tokens.
   * Rejects when they are not used: `approval_denied` (somebody else), `server_answer`, `stopping`.
   */
  async accept(tokens: TokenAnswer, signal: AbortSignal, { vouched }: Acceptance = {}): Promise<void> {
    const { options, clock, log } = this.#parts;
    const forgetting = this.#forgetting.signal;
    const asked = tokens.id_token !== undefined && vouched === undefined;
    const named = asked ? await whoApproved(tokens.id_token, this.#parts, signal) : undefined;
    const subject = vouched === undefined ? (named?.subject ?? tokens.approver) : (options.owner ?? vouched.subject);
    await this.#lock.run(async () => {
      if (forgetting.aborted) return this.discard(tokens, signal);
      const owner = options.owner ?? this.subject;
      if (vouched === undefined && owner !== undefined && subject !== owner) {
        await this.discard(tokens, signal);
        this.#held.explain('owner_mismatch');
        throw notTheOwner(subject);
      }
      const { issuer, client_id, scopes } = options;
      const before = {
        issuer,
        client_id,
        ...(vouched === undefined ? {} : { grant: grantName(options) }),
        ...(subject === undefined ? {} : { subject }),
        ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
      };
      const record = recordOf(tokens, before, clock);
      await this.#store(record, signal);
      this.#identity = named;
      this.#unsure = false;
      this.#held.use(record);
      if (subject === undefined && vouched === undefined && scopes.includes('openid'))
        log.warn('the authorization server sent no id_token, so the owner is not known');
      log.info({ refreshable: record.refresh_token !== undefined }, 'approved');
    });
  }

  /** One refresh. The intent is stored before the request: after a crash in between, the refresh token may be used up. */
  renew(signal: AbortSignal, forResource = true): Promise<Renewal> {
    return this.#lock.run(() => this.#refresh(signal, forResource));
  }

  /** Somebody has taken this access token: if it is the present one, the refresh token before it may go. Never rejects. */
  worked(accessToken: string): Promise<void> {
    return this.#lock.run(async () => {
      const record = this.grant?.record;
      if (record?.access_token !== accessToken || record.previous_refresh_token === undefined) return;
      const problem = await this.#held.exchange(proven(record));
      if (problem !== undefined) this.#parts.log.debug({ code: problem.code }, 'the former refresh token stays stored');
    });
  }

  /** A grant without refresh token has come to its end. */
  expire(): Promise<void> {
    return this.#lock.run(async () => {
      if (this.grant !== undefined && !this.live && this.grant.record.refresh_token === undefined)
        await this.#held.end('expired');
    });
  }

  /** The server gives nothing more to a client that no person approves: `revoked` for good, `denied` until it is welcome again. */
  refused(reason: 'revoked' | 'denied'): Promise<void> {
    return this.#lock.run(async () => {
      if (this.grant === undefined) this.denied();
      else if (reason === 'revoked') await this.#held.end(reason);
      else this.#held.suspend(reason);
    });
  }

  /** The person said no. With nothing to lose, that is why a person is needed. */
  denied(): void {
    if (this.lost === undefined) this.#held.explain('denied');
  }

  /** Revokes at the server (RFC 7009), then forgets, whatever the server said. Rejects with `state_unusable`. */
  forget(): Promise<Revocation> {
    this.#forgetting.abort();
    return this.#lock.run(async () => {
      const record = this.#held.drop();
      this.#identity = undefined;
      this.#unsure = false;
      this.#forgetting = new AbortController();
      const outcome = await revokeRecord(this.#parts.server, record);
      await this.#parts.store.clear();
      return outcome;
    });
  }

  /** Gives back tokens that are not wanted, as well as it goes. */
  async discard(tokens: Pick<TokenAnswer, 'access_token' | 'refresh_token'>, signal: AbortSignal): Promise<void> {
    const { server, log } = this.#parts;
    const reply =
      tokens.refresh_token === undefined
        ? await server.revoke(tokens.access_token, 'access_token', signal)
        : await server.revoke(tokens.refresh_token, 'refresh_token', signal);
    if (reply.kind !== 'answered' || !reply.value) log.warn('tokens that are not wanted could not be revoked');
  }

  async #refresh(signal: AbortSignal, forResource = true): Promise<Renewal> {
    const unsaved = await this.#storeIntent();
    if (unsaved !== undefined) return { kind: 'later', problem: unsaved };
    const { refresh_token, dpop_key } = this.grant?.record ?? {};
    if (refresh_token === undefined) return { kind: 'done' };
    const reply = await this.#parts.server.refresh(refresh_token, signal, dpop_key, forResource);
    if (reply.kind === 'answered') {
      await this.#renewed(reply.value, signal);
      return { kind: 'done' };
    }
    const came = setback(reply);
    if (came.kind === 'dead') return await this.#dead(came.reason, signal);
    if (came.kind === 'later') {
      this.#unsure ||= came.answerLost;
      return came;
    }
    // The tokens stay stored: a corrected client_secret and a restart bring them back.
    this.#held.suspend('denied');
    return { kind: 'ended', problem: came.problem };
  }

  /**
   * The present refresh token is refused for good. Only now, with nothing left to lose, is the one before it tried, if its successor
   * has never worked: at a rotating server it would otherwise pass for stolen (RFC 9700 section 4.14.2). It takes the other's place
   * in the store first, so that the other is never sent after it, whenever the process ends.
   */
  async #dead(reason: 'expired' | 'revoked', signal: AbortSignal): Promise<Renewal> {
    const before = this.grant && fallenBack(this.grant.record);
    if (before === undefined) {
      const lostInCrash = this.#unsure;
      this.#unsure = false;
      await this.#held.end(lostInCrash ? 'lost_in_crash' : reason);
      return { kind: 'done' };
    }
    const problem = await this.#held.exchange(before);
    return problem === undefined ? await this.#refresh(signal) : { kind: 'later', problem };
  }

  /** Undefined when stored; once is enough for a series of attempts, for the card's sake. */
  async #storeIntent(): Promise<PorchlightError | undefined> {
    const record = this.grant?.record;
    if (record?.refresh_token === undefined || record.refreshing_since !== undefined) return undefined;
    return await this.#held.exchange(withIntent(record, this.#parts.clock));
  }

  async #renewed(tokens: TokenAnswer, signal: AbortSignal): Promise<void> {
    const before = this.#held.record;
    if (before === undefined) return;
    const record = recordOf(tokens, before, this.#parts.clock);
    await this.#store(record, signal);
    this.#unsure = false;
    if (await this.#isStranger(tokens.id_token, before.subject, signal)) {
      // First here, then there: whatever interrupts it, a stranger's tokens are not taken up again.
      await this.#held.end('owner_mismatch');
      return await this.discard(tokens, signal);
    }
    this.#held.use(record);
  }

  /**
   * OpenID Connect Core section 12.2: if there is an id_token, its subject is the same as before. One that can not be verified tells
   * nothing new and is left alone: the owner was established at the approval.
   */
  async #isStranger(idToken: string | undefined, subject: string | undefined, signal: AbortSignal): Promise<boolean> {
    if (idToken === undefined) return false;
    const named = await this.#parts.server.identityOf(idToken, signal).catch(() => undefined);
    if (named?.kind !== 'answered') this.#parts.log.warn('the id_token of a refresh could not be verified');
    else if (subject !== undefined && named.value.subject !== subject) return true;
    else this.#identity = named.value;
    return false;
  }

  async #store(record: GrantRecord, signal: AbortSignal): Promise<void> {
    const forgetting = this.#forgetting.signal;
    try {
      await this.#held.store(record, AbortSignal.any([signal, forgetting]));
    } catch (thrown) {
      if (forgetting.aborted) this.#held.remember(record);
      throw thrown;
    }
  }
}
