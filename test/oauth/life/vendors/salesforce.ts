import { SECRET, type Vendor } from '../vendor.ts';
import { type Handler, json, NOT_FOUND, refusal, signed, signingKey, text, VendorServer } from '../vendor-server.ts';

const CLIENT = '3MVG9_consumer_key';
const TOKEN = '/services/oauth2/token';
const INTROSPECT = '/services/oauth2/introspect';
const ORG = '00Dx0000000BV7zEAG';
const USER = '005x00000012Q9PAAU';

/** help.salesforce.com (remoteaccess_oauth_device_flow, …_refresh_token_flow, …_using_userinfo_endpoint), and what first-party clients see. */
const handlerFor = ({ desk, origin }: VendorServer): Handler => {
  const tokens = async (scope: string) => {
    const id = `https://login.salesforce.com/id/${ORG}/${USER}`;
    const now = Math.floor(Date.now() / 1000);
    return {
      access_token: desk.mint(`${ORG}!AQ`),
      signature: 'c2lnbmF0dXJl',
      scope,
      id_token: await signed({ iss: origin, aud: CLIENT, sub: id, iat: now, exp: now + 120, at_hash: 'x' }),
      instance_url: 'https://example.my.salesforce.com',
      id,
      token_type: 'Bearer',
      issued_at: String(Date.now()),
    };
  };
  return async ({ method, path, form, headers }) => {
    if (path === '/id/keys') return json(200, { keys: [(await signingKey()).jwk] });
    if (path === '/services/oauth2/userinfo') {
      const bearer = String(headers['authorization'] ?? '').replace(/^Bearer /, '');
      if (bearer === '') return text(403, 'Missing_OAuth_Token');
      return desk.alive.has(bearer)
        ? json(200, { user_id: USER, zoneinfo: 'Europe/Paris' })
        : text(403, 'Bad_OAuth_Token');
    }
    if (method === 'POST' && path === '/services/oauth2/revoke') {
      if (!desk.alive.delete(form['token'] ?? '')) return refusal(400, 'invalid_token', 'token is not valid');
      return text(200, '');
    }
    if (method !== 'POST' || ![TOKEN, INTROSPECT].includes(path)) return NOT_FOUND;
    if ((path === INTROSPECT || form['client_secret'] !== undefined) && form['client_secret'] !== SECRET)
      return refusal(400, 'invalid_client', 'invalid client credentials');
    if (path === INTROSPECT) {
      if (!desk.alive.has(form['token'] ?? '')) return json(200, { active: false });
      const now = Math.floor(Date.now() / 1000);
      return json(200, {
        active: true,
        scope: 'refresh_token openid address profile',
        client_id: CLIENT,
        username: 'ada@example.com',
        sub: `https://login.salesforce.com/id/${ORG}/${USER}`,
        token_type: 'access_token',
        exp: now + 7200,
        iat: now,
        nbf: now,
      });
    }
    if (form['client_id'] !== CLIENT) return refusal(400, 'invalid_client_id', 'client identifier invalid');
    if (form['response_type'] === 'device_code') {
      const { device_code, user_code } = desk.issue('MDhUM0FZOUQ7c2VjcmV0IGFuZCBsb25n+/==', '08T3AY9D', 5);
      return json(200, {
        user_code,
        device_code,
        interval: 5,
        verification_uri: 'https://login.salesforce.com/setup/connect',
      });
    }
    if (form['grant_type'] === 'device') {
      const code = desk.find(form['code']);
      if (code === undefined) return refusal(400, 'invalid_grant', 'token exchange failed');
      if (desk.tooFast(code)) return refusal(400, 'slow_down', 'polling too quickly for the token endpoint');
      if (code.state === 'pending') return refusal(400, 'authorization_pending', 'user has not yet approved');
      if (code.state === 'denied') return refusal(400, 'access_denied', 'end-user denied authorization');
      if (code.state !== 'approved') return refusal(400, 'invalid_grant', 'token exchange failed');
      code.state = 'used';
      return json(200, {
        ...(await tokens('refresh_token openid address profile')),
        refresh_token: desk.mint('5Aep861'),
      });
    }
    if (form['grant_type'] === 'refresh_token') {
      if (!desk.alive.has(form['refresh_token'] ?? ''))
        return refusal(400, 'invalid_grant', 'expired access/refresh token');
      return json(200, await tokens('refresh_token openid address profile'));
    }
    return refusal(400, 'unsupported_grant_type', 'grant type not supported');
  };
};

export const salesforce: Vendor = {
  name: 'Salesforce',
  dialect: 'salesforce',
  open: () => VendorServer.open(handlerFor),
  options: (origin) => ({
    issuer: origin,
    client_id: CLIENT,
    scopes: ['openid', 'offline_access', 'profile', 'address'],
    resource: 'https://broker.example.com',
  }),
  start: {
    path: TOKEN,
    form: { client_id: CLIENT, response_type: 'device_code', scope: 'openid offline_access profile address' },
  },
  shown: {
    user_code: '08T3AY9D',
    verification_uri: 'https://login.salesforce.com/setup/connect',
    verification_uri_complete: 'https://login.salesforce.com/setup/connect?user_code=08T3AY9D',
    life: 600,
    interval: 6,
  },
  poll: {
    path: TOKEN,
    form: { client_id: CLIENT, grant_type: 'device', code: 'MDhUM0FZOUQ7c2VjcmV0IGFuZCBsb25n+/==' },
  },
  gaps: [6, 11],
  granted: {
    scopes: ['refresh_token', 'openid', 'address', 'profile'],
    subject: USER,
    kept: {
      instance_url: 'https://example.my.salesforce.com',
      id: `https://login.salesforce.com/id/${ORG}/${USER}`,
    },
  },
  refresh: {
    form: { client_id: CLIENT, grant_type: 'refresh_token', refresh_token: '5Aep8612' },
    rotates: false,
    dead: 'expired',
  },
  revoke: {
    path: '/services/oauth2/revoke',
    forms: [
      { client_id: CLIENT, token: '5Aep8612', token_type_hint: 'refresh_token' },
      { client_id: CLIENT, token: `${ORG}!AQ3`, token_type_hint: 'access_token' },
    ],
  },
  introspect: { path: INTROSPECT },
  refuses: [
    {
      because: 'only a client with a secret may introspect',
      path: INTROSPECT,
      form: { client_id: CLIENT, token: 'x' },
      status: 400,
      error: 'invalid_client',
    },
    {
      because: 'the start is not at the token endpoint by RFC 8628',
      path: TOKEN,
      form: { client_id: CLIENT, scope: 'api' },
      status: 400,
      error: 'unsupported_grant_type',
    },
    {
      because: 'the grant type is not that of RFC 8628',
      path: TOKEN,
      form: { client_id: CLIENT, grant_type: 'urn:ietf:params:oauth:grant-type:device_code', device_code: 'x' },
      status: 400,
      error: 'unsupported_grant_type',
    },
    {
      because: 'the code is not known',
      path: TOKEN,
      form: { client_id: CLIENT, grant_type: 'device', code: 'x' },
      status: 400,
      error: 'invalid_grant',
    },
    {
      because: 'the client is not known',
      path: TOKEN,
      form: { client_id: 'x', response_type: 'device_code' },
      status: 400,
      error: 'invalid_client_id',
    },
  ],
};
