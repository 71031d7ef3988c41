import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Fetch } from '../../src/access/fetch-json.ts';
import { JwksSource } from '../../src/access/jwks.ts';
import {
  AUDIENCE,
  type Bench,
  bench,
  codeOf,
  FakeClock,
  ISSUER,
  KeyServer,
  type Signer,
  signer,
  silent,
  sourceOf,
  tokenOf,
} from './fixtures.ts';

let first: Signer;
let second: Signer;
beforeAll(async () => {
  [first, second] = await Promise.all([signer('ES256', 'one'), signer('ES256', 'two')]);
});

const verify = async ({ verifier }: Bench, by: Signer, jti = 'x'): Promise<string> =>
  await codeOf(verifier.verify(await tokenOf(by, { jti }), 'control'));

describe('over a restart', () => {
  const away = new KeyServer([]);
  away.respond = () => new Response('', { status: 503 });

  /** A source that ran until it had read its store and asked the server once. */
  async function started(server: KeyServer, kept: { value: unknown }, issuer = ISSUER): Promise<JwksSource> {
    const stop = new AbortController();
    const jwks = new JwksSource({
      locate: async () => new URL('http://127.0.0.1:1/jwks'),
      fetch: server.fetch,
      clock: new FakeClock(),
      log: silent,
      store: {
        issuer,
        file: {
          load: async () => structuredClone(kept.value),
          save: async (value) => {
            kept.value = structuredClone(value);
          },
        },
      },
      sleep: async () => stop.abort(),
    });
    await jwks.run(stop.signal);
    return jwks;
  }

  test('the keys of before are used while the server is away', async () => {
    const kept: { value: unknown } = { value: undefined };
    await started(new KeyServer([first.jwk]), kept);
    const b = bench([], { jwks: await started(away, kept) });
    expect(await verify(b, first)).toBe('accepted');
    expect(await verify(b, second)).toBe('token_invalid');
  });

  test('the keys of another issuer, and rubbish, are not', async () => {
    const kept: { value: unknown } = { value: undefined };
    await started(new KeyServer([first.jwk]), kept, 'https://elsewhere.example');
    for (const value of [kept.value, 'rubbish', { issuer: ISSUER }, { issuer: ISSUER, keys: 'x' }, null]) {
      expect(await verify(bench([], { jwks: await started(away, { value }) }), first)).toBe('token_invalid');
    }
  });

  test('what the server says replaces what was kept', async () => {
    const kept: { value: unknown } = { value: undefined };
    await started(new KeyServer([first.jwk]), kept);
    const b = bench([], { jwks: await started(new KeyServer([second.jwk]), kept) });
    expect(await verify(b, first)).toBe('token_invalid');
    expect(JSON.stringify(kept.value)).toContain(second.jwk.x);
    expect(JSON.stringify(kept.value)).not.toContain(first.jwk.x);
  });
});

