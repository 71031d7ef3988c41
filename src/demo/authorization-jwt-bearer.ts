import { createLocalJWKSet, errors, type JWK, jwtVerify } from 'jose';
import type { default as Provider, TokenEndpointGrantContext } from 'oidc-provider';
import { scopesOf } from './authorization-configuration.ts';
import type { AuthorizationServerOptions } from './authorization-server.ts';
import { JWT_BEARER } from './authorization-tokens.ts';

/** Salesforce's limit, in seconds: others are more generous. */
const LONGEST_LIFE = 180;

/**
 * Teaches oidc-provider the grant for the gateway's client: an assertion signed by one of its keys, for somebody who has been
 * approved in advance, used once (RFC 7523 section 3).
 */
export function offerJwtBearer(
  provider: Provider,
  options: Pick<AuthorizationServerOptions, 'preApproved' | 'scopes' | 'audience' | 'gatewayClientId'>,
  keys: readonly JWK[],
): void {
  const used = new Set<string>();
  const known = createLocalJWKSet({ keys: [...keys] });
  const isApproved = async (assertion: string): Promise<string | undefined> => {
    try {
      const { payload } = await jwtVerify(assertion, known, {
        issuer: options.gatewayClientId,
        audience: [provider.issuer, `${provider.issuer}/token`],
        maxTokenAge: LONGEST_LIFE,
        requiredClaims: ['sub', 'exp', 'jti', 'iat'],
      });
      const { sub = '', jti = '', exp = 0, iat = 0 } = payload;
      if (exp - iat > LONGEST_LIFE || used.has(jti)) return undefined;
      used.add(jti);
      return options.preApproved?.includes(sub) ? sub : undefined;
    } catch (thrown) {
      if (thrown instanceof errors.JOSEError) return undefined;
      throw thrown;
    }
  };

  provider.registerGrantType<{ assertion?: string; scope?: string; resource?: string }>(
    JWT_BEARER,
    async (ctx: TokenEndpointGrantContext<{ assertion?: string; scope?: string; resource?: string }>) => {
      const { client, params } = ctx.oidc;
      const accountId = await isApproved(params.assertion ?? '');
      if (accountId === undefined) {
        ctx.status = 400;
        ctx.body = { error: 'invalid_grant', error_description: 'the assertion is not accepted' };
        return;
      }
      const grant = new provider.Grant({ accountId, clientId: client.clientId });
      const scope = params.scope ?? '';
      grant.addOIDCScope(scope);
      const { resource } = params;
      if (resource !== undefined) grant.addResourceScope(resource, scopesOf(options).join(' '));
      const token = new provider.AccessToken({
        accountId,
        client,
        grantId: await grant.save(),
        gty: 'jwt_bearer',
        scope,
      });
      ctx.body = { access_token: await token.save(), token_type: 'Bearer', expires_in: token.expiration, scope };
    },
    ['assertion', 'scope', 'resource'],
  );
}
