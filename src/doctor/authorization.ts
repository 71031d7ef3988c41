import type { HouseConfig } from '../config/schema.ts';
import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import { discover, type EndpointName, type ServerMetadata } from '../oauth/discovery.ts';
import { networkReason } from '../oauth/network-reason.ts';
import type { ServerDate } from './clock.ts';
import { type Finding, fail, LONGEST_LOOK, ok, warn } from './finding.ts';

/** Less of this is sent than of anything: a key set is a few KiB. */
const LONGEST_KEYS = 256 * 1024;

export interface ServerLook {
  readonly findings: readonly Finding[];
  readonly date?: ServerDate;
}

/** What a look needs of the outside. */
export interface Net {
  readonly fetch: typeof fetch;
  readonly clock: Clock;
}

const CHECK = 'authorization server';

/** Finds the authorization server as the gateway would, and sees whether its endpoints answer. No token, no secret is sent. */
export async function lookAtServer(
  authorization: NonNullable<HouseConfig['authorization']>,
  { fetch, clock }: Net,
  signal: AbortSignal,
): Promise<ServerLook> {
  const dated = new DatedFetch(fetch, clock);
  const late = AbortSignal.any([signal, AbortSignal.timeout(LONGEST_LOOK)]);
  const needs: readonly EndpointName[] = ['device_authorization_endpoint', 'token_endpoint'];
  const { issuer, endpoints } = authorization;
  const findings: Finding[] = [];
  let metadata: ServerMetadata | undefined;
  try {
    metadata = await discover(issuer, { fetch: dated.fetch, signal: late, endpoints, needs });
  } catch (thrown) {
    findings.push(failure(thrown, issuer, late, signal));
  }
  if (metadata !== undefined) findings.push(...(await reached(metadata, needs, dated.fetch, late, issuer, signal)));
  return { findings, ...(dated.date !== undefined && { date: dated.date }) };
}

/**
 * A request of which an honest endpoint says only that everything is missing (400 or 401: RFC 6749 section 5.2, RFC 8628 section 3.2).
 * Nothing begins with it. A GET says less: servers that know only POST there answer 404 to it.
 */
const ASKS_NOTHING: RequestInit = {
  method: 'POST',
  headers: { accept: 'application/json' },
  body: new URLSearchParams(),
};

/** Each endpoint that will be needed answers. */
async function reached(
  metadata: ServerMetadata,
  needs: readonly EndpointName[],
  fetch: typeof globalThis.fetch,
  late: AbortSignal,
  issuer: string,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const found = await Promise.all(
    needs.map(async (name): Promise<Finding | undefined> => {
      const address = metadata[name];
      if (address === undefined) return undefined;
      const answer = await tryFetch(fetch, address, late, ASKS_NOTHING);
      if (answer instanceof PorchlightError) return failure(answer, address, late, signal);
      await answer.body?.cancel();
      if (answer.status === 404 || answer.status === 410)
        return warn(
          CHECK,
          `Its ${name} answers ${answer.status}: is the address right?`,
          'See authorization.endpoints.',
        );
      if (answer.status >= 500)
        return warn(CHECK, `Its ${name} answers HTTP ${answer.status}.`, 'Ask whoever runs the server.');
      return undefined;
    }),
  );
  const wrong = found.filter((one) => one !== undefined);
  return wrong.length > 0 ? wrong : [ok(CHECK, `${issuer} answers, with a device and a token endpoint`)];
}

async function tryFetch(
  fetch: typeof globalThis.fetch,
  address: string,
  signal: AbortSignal,
  init: RequestInit = {},
): Promise<Response | PorchlightError> {
  try {
    return await fetch(address, { ...init, redirect: 'manual', signal });
  } catch (thrown) {
    const host = URL.canParse(address) ? new URL(address).host : 'an unusable address';
    return new PorchlightError('server_unreachable', `The server at ${host} ${networkReason(thrown)}.`, {
      cause: thrown,
    });
  }
}