describe('rotation', () => {
  test('a new key is found when its first token arrives', async () => {
    const b = bench([first]);
    expect(await verify(b, first)).toBe('accepted');
    b.server.keys = [first.jwk, second.jwk];
    b.clock.advance(31_000);
    expect(await verify(b, second)).toBe('accepted');
    expect(b.server.requests).toBe(2);
  });

  test('a remembered token falls with its key, and stays while its key stays', async () => {
    const clock = new FakeClock();
    const server = new KeyServer([first.jwk, second.jwk]);
    const jwks = sourceOf(server, clock);
    const b = { ...bench([], { jwks, clock }), clock, server };
    const tokens = { one: await tokenOf(first), two: await tokenOf(second) };
    for (const token of Object.values(tokens))
      expect(await codeOf(b.verifier.verify(token, 'control'))).toBe('accepted');
    server.keys = [second.jwk];
    clock.advance(31_000);
    expect(await verify(b, await signer('ES256', 'three'))).toBe('token_invalid');
    expect(await codeOf(b.verifier.verify(tokens.one, 'control'))).toBe('token_invalid');
    expect(b.verifier.remembered).toBe(1);
    expect(await codeOf(b.verifier.verify(tokens.two, 'control'))).toBe('accepted');
    expect(b.verifier.remembered).toBe(1);
  });

  test('another key under the old name is another key', async () => {
    const b = bench([first]);
    const token = await tokenOf(first);
    expect(await codeOf(b.verifier.verify(token, 'control'))).toBe('accepted');
    b.server.keys = [{ ...second.jwk, kid: 'one' }];
    b.clock.advance(31_000);
    expect(await verify(b, second)).toBe('token_invalid');
    expect(await codeOf(b.verifier.verify(token, 'control'))).toBe('token_invalid');
  });

  test('a new key is found at once also where tokens name none, or where the name is used again', async () => {
    for (const kid of [undefined, 'one']) {
      const b = bench([first]);
      expect(await verify(b, first)).toBe('accepted');
      b.server.keys = [{ ...second.jwk, kid: 'one' }];
      const token = await tokenOf(second, { jti: 'new' }, { kid });
      // Nobody asks more often than every 30 s, whatever arrives.
      expect(await codeOf(b.verifier.verify(token, 'control'))).toBe('token_invalid');
      b.clock.advance(29_999);
      expect(await codeOf(b.verifier.verify(token, 'control'))).toBe('token_invalid');
      expect(b.server.requests).toBe(1);
      b.clock.advance(1);
      expect(await codeOf(b.verifier.verify(token, 'control'))).toBe('accepted');
      expect(b.server.requests).toBe(2);
    }
  });

  test('the task reads the keys at start and every nine minutes, so that a removed key is gone within ten, and sooner after a failure', async () => {
    const clock = new FakeClock();
    const server = new KeyServer([first.jwk]);
    const stop = new AbortController();
    const pauses: number[] = [];
    const locate = async (): Promise<URL> => new URL('http://127.0.0.1:1/jwks');
    const sleep = async (ms: number): Promise<void> => {
      pauses.push(ms);
      const away = pauses.length <= 7;
      server.respond = away ? () => new Response('', { status: 503 }) : () => Response.json({ keys: [] });
      if (pauses.length === 9) stop.abort();
    };
    const source = new JwksSource({ locate, fetch: server.fetch, clock, log: silent, sleep });
    await source.run(stop.signal);
    const seconds = pauses.map((ms) => ms / 1000);
    expect(seconds).toEqual([540, 30, 60, 120, 240, 480, 540, 540, 540]);
    expect(server.requests).toBe(9);
  });

  test('stopping ends a fetch that hangs', async () => {
    const stop = new AbortController();
    const server = new KeyServer([]);
    server.respond = () => new Promise(() => undefined);
    const task = sourceOf(server, new FakeClock(), 60_000).run(stop.signal);
    setTimeout(() => stop.abort(), 20);
    await task;
    expect(server.requests).toBe(1);
  });
});

describe('unknown keys', () => {
  test('whatever arrives, one question in 30 s', async () => {
    const b = bench([first]);
    expect(await verify(b, first)).toBe('accepted');
    const flood = async (): Promise<void> => {
      for (let n = 0; n < 50; n += 1) {
        const token = await tokenOf(second, {}, { kid: `unknown-${n}` });
        expect(await codeOf(b.verifier.verify(token, 'control'))).toBe('token_invalid');
      }
    };
    await flood();
    expect(b.server.requests).toBe(1);
    for (let seconds = 0; seconds < 90; seconds += 15) {
      b.clock.advance(15_000);
      await flood();
    }
    expect(b.server.requests).toBe(1 + 3);
  });

  test('at once, they share one question', async () => {
    const b = bench([first]);
    const codes = await Promise.all(Array.from({ length: 40 }, (_, n) => verify(b, first, `${n}`)));
    expect(new Set(codes)).toEqual(new Set(['accepted']));
    expect(b.server.requests).toBe(1);
  });

  test('no crowd gathers before a server that hangs', async () => {
    const b = bench([first]);
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    b.server.respond = async () => {
      await gate;
      return Response.json({ keys: b.server.keys });
    };
    const tokens = await Promise.all(Array.from({ length: 300 }, (_, n) => tokenOf(first, { jti: `${n}` })));
    const codes = tokens.map((token) => codeOf(b.verifier.verify(token, 'control')));
    // Those beyond the 64th are refused before the server has said anything.
    expect(await codes[299]).toBe('token_invalid');
    release();
    const all = await Promise.all(codes);
    expect(all.filter((code) => code === 'accepted')).toHaveLength(64);
    expect(b.server.requests).toBe(1);
  });

  test('tokens that are stale, misdirected or shapeless ask for no key', async () => {
    const b = bench([first]);
    for (const claims of [{ exp: 1 }, { aud: 'other' }, { iss: 'https://evil.example' }]) {
      await codeOf(b.verifier.verify(await tokenOf(second, claims), 'control'));
    }
    await codeOf(b.verifier.verify('a.b.c', 'control'));
    expect(b.server.requests).toBe(0);
  });
});

