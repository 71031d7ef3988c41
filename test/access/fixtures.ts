import {
  type CryptoKey,
  exportJWK,
  exportPKCS8,
  exportSPKI,
  generateKeyPair,
  importPKCS8,
  type JWK,
  SignJWT,
} from 'jose';
import { pino } from 'pino';
import { expect } from 'vitest';
import type { Fetch } from '../../src/access/fetch-json.ts';
import { JwksSource } from '../../src/access/jwks.ts';
import { Policy, type PolicyOptions } from '../../src/access/policy.ts';
import { TokenVerifier, type TokenVerifierOptions } from '../../src/access/token.ts';
import { ERRORS, PorchlightError } from '../../src/errors.ts';
import type { LightChange } from '../../src/lights/change.ts';

export const ISSUER = 'https://auth.example.com';
export const AUDIENCE = 'https://porchlight.example/porch-pi';
export const OWNER = 'owner-subject';
export const PHONE = 'phone-app';
export const OWN_CLIENT = 'porchlight';
/** Seconds since 1970, when every test begins. */
export const NOW = 1_800_000_000;

export const silent = pino({ level: 'silent' });

/** Both clocks in the hand of the test, ms. */
export class FakeClock {
  mono = 5_000;
  epoch = NOW * 1000;
  monotonic = (): number => this.mono;
  wall = (): number => this.epoch;
  advance(ms: number): void {
    this.mono += ms;
    this.epoch += ms;
  }
}

export interface Signer {
  readonly alg: string;
  readonly kid: string;
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
  readonly pem: string;
}

export async function signer(alg: string, kid: string): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' };
  return { alg, kid, privateKey, jwk, pem: await exportSPKI(publicKey) };
}

/** The same key, used with another algorithm: making RSA keys takes long. */
export async function withAlgorithm(by: Signer, alg: string): Promise<Signer> {
  const privateKey = await importPKCS8(await exportPKCS8(by.privateKey), alg);
  return { ...by, alg, privateKey, jwk: { ...by.jwk, alg } };
}

export type Members = Record<string, unknown>;

/** What RFC 9068 section 2.2 asks for, and nothing more. */
export const goodClaims = (): Members => ({
  iss: ISSUER,
  aud: AUDIENCE,
  sub: OWNER,
  client_id: PHONE,
  exp: NOW + 300,
  iat: NOW,
  jti: 'token-1',
  scope: 'openid lights:control lights:read',
});

/** A signed token. A member that is undefined in `claims` or `header` is left out. */
export async function tokenOf(by: Signer, claims: Members = {}, header: Members = {}): Promise<string> {
  const payload = JSON.parse(JSON.stringify({ ...goodClaims(), ...claims }));
  const head = JSON.parse(JSON.stringify({ alg: by.alg, typ: 'at+jwt', kid: by.kid, ...header }));
  return await new SignJWT(payload).setProtectedHeader(head).sign(by.privateKey);
}

/** Signs whatever text it is given as header and payload, by hand: for tokens that no library would make. */
export async function signText(by: Signer, header: string, payload: string | Uint8Array): Promise<string> {
  const input = `${Buffer.from(header).toString('base64url')}.${Buffer.from(payload).toString('base64url')}`;
  const algorithm = by.alg === 'ES256' ? { name: 'ECDSA', hash: 'SHA-256' } : { name: 'RSASSA-PKCS1-v1_5' };
  const signature = await crypto.subtle.sign(algorithm, by.privateKey, Buffer.from(input));
  return `${input}.${Buffer.from(signature).toString('base64url')}`;
}

/** A key server in memory: counts what it is asked, and can be told to misbehave. */
export class KeyServer {
  requests = 0;
  keys: readonly unknown[];
  respond: (signal: AbortSignal) => Promise<Response> | Response;

  constructor(keys: readonly unknown[]) {
    this.keys = keys;
    this.respond = () => Response.json({ keys: this.keys });
  }

  fetch: Fetch = async (_url, init) => {
    this.requests += 1;
    expect(init?.redirect).toBe('manual');
    return await this.respond(init?.signal ?? AbortSignal.timeout(1000));
  };
}

export function sourceOf(server: KeyServer, clock: FakeClock, deadlineMs = 5_000): JwksSource {
  const locate = async (): Promise<URL> => new URL(`${ISSUER}/jwks`);
  return new JwksSource({ locate, fetch: server.fetch, clock, log: silent, deadlineMs });
}

export interface Bench {
  readonly verifier: TokenVerifier;
  readonly clock: FakeClock;
  readonly server: KeyServer;
}

/** A verifier with its keys and its clock, and whatever else the test wants different. */
export function bench(signers: readonly Signer[], options: Partial<TokenVerifierOptions> = {}): Bench {
  const clock = new FakeClock();
  const server = new KeyServer(signers.map(({ jwk }) => jwk));
  const verifier = new TokenVerifier({
    issuer: ISSUER,
    audience: AUDIENCE,
    controlScope: 'lights:control',
    readScope: 'lights:read',
    ownClientId: OWN_CLIENT,
    principals: ['owner'],
    owner: () => OWNER,
    authorized: () => true,
    jwks: sourceOf(server, clock),
    clock,
    clockTrusted: () => true,
    ...options,
  });
  return { verifier, clock, server };
}

/** The code that `work` is refused with; every refusal must say what happened and what to do. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (thrown) {
    if (!(thrown instanceof PorchlightError)) throw thrown;
    expect(['denied', 'failed']).toContain(ERRORS[thrown.code].kind);
    expect(thrown.message).toMatch(/^[\x20-\x7e]{5,300}$/);
    expect(thrown.hint).toMatch(/^[\x20-\x7e]{5,300}$/);
    return thrown.code;
  }
  return 'accepted';
}

/** Lamps by the name of what they are in: two lamps, two groups, and a scene that names a lamp and a group. */
export const HOUSE: Readonly<Record<string, readonly string[]>> = {
  porch: ['porch'],
  hall: ['hall'],
  evening: ['porch', 'hall'],
  nothing: [],
};

export const SCENES: Readonly<Record<string, Readonly<Record<string, LightChange>>>> = {
  movie: { evening: { state: 'ON', brightness: 40 }, porch: { state: 'OFF' } },
  dusk: { porch: { state: 'ON' } },
  dark: { hall: { brightness: 0 } },
};

/** A policy over that house: no table, and a closed local tree, unless the test says otherwise. */
export function policyOf(clock: FakeClock, options: Partial<PolicyOptions> = {}): Policy {
  const lampsOf = (name: string): readonly string[] | undefined => HOUSE[name];
  return new Policy({
    rows: undefined,
    unsigned: 'deny',
    audience: AUDIENCE,
    owner: () => OWNER,
    lampsOf,
    changesOf: ({ kind, target, change }) => {
      if (kind === 'lights') return lampsOf(target)?.map((light) => ({ light, change }));
      const scene = SCENES[target];
      if (scene === undefined) return undefined;
      return Object.entries(scene).flatMap(([name, part]) =>
        (lampsOf(name) ?? []).map((light) => ({ light, change: part })),
      );
    },
    timeZone: () => 'UTC',
    clock,
    clockTrusted: () => true,
    maxAgeMs: 30_000,
    ...options,
  });
}
