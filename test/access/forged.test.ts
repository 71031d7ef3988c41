import fc from 'fast-check';
import { CompactEncrypt, importSPKI, SignJWT } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import { PorchlightError } from '../../src/errors.ts';
import { bench, codeOf, goodClaims, NOW, OWNER, type Signer, signer, signText, tokenOf } from './fixtures.ts';

let es: Signer;
let rs: Signer;
let stranger: Signer;
beforeAll(async () => {
  [es, rs, stranger] = await Promise.all([signer('ES256', 'es-1'), signer('RS256', 'rs-1'), signer('ES256', 'evil')]);
});

const base64url = (text: string): string => Buffer.from(text).toString('base64url');
const json = (value: unknown): string => base64url(JSON.stringify(value));
const verify = (token: string): Promise<string> => codeOf(bench([es, rs]).verifier.verify(token, 'control'));

describe('algorithms', () => {
  test.each([
    'none',
    'None',
    'NONE',
    'nOnE',
    'none ',
    '',
    'HS256',
    'HS512',
    'es256',
    'RS1',
    'ES256K',
    'dir',
    '__proto__',
    'toString',
  ])('alg %j is refused', async (alg) => {
    const head = json({ alg, typ: 'at+jwt', kid: 'es-1' });
    const payload = json(goodClaims());
    const signature = (await tokenOf(es)).split('.')[2];
    const { verifier, server } = bench([es, rs]);
    for (const end of ['', 'AA', signature]) {
      expect(await codeOf(verifier.verify(`${head}.${payload}.${end}`, 'control'))).toBe('token_invalid');
    }
    // Known before any key is looked for.
    expect(server.requests).toBe(0);
  });

  test.each([undefined, null, 5, ['ES256'], { alg: 'ES256' }])('alg %j is refused', async (alg) => {
    expect(await verify(await signText(es, JSON.stringify({ alg, typ: 'at+jwt' }), JSON.stringify(goodClaims())))).toBe(
      'token_invalid',
    );
  });

  test('a public key is no secret: HS256 signed with it is refused', async () => {
    for (const secret of [rs.pem, rs.pem.trim(), JSON.stringify(rs.jwk), rs.jwk.n ?? '']) {
      for (const alg of ['HS256', 'HS384', 'HS512']) {
        const token = await new SignJWT(goodClaims())
          .setProtectedHeader({ alg, typ: 'at+jwt', kid: 'rs-1' })
          .sign(Buffer.from(secret));
        expect(await verify(token)).toBe('token_invalid');
        // ... and it stays refused when its header then claims the algorithm of the key.
        const [, payload, signature] = token.split('.');
        const head = json({ alg: 'RS256', typ: 'at+jwt', kid: 'rs-1' });
        expect(await verify(`${head}.${payload}.${signature}`)).toBe('token_invalid');
      }
    }
  });

  test('a key that is published for one algorithm serves no other', async () => {
    const { privateKey } = rs;
    const token = await tokenOf({ ...rs, privateKey }, {}, { alg: 'RS256', kid: 'rs-1' });
    const [, payload, signature] = token.split('.');
    for (const alg of ['RS512', 'PS256', 'ES256']) {
      expect(await verify(`${json({ alg, typ: 'at+jwt', kid: 'rs-1' })}.${payload}.${signature}`)).toBe(
        'token_invalid',
      );
    }
  });

  test('an ECDSA signature of zeros is refused', async () => {
    const [head, payload] = (await tokenOf(es)).split('.');
    for (const bytes of [Buffer.alloc(64), Buffer.alloc(0), Buffer.alloc(64, 0xff), Buffer.alloc(72)]) {
      expect(await verify(`${head}.${payload}.${bytes.toString('base64url')}`)).toBe('token_invalid');
    }
  });
});

describe('keys brought along', () => {
  test.each([
    ['jwk', () => ({ jwk: stranger.jwk })],
    ['jwk under a known name', () => ({ jwk: { ...stranger.jwk, kid: 'es-1' } })],
    ['jku', () => ({ jku: 'https://evil.example/jwks.json' })],
    ['x5u', () => ({ x5u: 'https://evil.example/cert.pem' })],
    ['x5c', () => ({ x5c: ['MIIB'] })],
    ['iss in the header', () => ({ iss: 'https://evil.example' })],
  ])('%s does not make a stranger known', async (_what, header) => {
    for (const kid of ['es-1', 'evil', undefined]) {
      expect(await verify(await tokenOf(stranger, {}, { ...header(), kid }))).toBe('token_invalid');
    }
  });

  test('an embedded key is ignored in an otherwise good token', async () => {
    expect(await verify(await tokenOf(es, {}, { jwk: stranger.jwk }))).toBe('accepted');
  });
});

