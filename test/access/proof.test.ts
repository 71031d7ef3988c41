import fc from 'fast-check';
import { type CryptoKey, FlattenedSign } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import { PorchlightError } from '../../src/errors.ts';
import { codeOf, type Members, NOW } from './fixtures.ts';
import {
  goodProofClaims,
  hashOf,
  MarkFile,
  messageOf,
  PAYLOAD,
  principalOf,
  proofBench,
  proofOf,
  RESPONSE,
  type SenderKey,
  senderKey,
  TOKEN,
  TOPIC,
  withAlgorithm,
} from './proof-bench.ts';

let key: SenderKey;
let other: SenderKey;
let rsa: SenderKey;
let good: string;
beforeAll(async () => {
  [key, other, rsa] = await Promise.all([senderKey(), senderKey(), senderKey('RS256')]);
  good = await proofOf(key);
});

/** The code that a fresh gateway answers with. */
async function judged(
  jwt: string,
  message: Parameters<typeof messageOf>[1] = {},
  token = TOKEN,
  by = principalOf(key),
): Promise<string> {
  const { proofs } = proofBench();
  const code = await codeOf(proofs.verify(messageOf(jwt, message), token, by));
  // What was refused is not remembered either.
  expect(proofs.remembered).toBe(code === 'accepted' ? 1 : 0);
  return code;
}

const messageFor = async (claims: Members, header: Members = {}): Promise<string> => {
  const { proofs } = proofBench();
  const refused = proofs.verify(messageOf(await proofOf(key, claims, header)), TOKEN, principalOf(key));
  const thrown: unknown = await refused.catch((error: unknown) => error);
  return thrown instanceof PorchlightError ? `${thrown.message} ${thrown.hint}` : 'accepted';
};

describe('a proof that is good', () => {
  test('passes', async () => {
    expect(await judged(good)).toBe('accepted');
  });

  test.each(['ES256', 'ES384', 'ES512', 'EdDSA', 'RS256', 'PS256'])('may be signed with %s', async (alg) => {
    const by = /^[RP]S/.test(alg) ? await withAlgorithm(rsa, alg) : await senderKey(alg);
    expect(await judged(await proofOf(by), {}, TOKEN, principalOf(by))).toBe('accepted');
  });

  test('is of an empty payload, or of bytes that are no text, as well', async () => {
    for (const payload of [Buffer.alloc(0), Buffer.from([0xff, 0xfe, 0, 0x80])]) {
      expect(await judged(await proofOf(key, { payload: hashOf(payload) }), { payload })).toBe('accepted');
      expect(await judged(good, { payload })).toBe('proof_invalid');
    }
  });

  test('names a Response Topic exactly when the message has one', async () => {
    const without = await proofOf(key, { response_topic: undefined });
    const { responseTopic: _, ...silent } = messageOf(without);
    const { proofs } = proofBench();
    expect(await codeOf(proofs.verify(silent, TOKEN, principalOf(key)))).toBe('accepted');
    expect(await codeOf(proofBench().proofs.verify({ ...silent, jwt: good }, TOKEN, principalOf(key)))).toBe(
      'proof_invalid',
    );
    expect(await judged(without)).toBe('proof_invalid');
    // An empty Response Topic is one.
    expect(await judged(without, { responseTopic: '' })).toBe('proof_invalid');
    expect(await judged(await proofOf(key, { response_topic: '' }), { responseTopic: '' })).toBe('accepted');
  });

  test('may say more than is asked', async () => {
    const jwt = await proofOf(
      key,
      { htm: 'POST', exp: NOW + 60, nbf: NOW - 60, nonce: { a: [1] } },
      { kid: 'x', jku: 'y' },
    );
    expect(await judged(jwt)).toBe('accepted');
  });
});

describe('without proof', () => {
  test('a bound token is told to send one, and that MQTT 3.1.1 cannot', async () => {
    const refused = proofBench().proofs.verify(undefined, TOKEN, principalOf(key));
    await expect(refused).rejects.toMatchObject({ code: 'proof_missing', hint: expect.stringContaining('MQTT 5') });
  });

  test('a token that is bound to no key is told to be, whether a proof came with it or not', async () => {
    const { proofs } = proofBench();
    await expect(proofs.verify(undefined, TOKEN, principalOf(undefined))).rejects.toMatchObject({
      code: 'proof_missing',
      hint: expect.stringContaining('DPoP'),
    });
    await expect(proofs.verify(messageOf(good), TOKEN, principalOf(undefined))).rejects.toMatchObject({
      code: 'proof_invalid',
      hint: expect.stringContaining('DPoP'),
    });
  });
});

