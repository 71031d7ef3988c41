import { afterEach, describe, expect, it } from 'vitest';
import { createLog } from '../../../src/log.ts';
import { salesforce } from '../../../src/oauth/dialects/salesforce.ts';
import { Home } from '../../../src/oauth/home/home.ts';
import { Session } from '../../../src/oauth/session.ts';
import { runAll } from '../../../src/task-group.ts';
import { clock, Drawer, storedRecord } from '../script.ts';
import { FakeStore } from './rig.ts';
import { type Salesforce, type SalesforceOptions, startSalesforce, USER } from './salesforce-server.ts';

const RECORD = {
  Latitude: 37.7936,
  Longitude: -122.3958,
  GeocodeAccuracy: 'Address',
  Street: '1 Market St',
  City: 'San Francisco',
  State: 'CA',
  PostalCode: '94105',
  Country: 'US',
  TimeZoneSidKey: 'America/Los_Angeles',
};
const IDENTITY = { timezone: 'America/Los_Angeles', addr_city: 'San Francisco', addr_country: 'US', addr_street: null };
const SHOWN = {
  latitude: 37.79,
  longitude: -122.4,
  time_zone: 'America/Los_Angeles',
  locality: 'San Francisco',
  country: 'US',
  source: 'salesforce_query',
};
const FROM_IDENTITY = {
  time_zone: 'America/Los_Angeles',
  locality: 'San Francisco',
  country: 'US',
  source: 'salesforce_identity',
  missing: ['latitude', 'longitude'],
};

const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

interface Scene {
  readonly home: Home;
  readonly server: Salesforce;
  readonly lines: string[];
}

/** A gateway that a Salesforce user approved earlier, with the real session and the real dialect over HTTP. */
async function scene(
  options: SalesforceOptions & { scope?: string; home_query?: string; kept?: Record<string, string> } = {},
): Promise<Scene> {
  const server = await startSalesforce({ record: RECORD, identity: IDENTITY, ...options });
  undo.push(() => server.close());
  const lines: string[] = [];
  const log = createLog('trace', { write: (line: string) => void lines.push(line) });
  const authorization = {
    issuer: server.login,
    client_id: '3MVG9',
    client_authentication: 'none' as const,
    scopes: ['refresh_token', 'id', 'api'],
    ...(options.home_query !== undefined && { home_query: options.home_query }),
  };
  const record = storedRecord({
    issuer: server.login,
    client_id: '3MVG9',
    subject: undefined,
    scope: options.scope ?? 'refresh_token id api',
    access_token: '00D!first',
    expires_at: undefined,
    kept: { instance_url: server.instance, id: server.identityUrl, ...options.kept },
  });
  const session = new Session({
    options: authorization,
    dialect: salesforce,
    store: new Drawer(record),
    fetch,
    clock,
    show: () => undefined,
    hide: () => undefined,
    log,
    interactive: false,
  });
  const home = new Home({ options: authorization, how: 'salesforce', session, store: new FakeStore(), clock, log });
  const controller = new AbortController();
  const ended = runAll([(inner) => session.run(inner), (inner) => home.run(inner)], controller.signal);
  undo.push(async () => {
    controller.abort();
    await ended;
  });
  await expect
    .poll(() => home.status(), { timeout: 5_000 })
    .toSatisfy(({ source, problem }) => source !== 'none' || problem);
  return { home, server, lines };
}

