import type { TokenProfile } from '../../token-profile.ts';
import type { AuthorizationOptions, Endpoints } from '../options.ts';

/** What a request to an authorization server is for; a dialect may treat each kind in its own way. */
export type Purpose =
  | 'discovery'
  | 'keys'
  | 'device_authorization'
  | 'token'
  | 'revocation'
  | 'introspection'
  | 'userinfo'
  /** Wherever else the owner's home may be read: an identity URL, a query. */
  | 'home';

/** A request as it goes out, before the HTTP client sees it. */
export interface WireRequest {
  readonly purpose: Purpose;
  readonly url: string;
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  /** Form parameters; absent on a GET. */
  readonly body?: URLSearchParams;
}

/** An answer as it came in. */
export interface WireAnswer {
  readonly status: number;
  /** Absent when the answer was not one JSON object. */
  readonly body?: Readonly<Record<string, unknown>>;
  /** The answer as text, at most 64 KiB, for servers that do not answer in JSON objects. Never shown to anybody. */
  readonly text?: string;
}

/** What a configuration asks for, as far as a dialect's limits may matter to it. */
export interface Wishes
  extends Pick<AuthorizationOptions, 'issuer' | 'client_authentication' | 'scopes' | 'resource' | 'grant'> {
  /** Who issues the tokens of commands; undefined: no token is taken from anybody. */
  readonly commandIssuer: string | undefined;
  /** Is the home location given by hand? */
  readonly homeGiven: boolean;
}

/** Something that a kind of server can not do. */
export interface Limit {
  /** A sentence for a person: what, and what to do instead. */
  readonly says: string;
  /** Whether this configuration runs into it. Absent: every one does. */
  matters?(wishes: Wishes): boolean;
}

/**
 * The peculiarities of one kind of authorization server, as an adapter at the wire: requests are rewritten from standard
 * form on their way out, answers into standard form on their way in. The flows above it speak only the standards.
 */
export interface Dialect {
  readonly id: string;
  /** As people call it. */
  readonly name: string;
  /** What this entry rests on, for those who read or doubt it. `cannot` is also what `config check` says aloud. */
  readonly rests: {
    readonly documented: readonly string[];
    readonly assumed: readonly string[];
    readonly cannot: readonly Limit[];
  };
  /** Endpoints that this kind of server has and does not publish; what the configuration names goes before them. */
  endpoints?(issuer: URL): Endpoints;
  /** Of the scopes that are asked for, those that this kind of server knows. Absent: all. */
  scopes?(asked: readonly string[]): readonly string[];
  /** Whom an assertion that proves the client (private_key_jwt) is addressed to. Default: the issuer. */
  readonly assertionAudience?: 'issuer' | 'token_endpoint';
  request(request: WireRequest): WireRequest;
  /** `request` is the request as it went out. A `slow_down` may carry the new `interval` (seconds). */
  answer(answer: WireAnswer, request: WireRequest): WireAnswer;
  /** How its access tokens differ from RFC 9068; undefined: they are opaque, or for others, and can not authorize commands. */
  readonly commandTokens: TokenProfile | undefined;
  /** Members of a token answer, beyond the standard ones, that are kept with the grant (texts of at most 2 KiB). */
  readonly keeps: readonly string[];
  /** Who approved, as what is kept of a token answer tells it, where there is no id_token. */
  approver?(kept: Readonly<Record<string, string>>): string | undefined;
  /** How the home location is read: OpenID Connect's claims, or Salesforce's identity URL and SOQL. */
  readonly home: 'userinfo' | 'salesforce' | 'none';
}
