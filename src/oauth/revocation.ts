import { verdict } from './device-flow.ts';
import type { GrantRecord } from './grant.ts';
import type { Reply } from './wire.ts';

/** What came of logging out. */
export interface Revocation {
  /** False when the server could not be told: the tokens are forgotten here, but may live on there until they expire. */
  readonly revokedAtServer: boolean;
  /** Why not, for a person. */
  readonly message?: string;
}

export interface Revoker {
  revoke(token: string, hint: 'refresh_token' | 'access_token', signal: AbortSignal): Promise<Reply<boolean>>;
}

/** Logging out waits no longer than this for the server. */
const DEADLINE = 10_000;

/** Revokes what a record holds, the refresh token first: servers end the whole grant with it (RFC 7009 section 2.1). */
export async function revokeRecord(server: Revoker, record: GrantRecord | undefined): Promise<Revocation> {
  const { refresh_token, access_token } = record ?? {};
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), DEADLINE);
  try {
    if (refresh_token !== undefined) {
      const outcome = judge(await server.revoke(refresh_token, 'refresh_token', late.signal));
      // Not every server revokes access tokens (RFC 7009 section 2: MAY); once the refresh token is dead it matters little.
      if (outcome.revokedAtServer && access_token !== undefined)
        await server.revoke(access_token, 'access_token', late.signal);
      return outcome;
    }
    if (access_token !== undefined) return judge(await server.revoke(access_token, 'access_token', late.signal));
    return { revokedAtServer: false, message: 'There was no authorization to revoke.' };
  } catch (thrown) {
    if (!late.signal.aborted) throw thrown;
    return { revokedAtServer: false, message: 'The authorization server did not answer in time.' };
  } finally {
    clearTimeout(timer);
  }
}

function judge(reply: Reply<boolean>): Revocation {
  if (reply.kind === 'answered')
    return reply.value
      ? { revokedAtServer: true }
      : {
          revokedAtServer: false,
          message: 'The authorization server offers no revocation: remove the gateway in your account there.',
        };
  const problem = reply.kind === 'refused' ? verdict(reply.error, reply.description) : reply.problem;
  return { revokedAtServer: false, message: problem.message };
}
