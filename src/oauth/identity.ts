import * as z from 'zod';
import { printable } from '../log.ts';

/** Where a person lives, in OpenID Connect's words (Core section 5.1.1). One line each, and nothing in it that a terminal obeys. */
export interface AddressClaim {
  readonly formatted?: string | undefined;
  readonly street_address?: string | undefined;
  readonly locality?: string | undefined;
  readonly region?: string | undefined;
  readonly postal_code?: string | undefined;
  readonly country?: string | undefined;
}

/** The standard claims that tell where somebody is at home (OpenID Connect Core section 5.1). Each may be missing. */
export interface IdentityClaims {
  readonly address?: AddressClaim | undefined;
  /** A name of the tz database, as the server spells it: not looked up here. */
  readonly zoneinfo?: string | undefined;
  /** No claim of the standard: administrators add these (Core section 5.1.2). As they came: a number is not judged here. */
  readonly latitude?: number | undefined;
  readonly longitude?: number | undefined;
  /** BCP 47, as the server spells it. */
  readonly locale?: string | undefined;
}

/** Who approved, and what else the server said of them. */
export interface Identity {
  readonly subject: string;
  readonly claims: IdentityClaims;
}

/** A street and its number take one line; `formatted` takes a few. What is longer is nobody's address. */
const LONGEST = { formatted: 500, line: 200, name: 100 };

/** A text as one line; anything else counts as not said. */
const words = (longest: number) =>
  z
    .string()
    .max(longest)
    .transform((text) => printable(text.replaceAll(/\s+/g, ' ').trim(), longest) || undefined)
    .optional()
    .catch(undefined);

const Address = z.object({
  formatted: words(LONGEST.formatted),
  street_address: words(LONGEST.line),
  locality: words(LONGEST.line),
  region: words(LONGEST.line),
  postal_code: words(LONGEST.name),
  country: words(LONGEST.name),
});
const Claims = z.object({
  // Some servers keep an address as one text, which is what `formatted` is.
  address: z
    .preprocess((value) => (typeof value === 'string' ? { formatted: value } : value), Address)
    .optional()
    .catch(undefined),
  zoneinfo: words(LONGEST.name),
  latitude: z.number().optional().catch(undefined),
  longitude: z.number().optional().catch(undefined),
  locale: words(LONGEST.name),
});

/**
 * Reads the claims of a verified id_token, or of a userinfo answer (OpenID Connect Core section 5.3.2). What is not as the standard
 * has it counts as not said; nothing else is taken along. Never throws.
 */
export function readClaims(body: unknown): IdentityClaims {
  const { address, ...rest } = Claims.safeParse(body).data ?? {};
  const said = address !== undefined && Object.values(address).some((line) => line !== undefined);
  return said ? { ...rest, address } : rest;
}
