import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { JWK } from 'jose';
import type { Configuration, default as Provider } from 'oidc-provider';
import { PorchlightError } from '../errors.ts';
import { configuration, scopesOf } from './authorization-configuration.ts';
import { html, interact } from './authorization-interaction.ts';
import { offerJwtBearer } from './authorization-jwt-bearer.ts';
import { type Algorithm, mint, signingKey } from './authorization-keys.ts';
import { Memory } from './authorization-memory.ts';
import { page } from './authorization-pages.ts';
import { walkThrough } from './authorization-person.ts';
import { fetchToken, type TokenWish } from './authorization-tokens.ts';

export interface AuthorizationServerOptions {
  /** Default: any free port. */
  readonly port?: number;
  /** Aborting closes the server. */
  readonly signal?: AbortSignal;
  readonly gatewayClientId: string;
  /** The gateway's `access.audience`: tokens for it are JWTs (RFC 9068). */
  readonly audience: string;
  /** Scopes of that audience. Default: lights:read, lights:control. Any other https audience is served too, for tests. */
  readonly scopes?: readonly string[];
  readonly codeTtlSeconds?: number;
  readonly accessTokenTtlSeconds?: number;
  readonly refreshTokenTtlSeconds?: number;
  readonly algorithm?: Algorithm;
  /** Who owns the lamps. Default: owner. */
  readonly account?: string;
  /** What everybody's claims say beyond, or instead of, the demo's home in Berlin. */
  readonly claims?: Readonly<Record<string, unknown>>;
  /** With a secret the gateway is a confidential client; default: a public one. */
  readonly gatewaySecret?: string;
  readonly gatewayAuthentication?: 'client_secret_basic' | 'client_secret_post';
  /** The public half of the gateway's key: it then proves itself by private_key_jwt. */
  readonly gatewayKey?: JWK;
  /** The gateway's grants. Default: device_code and refresh_token. */
  readonly gatewayGrants?: readonly ('client_credentials' | 'jwt_bearer')[];
  /** Accounts that a signed assertion may speak for (grant jwt_bearer). */
  readonly preApproved?: readonly string[];
  /** DPoP (RFC 9449): not known, offered, or with a nonce of the server's in every proof. Default: off. */
  readonly dpop?: 'off' | 'offered' | 'nonce';
  /** A gateway that brings its tokens without a proof gets none. Default: false. */
  readonly dpopBound?: boolean;
  /** Command tokens name their audience as an array (RFC 7519 section 4.1.3 allows both). Default: false. */
  readonly audienceAsArray?: boolean;
  /** A token asked for without a resource is for the one granted, and else for the userinfo endpoint. Default: true. */
  readonly useGrantedResource?: boolean;
  /** Refresh tokens are used once. Default: true. */
  readonly rotate?: boolean;
  /** Named in the device authorization response. Default: none is named, which means 5 s (RFC 8628 section 3.2). */
  readonly intervalSeconds?: number | undefined;
  /** The first so many requests to the token endpoint are answered with slow_down. */
  readonly slowDowns?: number;
  /** Further clients, as oidc-provider takes them. */
  readonly clients?: NonNullable<Configuration['clients']>;
}

/** A real OAuth 2.0 and OpenID Connect server on 127.0.0.1, with its owner at hand. */
export interface AuthorizationServer {
  readonly issuer: string;
  /** The same, as an address. */
  readonly url: string;
  readonly gateway: { readonly client_id: string; readonly client_secret?: string };
  /** A second, confidential client that commands lamps. */
  readonly phone: { readonly client_id: string; readonly client_secret: string };
  readonly account: string;
  /** Approves a user code, or a verification_uri_complete, through the HTML forms. Resolves with the text of the last page. */
  approve(code: string, account?: string): Promise<string>;
  /** Denies it in the same way. */
  deny(code: string, account?: string): Promise<string>;
  /** A command token, got as a real client gets one. */
  tokenFor(wish?: TokenWish): Promise<string>;
  /** Any JWT, signed with the server's own key: for tests that need what no honest server issues. */
  mint(claims: Readonly<Record<string, unknown>>, header?: Readonly<Record<string, unknown>>): string;
  /** Ends every grant, as an owner does who removes the device in their account. */
  revokeGrants(): void;
  close(): Promise<void>;
}