describe('form', () => {
  const payload = (): string => JSON.stringify(goodClaims());
  const head = (more = ''): string => `{"alg":"ES256","typ":"at+jwt","kid":"es-1"${more}}`;

  test('the hand-made token is good when nothing is wrong with it', async () => {
    expect(await verify(await signText(es, head(), payload()))).toBe('accepted');
  });

  test.each([
    ['crit with an unknown name', ',"crit":["exp"],"exp":1'],
    ['crit with b64', ',"crit":["b64"],"b64":true'],
    ['crit empty', ',"crit":[]'],
    ['crit null', ',"crit":null'],
    ['alg twice', ',"alg":"ES256"'],
    ['alg twice, once escaped', ',"\\u0061lg":"ES256"'],
    ['a nested member twice', ',"x":{"a":1,"a":1}'],
    ['very deep nesting', `,"x":${'['.repeat(2000)}${']'.repeat(2000)}`],
    ['a trailing comma', ','],
  ])('header: %s', async (_what, more) => {
    expect(await verify(await signText(es, head(more), payload()))).toBe('token_invalid');
  });

  test.each([
    ['sub twice', (good: string) => good.replace('{', '{"sub":"stranger",')],
    ['exp NaN', (good: string) => good.replace(String(NOW + 300), 'NaN')],
    ['exp infinite', (good: string) => good.replace(String(NOW + 300), '1e999')],
    ['exp huge', (good: string) => good.replace(String(NOW + 300), '9'.repeat(400))],
    ['exp in hexadecimal', (good: string) => good.replace(String(NOW + 300), '0xffffffff')],
    ['not JSON', () => 'lights on please'],
    ['empty', () => ''],
    ['an array', (good: string) => `[${good}]`],
    ['null', () => 'null'],
    ['a string', (good: string) => JSON.stringify(good)],
    ['a byte order mark', (good: string) => `\ufeff${good}`],
    ['text after the end', (good: string) => `${good}{}`],
  ])('payload: %s', async (_what, change) => {
    expect(await verify(await signText(es, head(), change(payload())))).toBe('token_invalid');
  });

  test('bytes that are no UTF-8 are refused', async () => {
    const text = JSON.stringify({ ...goodClaims(), note: '#' });
    const bytes = Buffer.from(text);
    expect(await verify(await signText(es, head(), bytes))).toBe('accepted');
    bytes[text.indexOf('#')] = 0xff;
    expect(await verify(await signText(es, head(), bytes))).toBe('token_invalid');
  });

  test('16 KiB is the limit, however well it is signed', async () => {
    const ofLength = async (length: number): Promise<string> => {
      const plain = await tokenOf(es, { note: '' });
      const token = await tokenOf(es, { note: 'x'.repeat(Math.floor(((length - plain.length) * 3) / 4)) });
      expect(Math.abs(token.length - length)).toBeLessThan(5);
      return token;
    };
    expect(await verify(await ofLength(16 * 1024 - 5))).toBe('accepted');
    expect(await verify(await ofLength(16 * 1024 + 5))).toBe('token_invalid');
  });

  test('a member __proto__ lends no claims', async () => {
    const { sub: _sub, ...rest } = goodClaims();
    const text = JSON.stringify(rest).replace('{', `{"__proto__":{"sub":"${OWNER}"},`);
    expect(await verify(await signText(es, head(), text))).toBe('token_invalid');
  });

  test.each([
    ['one part', () => 'abc'],
    ['a word with bearer', (good: string) => `Bearer ${good}`],
    ['a dot at the end', (good: string) => `${good}.`],
    ['a dot at the start', (good: string) => `.${good}`],
    ['two dots', (good: string) => good.replace('.', '..')],
    ['no signature', (good: string) => good.slice(0, good.lastIndexOf('.') + 1)],
    ['padding', (good: string) => `${good}==`],
    ['a space at the end', (good: string) => `${good} `],
    ['a newline at the end', (good: string) => `${good}\n`],
    ['a newline inside', (good: string) => good.replace('.', '\n.')],
    ['classic base64', (good: string) => `${good.slice(0, -2)}+/`],
    ['a look-alike letter', (good: string) => good.replace('e', '\u0435')],
    ['full-width letters', (good: string) => good.replace('e', '\uff45')],
    ['a zero byte', (good: string) => `${good}\u0000`],
    ['terminal escapes', (good: string) => `\u001b[31m${good}`],
    ['half a surrogate', (good: string) => `${good}\ud800`],
    ['JSON serialization', (good: string) => JSON.stringify({ protected: good.split('.')[0] })],
    ['an opaque token', () => 'gho_16C7e42F292c6912E7710c838347Ae178B4a'],
    ['only dots', () => '..'],
    ['17 KiB', () => `${'a'.repeat(6000)}.${'a'.repeat(6000)}.${'a'.repeat(6000)}`],
    ['10 MB', () => 'a.'.repeat(5_000_000)],
  ])('%s', async (_what, change) => {
    expect(await verify(change(await tokenOf(es)))).toBe('token_invalid');
  });

  test('the unused bits of the last letter must be zero', async () => {
    const good = await tokenOf(es);
    // 64 bytes are 86 letters, of which the last carries 2 bits of data and 4 that decoders ignore.
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const other = letters[letters.indexOf(good.at(-1) ?? 'A') + 1] ?? 'B';
    expect(await verify(good.slice(0, -1) + other)).toBe('token_invalid');
  });

  test('a token inside a token is refused', async () => {
    const inner = await tokenOf(es);
    expect(await verify(await signText(es, head(',"cty":"JWT"'), inner))).toBe('token_invalid');
    expect(await verify(await signText(es, head(',"cty":"JWT"'), JSON.stringify(inner)))).toBe('token_invalid');
  });

  test('an encrypted token is refused and called so', async () => {
    const key = await importSPKI(rs.pem, 'RSA-OAEP-256');
    const jwe = await new CompactEncrypt(Buffer.from(await tokenOf(es)))
      .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM', typ: 'at+jwt' })
      .encrypt(key);
    await expect(bench([es, rs]).verifier.verify(jwe, 'control')).rejects.toMatchObject({
      code: 'token_invalid',
      message: expect.stringContaining('encrypted'),
    });
  });

  test('an ID token is no access token', async () => {
    const claims = {
      aud: 'phone-app',
      nonce: 'n',
      at_hash: 'h',
      client_id: undefined,
      scope: undefined,
      jti: undefined,
    };
    for (const typ of ['JWT', undefined])
      expect(await verify(await tokenOf(es, claims, { typ }))).toBe('token_invalid');
  });
});

