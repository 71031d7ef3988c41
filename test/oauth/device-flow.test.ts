import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { PorchlightError } from '../../src/errors.ts';
import { readDeviceCode } from '../../src/oauth/device-code.ts';
import { awaitApproval } from '../../src/oauth/device-flow.ts';
import { standard } from '../../src/oauth/dialects/standard.ts';
import { Server } from '../../src/oauth/server.ts';
import {
  clock,
  deviceAnswer,
  error,
  freezeTime,
  ISSUER,
  options,
  pass,
  pending,
  Script,
  type Turn,
  tokenAnswer,
} from './script.ts';

beforeEach(freezeTime);
afterEach(() => {
  vi.useRealTimers();
});

const issuer = new URL(ISSUER);
const down = (): Turn => new TypeError('fetch failed', { cause: Object.assign(new Error(), { code: 'ECONNREFUSED' }) });
const page =
  (status = 200, headers = {}): Turn =>
  () =>
    new Response('<html>sign in to this network</html>', {
      status,
      headers: { 'content-type': 'text/html', ...headers },
    });

interface Flow {
  readonly script: Script;
  readonly faults: (PorchlightError | undefined)[];
  readonly result: () => unknown;
  readonly withdraw: () => void;
}

/** Starts a flow whose polls get `turns`, in order. */
async function flow(answer: object, ...turns: Turn[]): Promise<Flow> {
  const script = new Script().answer('/device/auth', { ...deviceAnswer, ...answer }).answer('/token', ...turns);
  const server = new Server({ options, fetch: script.fetch, clock, dialect: standard });
  const { signal } = new AbortController();
  const withdrawn = new AbortController();
  const faults: (PorchlightError | undefined)[] = [];
  const reply = await server.start(signal);
  if (reply.kind !== 'answered') return Promise.reject(reply);
  let result: unknown = 'nothing yet';
  const onFault = (problem: PorchlightError | undefined): void => void faults.push(problem);
  awaitApproval(server, reply.value, { clock, signal, withdrawn: withdrawn.signal, onFault }).then(
    (tokens) => {
      result = tokens;
    },
    (thrown: unknown) => {
      result = thrown;
    },
  );
  return { script, faults, result: () => result, withdraw: () => withdrawn.abort() };
}

