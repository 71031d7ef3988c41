import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PorchlightError } from '../../src/errors.ts';
import { readDeviceCode } from '../../src/oauth/device-code.ts';
import { verdict } from '../../src/oauth/device-flow.ts';
import { discover } from '../../src/oauth/discovery.ts';
import { Echo } from '../../src/oauth/echo.ts';
import { readKeys } from '../../src/oauth/id-token.ts';
import {
  type Bench,
  bench,
  clock,
  Drawer,
  deviceAnswer,
  error,
  freezeTime,
  ISSUER,
  metadata,
  pass,
  Script,
  storedRecord,
  tokenAnswer,
} from './script.ts';

// Answers whose form is right and whose members are not: whatever stands in one, the end is a good value or one clear error.

const running: Bench[] = [];
beforeEach(freezeTime);
afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
  vi.useRealTimers();
});

/** Everything that JSON can say, and what people write when they want to do harm. */
const anything = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom<unknown>(
    null,
    true,
    -1,
    0,
    -0,
    1e308,
    2 ** 53 + 2,
    1e-320,
    '',
    ' ',
    'NaN',
    '1e400',
    '\u001b[2J',
    '\u202eevil',
    '\ud800',
    '\u0000',
    '__proto__',
    'constructor',
    'javascript:alert(1)',
    'https://a@b',
    '../../etc/passwd',
    '%n%s',
    'a'.repeat(40_000),
    [],
    {},
    [[]],
    { toString: 1 },
    JSON.parse('{"__proto__":{"a":1}}'),
  ),
);
const RAW = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/u;

function clear(thrown: unknown): void {
  expect(thrown).toBeInstanceOf(PorchlightError);
  const { code, message, hint } = thrown as PorchlightError;
  expect(['server_answer', 'server_refused', 'server_unreachable', 'approval_denied', 'approval_expired']).toContain(
    code,
  );
  expect(message + hint).not.toMatch(RAW);
  expect(message).not.toMatch(/undefined|\[object|native code/);
  expect(message.length).toBeLessThan(500);
}

const RUNS = { seed: 9700, numRuns: 400 };

describe('any value in any member', () => {
  it('of a device authorization response', () => {
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(deviceAnswer), 'interval'), anything, (name, value) => {
        try {
          const { shown, interval, expires } = readDeviceCode(
            { ...deviceAnswer, [name]: value },
            new URL(ISSUER),
            clock,
          );
          expect(shown.user_code + shown.verification_uri).not.toMatch(RAW);
          expect(interval).toBeGreaterThanOrEqual(1_000);
          expect(expires - clock.monotonic()).toBeLessThanOrEqual(86_400_000);
        } catch (thrown) {
          clear(thrown);
        }
      }),
      RUNS,
    );
  });

  it('of server metadata', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...Object.keys(metadata), 'grant_types_supported'),
        anything,
        async (name, value) => {
          const script = new Script().answer('/.well-known/oauth-authorization-server', { ...metadata, [name]: value });
          try {
            const found = await discover(ISSUER, { fetch: script.fetch, signal: new AbortController().signal });
            for (const address of Object.values(found)) expect(String(address)).toMatch(/^https:\/\/[^@\s]+$/);
          } catch (thrown) {
            clear(thrown);
          }
        },
      ),
      { ...RUNS, numRuns: 150 },
    );
  });

  it('of a key set', () => {
    fc.assert(
      fc.property(anything, anything, (keys, member) => {
        for (const set of [keys, { keys }, { keys: [member] }, { keys: [{ kty: member }] }])
          try {
            readKeys(set);
          } catch (thrown) {
            clear(thrown);
          }
      }),
      RUNS,
    );
  });

  it('of a token answer: authorized with what can be used, or not authorized and said why; nothing raw in status or log', async () => {
    const names = [...Object.keys(tokenAnswer), 'id_token', 'error', 'error_description', 'error_uri', '__proto__'];
    const script = new Script();
    const made = bench({ script, store: new Drawer(storedRecord()) });
    running.push(made);
    await pass(0);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...names), anything, async (name, value) => {
        // An error by these names would rightly end the grant.
        fc.pre(name !== 'error' || !['invalid_grant', 'invalid_client', 'unauthorized_client'].includes(String(value)));
        const text = `{${JSON.stringify(tokenAnswer).slice(1, -1)},${JSON.stringify(name)}:${JSON.stringify(value)}}`;
        script.answer('/token', () => new Response(text));
        const renewed = made.session.renew();
        await pass(0);
        await renewed;
        const { status } = made.session;
        expect(status.state).toBe('authorized');
        expect(JSON.stringify(status)).not.toMatch(/\\u001b|\\u0000|\u202e|\\ud800/);
        if (status.problem !== undefined) expect(status.problem.message).not.toMatch(RAW);
        expect(await made.session.accessToken()).toMatch(/^[\x21-\x7e]{1,16384}$/);
      }),
      { ...RUNS, numRuns: 120 },
    );
    expect(made.lines.join('')).not.toMatch(/\\u001b|\u202e|access-1|refresh-1/);
  });

  it('of an error: a name that every object has is no word of ours', () => {
    for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty', 'valueOf'])
      expect(verdict(name).message).toBe(`The authorization server refused this gateway (${name}).`);
  });
});

