import type { JSONWebKeySet } from 'jose';
import {
  type Client,
  type ClientAuth,
  ClientSecretBasic,
  ClientSecretPost,
  customFetch,
  deviceAuthorizationRequest,
  deviceCodeGrantRequest,
  None,
  refreshTokenGrantRequest,
  revocationRequest,
} from 'oauth4webapi';
import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import { type DeviceCode, readDeviceCode } from './device-code.ts';
import type { Dialect } from './dialects/dialect.ts';
import { discover, type EndpointName, type ServerMetadata } from './discovery.ts';
import { readKeys, verifyIdToken } from './id-token.ts';
import { type AuthorizationOptions, type Fetch, parseIssuer } from './options.ts';
import { readTokens, type TokenAnswer } from './tokens.ts';
import { ask, nonsense, type Reply, type Wire } from './wire.ts';

export interface ServerParts {
  readonly options: AuthorizationOptions;
  readonly fetch: Fetch;
  readonly clock: Clock;
  readonly dialect: Dialect;
}

/** Metadata is read again after a day, and after any answer that looks as if the server had moved. */
const METADATA_LIFE = 86_400_000;

/** The authorization server as its client sees it: one method for each thing to ask, each answered by a Reply. */
export class Server {
  readonly #parts: ServerParts;
  #metadata: { readonly value: ServerMetadata; readonly stale: number } | undefined;
  #keys: JSONWebKeySet | undefined;

  constructor(parts: ServerParts) {
    this.#parts = parts;
  }

  /** Device authorization request (RFC 8628 section 3.1). */
  start(signal: AbortSignal): Promise<Reply<DeviceCode>> {
    const { options, clock } = this.#parts;
    const parameters = new URLSearchParams();
    if (options.scopes.length > 0) parameters.set('scope', options.scopes.join(' '));
    if (options.resource !== undefined) parameters.set('resource', options.resource);
    return this.#with(signal, async (metadata, wire) =>
      ask(
        wire,
        'device_authorization',
        async (send) => deviceAuthorizationRequest(metadata, this.#client(), this.#authentication(), parameters, send),
        (body) => readDeviceCode(body, parseIssuer(options.issuer), clock),
      ),
    );
  }

