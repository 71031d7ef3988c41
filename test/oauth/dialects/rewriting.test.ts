import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Dialect, WireAnswer, WireRequest } from '../../../src/oauth/dialects/dialect.ts';
import { DIALECTS, type DialectId } from '../../../src/oauth/dialects/index.ts';
import type { AuthorizationOptions } from '../../../src/oauth/options.ts';
import {
  type Bench,
  bench,
  deviceAnswer,
  error,
  freezeTime,
  ISSUER,
  metadata,
  pass,
  Script,
  type Turn,
} from '../script.ts';

beforeEach(freezeTime);
const running: Bench[] = [];
afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
  vi.useRealTimers();
});

/** Where each dialect that is tried here starts, and where it polls. */
const PATHS: Partial<Record<DialectId, readonly [start: string, token: string]>> = {
  salesforce: ['/services/oauth2/token', '/services/oauth2/token'],
  github: ['/login/device/code', '/login/oauth/access_token'],
};
const pathsOf = (id: DialectId): readonly [string, string] => PATHS[id] ?? ['/device/auth', '/token'];

/** A session of this dialect, asking a server that answers the start so. */
async function started(id: DialectId, turn: Turn, options: Partial<AuthorizationOptions> = {}): Promise<Bench> {
  const script = new Script().answer(pathsOf(id)[0], turn);
  const made = bench({ dialect: DIALECTS[id], script, options: { scopes: [], ...options } });
  running.push(made);
  await pass(0);
  return made;
}

/** The same, where the start worked and the polls are answered so. */
async function polled(id: DialectId, ...turns: Turn[]): Promise<Bench> {
  const [start, token] = pathsOf(id);
  const script = new Script();
  if (start !== token) script.answer(start, deviceAnswer);
  script.answer(token, ...(start === token ? [deviceAnswer, ...turns] : turns));
  const made = bench({ dialect: DIALECTS[id], script, options: { scopes: [] } });
  running.push(made);
  await pass(0);
  return made;
}

describe('a refusal tells what to click', () => {
  it.each([
    [
      'salesforce',
      'invalid_grant',
      'device flow is not enabled for the app',
      400,
      /does not let this client.*tick Enable Device Flow/,
    ],
    [
      'salesforce',
      'invalid_client',
      'app must be installed into org',
      400,
      /Connected Apps OAuth Usage and press Install, or make it an External Client App\./,
    ],
    [
      'salesforce',
      'invalid_client_id',
      'client identifier invalid',
      400,
      /must be the Consumer Key.*A new app needs up to ten minutes\./,
    ],
    ['salesforce', 'invalid_grant', "user hasn't approved this consumer", 400, /Permitted Users, let them in\./],
    [
      'google',
      'invalid_client',
      'The OAuth client was not found.',
      401,
      /its type must be TVs and Limited Input devices\./,
    ],
    ['google', 'invalid_scope', 'Invalid device flow scope', 400, /few scopes/],
    [
      'entra',
      'invalid_client',
      "AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or 'client_secret'.\r\nTrace ID: x",
      401,
      /set Allow public client flows to Yes\./,
    ],
    [
      'entra',
      'unauthorized_client',
      "AADSTS700016: Application with identifier 'x' was not found in the directory",
      400,
      /compare authorization\.client_id with the Application \(client\) ID, and the tenant/,
    ],
    [
      'github',
      'device_flow_disabled',
      'Device Flow must be explicitly enabled for this App',
      200,
      /tick Enable Device Flow\./,
    ],
    ['github', 'Not Found', undefined, 404, /does not know authorization\.client_id/],
    [
      'github',
      'incorrect_client_credentials',
      'The client_id and/or client_secret passed are incorrect.',
      200,
      /does not accept this gateway as its client.*Client ID in Settings/,
    ],
    [
      'keycloak',
      'unauthorized_client',
      'Client is not allowed to initiate OAuth 2.0 Device Authorization Grant. The flow is disabled for the client.',
      400,
      /Capability config, and tick OAuth 2\.0 Device Authorization Grant\./,
    ],
    [
      'keycloak',
      'invalid_grant',
      'Client not allowed OAuth 2.0 Device Authorization Grant',
      400,
      /Capability config, and tick/,
    ],
  ] as const)('%s: %s, "%s"', async (id, name, error_description, status, words) => {
    const { session, shown } = await started(id, error(name, status, { error_description }));
    expect(session.status).toMatchObject({ state: 'unauthorized', problem: { code: 'server_refused' } });
    expect(session.status.problem?.message).toMatch(words);
    expect(session.status.problem?.message).not.toContain('…');
    await pass(600_000);
    expect(shown).toEqual([]);
  });

  it('and Google asks for the secret at the first poll', async () => {
    const { session } = await polled(
      'google',
      error('invalid_request', 400, { error_description: 'client_secret is missing.' }),
    );
    await pass(5_000);
    expect(session.status.problem?.message).toMatch(/client_authentication: client_secret_post/);
  });

  it('Okta says it in the words of its management API', async () => {
    const turn = () =>
      Response.json({ errorCode: 'E0000006', errorSummary: 'You do not have permission' }, { status: 403 });
    const { session } = await started('okta', turn);
    expect(session.status.problem?.message).toMatch(/\(E0000006\): You do not have permission\./);
  });
});

