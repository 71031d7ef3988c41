import type { Entry } from './record.ts';

/** What the trail looks at in how the gateway stands with its authorization server. */
export interface Standing {
  readonly state: 'unauthorized' | 'pending' | 'authorized' | 'grace' | 'relink_needed';
  readonly reason?: string;
  readonly subject?: string;
  readonly expires_at?: string;
  readonly code_expires_at?: string;
  readonly problem?: { readonly code: string };
}

/**
 * Tells what befell the authorization, from how it stands: a code was shown (never which), approved, refused, the grant was lost.
 * Renewals are too many to be told; that the server can not be reached and the grant goes on meanwhile (`grace`) is told.
 */
export class AuthorizationWatch {
  readonly #note: (entry: Entry) => void;
  #before: Standing | undefined;
  /** How it stood when the code that is being shown came up. */
  #atCode: Standing | undefined;

  constructor(note: (entry: Entry) => void) {
    this.#note = note;
  }

  now(now: Standing): void {
    const before = this.#before;
    this.#before = now;
    const by = now.subject ?? 'unknown';
    const { code_expires_at, problem, state } = now;
    if (code_expires_at !== undefined && code_expires_at !== before?.code_expires_at) {
      this.#atCode ??= before ?? now;
      this.#note({ event: 'code_shown', by: 'gateway', expires_at: code_expires_at });
    }
    const atCode = this.#atCode;
    if (code_expires_at === undefined) this.#atCode = undefined;
    if (code_expires_at === undefined && atCode !== undefined && problem === undefined && isNewGrant(atCode, now)) {
      this.#note({ event: 'approved', by });
      return;
    }
    if (problem !== undefined && problem.code !== before?.problem?.code && REFUSALS.includes(problem.code))
      this.#note({ event: 'approval_refused', by: 'unknown', code: problem.code });
    if (before?.state === state && before.reason === now.reason) return;
    // While a code is up the grant is told as an approval, once the code is gone.
    if (state === 'authorized' && code_expires_at !== undefined) return;
    for (const entry of standingEvents(before, now, by)) this.#note(entry);
  }
}

function isNewGrant(before: Standing, now: Standing): boolean {
  if (now.state !== 'authorized') return false;
  return before.state !== 'authorized' || now.expires_at === undefined || before.expires_at !== now.expires_at;
}

const REFUSALS: readonly string[] = ['approval_denied', 'approval_expired', 'server_refused'];

function standingEvents(before: Standing | undefined, now: Standing, by: string): readonly Entry[] {
  switch (now.state) {
    case 'authorized':
      return [{ event: 'authorized', by }];
    case 'grace':
      return [{ event: 'grace', by }];
    case 'relink_needed':
      return [{ event: 'grant_lost', by, reason: now.reason ?? 'unknown' }];
    case 'unauthorized':
      return before === undefined || before.state === 'pending' ? [] : [{ event: 'unauthorized', by: 'gateway' }];
    case 'pending':
      return [];
  }
}
