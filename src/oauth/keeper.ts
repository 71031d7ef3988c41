import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import type { Log } from '../log.ts';
import { sleep } from '../task-group.ts';
import { type BackOff, backOff } from './back-off.ts';
import { verdict } from './device-flow.ts';
import { endedRecord, type Grant, type GrantRecord, inUse, readStored, recordOf, type TokenStore } from './grant.ts';
import { Lock } from './lock.ts';
import type { AuthorizationOptions } from './options.ts';
import { notTheOwner, whoApproved } from './owner.ts';
import type { Renewal } from './renewals.ts';
import { type Revocation, revokeRecord } from './revocation.ts';
import type { RelinkReason } from './status.ts';
import type { TokenAnswer } from './tokens.ts';
import type { Reply } from './wire.ts';

/** A disk that is full may have room in a moment; a rotated refresh token must not be lost meanwhile. */
const SAVE_AGAIN: BackOff = { first: 1_000, longest: 60_000 };
/** What the keeper asks of the authorization server. */
export interface GrantServer {
  refresh(refreshToken: string, signal: AbortSignal): Promise<Reply<TokenAnswer>>;
  revoke(token: string, hint: 'refresh_token' | 'access_token', signal: AbortSignal): Promise<Reply<boolean>>;
  subjectOf(idToken: string, signal: AbortSignal): Promise<Reply<string>>;
}

export interface KeeperParts {
  readonly options: AuthorizationOptions;
  readonly store: TokenStore;
  readonly server: GrantServer;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** The grant, or why there is none, has changed. */
  readonly onChange: () => void;
  /** Something is wrong that may pass. */
  readonly onProblem: (problem: PorchlightError) => void;
}

/** The one owner of the grant: whatever comes from the server is stored before it is used, and changes come one at a time. */
export class GrantKeeper {
  readonly #parts: KeeperParts;
  readonly #lock = new Lock();
  #grant: Grant | undefined;
  /** The last record, also of a grant that is lost: it names the owner. */
  #record: GrantRecord | undefined;
  #lost: { readonly reason: RelinkReason; readonly at: number } | undefined;
  /** The last process was stopped between sending a refresh and storing its answer. */
  #interrupted = false;
  #forgetting = new AbortController();

  constructor(parts: KeeperParts) {
    this.#parts = parts;
  }

  get grant(): Grant | undefined {
    return this.#grant;
  }

  get lost(): { readonly reason: RelinkReason; readonly at: number } | undefined {
    return this.#lost;
  }

  get subject(): string | undefined {
    return this.#record?.subject;
  }

  /** There is an access token and it has not expired. */
  get live(): boolean {
    return this.#grant !== undefined && this.#parts.clock.monotonic() < this.#grant.expires;
  }

