import { NOT_AN_ID_TOKEN, type TokenProfile } from '../../token-profile.ts';
import type { Dialect, WireAnswer } from './dialect.ts';
import { deadIsRevoked, inStandardWords, type Word, withForm, withMembers } from './rewrite.ts';

/** Salesforce says nowhere in its answer how long a code lives; its own command line tells people ten minutes. */
const CODE_LIFE = 600;
/** Polling exactly at the interval has been answered with slow_down (forcedotcom/salesforcedx-docker issue 18). */
const MARGIN = 1;
const DEFAULT_INTERVAL = 5;

/** Its refusals. The clicks are those of Setup in Lightning; texts by forcedotcom/code-builder-feedback issues 59, 61 and 263. */
const WORDS: readonly Word[] = [
  {
    says: /device flow is not enabled/i,
    means: 'unauthorized_client',
    tell: 'device flow is not enabled for the app. In Setup open External Client App Manager, your app, Settings, OAuth Settings, and tick Enable Device Flow',
  },
  {
    says: /must be installed|not installed|uninstalled/i,
    means: 'invalid_client',
    tell: 'the app is not installed in this org. In Setup open Connected Apps OAuth Usage and press Install, or make it an External Client App',
  },
  {
    error: 'invalid_client_id',
    means: 'invalid_client',
    tell: 'client identifier invalid. authorization.client_id must be the Consumer Key in your External Client App, Settings, OAuth Settings. A new app needs up to ten minutes',
  },
  {
    says: /client identifier invalid/i,
    means: 'invalid_client',
    tell: 'client identifier invalid. authorization.client_id must be the Consumer Key in your External Client App, Settings, OAuth Settings. A new app needs up to ten minutes',
  },
  {
    says: /not admin approved|hasn't approved this consumer/i,
    means: 'unauthorized_client',
    tell: 'this user may not use the app. In External Client App Manager, your app, Policies, Permitted Users, let them in',
  },
  { error: 'inactive_user', means: 'invalid_grant', tell: 'the user who approved is inactive in Salesforce' },
  { error: 'inactive_org', means: 'invalid_grant', tell: 'the Salesforce org is locked, closed or suspended' },
  { error: 'rate_limit_exceeded', passes: 429 },
  { error: 'unknown_error', passes: 503 },
  { error: 'authorization_pending', means: 'authorization_pending' },
  { error: 'slow_down', means: 'slow_down' },
];

/** RFC 6750 section 3.1, for what the APIs say of a session that has ended. */
const SESSION_ENDED: WireAnswer = {
  status: 401,
  body: { error: 'invalid_token', error_description: 'Session expired' },
};

/** Opt-in for each app (help.salesforce.com: jwt_access_tokens); claims by the test vectors of the Salesforce Mobile SDK. */
const JWT_ACCESS_TOKENS: TokenProfile = {
  types: ['jwt'],
  clientClaims: ['client_id'],
  scopeClaims: ['scp'],
  scopeArrays: false,
  optional: ['jti'],
  // Its id_tokens, signed by the same keys, name no client_id either.
  marks: NOT_AN_ID_TOKEN,
  person: ({ sub }) => (typeof sub === 'string' ? userId(sub) : undefined),
};

