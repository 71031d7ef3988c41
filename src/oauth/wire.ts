import { allowInsecureRequests, customFetch } from 'oauth4webapi';
import * as z from 'zod';
import { asPorchlightError, type ErrorCode, PorchlightError } from '../errors.ts';
import { printable } from '../log.ts';
import { challengedError } from './challenge.ts';
import type { Dialect, Purpose, WireAnswer, WireRequest } from './dialects/dialect.ts';
import { type Prover, proofRefused } from './dpop.ts';
import { Echo } from './echo.ts';
import { networkReason } from './network-reason.ts';
import type { Fetch } from './options.ts';

/** A server that has not answered completely after this long is treated as away (a body that drips counts too). */
export const REQUEST_DEADLINE = 10_000;
/** No honest answer of an authorization server is longer: metadata is ~5 KiB, a fat token ~8 KiB. */
export const LONGEST_BODY = 64 * 1024;
/** A server may ask for patience, but not for ever. */
const LONGEST_RETRY_AFTER = 3_600_000;

/** What came of asking the server. */
export type Reply<T> =
  | { readonly kind: 'answered'; readonly value: T }
  /** The server said no, in the words of RFC 6749 section 5.2 or RFC 8628 section 3.5. */
  | {
      readonly kind: 'refused';
      readonly error: string;
      readonly description?: string;
      readonly status: number;
      /** Milliseconds: how long the server wants to be left alone. */
      readonly retryAfter?: number;
      /** Milliseconds: the new gap between polls that comes with `slow_down` (GitHub). */
      readonly interval?: number;
    }
  /** Nothing that decides anything: no network, 5xx, 429, a page instead of JSON. It may pass. */
  | { readonly kind: 'fault'; readonly problem: PorchlightError; readonly retryAfter?: number }
  /** A JSON answer that breaks the protocol. */
  | { readonly kind: 'nonsense'; readonly problem: PorchlightError };

/** How to reach one server. */
export interface Wire {
  readonly fetch: Fetch;
  readonly dialect: Dialect;
  readonly signal: AbortSignal;
  /** What of earlier requests and answers must not come back in an error text. */
  readonly echo?: Echo;
  /** Signs what is sent (RFC 9449). */
  readonly prover?: Prover;
}

/** The options that oauth4webapi's request functions take from us. */
export interface SendOptions {
  readonly [customFetch]: (url: string, options: SendInit) => Promise<Response>;
  readonly [allowInsecureRequests]: boolean;
}

interface SendInit {
  readonly method: 'GET' | 'POST';
  readonly headers: Record<string, string>;
  readonly body?: URLSearchParams | undefined;
}

interface Received {
  readonly status: number;
  readonly retryAfter?: number;
  readonly body?: Readonly<Record<string, unknown>>;
  /** What must not come back in an error text. */
  readonly echo: Echo;
  /** It was refused only for want of the nonce that came with the refusal. */
  readonly wantsNonce: boolean;
}

/** Errors of the token endpoint that mean something to us whatever the HTTP status (servers disagree about it). */
const SPOKEN = new Set([
  'authorization_pending',
  'slow_down',
  'access_denied',
  'authorization_declined',
  'expired_token',
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'invalid_scope',
  'invalid_target',
  'unauthorized_client',
  'unsupported_grant_type',
]);
const JsonObject = z.record(z.string(), z.unknown());

/**
 * Sends one request made by `send` (an oauth4webapi request function) and sorts the answer; `judge` reads a JSON answer without
 * `error`, as a fresh 200 response. Redirects are never followed. Rejects only with `stopping`, when the signal aborts.
 */
