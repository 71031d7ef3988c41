import * as z from 'zod';
import { ACTIONS } from '../lights/actions.ts';
import {
  boolean,
  brokerUrl,
  choice,
  clientId,
  duration,
  grantChoice,
  hours,
  id,
  keyText,
  list,
  resourceUri,
  scopeToken,
  serverUrl,
  text,
  topic,
} from './values.ts';

/** The sections about the gateway itself and whom it talks to over the network; put together in `schema.ts`. */

const file = () => text(4096);

export const gateway = z.strictObject({
  id: z
    .string('expected a name: 1 to 40 of a-z, 0-9 and - (put a number in quotes)')
    .regex(/^[a-z0-9-]{1,40}$/, 'expected a name: 1 to 40 of a-z, 0-9 and -')
    .optional()
    .meta({
      description: 'The name of this gateway in topics and in Home Assistant. Default: the host name.',
      example: 'porch-pi',
    }),
  state_directory: file().optional().meta({
    description:
      'Where grants, pairings and the audit trail are kept; only this user may read it. Default: $STATE_DIRECTORY (systemd sets it), else ~/.local/state/porchlight.',
    example: '/var/lib/porchlight',
  }),
});

const endpoint = (what: string, example: string) =>
  serverUrl('endpoint')
    .optional()
    .meta({ description: what, example: `https://auth.example.com/${example}` });

const endpoints = z.strictObject({
  device_authorization: endpoint('Where a device code is asked for (RFC 8628).', 'device'),
  token: endpoint('Where codes and refresh tokens become access tokens (RFC 6749).', 'token'),
  revocation: endpoint('Where tokens are given back (RFC 7009).', 'revoke'),
  introspection: endpoint('Where the server says whether a token is still good (RFC 7662).', 'introspect'),
  userinfo: endpoint('Where the claims of the owner are read, such as the home location.', 'userinfo'),
  jwks: endpoint("The server's public keys (RFC 7517).", 'jwks'),
});

const DIALECTS = ['standard', 'salesforce', 'google', 'entra', 'github', 'auth0', 'okta', 'keycloak'] as const;

