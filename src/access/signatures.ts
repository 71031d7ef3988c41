import { compactVerify, errors } from 'jose';
import { PorchlightError } from '../errors.ts';
import { invalid, type ReadToken } from './claims.ts';
import type { VerificationKey } from './jwk.ts';

/** libuv's crypto threads: more at once would only wait there, unbounded. */
const AT_ONCE = 4;
/** At 0.1-1 ms each this is at most a quarter of a second; whoever comes later is refused at once. */
const MAX_WAITING = 256;
/** A token without `kid` may be of any fitting key; each costs a check. */
const MAX_KEYS_TRIED = 4;

/** Where the public keys come from. */
export interface KeySource {
  find(kid: string | undefined, alg: string): Promise<readonly VerificationKey[]>;
  holds(key: VerificationKey): boolean;
}

/** Checks signatures, a few at a time, so that forged ones cannot crowd out everything else. */
export class Signatures {
  readonly #keys: KeySource;
  #busy = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(keys: KeySource) {
    this.#keys = keys;
  }

  /** The key that signed the token. Rejects `token_invalid`. */
  async check(token: string, read: ReadToken): Promise<VerificationKey> {
    const candidates = await this.#keys.find(read.kid, read.alg);
    await this.#enter();
    try {
      for (const key of candidates.slice(0, MAX_KEYS_TRIED)) {
        if (await isSignedWith(token, read.alg, key)) return key;
      }
    } finally {
      this.#leave();
    }
    throw invalid('The signature of the token is wrong.');
  }

  async #enter(): Promise<void> {
    if (this.#busy < AT_ONCE) {
      this.#busy += 1;
      return;
    }
    if (this.#waiting.length >= MAX_WAITING) {
      const hint = 'Send it again in a moment; if this stays, somebody floods this gateway with tokens.';
      throw new PorchlightError('token_invalid', 'Too many tokens are being verified.', { hint });
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #leave(): void {
    const next = this.#waiting.shift();
    // The place goes straight to the one who waited longest.
    if (next === undefined) this.#busy -= 1;
    else next();
  }
}

async function isSignedWith(token: string, alg: string, { key }: VerificationKey): Promise<boolean> {
  try {
    await compactVerify(token, key, { algorithms: [alg] });
    return true;
  } catch (thrown) {
    if (thrown instanceof errors.JOSEError || thrown instanceof TypeError) return false;
    throw new PorchlightError('token_invalid', undefined, { cause: thrown });
  }
}