export async function ask<T>(
  wire: Wire,
  purpose: Purpose,
  send: (options: SendOptions) => Promise<unknown>,
  judge: (body: Readonly<Record<string, unknown>>) => Promise<T> | T,
): Promise<Reply<T>> {
  let received: Received | undefined;
  const options: SendOptions = {
    [customFetch]: async (url, { method, headers, body }) => {
      const plain = { purpose, url, method, headers };
      received = await exchange(wire, body === undefined ? plain : { ...plain, body });
      return new Response(null);
    },
    // Which addresses may be plain http was decided when the metadata was read.
    [allowInsecureRequests]: true,
  };
  try {
    await send(options);
    // RFC 9449 section 8: once more with the nonce, and only once. The whole request is made anew, for an assertion in it is good
    // for one request only.
    if (received?.wantsNonce === true) await send(options);
  } catch (thrown) {
    if (wire.signal.aborted) throw new PorchlightError('stopping');
    const problem = asPorchlightError(thrown, 'server_unreachable');
    return problem.code === 'config_invalid' ? { kind: 'nonsense', problem } : { kind: 'fault', problem };
  }
  if (received === undefined) throw new PorchlightError('internal', 'A request was never sent.');
  const sorted = sort(received, purpose === 'revocation');
  if (sorted.kind === 'refused' && wire.prover !== undefined) return proofRefused(sorted.error) ?? sorted;
  if (sorted.kind !== 'answered') return sorted;
  try {
    return { kind: 'answered', value: await judge(sorted.value) };
  } catch (thrown) {
    return { kind: 'nonsense', problem: asPorchlightError(thrown, 'server_answer') };
  }
}

/** RFC 7009 answers have no body; all others must. RFC 8628 clients meet 200 with `error`, 401 for pending, 428, 403: the `error` member decides first, then the status. */
function sort(
  { status, retryAfter, body, echo }: Received,
  mayBeEmpty: boolean,
): Reply<Readonly<Record<string, unknown>>> {
  const error = body?.['error'];
  const passing =
    status >= 500 ||
    [408, 425, 429].includes(status) ||
    error === 'server_error' ||
    error === 'temporarily_unavailable';
  const wait = retryAfter === undefined ? {} : { retryAfter };
  if (typeof error === 'string' && error !== '' && (SPOKEN.has(error) || !passing)) {
    const description = body?.['error_description'];
    const words = typeof description === 'string' ? echo.without(description) : undefined;
    const name = SPOKEN.has(error) ? error : (echo.without(error) ?? 'an error that is not to be repeated');
    return {
      kind: 'refused',
      error: printable(name, 60),
      status,
      ...(words === undefined ? {} : { description: printable(words) }),
      ...wait,
      ...(error === 'slow_down' && Number(body?.['interval']) > 0
        ? { interval: Number(body?.['interval']) * 1000 }
        : {}),
    };
  }
  if (passing) {
    const problem = new PorchlightError(
      'server_unreachable',
      `The authorization server is not able to answer (HTTP ${status}).`,
    );
    return { kind: 'fault', problem, ...wait };
  }
  if (status >= 200 && status < 300 && (body !== undefined || mayBeEmpty))
    return { kind: 'answered', value: body ?? {} };
  return { kind: 'fault', problem: new PorchlightError('server_answer', oddAnswer(status)), ...wait };
}

function oddAnswer(status: number): string {
  if (status >= 300 && status < 400)
    return `The authorization server answered with a redirect (HTTP ${status}), which is never followed.`;
  if (status >= 200 && status < 300)
    return 'The authorization server answered with something that is not JSON. Does this network ask for a sign-in first?';
  return `The authorization server answered with HTTP ${status} and no reason.`;
}

async function exchange(wire: Wire, standard: WireRequest): Promise<Received> {
  const { echo = new Echo(), prover } = wire;
  // Signed is what goes out, at the address that it goes to.
  const plain = wire.dialect.request(standard);
  const signed = await prover?.prove(plain);
  const request = signed === undefined ? plain : { ...plain, headers: { ...plain.headers, dpop: signed.proof } };
  echo.sent(request.headers, request.body);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), REQUEST_DEADLINE);
  const signal = AbortSignal.any([wire.signal, late.signal]);
  try {
    const given = await orAborted(
      wire.fetch(request.url, {
        method: request.method,
        headers: request.headers,
        redirect: 'manual',
        signal,
        ...(request.body === undefined ? {} : { body: request.body }),
      }),
      signal,
    );
    const text = await orAborted(readBounded(given), signal);
    const parsed = parseObject(text);
    const answer = wire.dialect.answer(
      { status: given.status, text, ...(parsed === undefined ? {} : { body: parsed }) },
      request,
    );
    const { status } = answer;
    const body = isResource(standard.purpose) ? withChallenge(answer, given.headers) : answer.body;
    prover?.learn(request.url, given.headers.get('dpop-nonce'));
    const wantsNonce = prover !== undefined && body?.['error'] === 'use_dpop_nonce';
    const retryAfter = parseRetryAfter(given.headers);
    echo.received(body);
    return {
      status,
      echo,
      wantsNonce: wantsNonce && prover.nonceFor(request.url) !== signed?.nonce,
      ...(body === undefined ? {} : { body }),
      ...(retryAfter === undefined ? {} : { retryAfter }),
    };
  } catch (thrown) {
    if (thrown instanceof PorchlightError) throw thrown;
    const why = late.signal.aborted ? `did not answer within ${REQUEST_DEADLINE / 1000} s` : networkReason(thrown);
    throw new PorchlightError('server_unreachable', `The authorization server at ${hostOf(request.url)} ${why}.`, {
      cause: thrown,
    });
  } finally {
    clearTimeout(timer);
  }
}