export const authorization = z.strictObject({
  issuer: serverUrl('issuer').meta({
    description:
      'The authorization server; its endpoints are discovered from here (RFC 8414, then OpenID Connect). https, or http on this machine only.',
    example: 'https://auth.example.com',
  }),
  dialect: choice(DIALECTS).default('standard').meta({ description: 'Whose peculiarities the server has.' }),
  grant: grantChoice().default('device_code').meta({
    description: 'How this gateway becomes authorized: by default a person approves a code on another device.',
  }),
  client_id: clientId().meta({
    description: 'The id under which the authorization server knows this gateway.',
    example: 'porchlight',
  }),
  client_secret: text(4096).optional().meta({
    description:
      'The secret of a confidential client. Better in a file (client_secret_file) or a systemd credential named client_secret.',
    example: 'as-issued-by-the-server',
  }),
  client_secret_file: file().optional().meta({
    description: 'A file that holds the client secret, one line, readable by this user alone.',
    example: '/etc/porchlight/client-secret',
  }),
  client_key: keyText().optional().meta({
    description:
      'The private key of a client that signs (private_key_jwt, jwt_bearer): PEM (PKCS #8) or a JWK. Better in a file (client_key_file) or a systemd credential named client_key.',
    example: 'as-generated',
  }),
  client_key_file: file().optional().meta({
    description: 'A file that holds the private key, readable by this user alone.',
    example: '/etc/porchlight/client-key.pem',
  }),
  client_key_id: text(200).optional().meta({
    description: 'The name (kid) under which the server knows the public half of client_key.',
    example: 'porch-pi-2026',
  }),
  client_key_algorithm: choice(['RS256', 'PS256', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']).optional().meta({
    description: 'How client_key signs. Default: what fits the key (RSA: RS256).',
    example: 'PS256',
  }),
  client_authentication: choice(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'])
    .default('none')
    .meta({ description: 'How this gateway proves to the server which client it is; `none` for public clients.' }),
  scopes: list(scopeToken(), 50).default(['openid', 'offline_access', 'profile', 'address']).meta({
    description:
      'What is asked for: openid names the owner, offline_access keeps the approval over restarts, address gives the home location.',
  }),
  resource: resourceUri().optional().meta({
    description: "What the gateway's own token is for, such as the broker (RFC 8707).",
    example: 'https://broker.example.com',
  }),
  owner: text(255).optional().meta({
    description: 'The only subject that may approve. Default: whoever approves first, from then on.',
    example: 'auth0|5f7c8ec7c33c6c004bbafe82',
  }),
  dpop: choice(['auto', 'required', 'off'])
    .default('auto')
    .meta({ description: 'Sender-constrained tokens (RFC 9449): where the server offers them, always, or never.' }),
  offline_grace: duration('0s', '365d')
    .prefault('24h')
    .meta({ description: 'How long remote commands go on while the authorization server cannot be reached.' }),
  assertion: z
    .strictObject({
      subject: text(255).optional().meta({
        description: 'On whose behalf (sub). Default: authorization.owner.',
        example: 'installer@example.com',
      }),
      issuer: text(500).optional().meta({ description: 'Who signs (iss). Default: client_id.', example: 'porchlight' }),
      audience: text(500).optional().meta({
        description:
          'What the server expects as audience (aud). Default: the token endpoint for jwt_bearer, the issuer for private_key_jwt.',
        example: 'https://auth.example.com',
      }),
    })
    .prefault({})
    .meta({ description: 'What signed requests say (RFC 7523): jwt_bearer, and the audience of private_key_jwt.' }),
  home_query: text(2000).optional().meta({
    description:
      "Salesforce only: the SOQL that reads the home location. {user} stands for the owner's id. Members Latitude, Longitude, Street, City, State, PostalCode, Country and TimeZoneSidKey are understood.",
    example: "SELECT Latitude, Longitude FROM User WHERE Id = '{user}'",
  }),
  endpoints: endpoints.prefault({}).meta({ description: 'Endpoints, for servers that cannot be discovered.' }),
});

/** What one row of `access.policy` may name; `lights/actions.ts` says which change needs which action. */
const policyRow = z.strictObject({
  principals: list(text(255), 100)
    .min(1, 'expected at least one')
    .optional()
    .meta({
      description: 'Subjects, client ids, `owner`, `broker` (the local tree). Default: all.',
      example: ['owner'],
    }),
  scopes: list(scopeToken(), 20)
    .optional()
    .meta({
      description: 'What the token must carry besides the control scope, all of them.',
      example: ['lights:control'],
    }),
  lights: list(id(), 256)
    .min(1, 'expected at least one light or group')
    .optional()
    .meta({
      description: 'Lights and groups. Default: all.',
      example: ['porch'],
    }),
  actions: list(choice(ACTIONS), ACTIONS.length)
    .min(1, 'expected at least one action')
    .optional()
    .meta({
      description: 'Default: everything that can be done.',
      example: ['on', 'off'],
    }),
  hours: list(hours(), 24)
    .min(1, 'expected at least one span')
    .optional()
    .meta({
      description: 'In the time zone of the home; may pass midnight. Default: always.',
      example: ['18:00-23:30'],
    }),
});

export const access = z.strictObject({
  issuer: serverUrl('issuer').optional().meta({
    description: 'Whose tokens may command. Default: authorization.issuer.',
    example: 'https://auth.example.com',
  }),
  dialect: choice(DIALECTS).optional().meta({
    description:
      'Whose peculiarities the command tokens have. Default: authorization.dialect where the issuer is the same, else standard.',
    example: 'keycloak',
  }),
  audience: text(500).optional().meta({
    description: 'The audience that command tokens must name; without it no token is accepted.',
    example: 'https://porchlight.example/porch-pi',
  }),
  principals: list(text(255), 100)
    .default(['owner'])
    .meta({ description: 'The subjects or client ids that may command; `owner` is who approved the gateway.' }),
  scopes: z
    .strictObject({
      read: scopeToken().default('lights:read').meta({ description: 'The scope that may see lamps.' }),
      control: scopeToken().default('lights:control').meta({ description: 'The scope that may command lamps.' }),
    })
    .prefault({})
    .meta({ description: 'The scopes that tokens must carry.' }),
  policy: list(policyRow, 256)
    .optional()
    .meta({
      description: `Who may do what, with which lamps, when. Each row allows; what no row allows is denied; the local socket is never narrowed. Default: whoever has the control scope may do everything. Tokens may be narrower still (RFC 9396). Actions: ${ACTIONS.join(', ')}.`,
      example: [{ principals: ['owner'], lights: ['porch'], actions: ['on', 'off'], hours: ['18:00-23:30'] }],
    }),
  introspection: choice(['auto', 'off']).default('auto').meta({
    description:
      'Tokens that are no JWT: asked about at the server where it offers that to this client (RFC 7662), or refused.',
  }),
  require: choice(['bearer', 'bound'])
    .default('bearer')
    .meta({ description: 'Whether a token is enough (bearer), or each command must be signed with its key (bound).' }),
  unsigned: z
    .union(
      [
        choice(['deny', 'allow']),
        z.strictObject({
          lights: list(id(), 256).meta({ description: 'The lights and groups that may be commanded without a token.' }),
        }),
      ],
      { error: 'expected deny, allow, or {lights: [...]}' },
    )
    .default('deny')
    .meta({
      description:
        "Whether the local tree (Home Assistant and the like) may command without tokens: deny, allow, or {lights: [porch]} for some. The broker's access list decides who may publish there.",
    }),
  max_age: duration('1s', '24h')
    .prefault('30s')
    .meta({ description: 'Commands older than this are refused, and a lamp that does not answer is tried this long.' }),
});

export const mqtt = z.strictObject({
  url: brokerUrl().default('mqtt://localhost:1883').meta({
    description: 'The broker: mqtt, mqtts, ws or wss. Unencrypted to another machine only with allow_insecure.',
  }),
  allow_insecure: boolean().default(false).meta({
    description:
      'Allow an unencrypted connection to another machine: whoever listens on the network can then read and forge.',
  }),
  username: text(1000).optional().meta({ description: 'The user name at the broker.', example: 'porchlight' }),
  password: text(16_384).optional().meta({
    description:
      "The password at the broker, or the word access_token: the gateway's own token, renewed before each connect (needs authorization.resource). Better in a file (password_file) or a systemd credential named mqtt_password.",
    example: 'access_token',
  }),
  password_file: file().optional().meta({
    description: 'A file that holds the password, one line, readable by this user alone.',
    example: '/etc/porchlight/mqtt-password',
  }),
  ca_file: file().optional().meta({
    description:
      "The certificate authority that signed the broker's certificate (PEM). Default: those that Node.js knows.",
    example: '/etc/porchlight/ca.pem',
  }),
  cert_file: file().optional().meta({
    description: "The gateway's own certificate (PEM), where the broker asks for one.",
    example: '/etc/porchlight/client.pem',
  }),
  key_file: file().optional().meta({
    description: "The private key of the gateway's certificate (PEM, without passphrase).",
    example: '/etc/porchlight/client-key.pem',
  }),
  base_topic: topic()
    .default('porchlight')
    .meta({ description: 'The start of every topic; one gateway per base topic.' }),
  home_assistant: z
    .strictObject({
      enabled: boolean()
        .default(true)
        .meta({ description: 'Announce the lamps to Home Assistant. Accepted, but not part of this version yet.' }),
      discovery_prefix: topic()
        .default('homeassistant')
        .meta({ description: 'Where Home Assistant listens for announcements.' }),
    })
    .prefault({})
    .meta({ description: 'Home Assistant finds the lamps by itself.' }),
});
