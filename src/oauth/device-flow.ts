import { PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import { sleep } from '../task-group.ts';
import type { DeviceCode } from './device-code.ts';
import type { TokenAnswer } from './tokens.ts';
import type { Reply } from './wire.ts';

/** RFC 8628 section 3.5: `slow_down` adds 5 seconds "for this and all subsequent requests". */
const SLOW_DOWN = 5_000;
/** After failures the gap doubles, but a person who has approved should not wait longer than this for the light. */
const LONGEST_GAP = 60_000;
/** A Retry-After is honoured up to here; the life of the code ends the flow anyway. */
const LONGEST_PATIENCE = 300_000;

/** What the flow needs to poll with. */
export interface Poller {
  redeem(deviceCode: string, signal: AbortSignal): Promise<Reply<TokenAnswer>>;
}

export interface PollOptions {
  readonly clock: Clock;
  /** Aborts at once, a request under way included: rejects with `stopping`. */
  readonly signal: AbortSignal;
  /** Ends the flow at the next wait; an answer under way is still taken, for it may be the approval. */
  readonly withdrawn: AbortSignal;
  /** Called when polling fails in a way that may pass, and with undefined when it works again. */
  readonly onFault?: (problem: PorchlightError | undefined) => void;
}

/**
 * Polls until the person has decided (RFC 8628 sections 3.4 and 3.5). Each gap is counted from the end of the last answer.
 * Only the server's word or the end of the code's life ends it, never the network. Rejects with `approval_denied`,
 * `approval_expired` (also when withdrawn), `server_refused`, `server_answer` or `stopping`.
 */
export async function awaitApproval(server: Poller, code: DeviceCode, options: PollOptions): Promise<TokenAnswer> {
  const { clock, signal, withdrawn, onFault } = options;
  const ended = AbortSignal.any([signal, withdrawn]);
  let interval = code.interval;
  let gap = interval;
  let faults = 0;
  for (;;) {
    await sleep(Math.min(gap, code.expires - clock.monotonic()), ended);
    if (signal.aborted) throw new PorchlightError('stopping');
    // Some servers say "pending" for ever (spring-authorization-server 1885), so the end is ours to know.
    if (withdrawn.aborted || clock.monotonic() >= code.expires) throw new PorchlightError('approval_expired');

    const reply = await server.redeem(code.device_code, signal);
    if (reply.kind === 'answered') return reply.value;
    if (reply.kind === 'nonsense') throw reply.problem;
    if (reply.kind === 'fault') {
      faults += 1;
      onFault?.(reply.problem);
      // Section 3.5: doubling is RECOMMENDED after a connection timeout.
      const doubled = Math.max(interval, Math.min(LONGEST_GAP, interval * 2 ** Math.min(faults, 20)));
      gap = patient(doubled, reply);
      continue;
    }
    if (faults > 0) onFault?.(undefined);
    faults = 0;
    if (reply.error === 'slow_down')
      interval = Math.max(interval + SLOW_DOWN, Math.min(reply.interval ?? 0, LONGEST_PATIENCE));
    else if (reply.error !== 'authorization_pending') throw verdict(reply.error, reply.description);
    gap = patient(interval, reply);
  }
}

function patient(gap: number, { retryAfter = 0 }: { readonly retryAfter?: number }): number {
  return Math.max(gap, Math.min(retryAfter, LONGEST_PATIENCE));
}

/** Why a refused request is refused, as a person would say it. */
export function verdict(error: string, description?: string): PorchlightError {
  switch (error) {
    case 'access_denied':
    // Entra's word for it (MicrosoftDocs/entra-docs, v2-oauth2-device-code).
    case 'authorization_declined':
      return new PorchlightError('approval_denied');
    case 'expired_token':
      return new PorchlightError('approval_expired');
  }
  const reason = REFUSALS.get(error) ?? `The authorization server refused this gateway (${error})`;
  const words = description === undefined ? '.' : `: ${description}${/[.!?]$/.test(description) ? '' : '.'}`;
  return new PorchlightError('server_refused', `${reason}${words}`);
}

const REFUSALS: ReadonlyMap<string, string> = new Map([
  ['invalid_client', 'The authorization server does not accept this gateway as its client (invalid_client)'],
  ['unauthorized_client', 'The authorization server does not let this client use device codes (unauthorized_client)'],
  ['unsupported_grant_type', 'The authorization server does not offer device codes (unsupported_grant_type)'],
  ['invalid_scope', 'The authorization server does not know a scope that is asked for (invalid_scope)'],
  ['invalid_target', 'The authorization server does not know the resource that is asked for (invalid_target)'],
  ['invalid_grant', 'The code is not valid any more (invalid_grant)'],
  ['invalid_request', 'The authorization server does not understand the request (invalid_request)'],
]);
