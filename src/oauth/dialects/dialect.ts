/** What a request to an authorization server is for; a dialect may treat each kind in its own way. */
export type Purpose = 'discovery' | 'keys' | 'device_authorization' | 'token' | 'revocation';

/** A request as it goes out, before the HTTP client sees it. */
export interface WireRequest {
  readonly purpose: Purpose;
  readonly url: string;
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  /** Form parameters; absent on a GET. */
  readonly body?: URLSearchParams;
}

/** An answer as it came in: `body` is absent when it was not one JSON object. */
export interface WireAnswer {
  readonly status: number;
  readonly body?: Readonly<Record<string, unknown>>;
}

/**
 * The peculiarities of one kind of authorization server, as an adapter at the wire: requests are rewritten from standard
 * form on their way out, answers into standard form on their way in. The flows above it speak only the standards.
 */
export interface Dialect {
  readonly id: string;
  request(request: WireRequest): WireRequest;
  answer(answer: WireAnswer, request: WireRequest): WireAnswer;
}
