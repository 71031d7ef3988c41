import { PorchlightError } from '../errors.ts';

/** The HTTP client as a parameter: `globalThis.fetch`, or one that knows a private CA, or a test's script. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** Endpoints given by hand. They override what discovery says, and make it unnecessary when nothing else is missing. */
export interface Endpoints {
  readonly device_authorization?: string | undefined;
  readonly token?: string | undefined;
  readonly revocation?: string | undefined;
  readonly introspection?: string | undefined;
  readonly userinfo?: string | undefined;
  readonly jwks?: string | undefined;
}

/** How this gateway is known to its authorization server. */
export interface AuthorizationOptions {
  readonly issuer: string;
  readonly client_id: string;
  readonly client_secret?: string | undefined;
  /** A private key that signs (PEM, PKCS #8, or a JWK): for `private_key_jwt` and the grant `jwt_bearer`. */
  readonly client_key?: string | undefined;
  readonly client_key_id?: string | undefined;
  readonly client_key_algorithm?: 'RS256' | 'PS256' | 'ES256' | 'ES384' | 'ES512' | 'EdDSA' | 'Ed25519' | undefined;
  readonly client_authentication: 'none' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt';
  readonly scopes: readonly string[];
  /** RFC 8707: what the access token is for. */
  readonly resource?: string | undefined;
  /** The only subject that may approve; absent: the first who does, pinned. */
  readonly owner?: string | undefined;
  readonly endpoints?: Endpoints | undefined;
  /** The configuration refuses the last two, which have their place here and are not done. */
  readonly grant?:
    | 'device_code'
    | 'jwt_bearer'
    | 'client_credentials'
    | 'authorization_code'
    | 'saml2_bearer'
    | undefined;
  /** What the assertion of `jwt_bearer` says (RFC 7523 section 3). */
  readonly assertion?:
    | {
        readonly subject?: string | undefined;
        readonly issuer?: string | undefined;
        readonly audience?: string | undefined;
      }
    | undefined;
  /** RFC 9449. Default: off. */
  readonly dpop?: 'auto' | 'required' | 'off' | undefined;
}

/** True for a host that never leaves this machine: localhost and its sub-domains, 127.0.0.0/8, ::1. */
export function isLoopback(url: URL): boolean {
  return /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
}

/**
 * The issuer as a URL: https (http only on loopback), no user, query or fragment (RFC 8414 section 2).
 * Throws `config_invalid`.
 */
export function parseIssuer(issuer: string): URL {
  const url = URL.canParse(issuer) ? new URL(issuer) : undefined;
  const wrong = (why: string): PorchlightError =>
    new PorchlightError('config_invalid', `The issuer ${why}.`, {
      hint: 'Write it as the server publishes it, for example https://auth.example.com',
    });
  if (url === undefined) throw wrong('is not an address');
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url)))
    throw wrong('must be an https address (http only on this machine)');
  if (url.username !== '' || url.password !== '') throw wrong('must not contain a user or password');
  if (url.search !== '' || url.hash !== '') throw wrong('must not contain a query or fragment');
  return url;
}
