import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import type { Log } from '../log.ts';
import { type BackOff, backOff } from './back-off.ts';
import type { Grant } from './grant.ts';
import { judgeRefusal } from './machine-refusal.ts';
import type { AuthorizationOptions } from './options.ts';
import type { TokenAnswer } from './tokens.ts';
import { Wake } from './wake.ts';
import type { Reply } from './wire.ts';

/** What may pass is tried again after 1, 2, 4 ... 300 s. */
const RETRY: BackOff = { first: 1_000, longest: 300_000 };
/** A no stays a no until an installer changes something at the server: asked again after 1, 2, 4 ... 60 min. */
const REFUSED: BackOff = { first: 60_000, longest: 3_600_000 };
/** Whatever life a server gives its tokens, it is not asked for new ones more often than this. */
const PACE = 5_000;

export interface MachineParts {
  readonly options: AuthorizationOptions;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly grant: () => Grant | undefined;
  readonly obtain: (signal: AbortSignal) => Promise<Reply<TokenAnswer>>;
  /** Stores the tokens before they are used. */
  readonly accept: (tokens: TokenAnswer, signal: AbortSignal) => Promise<void>;
  /** Gives back tokens that came after all was over. */
  readonly discard: (tokens: TokenAnswer, signal: AbortSignal) => Promise<void>;
  /** The server's no, and whether the grant is over with it. */
  readonly onRefused: (problem: PorchlightError, ends: 'revoked' | 'denied' | undefined) => Promise<void>;
  /** The access token has reached the end of its life. */
  readonly onExpired: () => void;
  readonly onProblem: (problem: PorchlightError | undefined) => void;
}

/**
 * Being authorized without a person (jwt_bearer, client_credentials): gets tokens, and new ones in good time. There is no refresh
 * token (RFC 7521 section 4.1, RFC 6749 section 4.4.3): a new request is made instead. One request at a time.
 */
export class MachineGrant {
  readonly #parts: MachineParts;
  readonly #wake = new Wake();
  #signal: AbortSignal | undefined;
  #underWay: Promise<void> | undefined;
  #faults = 0;
  #refusals = 0;
  /** Monotonic ms. */
  #notBefore = Number.NEGATIVE_INFINITY;
  /** After a logout: nothing is asked for until somebody wishes it, or the gateway is started anew. */
  #resting = true;

  constructor(parts: MachineParts) {
    this.#parts = parts;
  }

  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    const { clock, grant, onExpired } = this.#parts;
    this.#resting = false;
    while (!signal.aborted) {
      const now = clock.monotonic();
      const current = grant();
      if (current !== undefined && now >= current.expires) onExpired();
      const due = this.#due(current);
      if (due <= now) await this.now();
      else {
        const end = current !== undefined && current.expires > now ? current.expires : Number.POSITIVE_INFINITY;
        await this.#wake.wait(Math.min(due, end) - now, signal);
      }
    }
    await this.#underWay;
    this.#signal = undefined;
  }

  /** True while the last request failed and the next is being waited for. */
  get backingOff(): boolean {
    return this.#faults + this.#refusals > 0;
  }

  get underWay(): Promise<void> | undefined {
    return this.#underWay;
  }

  /** Asks for tokens now, or joins the request under way. Resolves when that has ended, well or not. */
  now(): Promise<void> {
    const signal = this.#signal;
    if (signal === undefined || signal.aborted) return Promise.resolve();
    this.#resting = false;
    this.#underWay ??= this.#attempt(signal).finally(() => {
      this.#underWay = undefined;
      this.#wake.ring();
    });
    return this.#underWay;
  }

  /** Asks for nothing more; tokens that still come are given back. Resolves when nothing is under way. */
  async withdraw(): Promise<void> {
    this.#resting = true;
    this.#wake.ring();
    await this.#underWay;
  }

  /** There is another grant, or none: what is due is judged anew. */
  reconsider(): void {
    this.#wake.ring();
  }

  #due(current: Grant | undefined): number {
    if (this.#resting) return Number.POSITIVE_INFINITY;
    return Math.max(current?.due ?? Number.NEGATIVE_INFINITY, this.#notBefore);
  }

  async #attempt(signal: AbortSignal): Promise<void> {
    const { clock, log, obtain, accept, discard, onProblem } = this.#parts;
    try {
      const reply = await obtain(signal);
      if (reply.kind !== 'answered') return await this.#failed(reply);
      if (this.#resting) return await discard(reply.value, signal);
      await accept(reply.value, signal);
      if (this.backingOff) log.info('the authorization server gives tokens again');
      this.#faults = 0;
      this.#refusals = 0;
      this.#notBefore = clock.monotonic() + PACE;
      onProblem(undefined);
    } catch (thrown) {
      if (!signal.aborted) await this.#failed({ kind: 'fault', problem: asPorchlightError(thrown) });
    }
  }

  async #failed(reply: Exclude<Reply<TokenAnswer>, { kind: 'answered' }>): Promise<void> {
    const { options, clock, random, log, onRefused, onProblem } = this.#parts;
    const refusal = judgeRefusal(reply, options);
    const first = !this.backingOff;
    if (refusal.passes) this.#faults += 1;
    else this.#refusals += 1;
    const wait = refusal.passes
      ? backOff(RETRY, this.#faults, random, refusal.retryAfter)
      : backOff(REFUSED, this.#refusals, random, refusal.retryAfter);
    this.#notBefore = clock.monotonic() + wait;
    const { code, message } = refusal.problem;
    if (first) log.warn({ code, problem: message }, 'no tokens; trying again');
    if (refusal.passes) onProblem(refusal.problem);
    else await onRefused(refusal.problem, refusal.ends);
  }
}

/** Why nobody can approve a gateway that authorizes itself. */
export function nothingToApprove(
  { grant }: AuthorizationOptions,
  authorized: boolean,
  problem: PorchlightError | undefined,
): PorchlightError {
  const how = `this gateway authorizes itself (authorization.grant: ${grant ?? 'device_code'})`;
  if (authorized) return new PorchlightError('wrong_use', `There is nothing to approve: ${how}, and is authorized.`);
  return new PorchlightError(
    problem?.code ?? 'not_authorized',
    `There is nothing to approve: ${how}. It has asked again just now, without success. ${problem?.message ?? ''}`.trim(),
    { hint: problem?.hint ?? 'See "porchlight status".', cause: problem },
  );
}
