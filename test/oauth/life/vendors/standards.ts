import { DEVICE_CODE, SECRET, type Vendor } from '../vendor.ts';
import {
  type Answer,
  type Handler,
  idToken,
  json,
  NOT_FOUND,
  refusal,
  signingKey,
  text,
  VendorServer,
} from '../vendor-server.ts';

/** In what a server that keeps to RFC 8628 differs from the next one. */
interface Quirks {
  /** The issuer's path. */
  readonly realm: string;
  readonly metadata: 'openid-configuration' | 'oauth-authorization-server';
  readonly paths: {
    readonly start: string;
    readonly token: string;
    readonly revoke?: string;
    readonly introspect?: string;
  };
  readonly user_code: string;
  readonly life: number;
  /** Undefined: the answer leaves it out. */
  readonly interval?: number;
  readonly complete: boolean;
  readonly rotates: boolean;
  readonly statuses?: Partial<Record<'authorization_pending' | 'slow_down', number>>;
  /** What an unknown, used or expired code is answered with. */
  readonly unknown?: string;
  readonly expired?: string;
  /** How JSON is written. */
  readonly indented?: boolean;
  /** How often the start is answered with 429 slow_down before it works. */
  readonly throttled?: number;
}

const CLIENT = 'porchlight';

/** RFC 8628, RFC 6749, RFC 7009 and OpenID Connect Discovery, with these quirks. */
const handlerFor =
  (quirks: Quirks) =>
  ({ desk, origin }: VendorServer): Handler => {
    const issuer = `${origin}${quirks.realm}`;
    const { start, token, revoke, introspect } = quirks.paths;
    const at = (path: string): string => `${origin}${quirks.realm}${path}`;
    const keys = `${quirks.realm.replace(/\/$/, '')}/keys`;
    let throttled = quirks.throttled ?? 0;
    const wellKnown =
      quirks.metadata === 'openid-configuration'
        ? `${quirks.realm.replace(/\/$/, '')}/.well-known/openid-configuration`
        : `/.well-known/oauth-authorization-server${quirks.realm}`;
    const written = (status: number, body: unknown): Answer =>
      quirks.indented === true ? text(status, JSON.stringify(body, null, 2), 'application/json') : json(status, body);
    const no = (error: string, error_description: string): Answer =>
      written(error === 'authorization_pending' || error === 'slow_down' ? (quirks.statuses?.[error] ?? 400) : 400, {
        error,
        error_description,
      });
    const tokens = async () => ({
      access_token: desk.mint('access-'),
      expires_in: 300,
      ...(quirks.rotates && { refresh_token: desk.mint('refresh-') }),
      token_type: 'Bearer',
      id_token: await idToken(issuer, CLIENT, 'ada', { azp: CLIENT, at_hash: 'x' }),
      scope: 'openid profile',
    });
    return async ({ method, path, form }) => {
      if (path === wellKnown)
        return written(200, {
          issuer,
          device_authorization_endpoint: at(start),
          token_endpoint: at(token),
          jwks_uri: `${origin}${keys}`,
          ...(revoke !== undefined && { revocation_endpoint: at(revoke) }),
          ...(introspect !== undefined && { introspection_endpoint: at(introspect) }),
        });
      if (path === keys) return json(200, { keys: [(await signingKey()).jwk] });
      if (method !== 'POST') return NOT_FOUND;
      if (form['client_id'] !== CLIENT)
        return refusal(401, 'invalid_client', 'Invalid client or Invalid client credentials');
      if (form['client_secret'] !== undefined && form['client_secret'] !== SECRET)
        return refusal(401, 'invalid_client', 'Invalid client or Invalid client credentials');
      if (introspect !== undefined && path === `${quirks.realm}${introspect}`) {
        if (form['client_secret'] === undefined) return refusal(401, 'invalid_client', 'Client not allowed.');
        return json(200, desk.alive.has(form['token'] ?? '') ? { active: true, client_id: CLIENT } : { active: false });
      }
      if (path === `${quirks.realm}${revoke}`) {
        desk.alive.delete(form['token'] ?? '');
        return text(200, '');
      }
      if (path === `${quirks.realm}${start}`) {
        throttled -= 1;
        if (throttled >= 0) return refusal(429, 'slow_down');
        const code = desk.issue('device-code-of-this-server', quirks.user_code, quirks.interval ?? 5);
        return written(200, {
          device_code: code.device_code,
          user_code: code.user_code,
          verification_uri: 'https://auth.example.com/device',
          ...(quirks.complete && {
            verification_uri_complete: `https://auth.example.com/device?user_code=${quirks.user_code}`,
          }),
          expires_in: quirks.life,
          ...(quirks.interval !== undefined && { interval: quirks.interval }),
        });
      }
      if (path !== `${quirks.realm}${token}`) return NOT_FOUND;
      if (form['grant_type'] === 'refresh_token') {
        const known = quirks.rotates
          ? desk.alive.delete(form['refresh_token'] ?? '')
          : desk.alive.has(form['refresh_token'] ?? '');
        return known ? written(200, await tokens()) : no('invalid_grant', 'Token is not active');
      }
      if (form['grant_type'] !== DEVICE_CODE) return no('unsupported_grant_type', 'Unsupported grant_type');
      const code = desk.find(form['device_code']);
      if (code === undefined) return no(quirks.unknown ?? 'invalid_grant', 'Device code not valid');
      if (desk.tooFast(code)) return no('slow_down', 'Slow down');
      if (code.state === 'denied') return no('access_denied', 'The end user denied the authorization request');
      if (code.state === 'pending' || (code.state === 'expired' && quirks.expired === 'authorization_pending'))
        return no('authorization_pending', 'The authorization request is still pending');
      if (code.state === 'expired') return no(quirks.expired ?? 'expired_token', 'Device code is expired');
      if (code.state !== 'approved') return no(quirks.unknown ?? 'invalid_grant', 'Device code not valid');
      code.state = 'used';
      return written(200, { ...(quirks.rotates ? {} : { refresh_token: desk.mint('refresh-') }), ...(await tokens()) });
    };
  };

