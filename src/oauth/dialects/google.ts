import type { Dialect, WireRequest } from './dialect.ts';
import { deadIsRevoked, inStandardWords, opaqueTokens, type Word, withForm, withMembers, without } from './rewrite.ts';

const WORDS: readonly Word[] = [
  {
    error: 'invalid_client',
    means: 'invalid_client',
    tell: 'the OAuth client is not known or of another type. In the Google Cloud console, Clients, its type must be TVs and Limited Input devices',
  },
  {
    error: 'invalid_request',
    says: /client_secret is missing/i,
    means: 'invalid_client',
    tell: 'Google asks for the client secret at each poll: give client_secret_file and client_authentication: client_secret_post',
  },
  {
    error: 'invalid_scope',
    means: 'invalid_scope',
    tell: 'Google lets devices ask for few scopes: openid, email, profile, and some of Drive and YouTube',
  },
];

/** Google: "OAuth 2.0 for TV and Limited-Input Device Applications". */
export const google: Dialect = {
  id: 'google',
  name: 'Google',
  rests: {
    documented: [
      'The address is called verification_url (developers.google.com: OAuth2ForDevices).',
      'Pending is HTTP 428; slow_down and access_denied are HTTP 403, all with an error member; too many codes for a project are HTTP 403 with error_code rate_limit_exceeded.',
      'The client secret is a parameter of every poll; the start takes client_id and scope alone.',
      'Refresh tokens always come in this flow, without offline_access, and a refresh does not bring a new one.',
      'While the consent screen is in publishing status Testing, refresh tokens end after seven days.',
    ],
    assumed: [
      'The name of the refusal when the secret is missing (invalid_request, "client_secret is missing.").',
      'Revoking a token that is not alive is answered with 400 invalid_token.',
    ],
    cannot: [
      opaqueTokens('access tokens of Google are opaque'),
      {
        says: 'Google asks for the client secret at each poll: set client_authentication: client_secret_post and client_secret_file',
        matters: ({ client_authentication }) => !client_authentication.startsWith('client_secret_'),
      },
      {
        says: 'Google tells no address: set home.latitude and home.longitude',
        matters: ({ homeGiven }) => !homeGiven,
      },
      {
        says: 'Google knows no authorization.resource; it is not sent',
        matters: ({ resource }) => resource !== undefined,
      },
    ],
  },
  scopes: without('offline_access', 'address', 'phone'),
  request: (request) => {
    const inForm = withoutBasic(request);
    return withForm(inForm, (form) => {
      form.delete('resource');
      if (request.purpose === 'device_authorization') form.delete('client_secret');
    });
  },
  answer: (answer, request) => {
    const { body } = answer;
    // The project's quota of codes: it passes.
    if (body?.['error_code'] === 'rate_limit_exceeded') return { status: 429, body: {} };
    const address = body?.['verification_url'];
    if (request.purpose === 'device_authorization' && address !== undefined)
      return withMembers(answer, { verification_uri: body?.['verification_uri'] ?? address });
    return deadIsRevoked(inStandardWords(answer, WORDS), request);
  },
  commandTokens: undefined,
  keeps: [],
  home: 'userinfo',
};

/** Only credentials in the form are documented: those of client_secret_basic (RFC 6749 section 2.3.1) go there. */
function withoutBasic(request: WireRequest): WireRequest {
  const basic = Object.entries(request.headers).find(([name]) => name.toLowerCase() === 'authorization')?.[1];
  if (request.body === undefined || basic === undefined || !/^basic /i.test(basic)) return request;
  const [id = '', secret = ''] = Buffer.from(basic.slice(6), 'base64').toString('utf8').split(':');
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => name.toLowerCase() !== 'authorization'),
  );
  const decoded = new URLSearchParams(`client_id=${id}&client_secret=${secret}`);
  return withForm({ ...request, headers }, (form) => {
    for (const [name, value] of decoded) form.set(name, value);
  });
}