describe('what may pass never ends the flow', () => {
  it.each([
    ['google', () => Response.json({ error_code: 'rate_limit_exceeded' }, { status: 403 })],
    ['salesforce', error('rate_limit_exceeded', 400)],
    ['salesforce', error('unknown_error', 400, { error_description: 'retry your request' })],
    [
      'entra',
      error('temporarily_unavailable', 400, { error_description: 'AADSTS90033: A transient error has occurred.' }),
    ],
    [
      'okta',
      () => Response.json({ errorCode: 'E0000047', errorSummary: 'API call exceeded rate limit' }, { status: 429 }),
    ],
    ['standard', error('server_error', 400)],
    ['keycloak', () => Response.json({ error: 'unknown_error' }, { status: 500 })],
    [
      'salesforce',
      () => new Response('<html>maintenance</html>', { status: 503, headers: { 'content-type': 'text/html' } }),
    ],
  ] as const)('%s at the start (%#)', async (id, turn) => {
    const made = await started(id, typeof turn === 'function' ? turn : () => turn.clone());
    expect(made.session.status.problem?.code).toMatch(/^server_(unreachable|answer)$/);
    made.script.answer(pathsOf(id)[0], deviceAnswer);
    await pass(31_000);
    // Salesforce's polls go to the same path, and meet the same answer: what matters is that a code was given.
    expect(made.shown[0]).toMatchObject({ user_code: expect.any(String) });
  });

  it.each([
    ['entra', 'temporarily_unavailable'],
    ['salesforce', 'unknown_error'],
    ['auth0', 'server_error'],
  ] as const)('%s while polling: %s', async (id, name) => {
    const made = await polled(id, () => error(name, 400));
    await pass(20_000);
    expect(made.session.status.state).toBe('pending');
    expect(made.shown).toHaveLength(1);
  });
});

describe('GitHub', () => {
  it('says the new interval with slow_down, and it stays', async () => {
    const pending = (): Response => error('authorization_pending', 200);
    const made = await polled(
      'github',
      error('slow_down', 200, { interval: 20 }),
      pending,
      error('slow_down', 200),
      pending,
    );
    await pass(5_000 + 20_000 + 20_000 + 25_000 + 25_000);
    expect(made.script.gaps('/login/oauth/access_token')).toEqual([20_000, 20_000, 25_000, 25_000]);
  });

  it.each([
    ['a shorter one than the standard asks for', 1, 10_000],
    ['nonsense', 'soon', 10_000],
    ['below zero', -5, 10_000],
    ['without end', 1e12, 300_000],
  ])('and an interval that is %s does no harm', async (_what, interval, gap) => {
    const made = await polled('github', error('slow_down', 200, { interval }), () =>
      error('authorization_pending', 200),
    );
    await pass(5_000 + gap);
    expect(made.script.gaps('/login/oauth/access_token')).toEqual([gap]);
  });

  it.each([['<html>access_token=x</html>'], ['access_token'], ['hello=world'], ['']])(
    'takes no page for a form: %s',
    (text) => {
      const answer = { status: 200, text };
      expect(DIALECTS.github.answer(answer, posted('token'))).toEqual(answer);
    },
  );

  it('finds an enterprise host by its issuer, whatever path that has', () => {
    expect(DIALECTS.github.endpoints?.(new URL('https://ghe.example.com/some/where'))).toEqual({
      device_authorization: 'https://ghe.example.com/login/device/code',
      token: 'https://ghe.example.com/login/oauth/access_token',
    });
  });
});

const posted = (purpose: WireRequest['purpose'], form: Record<string, string> = {}): WireRequest => ({
  purpose,
  url: `${ISSUER}/token`,
  method: 'POST',
  headers: {},
  body: new URLSearchParams(form),
});

