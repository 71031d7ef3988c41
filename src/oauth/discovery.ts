import { type AuthorizationServer, discoveryRequest, processDiscoveryResponse } from 'oauth4webapi';
import { PorchlightError } from '../errors.ts';
import { printable } from '../log.ts';
import type { Dialect } from './dialects/dialect.ts';
import { standard } from './dialects/standard.ts';
import { type Endpoints, type Fetch, isLoopback, parseIssuer } from './options.ts';
import { ask, asResponse, type Reply } from './wire.ts';

const ENDPOINTS = [
  ['device_authorization', 'device_authorization_endpoint'],
  ['token', 'token_endpoint'],
  ['revocation', 'revocation_endpoint'],
  ['introspection', 'introspection_endpoint'],
  ['userinfo', 'userinfo_endpoint'],
  ['jwks', 'jwks_uri'],
] as const;

export type EndpointName = (typeof ENDPOINTS)[number][1];

/** What is known about an authorization server: the members of RFC 8414 that this gateway uses, each address checked. */
export type ServerMetadata = {
  readonly issuer: string;
  /** RFC 9449 section 5.1: with which algorithms proofs may be signed; absent: the server does not say that it knows DPoP. */
  readonly dpop_signing_alg_values_supported?: string[];
} & { readonly [E in EndpointName]?: string };

export interface DiscoverOptions {
  readonly fetch: Fetch;
  readonly signal: AbortSignal;
  readonly endpoints?: Endpoints;
  /** What the caller can not do without. Nothing is fetched when `endpoints` gives it all. Default: device flow and token. */
  readonly needs?: readonly EndpointName[];
  readonly dialect?: Dialect;
}

/**
 * Finds a server's endpoints: RFC 8414 first (well-known inserted before the path), then OpenID Connect Discovery (appended).
 * `issuer` in the document must be the same text as the one asked for. Endpoints given by hand win.
 * Throws `config_invalid`, `server_unreachable`, `server_answer` or `stopping`.
 */
export async function discover(issuer: string, options: DiscoverOptions): Promise<ServerMetadata> {
  const url = parseIssuer(issuer);
  const needs = options.needs ?? ['device_authorization_endpoint', 'token_endpoint'];
  const preset = fromHand(options.dialect?.endpoints?.(url) ?? {});
  const given = readEndpoints(
    { ...preset, ...present(fromHand(options.endpoints ?? {})) },
    url,
    () => 'config_invalid',
  );
  if (missing(given, needs) === undefined) return { issuer, ...given };

  let problem: PorchlightError | undefined;
  for (const algorithm of ['oauth2', 'oidc'] as const) {
    const reply = await fetchDocument(url, issuer, algorithm, options);
    if (reply.kind === 'answered') {
      // What we do not need is left out when it is unusable; what we need must be right, unless given by hand.
      const matters = (name: EndpointName): boolean => needs.includes(name) && given[name] === undefined;
      const metadata = {
        issuer,
        ...readAlgorithms(reply.value.dpop_signing_alg_values_supported),
        ...readEndpoints(reply.value, url, (name) => (matters(name) ? 'server_answer' : undefined)),
        ...given,
      };
      const lacks = missing(metadata, needs);
      if (lacks === undefined) return metadata;
      problem = new PorchlightError('server_answer', `The metadata of the authorization server has no ${lacks}.`, {
        hint: `Does this server offer it? If so, give its address under authorization.endpoints.`,
      });
    } else if (reply.kind !== 'refused') {
      // A document that names another issuer says more than a second attempt that finds nothing.
      if (problem === undefined || reply.problem.code === 'server_unreachable') problem = reply.problem;
    }
  }
  throw problem ?? new PorchlightError('server_answer', 'The authorization server publishes no metadata.');
}

function fetchDocument(
  url: URL,
  issuer: string,
  algorithm: 'oauth2' | 'oidc',
  { fetch, signal, dialect = standard }: DiscoverOptions,
): Promise<Reply<AuthorizationServer>> {
  return ask(
    { fetch, signal, dialect },
    'discovery',
    (options) => discoveryRequest(url, { ...options, algorithm }),
    async (body) => {
      const named = body['issuer'];
      // RFC 8414 section 3.3: identical, not only equivalent. This stops one tenant's document from speaking for another.
      if (named !== issuer) {
        const shown = typeof named === 'string' ? `"${printable(named)}"` : 'nothing';
        throw new PorchlightError('server_answer', `The authorization server calls itself ${shown}, not "${issuer}".`, {
          hint: 'Write authorization.issuer exactly as the server does, to the last slash.',
        });
      }
      return processDiscoveryResponse(url, asResponse(body));
    },
  );
}

function fromHand(endpoints: Endpoints): Partial<Record<EndpointName, unknown>> {
  return Object.fromEntries(ENDPOINTS.map(([key, name]) => [name, endpoints[key]]));
}

function present<T extends object>(value: T): Partial<T> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Partial<T>;
}

function readAlgorithms(value: unknown): Pick<ServerMetadata, 'dpop_signing_alg_values_supported'> {
  if (!Array.isArray(value)) return {};
  const names = value.filter((name): name is string => typeof name === 'string' && name.length <= 20).slice(0, 32);
  return { dpop_signing_alg_values_supported: names };
}

/** Each endpoint that is there, checked: https, or http where the issuer itself is this machine. */
function readEndpoints(
  document: Partial<Record<EndpointName, unknown>>,
  issuer: URL,
  complaint: (name: EndpointName) => 'config_invalid' | 'server_answer' | undefined,
): { [E in EndpointName]?: string } {
  const found: { [E in EndpointName]?: string } = {};
  for (const [, name] of ENDPOINTS) {
    const value = document[name];
    if (value === undefined || value === null) continue;
    if (typeof value === 'string' && isTrustworthy(value, issuer)) found[name] = value;
    else {
      const code = complaint(name);
      if (code !== undefined)
        throw new PorchlightError(code, `The ${name} is not an address that can be trusted (https without user name).`);
    }
  }
  return found;
}

/** May a token, or what gets one, be sent there? https, or http where the issuer itself is this machine, and no user name. */
export function isTrustworthy(text: string, issuer: URL): boolean {
  if (text.length > 2048 || !URL.canParse(text)) return false;
  const url = new URL(text);
  const plain = url.protocol === 'http:' && isLoopback(issuer) && isLoopback(url);
  return (url.protocol === 'https:' || plain) && url.username === '' && url.password === '' && url.hash === '';
}

function missing(found: { readonly [E in EndpointName]?: string }, needs: readonly EndpointName[]): string | undefined {
  return needs.find((name) => found[name] === undefined);
}
