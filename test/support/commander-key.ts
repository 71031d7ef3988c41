import { createHash, randomUUID } from 'node:crypto';
import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';

/** A message about to be sent, as the proof must name it. */
export interface Unsigned {
  readonly topic: string;
  readonly payload: string | Uint8Array;
  readonly responseTopic?: string;
  readonly token: string;
}

const hash = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('base64url');

/** A commander's own key, and the proofs that it signs; as in examples/send-bound.mjs. */
export class CommanderKey {
  readonly thumbprint: string;
  readonly jwk: JWK;
  readonly #privateKey: CryptoKey;

  private constructor(privateKey: CryptoKey, jwk: JWK, thumbprint: string) {
    this.#privateKey = privateKey;
    this.jwk = jwk;
    this.thumbprint = thumbprint;
  }

  static async make(): Promise<CommanderKey> {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const jwk = await exportJWK(publicKey);
    return new CommanderKey(privateKey, jwk, await calculateJwkThumbprint(jwk));
  }

  /** The proof of one command for the gateway `porch-pi`; `claims` are put over the right ones. */
  async proof(
    { topic, payload, responseTopic, token }: Unsigned,
    claims: Record<string, unknown> = {},
  ): Promise<string> {
    return await new SignJWT({
      iat: Math.floor(Date.now() / 1000),
      jti: randomUUID(),
      gateway: 'porch-pi',
      topic,
      ...(responseTopic !== undefined && { response_topic: responseTopic }),
      ath: hash(token),
      payload: hash(payload),
      ...claims,
    })
      .setProtectedHeader({ alg: 'ES256', typ: 'porchlight-command+jwt', jwk: this.jwk })
      .sign(this.#privateKey);
  }
}
