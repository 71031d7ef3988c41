import { PorchlightError } from '../errors.ts';
import { sleep } from '../task-group.ts';
import { type BackOff, backOff } from './back-off.ts';
import { verdict } from './device-flow.ts';
import type { Identity } from './identity.ts';
import type { Reply } from './wire.ts';

export interface OwnerParts {
  readonly server: { identityOf(idToken: string, signal: AbortSignal): Promise<Reply<Identity>> };
  readonly random: () => number;
  readonly onProblem: (problem: PorchlightError) => void;
}

/** The keys of a server that has just sent an id_token are asked for this often before the approval is given up. */
const KEY_TRIES = 8;
const KEYS_AGAIN: BackOff = { first: 1_000, longest: 30_000 };

/**
 * Whom an approval's id_token names. The approval is in hand and can not be had again, so keys that are out of reach are
 * asked for again. Rejects with `server_answer`, `server_unreachable` or `stopping`.
 */
export async function whoApproved(
  idToken: string,
  { server, random, onProblem }: OwnerParts,
  signal: AbortSignal,
): Promise<Identity> {
  for (let failures = 1; ; failures += 1) {
    const reply = await server.identityOf(idToken, signal);
    if (reply.kind === 'answered') return reply.value;
    if (reply.kind === 'refused') throw verdict(reply.error, reply.description);
    if (reply.kind === 'nonsense' || failures === KEY_TRIES) throw reply.problem;
    onProblem(reply.problem);
    await sleep(backOff(KEYS_AGAIN, failures, random, reply.retryAfter), signal);
    if (signal.aborted) throw new PorchlightError('stopping');
  }
}

/** Why an approval does not count. */
export function notTheOwner(subject: string | undefined): PorchlightError {
  const message =
    subject === undefined
      ? 'The authorization server does not say who approved, so it can not be known that it was the owner.'
      : 'Somebody other than the owner of this gateway approved it.';
  const hint =
    'Let the owner approve ("porchlight login"); to give the gateway to somebody else, "porchlight logout" first.';
  return new PorchlightError('approval_denied', message, { hint });
}