/** Salesforce: External Client Apps and connected apps, in production, sandboxes and My Domain. */
export const salesforce: Dialect = {
  id: 'salesforce',
  name: 'Salesforce',
  rests: {
    documented: [
      'The device flow starts at the token endpoint with response_type=device_code and is polled with grant_type=device and code (help.salesforce.com: remoteaccess_oauth_device_flow; npm @salesforce/core, deviceOauthService).',
      'No expires_in and no verification_uri_complete; the page takes ?user_code= (salesforcedx-vscode pull request 4487).',
      'No lifetime of access tokens either: their end is found by 401 INVALID_SESSION_ID, at userinfo and the identity URL by 403 Bad_OAuth_Token or Missing_OAuth_Token in plain text.',
      'An id_token names people by their identity URL, a JWT access token by uid: and the user id. Here the user id of 18 characters names them (authorization.owner, access.principals).',
      'The device flow must be ticked in the External Client App; uninstalled connected apps are blocked (help.salesforce.com: 005132365).',
      'A rotated refresh token that is used again ends the refresh token and all access tokens (help.salesforce.com: 005316711).',
      'Each app keeps five approvals for each user, and a sixth ends the oldest: so no code is ever asked for in a loop.',
    ],
    assumed: [
      'The texts by which refusals are recognised: the table of error codes is not published with the flow.',
      'An id_token carries the issuer under which the gateway was approved; where it names the My Domain instead, authorization.issuer must be that.',
      'Revoking a token that is not alive is answered with 400 invalid_token.',
    ],
    cannot: [
      {
        says: 'Salesforce keeps five approvals for each app and user, and a sixth ends the oldest: give at most five gateways the same user',
        matters: ({ grant }) => (grant ?? 'device_code') === 'device_code',
      },
      {
        says: 'the default access tokens of Salesforce are opaque: to command with its tokens, tick "Issue JSON Web Token (JWT)-based access tokens" in the app, and set access.audience to the address of My Domain',
        matters: ({ issuer, commandIssuer }) => commandIssuer === issuer,
      },
      {
        says: 'JWT access tokens of Salesforce are issued by the My Domain: set access.issuer to that address, not to login.salesforce.com',
        matters: ({ commandIssuer }) =>
          commandIssuer !== undefined && /^https:\/\/(login|test)\.salesforce\.com\/?$/.test(commandIssuer),
      },
      {
        says: 'Salesforce introspects tokens only for clients with a secret',
        matters: ({ commandIssuer, issuer, client_authentication }) =>
          commandIssuer === issuer && client_authentication === 'none',
      },
      {
        says: 'Salesforce knows no authorization.resource; it is not sent',
        matters: ({ resource }) => resource !== undefined,
      },
    ],
  },
  endpoints: (issuer) => {
    const base = issuer.href.replace(/\/$/, '');
    const token = `${base}/services/oauth2/token`;
    return {
      device_authorization: token,
      token,
      revocation: `${base}/services/oauth2/revoke`,
      introspection: `${base}/services/oauth2/introspect`,
      userinfo: `${base}/services/oauth2/userinfo`,
      jwks: `${base}/id/keys`,
    };
  },
  request: (request) =>
    withForm(request, (form) => {
      form.delete('resource');
      if (request.purpose === 'device_authorization') form.set('response_type', 'device_code');
      const deviceCode = form.get('device_code');
      if (request.purpose !== 'token' || deviceCode === null) return;
      form.delete('device_code');
      form.set('grant_type', 'device');
      form.set('code', deviceCode);
    }),
  answer: (answer, request) => {
    const { purpose } = request;
    if (purpose === 'userinfo' || purpose === 'home') return ofAnApi(answer);
    const spoken = deadIsRevoked(inStandardWords(answer, WORDS), request);
    return purpose === 'device_authorization' ? completed(spoken) : spoken;
  },
  commandTokens: JWT_ACCESS_TOKENS,
  keeps: ['instance_url', 'id'],
  approver: ({ id }) => (id === undefined ? undefined : userId(id)),
  home: 'salesforce',
};

/** Puts in what RFC 8628 section 3.2 has and Salesforce leaves out. */
function completed(answer: WireAnswer): WireAnswer {
  const { user_code, verification_uri, interval, ...rest } = answer.body ?? {};
  if (typeof user_code !== 'string' || typeof verification_uri !== 'string') return answer;
  const joint = verification_uri.includes('?') ? '&' : '?';
  const given = Number(interval ?? DEFAULT_INTERVAL);
  return withMembers(answer, {
    expires_in: rest['expires_in'] ?? CODE_LIFE,
    interval: (given > 0 ? given : DEFAULT_INTERVAL) + MARGIN,
    verification_uri_complete: `${verification_uri}${joint}user_code=${encodeURIComponent(user_code)}`,
  });
}

/** The REST API answers `[{message, errorCode}]`, the identity service one word of plain text. */
function ofAnApi(answer: WireAnswer): WireAnswer {
  const { status, text = '' } = answer;
  if (status < 400) return answer;
  if (/^\s*"?(Bad|Missing)_OAuth_Token/i.test(text)) return SESSION_ENDED;
  const [first] = listIn(text);
  if (first === undefined) return answer;
  const { errorCode, message } = first;
  if (errorCode === 'INVALID_SESSION_ID') return SESSION_ENDED;
  return typeof errorCode === 'string'
    ? { status, text, body: { error: errorCode, ...(typeof message === 'string' && { error_description: message }) } }
    : answer;
}

function listIn(text: string): readonly Readonly<Record<string, unknown>>[] {
  try {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) ? parsed.filter((member) => typeof member === 'object' && member !== null) : [];
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return [];
    throw thrown;
  }
}

/** The user id of `uid:005…` or of an identity URL, in its form of 18 characters; undefined: it is neither. */
function userId(subject: string): string | undefined {
  const [, id] =
    /^(?:uid:|https?:\/\/[^?#]+\/id\/[^/?#]+\/)(005[0-9A-Za-z]{12}(?:[0-9A-Za-z]{3})?)$/.exec(subject) ?? [];
  return id === undefined ? undefined : `${id.slice(0, 15)}${caseMarks(id.slice(0, 15))}`;
}

/** The last three characters of an 18-character id: which of its letters are capitals, five to a character, lowest bit first. */
function caseMarks(id: string): string {
  const marks = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ012345';
  return [0, 5, 10]
    .map((start) => [...id.slice(start, start + 5)].reduce((sum, c, bit) => sum + (/[A-Z]/.test(c) ? 1 << bit : 0), 0))
    .map((index) => marks.charAt(index))
    .join('');
}
