import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Command } from '../lights/command.ts';
import type { Principal } from '../lights/outcome.ts';
import type { Clock } from '../lights/port.ts';
import { Limiter } from '../limiter.ts';
import { type Log, printable } from '../log.ts';
import type { Policy } from './policy.ts';
import type { ProofVerifier } from './proof.ts';
import type { TokenPrincipal, TokenVerifier } from './token.ts';

/** A sender's clock may be this far ahead of ours: as far as a trusted clock may itself be wrong. */
const SENT_AHEAD_MS = 60_000;

export interface GateOptions {
  readonly verifier: Pick<TokenVerifier, 'verify' | 'judgeAgain'>;
  readonly proofs: ProofVerifier;
  /** `access.require`: is a token enough, or must each command be signed with its key? */
  readonly require: 'bearer' | 'bound';
  readonly policy: Pick<Policy, 'decide'>;
  /** `access.max_age`. */
  readonly maxAgeMs: number;
  readonly clock: Clock;
  readonly clockTrusted: () => boolean;
  readonly log: Log;
}

/** A command that may go on to its lamp. */
export interface Admitted {
  readonly principal: Principal | TokenPrincipal;
  /**
   * Monotonic ms: the right to act ends here, by `max_age`, by the sender's `expires_in`, with the token or with the hours in which
   * this is allowed, whichever is first.
   */
  readonly until: number;
  /**
   * To be asked at the moment of actuation: why the command must not be carried out any more; undefined: it still may. The lamp may
   * have been out of reach for a while. Never throws.
   */
  readonly refusal: () => PorchlightError | undefined;
}

/** The one door that every command passes, whichever way it came. */
export class Gate {
  readonly #options: GateOptions;
  /** One line a second: a flood of refusals must not wear out an SD card. */
  readonly #logged = new Limiter(1000);
  #told = 0;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** Resolves when the command may act; rejects with the PorchlightError that says why it may not. */
  async admit(command: Command): Promise<Admitted> {
    try {
      return await this.#judge(command);
    } catch (thrown) {
      const error = asPorchlightError(thrown);
      this.#log(command, error);
      throw error;
    }
  }

  async #judge(command: Command): Promise<Admitted> {
    if (command.retained) throw await this.#named(command, new PorchlightError('retained'));
    try {
      this.#judgeAge(command);
    } catch (thrown) {
      throw await this.#named(command, asPorchlightError(thrown));
    }
    const principal = await this.#principalOf(command);
    await this.#prove(command, principal);
    // Verifying may have waited for the authorization server.
    this.#judgeAge(command);
    return this.#admitted(command, principal, this.#decide(command, principal));
  }

  /** Until when the policy allows it, monotonic ms. */
  #decide(command: Command, principal: Principal | TokenPrincipal): number {
    try {
      return this.#monotonic(this.#options.policy.decide(principal, command));
    } catch (thrown) {
      const { code, message, hint } = asPorchlightError(thrown);
      throw new PorchlightError(code, message, { hint, cause: thrown, by: principal.by });
    }
  }

  #admitted(command: Command, principal: Principal | TokenPrincipal, hoursEnd: number): Admitted {
    const { clock, maxAgeMs, verifier } = this.#options;
    const tokenEnd = 'clientId' in principal ? this.#monotonic(principal.expiresAt) : Number.POSITIVE_INFINITY;
    const judgeAgain = (): void => {
      const now = clock.monotonic();
      // A wall clock that is set while the command waits moves neither end.
      if (now >= tokenEnd) throw new PorchlightError('token_expired', 'The token expired while the command waited.');
      if (now >= hoursEnd) throw new PorchlightError('policy', 'The hours in which this is allowed are over.');
      if ('clientId' in principal) verifier.judgeAgain(principal);
      this.#decide(command, principal);
    };
    return {
      principal,
      until: Math.min(command.receivedAt + maxAgeMs, command.expiresAt ?? Number.POSITIVE_INFINITY, tokenEnd, hoursEnd),
      refusal: () => {
        try {
          judgeAgain();
          return undefined;
        } catch (thrown) {
          return asPorchlightError(thrown);
        }
      },
    };
  }

  #monotonic(wall: number): number {
    const { clock } = this.#options;
    return clock.monotonic() + (wall - clock.wall());
  }

  /** A refusal that had not to ask who it was, with the name of whoever has the right to command: they are always answered. */
  async #named(command: Command, error: PorchlightError): Promise<PorchlightError> {
    try {
      const { by } = await this.#principalOf(command);
      return new PorchlightError(error.code, error.message, { hint: error.hint, cause: error, by });
    } catch (stranger) {
      const { by } = asPorchlightError(stranger);
      return by === undefined ? error : new PorchlightError(error.code, error.message, { hint: error.hint, by });
    }
  }

  async #principalOf({ credential }: Command): Promise<Principal | TokenPrincipal> {
    switch (credential.kind) {
      case 'local':
        return { by: 'local' };
      case 'broker':
        return { by: 'broker' };
      case 'bearer':
        return await this.#options.verifier.verify(credential.token, 'control');
    }
  }

  /** A bound token never commands without proof of its key, whatever is required here (RFC 9449 section 7.1). */
  async #prove({ credential }: Command, principal: Principal | TokenPrincipal): Promise<void> {
    if (credential.kind !== 'bearer' || !('clientId' in principal)) return;
    if (this.#options.require !== 'bound' && principal.keyThumbprint === undefined) return;
    try {
      await this.#options.proofs.verify(credential.proof, credential.token ?? '', principal);
    } catch (thrown) {
      const { code, message, hint } = asPorchlightError(thrown);
      throw new PorchlightError(code, message, { hint, cause: thrown, by: principal.by });
    }
  }

  /** Comparisons are written so that NaN is refused. */
  #judgeAge({ receivedAt, sentAt }: Command): void {
    const { clock, clockTrusted, maxAgeMs } = this.#options;
    if (!(clock.monotonic() - receivedAt <= maxAgeMs)) {
      throw new PorchlightError('too_old', 'The command waited here longer than access.max_age.', {
        hint: 'Send it again.',
      });
    }
    // A clock that we do not trust ourselves cannot prove anyone late.
    if (sentAt === undefined || !clockTrusted()) return;
    const age = clock.wall() - sentAt;
    if (!(age >= -SENT_AHEAD_MS)) {
      throw new PorchlightError('too_old', 'The command says that it was sent in the future.', {
        hint: 'Set the clock of the sender; it differs from the clock of this gateway by more than a minute.',
      });
    }
    if (!(age <= maxAgeMs)) throw new PorchlightError('too_old');
  }

  #log(command: Command, { code, message }: PorchlightError): void {
    if (!this.#logged.pass(this.#options.clock.monotonic())) return;
    const { kind, target, credential } = command;
    const unlogged = this.#logged.swallowed - this.#told;
    this.#told = this.#logged.swallowed;
    this.#options.log.info(
      { code, kind, target: printable(target, 80), credential: credential.kind, unlogged },
      `command refused: ${message}`,
    );
  }
}
