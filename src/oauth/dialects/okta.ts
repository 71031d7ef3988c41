import { NOT_AN_ID_TOKEN } from '../../token-profile.ts';
import type { Dialect, WireAnswer } from './dialect.ts';
import { withMembers } from './rewrite.ts';

/** Okta: custom authorization servers, and the org's own for approvals alone. */
export const okta: Dialect = {
  id: 'okta',
  name: 'Okta',
  rests: {
    documented: [
      'The device flow is that of the standards (developer.okta.com: guides/device-authorization-grant), for native applications with the grant type Device Authorization; a custom authorization server needs a policy rule that allows it.',
      'Access tokens of custom authorization servers have no typ in their header (support.okta.com: the-typ-field-is-missing-from-the-access-token-header), scp as a list and the client in cid.',
      'Their sub is the login, which can change, and uid the user id; an id_token has the user id as sub. So people are named by their user id here (authorization.owner, access.principals).',
      'Access tokens of the org authorization server (issuer without a path) are for Okta alone, with a typ that may change.',
    ],
    assumed: [
      'A client assertion is for the token endpoint, also at the other endpoints.',
      'An id_token has no cid.',
      'Errors of the management API ({errorCode, errorSummary}) are final where the status is 400, 401, 403 or 404.',
    ],
    cannot: [
      {
        says: 'access tokens of the org authorization server are for Okta alone: set access.issuer to a custom authorization server (…/oauth2/default)',
        matters: ({ issuer, commandIssuer }) => commandIssuer !== undefined && isOrgServer(issuer, commandIssuer),
      },
    ],
  },
  assertionAudience: 'token_endpoint',
  request: (request) => request,
  answer: inOneForm,
  commandTokens: {
    types: ['', 'jwt', 'at+jwt'],
    clientClaims: ['cid'],
    scopeClaims: ['scp'],
    scopeArrays: true,
    optional: [],
    marks: NOT_AN_ID_TOKEN,
    person: ({ uid }) => (typeof uid === 'string' && uid !== '' ? uid : undefined),
  },
  keeps: [],
  home: 'userinfo',
};

function inOneForm(answer: WireAnswer): WireAnswer {
  const { errorCode, errorSummary, error } = answer.body ?? {};
  if (typeof errorCode !== 'string' || error !== undefined || ![400, 401, 403, 404].includes(answer.status))
    return answer;
  return withMembers(answer, {
    error: errorCode,
    ...(typeof errorSummary === 'string' && { error_description: errorSummary }),
  });
}

/** Is this the org authorization server beside (or instead of) the one that approves the gateway? */
function isOrgServer(issuer: string, commandIssuer: string): boolean {
  const [ours, theirs] = [issuer, commandIssuer].map((text) => (URL.canParse(text) ? new URL(text) : undefined));
  return theirs !== undefined && ours?.origin === theirs.origin && !/^\/oauth2\/./.test(theirs.pathname);
}