describe('the device flow: how often it polls (RFC 8628 section 3.5)', () => {
  it('polls every 5 seconds when the server names no interval, waiting before the first poll', async () => {
    const { script } = await flow({}, pending);
    await pass(4_999);
    expect(script.at('/token')).toHaveLength(0);
    await pass(1);
    expect(script.at('/token')).toHaveLength(1);
    await pass(15_000);
    expect(script.gaps('/token')).toEqual([5_000, 5_000, 5_000]);
  });

  it.each([
    ['its own number', 7, 7_000],
    ['a number written as text', '3', 3_000],
    ['a fraction of more than a second', 2.5, 2_500],
    ['zero, which would be a storm', 0, 5_000],
    ['less than a second', 0.01, 1_000],
    ['less than nothing', -5, 5_000],
    ['something that is not a number', 'soon', 5_000],
    ['null', null, 5_000],
    ['more than five minutes', 1e12, 300_000],
  ])('takes an interval of %s', async (_, interval, expected) => {
    const { script } = await flow({ interval, expires_in: 3600 }, pending);
    await pass(expected * 3);
    expect(script.gaps('/token')).toEqual([expected, expected]);
  });

  it('adds 5 seconds at each slow_down and keeps them', async () => {
    const { script } = await flow({}, pending, error('slow_down'), pending, error('slow_down', 429), pending);
    await pass(5_000 + 5_000 + 10_000 + 10_000 + 15_000 + 15_000);
    expect(script.gaps('/token')).toEqual([5_000, 10_000, 10_000, 15_000, 15_000]);
  });

  it('counts the interval from the end of the answer, not from its beginning', async () => {
    const slow: Turn = async () => {
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      return pending();
    };
    const { script } = await flow({}, slow);
    await pass(5_000 + 8_000 + 8_000);
    expect(script.gaps('/token')).toEqual([8_000, 8_000]);
  });

  it('doubles the gap while the network fails, and returns to the interval when it is back', async () => {
    const { script, faults, result } = await flow({}, pending, down(), down(), down(), pending, () => tokenAnswer);
    await pass(5_000 + 5_000 + 10_000 + 20_000 + 40_000 + 5_000);
    expect(script.gaps('/token')).toEqual([5_000, 10_000, 20_000, 40_000, 5_000]);
    expect(result()).toMatchObject({ access_token: 'access-1' });
    expect(faults.map((fault) => fault?.code)).toEqual([
      'server_unreachable',
      'server_unreachable',
      'server_unreachable',
      undefined,
    ]);
    expect(faults[0]?.message).toContain('auth.example.com refuses the connection');
  });

  it('keeps a slow_down through network failures', async () => {
    const { script } = await flow({}, error('slow_down'), down(), pending, pending);
    await pass(5_000 + 10_000 + 20_000 + 10_000);
    expect(script.gaps('/token')).toEqual([10_000, 20_000, 10_000]);
  });

  it('never waits longer than a minute between polls because of failures', async () => {
    const { script } = await flow({ expires_in: 3_600 }, down());
    await pass(600_000);
    expect(script.gaps('/token').slice(0, 7)).toEqual([10_000, 20_000, 40_000, 60_000, 60_000, 60_000, 60_000]);
  });

  it.each([
    ['a server error', page(500)],
    ['a bad gateway with a JSON body that says nothing', () => Response.json({ message: 'upstream' }, { status: 502 })],
    ['an unknown error with status 503', error('temporarily_unavailable', 503)],
    ['a sign-in page of the network', page(200)],
    ['a redirect', page(302, { location: 'https://elsewhere.example/token' })],
    ['a page that was not found', page(404)],
    ['an empty answer', () => new Response(null)],
    ['a JSON array', () => new Response('[]', { headers: { 'content-type': 'application/json' } })],
    ['half a JSON text', () => new Response('{"access_token":')],
    ['an endless body', () => new Response('x'.repeat(70_000))],
  ] as [string, Turn][])('backs off and goes on after %s', async (_, turn) => {
    const { script, result } = await flow({}, turn, () => tokenAnswer);
    await pass(5_000);
    await pass(10_000);
    expect(script.gaps('/token')).toEqual([10_000]);
    expect(result()).toMatchObject({ access_token: 'access-1' });
  });

  it('honours Retry-After, within reason', async () => {
    const { script } = await flow(
      { expires_in: 3600 },
      page(429, { 'retry-after': '42' }),
      page(503, { 'retry-after': '999999999' }),
      pending,
    );
    await pass(5_000 + 42_000 + 300_000);
    expect(script.gaps('/token')).toEqual([42_000, 300_000]);
  });

  it('gives up on a request that hangs after 10 seconds, and on a body that drips', async () => {
    const hang: Turn = () => new Promise<Response>(() => undefined);
    const drip: Turn = () =>
      new Response(new ReadableStream({ start: (stream) => stream.enqueue(new Uint8Array([123])) }));
    const { script, faults } = await flow({}, hang, drip, pending);
    await pass(5_000 + 10_000 + 10_000 + 10_000 + 20_000);
    expect(script.gaps('/token')).toEqual([20_000, 30_000]);
    expect(faults[0]?.message).toContain('did not answer within 10 s');
  });

  it('asks in standard form and follows no redirect', async () => {
    const { script } = await flow({}, pending);
    await pass(5_000);
    const [poll] = script.at('/token');
    expect(Object.fromEntries(poll?.body ?? [])).toEqual({
      grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
      device_code: 'device-code-secret',
      client_id: 'porchlight',
    });
    expect(poll?.headers.get('accept')).toBe('application/json');
    expect(poll?.init.redirect).toBe('manual');
    const [begin] = script.at('/device/auth');
    expect(Object.fromEntries(begin?.body ?? [])).toEqual({ client_id: 'porchlight', scope: 'profile offline_access' });
  });
});

