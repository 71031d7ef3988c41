import type { DialectId } from '../../../src/oauth/dialects/index.ts';
import type { AuthorizationOptions } from '../../../src/oauth/options.ts';
import type { VendorServer } from './vendor-server.ts';

export type Form = Readonly<Record<string, string>>;

/** A request that the vendor refuses, and how. */
export interface Refused {
  readonly because: string;
  readonly path: string;
  readonly form: Form;
  readonly status: number;
  /** The `error` member; undefined: the answer is no JSON object with one. */
  readonly error: string | undefined;
}

/** One kind of server: how it answers, and what a gateway must make of that. Times are seconds. */
export interface Vendor {
  readonly name: string;
  readonly dialect: DialectId;
  open(): Promise<VendorServer>;
  /** Beside issuer: what the configuration says. */
  options(origin: string): Partial<AuthorizationOptions> & Pick<AuthorizationOptions, 'issuer'>;
  readonly start: { readonly path: string; readonly form: Form };
  readonly shown: {
    readonly user_code: string;
    readonly verification_uri: string;
    readonly verification_uri_complete?: string;
    readonly life: number;
    readonly interval: number;
  };
  readonly poll: { readonly path: string; readonly form: Form };
  /** Between polls before and after a slow_down. */
  readonly gaps: readonly [number, number];
  readonly granted: {
    readonly scopes: readonly string[];
    readonly subject?: string;
    /** Undefined: the server does not say, or the token does not expire. */
    readonly life?: number;
    readonly kept?: Form;
  };
  /** What a denial is for the gateway. */
  readonly refresh:
    | { readonly form: Form; readonly rotates: boolean; readonly dead: 'revoked' | 'expired' }
    | { readonly absent: string };
  readonly revoke: { readonly path: string; readonly forms: readonly Form[] } | { readonly absent: string };
  /** The introspection endpoint, which answers only those who know SECRET; or why there is none. */
  readonly introspect: { readonly path: string } | { readonly absent: string };
  /** The request that a server gets after the code's end differs: some say so, some say it once, one never does. */
  readonly afterExpiry?: 'says pending for ever';
  readonly refuses: readonly Refused[];
}

export const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code';

/** Of the vendors whose clients may have one. */
export const SECRET = 'secret-of-the-confidential-client';
