import { createHash } from 'node:crypto';
import type { Clock } from '../lights/port.ts';

/** A slider at 60 commands a second, for as long as they are remembered. A flood by one key fills its own share only. */
const MAX_PER_KEY = 4096;
/** One principal may have many keys (phone, tablet, ...); all of them together get no more than this. About 3 MB. */
const MAX_PER_PRINCIPAL = 4 * MAX_PER_KEY;
/** Clocks tick differently; what is forgotten must already be too old to be used. */
const SLACK_MS = 1000;
/** Seconds. A clock that was wrong by more than this stood elsewhere, and what was used there tells nothing about today. */
const DAY = 86_400;

/** A proof that is good in every other respect. */
export interface UsedProof {
  /** Whose command it is; the configuration names them all, so that there are few. */
  readonly by: string;
  /** The thumbprint of the key that signed it. */
  readonly thumbprint: string;
  readonly jti: string;
  /** Seconds since 1970. */
  readonly issuedAt: number;
  readonly jwt: string;
}

/**
 * What a use is. `again`: the very same proof, octet by octet, was used before; `used`: its `jti` was, in another proof;
 * `forgotten`: it is from a time of which not all is remembered; `full`: this key, or its principal, has used too many.
 */
export type Use = 'first' | 'again' | 'used' | 'forgotten' | 'full';

interface Remembered {
  /** Monotonic ms. */
  readonly at: number;
  readonly by: string;
  readonly thumbprint: string;
  readonly issuedAt: number;
  /** Of the whole JWT. */
  readonly digest: string;
}

/**
 * Remembers which proofs were used, in bounded memory. Whatever the clocks do, no proof is ever used twice in one process: it is
 * remembered, or it was issued no later than something that was forgotten and is refused for that.
 */
export class ReplayMemory {
  readonly #keepMs: number;
  readonly #clock: Clock;
  /** By key and `jti`, in the order of their use, which is the order of being forgotten. */
  readonly #used = new Map<string, Remembered>();
  /** How many of them, by key (`k ...`) and by principal (`p ...`). */
  readonly #counts = new Map<string, number>();
  /** Seconds since 1970: up to here proofs are forgotten. */
  #forgottenUntil = Number.NEGATIVE_INFINITY;

  /** `acceptedMs`: how long a proof is accepted at most, from its first use to when it is too old. */
  constructor(options: { readonly acceptedMs: number; readonly clock: Clock }) {
    this.#keepMs = options.acceptedMs + SLACK_MS;
    this.#clock = options.clock;
  }

  /** How many are remembered. */
  get size(): number {
    return this.#used.size;
  }

  /** Proofs issued up to then (seconds since 1970) may have been used before this process began: they are refused. */
  forbidUntil(issuedAt: number): void {
    this.#forget(issuedAt);
  }

  /** Looks and remembers in one step, so that of two copies at the same time one is the first. */
  use(proof: UsedProof): Use {
    this.#sweep();
    const { by, thumbprint, issuedAt } = proof;
    const id = `${thumbprint} ${sha256(proof.jti)}`;
    const digest = sha256(proof.jwt);
    const known = this.#used.get(id);
    if (known !== undefined) return known.digest === digest ? 'again' : 'used';
    if (!(issuedAt > this.#forgottenUntil || issuedAt <= this.#forgottenUntil - DAY)) return 'forgotten';
    if (this.#count(`k ${thumbprint}`) >= MAX_PER_KEY || this.#count(`p ${by}`) >= MAX_PER_PRINCIPAL) return 'full';
    this.#used.set(id, { at: this.#clock.monotonic(), by, thumbprint, issuedAt, digest });
    this.#add(by, thumbprint, 1);
    return 'first';
  }

  #sweep(): void {
    const now = this.#clock.monotonic();
    for (const [id, { at, by, thumbprint, issuedAt }] of this.#used) {
      if (now - at <= this.#keepMs) return;
      this.#used.delete(id);
      this.#add(by, thumbprint, -1);
      this.#forget(issuedAt);
    }
  }

  #forget(issuedAt: number): void {
    this.#forgottenUntil = laterOf(this.#forgottenUntil, issuedAt);
  }

  #count(of: string): number {
    return this.#counts.get(of) ?? 0;
  }

  #add(by: string, thumbprint: string, change: 1 | -1): void {
    for (const of of [`k ${thumbprint}`, `p ${by}`]) {
      const count = this.#count(of) + change;
      if (count === 0) this.#counts.delete(of);
      else this.#counts.set(of, count);
    }
  }
}

/** The later of two times, unless the clock was so wrong at `known` that only `next` counts. Seconds since 1970. */
export function laterOf(known: number, next: number): number {
  return Math.abs(next - known) <= DAY ? Math.max(known, next) : next;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}
