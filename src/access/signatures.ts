import { constants, type VerifyKeyObjectInput, verify } from 'node:crypto';
import { PorchlightError } from '../errors.ts';
import { invalid, type ReadToken } from './claims.ts';
import type { VerificationKey } from './jwk.ts';
import { Turns } from './turns.ts';

/** A token without `kid` may be of any fitting key; each costs a check. */
const MAX_KEYS_TRIED = 4;

/** Where the public keys come from. */
export interface KeySource {
  find(kid: string | undefined, alg: string): Promise<readonly VerificationKey[]>;
  /** What is published beside `tried`, none of which fits: servers that name no keys, or reuse a name, also get new ones. */
  findOthers(
    kid: string | undefined,
    alg: string,
    tried: readonly VerificationKey[],
  ): Promise<readonly VerificationKey[]>;
  holds(key: VerificationKey): boolean;
}

/** Checks signatures, a few at a time, so that forged ones cannot crowd out everything else. */
export class Signatures {
  readonly #keys: KeySource;
  readonly #turns = new Turns(crowded);

  constructor(keys: KeySource) {
    this.#keys = keys;
  }

  /** The key that signed the token. Rejects `token_invalid`. */
  async check(token: string, read: ReadToken): Promise<VerificationKey> {
    const { kid, alg } = read;
    const known = await this.#keys.find(kid, alg);
    const found = await this.#signer(token, alg, known);
    if (found !== undefined) return found;
    const others = await this.#keys.findOthers(kid, alg, known);
    const fresh = others.length === 0 ? undefined : await this.#signer(token, alg, others);
    if (fresh !== undefined) return fresh;
    throw invalid('The signature of the token is wrong.');
  }

  async #signer(token: string, alg: string, keys: readonly VerificationKey[]): Promise<VerificationKey | undefined> {
    return await this.#turns.take(async () => {
      for (const key of keys.slice(0, MAX_KEYS_TRIED)) {
        if (await isSignedWith(token, alg, key)) return key;
      }
      return undefined;
    });
  }
}

/** Denied, and not `busy`: whoever floods the gateway with forged tokens is not answered one by one. */
const crowded = (): PorchlightError =>
  new PorchlightError('token_invalid', 'Too many tokens are being verified.', {
    hint: 'Send it again in a moment; if this stays, somebody floods this gateway with tokens.',
  });

/** How each algorithm is spelt in OpenSSL's words (RFC 7518 section 3, RFC 8037 section 3.1). */
function schemeOf(alg: string, { key, crv }: VerificationKey): { hash: string | null; options: VerifyKeyObjectInput } {
  if (crv === 'Ed25519') return { hash: null, options: { key } };
  const hash = `sha${alg.slice(2)}`;
  if (alg.startsWith('ES')) return { hash, options: { key, dsaEncoding: 'ieee-p1363' } };
  const padding = alg.startsWith('PS') ? constants.RSA_PKCS1_PSS_PADDING : constants.RSA_PKCS1_PADDING;
  return { hash, options: { key, padding, saltLength: constants.RSA_PSS_SALTLEN_DIGEST } };
}

/** A short RSA check (its public exponent is small) is done sooner than another thread is woken; a curve's takes its time. */
const SHORT_RSA_BITS = 4096;

/** The header was judged before, and `fits` has chosen the key: what is left is arithmetic. */
function isSignedWith(token: string, alg: string, key: VerificationKey): boolean | Promise<boolean> {
  const end = token.lastIndexOf('.');
  const input = Buffer.from(token.slice(0, end));
  const signature = Buffer.from(token.slice(end + 1), 'base64url');
  const { hash, options } = schemeOf(alg, key);
  const { modulusLength = Number.POSITIVE_INFINITY, publicExponent = 0n } = key.key.asymmetricKeyDetails ?? {};
  if (modulusLength <= SHORT_RSA_BITS && publicExponent <= 65_537n) return verify(hash, input, options, signature);
  return new Promise((resolve, reject) => {
    verify(hash, input, options, signature, (error, good) => {
      if (error === null) resolve(good);
      else reject(new PorchlightError('token_invalid', undefined, { cause: error }));
    });
  });
}