describe('Salesforce', () => {
  const { salesforce } = DIALECTS;
  const shownFor = (body: Record<string, unknown>): WireAnswer['body'] =>
    salesforce.answer(
      {
        status: 200,
        body: { device_code: 'd', user_code: 'A&B C', verification_uri: 'https://x.example/setup/connect', ...body },
      },
      posted('device_authorization'),
    ).body;

  it('escapes the user code in the address that it builds', () => {
    expect(shownFor({})).toMatchObject({
      verification_uri_complete: 'https://x.example/setup/connect?user_code=A%26B%20C',
    });
    expect(shownFor({ verification_uri: 'https://x.example/c?a=b' })).toMatchObject({
      verification_uri_complete: 'https://x.example/c?a=b&user_code=A%26B%20C',
    });
  });

  it.each([
    [undefined, 6],
    [5, 6],
    ['5', 6],
    [0, 6],
    [-1, 6],
    ['soon', 6],
    [null, 6],
    [20, 21],
  ])('adds a second to an interval of %s', (interval, margin) => {
    expect(shownFor({ interval })?.['interval']).toBe(margin);
  });

  it('gives a code ten minutes, unless Salesforce says how long it lives', () => {
    expect(shownFor({})?.['expires_in']).toBe(600);
    expect(shownFor({ expires_in: 300 })?.['expires_in']).toBe(300);
  });

  it('understands pending in any case of letters (Data Loader compares so)', async () => {
    const { session } = await polled('salesforce', () => error('AUTHORIZATION_PENDING', 400));
    await pass(60_000);
    expect(session.status.state).toBe('pending');
  });

  const invalidToken = { status: 401, body: { error: 'invalid_token' } };
  it.each([
    ['userinfo', 403, 'Bad_OAuth_Token', invalidToken],
    ['userinfo', 403, 'Missing_OAuth_Token', invalidToken],
    ['home', 403, 'Bad_OAuth_Token\n', invalidToken],
    ['home', 401, '[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]', invalidToken],
    [
      'home',
      400,
      '[{"message":"unexpected token","errorCode":"MALFORMED_QUERY"}]',
      { status: 400, body: { error: 'MALFORMED_QUERY', error_description: 'unexpected token' } },
    ],
    [
      'home',
      403,
      '[{"message":"no API","errorCode":"API_DISABLED_FOR_ORG"}]',
      { status: 403, body: { error: 'API_DISABLED_FOR_ORG' } },
    ],
  ] as const)('%s: HTTP %i %s in standard form', (purpose, status, text, standard) => {
    expect(salesforce.answer({ status, text }, { ...posted(purpose), method: 'GET' })).toMatchObject(standard);
  });

  it.each([['[]'], ['[null]'], ['[1]'], ['{}'], ['[{"errorCode":7}]'], ['<html>'], [''], ['[']])(
    'leaves what it does not understand as it is: %s',
    (text) => {
      const answer = { status: 403, text };
      expect(salesforce.answer(answer, posted('home'))).toEqual(answer);
    },
  );

  it('does not take a good answer that quotes an error for one', () => {
    const answer = { status: 200, text: 'Bad_OAuth_Token', body: {} };
    expect(salesforce.answer(answer, posted('userinfo'))).toEqual(answer);
  });

  it.each([
    ['https://login.salesforce.com', 'https://login.salesforce.com/services/oauth2/token'],
    ['https://login.salesforce.com/', 'https://login.salesforce.com/services/oauth2/token'],
    ['https://example.my.site.com/customers', 'https://example.my.site.com/customers/services/oauth2/token'],
  ])('knows its endpoints without asking: %s', (issuer, token) => {
    expect(salesforce.endpoints?.(new URL(issuer))).toMatchObject({ token, device_authorization: token });
  });

  it('counts a token that is dead as revoked', () => {
    const answer = { status: 400, body: { error: 'invalid_token' } };
    expect(salesforce.answer(answer, posted('revocation'))).toEqual({ status: 200, body: {} });
    expect(salesforce.answer(answer, posted('token'))).toEqual(answer);
  });

  it.each([
    ['inactive_user', 'user is inactive', 'relink_needed'],
    ['inactive_org', 'organization is inactive', 'relink_needed'],
    ['rate_limit_exceeded', 'login rate exceeded', 'authorized'],
    ['unknown_error', 'retry your request', 'authorized'],
  ])('%s at a refresh leaves the grant %s', async (name, error_description, state) => {
    const tokens = { access_token: 'a', refresh_token: 'r', token_type: 'Bearer', instance_url: 'https://x.example' };
    const { session } = await polled('salesforce', tokens, error(name, 400, { error_description }));
    await pass(6_000);
    expect(session.status.state).toBe('authorized');
    await session.renew();
    await pass(0);
    expect(session.status.state).toBe(state);
  });

  it('an app that is uninstalled closes the bridge, but the tokens stay stored for the day it is installed again', async () => {
    const tokens = {
      access_token:
        '00Dx0000000BV7z!AR8AQP0jITN80ESEsj5EbaZTFG0RNBaT1cyWk7T5rqoDjoNIWQ2ME_sTZzBjfmOE6zMHq6y8PIW4eWze9JksNEkWUl4Jju7U',
      refresh_token: '5Aep861TSESvWeug_xvFHRBTTbf_YrTWgEyjBJrr',
      token_type: 'Bearer',
    };
    const gone = error('invalid_grant', 400, { error_description: 'app must be installed into org' });
    const { session, store } = await polled('salesforce', tokens, gone);
    await pass(6_000);
    await session.renew();
    await pass(0);
    expect(session.status).toMatchObject({ state: 'relink_needed', reason: 'denied' });
    expect(session.status.problem?.message).toMatch(/press Install/);
    expect(store.record).toMatchObject({ refresh_token: '5Aep861TSESvWeug_xvFHRBTTbf_YrTWgEyjBJrr' });
  });
});