describe('what is stolen fits nothing else', () => {
  test.each([
    ['another topic', { topic: 'porchlight/hall/set' }],
    ['the same topic in other letters', { topic: 'porchlight/Porch/set' }],
    ['a topic with one more level', { topic: `${TOPIC}/` }],
    ['another Response Topic', { responseTopic: 'porchlight/response/thief' }],
    ['one bit of the payload changed', { payload: Buffer.from(PAYLOAD.map((byte, n) => (n === 5 ? byte ^ 1 : byte))) }],
    ['a space added to the payload', { payload: Buffer.concat([PAYLOAD, Buffer.from(' ')]) }],
  ] as const)('%s: proof_invalid', async (_what, message) => {
    expect(await judged(good, message)).toBe('proof_invalid');
  });

  test('nor another token, another key, another gateway', async () => {
    expect(await judged(good, {}, `${TOKEN}x`)).toBe('proof_invalid');
    expect(await judged(good, {}, TOKEN, principalOf(other))).toBe('proof_invalid');
    const { proofs } = proofBench({ gatewayId: 'hall-pi' });
    expect(await codeOf(proofs.verify(messageOf(good), TOKEN, principalOf(key)))).toBe('proof_invalid');
  });

  test('the refusal names the claim', async () => {
    for (const claim of ['gateway', 'topic', 'response_topic'])
      expect(await messageFor({ [claim]: 'else' })).toContain(`"${claim}"`);
    for (const claim of ['ath', 'payload'])
      expect(await messageFor({ [claim]: hashOf('else') })).toContain(`"${claim}"`);
  });
});