describe('the home of a Salesforce user', () => {
  it('is asked for by SOQL at the instance, not where one logs in', async () => {
    const { home, server, lines } = await scene();
    expect(home.status()).toEqual(SHOWN);
    expect(server.queries).toHaveLength(1);
    expect(server.queries[0]?.soql).toMatch(new RegExp(` FROM User WHERE Id = '${USER}'$`));
    expect(server.identities).toEqual([]);
    expect(lines.join('')).not.toMatch(/37\.79|Market|00D!|94105/);
  });

  it('is read although the session has ended: 401 INVALID_SESSION_ID in a list renews the token, once', async () => {
    const refusals = [{ status: 401, errorCode: 'INVALID_SESSION_ID', message: 'Session expired or invalid' }];
    const { home, server } = await scene({ refusals });
    expect(home.status()).toEqual(SHOWN);
    expect(server.refreshes).toBe(1);
    expect(server.queries.map(({ token }) => token)).toEqual(['00D!first', '00D!renewed-1']);
  });

  it('is their address where the session lacks the API (403), and status says what to do', async () => {
    const refusals = [{ status: 403, errorCode: 'API_DISABLED_FOR_ORG', message: 'The REST API is not enabled' }];
    const { home, server } = await scene({ refusals });
    expect(home.status()).toEqual({
      ...FROM_IDENTITY,
      problem: {
        code: 'server_refused',
        message: expect.stringContaining('API_DISABLED_FOR_ORG'),
        hint: expect.stringContaining('api'),
      },
    });
    expect(server.refreshes).toBe(0);
  });

  it('is not asked for by SOQL where the scope api was not granted, and status says so', async () => {
    const { home, server } = await scene({ scope: 'refresh_token id' });
    expect(home.status()).toMatchObject({
      ...FROM_IDENTITY,
      problem: { message: expect.stringContaining('scope api') },
    });
    expect(server.queries).toEqual([]);
  });

  it('is named as missing where the configured query asks for what is not there (400 INVALID_FIELD)', async () => {
    const refusals = [{ status: 400, errorCode: 'INVALID_FIELD', message: "No such column 'Lat' on entity 'User'" }];
    const { home, server } = await scene({ refusals, home_query: "SELECT Lat FROM User WHERE Id = '{user}'" });
    expect(server.queries[0]?.soql).toBe(`SELECT Lat FROM User WHERE Id = '${USER}'`);
    expect(home.status()).toMatchObject({
      ...FROM_IDENTITY,
      problem: { message: expect.stringContaining('INVALID_FIELD'), hint: expect.stringContaining('home_query') },
    });
  });

  it('is completed from the identity URL where the query brings only coordinates; its session may have ended too', async () => {
    const plain = [{ status: 403, text: 'Bad_OAuth_Token' }];
    const { home, server } = await scene({ record: { Latitude: 37.7936, Longitude: -122.3958 }, plain });
    await expect.poll(() => home.status().time_zone).toBe('America/Los_Angeles');
    expect(home.status()).toEqual({
      latitude: 37.79,
      longitude: -122.4,
      time_zone: 'America/Los_Angeles',
      source: 'salesforce_query',
    });
    expect(server.identities).toEqual(['00D!first', '00D!renewed-1']);
  });

  it('is not taken from an identity URL that speaks of somebody else', async () => {
    const { home } = await scene({ record: {}, identity: { ...IDENTITY, user_id: '005x00000012QAAAA4' } });
    expect(home.status()).toMatchObject({
      source: 'none',
      problem: { message: expect.stringContaining('somebody else') },
    });
  });

  it.each([
    ['without TLS elsewhere', 'http://elsewhere.example'],
    ['with a user name', 'https://user:secret@elsewhere.example'],
    ['by another protocol', 'file:///etc/passwd'],
    ['nowhere', 'not an address'],
  ])('costs no token when the API is said to be %s', async (_, instance_url) => {
    const { home, server } = await scene({ kept: { instance_url } });
    expect(server.queries).toEqual([]);
    expect(home.status()).toMatchObject(FROM_IDENTITY);
    expect(home.status().problem?.code).toBe('server_answer');
  });

  it('can not be had by a user id that breaks out of the query', async () => {
    const { server } = await scene({ kept: { id: 'https://127.0.0.1:1/id/00D/x%27%20OR%20Name%20!=%20%27' } });
    expect(server.queries[0]?.soql).toMatch(/WHERE Id = 'x\\' OR Name != \\''$/);
  });
});
