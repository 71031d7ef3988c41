import { createHash } from 'node:crypto';
import {
  type CryptoKey,
  calculateJwkThumbprint,
  exportJWK,
  exportPKCS8,
  generateKeyPair,
  importPKCS8,
  type JWK,
  SignJWT,
} from 'jose';
import { CommandProofs, type CommandProofsOptions } from '../../src/access/proof.ts';
import type { TokenPrincipal } from '../../src/access/token.ts';
import type { Proof } from '../../src/lights/command.ts';
import { FakeClock, type Members, NOW, silent } from './fixtures.ts';

export const TOKEN = 'header.claims.signature';
export const TOPIC = 'porchlight/porch/set';
export const RESPONSE = 'porchlight/response/phone';
export const PAYLOAD = Buffer.from('{"state":"ON","id":"1"}');

/** As RFC 9449 section 4.2 writes it. */
export const hashOf = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('base64url');

/** A sender's own key: never leaves it. */
export interface SenderKey {
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
  readonly thumbprint: string;
}

export async function senderKey(
  alg = 'ES256',
  options: Parameters<typeof generateKeyPair>[1] = {},
): Promise<SenderKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true, ...options });
  const jwk = await exportJWK(publicKey);
  return { alg, privateKey, jwk, thumbprint: await calculateJwkThumbprint(jwk) };
}

/** The same key, used with another algorithm: making RSA keys takes long. */
export async function withAlgorithm(by: SenderKey, alg: string): Promise<SenderKey> {
  return { ...by, alg, privateKey: await importPKCS8(await exportPKCS8(by.privateKey), alg) };
}

/** What a proof must say, by the interface: nothing more. */
export const goodProofClaims = (): Members => ({
  iat: NOW,
  jti: 'jti-1',
  gateway: 'porch-pi',
  topic: TOPIC,
  response_topic: RESPONSE,
  ath: hashOf(TOKEN),
  payload: hashOf(PAYLOAD),
});

/** A signed proof. A member that is undefined in `claims` or `header` is left out. */
export async function proofOf(by: SenderKey, claims: Members = {}, header: Members = {}): Promise<string> {
  const payload = JSON.parse(JSON.stringify({ ...goodProofClaims(), ...claims }));
  const head = JSON.parse(JSON.stringify({ alg: by.alg, typ: 'porchlight-command+jwt', jwk: by.jwk, ...header }));
  return await new SignJWT(payload).setProtectedHeader(head).sign(by.privateKey);
}

/** The message that the good claims are of, as it arrives: an object of its own each time. */
export const messageOf = (jwt: string, members: Partial<Proof> = {}): Proof => ({
  jwt,
  topic: TOPIC,
  responseTopic: RESPONSE,
  payload: PAYLOAD,
  ...members,
});

export const principalOf = (key: { readonly thumbprint: string } | undefined, by = 'owner'): TokenPrincipal => ({
  by,
  subject: by,
  clientId: 'phone',
  scopes: [],
  expiresAt: (NOW + 3600) * 1000,
  authorizationDetails: [],
  ...(key === undefined ? {} : { keyThumbprint: key.thumbprint }),
});

/** A file that outlives the process. It can be told to fail. */
export class MarkFile {
  value: unknown;
  saves = 0;
  broken = false;
  unreadable = false;
  /** Saving waits for this. */
  gate: Promise<void> = Promise.resolve();
  load = async (): Promise<unknown> => {
    if (this.unreadable) throw new Error('EIO');
    return this.value;
  };
  save = async (value: unknown): Promise<void> => {
    await this.gate;
    if (this.broken) throw new Error('ENOSPC');
    this.saves += 1;
    this.value = JSON.parse(JSON.stringify(value));
  };
}

export interface ProofBench {
  readonly clock: FakeClock;
  readonly file: MarkFile;
  readonly proofs: CommandProofs;
}

/** A process that has trusted its clock for an hour, unless the test says otherwise. */
export function proofBench(
  options: Partial<CommandProofsOptions> & { clock?: FakeClock; file?: MarkFile } = {},
): ProofBench {
  const { clock = new FakeClock(), file = new MarkFile() } = options;
  const proofs = new CommandProofs({
    gatewayId: 'porch-pi',
    maxAgeMs: 30_000,
    trustedSince: () => (NOW - 3600) * 1000,
    log: silent,
    ...options,
    clock,
    file,
  });
  return { clock, file, proofs };
}
