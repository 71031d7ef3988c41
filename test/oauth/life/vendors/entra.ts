import { DEVICE_CODE, type Vendor } from '../vendor.ts';
import {
  type Answer,
  type Handler,
  idToken,
  json,
  NOT_FOUND,
  refusal,
  signingKey,
  VendorServer,
} from '../vendor-server.ts';

const CLIENT = '535fb089-9ff3-47b6-9bfb-4f1264799865';
const TENANT = '8eaef023-2b34-4da1-9baa-8bc8c9d6a490';
const OID = '690222be-ff1a-4d56-abd1-7e4f7d38e474';
const BASE = `/${TENANT}/oauth2/v2.0`;

/** Each of its refusals has numbers and ids beside the words. */
const aadsts = (error: string, number: number, words: string, status = 400): Answer =>
  refusal(
    status,
    error,
    `AADSTS${number}: ${words}\r\nTrace ID: 01707a0c-640b-4049-8cbb-ee2304dc0700\r\nCorrelation ID: 78b0fdfc-dd0e-4dfb-b13a-d316333783f6\r\nTimestamp: 2026-03-26 22:54:14Z`,
    {
      error_codes: [number],
      timestamp: '2026-03-26 22:54:14Z',
      error_uri: `https://login.microsoftonline.com/error?code=${number}`,
    },
  );

/** MicrosoftDocs/entra-docs: v2-oauth2-device-code, v2-oauth2-auth-code-flow (refresh), v2-protocols-oidc. */
const handlerFor = ({ desk, origin }: VendorServer): Handler => {
  const issuer = `${origin}/${TENANT}/v2.0`;
  const tokens = async () => ({
    token_type: 'Bearer',
    scope: 'api://porchlight/lights.control openid profile',
    expires_in: 3599,
    ext_expires_in: 3599,
    access_token: desk.mint('eyJ0eXAiOiJKV1QiLCJub25jZSI6'),
    refresh_token: desk.mint('0.AwABAAAAvPM1KaPl'),
    id_token: await idToken(issuer, CLIENT, 'pairwise-for-this-client', { oid: OID, tid: TENANT, ver: '2.0' }),
  });
  return async ({ method, path, form }) => {
    if (path === `/${TENANT}/v2.0/.well-known/openid-configuration`)
      return json(200, {
        issuer,
        token_endpoint: `${origin}${BASE}/token`,
        device_authorization_endpoint: `${origin}${BASE}/devicecode`,
        jwks_uri: `${origin}/${TENANT}/discovery/v2.0/keys`,
        userinfo_endpoint: 'https://graph.microsoft.com/oidc/userinfo',
      });
    if (path === `/${TENANT}/discovery/v2.0/keys`) return json(200, { keys: [(await signingKey()).jwk] });
    if (method !== 'POST' || ![`${BASE}/devicecode`, `${BASE}/token`].includes(path)) return NOT_FOUND;
    if (form['resource'] !== undefined)
      return aadsts('invalid_request', 901002, "The 'resource' request parameter is not supported.");
    if (form['client_id'] !== CLIENT)
      return aadsts(
        'unauthorized_client',
        700016,
        `Application with identifier '${form['client_id']}' was not found in the directory.`,
      );
    if (path === `${BASE}/devicecode`) {
      if (/\b(address|phone)\b/.test(form['scope'] ?? ''))
        return aadsts(
          'invalid_client',
          650053,
          "The application asked for scope 'address' that doesn't exist on the resource.",
        );
      const { device_code, user_code } = desk.issue('GMMhmHCXhWEzkobqIHGG_EnNYYsAkukHspeYUk9E8', 'FRWQDE7YL', 5);
      return json(200, {
        user_code,
        device_code,
        verification_uri: 'https://microsoft.com/devicelogin',
        expires_in: 900,
        interval: 5,
        message: `To sign in, use a web browser to open the page https://microsoft.com/devicelogin and enter the code ${user_code} to authenticate.`,
      });
    }
    if (form['grant_type'] === 'refresh_token')
      return desk.alive.has(form['refresh_token'] ?? '')
        ? json(200, await tokens())
        : aadsts('invalid_grant', 50173, 'The provided grant has been revoked, and a fresh auth token is needed.');
    if (form['grant_type'] !== DEVICE_CODE)
      return aadsts('unsupported_grant_type', 70003, 'The grant type is not supported.');
    const code = desk.find(form['device_code']);
    if (code === undefined) return aadsts('bad_verification_code', 70018, 'The device code is not recognized.');
    if (desk.tooFast(code)) return aadsts('slow_down', 70016, 'Polling too fast.');
    if (code.state === 'pending')
      return aadsts(
        'authorization_pending',
        70016,
        'OAuth 2.0 device flow error. Authorization is pending. Continue polling.',
      );
    if (code.state === 'denied')
      return aadsts('authorization_declined', 70017, 'The end user denied the authorization request.');
    if (code.state === 'expired')
      return aadsts('expired_token', 70020, 'The provided value for the device code has expired.');
    if (code.state !== 'approved') return aadsts('invalid_grant', 54005, 'OAuth2 code was already redeemed.');
    code.state = 'used';
    return json(200, await tokens());
  };
};

export const entra: Vendor = {
  name: 'Microsoft Entra ID',
  dialect: 'entra',
  open: () => VendorServer.open(handlerFor),
  options: (origin) => ({
    issuer: `${origin}/${TENANT}/v2.0`,
    client_id: CLIENT,
    scopes: ['openid', 'offline_access', 'profile', 'address', 'api://porchlight/lights.control'],
    resource: 'https://broker.example.com',
  }),
  start: {
    path: `${BASE}/devicecode`,
    form: { client_id: CLIENT, scope: 'openid offline_access profile api://porchlight/lights.control' },
  },
  shown: { user_code: 'FRWQDE7YL', verification_uri: 'https://microsoft.com/devicelogin', life: 900, interval: 5 },
  poll: {
    path: `${BASE}/token`,
    form: { client_id: CLIENT, grant_type: DEVICE_CODE, device_code: 'GMMhmHCXhWEzkobqIHGG_EnNYYsAkukHspeYUk9E8' },
  },
  gaps: [5, 10],
  granted: {
    scopes: ['api://porchlight/lights.control', 'openid', 'profile'],
    subject: OID,
    life: 3599,
  },
  refresh: {
    form: { client_id: CLIENT, grant_type: 'refresh_token', refresh_token: '0.AwABAAAAvPM1KaPl2' },
    rotates: true,
    dead: 'revoked',
  },
  revoke: { absent: 'Entra has no revocation endpoint' },
  introspect: { absent: 'Entra has no introspection endpoint' },
  refuses: [
    {
      because: 'v2.0 knows no resource parameter',
      path: `${BASE}/devicecode`,
      form: { client_id: CLIENT, scope: 'openid', resource: 'https://broker.example.com' },
      status: 400,
      error: 'invalid_request',
    },
    {
      because: 'the scope address is not supported',
      path: `${BASE}/devicecode`,
      form: { client_id: CLIENT, scope: 'openid address' },
      status: 400,
      error: 'invalid_client',
    },
    {
      because: 'the code is not known',
      path: `${BASE}/token`,
      form: { client_id: CLIENT, grant_type: DEVICE_CODE, device_code: 'x' },
      status: 400,
      error: 'bad_verification_code',
    },
  ],
};
