/** Where a server's access tokens differ from RFC 9068. Dialects declare theirs; everything absent here is not negotiable. */
export interface TokenProfile {
  /** Accepted `typ` header values, lower case and without `application/` (RFC 7515 section 4.1.9); '' accepts a header without. */
  readonly types: readonly string[];
  /** The claim that names the client; the first that is there counts. */
  readonly clientClaims: readonly string[];
  /** The claim that carries the scopes; the first that is there counts. */
  readonly scopeClaims: readonly string[];
  /** May scopes also come as an array of strings? */
  readonly scopeArrays: boolean;
  /** Claims that RFC 9068 section 2.2 requires and that this server may leave out. They add nothing to our judgement. */
  readonly optional: readonly ('iat' | 'jti')[];
  /**
   * Where the `typ` of the header does not tell access tokens from the server's other tokens (RFC 8725 section 3.12): claims that
   * an access token must have, with one of these values; none listed: that it must not have.
   */
  readonly marks?: Readonly<Record<string, readonly string[]>>;
  /**
   * Who a person is, by the name that the server's id_tokens know them by too; undefined: by `sub`, as everywhere else. Gets
   * claims as they stand, of an access token or of an id_token.
   */
  readonly person?: (claims: Readonly<Record<string, unknown>>) => string | undefined;
}

/** RFC 9068 to the letter. The JWT access tokens of oidc-provider pass. */
export const RFC_9068: TokenProfile = {
  types: ['at+jwt'],
  clientClaims: ['client_id'],
  scopeClaims: ['scope'],
  scopeArrays: false,
  optional: [],
};

/** Of a server whose access tokens are opaque, or meant for the server itself: no JWT of it is taken for an access token. */
export const NO_JWT: TokenProfile = { ...RFC_9068, types: [] };

/** Claims that OpenID Connect Core sections 2 and 3.3.2.11 give to id_tokens alone. */
export const NOT_AN_ID_TOKEN: Readonly<Record<string, readonly string[]>> = { nonce: [], at_hash: [], c_hash: [] };
