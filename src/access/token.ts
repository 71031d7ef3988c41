import { hash } from 'node:crypto';
import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Principal } from '../lights/outcome.ts';
import type { Clock } from '../lights/port.ts';
import { printable } from '../log.ts';
import { RFC_9068, type TokenProfile } from '../token-profile.ts';
import { invalid, isOpaque, MAX_TOKEN_LENGTH, type ReadToken, readToken, type TokenClaims } from './claims.ts';
import type { Introspection } from './introspection.ts';
import type { VerificationKey } from './jwk.ts';
import { type KeySource, Signatures } from './signatures.ts';

/** Clocks differ: a token may be issued up to this far in our future (FAPI 2.0 section 5.3.2.1: 10 s must, more than 60 s must not). */
const FUTURE_LEEWAY_S = 60;
/** Senders renew ahead of expiry, so nobody gains from a token that outlives its own word (RFC 7519 section 4.1.4). */
const EXPIRY_LEEWAY_S = 0;
const MAX_REMEMBERED = 1000;
/** Words of ours for who commands: a subject or client that is called so does not become them. */
export const OURS: ReadonlySet<string> = new Set(['owner', 'broker', 'local', 'schedule']);

/** Who commands by a token, and what later judgements need to know. */
export interface TokenPrincipal extends Principal {
  readonly subject: string;
  readonly clientId: string;
  readonly scopes: readonly string[];
  /** Wall-clock ms. */
  readonly expiresAt: number;
  /** RFC 9396, as they stand in the token. */
  readonly authorizationDetails: readonly Readonly<Record<string, unknown>>[];
  /** RFC 9449: the thumbprint of the key that the token is bound to. */
  readonly keyThumbprint?: string;
}

export interface TokenVerifierOptions {
  readonly issuer: string;
  /** `access.audience`: what a token must name. Undefined: no token is accepted. */
  readonly audience: string | undefined;
  readonly controlScope: string;
  readonly readScope: string;
  /** This gateway's own OAuth client: its tokens command nothing. */
  readonly ownClientId: string;
  /** Subjects or client ids; the word `owner` stands for `owner()`. */
  readonly principals: readonly string[];
  /** The subject who approved the gateway; undefined: not known. */
  readonly owner: () => string | undefined;
  /** Is the gateway itself authorized? */
  readonly authorized: () => boolean;
  readonly jwks: KeySource;
  readonly clock: Clock;
  readonly clockTrusted: () => boolean;
  readonly profile?: TokenProfile;
  /** Absent: tokens that are no JWT are refused. */
  readonly introspection?: Pick<Introspection, 'claimsOf'>;
}

/** A signature that was good, and what it vouches for. Everything else about the token is judged anew for each command. */
interface Verified {
  /** Absent: the server was asked (RFC 7662). */
  readonly key?: VerificationKey;
  readonly claims: TokenClaims;
}

/** Judges the access tokens of those who command: RFC 9068 under the rules of RFC 8725. */
export class TokenVerifier {
  readonly #options: TokenVerifierOptions;
  readonly #profile: TokenProfile;
  readonly #signatures: Signatures;
  /** By SHA-256 of the token, least recently used first. */
  readonly #verified = new Map<string, Verified>();
  readonly #underWay = new Map<string, Promise<Verified>>();
  /** What each principal that was handed out stands on. */
  readonly #vouched = new WeakMap<TokenPrincipal, Verified>();

  constructor(options: TokenVerifierOptions) {
    this.#options = options;
    this.#profile = options.profile ?? RFC_9068;
    this.#signatures = new Signatures(options.jwks);
  }

  /** How many verified tokens are remembered: at most 1000. */
  get remembered(): number {
    return this.#verified.size;
  }

  /** The principal behind `token`. Rejects with the code of the first thing that is wrong; never with text of the token. */
  async verify(token: string | undefined, need: 'read' | 'control'): Promise<TokenPrincipal> {
    this.#judgeGateway(token);
    const id = token.length > MAX_TOKEN_LENGTH ? '' : hash('sha256', token, 'base64');
    const known = this.#recall(id);
    if (known !== undefined) return this.#judgeGenuine(known, need);
    const verified = await this.#genuine(id, token);
    // Getting the keys or an answer may have taken seconds, so the gateway is asked once more.
    this.#judgeGateway(token);
    return this.#judgeGenuine(verified, need);
  }

  /**
   * Does what `verify` resolved to still hold, at this very moment? Throws as `verify` rejects. Asks nobody: a key that is not
   * published any more, a gateway that lost its grant, a clock that is not trusted any more are known here.
   */
  judgeAgain(principal: TokenPrincipal): void {
    const verified = this.#vouched.get(principal);
    if (verified === undefined) throw new PorchlightError('token_invalid');
    this.#judgeStanding();
    const { key } = verified;
    if (key !== undefined && !this.#options.jwks.holds(key)) {
      throw invalid('The key that the token is signed with is not published any more.');
    }
    this.#judgeGenuine(verified, 'control');
  }