  /** One poll: device access token request (RFC 8628 section 3.4). */
  redeem(deviceCode: string, signal: AbortSignal): Promise<Reply<TokenAnswer>> {
    return this.#with(signal, async (metadata, wire) =>
      ask(
        wire,
        'token',
        async (send) =>
          deviceCodeGrantRequest(metadata, this.#client(), this.#authentication(), deviceCode, {
            ...send,
            additionalParameters: this.#resource(),
          }),
        async (body) => readTokens(metadata, this.#client(), body),
      ),
    );
  }

  /** Refresh (RFC 6749 section 6). The scope is left out: what was granted stays granted. */
  refresh(refreshToken: string, signal: AbortSignal): Promise<Reply<TokenAnswer>> {
    return this.#with(signal, async (metadata, wire) =>
      ask(
        wire,
        'token',
        async (send) =>
          refreshTokenGrantRequest(metadata, this.#client(), this.#authentication(), refreshToken, {
            ...send,
            additionalParameters: this.#resource(),
          }),
        async (body) => readTokens(metadata, this.#client(), body),
      ),
    );
  }

  /** Revocation (RFC 7009 section 2.1). Answered with false where the server offers none. */
  revoke(
    token: string,
    token_type_hint: 'refresh_token' | 'access_token',
    signal: AbortSignal,
  ): Promise<Reply<boolean>> {
    return this.#with(signal, async (metadata, wire) => {
      if (metadata.revocation_endpoint === undefined) return { kind: 'answered', value: false };
      const reply = await ask(
        wire,
        'revocation',
        async (send) =>
          revocationRequest(metadata, this.#client(), this.#authentication(), token, {
            ...send,
            additionalParameters: { token_type_hint },
          }),
        () => true,
      );
      return reply;
    });
  }

  /** Who approved: the subject of a verified id_token. The keys are fetched once more when it was signed by one that is new. */
  subjectOf(idToken: string, signal: AbortSignal): Promise<Reply<string>> {
    const { options, clock } = this.#parts;
    return this.#with(signal, async (metadata, wire) => {
      const jwks = metadata.jwks_uri;
      if (jwks === undefined)
        return { kind: 'nonsense', problem: nonsense('it publishes no keys to verify its id_token with') };
      const fresh = this.#keys === undefined;
      const keys = this.#keys === undefined ? await fetchKeys(wire, jwks) : answered(this.#keys);
      if (keys.kind !== 'answered') return keys;
      this.#keys = keys.value;
      try {
        const verdict = await verifyIdToken(idToken, keys.value, {
          issuer: options.issuer,
          client_id: options.client_id,
          now: clock.wall(),
        });
        if (verdict !== 'stale_keys') return answered(verdict.subject);
      } catch (thrown) {
        return { kind: 'nonsense', problem: asPorchlightError(thrown, 'server_answer') };
      }
      this.#keys = undefined;
      if (fresh) return { kind: 'nonsense', problem: nonsense('its id_token is signed by a key it does not publish') };
      return this.subjectOf(idToken, signal);
    });
  }

  /** Discovers first, where that is still to do. A failed discovery is a reply like any other. */
  async #with<T>(
    signal: AbortSignal,
    work: (metadata: ServerMetadata, wire: Wire) => Promise<Reply<T>>,
  ): Promise<Reply<T>> {
    const { fetch, dialect } = this.#parts;
    let metadata: ServerMetadata;
    try {
      metadata = await this.#discover(signal);
    } catch (thrown) {
      if (signal.aborted) throw new PorchlightError('stopping');
      const problem = asPorchlightError(thrown, 'server_unreachable');
      return problem.code === 'config_invalid' ? { kind: 'nonsense', problem } : { kind: 'fault', problem };
    }
    const reply = await work(metadata, { fetch, dialect, signal });
    if (reply.kind === 'fault' && reply.problem.code === 'server_answer') this.#metadata = undefined;
    return reply;
  }

  async #discover(signal: AbortSignal): Promise<ServerMetadata> {
    const { options, fetch, dialect, clock } = this.#parts;
    const known = this.#metadata;
    if (known !== undefined && clock.monotonic() < known.stale) return known.value;
    const needs: EndpointName[] = ['device_authorization_endpoint', 'token_endpoint'];
    if (options.scopes.includes('openid')) needs.push('jwks_uri');
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

  #client(): Client {
    return { client_id: this.#parts.options.client_id };
  }

  #resource(): URLSearchParams {
    const { resource } = this.#parts.options;
    return new URLSearchParams(resource === undefined ? {} : { resource });
  }

  /** RFC 6749 section 2.3. Throws `config_invalid` when a secret is needed and missing. */
  #authentication(): ClientAuth {
    const { client_authentication: method, client_secret: secret } = this.#parts.options;
    if (method === 'none') return None();
    if (method === 'private_key_jwt')
      throw new PorchlightError(
        'config_invalid',
        'authorization.client_authentication: private_key_jwt is not part of this version.',
        {
          hint: 'Use none, client_secret_basic or client_secret_post.',
        },
      );
    if (secret === undefined || secret === '')
      throw new PorchlightError(
        'config_invalid',
        `authorization.client_authentication is ${method}, but there is no secret.`,
        {
          hint: 'Give authorization.client_secret_file, or a systemd credential of the name client_secret.',
        },
      );
    return method === 'client_secret_basic' ? ClientSecretBasic(secret) : ClientSecretPost(secret);
  }
}

const answered = <T>(value: T): Reply<T> => ({ kind: 'answered', value });

function fetchKeys(wire: Wire, url: string): Promise<Reply<JSONWebKeySet>> {
  const headers = { accept: 'application/json' };
  return ask(wire, 'keys', (send) => send[customFetch](url, { method: 'GET', headers }), readKeys);
}