function row(name: string, dialect: Vendor['dialect'], quirks: Quirks): Vendor {
  const { realm, paths, interval = 5 } = quirks;
  const first = quirks.rotates ? ['access-1', 'refresh-2'] : ['access-2', 'refresh-1'];
  const later = quirks.rotates ? ['access-3', 'refresh-4'] : ['access-3', 'refresh-1'];
  return {
    name,
    dialect,
    open: () => VendorServer.open(handlerFor(quirks)),
    options: (origin) => ({
      issuer: `${origin}${realm}`,
      client_id: CLIENT,
      scopes: ['openid', 'offline_access', 'profile', 'address'],
      resource: 'https://broker.example.com',
    }),
    start: {
      path: `${realm}${paths.start}`,
      form: {
        client_id: CLIENT,
        scope: 'openid offline_access profile address',
        resource: 'https://broker.example.com',
      },
    },
    shown: {
      user_code: quirks.user_code,
      verification_uri: 'https://auth.example.com/device',
      ...(quirks.complete && {
        verification_uri_complete: `https://auth.example.com/device?user_code=${quirks.user_code}`,
      }),
      life: quirks.life,
      interval,
    },
    poll: {
      path: `${realm}${paths.token}`,
      form: {
        client_id: CLIENT,
        grant_type: DEVICE_CODE,
        device_code: 'device-code-of-this-server',
        resource: 'https://broker.example.com',
      },
    },
    gaps: [interval, interval + 5],
    granted: { scopes: ['openid', 'profile'], subject: 'ada', life: 300 },
    refresh: {
      form: {
        client_id: CLIENT,
        grant_type: 'refresh_token',
        refresh_token: first[1] ?? '',
        resource: 'https://broker.example.com',
      },
      rotates: quirks.rotates,
      dead: 'revoked',
    },
    revoke:
      paths.revoke === undefined
        ? { absent: 'it publishes no revocation endpoint' }
        : {
            path: `${realm}${paths.revoke}`,
            forms: [
              { client_id: CLIENT, token: later[1] ?? '', token_type_hint: 'refresh_token' },
              { client_id: CLIENT, token: later[0] ?? '', token_type_hint: 'access_token' },
            ],
          },
    introspect:
      paths.introspect === undefined
        ? { absent: 'it publishes no introspection endpoint' }
        : { path: `${realm}${paths.introspect}` },
    ...(quirks.expired === 'authorization_pending' && { afterExpiry: 'says pending for ever' as const }),
    refuses: [
      {
        because: 'the code is not known',
        path: `${realm}${paths.token}`,
        form: { client_id: CLIENT, grant_type: DEVICE_CODE, device_code: 'x' },
        status: 400,
        error: quirks.unknown ?? 'invalid_grant',
      },
      {
        because: 'the client is not known',
        path: `${realm}${paths.start}`,
        form: { client_id: 'x' },
        status: 401,
        error: 'invalid_client',
      },
    ],
  };
}