  async #genuine(id: string, token: string): Promise<Verified> {
    const read = readOrRefusal(token, this.#profile);
    if (read instanceof PorchlightError) {
      const { introspection } = this.#options;
      if (introspection === undefined || !isOpaque(token, this.#profile)) throw read;
      const claims = await introspection.claimsOf(id, token);
      if (claims === undefined) throw read;
      this.#judgeAddress(claims);
      return { claims };
    }
    // Before the signature: a flood of stale or misdirected tokens should not cost a signature check each.
    this.#judgeAddress(read.claims);
    this.#judgeTimes(read.claims);
    return await this.#verifyOnce(id, token, read);
  }

  /** The token is genuine, so a refusal is somebody's: their subject is named with it. */
  #judgeGenuine(verified: Verified, need: 'read' | 'control'): TokenPrincipal {
    const { claims } = verified;
    try {
      const principal = this.#judge(claims, need);
      this.#vouched.set(principal, verified);
      return principal;
    } catch (thrown) {
      const { code, message, hint } = asPorchlightError(thrown);
      throw new PorchlightError(code, message, {
        hint,
        cause: thrown,
        by: this.#nameOf(claims) ?? printable(claims.subject, 64),
      });
    }
  }

  #judgeGateway(token: string | undefined): asserts token is string {
    const { authorized } = this.#options;
    if (authorized() && (token === undefined || token === '')) throw new PorchlightError('token_missing');
    this.#judgeStanding();
  }

  /** Whether this gateway may judge a token at all. */
  #judgeStanding(): void {
    const { authorized, audience, clockTrusted } = this.#options;
    if (!authorized()) throw new PorchlightError('not_authorized');
    if (audience === undefined) {
      const hint = 'Set access.audience in the configuration to what the tokens of senders name as their audience.';
      throw new PorchlightError('token_audience', 'This gateway has no audience, so it accepts no token.', { hint });
    }
    if (!clockTrusted()) throw new PorchlightError('clock_untrusted');
  }

  #judge(claims: TokenClaims, need: 'read' | 'control'): TokenPrincipal {
    this.#judgeTimes(claims);
    if (claims.clientId === this.#options.ownClientId) {
      throw invalid('The token was issued to this gateway itself; only the tokens of others command it.');
    }
    const by = this.#nameOf(claims);
    if (by === undefined) throw new PorchlightError('principal_unknown');
    const scope = need === 'control' ? this.#options.controlScope : this.#options.readScope;
    if (!claims.scopes.includes(scope)) {
      throw new PorchlightError('token_scope', `The token does not carry the scope "${scope}".`, {
        hint: `Ask the authorization server for the scope "${scope}" (access.scopes.${need}).`,
      });
    }
    refuseUnprovable(claims);
    const { subject, clientId, scopes, expiresAt, authorizationDetails, confirmation } = claims;
    const bound = confirmation?.jkt === undefined ? {} : { keyThumbprint: confirmation.jkt };
    return { by, subject, clientId, scopes, expiresAt: expiresAt * 1000, authorizationDetails, ...bound };
  }

  #judgeAddress({ issuer, audiences }: TokenClaims): void {
    if (issuer !== this.#options.issuer) throw invalid('The token is of another issuer than access.issuer.');
    const audience = this.#options.audience;
    if (audience === undefined || !audiences.includes(audience)) throw new PorchlightError('token_audience');
  }

  #judgeTimes({ expiresAt, issuedAt = 0, notBefore = 0 }: TokenClaims): void {
    const now = this.#options.clock.wall() / 1000;
    if (now >= expiresAt + EXPIRY_LEEWAY_S) throw new PorchlightError('token_expired');
    if (Math.max(issuedAt, notBefore) > now + FUTURE_LEEWAY_S) {
      throw new PorchlightError('token_invalid', 'The token is not valid yet.', {
        hint: 'Compare the clocks of the authorization server and of this gateway.',
      });
    }
  }

  /** How the principal is called in outcomes; undefined: it is none of ours. */
  #nameOf({ subject, clientId }: TokenClaims): string | undefined {
    const { principals, owner } = this.#options;
    // A client that speaks for itself has its own id as subject (RFC 9068 section 2.2); the owner is a person.
    if (principals.includes('owner') && subject === owner() && subject !== clientId) return 'owner';
    return [subject, clientId].find((name) => !OURS.has(name) && principals.includes(name));
  }

  #recall(id: string): Verified | undefined {
    const known = this.#verified.get(id);
    if (known === undefined) return undefined;
    this.#verified.delete(id);
    if (known.key === undefined || !this.#options.jwks.holds(known.key)) return undefined;
    this.#verified.set(id, known);
    return known;
  }

  /** The same token twice at the same time (a slider being dragged) costs one signature check. */
  async #verifyOnce(id: string, token: string, read: ReadToken): Promise<Verified> {
    const check = async (): Promise<Verified> => {
      const verified = { key: await this.#signatures.check(token, read), claims: read.claims };
      this.#verified.set(id, verified);
      if (this.#verified.size > MAX_REMEMBERED) {
        for (const oldest of this.#verified.keys()) {
          this.#verified.delete(oldest);
          break;
        }
      }
      return verified;
    };
    let work = this.#underWay.get(id);
    if (work === undefined) {
      work = check().finally(() => this.#underWay.delete(id));
      this.#underWay.set(id, work);
    }
    return await work;
  }
}

/** The gate asks for proof of a key that is named by its thumbprint; other bindings (RFC 8705) cannot be proven over MQTT. */
function refuseUnprovable({ confirmation }: TokenClaims): void {
  if (confirmation !== undefined && confirmation.jkt === undefined) {
    throw new PorchlightError('proof_missing', 'The token is bound in a way that no command can prove (its "cnf").');
  }
}

function readOrRefusal(token: string, profile: TokenProfile): ReadToken | PorchlightError {
  try {
    return readToken(token, profile);
  } catch (thrown) {
    return asPorchlightError(thrown);
  }
}
