import { DEVICE_CODE, type Vendor } from '../vendor.ts';
import { type Answer, type Handler, json, NOT_FOUND, text, VendorServer } from '../vendor-server.ts';

const START = '/login/device/code';
const TOKEN = '/login/oauth/access_token';

/** Answers are form-encoded unless JSON is asked for; refusals are HTTP 200 too (github/docs, authorizing-oauth-apps). */
function varied(accept: unknown, members: Readonly<Record<string, string | number>>): Answer {
  if (String(accept).includes('application/json')) return json(200, members, 'application/json; charset=utf-8');
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(members)) form.set(name, String(value));
  return text(200, form.toString(), 'application/x-www-form-urlencoded; charset=utf-8');
}

/** A GitHub App, whose tokens expire, or an OAuth app, whose tokens do not; some proxies lose the Accept header on the way. */
const handlerFor =
  ({ expiring, deaf }: { readonly expiring: boolean; readonly deaf: boolean }) =>
  ({ desk }: VendorServer): Handler => {
    const tokens = () => ({
      access_token: desk.mint(expiring ? 'ghu_' : 'gho_'),
      ...(expiring && {
        expires_in: 28800,
        refresh_token: desk.mint('ghr_'),
        refresh_token_expires_in: 15897600,
      }),
      token_type: 'bearer',
      scope: expiring ? '' : 'read:user,gist',
    });
    return ({ method, path, form, headers }) => {
      if (method !== 'POST') return NOT_FOUND;
      const answer = (members: Readonly<Record<string, string | number>>): Answer =>
        varied(deaf ? '*/*' : headers['accept'], members);
      const refuse = (error: string, error_description: string, more: object = {}): Answer =>
        answer({ error, error_description, error_uri: 'https://docs.github.com', ...more });
      if (path === START) {
        if (form['client_id'] !== 'Iv1.8a61f9b3a7aba766') return json(404, { error: 'Not Found' });
        const { device_code, user_code } = desk.issue('3584d83530557fdd1f46af8289938c8ef79f9dc5', 'WDJB-MJHT', 5);
        return answer({
          device_code,
          user_code,
          verification_uri: 'https://github.com/login/device',
          expires_in: 900,
          interval: 5,
        });
      }
      if (path !== TOKEN) return NOT_FOUND;
      if (form['client_id'] !== 'Iv1.8a61f9b3a7aba766')
        return refuse('incorrect_client_credentials', 'The client_id and/or client_secret passed are incorrect.');
      if (form['grant_type'] === 'refresh_token') {
        if (!desk.alive.delete(form['refresh_token'] ?? ''))
          return refuse('bad_refresh_token', 'The refresh token passed is incorrect or expired.');
        return answer(tokens());
      }
      if (form['grant_type'] !== DEVICE_CODE)
        return refuse('unsupported_grant_type', 'The grant type is not supported.');
      const code = desk.find(form['device_code']);
      if (code === undefined || code.state === 'used')
        return refuse('incorrect_device_code', 'The device_code provided is not valid.');
      if (desk.tooFast(code)) {
        code.interval += 5;
        return refuse('slow_down', 'Too many requests have been made in the same timeframe.', {
          interval: code.interval,
        });
      }
      if (code.state === 'pending')
        return refuse('authorization_pending', 'The authorization request is still pending.');
      if (code.state === 'denied') return refuse('access_denied', 'The authorization request was denied.');
      if (code.state === 'expired') return refuse('token_expired', 'The device code has expired.');
      code.state = 'used';
      return answer(tokens());
    };
  };

const common = {
  dialect: 'github',
  options: (origin) => ({
    issuer: origin,
    client_id: 'Iv1.8a61f9b3a7aba766',
    scopes: ['openid', 'offline_access', 'profile', 'address', 'read:user', 'gist'],
    resource: 'https://broker.example.com',
  }),
  start: { path: START, form: { client_id: 'Iv1.8a61f9b3a7aba766', scope: 'read:user gist' } },
  shown: { user_code: 'WDJB-MJHT', verification_uri: 'https://github.com/login/device', life: 900, interval: 5 },
  poll: {
    path: TOKEN,
    form: {
      client_id: 'Iv1.8a61f9b3a7aba766',
      grant_type: DEVICE_CODE,
      device_code: '3584d83530557fdd1f46af8289938c8ef79f9dc5',
    },
  },
  gaps: [5, 10],
  revoke: { absent: 'GitHub lets only who has the secret revoke, by an API of its own' },
  introspect: { absent: 'GitHub lets only who has the secret check tokens, by an API of its own' },
  refuses: [
    {
      because: 'the client is not known',
      path: START,
      form: { client_id: 'x' },
      status: 404,
      error: 'Not Found',
    },
    {
      because: 'the code is not known',
      path: TOKEN,
      form: { client_id: 'Iv1.8a61f9b3a7aba766', grant_type: DEVICE_CODE, device_code: 'x' },
      status: 200,
      error: 'incorrect_device_code',
    },
    {
      because: 'the grant type is not that of RFC 8628',
      path: TOKEN,
      form: { client_id: 'Iv1.8a61f9b3a7aba766', grant_type: 'device' },
      status: 200,
      error: 'unsupported_grant_type',
    },
  ],
} satisfies Omit<Vendor, 'name' | 'open' | 'granted' | 'refresh'>;

export const githubApp: Vendor = {
  ...common,
  name: 'GitHub (an app whose tokens expire)',
  open: () => VendorServer.open(handlerFor({ expiring: true, deaf: false })),
  granted: { scopes: ['read:user', 'gist'], life: 28800 },
  refresh: {
    form: { client_id: 'Iv1.8a61f9b3a7aba766', grant_type: 'refresh_token', refresh_token: 'ghr_2' },
    rotates: true,
    dead: 'expired',
  },
};

export const githubOauthApp: Vendor = {
  ...common,
  name: 'GitHub (an OAuth app, answers form-encoded)',
  open: () => VendorServer.open(handlerFor({ expiring: false, deaf: true })),
  granted: { scopes: ['read:user', 'gist'] },
  refresh: { absent: 'tokens of OAuth apps do not expire' },
  refuses: [],
};
