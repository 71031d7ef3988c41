import { DEVICE_CODE, type Vendor } from '../vendor.ts';
import { type Handler, idToken, json, NOT_FOUND, refusal, signingKey, VendorServer } from '../vendor-server.ts';

const CLIENT = '1234.apps.googleusercontent.com';
const SECRET = 'GOCSPX-secret-of-the-client';
const SCOPES = ['openid', 'email', 'profile', 'https://www.googleapis.com/auth/drive.file'];

/** developers.google.com, "OAuth 2.0 for TV and Limited-Input Device Applications". */
const handlerFor = ({ desk, origin }: VendorServer): Handler => {
  const tokens = async () => ({
    access_token: desk.mint('ya29.a0'),
    expires_in: 3599,
    scope: 'openid https://www.googleapis.com/auth/userinfo.profile',
    token_type: 'Bearer',
    id_token: await idToken(origin, CLIENT, '110169484474386276334', { azp: CLIENT, at_hash: 'x' }),
  });
  return async ({ method, path, form }) => {
    if (path === '/.well-known/openid-configuration')
      return json(200, {
        issuer: origin,
        device_authorization_endpoint: `${origin}/device/code`,
        token_endpoint: `${origin}/token`,
        userinfo_endpoint: `${origin}/v1/userinfo`,
        revocation_endpoint: `${origin}/revoke`,
        jwks_uri: `${origin}/oauth2/v3/certs`,
      });
    if (path === '/oauth2/v3/certs') return json(200, { keys: [(await signingKey()).jwk] });
    if (method !== 'POST') return NOT_FOUND;
    if (path === '/revoke')
      return desk.alive.delete(form['token'] ?? '')
        ? json(200, {})
        : refusal(400, 'invalid_token', 'Token expired or revoked');
    if (form['client_id'] !== CLIENT) return refusal(401, 'invalid_client', 'The OAuth client was not found.');
    if (path === '/device/code') {
      const wrong = (form['scope'] ?? '').split(' ').find((scope) => !SCOPES.includes(scope));
      if (wrong !== undefined) return refusal(400, 'invalid_scope', `Invalid device flow scope: ${wrong}`);
      const { device_code, user_code } = desk.issue('AH-1Ng3device-code', 'GQVQ-JKEC', 5);
      return json(200, {
        device_code,
        user_code,
        verification_url: 'https://www.google.com/device',
        expires_in: 1800,
        interval: 5,
      });
    }
    if (path !== '/token') return NOT_FOUND;
    if (form['grant_type'] === 'refresh_token')
      return desk.alive.has(form['refresh_token'] ?? '')
        ? json(200, await tokens())
        : refusal(400, 'invalid_grant', 'Token has been expired or revoked.');
    if (form['grant_type'] !== DEVICE_CODE) return refusal(400, 'unsupported_grant_type', 'Invalid grant_type');
    if (form['client_secret'] === undefined) return refusal(400, 'invalid_request', 'client_secret is missing.');
    if (form['client_secret'] !== SECRET) return refusal(401, 'invalid_client', 'Unauthorized');
    const code = desk.find(form['device_code']);
    if (code === undefined) return refusal(400, 'invalid_grant', 'Malformed device code');
    if (desk.tooFast(code)) return refusal(403, 'slow_down', 'Forbidden');
    if (code.state === 'pending') return refusal(428, 'authorization_pending', 'Precondition Required');
    if (code.state === 'denied') return refusal(403, 'access_denied', 'Forbidden');
    if (code.state === 'expired') return refusal(400, 'expired_token', 'Bad Request');
    if (code.state !== 'approved') return refusal(400, 'invalid_grant', 'Bad Request');
    code.state = 'used';
    return json(200, { ...(await tokens()), refresh_token: desk.mint('1//0g') });
  };
};

export const google: Vendor = {
  name: 'Google',
  dialect: 'google',
  open: () => VendorServer.open(handlerFor),
  options: (origin) => ({
    issuer: origin,
    client_id: CLIENT,
    client_secret: SECRET,
    client_authentication: 'client_secret_post',
    scopes: ['openid', 'offline_access', 'profile', 'address'],
  }),
  start: { path: '/device/code', form: { client_id: CLIENT, scope: 'openid profile' } },
  shown: { user_code: 'GQVQ-JKEC', verification_uri: 'https://www.google.com/device', life: 1800, interval: 5 },
  poll: {
    path: '/token',
    form: { client_id: CLIENT, client_secret: SECRET, grant_type: DEVICE_CODE, device_code: 'AH-1Ng3device-code' },
  },
  gaps: [5, 10],
  granted: {
    scopes: ['openid', 'https://www.googleapis.com/auth/userinfo.profile'],
    subject: '110169484474386276334',
    life: 3599,
  },
  refresh: {
    form: { client_id: CLIENT, client_secret: SECRET, grant_type: 'refresh_token', refresh_token: '1//0g2' },
    rotates: false,
    dead: 'revoked',
  },
  revoke: {
    path: '/revoke',
    forms: [
      { client_id: CLIENT, client_secret: SECRET, token: '1//0g2', token_type_hint: 'refresh_token' },
      { client_id: CLIENT, client_secret: SECRET, token: 'ya29.a03', token_type_hint: 'access_token' },
    ],
  },
  introspect: { absent: 'its tokeninfo is no introspection (RFC 7662)' },
  refuses: [
    {
      because: 'the secret is missing',
      path: '/token',
      form: { client_id: CLIENT, grant_type: DEVICE_CODE, device_code: 'x' },
      status: 400,
      error: 'invalid_request',
    },
    {
      because: 'a scope is not one for devices',
      path: '/device/code',
      form: { client_id: CLIENT, scope: 'openid offline_access' },
      status: 400,
      error: 'invalid_scope',
    },
    {
      because: 'the code is not known',
      path: '/token',
      form: { client_id: CLIENT, client_secret: SECRET, grant_type: DEVICE_CODE, device_code: 'x' },
      status: 400,
      error: 'invalid_grant',
    },
  ],
};
