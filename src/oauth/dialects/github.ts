import type { Dialect, WireAnswer } from './dialect.ts';
import { inStandardWords, opaqueTokens, type Word, withForm, withMembers, without } from './rewrite.ts';

const WORDS: readonly Word[] = [
  { error: 'token_expired', means: 'expired_token' },
  { error: 'incorrect_device_code', means: 'invalid_grant' },
  { error: 'bad_verification_code', means: 'invalid_grant' },
  { error: 'bad_refresh_token', means: 'invalid_grant' },
  {
    error: 'incorrect_client_credentials',
    means: 'invalid_client',
    tell: 'GitHub does not know authorization.client_id: it is the Client ID in Settings, Developer settings, your app',
  },
  {
    error: 'device_flow_disabled',
    means: 'unauthorized_client',
    tell: 'device flow is disabled for the app. On GitHub open Settings, Developer settings, your app, and tick Enable Device Flow',
  },
  {
    error: 'not found',
    means: 'invalid_client',
    tell: 'GitHub does not know authorization.client_id: it is the Client ID in Settings, Developer settings, your app',
  },
];

/** What a form-encoded answer of GitHub has at least one of: anything else is some page. */
const TELLING = ['access_token', 'device_code', 'error'];

/** GitHub.com and GitHub Enterprise Server: GitHub Apps and OAuth apps. */
export const github: Dialect = {
  id: 'github',
  name: 'GitHub',
  rests: {
    documented: [
      'The endpoints are /login/device/code and /login/oauth/access_token; nothing is published at a well-known address (github/docs, authorizing-oauth-apps).',
      'Answers are form-encoded unless JSON is asked for; refusals come with HTTP 200.',
      'slow_down carries the new interval; an expired code is token_expired (the table says expired_token); scopes of an answer are separated by commas.',
      'Tokens of GitHub Apps expire after eight hours, and a refresh makes the refresh token and the old access token useless; a device needs no secret for it (refreshing-user-access-tokens). Tokens of OAuth apps do not expire.',
    ],
    assumed: [
      'A refused refresh is bad_refresh_token; an unknown client at the start is HTTP 404 with error "Not Found".',
      'The scopes of OpenID Connect are not known there, and are not sent.',
    ],
    cannot: [
      opaqueTokens('access tokens of GitHub are opaque'),
      {
        says: 'GitHub does not say who approved (no OpenID Connect): "owner" is nobody there; name who may command in access.principals',
      },
      {
        says: 'GitHub offers no revocation that a device may use (RFC 7009): after "porchlight logout" remove the app in GitHub, Settings, Applications',
      },
      { says: 'GitHub tells no address: set home.latitude and home.longitude', matters: ({ homeGiven }) => !homeGiven },
      {
        says: 'GitHub knows no authorization.resource; it is not sent',
        matters: ({ resource }) => resource !== undefined,
      },
    ],
  },
  endpoints: ({ origin }) => ({
    device_authorization: `${origin}/login/device/code`,
    token: `${origin}/login/oauth/access_token`,
  }),
  scopes: without('openid', 'offline_access', 'profile', 'email', 'address', 'phone'),
  request: (request) => withForm(request, (form) => form.delete('resource')),
  answer: (answer) => {
    const read = answer.body === undefined ? fromForm(answer) : answer;
    const scope = read.body?.['scope'];
    const spaced = typeof scope === 'string' ? withMembers(read, { scope: scope.split(/[\s,]+/).join(' ') }) : read;
    const spoken = inStandardWords(spaced, WORDS);
    return spoken.body?.['error'] !== undefined && spoken.status === 200 ? { ...spoken, status: 400 } : spoken;
  },
  commandTokens: undefined,
  keeps: [],
  home: 'none',
};

function fromForm(answer: WireAnswer): WireAnswer {
  const { text = '' } = answer;
  if (!/^[\w.~%+-]+=[^<>\s]*$/.test(text)) return answer;
  const body = Object.fromEntries(new URLSearchParams(text));
  return TELLING.some((member) => Object.hasOwn(body, member)) ? { ...answer, body } : answer;
}
