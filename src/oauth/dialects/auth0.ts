import { NOT_AN_ID_TOKEN } from '../../token-profile.ts';
import type { Dialect } from './dialect.ts';
import { withForm } from './rewrite.ts';

/** Auth0. The issuer ends with a slash there. */
export const auth0: Dialect = {
  id: 'auth0',
  name: 'Auth0',
  rests: {
    documented: [
      'What a token is for is asked for at the start as audience (auth0/docs, device-auth); authorization.resource is sent as that, and at the start alone.',
      'Pending is HTTP 403, slow_down HTTP 429; expired_token is said once, and invalid_grant after that.',
      'Access tokens for an API are JWTs of the Auth0 profile (typ JWT, client in azp, no jti) or of the RFC 9068 profile (typ at+jwt, client in client_id): both are taken (access-token-profiles).',
      'An id_token has no scope and its audience is the client.',
      'Only refresh tokens can be revoked, and with them the grant.',
    ],
    assumed: [],
    cannot: [
      {
        says: 'without an API, access tokens of Auth0 are opaque: to command, register an API and set access.audience to its identifier',
        matters: ({ issuer, commandIssuer }) => commandIssuer === issuer,
      },
      {
        says: 'the issuer of Auth0 ends with a slash: write authorization.issuer as https://TENANT.auth0.com/',
        matters: ({ issuer }) => !issuer.endsWith('/'),
      },
      {
        says: 'Auth0 revokes refresh tokens only: without the scope offline_access there is nothing that "porchlight logout" can revoke',
        matters: ({ scopes }) => !scopes.includes('offline_access'),
      },
    ],
  },
  request: (request) =>
    withForm(request, (form) => {
      const resource = form.get('resource');
      form.delete('resource');
      if (resource !== null && request.purpose === 'device_authorization') form.set('audience', resource);
    }),
  answer: (answer) => answer,
  commandTokens: {
    types: ['at+jwt', 'jwt'],
    clientClaims: ['client_id', 'azp'],
    scopeClaims: ['scope'],
    scopeArrays: false,
    optional: ['jti'],
    marks: NOT_AN_ID_TOKEN,
  },
  keeps: [],
  home: 'userinfo',
};
