import { createHash, createPrivateKey, generateKeyPair, type KeyObject, randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { SignJWT } from 'jose';
import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import type { WireRequest } from './dialects/dialect.ts';
import type { ServerMetadata } from './discovery.ts';
import type { AuthorizationOptions } from './options.ts';
import type { Reply } from './wire.ts';

/** ES256 is what every implementation has; one key, one algorithm. */
export const DPOP_ALGORITHM = 'ES256';

const Jwk = z.object({
  kty: z.literal('EC'),
  crv: z.literal('P-256'),
  x: z.string().max(64),
  y: z.string().max(64),
  d: z.string().max(64),
});

/** The private key that a grant's tokens are bound to, as it is stored: P-256 (RFC 7518 section 6.2). */
export type DpopJwk = Readonly<z.infer<typeof Jwk>>;

/** The key that a grant's tokens are bound to (RFC 9449): one for each grant, and it lives as long as they do. */
export class DpopKey {
  readonly jwk: DpopJwk;
  readonly #key: KeyObject;

  private constructor(jwk: DpopJwk, key: KeyObject) {
    this.jwk = jwk;
    this.#key = key;
  }

  static async generate(): Promise<DpopKey> {
    const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
    return new DpopKey(Jwk.parse(privateKey.export({ format: 'jwk' })), privateKey);
  }

  /** A stored key. Throws `state_unusable` when it is none. */
  static from(stored: unknown): DpopKey {
    try {
      const jwk = Jwk.parse(stored);
      return new DpopKey(jwk, createPrivateKey({ key: jwk, format: 'jwk' }));
    } catch {
      throw new PorchlightError('state_unusable', 'The key that the stored tokens are bound to is damaged.', {
        hint: 'Approve the gateway anew with "porchlight login".',
      });
    }
  }

  /**
   * A proof for one request (RFC 9449 section 4.2): never the same twice. `nonce` as the server gave it; `accessToken` at resources,
   * whose hash goes in as `ath`. `url` may have a query; what is signed has none.
   */
  async prove(
    { method, url }: Pick<WireRequest, 'method' | 'url'>,
    clock: Clock,
    { nonce, accessToken }: { readonly nonce?: string | undefined; readonly accessToken?: string | undefined } = {},
  ): Promise<string> {
    const { kty, crv, x, y } = this.jwk;
    const { origin, pathname } = new URL(url);
    return new SignJWT({
      htm: method,
      htu: `${origin}${pathname}`,
      ...(nonce === undefined ? {} : { nonce }),
      ...(accessToken === undefined ? {} : { ath: createHash('sha256').update(accessToken).digest('base64url') }),
    })
      .setProtectedHeader({ alg: DPOP_ALGORITHM, typ: 'dpop+jwt', jwk: { kty, crv, x, y } })
      .setJti(randomUUID())
      .setIssuedAt(Math.floor(clock.wall() / 1000))
      .sign(this.#key);
  }
}

/** Servers give nonces of some tens of characters; RFC 9449 section 8.1 gives their alphabet. */
const NONCE = /^[\x21\x23-\x5b\x5d-\x7e]{1,512}$/;
/** The authorization server and its resources: a handful of origins. */
const MOST_ORIGINS = 16;

/** The newest nonce of each origin (RFC 9449 section 8.2). */
export class Nonces {
  readonly #known = new Map<string, string>();

  for(url: string): string | undefined {
    return this.#known.get(new URL(url).origin);
  }

  /** Takes up a `DPoP-Nonce` header; one that is not as it should be counts as not sent. */
  learn(url: string, header: string | null): void {
    if (header === null || !NONCE.test(header)) return;
    const { origin } = new URL(url);
    this.#known.delete(origin);
    const [oldest] = this.#known.keys();
    if (this.#known.size >= MOST_ORIGINS && oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(origin, header);
  }
}

/** Signs the requests of one exchange. */
export interface Prover {
  /** The value of the DPoP header, with the nonce that it carries. */
  prove(request: WireRequest): Promise<{ readonly proof: string; readonly nonce: string | undefined }>;
  /** Takes up the nonce that came with an answer. */
  learn(url: string, header: string | null): void;
  nonceFor(url: string): string | undefined;
}

/** A prover for requests with this key; at a resource also with the access token. */
export function proverOf(key: DpopKey, nonces: Nonces, clock: Clock, accessToken?: string): Prover {
  return {
    async prove(request) {
      const nonce = nonces.for(request.url);
      return { proof: await key.prove(request, clock, { nonce, accessToken }), nonce };
    },
    learn: (url, header) => nonces.learn(url, header),
    nonceFor: (url) => nonces.for(url),
  };
}

/** Which key signs what this client asks for. */
export class Proofs {
  readonly #wish: AuthorizationOptions['dpop'];
  #flow: { readonly deviceCode: string; readonly key: DpopKey } | undefined;

  constructor({ dpop }: Pick<AuthorizationOptions, 'dpop'>) {
    this.#wish = dpop;
  }

  /** Before a person is asked for anything. Throws `config_invalid` when the server takes no proof that this gateway can make. */
  check({ dpop_signing_alg_values_supported: known }: ServerMetadata): void {
    if (this.#wish !== 'required' || known === undefined || known.includes(DPOP_ALGORITHM)) return;
    throw new PorchlightError(
      'config_invalid',
      `The authorization server takes no DPoP proofs that are signed with ${DPOP_ALGORITHM}, as this gateway signs them.`,
      { hint: `Have ${DPOP_ALGORITHM} enabled at the server, or set authorization.dpop: auto.` },
    );
  }

  /** A key for a new grant; undefined where its tokens are to be, or can only be, bearer tokens. */
  async fresh({ dpop_signing_alg_values_supported: known = [] }: ServerMetadata): Promise<DpopKey | undefined> {
    const wanted = this.#wish === 'required' || (this.#wish === 'auto' && known.includes(DPOP_ALGORITHM));
    return wanted ? DpopKey.generate() : undefined;
  }

  /** The key of a device flow: the same for all its polls. There is one flow at a time. */
  async keyOf(deviceCode: string, metadata: ServerMetadata): Promise<DpopKey | undefined> {
    if (this.#flow?.deviceCode === deviceCode) return this.#flow.key;
    const key = await this.fresh(metadata);
    this.#flow = key && { deviceCode, key };
    return key;
  }

  /** The key that was kept with the tokens, whatever is configured now: they are bound to it. Throws `state_unusable`. */
  async restored(stored: unknown): Promise<DpopKey | undefined> {
    if (stored !== undefined) return DpopKey.from(stored);
    return this.#wish === 'required' ? DpopKey.generate() : undefined;
  }
}

/** A refused proof decides nothing: the next one may be taken, once the clock is right. Undefined for any other refusal. */
export function proofRefused(error: string): Extract<Reply<never>, { kind: 'fault' }> | undefined {
  if (error === 'invalid_dpop_proof')
    return {
      kind: 'fault',
      problem: new PorchlightError(
        'server_refused',
        'The authorization server does not accept the proof that the request is ours (invalid_dpop_proof).',
        {
          hint: 'Is the clock of this machine right? See "porchlight status". If it is, set authorization.dpop: off.',
        },
      ),
    };
  if (error === 'use_dpop_nonce')
    return {
      kind: 'fault',
      problem: new PorchlightError(
        'server_answer',
        'The authorization server asks for a nonce again though it got the one that it gave (use_dpop_nonce).',
        { hint: 'Ask whoever runs the server; the gateway keeps trying.' },
      ),
    };
  return undefined;
}
