import { PorchlightError } from '../errors.ts';
import type { Proof } from '../lights/command.ts';
import { invalidProof } from './proof-claims.ts';

/** What a sender does whose proof is too old. */
export const SIGN_ANEW = 'Sign the command anew and send it again; compare the clocks of sender and gateway.';

/** Why a proof that is good must not be used. */
export const REFUSALS = {
  used: () => new PorchlightError('replayed', 'The "jti" of the proof was already used, by another proof.'),
  forgotten: () =>
    new PorchlightError('too_old', 'The proof is from a time of which this gateway does not remember every command.', {
      hint: SIGN_ANEW,
    }),
  full: () =>
    new PorchlightError('busy', 'More commands were signed than this gateway can remember.', {
      hint: 'Send fewer commands; those of access.max_age are remembered.',
    }),
} as const;

/** As many proofs wait to be verified as may. */
export const crowded = (): PorchlightError =>
  new PorchlightError('busy', 'Too many signatures are being verified.', {
    hint: 'Send it again in a moment; if this stays, somebody floods this gateway with commands.',
  });

/** The proof is of another message. */
export function unfit(claim: string, hint: string): PorchlightError {
  return invalidProof(`The claim "${claim}" of the proof does not fit the command.`, hint);
}

/** The token names no key. */
export function unbound(proof: Proof | undefined): PorchlightError {
  const code = proof === undefined ? 'proof_missing' : 'proof_invalid';
  return new PorchlightError(code, 'This gateway takes bound commands only, and the token is bound to no key.', {
    hint: 'Get an access token that is bound to a key of yours by DPoP (RFC 9449), and sign each command with that key.',
  });
}

/** The token names a key, and nothing was signed with it. */
export function missing(): PorchlightError {
  return new PorchlightError('proof_missing', undefined, {
    hint: 'Send the MQTT 5 user property "proof" with a JWT of type porchlight-command+jwt; MQTT 3.1.1 can carry none.',
  });
}

/** A full disk, say. Only proofs that the next process could mistake for new ones are refused for that. */
export function unkept(cause: unknown): PorchlightError {
  return new PorchlightError('proof_invalid', 'The gateway cannot note down that this proof was used.', {
    hint: 'See the log of the gateway: its state directory cannot be used.',
    cause,
  });
}