describe('a server that is away or talks nonsense', () => {
  let sent = 0;
  const huge = (): Response => {
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 1;
        if (sent > 2000) throw new RangeError('somebody reads to the end');
        controller.enqueue(new Uint8Array(64 * 1024).fill(0x20));
      },
    });
    return new Response(body);
  };
  const slowBody = (signal: AbortSignal): Response => {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(Buffer.from('{'));
        signal.addEventListener('abort', () => controller.error(signal.reason));
      },
    });
    return new Response(body);
  };
  const ANSWERS: readonly [string, (signal: AbortSignal) => Promise<Response> | Response][] = [
    ['refuses the connection', () => Promise.reject(new TypeError('fetch failed'))],
    ['hangs and ignores the abort', () => new Promise(() => undefined)],
    ['sends a byte and then nothing', slowBody],
    ['sends without end', huge],
    ['redirects', () => new Response(null, { status: 302, headers: { location: 'https://evil.example/jwks' } })],
    ['answers 503', () => new Response('later', { status: 503 })],
    ['answers 204', () => new Response(null, { status: 204 })],
    ['answers HTML', () => new Response('<html>login</html>', { headers: { 'content-type': 'text/html' } })],
    ['answers an array', () => Response.json([])],
    ['answers null', () => Response.json(null)],
    ['answers no keys member', () => Response.json({})],
    ['answers keys as an object', () => Response.json({ keys: {} })],
    ['answers a thousand keys', () => Response.json({ keys: Array.from({ length: 1000 }, () => ({})) })],
    ['answers keys twice', () => new Response('{"keys":[],"keys":[]}')],
    ['answers nothing', () => new Response('')],
  ];

  /** Waits for hanging servers no longer than a test should. */
  const hasty = (): Bench => {
    const clock = new FakeClock();
    const server = new KeyServer([first.jwk]);
    return { ...bench([], { clock, jwks: sourceOf(server, clock, 150) }), clock, server };
  };

  test.each(ANSWERS)('%s: unknown keys are refused with the reason, known ones go on', async (_what, respond) => {
    const away = hasty();
    away.server.respond = respond;
    const refusal = await away.verifier.verify(await tokenOf(first), 'control').catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: 'token_invalid', message: expect.stringContaining('cannot be fetched') });
    // Asked again at once, the reason is the same, and the server is left alone.
    const again = await away.verifier.verify(await tokenOf(first), 'control').catch((error: unknown) => error);
    expect(again).toMatchObject({ message: expect.stringContaining('cannot be fetched') });
    expect(away.server.requests).toBe(1);

    const known = hasty();
    expect(await verify(known, first)).toBe('accepted');
    known.server.respond = respond;
    known.clock.advance(31_000);
    expect(await verify(known, second)).toBe('token_invalid');
    expect(await verify(known, first, 'another')).toBe('accepted');
    expect(known.server.requests).toBe(2);
  });

  test('of an endless answer only 256 KiB are read', async () => {
    const b = bench([first]);
    b.server.respond = huge;
    sent = 0;
    expect(await verify(b, first)).toBe('token_invalid');
    // Five chunks of 64 KiB, and the one or two that a stream fetches ahead.
    expect(sent).toBeLessThan(9);
  });

  test.each([201, 206, 301, 302, 400, 401, 500])('good keys under status %i are not believed', async (status) => {
    const b = bench([first]);
    b.server.respond = () => Response.json({ keys: b.server.keys }, { status });
    expect(await verify(b, first)).toBe('token_invalid');
  });

  test('it is noticed soon when the server is back', async () => {
    const b = bench([first]);
    b.server.respond = () => new Response('', { status: 500 });
    expect(await verify(b, first)).toBe('token_invalid');
    b.server.respond = () => Response.json({ keys: b.server.keys });
    b.clock.advance(4_999);
    expect(await verify(b, first)).toBe('token_invalid');
    b.clock.advance(1);
    expect(await verify(b, first)).toBe('accepted');
  });

  test('discovery that fails or hangs is a failure like any other', async () => {
    for (const locate of [() => Promise.reject(new TypeError('no')), () => new Promise<URL>(() => undefined)]) {
      const clock = new FakeClock();
      const server = new KeyServer([first.jwk]);
      const jwks = new JwksSource({ locate, fetch: server.fetch, clock, log: silent, deadlineMs: 30 });
      const { verifier } = bench([], { jwks, clock });
      expect(await codeOf(verifier.verify(await tokenOf(first), 'control'))).toBe('token_invalid');
      expect(server.requests).toBe(0);
    }
  });

  test.each([
    ['http://auth.example.com/jwks', 0],
    ['http://localhost.evil.example/jwks', 0],
    ['http://127.0.0.1.evil.example/jwks', 0],
    ['file:///etc/passwd', 0],
    ['data:application/json,{"keys":[]}', 0],
    ['http://127.0.0.1:8080/jwks', 1],
    ['http://localhost:8080/jwks', 1],
    ['http://[::1]:8080/jwks', 1],
    [`${ISSUER}/jwks`, 1],
  ])('%s is asked %i times', async (url, requests) => {
    const clock = new FakeClock();
    const server = new KeyServer([first.jwk]);
    const locate = async (): Promise<URL> => new URL(url);
    const jwks = new JwksSource({ locate, fetch: server.fetch, clock, log: silent });
    const { verifier } = bench([], { jwks, clock });
    const code = await codeOf(verifier.verify(await tokenOf(first), 'control'));
    expect(server.requests).toBe(requests);
    expect(code).toBe(requests === 1 ? 'accepted' : 'token_invalid');
  });
});

