import { randomBytes } from 'node:crypto';
import type { Configuration } from 'oidc-provider';
import type { Algorithm, SigningKey } from './authorization-keys.ts';
import type { Memory } from './authorization-memory.ts';
import { codePage, confirmPage, escapeHtml, page } from './authorization-pages.ts';
import type { AuthorizationServerOptions } from './authorization-server.ts';
import { DEVICE_CODE } from './authorization-tokens.ts';

const DAY = 86_400;

/** The scopes of the lamps. */
export const scopesOf = ({
  scopes = ['lights:read', 'lights:control'],
}: AuthorizationServerOptions): readonly string[] => scopes;

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
  const { gatewaySecret, gatewayAuthentication = 'client_secret_basic' } = options;
  const device = { redirect_uris: [], response_types: [], application_type: 'native' as const };
  return {
    adapter: (name: string) => memory.adapter(name),
    jwks: { keys: [{ ...key.export({ format: 'jwk' }), kid, alg, use: 'sig' }] },
    cookies: { keys: [randomBytes(24).toString('base64url')] },
    clientDefaults: { id_token_signed_response_alg: alg },
    enabledJWA: { idTokenSigningAlgValues: [alg] },
    clients: [
      {
        ...device,
        client_id: options.gatewayClientId,
        client_name: 'Porchlight gateway',
        grant_types: [DEVICE_CODE, 'refresh_token'],
        ...(gatewaySecret === undefined
          ? { token_endpoint_auth_method: 'none' as const }
          : { token_endpoint_auth_method: gatewayAuthentication, client_secret: gatewaySecret }),
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
    claims: { openid: ['sub'], profile: ['name', 'zoneinfo'], address: ['address'] },
    findAccount: (_ctx, id) => ({
      accountId: id,
      claims: () => ({
        sub: id,
        name: id,
        zoneinfo: 'Europe/Berlin',
        address: { locality: 'Berlin', country: 'DE' },
      }),
    }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
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
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: [...scopes, 'other:thing'].join(' '),
          audience: resource,
          accessTokenTTL: accessTokenTtlSeconds,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg } },
        }),
      },
    },
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
