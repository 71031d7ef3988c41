import { describe, expect, it } from 'vitest';
import { discover, type EndpointName } from '../../src/oauth/discovery.ts';
import type { Endpoints } from '../../src/oauth/options.ts';
import { ISSUER, metadata, Script } from './script.ts';

const { signal } = new AbortController();
const OAUTH = '/.well-known/oauth-authorization-server';
const OIDC = '/.well-known/openid-configuration';

const find = (
  script: Script,
  issuer = ISSUER,
  more: { endpoints?: Endpoints; needs?: readonly EndpointName[] } = {},
): ReturnType<typeof discover> => discover(issuer, { fetch: script.fetch, signal, ...more });
const paths = (script: Script): string[] => script.asked.map((request) => request.path);

describe('discovery', () => {
  it('asks for RFC 8414 metadata and no more when that is enough', async () => {
    const script = new Script();
    expect(await find(script)).toEqual(metadata);
    expect(paths(script)).toEqual([OAUTH]);
    expect(script.asked[0]?.init.redirect).toBe('manual');
  });

  it('puts the well-known part before the path (RFC 8414 section 3), then after it (OpenID Connect)', async () => {
    const issuer = `${ISSUER}/tenant/one`;
    const script = new Script().answer(`/tenant/one${OIDC}`, { ...metadata, issuer });
    expect((await find(script, issuer)).issuer).toBe(issuer);
    expect(paths(script)).toEqual([`${OAUTH}/tenant/one`, `/tenant/one${OIDC}`]);
  });

  it.each([
    ['the first document has no device endpoint', { ...metadata, device_authorization_endpoint: undefined }],
    ['the first document names another issuer', { ...metadata, issuer: 'https://other.example' }],
    ['the first document is a page', () => new Response('<html>')],
    [
      'the first document is a redirect',
      () => new Response(null, { status: 302, headers: { location: 'https://x.example' } }),
    ],
    ['the first request fails', new TypeError('fetch failed')],
  ])('goes on to OpenID Connect when %s', async (_, first) => {
    const script = new Script().answer(OAUTH, first).answer(OIDC, metadata);
    expect(await find(script)).toEqual(metadata);
  });

  it.each([
    [`${ISSUER}/`],
    ['https://AUTH.example.com'],
    ['https://auth.example.com:443'],
    ['https://auth.example.com/tenant'],
    [undefined],
    [5],
  ])('compares the issuer exactly: %s is another', async (issuer) => {
    const script = new Script().answer(OAUTH, { ...metadata, issuer }).answer(OIDC, { ...metadata, issuer });
    await expect(find(script)).rejects.toMatchObject({
      code: 'server_answer',
      message: expect.stringContaining(ISSUER),
    });
  });

  it.each([
    'http://auth.example.com',
    'ftp://auth.example.com',
    'https://user@auth.example.com',
    'https://auth.example.com?tenant=1',
    'https://auth.example.com#x',
    'auth.example.com',
    '',
  ])('does not even ask the issuer "%s"', async (issuer) => {
    const script = new Script();
    await expect(find(script, issuer)).rejects.toMatchObject({ code: 'config_invalid' });
    expect(script.asked).toHaveLength(0);
  });

  it.each(['http://127.0.0.1:3000', 'http://localhost:3000', 'http://[::1]:3000', 'http://127.8.8.8'])(
    'takes plain http from this machine (%s)',
    async (issuer) => {
      const document = { issuer, device_authorization_endpoint: `${issuer}/d`, token_endpoint: `${issuer}/t` };
      expect(await find(new Script().answer(OAUTH, document), issuer)).toEqual(document);
    },
  );

  it.each(['http://127.0.0.1.evil.example', 'http://localhost.evil.example', 'http://192.168.1.5'])(
    'is not fooled by %s',
    async (issuer) => {
      await expect(find(new Script(), issuer)).rejects.toMatchObject({ code: 'config_invalid' });
    },
  );

  it.each([
    'http://auth.example.com/token',
    'http://127.0.0.1/token',
    'https://a:b@auth.example.com/token',
    'javascript:alert(1)',
    'token',
    5,
  ])('refuses %s as an endpoint that it needs', async (token_endpoint) => {
    const script = new Script().answer(OAUTH, { ...metadata, token_endpoint });
    await expect(find(script)).rejects.toMatchObject({
      code: 'server_answer',
      message: expect.stringContaining('token_endpoint'),
    });
  });

  it('leaves out an unusable endpoint that nobody needs', async () => {
    const script = new Script().answer(OAUTH, { ...metadata, revocation_endpoint: 'http://auth.example.com/revoke' });
    expect((await find(script)).revocation_endpoint).toBeUndefined();
  });

  it('asks nobody when the endpoints are given', async () => {
    const script = new Script();
    const endpoints = { device_authorization: 'https://a.example/d', token: 'https://a.example/t' };
    expect(await find(script, ISSUER, { endpoints })).toEqual({
      issuer: ISSUER,
      device_authorization_endpoint: 'https://a.example/d',
      token_endpoint: 'https://a.example/t',
    });
    expect(script.asked).toHaveLength(0);
  });

  it('lets given endpoints win over discovered ones', async () => {
    const found = await find(new Script(), ISSUER, { endpoints: { token: 'https://proxy.example/t' } });
    expect(found).toEqual({ ...metadata, token_endpoint: 'https://proxy.example/t' });
  });

  it('refuses a given endpoint in plain http', async () => {
    const endpoints = { token: 'http://proxy.example/t' };
    await expect(find(new Script(), ISSUER, { endpoints })).rejects.toMatchObject({ code: 'config_invalid' });
  });

  it('finds the keys alone for those who only verify', async () => {
    const script = new Script().answer(OAUTH, { issuer: ISSUER, jwks_uri: `${ISSUER}/jwks` });
    expect((await find(script, ISSUER, { needs: ['jwks_uri'] })).jwks_uri).toBe(`${ISSUER}/jwks`);
  });

  it('says that the server is away when it is, and what is missing when it is not', async () => {
    const away = new TypeError('fetch failed', { cause: Object.assign(new Error(), { code: 'ENOTFOUND' }) });
    await expect(find(new Script().answer(OAUTH, away).answer(OIDC, away))).rejects.toMatchObject({
      code: 'server_unreachable',
      message: expect.stringContaining('nobody knows'),
    });
    const bare = { issuer: ISSUER, token_endpoint: `${ISSUER}/token` };
    await expect(find(new Script().answer(OAUTH, bare).answer(OIDC, bare))).rejects.toMatchObject({
      code: 'server_answer',
      message: expect.stringContaining('device_authorization_endpoint'),
    });
  });

  it('ends when told to', async () => {
    const script = new Script().answer(OAUTH, () => new Promise<Response>(() => undefined));
    const found = discover(ISSUER, { fetch: script.fetch, signal: AbortSignal.timeout(20) });
    await expect(found).rejects.toMatchObject({ code: 'stopping' });
  });
});