/** Servers that keep to the standards, and where they go to the edge of them. */
export const standards: readonly Vendor[] = [
  row('a server by the book', 'standard', {
    realm: '',
    metadata: 'oauth-authorization-server',
    paths: { start: '/device', token: '/token', revoke: '/revoke', introspect: '/introspect' },
    user_code: 'WDJB-MJHT',
    life: 1800,
    interval: 5,
    complete: true,
    rotates: true,
  }),
  // developer.okta.com: guides/device-authorization-grant, reference/api/oidc.
  row('Okta', 'okta', {
    realm: '/oauth2/default',
    metadata: 'openid-configuration',
    paths: { start: '/v1/device/authorize', token: '/v1/token', revoke: '/v1/revoke', introspect: '/v1/introspect' },
    user_code: 'KBBVQJRR',
    life: 600,
    interval: 5,
    complete: true,
    rotates: false,
  }),
  // keycloak: DeviceGrantType.java; slow_down goes before pending.
  row('Keycloak', 'keycloak', {
    realm: '/realms/home',
    metadata: 'openid-configuration',
    paths: {
      start: '/protocol/openid-connect/auth/device',
      token: '/protocol/openid-connect/token',
      revoke: '/protocol/openid-connect/revoke',
      introspect: '/protocol/openid-connect/token/introspect',
    },
    user_code: 'ABCD-EFGH',
    life: 600,
    interval: 5,
    complete: true,
    rotates: true,
  }),
  // dexidp/dex: deviceflowhandlers.go. JSON is indented.
  row('Dex: pending is HTTP 401, an unknown code invalid_request', 'standard', {
    realm: '/dex',
    metadata: 'openid-configuration',
    paths: { start: '/device/code', token: '/token' },
    user_code: 'PWVG-TKMJ',
    life: 300,
    interval: 5,
    complete: true,
    rotates: true,
    statuses: { authorization_pending: 401 },
    unknown: 'invalid_request',
    indented: true,
  }),
  // goauthentik/authentik: device_backchannel.py. The user code is digits.
  row('Authentik: throttles the start with 429 slow_down', 'standard', {
    realm: '/application/o/porchlight/',
    metadata: 'openid-configuration',
    paths: { start: 'device/', token: 'token/', revoke: 'revoke/', introspect: 'introspect/' },
    user_code: '314159265',
    life: 300,
    interval: 5,
    complete: true,
    rotates: true,
    throttled: 2,
  }),
  // spring-projects/spring-authorization-server issues 1556 and 1885.
  row('Spring Authorization Server: says pending for ever', 'standard', {
    realm: '',
    metadata: 'oauth-authorization-server',
    paths: { start: '/oauth2/device_authorization', token: '/oauth2/token', revoke: '/oauth2/revoke' },
    user_code: 'BCDF-GHJK',
    life: 300,
    complete: true,
    rotates: true,
    expired: 'authorization_pending',
  }),
  row('Ory Hydra', 'standard', {
    realm: '/',
    metadata: 'openid-configuration',
    paths: { start: 'oauth2/device/auth', token: 'oauth2/token', revoke: 'oauth2/revoke' },
    user_code: 'nvbYXMwZ',
    life: 600,
    interval: 5,
    complete: true,
    rotates: true,
  }),
  // oidc-provider 9: no interval; an expired code is expired_token, a used one ends the grant.
  row('oidc-provider: leaves the interval out', 'standard', {
    realm: '',
    metadata: 'openid-configuration',
    paths: { start: '/device/auth', token: '/token', revoke: '/token/revocation', introspect: '/token/introspection' },
    user_code: 'LKJH-GFDS',
    life: 600,
    complete: true,
    rotates: true,
  }),
];