describe('an address to approve at', () => {
  const read = (verification_uri: string): unknown => {
    try {
      return readDeviceCode({ ...deviceAnswer, verification_uri }, new URL(ISSUER), clock).shown.verification_uri;
    } catch (thrown) {
      return thrown;
    }
  };
  it.each([
    ['a name in another script that looks like ours', 'https://auth.exаmple.com/device'],
    ['letters of double width', 'https://ａuth.example.com/device'],
    ['a dot that is none', 'https://auth。example。com/device'],
    ['a space that nobody sees', 'https://auth.example.com/\u200bdevice'],
    ['a soft hyphen', 'https://auth\u00ad.example.com/'],
    ['a turned direction', 'https://auth.example.com/\u2066moc.live\u2069'],
    ['a C1 control', 'https://auth.example.com/\u009b31m'],
    ['half a pair', 'https://auth.example.com/\ud83d'],
    ['backslashes', 'https:\\\\auth.example.com\\device'],
    ['a carriage return', 'https://auth.example.com/\r'],
    ['VBScript', 'vbscript:x'],
    ['a file', 'file:///etc/passwd'],
    ['a blob', 'blob:https://auth.example.com/x'],
    ['a web socket', 'wss://auth.example.com/'],
    ['no host', 'https:///device'.replace('///', '//?')],
    ['an empty user', 'https://:@auth.example.com@evil.example/'],
  ])('is not shown with %s', (_, address) => clear(read(address)));

  it.each([
    'https://xn--exmple-cua.com/device',
    'https://[2001:db8::1]:8443/device',
    'https://auth.example.com:8443/a?b=c#d',
    "https://a.example/it's",
  ])('is shown as it is: %s', (address) => {
    const shown = read(address);
    if (address.includes("'")) clear(shown);
    else expect(shown).toBe(address);
  });
});

describe('words of a server that repeat a secret', () => {
  const secret = 'Zx81-q9TT~pL0_wv.77aM/+%4bKd';
  const forms: readonly (readonly [string, string])[] = [
    ['as it is', secret],
    ['URL-encoded', encodeURIComponent(secret)],
    ['URL-encoded in small letters', encodeURIComponent(secret).toLowerCase()],
    ['in base64', Buffer.from(secret).toString('base64')],
    ['in base64url', Buffer.from(secret).toString('base64url')],
    ['in hexadecimal', Buffer.from(secret).toString('hex')],
    ['its first half', secret.slice(0, 14)],
    ['its second half', secret.slice(14)],
    ['in quotation marks', `"${secret}"`],
  ];
  it.each(forms)('are not repeated: %s', (_, form) => {
    for (const name of ['device_code', 'refresh_token', 'token', 'client_secret', 'client_assertion', 'assertion'])
      for (const text of [form, `The code ${form} is not valid.`, `${'x'.repeat(100)} ${form}`]) {
        const echo = new Echo();
        echo.sent({}, new URLSearchParams({ [name]: secret }));
        expect(echo.without(text), `${name}: ${text}`).toBeUndefined();
      }
    const basic = new Echo();
    basic.sent(
      { authorization: `Basic ${Buffer.from(`porch:${encodeURIComponent(secret)}`).toString('base64')}` },
      undefined,
    );
    expect(basic.without(`no: ${form}`)).toBeUndefined();
    const bearer = new Echo();
    bearer.sent({ Authorization: `Bearer ${secret}` }, undefined);
    expect(bearer.without(`no: ${form}`)).toBeUndefined();
    const earlier = new Echo();
    earlier.received({ access_token: secret });
    expect(earlier.without(`no: ${form}`)).toBeUndefined();
  });

  it('are shown without what only looks like a secret', () => {
    const echo = new Echo();
    const text = 'AADSTS70000: wrong. Trace ID: 0e2a1b3c-1111-2222-3333-444455556666 Timestamp: 2026-01-01';
    expect(echo.without(text)).toBe('AADSTS70000: wrong. Trace ID: […] Timestamp: 2026-01-01');
    expect(echo.without('expired access/refresh token')).toBe('expired access/refresh token');
    expect(echo.without('device flow is not enabled for the app')).toBe('device flow is not enabled for the app');
    expect(echo.without(`old: eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2ln`)).toBe('old: […]');
  });

  it('remembers no more than the last few requests', () => {
    const echo = new Echo();
    for (let at = 0; at < 10_000; at += 1)
      echo.sent({}, new URLSearchParams({ refresh_token: `${'r'.repeat(2_000)}-${at}` }));
    const began = process.hrtime.bigint();
    echo.without('x'.repeat(60_000));
    expect(Number(process.hrtime.bigint() - began) / 1e6).toBeLessThan(1_000);
  });

  it('reach neither status nor log, whichever member they stand in', async () => {
    const more = { error_description: 'bad: refresh-0-of-the-gateway', scope: 'refresh-0-of-the-gateway' };
    const script = new Script().answer('/token', () => error('refresh-0-of-the-gateway', 400, more));
    const made = bench({ script, store: new Drawer(storedRecord({ refresh_token: 'refresh-0-of-the-gateway' })) });
    running.push(made);
    await pass(0);
    const renewed = made.session.renew();
    await pass(0);
    await renewed;
    expect(made.session.status).toMatchObject({ state: 'authorized', problem: { code: 'server_refused' } });
    expect(JSON.stringify(made.session.status) + made.lines.join('')).not.toContain('refresh-0');
  });

  it('are no scopes either', async () => {
    const scope = 'profile refresh-1 \u001b[31m';
    const script = new Script().answer('/token', { ...tokenAnswer, scope });
    const made = bench({ script, store: new Drawer() });
    running.push(made);
    await pass(5_000);
    expect(made.session.status.state).toBe('authorized');
    expect(JSON.stringify(made.session.status)).not.toMatch(/refresh-1|\\u001b/);
  });
});
