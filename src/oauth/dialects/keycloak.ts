import type { Dialect } from './dialect.ts';
import { inStandardWords, type Word } from './rewrite.ts';

const DISABLED = {
  means: 'unauthorized_client',
  tell: 'device codes are switched off for the client. In the admin console open Clients, your client, Capability config, and tick OAuth 2.0 Device Authorization Grant',
};
const WORDS: readonly Word[] = [
  { says: /flow is disabled for the client/i, ...DISABLED },
  { says: /not allowed (to initiate )?OAuth 2\.0 Device Authorization Grant/i, ...DISABLED },
];

/** Keycloak. The issuer is a realm: https://HOST/realms/REALM. */
export const keycloak: Dialect = {
  id: 'keycloak',
  name: 'Keycloak',
  rests: {
    documented: [
      'Standard errors, all with HTTP 400; a client without device flow is refused with invalid_grant or unauthorized_client (keycloak: DeviceGrantType.java, DeviceEndpoint.java).',
      'authorization_pending may still be said after the approval, while the session replicates; slow_down goes before it.',
      'Access tokens have typ JWT in their header unless "Use at+jwt as access token header type" is on; typ in the payload says what they are: Bearer or DPoP, and ID, Refresh, Offline or Logout for the others (keycloak: TokenUtil.java). The client is azp.',
      'A token names an API as audience only when a mapper of type Audience says so.',
    ],
    assumed: [],
    cannot: [
      {
        says: 'Keycloak puts access.audience into tokens only where a client scope has a mapper of type Audience; without it every command is refused (token_audience)',
        matters: ({ issuer, commandIssuer }) => commandIssuer === issuer,
      },
      {
        says: 'the issuer of Keycloak is a realm: write authorization.issuer as https://HOST/realms/REALM',
        matters: ({ issuer }) => !/\/realms\/[^/]+$/.test(issuer),
      },
    ],
  },
  request: (request) => request,
  answer: (answer) => inStandardWords(answer, WORDS),
  commandTokens: {
    types: ['jwt', 'at+jwt'],
    clientClaims: ['azp', 'client_id'],
    scopeClaims: ['scope'],
    scopeArrays: false,
    optional: [],
    marks: { typ: ['Bearer', 'DPoP'] },
  },
  keeps: [],
  home: 'userinfo',
};