describe('form', () => {
  test.each([
    ['no typ', { typ: undefined }],
    ['the typ of a DPoP proof', { typ: 'dpop+jwt' }],
    ['the typ of an access token', { typ: 'at+jwt' }],
    ['the typ in other letters', { typ: 'Porchlight-Command+JWT' }],
    ['no jwk', { jwk: undefined }],
    ['a jwk that is a string', { jwk: 'key' }],
    ['a jwk that is an array', { jwk: [] }],
    ['an empty jwk', { jwk: {} }],
  ] as const)('%s: proof_invalid', async (_what, header) => {
    expect(await judged(await proofOf(key, {}, header))).toBe('proof_invalid');
  });

  test.each(['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'])(
    'a jwk with the private member %s is refused',
    async (name) => {
      expect(await messageFor({}, { jwk: { ...key.jwk, [name]: 'AA' } })).toContain('private');
    },
  );

  test('critical header members are refused', async () => {
    const signed = await new FlattenedSign(Buffer.from(JSON.stringify(goodProofClaims())))
      .setProtectedHeader({ alg: 'ES256', typ: 'porchlight-command+jwt', jwk: key.jwk, crit: ['exp'], exp: 1 })
      .sign(key.privateKey, { crit: { exp: true } });
    const jwt = `${signed.protected}.${signed.payload}.${signed.signature}`;
    await expect(proofBench().proofs.verify(messageOf(jwt), TOKEN, principalOf(key))).rejects.toMatchObject({
      code: 'proof_invalid',
      message: expect.stringContaining('critical'),
    });
  });

  test('none and HMAC under the public key are refused', async () => {
    const claims = good.split('.')[1];
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const secret = new TextEncoder().encode(JSON.stringify(key.jwk));
    for (const alg of ['none', 'None', 'HS256', 'ES256K', '', 5, undefined]) {
      const head = part({ alg, typ: 'porchlight-command+jwt', jwk: key.jwk });
      expect(await judged(`${head}.${claims}.AAAA`)).toBe('proof_invalid');
      expect(await judged(`${head}.${claims}.`)).toBe('proof_invalid');
    }
    const hmac = await new FlattenedSign(Buffer.from(JSON.stringify(goodProofClaims())))
      .setProtectedHeader({ alg: 'HS256', typ: 'porchlight-command+jwt', jwk: key.jwk })
      .sign(secret);
    expect(await judged(`${hmac.protected}.${hmac.payload}.${hmac.signature}`)).toBe('proof_invalid');
  });

  test('the key of another, named in the header, does not verify', async () => {
    expect(await judged(await proofOf({ ...other, jwk: key.jwk }))).toBe('proof_invalid');
  });

  test('a jwk and an algorithm that do not belong together are refused', async () => {
    expect(await judged(await proofOf(key, {}, { jwk: rsa.jwk }))).toBe('proof_invalid');
    expect(await judged(await proofOf(key, {}, { jwk: { ...key.jwk, alg: 'ES384' } }))).toBe('proof_invalid');
  });

  test('an RSA key that is too short is refused', async () => {
    const { publicKey, privateKey } = await crypto.subtle.generateKey(
      { name: 'RSASSA-PKCS1-v1_5', modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
      true,
      ['sign', 'verify'],
    );
    const jwk = await crypto.subtle.exportKey('jwk', publicKey);
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const input = `${part({ alg: 'RS256', typ: 'porchlight-command+jwt', jwk })}.${part(goodProofClaims())}`;
    const signature = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', privateKey as CryptoKey, Buffer.from(input));
    const thumbprint = hashOf(JSON.stringify({ e: jwk.e, kty: 'RSA', n: jwk.n }));
    const jwt = `${input}.${Buffer.from(signature).toString('base64url')}`;
    expect(await judged(jwt, {}, TOKEN, principalOf({ thumbprint }))).toBe('proof_invalid');
  });

  test.each(['', '.', '..', 'a.b', 'a.b.c.d', 'a.b.c', 'ä.b.c', '{}', 'null', ' '.repeat(9000), 'e30.e30.e30'])(
    'the text %j is no proof',
    async (jwt) => {
      expect(await judged(jwt)).toBe('proof_invalid');
    },
  );

  const bad: Members = {
    iat: [undefined, null, '1800000000', -1, 1e300, Number.NaN, {}],
    jti: [undefined, null, '', 5, 'x'.repeat(1025), []],
    gateway: [undefined, '', 5, 'x'.repeat(1025)],
    topic: [undefined, '', null, ['a']],
    response_topic: [null, 5, 'x'.repeat(1025)],
    ath: [undefined, '', 5, 'a'.repeat(42), 'a'.repeat(44)],
    payload: [undefined, '', {}, 'a'.repeat(44)],
    exp: ['tomorrow', null, -1],
    nbf: ['now', null],
  };
  test('a claim that is missing or malformed is named', async () => {
    for (const [claim, values] of Object.entries(bad))
      for (const value of values as unknown[]) expect(await messageFor({ [claim]: value })).toContain(`"${claim}"`);
  });

  test('no character can be changed, none left out, none added', async () => {
    const { proofs } = proofBench();
    const character = fc.constantFrom(...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=');
    const change = fc.record({
      at: fc.nat({ max: good.length }),
      cut: fc.nat({ max: 2 }),
      add: fc.string({ unit: character, maxLength: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(change, async ({ at, cut, add }) => {
        const jwt = good.slice(0, at) + add + good.slice(at + cut);
        if (jwt === good) return;
        expect(await codeOf(proofs.verify(messageOf(jwt), TOKEN, principalOf(key)))).toBe('proof_invalid');
      }),
      { numRuns: 300 },
    );
    expect(proofs.remembered).toBe(0);
  });

  test('unused bits of the last character do not make a second spelling', async () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const last = alphabet.indexOf(good.at(-1) ?? '');
    expect(last % 16).toBe(0);
    for (let bits = 1; bits < 16; bits += 1) {
      expect(await judged(good.slice(0, -1) + alphabet[last + bits])).toBe('proof_invalid');
    }
  });

  test('any other value of a claim that names the message is refused', async () => {
    const wrong = fc.record(
      { gateway: fc.string({ minLength: 1 }), topic: fc.string({ minLength: 1 }), response_topic: fc.string() },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(wrong, async (claims) => {
        const jwt = await proofOf(key, claims);
        const same = Object.keys(claims).length === 0;
        expect(await judged(jwt)).toBe(same ? 'accepted' : 'proof_invalid');
      }),
      { numRuns: 60 },
    );
  });

  test('two members of one name are refused, in header and claims', async () => {
    const twice = (json: string): string => json.replace('{', '{"alg":"ES256","topic":"porchlight/hall/set",');
    const text = (part: number): string => Buffer.from(good.split('.')[part] ?? '', 'base64url').toString();
    for (const [header, claims] of [
      [twice(text(0)), text(1)],
      [text(0), twice(text(1))],
    ] as const) {
      const input = `${Buffer.from(header).toString('base64url')}.${Buffer.from(claims).toString('base64url')}`;
      const signature = await crypto.subtle.sign(
        { name: 'ECDSA', hash: 'SHA-256' },
        key.privateKey,
        Buffer.from(input),
      );
      expect(await judged(`${input}.${Buffer.from(signature).toString('base64url')}`)).toBe('proof_invalid');
    }
  });
});

describe('time', () => {
  test.each([
    [0, 'accepted'],
    [-30, 'accepted'],
    [-30.001, 'too_old'],
    [-31, 'too_old'],
    [-1e9, 'too_old'],
    [10, 'accepted'],
    [10.001, 'proof_invalid'],
    [61, 'proof_invalid'],
    [1e9, 'proof_invalid'],
  ])('issued %d s from now: %s', async (seconds, code) => {
    expect(await judged(await proofOf(key, { iat: NOW + seconds }))).toBe(code);
  });

  test.each([
    [{ exp: NOW }, 'too_old'],
    [{ exp: NOW + 1 }, 'accepted'],
    [{ nbf: NOW + 10 }, 'accepted'],
    [{ nbf: NOW + 11 }, 'proof_invalid'],
  ])('%j: %s', async (claims, code) => {
    expect(await judged(await proofOf(key, claims))).toBe(code);
  });

  test('a clock that is not trusted judges none', async () => {
    const { proofs } = proofBench({ trustedSince: () => undefined });
    expect(await codeOf(proofs.verify(messageOf(good), TOKEN, principalOf(key)))).toBe('clock_untrusted');
  });

  test.each([
    [undefined, -1, 'accepted'],
    [undefined, 0, 'accepted'],
    [undefined, 999, 'accepted'],
    [undefined, 1000, 'too_old'],
    [{ until: NOW - 1, open: false }, 999, 'accepted'],
    [{ until: NOW, open: false }, -1, 'too_old'],
    [{ until: NOW - 99, open: true }, -1, 'accepted'],
    [{ until: NOW - 99, open: true }, 0, 'too_old'],
    [{ until: NOW - 99, open: true }, 400, 'too_old'],
    ['damaged', 400, 'too_old'],
  ])(
    'where a process before left %j and the clock is trusted since %d ms after the proof: %s',
    async (left, ms, code) => {
      const file = new MarkFile();
      file.value = left;
      const { proofs, clock } = proofBench({ file, trustedSince: () => NOW * 1000 + ms });
      clock.advance(1000);
      expect(await codeOf(proofs.verify(messageOf(good), TOKEN, principalOf(key)))).toBe(code);
    },
  );

  test('what grows too old while it waits to be verified is refused', async () => {
    const { proofs, clock } = proofBench();
    const [first, ...rest] = await Promise.all([0, 1, 2, 3, 4, 5].map((n) => proofOf(key, { jti: `${n}` })));
    const all = [first, ...rest].map((jwt = '') => codeOf(proofs.verify(messageOf(jwt), TOKEN, principalOf(key))));
    clock.advance(31_000);
    expect(new Set(await Promise.all(all))).toEqual(new Set(['too_old']));
    expect(proofs.remembered).toBe(0);
  });
});

describe('once', () => {
  test('the exact copy is a repeat, which must not act; another proof of the same jti is refused', async () => {
    const { proofs } = proofBench();
    const [first, again] = [messageOf(good), messageOf(good)];
    await proofs.verify(first, TOKEN, principalOf(key));
    await proofs.verify(again, TOKEN, principalOf(key));
    expect([proofs.isRepeat(first), proofs.isRepeat(again)]).toEqual([false, true]);
    // ECDSA signs differently each time.
    const resigned = messageOf(await proofOf(key));
    expect(await codeOf(proofs.verify(resigned, TOKEN, principalOf(key)))).toBe('replayed');
    expect(await codeOf(proofs.verify(messageOf(await proofOf(key, { iat: NOW + 1 })), TOKEN, principalOf(key)))).toBe(
      'replayed',
    );
  });

  test('the other half of an ECDSA signature makes no second proof of the same', async () => {
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const signature = Buffer.from(good.split('.')[2] ?? '', 'base64url');
    const s = order - BigInt(`0x${signature.subarray(32).toString('hex')}`);
    const mirrored = Buffer.concat([signature.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')]);
    const twin = `${good.slice(0, good.lastIndexOf('.'))}.${mirrored.toString('base64url')}`;
    expect(await judged(twin)).toBe('accepted');
    const { proofs } = proofBench();
    await proofs.verify(messageOf(good), TOKEN, principalOf(key));
    expect(await codeOf(proofs.verify(messageOf(twin), TOKEN, principalOf(key)))).toBe('replayed');
  });

  test('of many copies at the same time exactly one is the first', async () => {
    const { proofs } = proofBench();
    const copies = Array.from({ length: 50 }, () => messageOf(good));
    await Promise.all(copies.map((copy) => proofs.verify(copy, TOKEN, principalOf(key))));
    expect(copies.filter((copy) => !proofs.isRepeat(copy))).toHaveLength(1);
  });

  test('two keys may choose the same jti', async () => {
    const { proofs } = proofBench();
    await proofs.verify(messageOf(good), TOKEN, principalOf(key));
    expect(await codeOf(proofs.verify(messageOf(await proofOf(other)), TOKEN, principalOf(other)))).toBe('accepted');
  });
});

describe('order', () => {
  test("a sender's commands go on in the order in which they came, whichever is judged first", async () => {
    const { proofs, file } = proofBench();
    await proofs.verify(messageOf(await proofOf(other, { jti: 'opened' })), TOKEN, principalOf(other));
    let go = (): void => undefined;
    file.gate = new Promise((resolve) => {
      go = resolve;
    });
    const jwts = [
      await proofOf(key, { jti: '0', iat: NOW + 5 }),
      'no proof',
      ...(await Promise.all([2, 3, 4, 5, 6, 7].map((n) => proofOf(key, { jti: `${n}` })))),
      await proofOf(key, { jti: '3' }),
    ];
    const ended: string[] = [];
    const all = jwts.map(async (jwt, n) => {
      const code = await codeOf(proofs.verify(messageOf(jwt), TOKEN, principalOf(key)));
      ended.push(`${n} ${code}`);
    });
    await proofs.verify(messageOf(await proofOf(other)), TOKEN, principalOf(other));
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(ended).toEqual(['1 proof_invalid']);
    go();
    await Promise.all(all);
    expect(ended.slice(1)).toEqual([...[0, 2, 3, 4, 5, 6, 7].map((n) => `${n} accepted`), '8 replayed']);
  });

  test('a refusal does not hold up what comes after it', async () => {
    const { proofs } = proofBench();
    const jwts = [await proofOf({ ...other, jwk: key.jwk }), await proofOf(key, { jti: '2' })];
    const codes = jwts.map((jwt) => codeOf(proofs.verify(messageOf(jwt), TOKEN, principalOf(key))));
    expect(await Promise.all(codes)).toEqual(['proof_invalid', 'accepted']);
  });
});

describe('a second process on the same state', () => {
  test('refuses what the first used, however quick the restart', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: -29_000, max: 10_000 }),
        fc.integer({ min: 0, max: 999 }),
        fc.integer({ min: 1, max: 5_000 }),
        fc.integer({ min: 0, max: 45_000 }),
        fc.boolean(),
        async (ahead, millisecond, away, later, clean) => {
          const { proofs, clock, file } = proofBench();
          clock.advance(millisecond);
          // As senders do it: whole seconds of their own clock.
          const jwt = await proofOf(key, { iat: Math.floor((clock.wall() + ahead) / 1000) });
          await proofs.verify(messageOf(jwt), TOKEN, principalOf(key));
          if (clean) await proofs.close();
          clock.advance(away);
          const since = clock.wall();
          const next = proofBench({ clock, file, trustedSince: () => since });
          clock.advance(later);
          expect(await codeOf(next.proofs.verify(messageOf(jwt), TOKEN, principalOf(key)))).toMatch(
            /too_old|proof_invalid/,
          );
        },
      ),
      { numRuns: 100 },
    );
  });

  test('takes new commands at once after a clean stop, and after a crash from the next second on', async () => {
    for (const [clean, away] of [
      [true, 300],
      [false, 1700],
    ] as const) {
      const { proofs, clock, file } = proofBench();
      await proofs.verify(messageOf(await proofOf(key, { iat: NOW - 1 })), TOKEN, principalOf(key));
      if (clean) await proofs.close();
      clock.advance(300);
      const since = clock.wall();
      const next = proofBench({ clock, file, trustedSince: () => since });
      clock.advance(away);
      const jwt = await proofOf(key, { jti: 'new', iat: Math.floor(clock.wall() / 1000) });
      expect(await codeOf(next.proofs.verify(messageOf(jwt), TOKEN, principalOf(key)))).toBe('accepted');
    }
  });

  test.each([
    ['the first proof of a process', 0, NOW],
    ['a proof from ahead of the clock', 1, NOW + 5],
  ])('%s is not used before that is noted durably', async (_what, before, iat) => {
    const { proofs, file } = proofBench();
    for (let n = 0; n < before; n += 1)
      await proofs.verify(messageOf(await proofOf(key, { jti: `${n}` })), TOKEN, principalOf(key));
    let let_go = (): void => undefined;
    file.gate = new Promise((resolve) => {
      let_go = resolve;
    });
    let used = false;
    const using = proofs.verify(messageOf(await proofOf(key, { iat })), TOKEN, principalOf(key)).then(() => {
      used = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(used).toBe(false);
    let_go();
    await using;
    expect(file.value).toEqual({ until: iat, open: true });
    await proofs.close();
    expect(file.value).toEqual({ until: iat, open: false });
  });

  test('where nothing can be noted, none is the first of a process, and later ones from ahead of the clock are refused', async () => {
    const { proofs, file } = proofBench();
    file.broken = true;
    expect(await codeOf(proofs.verify(messageOf(await proofOf(key, { jti: '9' })), TOKEN, principalOf(key)))).toBe(
      'proof_invalid',
    );
    file.broken = false;
    await proofs.verify(messageOf(await proofOf(key, { jti: '0' })), TOKEN, principalOf(key));
    file.broken = true;
    expect(await codeOf(proofs.verify(messageOf(await proofOf(key, { iat: NOW + 5 })), TOKEN, principalOf(key)))).toBe(
      'proof_invalid',
    );
    expect(await codeOf(proofs.verify(messageOf(await proofOf(key, { jti: '2' })), TOKEN, principalOf(key)))).toBe(
      'accepted',
    );
  });

  test('where the note cannot be read, everything that could have been used is refused', async () => {
    const { proofs, file, clock } = proofBench({ trustedSince: () => (NOW - 2) * 1000 });
    file.unreadable = true;
    expect(await codeOf(proofs.verify(messageOf(good), TOKEN, principalOf(key)))).toBe('too_old');
    clock.advance(9_000);
    const fresh = await proofOf(key, { iat: NOW + 9 });
    expect(await codeOf(proofs.verify(messageOf(fresh), TOKEN, principalOf(key)))).toBe('accepted');
  });

  test('notes are not written for each command', async () => {
    const { proofs, file, clock } = proofBench();
    for (let n = 0; n < 100; n += 1) {
      clock.advance(1000);
      const jwt = await proofOf(key, { jti: `${n}`, iat: Math.floor(clock.wall() / 1000) });
      await proofs.verify(messageOf(jwt), TOKEN, principalOf(key));
    }
    expect(file.saves).toBe(2);
  });
});

test('the Response Topic of the good message is the one that the claims name', () => {
  expect(goodProofClaims()['response_topic']).toBe(RESPONSE);
});
