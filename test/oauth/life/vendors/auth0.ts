import { DEVICE_CODE, type Vendor } from '../vendor.ts';
import { type Handler, idToken, json, NOT_FOUND, refusal, signingKey, text, VendorServer } from '../vendor-server.ts';

const CLIENT = 'K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja';

/** auth0/docs: device-auth, tokens/refresh-tokens, revoke; statuses by auth0.com/docs/api/authentication. */
const handlerFor = ({ desk, origin }: VendorServer): Handler => {
  const issuer = `${origin}/`;
  const tokens = async () => ({
    access_token: desk.mint('eyJhbGciOiJSUzI1NiIsInR5cCI6'),
    refresh_token: desk.mint('v1.MRrefresh'),
    id_token: await idToken(issuer, CLIENT, 'auth0|6553da60a54af58e29493993', { sid: 's' }),
    scope: 'openid profile address lights:control offline_access',
    expires_in: 86400,
    token_type: 'Bearer',
  });
  return async ({ method, path, form }) => {
    if (path === '/.well-known/openid-configuration')
      return json(200, {
        issuer,
        token_endpoint: `${origin}/oauth/token`,
        device_authorization_endpoint: `${origin}/oauth/device/code`,
        userinfo_endpoint: `${origin}/userinfo`,
        revocation_endpoint: `${origin}/oauth/revoke`,
        jwks_uri: `${origin}/.well-known/jwks.json`,
      });
    if (path === '/.well-known/jwks.json') return json(200, { keys: [(await signingKey()).jwk] });
    if (method !== 'POST') return NOT_FOUND;
    if (form['client_id'] !== CLIENT) return refusal(403, 'unauthorized_client', 'Unknown or invalid client_id.');
    if (path === '/oauth/revoke') {
      // Revoking an access token is not offered; an unknown refresh token is answered like a known one.
      if ((form['token'] ?? '').startsWith('eyJ'))
        return refusal(400, 'unsupported_token_type', 'Unsupported token type');
      desk.alive.delete(form['token'] ?? '');
      return text(200, '');
    }
    if (path === '/oauth/device/code') {
      if (form['audience'] === undefined) return refusal(403, 'access_denied', 'No default audience');
      const { device_code, user_code } = desk.issue('Ag_EE...ko1p', 'QTZL-MCBW', 5);
      return json(200, {
        device_code,
        user_code,
        verification_uri: 'https://tenant.auth0.com/activate',
        verification_uri_complete: `https://tenant.auth0.com/activate?user_code=${user_code}`,
        expires_in: 900,
        interval: 5,
      });
    }
    if (path !== '/oauth/token') return NOT_FOUND;
    if (form['grant_type'] === 'refresh_token') {
      // Rotation: a refresh token works once.
      if (!desk.alive.delete(form['refresh_token'] ?? ''))
        return refusal(403, 'invalid_grant', 'Unknown or invalid refresh token.');
      return json(200, await tokens());
    }
    if (form['grant_type'] !== DEVICE_CODE)
      return refusal(403, 'unauthorized_client', 'Grant type not allowed for the client.');
    const code = desk.find(form['device_code']);
    if (code === undefined) return refusal(403, 'invalid_grant', 'Invalid or expired device code.');
    if (desk.tooFast(code))
      return refusal(429, 'slow_down', 'You are polling faster than the specified interval of 5 seconds.');
    if (code.state === 'pending')
      return refusal(403, 'authorization_pending', 'User has yet to authorize device code.');
    if (code.state === 'denied') return refusal(403, 'access_denied', 'User cancelled the confirmation prompt.');
    if (code.state === 'expired') {
      code.state = 'forgotten';
      return refusal(403, 'expired_token', 'The device code is expired.');
    }
    if (code.state !== 'approved') return refusal(403, 'invalid_grant', 'Invalid or expired device code.');
    code.state = 'used';
    return json(200, await tokens());
  };
};

export const auth0: Vendor = {
  name: 'Auth0',
  dialect: 'auth0',
  open: () => VendorServer.open(handlerFor),
  options: (origin) => ({
    issuer: `${origin}/`,
    client_id: CLIENT,
    scopes: ['openid', 'offline_access', 'profile', 'address', 'lights:control'],
    resource: 'https://porchlight.example/porch-pi',
  }),
  start: {
    path: '/oauth/device/code',
    form: {
      client_id: CLIENT,
      scope: 'openid offline_access profile address lights:control',
      audience: 'https://porchlight.example/porch-pi',
    },
  },
  shown: {
    user_code: 'QTZL-MCBW',
    verification_uri: 'https://tenant.auth0.com/activate',
    verification_uri_complete: 'https://tenant.auth0.com/activate?user_code=QTZL-MCBW',
    life: 900,
    interval: 5,
  },
  poll: {
    path: '/oauth/token',
    form: { client_id: CLIENT, grant_type: DEVICE_CODE, device_code: 'Ag_EE...ko1p' },
  },
  gaps: [5, 10],
  granted: {
    scopes: ['openid', 'profile', 'address', 'lights:control', 'offline_access'],
    subject: 'auth0|6553da60a54af58e29493993',
    life: 86400,
  },
  refresh: {
    form: { client_id: CLIENT, grant_type: 'refresh_token', refresh_token: 'v1.MRrefresh2' },
    rotates: true,
    dead: 'revoked',
  },
  revoke: {
    path: '/oauth/revoke',
    forms: [
      { client_id: CLIENT, token: 'v1.MRrefresh4', token_type_hint: 'refresh_token' },
      { client_id: CLIENT, token: 'eyJhbGciOiJSUzI1NiIsInR5cCI63', token_type_hint: 'access_token' },
    ],
  },
  introspect: { absent: 'Auth0 has no introspection endpoint' },
  refuses: [
    {
      because: 'no API is named, and the tenant has no default audience',
      path: '/oauth/device/code',
      form: { client_id: CLIENT, scope: 'openid', resource: 'https://porchlight.example/porch-pi' },
      status: 403,
      error: 'access_denied',
    },
    {
      because: 'the code is not known',
      path: '/oauth/token',
      form: { client_id: CLIENT, grant_type: DEVICE_CODE, device_code: 'x' },
      status: 403,
      error: 'invalid_grant',
    },
  ],
};