describe('the device flow: how it ends', () => {
  it.each([
    ['access_denied', 'approval_denied'],
    ['authorization_declined', 'approval_denied'],
    ['expired_token', 'approval_expired'],
    ['invalid_grant', 'server_refused'],
    ['invalid_client', 'server_refused'],
    ['whatever_this_is', 'server_refused'],
  ])('stops at %s, whatever the HTTP status', async (name, code) => {
    for (const status of [200, 400, 401, 403, 428]) {
      const { script, result } = await flow({}, error(name, status), pending);
      await pass(60_000);
      expect(script.at('/token')).toHaveLength(1);
      expect(result()).toMatchObject({ code });
    }
  });

  it.each([200, 400, 401, 403, 428, 500])('takes authorization_pending with HTTP status %i', async (status) => {
    const { script, result } = await flow({}, error('authorization_pending', status), () => tokenAnswer);
    await pass(10_000);
    expect(script.gaps('/token')).toEqual([5_000]);
    expect(result()).toMatchObject({ access_token: 'access-1' });
  });

  it('says what a person can understand, without control characters of the server', async () => {
    const { result } = await flow({}, error('invalid_scope', 400, { error_description: 'no \u001b[31mlamps\u0007' }));
    await pass(5_000);
    const problem = result();
    expect(problem).toMatchObject({ message: expect.stringMatching(/does not know a scope.*lamps/) });
    expect(problem).not.toMatchObject({ message: expect.stringMatching(/[\u0000-\u001f]/) });
  });

  it('does not repeat a description that contains the device code', async () => {
    const { result } = await flow(
      {},
      error('invalid_grant', 400, { error_description: 'unknown: device-code-secret' }),
    );
    await pass(5_000);
    expect(String(result())).not.toContain('secret');
  });

  it('stops when the life of the code is over, even if the server says pending for ever', async () => {
    const { script, result } = await flow({ expires_in: 32 }, pending);
    await pass(31_999);
    expect(result()).toBe('nothing yet');
    await pass(1);
    expect(result()).toMatchObject({ code: 'approval_expired' });
    await pass(600_000);
    expect(script.at('/token')).toHaveLength(6);
  });

  it('takes an approval that is under way when the flow is withdrawn, but polls no more', async () => {
    const late: Turn = async () => {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      return tokenAnswer;
    };
    const { result, withdraw } = await flow({}, late);
    await pass(5_500);
    withdraw();
    await pass(500);
    expect(result()).toMatchObject({ access_token: 'access-1' });
    const other = await flow({}, pending);
    await pass(5_500);
    other.withdraw();
    await pass(60_000);
    expect(other.script.at('/token')).toHaveLength(1);
    expect(other.result()).toMatchObject({ code: 'approval_expired' });
  });

  it('ends with server_answer at no access token', async () => {
    const { result } = await flow({}, { ...tokenAnswer, access_token: undefined });
    await pass(5_000);
    expect(result()).toMatchObject({ code: 'server_answer' });
  });

  // The approval is spent: another code would end the same, and some servers keep only a few approvals for each person.
  it.each([
    ['a number as access token', { access_token: 5 }],
    ['an empty access token', { access_token: '' }],
    ['an access token with a line break', { access_token: 'a\r\nb' }],
    ['an access token of 20 kB', { access_token: 'x'.repeat(20_000) }],
    ['no token type', { token_type: undefined }],
    ['another token type', { token_type: 'DPoP' }],
    ['an object as scope', { scope: {} }],
  ])('ends for good at %s, naming it', async (what, wrong) => {
    const { result } = await flow({}, { ...tokenAnswer, ...wrong });
    await pass(5_000);
    const named = what.includes('type') ? '' : Object.keys(wrong).join();
    expect(result()).toMatchObject({ code: 'server_refused' });
    if (!/line break|20 kB/.test(what)) expect(String(result())).toContain(named);
  });

  it.each([
    ['a text', '3600', 3600],
    ['zero', 0, undefined],
    ['less than nothing', -1, undefined],
    ['a word', 'soon', undefined],
    ['a thousand years', 3e10, 2_592_000],
  ])('does not lose an approval over a life of %s', async (_, expires_in, expected) => {
    const { result } = await flow({}, { ...tokenAnswer, expires_in, refresh_token: null, id_token: null });
    await pass(5_000);
    expect(result()).toMatchObject({ access_token: 'access-1' });
    expect(Object(result()).expires_in).toBe(expected);
  });
});

