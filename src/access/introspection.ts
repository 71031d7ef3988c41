import { PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import { type Log, printable } from '../log.ts';
import type { TokenProfile } from '../token-profile.ts';
import { AskingLine } from './asking-line.ts';
import { invalid, readIntrospected, type TokenClaims } from './claims.ts';
import { orAborted } from './or-aborted.ts';

/**
 * Asks the authorization server about a token (RFC 7662): its answer, a JSON object. `not_offered`: it cannot be asked by this
 * client, now or later. Rejects when there is no answer.
 */
export type Introspect = (
  token: string,
  signal: AbortSignal,
) => Promise<Readonly<Record<string, unknown>> | 'not_offered'>;

export interface IntrospectionOptions {
  readonly introspect: Introspect;
  /** `access.issuer`. */
  readonly issuer: string;
  readonly profile: TokenProfile;
  readonly clock: Clock;
  readonly log: Log;
  readonly after?: (ms: number, run: () => void) => void;
  readonly random?: () => number;
  readonly deadlineMs?: number;
}

/** How long an answer is believed: a token that is revoked at its server goes on for this long at most. */
const BELIEVED_S = 60;
/** A token in use is asked about again before that, so that its commands need not wait for the answer. */
const AGAIN_MS = 45_000;
/** A no is kept only to answer repeats: a token may become active a moment after it was first sent (RFC 7662 section 4). */
const REFUSED_MS = 10_000;
/** A server that is away is left alone this long. */
const AWAY_MS = 2_000;
const DEADLINE_MS = 5_000;
const MAX_REMEMBERED = 1000;
const MAX_SHAPES = 16;
/** Real ones say what one token may do; as large as a command. */
const MAX_DETAILS = 16 * 1024;

interface Active {
  readonly claims: TokenClaims;
  /** Monotonic ms. */
  readonly askedAt: number;
}

/**
 * What the server says of tokens that only it can read. Junk looks like a token, and asking costs the server, so questions are
 * few: ten a second about tokens that are new here, those first that look like one that was good. A token that was good once has a
 * line of its own, which no flood of new ones can fill.
 */
export class Introspection {
  readonly #options: IntrospectionOptions;
  readonly #strangers: AskingLine;
  readonly #known: AskingLine;
  /** By SHA-256 of the token, least recently used first. Also after the answer has become too old: it is known, then. */
  readonly #active = new Map<string, Active>();
  /** Monotonic ms until which the server need not be asked again. */
  readonly #refused = new Map<string, { readonly until: number; readonly error: PorchlightError }>();
  readonly #underWay = new Map<string, Promise<TokenClaims | undefined>>();
  readonly #shapes = new Set<string>();
  #awayUntil = Number.NEGATIVE_INFINITY;
  #away = false;

  constructor(options: IntrospectionOptions) {
    const { clock, random = Math.random, after = later } = options;
    this.#options = options;
    this.#strangers = new AskingLine({ perSecond: 10, atOnce: 4, waiting: 20, clock, random, after });
    this.#known = new AskingLine({ perSecond: 50, atOnce: 8, waiting: 200, clock, random, after });
  }

  /** How many answers are remembered: at most 1000 of each kind. */
  get remembered(): number {
    return this.#active.size + this.#refused.size;
  }

  /**
   * The claims of a token, of which `id` is the SHA-256; undefined: the server cannot be asked. Rejects with `token_invalid` (the
   * server says so, it could not be asked, or too many others wait) or `token_expired`.
   */
  async claimsOf(id: string, token: string): Promise<TokenClaims | undefined> {
    const { clock } = this.#options;
    const known = this.#recall(id);
    if (known !== undefined) {
      if (clock.wall() >= known.claims.expiresAt * 1000) throw new PorchlightError('token_expired');
      const age = clock.monotonic() - known.askedAt;
      if (age >= AGAIN_MS) {
        const asked = this.#askOnce(id, token, this.#known, 0);
        if (age >= BELIEVED_S * 1000) return await asked;
        asked.catch(() => undefined); // what it says counts from now on, and is remembered where it is said
      }
      return known.claims;
    }
    const refused = this.#refused.get(id);
    if (refused !== undefined && clock.monotonic() < refused.until) throw refused.error;
    return await this.#askOnce(id, token, this.#strangers, this.#shapes.has(shapeOf(token)) ? 1 : 0);
  }

  #recall(id: string): Active | undefined {
    const known = this.#active.get(id);
    if (known === undefined) return undefined;
    this.#active.delete(id);
    this.#active.set(id, known);
    return known;
  }

  /** The same token many times at once costs one question. */
  #askOnce(id: string, token: string, line: AskingLine, rank: number): Promise<TokenClaims | undefined> {
    let work = this.#underWay.get(id);
    if (work === undefined) {
      work = line.run(rank, () => this.#ask(id, token)).finally(() => this.#underWay.delete(id));
      this.#underWay.set(id, work);
    }
    return work;
  }

  async #ask(id: string, token: string): Promise<TokenClaims | undefined> {
    const { clock, issuer, profile } = this.#options;
    const askedAt = clock.monotonic();
    const nowS = clock.wall() / 1000;
    const answer = await this.#answerAbout(token);
    if (answer === 'not_offered') return undefined;
    try {
      const claims = readIntrospected(answer, profile, { issuer, nowS, lifeS: BELIEVED_S });
      if (claims === undefined) throw invalid('The authorization server says that the token is not active (any more).');
      if (JSON.stringify(claims.authorizationDetails).length > MAX_DETAILS) {
        throw invalid('The authorization server says too much of the token (its "authorization_details").');
      }
      this.#shapes.add(shapeOf(token));
      bound(this.#shapes, MAX_SHAPES);
      this.#refused.delete(id);
      this.#active.set(id, { claims, askedAt });
      bound(this.#active, MAX_REMEMBERED);
      return claims;
    } catch (thrown) {
      if (!(thrown instanceof PorchlightError)) throw thrown;
      this.#active.delete(id);
      this.#refused.set(id, { until: clock.monotonic() + REFUSED_MS, error: thrown });
      bound(this.#refused, MAX_REMEMBERED);
      throw thrown;
    }
  }

  async #answerAbout(token: string): Promise<Readonly<Record<string, unknown>> | 'not_offered'> {
    const { clock, introspect, log, deadlineMs = DEADLINE_MS } = this.#options;
    if (clock.monotonic() < this.#awayUntil) throw unasked();
    try {
      const deadline = AbortSignal.timeout(deadlineMs);
      const answer = await orAborted(introspect(token, deadline), deadline);
      if (this.#away) log.info('the authorization server can be asked about tokens again');
      this.#away = false;
      return answer;
    } catch (thrown) {
      this.#awayUntil = clock.monotonic() + AWAY_MS;
      const reason = thrown instanceof Error ? printable(thrown.message) : 'unknown';
      // Once per outage: a server that is away for a day should not fill the journal.
      log[this.#away ? 'debug' : 'warn']({ reason }, 'the authorization server cannot be asked about tokens');
      this.#away = true;
      throw unasked(thrown);
    }
  }
}

function later(ms: number, run: () => void): void {
  setTimeout(run, ms);
}

/** What tokens of one server have alike: their length, and what parts them. Random letters (base64url) tell nothing. */
const shapeOf = (token: string): string => `${token.length} ${token.replace(/[\w-]/g, '').slice(0, 8)}`;

function bound(remembered: Map<string, unknown> | Set<string>, limit: number): void {
  for (const oldest of remembered.keys()) {
    if (remembered.size <= limit) return;
    remembered.delete(oldest);
  }
}

function unasked(cause?: unknown): PorchlightError {
  return new PorchlightError(
    'token_invalid',
    'The token cannot be judged: the authorization server cannot be asked about it.',
    { hint: 'Send it again in a moment; if this stays, check the network and access.issuer.', cause },
  );
}