function failure(thrown: unknown, address: string, late: AbortSignal, signal: AbortSignal): Finding {
  const error = asPorchlightError(thrown);
  if (late.aborted && !signal.aborted) {
    const host = URL.canParse(address) ? new URL(address).host : address;
    return fail(CHECK, 'server_unreachable', `The server at ${host} did not answer within ${LONGEST_LOOK / 1000} s.`);
  }
  const authority = /authority that is not trusted|nobody vouches for/.test(error.message);
  const cure = authority
    ? 'Let this machine trust its authority: start the gateway with NODE_EXTRA_CA_CERTS=/path/to/authority.crt.'
    : error.hint;
  return fail(CHECK, error.code === 'internal' ? 'server_unreachable' : error.code, error.message, cure);
}

/** Can the keys be had by which command tokens are judged? */
export async function lookAtKeys(
  { access, authorization }: HouseConfig,
  { fetch }: Net,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  if (access.issuer === undefined || access.audience === undefined) return [];
  const late = AbortSignal.any([signal, AbortSignal.timeout(LONGEST_LOOK)]);
  const wrong = (message: string, cure?: string): readonly Finding[] => [fail('keys', 'server_answer', message, cure)];
  let address = access.issuer === authorization?.issuer ? authorization.endpoints?.jwks : undefined;
  try {
    address ??= (await discover(access.issuer, { fetch, signal: late, needs: ['jwks_uri'] })).jwks_uri;
  } catch (thrown) {
    // The same server was already found out of reach above; another one is named here.
    const { check: _, ...finding } = failure(thrown, access.issuer, late, signal);
    return access.issuer === authorization?.issuer ? [] : [{ check: 'keys', ...finding }];
  }
  if (address === undefined) return wrong('The issuer of command tokens publishes no keys.');
  const answer = await tryFetch(fetch, address, late);
  if (answer instanceof PorchlightError) {
    const { check: _, ...finding } = failure(answer, address, late, signal);
    return [{ check: 'keys', ...finding }];
  }
  const count = await countKeys(answer);
  if (count === undefined)
    return wrong(
      `What stands at ${address} is no set of keys (HTTP ${answer.status}).`,
      'Ask whoever runs the server.',
    );
  if (count === 0)
    return wrong('The issuer of command tokens publishes an empty set of keys.', 'Ask whoever runs the server.');
  return [ok('keys', `${count} ${count === 1 ? 'key' : 'keys'} to judge command tokens by`)];
}

async function countKeys(answer: Response): Promise<number | undefined> {
  if (answer.status !== 200) return undefined;
  let size = 0;
  const pieces: Uint8Array[] = [];
  try {
    for await (const piece of answer.body ?? []) {
      const bytes: unknown = piece;
      if (!(bytes instanceof Uint8Array)) continue;
      size += bytes.byteLength;
      if (size > LONGEST_KEYS) return undefined;
      pieces.push(bytes);
    }
    const set: unknown = JSON.parse(Buffer.concat(pieces).toString('utf8'));
    const keys = typeof set === 'object' && set !== null && 'keys' in set ? set.keys : undefined;
    return Array.isArray(keys) ? keys.length : undefined;
  } catch {
    // Not JSON, or it broke off: either way there are no keys.
    return undefined;
  }
}

/** `fetch` that remembers the last `Date` header (RFC 9110 section 6.6.1) and how our clock stood to it. */
class DatedFetch {
  date: ServerDate | undefined;
  readonly #fetch: typeof fetch;
  readonly #clock: Clock;

  constructor(inner: typeof fetch, clock: Clock) {
    this.#fetch = inner;
    this.#clock = clock;
  }

  readonly fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const answer = await this.#fetch(input, init);
    const header = answer.headers.get('date');
    const said = header === null ? Number.NaN : Date.parse(header);
    if (header !== null && Number.isFinite(said)) {
      this.date = { header, ahead: this.#clock.wall() - said, verified: String(input).startsWith('https:') };
    }
    return answer;
  };
}