function isResource(purpose: Purpose): boolean {
  return purpose === 'userinfo' || purpose === 'home';
}

/** The word for an answer that is a JWT (OpenID Connect Core section 5.3.2), as a client gets that registered for it: not read here. */
export const SIGNED_ANSWER = 'signed_answer';

/** A resource's refusal with its reason where that of an authorization server would be. */
function withChallenge({ status, body }: WireAnswer, headers: Headers): WireAnswer['body'] {
  if (/^application\/jwt\b/i.test(headers.get('content-type') ?? '')) return { error: SIGNED_ANSWER };
  if ((status !== 401 && status !== 403) || typeof body?.['error'] === 'string') return body;
  // RFC 6750 section 3.1: a 401 without a reason came without a token that the resource knows.
  const error = challengedError(headers) ?? (status === 401 ? 'invalid_token' : undefined);
  return error === undefined ? body : { ...body, error };
}

/** Not every HTTP client ends when told to; ours does not wait for one that goes on. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const give_up = (): void => reject(signal.reason);
    if (signal.aborted) give_up();
    signal.addEventListener('abort', give_up, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', give_up));
  });
}

/** The body as text, at most LONGEST_BODY bytes of it: a longer one is refused while it comes. */
async function readBounded(response: Response): Promise<string> {
  if (response.body === null) return '';
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of response.body) {
    const bytes: unknown = piece;
    if (!(bytes instanceof Uint8Array)) continue;
    size += bytes.byteLength;
    if (size > LONGEST_BODY) throw tooLong();
    pieces.push(bytes);
  }
  return Buffer.concat(pieces).toString('utf8');
}

const tooLong = (): PorchlightError =>
  new PorchlightError('server_answer', `The authorization server's answer is longer than ${LONGEST_BODY / 1024} KiB.`);

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return JsonObject.safeParse(JSON.parse(text)).data;
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return undefined;
    throw thrown;
  }
}

/** RFC 9110 section 10.2.3, in ms. A date is counted from the answer's own `Date`: the wall clock may be wrong here. */
function parseRetryAfter(headers: Headers): number | undefined {
  const header = headers.get('retry-after')?.trim() ?? '';
  if (/^\d{1,9}$/.test(header)) return Math.min(Number(header) * 1000, LONGEST_RETRY_AFTER);
  const [then, now] = [header, headers.get('date') ?? ''].map((date) =>
    / GMT$/.test(date) ? Date.parse(date) : Number.NaN,
  );
  const wait = (then ?? Number.NaN) - (now ?? Number.NaN);
  return wait >= 0 ? Math.min(wait, LONGEST_RETRY_AFTER) : undefined;
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : 'an unusable address';
}

/** A Response for oauth4webapi's process functions, from a body that was already read and bounded. */
export function asResponse(body: Readonly<Record<string, unknown>>): Response {
  return new Response(JSON.stringify(body), { headers: { 'content-type': 'application/json' } });
}

/** An error for an answer that breaks the protocol. */
export function nonsense(what: string, code: ErrorCode = 'server_answer', cause?: unknown): PorchlightError {
  return new PorchlightError(code, `The authorization server's answer makes no sense: ${what}.`, { cause });
}