describe('members of the set', () => {
  test('what is no key to verify with is ignored, and the rest is used', async () => {
    const odd = [
      null,
      5,
      'key',
      [],
      {},
      { kty: 'oct', k: 'c2VjcmV0', kid: 'one', alg: 'HS256' },
      { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA', kid: 'one' },
      { kty: 'AKP', alg: 'ML-DSA-44', pub: 'AA', kid: 'one' },
      { kty: 'RSA', n: 'AQAB', e: 'AQAB', kid: 'one' },
    ];
    const b = bench([]);
    b.server.keys = [...odd, first.jwk];
    expect(await verify(b, first)).toBe('accepted');
  });

  test.each([
    ['use enc', (jwk: object) => ({ ...jwk, use: 'enc' })],
    ['use unheard of', (jwk: object) => ({ ...jwk, use: 'SIG' })],
    ['key_ops without verify', (jwk: object) => ({ ...jwk, key_ops: ['sign'] })],
    ['another alg', (jwk: object) => ({ ...jwk, alg: 'ES384' })],
    ['another kid', (jwk: object) => ({ ...jwk, kid: 'One' })],
    ['no kid, for a token that has one', (jwk: object) => ({ ...jwk, kid: undefined })],
    ['a private half', (jwk: object) => ({ ...jwk, d: 'AAAA' })],
  ])('a key with %s is not used', async (_what, change) => {
    const b = bench([]);
    b.server.keys = [change(first.jwk)];
    expect(await verify(b, first)).toBe('token_invalid');
  });

  test('a key that says neither use nor alg is used', async () => {
    const b = bench([]);
    b.server.keys = [{ ...first.jwk, use: undefined, alg: undefined, key_ops: ['verify'] }];
    expect(await verify(b, first)).toBe('accepted');
  });

  const rsaToken = async (sign: (input: Buffer) => Promise<Uint8Array>): Promise<string> => {
    const header = Buffer.from('{"alg":"RS256","typ":"at+jwt","kid":"weak"}').toString('base64url');
    const input = `${header}.${(await tokenOf(first)).split('.')[1]}`;
    return `${input}.${Buffer.from(await sign(Buffer.from(input))).toString('base64url')}`;
  };
  const withKey = async (jwk: object, token: string): Promise<string> => {
    const b = bench([]);
    b.server.keys = [{ ...jwk, kid: 'weak' }];
    return await codeOf(b.verifier.verify(token, 'control'));
  };

  test.each([
    [1024, 'token_invalid'],
    [2048, 'accepted'],
  ])('an RSA key of %i bits: %s', async (modulusLength, code) => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength });
    const token = await rsaToken(async (input) => sign('sha256', input, privateKey));
    expect(await withKey(publicKey.export({ format: 'jwk' }), token)).toBe(code);
  });

  test('with the RSA exponent 1 anyone could sign, so such a key is not used', async () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    // RFC 8017 section 9.2: the padded hash itself, which is its own signature when the exponent is 1.
    const digestInfo = Buffer.from('3031300d060960864801650304020105000420', 'hex');
    const token = await rsaToken(async (input) => {
      const hash = createHash('sha256').update(input).digest();
      const filling = Buffer.alloc(256 - 3 - digestInfo.length - hash.length, 0xff);
      return Buffer.concat([Buffer.from([0, 1]), filling, Buffer.from([0]), digestInfo, hash]);
    });
    expect(await withKey({ ...publicKey.export({ format: 'jwk' }), e: 'AQ' }, token)).toBe('token_invalid');
  });

  test('a set that is empty now leaves no key', async () => {
    const b = bench([first]);
    expect(await verify(b, first)).toBe('accepted');
    b.server.keys = [];
    b.clock.advance(31_000);
    expect(await verify(b, second)).toBe('token_invalid');
    expect(await verify(b, first)).toBe('token_invalid');
  });
});

test('only GET of JSON without credentials is sent', async () => {
  const seen: unknown[] = [];
  const spy: Fetch = async (url, init) => {
    seen.push(String(url), init?.method, init?.body, init?.headers);
    return Response.json({ keys: [first.jwk] });
  };
  const clock = new FakeClock();
  const locate = async (): Promise<URL> => new URL(`${ISSUER}/jwks`);
  const { verifier } = bench([], { jwks: new JwksSource({ locate, fetch: spy, clock, log: silent }), clock });
  await verifier.verify(await tokenOf(first, { aud: [AUDIENCE] }), 'control');
  expect(seen).toEqual([`${ISSUER}/jwks`, undefined, undefined, { accept: 'application/json' }]);
});