describe('the device authorization response', () => {
  it('needs only what RFC 8628 section 3.2 requires, as it comes off the wire', () => {
    const { device_code, user_code, verification_uri, expires_in } = deviceAnswer;
    const wire: object = JSON.parse(
      JSON.stringify({ device_code, user_code, verification_uri, expires_in, unknown: { x: 1 } }),
    );
    const { shown, interval } = readDeviceCode(wire, issuer, clock);
    expect(shown).toMatchObject({ user_code, verification_uri });
    expect(shown).not.toHaveProperty('verification_uri_complete');
    expect(interval).toBe(5000);
    for (const name of ['device_code', 'user_code', 'verification_uri', 'expires_in']) {
      const { [name]: _, ...rest } = JSON.parse(JSON.stringify(wire));
      expect(() => readDeviceCode(rest, issuer, clock), name).toThrow(
        expect.objectContaining({ code: 'server_answer' }),
      );
    }
  });

  const read = (more: object, at = issuer): ReturnType<typeof readDeviceCode> =>
    readDeviceCode({ ...deviceAnswer, ...more }, at, clock);

  it.each([
    ['a script', 'javascript:alert(1)'],
    ['plain http', 'http://auth.example.com/device'],
    ['a user name that poses as the host', 'https://auth.example.com@evil.example/'],
    ['a password', 'https://a:b@auth.example.com/'],
    ['an escape byte', 'https://auth.example.com/\u001b[2J'],
    ['a line break that URL parsing would drop', 'https://auth.exam\nple.com/'],
    ['a tab', '\thttps://auth.example.com/'],
    ['a right-to-left override', 'https://auth.example.com/\u202etxt'],
    ['a blank', 'https://auth.example.com/a b'],
    ['markup', 'https://auth.example.com/"><script>'],
    ['8 kB', `https://auth.example.com/${'a'.repeat(8192)}`],
    ['a data address', 'data:text/html,hello'],
    ['no address at all', 'visit us'],
    ['a number', 5],
  ])('refuses %s as verification_uri, and drops it as verification_uri_complete', (_, address) => {
    expect(() => read({ verification_uri: address })).toThrow(expect.objectContaining({ code: 'server_answer' }));
    expect(read({ verification_uri_complete: address }).shown.verification_uri_complete).toBeUndefined();
  });

  it('shows plain http only where the issuer itself is this machine', () => {
    const plain = { verification_uri: 'http://127.0.0.1:3000/device', verification_uri_complete: undefined };
    expect(read(plain, new URL('http://127.0.0.1:3000')).shown.verification_uri).toBe(plain.verification_uri);
    expect(() => read(plain)).toThrow(expect.objectContaining({ code: 'server_answer' }));
  });

  it.each([
    ['is missing', undefined],
    ['is empty', ''],
    ['is blank', '  '],
    ['is a number', 12345678],
    ['holds an escape byte', 'AB\u001b[31mCD'],
    ['holds a line break', 'ABCD\nEFGH'],
    ['is 65 characters long', 'A'.repeat(65)],
  ])('refuses a user_code that %s', (_, user_code) => {
    expect(() => read({ user_code })).toThrow(expect.objectContaining({ code: 'server_answer' }));
  });

  it.each(['08T3AY9D', '123-456-789', 'wdjb mjht', 'ÄÖÜ-ßẞ'])('shows the user_code %s as it is', (user_code) => {
    expect(read({ user_code }).shown.user_code).toBe(user_code);
  });

  it.each([undefined, 0, -1, Number.NaN, Number.POSITIVE_INFINITY, 'soon', null, {}])(
    'refuses a life of %s',
    (expires_in) => {
      expect(() => read({ expires_in })).toThrow(expect.objectContaining({ code: 'server_answer' }));
    },
  );

  it('believes no life of more than a day', () => {
    expect(read({ expires_in: 1e15 }).shown.expires_at - Date.now()).toBe(86_400_000);
  });

  it('keeps the device code out of what is shown', () => {
    expect(JSON.stringify(read({}).shown)).not.toContain('device-code-secret');
  });

  it.each([[], null, 'text', 5, undefined])('refuses %j', (body) => {
    expect(() => readDeviceCode(body, issuer, clock)).toThrow(expect.objectContaining({ code: 'server_answer' }));
  });
});
