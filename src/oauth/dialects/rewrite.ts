import type { Limit, WireAnswer, WireRequest } from './dialect.ts';

type Members = Readonly<Record<string, unknown>>;

/** The request with another form body. `change` gets a copy; a request without a body stays as it is. */
export function withForm(request: WireRequest, change: (form: URLSearchParams) => void): WireRequest {
  if (request.body === undefined) return request;
  const body = new URLSearchParams(request.body);
  change(body);
  return { ...request, body };
}

/** The answer with some members put in or replaced. */
export function withMembers(answer: WireAnswer, members: Members): WireAnswer {
  return { ...answer, body: { ...answer.body, ...members } };
}

/** A server's own word for a refusal, and what the standards call it. */
export interface Word {
  /** The `error` member, lower case; absent: any. */
  readonly error?: string;
  /** Found in `error_description`; absent: whatever it says. */
  readonly says?: RegExp;
  /** The word of RFC 6749 section 5.2 or RFC 8628 section 3.5. Absent: the same. */
  readonly means?: string;
  /** What to tell a person instead of the server's words: at most 200 characters, no full stop. Absent: the server's words. */
  readonly tell?: string;
  /** It decides nothing and may pass, whatever the status was: this status says so. */
  readonly passes?: 429 | 503;
}

/** Says a refusal in the words of the standards, by the first entry that fits. An answer without `error` stays as it is. */
export function inStandardWords(answer: WireAnswer, words: readonly Word[]): WireAnswer {
  const spoken = answer.body?.['error'];
  if (typeof spoken !== 'string') return answer;
  const described = answer.body?.['error_description'];
  const description = typeof described === 'string' ? described : '';
  const word = words.find(
    ({ error, says }) => (error ?? spoken.toLowerCase()) === spoken.toLowerCase() && (says?.test(description) ?? true),
  );
  if (word === undefined) return answer;
  const said = withMembers(answer, {
    error: word.means ?? spoken,
    ...(word.tell === undefined ? {} : { error_description: word.tell }),
  });
  return word.passes === undefined ? said : { ...said, status: word.passes };
}

/** RFC 7009 section 2.2: a token that is not alive counts as revoked. Some servers call that an error. */
export function deadIsRevoked(answer: WireAnswer, { purpose }: WireRequest): WireAnswer {
  return purpose === 'revocation' && answer.body?.['error'] === 'invalid_token' ? { status: 200, body: {} } : answer;
}

/** Servers whose access tokens only they can read. */
export function opaqueTokens(why: string): Limit {
  return {
    says: `${why}, so they cannot authorize commands: set access.issuer to a server that issues JWTs`,
    matters: ({ issuer, commandIssuer }) => commandIssuer === issuer,
  };
}

/** Scopes that are left out because this kind of server does not know them. */
export function without(...unknown: readonly string[]): (asked: readonly string[]) => readonly string[] {
  return (asked) => asked.filter((scope) => !unknown.includes(scope));
}
