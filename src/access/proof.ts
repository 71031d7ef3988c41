import { compactVerify, errors } from 'jose';
import { PorchlightError } from '../errors.ts';
import type { Proof } from '../lights/command.ts';
import type { Clock } from '../lights/port.ts';
import type { Log } from '../log.ts';
import type { StateFile } from '../storage/state-directory.ts';
import {
  base64urlSha256,
  invalidProof,
  type ProofClaims,
  type ProofKey,
  readProof,
  readProofKey,
} from './proof-claims.ts';
import { ProofMark } from './proof-mark.ts';
import { crowded, missing, REFUSALS, SIGN_ANEW, unbound, unfit, unkept } from './proof-refusals.ts';
import { ReplayMemory } from './replay.ts';
import type { TokenPrincipal } from './token.ts';
import { Turns } from './turns.ts';

/** Judges the proof of a bound command. Rejects `proof_missing`, `proof_invalid`, `replayed`, `too_old` or `clock_untrusted`. */
export interface ProofVerifier {
  verify(proof: Proof | undefined, token: string, principal: TokenPrincipal): Promise<void>;
}

/** A sender's clock may be this far ahead of ours (FAPI 2.0 section 5.3.2.1: 10 s must be accepted). */
export const AHEAD_MS = 10_000;
/** Keys of proofs that are kept ready to verify with. */
const MAX_KEYS = 256;

export interface CommandProofsOptions {
  /** `gateway.id`: a proof is for one gateway. */
  readonly gatewayId: string;
  /** `access.max_age`. */
  readonly maxAgeMs: number;
  readonly clock: Clock;
  /** Wall-clock ms; undefined while the clock is not trusted. */
  readonly trustedSince: () => number | undefined;
  /** Keeps over a restart what a new process could not know. */
  readonly file: Pick<StateFile, 'load' | 'save'>;
  readonly log: Log;
}

/**
 * Judges proofs: a message that was recorded on its way moves no lamp on another topic, at another gateway, with other bytes, with
 * another token, another Response Topic, later, or a second time. The exact copy of a message, octet by octet, passes once more as a
 * repeat (MQTT delivers QoS 1 at least once): it may be given the first one's outcome, and never acts.
 */
export class CommandProofs implements ProofVerifier {
  readonly #options: CommandProofsOptions;
  readonly #replays: ReplayMemory;
  readonly #mark: ProofMark;
  readonly #turns = new Turns(crowded);
  /** By header, least recently used first. Only keys of tokens that were good. */
  readonly #keys = new Map<string, ProofKey>();
  readonly #repeats = new WeakSet<Proof>();
  /** By key: the newest of those under way. */
  readonly #last = new Map<string, Promise<void>>();
  #ready: Promise<void> | undefined;
  /** An earlier process may have used proofs up to the very start of this one. */
  #crashedBefore = false;

  constructor(options: CommandProofsOptions) {
    const { maxAgeMs, clock, file, log } = options;
    this.#options = options;
    this.#replays = new ReplayMemory({ acceptedMs: maxAgeMs + AHEAD_MS, clock });
    this.#mark = new ProofMark(file, clock, log);
  }

  /** How many uses are remembered. */
  get remembered(): number {
    return this.#replays.size;
  }

  /** Is this proof, which passed `verify`, a copy of one that passed before? What comes with it must not act. */
  isRepeat(proof: Proof): boolean {
    return this.#repeats.has(proof);
  }

  /** Notes down what was used, for the next process. */
  async close(): Promise<void> {
    await this.#mark.close();
  }

