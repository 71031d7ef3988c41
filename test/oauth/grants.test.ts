import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { calculateJwkThumbprint, decodeJwt, type JWK } from 'jose';
import { afterAll, describe, expect, it } from 'vitest';
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from '../../src/demo/authorization-server.ts';
import { createLog } from '../../src/log.ts';
import type { AuthorizationOptions, Fetch } from '../../src/oauth/options.ts';
import { Session, type SessionParts } from '../../src/oauth/session.ts';
import { Drawer } from './script.ts';

/** Every grant and every proof of the client, through its whole life, against a real authorization server (oidc-provider). */

const AUDIENCE = 'https://porchlight.example/porch-pi';
const stops: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

interface Running {
  readonly server: AuthorizationServer;
  readonly session: Session;
  readonly store: Drawer;
  readonly lines: string[];
  readonly codes: string[];
  /** Requests to the token endpoint: their DPoP header, and the status of the answer. */
  readonly asked: { readonly path: string; readonly dpop: string | undefined; readonly status: number }[];
  readonly options: AuthorizationOptions;
  stop(): Promise<void>;
  until(condition: () => boolean): Promise<void>;
}

async function serve(options: Partial<AuthorizationServerOptions>): Promise<AuthorizationServer> {
  const server = await startAuthorizationServer({
    gatewayClientId: 'porchlight',
    audience: AUDIENCE,
    intervalSeconds: 1,
    ...options,
  });
  stops.push(() => server.close());
  return server;
}