  /** Takes up what is stored. Rejects with `state_unusable` when that can not be read; it is left as it is. */
  load(): Promise<void> {
    return this.#lock.run(async () => {
      const { store, options, clock, random, log } = this.#parts;
      const judged = readStored(await store.load(), options.issuer, options.client_id);
      if (judged.kind === 'unreadable') throw judged.problem;
      if (judged.kind === 'foreign')
        log.warn('the stored authorization belongs to another issuer or client and is not used');
      if (judged.kind !== 'usable') return;
      const { record } = judged;
      this.#record = record;
      this.#interrupted = record.refreshing_since !== undefined;
      if (record.ended !== undefined) this.#lost = record.ended;
      else if (options.owner !== undefined && record.subject !== options.owner)
        this.#lost = { reason: 'owner_mismatch', at: clock.wall() };
      else this.#grant = inUse(record, clock, random);
    });
  }

  /**
   * A person has approved: finds out who, and whether they are the owner; then stores, then uses the tokens.
   * Rejects when they are not used: `approval_denied` (somebody else), `server_answer`, `stopping`.
   */
  async accept(tokens: TokenAnswer, signal: AbortSignal): Promise<void> {
    const forgetting = this.#forgetting.signal;
    const subject = tokens.id_token === undefined ? undefined : await whoApproved(tokens.id_token, this.#parts, signal);
    await this.#lock.run(async () => {
      const { options, clock, log } = this.#parts;
      if (forgetting.aborted) return this.discard(tokens, signal);
      const owner = options.owner ?? this.#record?.subject;
      if (owner !== undefined && subject !== owner) {
        await this.discard(tokens, signal);
        if (this.#grant === undefined) this.#lost = { reason: 'owner_mismatch', at: clock.wall() };
        throw notTheOwner(subject);
      }
      const asked = options.scopes.join(' ');
      const { issuer, client_id } = options;
      const record = recordOf(
        tokens,
        { issuer, client_id, ...(subject === undefined ? {} : { subject }), ...(asked === '' ? {} : { scope: asked }) },
        clock,
      );
      await this.#save(record, signal);
      this.#adopt(record);
      if (subject === undefined && options.scopes.includes('openid'))
        log.warn('the authorization server sent no id_token, so the owner is not known');
      log.info({ refreshable: record.refresh_token !== undefined }, 'approved');
    });
  }

  /** One refresh. The intent is stored before the request: after a crash in between, the refresh token may be used up. */
  renew(signal: AbortSignal): Promise<Renewal> {
    return this.#lock.run(async () => {
      const token = this.#grant?.record.refresh_token;
      if (token === undefined) return { kind: 'done' };
      const unsaved = await this.#storeIntent();
      if (unsaved !== undefined) return { kind: 'later', problem: unsaved };
      const reply = await this.#parts.server.refresh(token, signal);
      switch (reply.kind) {
        case 'answered':
          await this.#renewed(reply.value, signal);
          return { kind: 'done' };
        case 'fault':
        case 'nonsense':
          return { ...reply, kind: 'later' };
        case 'refused':
          return this.#refused(reply);
      }
    });
  }

  /** A grant without refresh token has come to its end. */
  expire(): Promise<void> {
    return this.#lock.run(async () => {
      if (this.#grant !== undefined && !this.live && this.#grant.record.refresh_token === undefined)
        await this.#lose('expired');
    });
  }

  /** The person said no. With nothing to lose, that is why a person is needed. */
  denied(): void {
    if (this.#grant === undefined) this.#lost ??= { reason: 'denied', at: this.#parts.clock.wall() };
  }

  /** Revokes at the server (RFC 7009), then forgets, whatever the server said. Rejects with `state_unusable`. */
  forget(): Promise<Revocation> {
    this.#forgetting.abort();
    return this.#lock.run(async () => {
      const record = this.#record;
      this.#grant = undefined;
      this.#record = undefined;
      this.#lost = undefined;
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

  /** Undefined when stored; once is enough for a series of attempts, for the card's sake. */
  async #storeIntent(): Promise<PorchlightError | undefined> {
    const { store, clock } = this.#parts;
    const grant = this.#grant;
    if (grant === undefined || grant.record.refreshing_since !== undefined) return undefined;
    const record = { ...grant.record, refreshing_since: Math.max(0, Math.round(clock.wall())) };
    try {
      await store.save(record);
    } catch (thrown) {
      return asPorchlightError(thrown, 'state_unusable');
    }
    this.#record = record;
    this.#grant = { ...grant, record };
    return undefined;
  }

  async #renewed(tokens: TokenAnswer, signal: AbortSignal): Promise<void> {
    const { server, clock, log } = this.#parts;
    const before = this.#record;
    if (before === undefined) return;
    const record = recordOf(tokens, before, clock);
    await this.#save(record, signal);
    this.#interrupted = false;
    this.#record = record;
    // OpenID Connect Core section 12.2: if there is an id_token, its subject is the same as before. One that can not be
    // verified tells nothing new and is left alone: the owner was established at the approval.
    const named = tokens.id_token === undefined ? undefined : await server.subjectOf(tokens.id_token, signal);
    if (named?.kind === 'answered' && before.subject !== undefined && named.value !== before.subject) {
      await this.discard(tokens, signal);
      return this.#lose('owner_mismatch');
    }
    if (named !== undefined && named.kind !== 'answered') log.warn('the id_token of a refresh could not be verified');
    this.#adopt(record);
  }

  async #refused(reply: Extract<Reply<unknown>, { kind: 'refused' }>): Promise<Renewal> {
    const { clock, onChange } = this.#parts;
    const problem = verdict(reply.error, reply.description);
    // 5xx and 429 decide nothing, whatever they say.
    if (reply.status >= 500 || reply.status === 429) return { kind: 'later', problem };
    if (reply.error === 'invalid_grant') {
      await this.#lose(this.#interrupted ? 'lost_in_crash' : reasonOf(reply.description));
      return { kind: 'done' };
    }
    if (reply.error !== 'invalid_client' && reply.error !== 'unauthorized_client') return { kind: 'later', problem };
    // The tokens stay stored: a corrected client_secret and a restart bring them back.
    this.#grant = undefined;
    this.#lost = { reason: 'denied', at: clock.wall() };
    onChange();
    return { kind: 'ended', problem };
  }

  async #lose(reason: RelinkReason): Promise<void> {
    const { store, clock, log, onChange } = this.#parts;
    const record = this.#record;
    this.#grant = undefined;
    this.#interrupted = false;
    this.#lost = { reason, at: clock.wall() };
    if (record !== undefined) {
      const ended = endedRecord(record, reason, clock);
      this.#record = ended;
      try {
        await store.save(ended);
      } catch (thrown) {
        // Nothing is lost by it: the next start asks the server once more and hears the same.
        log.warn(
          { code: asPorchlightError(thrown, 'state_unusable').code },
          'the end of the grant could not be stored',
        );
      }
    }
    onChange();
  }

  /** Stores, however long that takes: an answer that is not stored may be the only way to refresh again. */
  async #save(record: GrantRecord, signal: AbortSignal): Promise<void> {
    const { store, random, log, onProblem } = this.#parts;
    const over = AbortSignal.any([signal, this.#forgetting.signal]);
    for (let failures = 1; ; failures += 1) {
      try {
        return await store.save(record);
      } catch (thrown) {
        const problem = asPorchlightError(thrown, 'state_unusable');
        if (failures === 1)
          log.error({ code: problem.code, problem: problem.message }, 'the authorization can not be stored');
        onProblem(problem);
      }
      await sleep(backOff(SAVE_AGAIN, failures, random), over);
      // What could not be stored is at least known to the one who logs out.
      if (this.#forgetting.signal.aborted) this.#record = record;
      if (over.aborted) throw new PorchlightError('stopping');
    }
  }

  #adopt(record: GrantRecord): void {
    const { clock, random, onChange } = this.#parts;
    this.#record = record;
    this.#grant = inUse(record, clock, random);
    this.#lost = undefined;
    onChange();
  }
}

/** invalid_grant is one code for many ends (RFC 6749 section 5.2); some servers say in words which it was. */
function reasonOf(description: string | undefined): 'expired' | 'revoked' {
  return /\bexpired?\b/i.test(description ?? '') && !/revoked/i.test(description ?? '') ? 'expired' : 'revoked';
}
