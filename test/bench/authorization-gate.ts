import { createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';
import { pino } from 'pino';
import { Gate } from '../../src/access/gate.ts';
import { JwksSource } from '../../src/access/jwks.ts';
import { Policy } from '../../src/access/policy.ts';
import { TokenVerifier } from '../../src/access/token.ts';
import { PorchlightError } from '../../src/errors.ts';
import type { Command, Credential } from '../../src/lights/command.ts';

const ISSUER = 'https://auth.example.com';
const AUDIENCE = 'https://porchlight.example/bench';
const clock = { monotonic: () => performance.now(), wall: () => Date.now() };
const log = pino({ level: 'silent' });
const micros = (from: bigint): number => Number(process.hrtime.bigint() - from) / 1000;
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

export type Algorithm = 'ES256' | 'RS256' | 'EdDSA';

interface Signer {
  readonly publicKey: KeyObject;
  readonly token: (jti: string) => string;
  /** What every verifier must at least do. */
  readonly check: (token: string) => boolean;
}

function signer(alg: Algorithm): Signer {
  const { privateKey } =
    alg === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : alg === 'RS256'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : generateKeyPairSync('ed25519');
  const publicKey = createPublicKey(privateKey);
  const hash = alg === 'EdDSA' ? null : 'sha256';
  const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const token = (jti: string): string => {
    const claims = {
      iss: ISSUER,
      sub: 'owner',
      aud: AUDIENCE,
      client_id: 'phone',
      scope: 'lights:read lights:control',
      iat: now,
      exp: now + 3600,
      jti,
    };
    const input = `${encode({ alg, kid: 'k1', typ: 'at+jwt' })}.${encode(claims)}`;
    const signature = sign(hash, Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    return `${input}.${signature.toString('base64url')}`;
  };
  const check = (text: string): boolean => {
    const at = text.lastIndexOf('.');
    const [input, signature] = [Buffer.from(text.slice(0, at)), Buffer.from(text.slice(at + 1), 'base64url')];
    return verify(hash, input, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature);
  };
  return { publicKey, token, check };
}

async function gateFor({ publicKey }: Signer): Promise<Gate> {
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig' };
  const jwks = new JwksSource({
    locate: async () => new URL(`${ISSUER}/keys`),
    fetch: async () => Response.json({ keys: [jwk] }),
    clock,
    log,
  });
  const owner = (): string => 'owner';
  const clockTrusted = (): boolean => true;
  const verifier = new TokenVerifier({
    issuer: ISSUER,
    audience: AUDIENCE,
    controlScope: 'lights:control',
    readScope: 'lights:read',
    ownClientId: 'porchlight',
    principals: ['owner'],
    owner,
    authorized: () => true,
    jwks,
    clock,
    clockTrusted,
  });
  const policy = new Policy({
    rows: undefined,
    unsigned: 'deny',
    audience: AUDIENCE,
    owner,
    changesOf: ({ target, change }) => [{ light: target, change }],
    lampsOf: (name) => [name],
    timeZone: () => undefined,
    clock,
    clockTrusted,
    maxAgeMs: 30_000,
  });
  const proofs = { verify: () => Promise.reject(new PorchlightError('proof_missing')) };
  return new Gate({ verifier, proofs, require: 'bearer', policy, maxAgeMs: 30_000, clock, clockTrusted, log });
}

const command = (credential: Credential): Command => ({
  kind: 'lights',
  target: 'porch',
  change: { state: 'ON' },
  credential,
  receivedAt: performance.now(),
  retained: false,
});

/** Microseconds that a token seen before adds to a command at the gate, in `blocks` blocks of a thousand, in turn with `local`. */
export async function seenBefore(alg: Algorithm, blocks: number): Promise<readonly number[]> {
  const by = signer(alg);
  const gate = await gateFor(by);
  const token = by.token('seen');
  const block = async (credential: Credential): Promise<number> => {
    const from = process.hrtime.bigint();
    for (let at = 0; at < 1000; at += 1) await gate.admit(command(credential));
    return micros(from) / 1000;
  };
  const added: number[] = [];
  for (let at = 0; at < blocks + 5; at += 1) {
    const bare = await block({ kind: 'local' });
    const more = (await block({ kind: 'bearer', token })) - bare;
    // The first blocks are the compiler's.
    if (at >= 5) added.push(more);
  }
  return added;
}

/** Median microseconds of the first use of a token, and of node:crypto's check of the same signature, each token in turn. */
export async function firstUse(
  alg: Algorithm,
  tokens: number,
): Promise<{ readonly gate: number; readonly bare: number }> {
  const by = signer(alg);
  const gate = await gateFor(by);
  const all = Array.from({ length: tokens + 100 }, (_, at) => by.token(`first-${at}`));
  const whole: number[] = [];
  const bare: number[] = [];
  for (const [at, token] of all.entries()) {
    const before = process.hrtime.bigint();
    const good = by.check(token);
    const alone = micros(before);
    const from = process.hrtime.bigint();
    await gate.admit(command({ kind: 'bearer', token }));
    const ours = micros(from);
    if (!good) throw new PorchlightError('internal', 'The bench signs wrongly.');
    if (at < 100) continue;
    whole.push(ours);
    bare.push(alone);
  }
  return { gate: median(whole), bare: median(bare) };
}