function run(
  server: AuthorizationServer,
  more: Partial<AuthorizationOptions>,
  store = new Drawer(),
  parts: Partial<SessionParts> = {},
): Running {
  const codes: string[] = [];
  const lines: string[] = [];
  const asked: { path: string; dpop: string | undefined; status: number }[] = [];
  const watched: Fetch = async (url, init) => {
    const answer = await fetch(url, init);
    const dpop = new Headers(init.headers).get('dpop') ?? undefined;
    asked.push({ path: new URL(url).pathname, dpop, status: answer.status });
    return answer;
  };
  const options: AuthorizationOptions = {
    issuer: server.issuer,
    ...server.gateway,
    client_authentication: 'none',
    scopes: ['openid', 'offline_access', 'profile'],
    ...more,
  };
  const controller = new AbortController();
  const session = new Session({
    options,
    store,
    fetch: watched,
    clock: { monotonic: () => performance.now(), wall: () => Date.now() },
    show: (code) => codes.push(code.verification_uri_complete ?? ''),
    hide: () => undefined,
    log: createLog('trace', { write: (line: string) => void lines.push(line) }),
    interactive: false,
    ...parts,
  });
  const ended = session.run(controller.signal);
  const stop = async (): Promise<void> => {
    controller.abort();
    await ended;
  };
  stops.push(stop);
  const until = async (condition: () => boolean): Promise<void> => {
    const deadline = performance.now() + 8_000;
    while (!condition()) {
      if (performance.now() > deadline)
        throw new Error(`never came: ${JSON.stringify(session.status)} ${JSON.stringify(asked)}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  return { server, session, store, lines, codes, asked, options, stop, until };
}

async function approve(running: Running): Promise<void> {
  await running.until(() => running.codes.length > 0);
  await running.server.approve(running.codes[0] ?? '');
  await running.until(() => running.session.status.state === 'authorized');
}

const signal = new AbortController().signal;

function keyPair(kind: 'rsa' | 'P-256' | 'ed25519'): { readonly pem: string; readonly jwk: JWK } {
  const { privateKey, publicKey }: { privateKey: KeyObject; publicKey: KeyObject } =
    kind === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : kind === 'ed25519'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('ec', { namedCurve: kind });
  const jwk: JWK = { ...publicKey.export({ format: 'jwk' }), kid: 'porch-pi-1', use: 'sig' } as JWK;
  return { pem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), jwk };
}
const RSA = keyPair('rsa');
const P256 = keyPair('P-256');
const ED = keyPair('ed25519');

interface Case {
  readonly name: string;
  readonly server: Partial<AuthorizationServerOptions>;
  readonly client: Partial<AuthorizationOptions>;
}

const signed = (
  { pem, jwk }: typeof RSA,
  client_key_algorithm: NonNullable<AuthorizationOptions['client_key_algorithm']>,
): Case => ({
  name: `private_key_jwt, ${client_key_algorithm}`,
  server: { gatewayKey: jwk },
  client: {
    client_authentication: 'private_key_jwt',
    client_key: pem,
    client_key_id: 'porch-pi-1',
    client_key_algorithm,
  },
});

const PERSON: readonly Case[] = [
  { name: 'a public client', server: {}, client: {} },
  { name: 'a public client, refresh tokens not rotated', server: { rotate: false }, client: {} },
  {
    name: 'client_secret_basic',
    server: { gatewaySecret: 's3cret: +&=%41"' },
    client: { client_authentication: 'client_secret_basic' },
  },
  {
    name: 'client_secret_post',
    server: { gatewaySecret: 'another', gatewayAuthentication: 'client_secret_post' },
    client: { client_authentication: 'client_secret_post' },
  },
  signed(RSA, 'RS256'),
  signed(RSA, 'PS256'),
  signed(P256, 'ES256'),
  signed(ED, 'EdDSA'),
  { name: 'DPoP offered', server: { dpop: 'offered' }, client: { dpop: 'auto' } },
  { name: 'DPoP with nonces', server: { dpop: 'nonce' }, client: { dpop: 'auto' } },
  {
    name: 'DPoP required on both sides, with nonces, not rotated',
    server: { dpop: 'nonce', dpopBound: true, rotate: false },
    client: { dpop: 'required' },
  },
  {
    name: 'DPoP with nonces and private_key_jwt',
    server: { dpop: 'nonce', gatewayKey: P256.jwk, algorithm: 'EdDSA' },
    client: { dpop: 'auto', client_authentication: 'private_key_jwt', client_key: P256.pem },
  },
];

describe.concurrent('approved by a person, refreshed, used, and revoked', () => {
  it.each(PERSON)('$name', async ({ server: offers, client }) => {
    const server = await serve(offers);
    const first = run(server, client);
    await approve(first);
    const { session, store } = first;
    expect(session.status).toMatchObject({ state: 'authorized', subject: 'owner' });
    const before = store.record as Record<string, string>;

    await session.renew();
    const after = store.record as Record<string, string>;
    expect(after['access_token']).not.toBe(before['access_token']);
    expect(after['refresh_token'] !== before['refresh_token']).toBe(offers.rotate ?? true);
    expect(session.status).toMatchObject({ state: 'authorized', subject: 'owner' });

    // The token is good for something: the userinfo endpoint knows whose it is.
    const { userinfo_endpoint = '' } = await session.metadata(signal);
    const info = await session.resource('userinfo', userinfo_endpoint, signal);
    expect(info).toMatchObject({ kind: 'answered', value: { sub: 'owner', zoneinfo: 'Europe/Berlin' } });

    // A restart needs no person, and the key that the tokens are bound to comes with them.
    await first.stop();
    const second = run(server, client, store);
    await second.until(() => second.session.status.state === 'authorized');
    await second.session.renew();
    expect(second.session.status).toMatchObject({ state: 'authorized', subject: 'owner' });
    expect(await second.session.resource('userinfo', userinfo_endpoint, signal)).toMatchObject({ kind: 'answered' });
    expect(second.codes).toHaveLength(0);

    expect(await second.session.revoke()).toEqual({ revokedAtServer: true });
    const thief = new Drawer(store.saved.at(-1));
    const third = run(server, client, thief);
    await third.until(() => third.session.status.state === 'authorized');
    await third.session.renew();
    expect(third.session.status).toMatchObject({ state: 'relink_needed', subject: 'owner' });

    const told = [first, second, third].flatMap(({ lines }) => lines).join('');
    for (const secret of [before['access_token'], after['refresh_token'], client.client_secret, 'PRIVATE KEY', 'eyJ'])
      if (secret !== undefined) expect(told).not.toContain(secret);
  });
});

describe.concurrent('DPoP at a real server', () => {
  it('binds the tokens to one key, kept with them, and every proof is a new one', async () => {
    const server = await serve({ dpop: 'nonce' });
    const running = run(server, {
      dpop: 'auto',
      resource: AUDIENCE,
      scopes: ['openid', 'offline_access', 'lights:read'],
    });
    await approve(running);
    await running.session.renew();
    const records = running.store.saved.filter((record) => record.access_token !== undefined);
    const keys = new Set(records.map((record) => JSON.stringify(record.dpop_key)));
    expect(keys.size).toBe(1);
    const { dpop_key, access_token = '', token_type } = records.at(-1) ?? {};
    expect(token_type).toBe('DPoP');
    const jkt = await calculateJwkThumbprint({ ...dpop_key, kty: 'EC' } as JWK);
    expect(decodeJwt(access_token)['cnf']).toEqual({ jkt });
    const proofs = running.asked.flatMap(({ dpop }) => (dpop === undefined ? [] : [decodeJwt(dpop)]));
    expect(new Set(proofs.map(({ jti }) => jti)).size).toBe(proofs.length);
    // One refusal tells the nonce; from then on every proof carries the newest.
    const refused = running.asked.filter(({ path, status }) => path === '/token' && status === 400);
    const withoutNonce = proofs.filter((proof) => proof['nonce'] === undefined);
    expect(withoutNonce).toHaveLength(1);
    expect(refused.length).toBeGreaterThanOrEqual(1);
  });

  it('uses bearer tokens at a server that says nothing of DPoP, or where it is off', async () => {
    const [silent, offers] = [await serve({}), await serve({ dpop: 'offered' })];
    for (const running of [run(silent, { dpop: 'auto' }), run(offers, { dpop: 'off' })]) {
      await approve(running);
      expect(running.asked.every(({ dpop }) => dpop === undefined)).toBe(true);
      expect(running.store.record).not.toHaveProperty('dpop_key');
    }
  });

  it('gives bearer tokens back where DPoP is required, and says what to do', async () => {
    const server = await serve({});
    const running = run(server, { dpop: 'required' });
    await running.until(() => running.codes.length > 0);
    await server.approve(running.codes[0] ?? '');
    await running.until(() => running.session.status.problem !== undefined);
    expect(running.session.status).toMatchObject({ state: 'unauthorized', problem: { code: 'server_refused' } });
    expect(running.session.status.problem?.hint).toContain('authorization.dpop: auto');
    expect(running.store.saved).toEqual([]);
    expect(running.asked.filter(({ path, status }) => path.includes('revocation') && status === 200)).toHaveLength(2);
  });
});

const MACHINES: readonly Case[] = [
  {
    name: 'client_credentials with a secret',
    server: { gatewayGrants: ['client_credentials'], gatewaySecret: 'machine' },
    client: { grant: 'client_credentials', client_authentication: 'client_secret_basic' },
  },
  {
    name: 'client_credentials with private_key_jwt and DPoP with nonces',
    server: { gatewayGrants: ['client_credentials'], gatewayKey: ED.jwk, dpop: 'nonce' },
    client: {
      grant: 'client_credentials',
      client_authentication: 'private_key_jwt',
      client_key: ED.pem,
      dpop: 'required',
    },
  },
  {
    name: 'jwt_bearer',
    server: { gatewayGrants: ['jwt_bearer'], gatewayKey: RSA.jwk, preApproved: ['ada'] },
    client: {
      grant: 'jwt_bearer',
      client_authentication: 'private_key_jwt',
      client_key: RSA.pem,
      assertion: { subject: 'ada' },
    },
  },
];

describe.concurrent('authorized without a person, renewed, and revoked', () => {
  it.each(MACHINES)('$name', async ({ server: offers, client }) => {
    const server = await serve(offers);
    const scopes = client.grant === 'jwt_bearer' ? ['openid', 'profile'] : [];
    const first = run(server, { ...client, scopes });
    await first.until(() => first.session.status.state === 'authorized');
    const subject = client.assertion?.subject;
    expect(first.session.subject).toBe(subject);
    const before = first.store.record as Record<string, string>;
    expect(before['refresh_token']).toBeUndefined();
    await first.session.renew();
    const after = first.store.record as Record<string, string>;
    expect(after['access_token']).not.toBe(before['access_token']);
    await expect(first.session.requestCode()).rejects.toMatchObject({
      code: 'wrong_use',
      message: expect.stringContaining('nothing to approve'),
    });
    if (client.grant === 'jwt_bearer') {
      const { userinfo_endpoint = '' } = await first.session.metadata(signal);
      const info = await first.session.resource('userinfo', userinfo_endpoint, signal);
      expect(info).toMatchObject({ kind: 'answered', value: { sub: 'ada', name: 'ada' } });
    }
    await first.stop();

    const second = run(server, { ...client, scopes }, first.store);
    await second.until(() => second.session.status.state === 'authorized');
    expect(second.asked.filter(({ path }) => path === '/token')).toHaveLength(0);
    expect(second.session.subject).toBe(subject);
    expect(await second.session.revoke()).toEqual({ revokedAtServer: true });
    expect(second.session.status.state).toBe('unauthorized');
    expect(second.store.record).toBeUndefined();
    expect(second.codes).toHaveLength(0);
    await second.stop();
  });

  it('is told in words when the server does not let it, and stays without tokens', async () => {
    const grant = await serve({ gatewayGrants: ['jwt_bearer'], gatewayKey: RSA.jwk, preApproved: ['ada'] });
    const asEve = run(grant, { ...MACHINES[2]?.client, assertion: { subject: 'eve' }, scopes: [] });
    await asEve.until(() => asEve.session.status.problem !== undefined);
    expect(asEve.session.status).toMatchObject({ state: 'relink_needed', reason: 'denied' });
    expect(asEve.session.status.problem?.hint).toContain('The installer must approve the client "porchlight"');

    const secret = await serve({ gatewayGrants: ['client_credentials'], gatewaySecret: 'right' });
    const wrong = run(secret, { ...MACHINES[0]?.client, client_secret: 'wrong', scopes: [] });
    await wrong.until(() => wrong.session.status.problem !== undefined);
    expect(wrong.session.status).toMatchObject({ state: 'relink_needed', reason: 'denied' });
    expect(wrong.session.status.problem?.hint).toContain('its secret');
  });
});

describe.concurrent('introspection at a real server', () => {
  it('tells of a token what the server knows, to a client that can prove itself', async () => {
    const server = await serve({ gatewaySecret: 'machine' });
    const running = run(server, { client_authentication: 'client_secret_basic' });
    await approve(running);
    const token = await running.session.accessToken();
    expect(await running.session.introspect(token, signal)).toMatchObject({
      kind: 'answered',
      value: { active: true, sub: 'owner', client_id: 'porchlight' },
    });
    expect(await running.session.introspect('never-seen', signal)).toEqual({
      kind: 'answered',
      value: { active: false },
    });
  });

  it('is not offered to a public client', async () => {
    const running = run(await serve({}), {});
    expect(await running.session.introspect('token', signal)).toBe('not_offered');
  });
});
