import { NOT_AN_ID_TOKEN } from '../../token-profile.ts';
import type { Dialect, WireAnswer } from './dialect.ts';
import { inStandardWords, type Word, withForm, withMembers, without } from './rewrite.ts';

const WORDS: readonly Word[] = [
  { error: 'authorization_declined', means: 'access_denied' },
  { error: 'bad_verification_code', means: 'invalid_grant' },
  { error: 'code_expired', means: 'expired_token' },
  {
    error: 'invalid_client',
    says: /\bAADSTS7000218\b/,
    means: 'invalid_client',
    tell: 'the app is confidential. In the Entra admin center open App registrations, your app, Authentication, and set Allow public client flows to Yes',
  },
  {
    says: /\bAADSTS700016\b/,
    means: 'invalid_client',
    tell: 'the tenant has no such app: compare authorization.client_id with the Application (client) ID, and the tenant in authorization.issuer',
  },
  // "Retry interactively": a person has to approve anew (MicrosoftDocs/entra-docs, v2-oauth2-auth-code-flow).
  { error: 'interaction_required', means: 'invalid_grant' },
  { error: 'consent_required', means: 'invalid_grant' },
  { error: 'invalid_resource', means: 'invalid_target' },
];

/** Microsoft Entra ID (Azure AD), endpoints of version 2.0. */
export const entra: Dialect = {
  id: 'entra',
  name: 'Microsoft Entra ID',
  rests: {
    documented: [
      'A denial is authorization_declined, an unknown code bad_verification_code; there is no verification_uri_complete, and a message instead (MicrosoftDocs/entra-docs, v2-oauth2-device-code).',
      'Access tokens have typ JWT, scp as one text (roles as a list in those of applications), the client in azp (v2.0) or appid (v1.0), and uti instead of jti (access-token-claims-reference).',
      'sub differs from client to client; oid is the same everywhere in the tenant. So people are named by oid here (authorization.owner, access.principals), for which the scope profile is needed.',
      'An id_token has neither azp nor appid nor scp (id-token-claims-reference), and so never passes as an access token.',
      'Tokens of version 1.0 come from https://sts.windows.net/TENANT/: access.issuer says which version the API is registered for.',
      'The OpenID Connect scopes address and phone are not supported (scopes-oidc).',
    ],
    assumed: ['code_expired, as older endpoints say, is expired_token.'],
    cannot: [
      {
        says: 'the issuers "common", "organizations" and "consumers" of Entra stand for many tenants and never match: write the tenant id into authorization.issuer',
        matters: ({ issuer }) => /\/(common|organizations|consumers)(\/|$)/.test(issuer),
      },
      {
        says: 'tokens for Microsoft\'s own APIs are not for others: to command, register an API ("Expose an API") and set access.audience to it',
        matters: ({ issuer, commandIssuer }) => commandIssuer === issuer,
      },
      {
        says: 'Entra offers no revocation: after "porchlight logout" its tokens live on until they expire; remove the gateway at myapps.microsoft.com',
      },
      {
        says: 'Entra takes no authorization.resource: name the API in authorization.scopes (api://…/scope); it is not sent',
        matters: ({ resource }) => resource !== undefined,
      },
      {
        says: 'Entra tells no address: set home.latitude and home.longitude',
        matters: ({ homeGiven }) => !homeGiven,
      },
    ],
  },
  scopes: without('address', 'phone'),
  // AADSTS901002: "The 'resource' request parameter is not supported."
  assertionAudience: 'token_endpoint',
  request: (request) => withForm(request, (form) => form.delete('resource')),
  answer: (answer) => inStandardWords(withoutTrace(answer), WORDS),
  commandTokens: {
    types: ['jwt'],
    clientClaims: ['azp', 'appid'],
    scopeClaims: ['scp', 'roles'],
    scopeArrays: true,
    optional: ['jti'],
    marks: NOT_AN_ID_TOKEN,
    person: ({ oid }) => (typeof oid === 'string' && oid !== '' ? oid : undefined),
  },
  keeps: [],
  home: 'userinfo',
};

/** After its reason, each description has ids for Microsoft's support, which would take the place of the reason. */
function withoutTrace(answer: WireAnswer): WireAnswer {
  const description = answer.body?.['error_description'];
  if (typeof description !== 'string') return answer;
  const [reason = ''] = description.split(/\s*(?:[\r\n]|\bTrace ID:)/, 1);
  return withMembers(answer, { error_description: reason });
}
