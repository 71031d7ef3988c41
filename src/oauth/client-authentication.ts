import { type ClientAuth, ClientSecretBasic, ClientSecretPost, None } from 'oauth4webapi';
import { PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import { type SigningKey, signAssertion } from './assertion.ts';
import type { AuthorizationOptions } from './options.ts';

const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

/** What an assertion that proves the client is addressed to. */
export type AssertionAudience = 'issuer' | 'token_endpoint';

/**
 * How the client proves to the server which client it is (RFC 6749 section 2.3; `private_key_jwt`: RFC 7523 section 2.2 and OpenID
 * Connect Core section 9). Throws `config_invalid` when what it needs is missing or unfit.
 */
export function clientAuthentication(
  options: AuthorizationOptions,
  clock: Clock,
  signingKey: () => SigningKey,
  audience: AssertionAudience = 'issuer',
): ClientAuth {
  const { client_authentication: method, client_secret: secret } = options;
  if (method === 'none') return None();
  if (method === 'private_key_jwt') return privateKeyJwt(signingKey(), clock, options.assertion?.audience ?? audience);
  if (secret === undefined || secret === '')
    throw new PorchlightError(
      'config_invalid',
      `authorization.client_authentication is ${method}, but there is no secret.`,
      { hint: 'Give authorization.client_secret_file, or a systemd credential of the name client_secret.' },
    );
  return method === 'client_secret_basic' ? ClientSecretBasic(secret) : ClientSecretPost(secret);
}

/**
 * The audience is the issuer and nothing else, at whichever endpoint: an assertion that named an endpoint's address could be made for
 * one server and used at another (RFC 9700 section 4.4; draft-ietf-oauth-rfc7523bis). A dialect, or the configuration, may know better.
 */
function privateKeyJwt(key: SigningKey, clock: Clock, audience: string): ClientAuth {
  return async (as, { client_id }, body) => {
    const aud =
      (audience === 'token_endpoint' ? as.token_endpoint : audience === 'issuer' ? as.issuer : audience) ?? as.issuer;
    body.set('client_id', client_id);
    body.set('client_assertion_type', JWT_BEARER);
    body.set('client_assertion', await signAssertion(key, { iss: client_id, sub: client_id, aud }, clock));
  };
}