  /** `token` was verified, and `principal` is whom it names: nobody else's proofs cost a signature or are remembered. */
  async verify(proof: Proof | undefined, token: string, principal: TokenPrincipal): Promise<void> {
    const { keyThumbprint, by } = principal;
    if (keyThumbprint === undefined) throw unbound(proof);
    if (proof === undefined) throw missing();
    const { header, claims } = readProof(proof.jwt);
    this.#judgeTimes(claims);
    this.#judgeMessage(claims, proof, token);
    const key = this.#keyOf(header, keyThumbprint);
    await this.#inOrder(keyThumbprint, async (before) => {
      await this.#turns.take(() => checkSignature(proof.jwt, key));
      await this.#prepare();
      await before;
      // Time has passed. From here to the use there is no pause, so that of two copies one is the first.
      this.#judgeTimes(claims);
      const { iat: issuedAt, jti } = claims;
      const use = this.#replays.use({ by, thumbprint: keyThumbprint, jti, issuedAt, jwt: proof.jwt });
      if (use === 'again') this.#repeats.add(proof);
      else if (use === 'first') await this.#pass(issuedAt);
      else throw REFUSALS[use]();
    });
  }

  /**
   * Signatures are checked side by side, but a sender's commands go on in the order in which they came: the newest one must win.
   * `before` resolves when the one before is done, well or badly.
   */
  async #inOrder(thumbprint: string, judge: (before: Promise<void> | undefined) => Promise<void>): Promise<void> {
    const work = judge(this.#last.get(thumbprint));
    const done = work.catch(() => undefined);
    this.#last.set(thumbprint, done);
    try {
      await work;
    } finally {
      if (this.#last.get(thumbprint) === done) this.#last.delete(thumbprint);
    }
  }

  /** Comparisons are written so that NaN is refused. */
  #judgeTimes({ iat, exp, nbf }: ProofClaims): void {
    const { clock, maxAgeMs, trustedSince } = this.#options;
    const since = trustedSince();
    if (since === undefined) throw new PorchlightError('clock_untrusted');
    const now = clock.wall();
    for (const [claim, seconds] of [['iat', iat] as const, ['nbf', nbf ?? 0] as const]) {
      if (!(seconds * 1000 <= now + AHEAD_MS)) {
        throw invalidProof(
          `The claim "${claim}" of the proof is in the future.`,
          'Set the clock of the sender; it is ahead of the clock of this gateway by more than ten seconds.',
        );
      }
    }
    if (!(now - iat * 1000 <= maxAgeMs)) {
      throw new PorchlightError('too_old', 'The proof is older than access.max_age.', { hint: SIGN_ANEW });
    }
    // Times are in whole seconds: one from the second in which trust began is from before that only where it could have been used.
    if (!(this.#crashedBefore ? iat * 1000 > since : iat >= Math.floor(since / 1000))) {
      throw new PorchlightError(
        'too_old',
        'The proof was issued before this gateway had started and trusted its clock.',
        {
          hint: SIGN_ANEW,
        },
      );
    }
    if (exp !== undefined && !(now < exp * 1000)) {
      throw new PorchlightError('too_old', 'The proof has expired (its "exp").', { hint: SIGN_ANEW });
    }
  }

  #judgeMessage(claims: ProofClaims, { topic, responseTopic, payload }: Proof, token: string): void {
    if (claims.gateway !== this.#options.gatewayId) {
      throw unfit('gateway', 'It must be the gateway.id of the gateway that the command is for.');
    }
    if (claims.topic !== topic) throw unfit('topic', 'It must be the topic that the command is published to.');
    if (claims.response_topic !== responseTopic) {
      throw unfit('response_topic', 'It must be the Response Topic of the message, or absent where that has none.');
    }
    if (claims.ath !== base64urlSha256(token)) {
      throw unfit('ath', 'It must be the base64url SHA-256 of the access token that the command carries.');
    }
    if (claims.payload !== base64urlSha256(payload)) {
      throw unfit('payload', 'It must be the base64url SHA-256 of the bytes of the payload, exactly as they are sent.');
    }
  }

  #keyOf(header: string, thumbprint: string): ProofKey {
    const key = this.#keys.get(header) ?? readProofKey(header);
    if (key.thumbprint !== thumbprint) {
      throw invalidProof(
        'The proof is signed with another key than the one that the token is bound to (its "cnf").',
        'Sign with the key that the access token was requested with.',
      );
    }
    this.#keys.delete(header);
    this.#keys.set(header, key);
    if (this.#keys.size > MAX_KEYS) {
      for (const oldest of this.#keys.keys()) {
        this.#keys.delete(oldest);
        break;
      }
    }
    return key;
  }

  /** Before the first use: how far did earlier processes use proofs? */
  async #prepare(): Promise<void> {
    this.#ready ??= this.#mark.load().then(
      ({ until, exact }) => {
        if (until !== undefined) this.#replays.forbidUntil(until);
        this.#crashedBefore = !exact;
      },
      (err: unknown) => {
        // Then as far as they could have.
        const { trustedSince, clock, log } = this.#options;
        log.warn({ err }, 'how far proofs were used before cannot be read; signed commands wait some seconds');
        this.#crashedBefore = true;
        this.#replays.forbidUntil(((trustedSince() ?? clock.wall()) + AHEAD_MS) / 1000);
      },
    );
    await this.#ready;
  }

  async #pass(issuedAt: number): Promise<void> {
    try {
      await this.#mark.pass(issuedAt);
    } catch (thrown) {
      this.#options.log.warn({ err: thrown }, 'how far proofs were used cannot be saved');
      throw unkept(thrown);
    }
  }
}

/** Signature verified with the key that the proof itself names, which the token vouches for. */
async function checkSignature(jwt: string, { alg, key }: ProofKey): Promise<void> {
  try {
    await compactVerify(jwt, key.key, { algorithms: [alg] });
  } catch (thrown) {
    if (thrown instanceof errors.JOSEError || thrown instanceof TypeError) {
      throw invalidProof('The signature of the proof is wrong.');
    }
    throw new PorchlightError('proof_invalid', undefined, { cause: thrown });
  }
}
