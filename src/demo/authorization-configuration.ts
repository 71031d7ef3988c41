import { randomBytes } from 'node:crypto';
import type { Configuration } from 'oidc-provider';
import type { Algorithm, SigningKey } from './authorization-keys.ts';
import type { Memory } from './authorization-memory.ts';
import { codePage, confirmPage, escapeHtml, page } from './authorization-pages.ts';
import type { AuthorizationServerOptions } from './authorization-server.ts';
import { DEVICE_CODE, JWT_BEARER } from './authorization-tokens.ts';

const DAY = 86_400;

/** How the gateway proves to be the gateway. */
function gatewayProof({
  gatewayKey,
  gatewaySecret,
  gatewayAuthentication = 'client_secret_basic',
}: AuthorizationServerOptions): Partial<NonNullable<Configuration['clients']>[number]> {
  if (gatewaySecret !== undefined)
    return { token_endpoint_auth_method: gatewayAuthentication, client_secret: gatewaySecret };
  if (gatewayKey === undefined) return { token_endpoint_auth_method: 'none' };
  return { token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [gatewayKey] } };
}

/** The scopes of the lamps. */
export const scopesOf = ({
  scopes = ['lights:read', 'lights:control'],
}: Pick<AuthorizationServerOptions, 'scopes'>): readonly string[] => scopes;

/** oidc-provider's configuration. Everything that it would remark upon is given, so that it stays silent. */
export function configuration(
  options: AuthorizationServerOptions,
  alg: Algorithm,
  memory: Memory,
  { key, kid }: SigningKey,
  phone: { readonly client_id: string; readonly client_secret: string },
): Configuration {
  const {
    codeTtlSeconds = 600,
    accessTokenTtlSeconds = 600,
    refreshTokenTtlSeconds = 90 * DAY,
    rotate = true,
  } = options;
  const scopes = scopesOf(options);
  const audience = options.audience;
  const { dpop = 'off' } = options;
  const device = { redirect_uris: [], response_types: [], application_type: 'native' as const };
  return {
    adapter: (name: string) => memory.adapter(name),
    jwks: { keys: [{ ...key.export({ format: 'jwk' }), kid, alg, use: 'sig' }] },
    cookies: { keys: [randomBytes(24).toString('base64url')] },
    clientDefaults: { id_token_signed_response_alg: alg },
    enabledJWA: {
      idTokenSigningAlgValues: [alg],
      clientAuthSigningAlgValues: ['RS256', 'PS256', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
      dPoPSigningAlgValues: ['ES256', 'Ed25519'],
    },
    clients: [
      {
        ...device,
        client_id: options.gatewayClientId,
        client_name: 'Porchlight gateway',
        grant_types: options.gatewayGrants?.map((grant) => (grant === 'jwt_bearer' ? JWT_BEARER : grant)) ?? [
          DEVICE_CODE,
          'refresh_token',
        ],
        ...(options.dpopBound === true && { dpop_bound_access_tokens: true }),
        ...gatewayProof(options),
      },
      {
        ...device,
        ...phone,
        client_name: 'Demo phone',
        grant_types: [DEVICE_CODE, 'refresh_token', 'client_credentials'],
        token_endpoint_auth_method: 'client_secret_basic',
      },
      ...(options.clients ?? []),
    ],
    scopes: ['openid', 'offline_access', 'profile', 'address'],
    // No standard claim has coordinates: these two are the demo's own (OpenID Connect Core section 5.1.2).
    claims: { openid: ['sub'], profile: ['name', 'zoneinfo'], address: ['address', 'latitude', 'longitude'] },
    findAccount: (_ctx, id) => ({
      accountId: id,
      claims: () => ({
        name: id,
        zoneinfo: 'Europe/Berlin',
        address: { street_address: 'Panoramastraße 1A', postal_code: '10178', locality: 'Berlin', country: 'DE' },
        latitude: 52.520815,
        longitude: 13.409419,
        ...options.claims,
        sub: id,
      }),
    }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      dPoP: {
        enabled: dpop !== 'off',
        ...(dpop === 'nonce' && { nonceSecret: randomBytes(32), requireNonce: () => true }),
      },
      revocation: { enabled: true, allowedPolicy: (_ctx, client, token) => token.clientId === client.clientId },
      introspection: { enabled: true, allowedPolicy: (_ctx, client, token) => token.clientId === client.clientId },
      deviceFlow: {
        enabled: true,
        userCodeInputSource: (ctx, form, _out, error) => {
          ctx.body =
            error?.name === 'AbortedError'
              ? page('Nothing was allowed', '<p>You can close this page.</p>')
              : codePage(
                  form,
                  error === undefined ? undefined : 'This code is not known (any more). Look at the device again.',
                );
        },
        userCodeConfirmSource: (ctx, form, client, _device, code) => {
          ctx.body = confirmPage(form, client.clientName ?? client.clientId, code);
        },
        successSource: (ctx) => {
          ctx.body = page('Connected', '<p>The device carries on by itself. You can close this page.</p>');
        },
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_ctx, client, oneOf) =>
          // A single resource, or none: a token is for one thing. The phone always means the lamps.
          (Array.isArray(oneOf) ? oneOf[0] : oneOf) ?? (client?.clientId === phone.client_id ? audience : []),
        useGrantedResource: () => options.useGrantedResource ?? true,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: [...scopes, 'other:thing'].join(' '),
          audience: resource,
          accessTokenTTL: accessTokenTtlSeconds,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg } },
        }),
      },
    },
    ...(options.audienceAsArray === true && {
      formats: {
        customizers: {
          jwt: (_ctx, _token, parts) => {
            parts.payload['aud'] = [String(parts.payload['aud']), 'https://elsewhere.example/'];
          },
        },
      },
    }),
    issueRefreshToken: (_ctx, client, code) =>
      client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
    rotateRefreshToken: rotate,
    clientBasedCORS: () => false,
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    renderError: (ctx, out) => {
      ctx.type = 'html';
      ctx.body = page('Sorry', `<p>${escapeHtml(out.error_description ?? out.error)}</p>`);
    },
    ttl: {
      AccessToken: accessTokenTtlSeconds,
      ClientCredentials: accessTokenTtlSeconds,
      DeviceCode: codeTtlSeconds,
      IdToken: 3600,
      RefreshToken: refreshTokenTtlSeconds,
      Interaction: 3600,
      Session: DAY,
      Grant: refreshTokenTtlSeconds,
    },
  };
}
