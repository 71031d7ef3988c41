import {
  type Client,
  type ClientAuth,
  deviceAuthorizationRequest,
  deviceCodeGrantRequest,
  introspectionRequest,
  refreshTokenGrantRequest,
  revocationRequest,
} from 'oauth4webapi';
import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import { readSigningKey, type SigningKey } from './assertion.ts';
import { clientAuthentication } from './client-authentication.ts';
import { type DeviceCode, readDeviceCode } from './device-code.ts';
import type { Dialect } from './dialects/dialect.ts';
import { discover, type EndpointName, type ServerMetadata } from './discovery.ts';
import { type DpopKey, Nonces, Proofs, proverOf } from './dpop.ts';
import { Echo } from './echo.ts';
import type { Identity } from './identity.ts';
import { blamedOnClock, isMachine, machineRequest } from './machine-request.ts';
import { type AuthorizationOptions, type Fetch, parseIssuer } from './options.ts';
import { PublishedKeys } from './published-keys.ts';
import { askResource, type Credential, type ResourceReply } from './resource.ts';
import { readTokens, type TokenAnswer } from './tokens.ts';
import { ask, type Reply, type SendOptions, type Wire } from './wire.ts';

export interface ServerParts {
  readonly options: AuthorizationOptions;
  readonly fetch: Fetch;
  readonly clock: Clock;
  readonly dialect: Dialect;
  /** May the wall clock be believed? Default: yes. */
  readonly clockTrusted?: (() => boolean) | undefined;
}

/** Metadata is read again after a day, and after any answer that looks as if the server had moved. */
const METADATA_LIFE = 86_400_000;

/** The authorization server as its client sees it: one method for each thing to ask, each answered by a Reply. */
export class Server {
  readonly #parts: ServerParts;
  #metadata: { readonly value: ServerMetadata; readonly stale: number } | undefined;
  readonly #keys = new PublishedKeys();
  readonly #echo = new Echo();
  readonly #nonces = new Nonces();
  readonly #proofs: Proofs;
  #authenticated: ClientAuth | undefined;
  #signing: SigningKey | undefined;

  constructor(parts: ServerParts) {
    this.#parts = parts;
    this.#proofs = new Proofs(parts.options);
  }

  /** What the server publishes, or the configuration says. Rejects with why it can not be had. */
  metadata(signal: AbortSignal): Promise<ServerMetadata> {
    return this.#discover(signal);
  }

  /** Device authorization request (RFC 8628 section 3.1). */
  start(signal: AbortSignal): Promise<Reply<DeviceCode>> {
    const { options, clock } = this.#parts;
    return this.#with(signal, (metadata, wire) =>
      ask(
        wire,
        'device_authorization',
        async (send) => {
          this.#proofs.check(metadata);
          return deviceAuthorizationRequest(metadata, this.#client(), this.#authentication(), this.#wishes(), send);
        },
        (body) => readDeviceCode(body, parseIssuer(options.issuer), clock),
      ),
    );
  }

