import { allowInsecureRequests, customFetch } from 'oauth4webapi';
import * as z from 'zod';
import { asPorchlightError, type ErrorCode, PorchlightError } from '../errors.ts';
import { printable } from '../log.ts';
import type { Dialect, Purpose, WireRequest } from './dialects/dialect.ts';
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
  | { readonly kind: 'refused'; readonly error: string; readonly description?: string; readonly status: number }
  /** Nothing that decides anything: no network, 5xx, 429, a page instead of JSON. It may pass. */
  | { readonly kind: 'fault'; readonly problem: PorchlightError; readonly retryAfter?: number }
  /** A JSON answer that breaks the protocol. */
  | { readonly kind: 'nonsense'; readonly problem: PorchlightError };

/** How to reach one server. */
export interface Wire {
  readonly fetch: Fetch;
  readonly dialect: Dialect;
  readonly signal: AbortSignal;
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
  /** Values of the request that must not come back in an error text. */
  readonly secrets: readonly string[];
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
const SECRET_PARAMETERS = ['device_code', 'refresh_token', 'token', 'client_secret'];
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
  try {
    await send({
      [customFetch]: async (url, { method, headers, body }) => {
        const plain = { purpose, url, method, headers };
        received = await exchange(wire, body === undefined ? plain : { ...plain, body });
        return new Response(null);
      },
      // Which addresses may be plain http was decided when the metadata was read.
      [allowInsecureRequests]: true,
    });
  } catch (thrown) {
    if (wire.signal.aborted) throw new PorchlightError('stopping');
    const problem = asPorchlightError(thrown, 'server_unreachable');
    return problem.code === 'config_invalid' ? { kind: 'nonsense', problem } : { kind: 'fault', problem };
  }
  if (received === undefined) throw new PorchlightError('internal', 'A request was never sent.');
  const sorted = sort(received, purpose === 'revocation');
  if (sorted.kind !== 'answered') return sorted;
  try {
    return { kind: 'answered', value: await judge(sorted.value) };
  } catch (thrown) {
    return { kind: 'nonsense', problem: asPorchlightError(thrown, 'server_answer') };
  }
}

/** RFC 7009 answers have no body; all others must. RFC 8628 clients meet 200 with `error`, 401 for pending, 428, 403: the `error` member decides first, then the status. */
function sort(
  { status, retryAfter, body, secrets }: Received,
  mayBeEmpty: boolean,
): Reply<Readonly<Record<string, unknown>>> {
  const passing = status >= 500 || status === 408 || status === 425 || status === 429;
  const wait = retryAfter === undefined ? {} : { retryAfter };
  const error = body?.['error'];
  if (typeof error === 'string' && error !== '' && (SPOKEN.has(error) || !passing)) {
    const description = body?.['error_description'];
    const tells = typeof description === 'string' && !secrets.some((secret) => description.includes(secret));
    return {
      kind: 'refused',
      error: printable(error, 60),
      status,
      ...(tells ? { description: printable(description) } : {}),
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
  const request = wire.dialect.request(standard);
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
    const parsed = parseObject(await orAborted(readBounded(given), signal));
    const { status, body } = wire.dialect.answer(
      { status: given.status, ...(parsed === undefined ? {} : { body: parsed }) },
      request,
    );
    const retryAfter = parseRetryAfter(given.headers.get('retry-after'));
    const secrets = SECRET_PARAMETERS.flatMap((name) => request.body?.getAll(name) ?? []).filter((text) => text !== '');
    return {
      status,
      secrets,
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

/** RFC 9110 section 10.2.3, the form in seconds only: the date form needs a wall clock, which may be wrong here. */
function parseRetryAfter(header: string | null): number | undefined {
  if (header === null || !/^\s*\d{1,9}\s*$/.test(header)) return undefined;
  return Math.min(Number(header) * 1000, LONGEST_RETRY_AFTER);
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
