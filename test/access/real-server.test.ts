import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JwksSource } from '../../src/access/jwks.ts';
import { TokenVerifier } from '../../src/access/token.ts';
import { AUDIENCE, codeOf, silent } from './fixtures.ts';

/** A real authorization server, oidc-provider, whose tokens and key set nobody here had a hand in. */
let server: Server;
let issuer: string;

const client = (client_id: string) => ({
  client_id,
  client_secret: 'a-secret-of-the-test',
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
});

beforeAll(async () => {
  server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const algorithms = ['RS256', 'ES256', 'EdDSA'];
  const keys = await Promise.all(
    algorithms.map(async (alg) => {
      const { privateKey } = await generateKeyPair(alg, { extractable: true });
      return { ...(await exportJWK(privateKey)), kid: `key-${alg}`, alg, use: 'sig' };
    }),
  );
  const provider = new Provider(issuer, {
    clients: [client('phone'), client('porchlight')],
    jwks: { keys },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, resource) => ({
          audience: AUDIENCE,
          scope: 'lights:control lights:read',
          accessTokenFormat: 'jwt',
          accessTokenTTL: 60,
          // The resource names the algorithm that the test wants.
          jwt: { sign: { alg: algorithmOf(resource) } },
        }),
      },
    },
  });
  server.on('request', provider.callback());
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

function algorithmOf(resource: string): 'RS256' | 'ES256' | 'EdDSA' {
  if (resource.endsWith('ES256')) return 'ES256';
  return resource.endsWith('EdDSA') ? 'EdDSA' : 'RS256';
}

async function tokenFor(clientId: string, alg: string, scope = 'lights:control'): Promise<string> {
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`${clientId}:a-secret-of-the-test`).toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope, resource: `https://resource.example/${alg}` }),
  });
  const answer: unknown = await response.json();
  const token = typeof answer === 'object' && answer !== null && 'access_token' in answer ? answer.access_token : '';
  expect(token).toMatch(/^eyJ/);
  return String(token);
}

function verifierOf(principals: readonly string[]): TokenVerifier {
  const clock = { monotonic: () => performance.now(), wall: () => Date.now() };
  const locate = async (): Promise<URL> => new URL(`${issuer}/jwks`);
  return new TokenVerifier({
    issuer,
    audience: AUDIENCE,
    controlScope: 'lights:control',
    readScope: 'lights:read',
    ownClientId: 'porchlight',
    principals,
    owner: () => 'somebody',
    authorized: () => true,
    jwks: new JwksSource({ locate, fetch, clock, log: silent }),
    clock,
    clockTrusted: () => true,
  });
}

test.each(['RS256', 'ES256', 'EdDSA'])('the access tokens of oidc-provider pass: %s', async (alg) => {
  const principal = await verifierOf(['phone']).verify(await tokenFor('phone', alg), 'control');
  expect(principal).toMatchObject({ by: 'phone', clientId: 'phone', scopes: ['lights:control'] });
});

test('its tokens for strangers, for reading, and for our own client do not', async () => {
  const verifier = verifierOf(['phone', 'porchlight']);
  expect(await codeOf(verifier.verify(await tokenFor('phone', 'ES256', 'lights:read'), 'control'))).toBe('token_scope');
  expect(await codeOf(verifier.verify(await tokenFor('porchlight', 'ES256'), 'control'))).toBe('token_invalid');
  expect(await codeOf(verifierOf(['owner']).verify(await tokenFor('phone', 'ES256'), 'control'))).toBe(
    'principal_unknown',
  );
});