/** Starts the demo's authorization server. Rejects with `not_available` where the development packages are not installed. */
export async function startAuthorizationServer(options: AuthorizationServerOptions): Promise<AuthorizationServer> {
  const { port = 0, account = 'owner', algorithm = 'ES256' } = options;
  const ProviderClass = await loadProvider();
  const memory = new Memory();
  const key = signingKey(algorithm);
  const phone = { client_id: 'demo-phone', client_secret: randomBytes(24).toString('base64url') };

  let answer: (request: IncomingMessage, response: ServerResponse) => void = (_, response) => response.end();
  const server = createServer((request, response) => answer(request, response));
  const issuer = `http://127.0.0.1:${await listen(server, port)}`;
  const provider = new ProviderClass(issuer, configuration(options, algorithm, memory, key, phone));
  if (options.gatewayGrants?.includes('jwt_bearer'))
    offerJwtBearer(provider, options, options.gatewayKey === undefined ? [] : [options.gatewayKey]);
  const { intervalSeconds: interval } = options;
  if (interval !== undefined)
    provider.use(async (ctx, next) => {
      await next();
      if (ctx.path === '/device/auth' && ctx.status === 200) ctx.body = { ...Object(ctx.body), interval };
    });
  const provide = provider.callback();
  let slowDowns = options.slowDowns ?? 0;
  answer = (request, response) => {
    const { pathname } = new URL(request.url ?? '/', issuer);
    if (pathname === '/') return html(response, 200, welcome());
    if (request.method === 'POST' && pathname === '/token' && slowDowns > 0) {
      slowDowns -= 1;
      response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"slow_down"}');
    } else if (pathname.startsWith('/interaction/')) {
      interact(provider, account, request, response).catch(() =>
        html(response, 400, page('Sorry', '<p>Start again.</p>')),
      );
    } else void provide(request, response);
  };

  const decide = (code: string, decision: 'allow' | 'deny', who: string): Promise<string> => {
    const address = code.startsWith('http') ? code : `${issuer}/device?user_code=${encodeURIComponent(code)}`;
    return walkThrough(address, { decision, account: who });
  };
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  };
  options.signal?.addEventListener('abort', () => void close(), { once: true });
  const gateway = {
    client_id: options.gatewayClientId,
    ...(options.gatewaySecret === undefined ? {} : { client_secret: options.gatewaySecret }),
  };
  const approve = (code: string, who = account): Promise<string> => decide(code, 'allow', who);
  return {
    issuer,
    url: issuer,
    gateway,
    phone,
    account,
    approve,
    deny: (code, who = account) => decide(code, 'deny', who),
    tokenFor: (wish = {}) =>
      fetchToken(issuer, wish.client === 'gateway' ? gateway : phone, wish, {
        audience: options.audience,
        scopes: scopesOf(options),
        approve,
      }),
    mint: (claims, header = {}) => mint(key, algorithm, claims, header),
    revokeGrants: () => memory.forgetGrants(),
    close,
  };
}

/** oidc-provider is a development package. At import it remarks that Node 20 is old; it works there, so the remark is kept back. */
async function loadProvider(): Promise<typeof Provider> {
  const { warn } = console;
  console.warn = (...words: unknown[]) => {
    if (!String(words[0]).includes('Unsupported runtime')) warn(...words);
  };
  try {
    return (await import('oidc-provider')).default;
  } catch (thrown) {
    throw new PorchlightError('not_available', 'The demo needs the development packages.', {
      hint: 'Run it from a checkout, after "npm ci".',
      cause: thrown,
    });
  } finally {
    console.warn = warn;
  }
}

function welcome(): string {
  return page(
    'The demo authorization server',
    '<p>It runs on this machine only and forgets everything when the demo ends.</p><p><a href="/device">Enter a code</a></p>',
  );
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}