describe('property', () => {
  test('no change to a good token leaves it good', async () => {
    const { verifier } = bench([es, rs]);
    const tokens = [await tokenOf(es), await tokenOf(rs)];
    for (const token of tokens) await verifier.verify(token, 'control');
    const index = fc.nat({ max: 5000 });
    const mutation = fc.oneof(
      fc.record({ at: index, put: fc.constantFrom(...'ABCabc019-_.= \n%') }),
      fc.record({ at: index, put: fc.string({ maxLength: 3 }) }),
      fc.record({ at: index, put: fc.constant(''), remove: fc.integer({ min: 1, max: 40 }) }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...tokens),
        fc.array(mutation, { minLength: 1, maxLength: 3 }),
        async (good, changes) => {
          let token = good;
          for (const { at, put, ...more } of changes) {
            const from = at % token.length;
            const length = 'remove' in more ? more.remove : 1;
            token = token.slice(0, from) + put + token.slice(from + length);
          }
          fc.pre(token !== good);
          const code = await codeOf(verifier.verify(token, 'control'));
          expect(['token_invalid', 'token_missing', 'token_audience', 'token_expired']).toContain(code);
        },
      ),
      { numRuns: 600 },
    );
  });

  test('no claim of any type makes anything but a known refusal or an acceptance', async () => {
    const { verifier } = bench([es]);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...Object.keys(goodClaims()), 'nbf', 'cnf'),
        fc.jsonValue(),
        async (claim, value) => {
          await codeOf(verifier.verify(await tokenOf(es, { [claim]: value }), 'control'));
        },
      ),
      { numRuns: 200 },
    );
  });

  test('no error repeats anything of the token', async () => {
    const { verifier } = bench([es]);
    const marker = 'MARKERmarkerMARKER';
    const hostile = [
      marker,
      `${marker}.${marker}.${marker}`,
      await tokenOf(es, { iss: marker }),
      await tokenOf(es, { sub: marker }),
      await tokenOf(es, { scope: marker }),
      await tokenOf(es, { exp: marker }),
      await tokenOf(es, {}, { kid: marker }),
      await tokenOf(stranger, { jti: marker }, { kid: 'es-1' }),
    ];
    for (const token of hostile) {
      const thrown = await verifier.verify(token, 'control').catch((error: unknown) => error);
      if (!(thrown instanceof PorchlightError)) throw new PorchlightError('internal', 'accepted');
      // A genuine token's subject is who was refused, and is named as such; nothing else of any token is.
      const { by, ...rest } = thrown;
      const shown = JSON.stringify([thrown.message, thrown.hint, thrown.stack, String(thrown.cause), rest]);
      expect(by).toSatisfy((name) => name === undefined || thrown.code === 'principal_unknown' || name === 'owner');
      expect(shown).not.toContain(marker);
      expect(shown).not.toContain(token.slice(0, 40));
    }
  });
});