  /** One poll: device access token request (RFC 8628 section 3.4). */
  redeem(deviceCode: string, signal: AbortSignal): Promise<Reply<TokenAnswer>> {
    return this.#with(signal, async (metadata, wire) =>
      this.#tokens(metadata, wire, await this.#proofs.keyOf(deviceCode, metadata), async (send) =>
        deviceCodeGrantRequest(metadata, this.#client(), this.#authentication(), deviceCode, {
          ...send,
          additionalParameters: this.#resource(),
        }),
      ),
    );
  }

  /**
   * Refresh (RFC 6749 section 6). The scope is left out: what was granted stays granted. `dpopKey`: what the grant's record holds.
   * `forResource`: false asks for a token that is for the server itself, where one is configured for something else (RFC 8707).
   */
  refresh(
    refreshToken: string,
    signal: AbortSignal,
    dpopKey?: Readonly<Record<string, unknown>> | undefined,
    forResource = true,
  ): Promise<Reply<TokenAnswer>> {
    return this.#with(signal, async (metadata, wire) =>
      this.#tokens(metadata, wire, await this.#proofs.restored(dpopKey), async (send) =>
        refreshTokenGrantRequest(metadata, this.#client(), this.#authentication(), refreshToken, {
          ...send,
          additionalParameters: forResource ? this.#resource() : {},
        }),
      ),
    );
  }

  /** Tokens without a person: `jwt_bearer` (RFC 7523 section 2.1) or `client_credentials` (RFC 6749 section 4.4). */
  obtain(signal: AbortSignal): Promise<Reply<TokenAnswer>> {
    const { options, clock } = this.#parts;
    return this.#with(signal, async (metadata, wire) =>
      this.#tokens(metadata, wire, await this.#proofs.fresh(metadata), async (send) =>
        machineRequest(
          { options, clock, metadata, client: this.#client(), signingKey: this.#signingKey },
          this.#authentication(),
          this.#wishes(),
          send,
        ),
      ),
    );
  }

  /** Revocation (RFC 7009 section 2.1). Answered with false where the server offers none. */
  revoke(
    token: string,
    token_type_hint: 'refresh_token' | 'access_token',
    signal: AbortSignal,
  ): Promise<Reply<boolean>> {
    return this.#with(signal, (metadata, wire) => this.#revoke(metadata, wire, token, token_type_hint));
  }

  /** What the server says of a token (RFC 7662 section 2). `not_offered`: there is no endpoint, or this client can not prove itself. */
  async introspect(token: string, signal: AbortSignal): Promise<ResourceReply | 'not_offered'> {
    if (this.#parts.options.client_authentication === 'none') return 'not_offered';
    let offered = true;
    const reply = await this.#with(signal, async (metadata, wire): Promise<ResourceReply> => {
      offered = metadata.introspection_endpoint !== undefined;
      if (!offered) return answered({});
      return ask(
        wire,
        'introspection',
        async (send) => introspectionRequest(metadata, this.#client(), this.#authentication(), token, send),
        (body) => body,
      );
    });
    return offered ? reply : 'not_offered';
  }

  /** A GET at a resource, once, with the access token of a grant. */
  async resource(
    purpose: 'userinfo' | 'home',
    url: string,
    credential: Credential,
    signal: AbortSignal,
  ): Promise<ResourceReply> {
    const { fetch, dialect, clock, options } = this.#parts;
    const key = credential.token_type === 'DPoP' ? await this.#proofs.restored(credential.dpop_key) : undefined;
    const prover = key && proverOf(key, this.#nonces, clock, credential.access_token);
    const wire = { fetch, dialect, signal, echo: this.#echo, ...(prover === undefined ? {} : { prover }) };
    return askResource(wire, purpose, { url, issuer: parseIssuer(options.issuer) }, credential);
  }

  /** Who approved: what a verified id_token says of them. */
  identityOf(idToken: string, signal: AbortSignal): Promise<Reply<Identity>> {
    const { options, clock, dialect } = this.#parts;
    return this.#with(signal, ({ jwks_uri }, wire) =>
      this.#keys.identityOf(idToken, wire, jwks_uri, {
        issuer: options.issuer,
        client_id: options.client_id,
        now: clock.wall(),
        person: dialect.commandTokens?.person,
      }),
    );
  }

  /** Discovers first, where that is still to do. A failed discovery is a reply like any other. */
  async #with<T>(
    signal: AbortSignal,
    work: (metadata: ServerMetadata, wire: Wire) => Promise<Reply<T>>,
  ): Promise<Reply<T>> {
    const { fetch, dialect, options, clockTrusted } = this.#parts;
    let metadata: ServerMetadata;
    try {
      metadata = await this.#discover(signal);
    } catch (thrown) {
      if (signal.aborted) throw new PorchlightError('stopping');
      const problem = asPorchlightError(thrown, 'server_unreachable');
      return problem.code === 'config_invalid' ? { kind: 'nonsense', problem } : { kind: 'fault', problem };
    }
    const reply = await work(metadata, { fetch, dialect, signal, echo: this.#echo });
    if (reply.kind === 'fault' && reply.problem.code === 'server_answer') this.#metadata = undefined;
    if (reply.kind === 'refused' && clockTrusted?.() === false) return blamedOnClock(options, reply.error) ?? reply;
    return reply;
  }

  async #discover(signal: AbortSignal): Promise<ServerMetadata> {
    const { options, fetch, dialect, clock } = this.#parts;
    const known = this.#metadata;
    if (known !== undefined && clock.monotonic() < known.stale) return known.value;
    const needs: EndpointName[] = ['token_endpoint'];
    if (!isMachine(options)) {
      needs.unshift('device_authorization_endpoint');
      if (options.scopes.includes('openid')) needs.push('jwks_uri');
    }
    const value = await discover(options.issuer, {
      fetch,
      signal,
      dialect,
      needs,
      ...(options.endpoints === undefined ? {} : { endpoints: options.endpoints }),
    });
    this.#metadata = { value, stale: clock.monotonic() + METADATA_LIFE };
    return value;
  }

  /** A request to the token endpoint, signed where there is a key; what may not be used is given back. */
  async #tokens(
    metadata: ServerMetadata,
    wire: Wire,
    key: DpopKey | undefined,
    send: (options: SendOptions) => Promise<unknown>,
  ): Promise<Reply<TokenAnswer>> {
    const { options, dialect, clock } = this.#parts;
    const signed = key === undefined ? wire : { ...wire, prover: proverOf(key, this.#nonces, clock) };
    const reply = await ask(signed, 'token', send, (body) =>
      readTokens(metadata, this.#client(), body, { dpop_key: key?.jwk, dialect }),
    );
    if (reply.kind !== 'answered' || options.dpop !== 'required' || reply.value.token_type === 'DPoP') return reply;
    const { refresh_token, access_token } = reply.value;
    if (refresh_token !== undefined) await this.#revoke(metadata, wire, refresh_token, 'refresh_token');
    await this.#revoke(metadata, wire, access_token, 'access_token');
    return { kind: 'nonsense', problem: bearerOnly() };
  }

  async #revoke(metadata: ServerMetadata, wire: Wire, token: string, token_type_hint: string): Promise<Reply<boolean>> {
    if (metadata.revocation_endpoint === undefined) return answered(false);
    return ask(
      wire,
      'revocation',
      async (send) =>
        revocationRequest(metadata, this.#client(), this.#authentication(), token, {
          ...send,
          additionalParameters: { token_type_hint },
        }),
      () => true,
    );
  }

  #client(): Client {
    return { client_id: this.#parts.options.client_id };
  }

  /** What is asked for: scopes, and what they are for. */
  #wishes(): URLSearchParams {
    const { scopes } = this.#parts.options;
    const wishes = new URLSearchParams(scopes.length === 0 ? {} : { scope: scopes.join(' ') });
    for (const [name, value] of this.#resource()) wishes.set(name, value);
    return wishes;
  }

  #resource(): URLSearchParams {
    const { resource } = this.#parts.options;
    return new URLSearchParams(resource === undefined ? {} : { resource });
  }

  /** Throws `config_invalid` when what the client proves itself with is missing or unfit. */
  #authentication(): ClientAuth {
    const { options, clock, dialect } = this.#parts;
    this.#authenticated ??= clientAuthentication(options, clock, this.#signingKey, dialect.assertionAudience);
    return this.#authenticated;
  }

  readonly #signingKey = (): SigningKey => {
    this.#signing ??= readSigningKey(this.#parts.options);
    return this.#signing;
  };
}

const answered = <T>(value: T): Reply<T> => ({ kind: 'answered', value });

function bearerOnly(): PorchlightError {
  return new PorchlightError(
    'server_refused',
    'The authorization server gave tokens that whoever finds them can use, though authorization.dpop is required. They were given back.',
    { hint: 'Have DPoP enabled for this client at the server, or set authorization.dpop: auto.' },
  );
}
