import { createServer } from 'node:http';
import { afterAll, describe, expect, it } from 'vitest';
import { type AuthorizationServerOptions, startAuthorizationServer } from '../../../src/demo/authorization-server.ts';
import { createLog } from '../../../src/log.ts';
import { Home } from '../../../src/oauth/home/home.ts';
import type { HomeStatus } from '../../../src/oauth/home/view.ts';
import type { AuthorizationOptions } from '../../../src/oauth/options.ts';
import { Session } from '../../../src/oauth/session.ts';
import { runAll } from '../../../src/task-group.ts';
import { clock, Drawer, storedRecord } from '../script.ts';
import { FakeStore } from './rig.ts';

const SCOPES = ['openid', 'offline_access', 'profile', 'address'];
const undo: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

interface Household {
  readonly home: Home;
  readonly session: Session;
  readonly store: FakeStore;
  readonly lines: string[];
}

/** Session and home over a server, running. */
function live(options: AuthorizationOptions, show: (code: { user_code: string }) => void, record?: unknown): Household {
  const lines: string[] = [];
  const log = createLog('trace', { write: (line: string) => void lines.push(line) });
  const parts = { options, fetch, clock, log, show, hide: () => undefined, interactive: false };
  const session = new Session({ ...parts, store: new Drawer(record) });
  const store = new FakeStore();
  const machineTimeZone = (): string => 'Europe/Paris';
  const home = new Home({ options, how: 'userinfo', session, store, clock, log, machineTimeZone });
  const controller = new AbortController();
  const ended = runAll([(inner) => session.run(inner), (inner) => home.run(inner)], controller.signal);
  undo.push(() => {
    controller.abort();
    return ended;
  });
  return { home, session, store, lines };
}

/** Approved at a real oidc-provider. */
async function approved(
  server: Partial<AuthorizationServerOptions> = {},
  more: Partial<AuthorizationOptions> = {},
): Promise<Household> {
  const made = await startAuthorizationServer({
    gatewayClientId: 'porchlight',
    audience: 'https://porchlight.example/porch-pi',
    intervalSeconds: 1,
    ...server,
  });
  undo.push(() => made.close());
  const options: AuthorizationOptions = {
    issuer: made.issuer,
    client_id: 'porchlight',
    client_authentication: 'none',
    scopes: SCOPES,
    ...more,
  };
  const household = live(options, ({ user_code }) => void made.approve(user_code));
  await until(() => household.session.status.state === 'authorized');
  return household;
}

/** Tests run side by side here, so each waits by itself. */
async function until(condition: () => boolean, ms = 15_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!condition() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(condition()).toBe(true);
}

async function settled({ home }: Household): Promise<HomeStatus> {
  await until(() => home.status().source !== 'none' || home.status().problem !== undefined);
  return home.status();
}

describe.concurrent('the home, asked of a real oidc-provider', () => {
  it('is in userinfo, for a token that is for nothing else', async () => {
    const household = await approved();
    expect(await settled(household)).toEqual({
      latitude: 52.52,
      longitude: 13.41,
      time_zone: 'Europe/Berlin',
      locality: 'Berlin',
      country: 'DE',
      source: 'userinfo',
    });
  });

  it('is in the id_token where the access token is for something else (RFC 8707), which userinfo refuses', async () => {
    const household = await approved({}, { resource: 'https://broker.example/' });
    expect(await settled(household)).toMatchObject({
      time_zone: 'Europe/Berlin',
      locality: 'Berlin',
      source: 'id_token',
    });
    expect(household.session.status.state).toBe('authorized');
  });

  it('is only the time zone where the scope address was not asked for', async () => {
    const household = await approved({}, { scopes: ['openid', 'offline_access', 'profile'] });
    expect(await settled(household)).toEqual({
      time_zone: 'Europe/Berlin',
      source: 'userinfo',
      missing: ['latitude', 'longitude'],
    });
  });

  it('is missing where the account does not tell it, and what makes no sense counts as not told', async () => {
    const claims = {
      latitude: 91,
      longitude: '13.4',
      zoneinfo: 'Mars/Olympus',
      address: { locality: '\u001b[31mBerlin' },
    };
    const household = await approved({ claims });
    const shown = await settled(household);
    expect(shown).toMatchObject({
      time_zone: 'Europe/Paris',
      source: 'userinfo',
      missing: ['latitude', 'longitude', 'time_zone'],
    });
    expect(shown.locality).not.toContain('\u001b');
  });
});

/** A userinfo endpoint that answers in its own way, of a server that approved earlier. */
async function answeredWith(status: number, headers: Record<string, string>, body: string): Promise<Household> {
  const server = createServer((request, response) => {
    if (request.url === '/userinfo') return void response.writeHead(status, headers).end(body);
    response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  undo.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  const issuer = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  const at = (path: string): string => `${issuer}${path}`;
  const options: AuthorizationOptions = {
    issuer,
    client_id: 'porchlight',
    client_authentication: 'none',
    scopes: SCOPES,
    endpoints: {
      device_authorization: at('/device'),
      token: at('/token'),
      userinfo: at('/userinfo'),
      jwks: at('/jwks'),
    },
  };
  const record = storedRecord({ issuer, scope: SCOPES.join(' '), refresh_token: undefined });
  return live(options, () => undefined, record);
}

describe('a userinfo endpoint', () => {
  it.each([
    [
      'a signed answer',
      200,
      { 'content-type': 'application/jwt' },
      'eyJhbGciOiJFUzI1NiJ9.e30.c2ln',
      /signs its answers/,
    ],
    ['a page', 200, { 'content-type': 'text/html' }, '<html>Sign in, please</html>', /not JSON/],
    ['a redirect', 302, { location: 'https://elsewhere.example/' }, '', /redirect/],
    ['a list', 200, { 'content-type': 'application/json' }, '[{"sub":"ada"}]', /not JSON/],
    ['more than anybody reads', 200, {}, `{"sub":"ada","x":"${'x'.repeat(200_000)}"}`, /longer than 64 KiB/],
    [
      'a refusal in a header',
      403,
      { 'www-authenticate': 'Bearer error="insufficient_scope"' },
      '',
      /insufficient_scope/,
    ],
    ['somebody else', 200, {}, '{"sub":"eve","zoneinfo":"Asia/Tokyo"}', /somebody else/],
    ['an error of its own', 503, {}, 'away', /HTTP 503/],
  ])(
    'that answers with %s is named in the status, and nothing raw is told',
    async (_, status, headers, body, words) => {
      const household = await answeredWith(status, headers, body);
      const { problem, source } = await settled(household);
      expect(source).toBe('none');
      expect(problem?.message).toMatch(words);
      expect(JSON.stringify([problem, household.lines])).not.toMatch(/Sign in, please|eyJ|xxxx|Tokyo|access-0/);
      expect(household.session.status.state).toBe('authorized');
      expect(household.store.text).toBeUndefined();
    },
  );
});