describe('Google', () => {
  it('gets its secret in the form, whichever way the configuration says, and only where it asks for it', async () => {
    const script = new Script().answer('/token', () => error('authorization_pending', 428));
    const made = bench({
      dialect: DIALECTS.google,
      script,
      options: {
        scopes: [],
        client_id: 'id:1',
        client_secret: 's&cr ét',
        client_authentication: 'client_secret_basic',
      },
    });
    running.push(made);
    await pass(5_000);
    expect(Object.fromEntries(script.at('/device/auth')[0]?.body ?? [])).toEqual({ client_id: 'id:1' });
    expect(script.at('/token')[0]?.headers.get('authorization')).toBeNull();
    expect(Object.fromEntries(script.at('/token')[0]?.body ?? [])).toMatchObject({
      client_id: 'id:1',
      client_secret: 's&cr ét',
    });
  });
});

describe('Entra', () => {
  it('shows the reason without the ids for the support', () => {
    const error_description = 'AADSTS50173: The grant has been revoked. Trace ID: 1 Correlation ID: 2 Timestamp: 3';
    const { body } = DIALECTS.entra.answer(
      { status: 400, body: { error: 'invalid_grant', error_description } },
      posted('token'),
    );
    expect(body?.['error_description']).toBe('AADSTS50173: The grant has been revoked.');
  });

  it.each([
    ['interaction_required', 'invalid_grant'],
    ['consent_required', 'invalid_grant'],
    ['invalid_resource', 'invalid_target'],
    ['code_expired', 'expired_token'],
    ['authorization_declined', 'access_denied'],
    ['bad_verification_code', 'invalid_grant'],
    ['some_new_word', 'some_new_word'],
  ])('%s is %s', (own, standard) => {
    expect(DIALECTS.entra.answer({ status: 400, body: { error: own } }, posted('token')).body?.['error']).toBe(
      standard,
    );
  });
});

describe('every dialect', () => {
  const all: readonly (readonly [string, Dialect])[] = Object.entries(DIALECTS);

  it.each(all)('%s: leaves odd answers alone', (_id, dialect) => {
    for (const purpose of [
      'discovery',
      'keys',
      'device_authorization',
      'token',
      'revocation',
      'introspection',
      'userinfo',
      'home',
    ] as const) {
      for (const body of [
        undefined,
        {},
        { error: 7 },
        { error: null },
        { error: ['x'] },
        { error_description: 7, error: 'x' },
        { user_code: 1 },
      ]) {
        for (const text of [undefined, '', '{', 'null', '\u0000']) {
          const answer = { status: 400, ...(body && { body }), ...(text !== undefined && { text }) };
          expect(dialect.answer(answer, posted(purpose)).status).toBe(400);
        }
      }
    }
  });

  it.each(all)('%s: does not change the request that it is given, and sends no GET a body', (_id, dialect) => {
    const request = posted('token', {
      grant_type: 'g',
      device_code: 'd',
      resource: 'https://r.example',
      client_secret: 's',
    });
    const before = request.body?.toString();
    dialect.request(request);
    expect(request.body?.toString()).toBe(before);
    expect(dialect.request({ purpose: 'keys', url: ISSUER, method: 'GET', headers: {} })).not.toHaveProperty('body');
  });

  it.each(all.filter(([id]) => id !== 'standard'))('%s: says what it rests on, in sentences', (_id, { rests }) => {
    expect(rests.documented.length).toBeGreaterThan(0);
    for (const sentence of [...rests.documented, ...rests.assumed]) expect(sentence).toMatch(/^.{20,}[.…]$/);
  });

  it('is found by discovery where it publishes its endpoints, and by its issuer alone where not', () => {
    expect(all.filter(([, { endpoints }]) => endpoints !== undefined).map(([id]) => id)).toEqual([
      'salesforce',
      'github',
    ]);
    expect(metadata.issuer).toBe(ISSUER);
  });
});
