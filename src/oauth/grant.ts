import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import type { StateFileOptions } from '../storage/state-file.ts';
import type { AuthorizationOptions } from './options.ts';
import type { TokenAnswer } from './tokens.ts';

/** Where the grant is kept. Durability is the store's promise: after `save` resolves, the record survives a power cut. */
export interface TokenStore {
  /** What was saved; undefined when nothing is. */
  load(): Promise<unknown>;
  save(record: GrantRecord): Promise<void>;
  clear(): Promise<void>;
}

/** For lack of it whoever approves next is the owner, so what can not be read must not pass for nothing. */
export const STORED_GRANT: StateFileOptions = {
  ifDamaged: 'reject',
  hint: 'Approve the gateway anew with "porchlight login", which replaces it.',
};

const VERSION = 1;
const Reason = z.enum(['expired', 'revoked', 'denied', 'lost_in_crash', 'owner_mismatch']);
const Moment = z.number().int().nonnegative().max(8_640_000_000_000_000);
const Token = z.string().min(1).max(16_384);
/** A dialect keeps a few addresses; what is more is not kept at all, for a record that can not be read again is worse. */
const LONGEST_KEPT = { members: 16, name: 64, text: 2048 };
const Record = z.object({
  version: z.literal(VERSION),
  issuer: z.string(),
  client_id: z.string(),
  /** How it was got; absent: a person approved. */
  grant: z.enum(['jwt_bearer', 'client_credentials']).optional(),
  subject: z.string().min(1).max(255).optional(),
  scope: z.string().optional(),
  access_token: Token.optional(),
  refresh_token: Token.optional(),
  /** When the access token was issued and when it ends (wall clock, ms since 1970). */
  obtained_at: Moment,
  expires_at: Moment.optional(),
  /** How the access token is shown at resources; absent: as a bearer token. */
  token_type: z.literal('DPoP').optional(),
  /** Private, P-256 (RFC 9449): the tokens (or the refresh token alone) are bound to it, and it lives as long as they do. */
  dpop_key: z.record(z.string().max(64), z.string().max(4096)).optional(),
  /** What a dialect keeps of the token answer, such as where the APIs are. */
  kept: z.record(z.string().max(LONGEST_KEPT.name), z.string().max(LONGEST_KEPT.text)).optional(),
  /** The refresh token before the present one, until the present tokens have worked once. */
  previous_refresh_token: Token.optional(),
  /** A refresh was sent and its answer is not saved yet: a rotating server may have used up the refresh token. */
  refreshing_since: Moment.optional(),
  /** The grant is lost; what remains is who the owner was. */
  ended: z.object({ reason: Reason, at: Moment }).optional(),
});

/** The grant as it is stored. */
export type GrantRecord = Readonly<z.infer<typeof Record>>;

/** A grant in use: the record, and its life on the monotonic clock (ms). */
export interface Grant {
  readonly record: GrantRecord;
  /** The access token is dead from here on; Infinity when the server gave no life. */
  readonly expires: number;
  /** When to refresh. */
  readonly due: number;
}

/** RFC 6749 section 5.1 lets a server keep the life to itself; an hour is the most common one. */
const DEFAULT_LIFE = 3_600_000;
/** Refresh somewhere in this part of the life: early enough for a second try, spread so that gateways do not come together. */
const REFRESH = { from: 0.5, span: 0.3 };
/** A wall clock that is this far before the record was written is not set yet (a Pi has no battery behind its clock). */
const CLOCK_SLACK = 60_000;

export type Stored =
  | { readonly kind: 'none' }
  | { readonly kind: 'usable'; readonly record: GrantRecord }
  /** Another issuer's or client's, or got in another way: the configuration has changed. */
  | { readonly kind: 'foreign' }
  | { readonly kind: 'unreadable'; readonly problem: PorchlightError };

/** Judges what the store held. Nothing is changed there: what can not be used may still be somebody's. */
export function readStored(
  stored: unknown,
  { issuer, client_id, grant = 'device_code' }: Pick<AuthorizationOptions, 'issuer' | 'client_id' | 'grant'>,
): Stored {
  if (stored === undefined || stored === null) return { kind: 'none' };
  const version = z.looseObject({ version: z.number() }).safeParse(stored).data?.version;
  const parsed = Record.safeParse(stored);
  if (version !== undefined && version > VERSION)
    return unreadable('The stored authorization was written by a newer version of Porchlight.');
  if (!parsed.success) return unreadable('The stored authorization is damaged.');
  const record = parsed.data;
  const gotBy = record.grant ?? 'device_code';
  if (record.issuer !== issuer || record.client_id !== client_id || gotBy !== grant) return { kind: 'foreign' };
  if (record.access_token === undefined && record.ended === undefined)
    return unreadable('The stored authorization is damaged.');
  return { kind: 'usable', record };
}

function unreadable(message: string): Stored {
  const hint = `It was left as it is. ${STORED_GRANT.hint}`;
  return { kind: 'unreadable', problem: new PorchlightError('state_unusable', message, { hint }) };
}

/**
 * A record of what the token endpoint has just answered. What the answer leaves out stays as it was in `before`; a refresh token that
 * was replaced is kept as the previous one.
 */
export function recordOf(
  tokens: TokenAnswer,
  before: Pick<
    GrantRecord,
    'issuer' | 'client_id' | 'grant' | 'subject' | 'scope' | 'refresh_token' | 'dpop_key' | 'kept'
  >,
  clock: Clock,
): GrantRecord {
  const now = nowOf(clock);
  const refresh_token = tokens.refresh_token ?? before.refresh_token;
  const previous = before.refresh_token === refresh_token ? undefined : before.refresh_token;
  const scope = tokens.scope ?? before.scope;
  const dpop_key = tokens.dpop_key ?? before.dpop_key;
  const kept = boundedKept({ ...before.kept, ...tokens.kept });
  return {
    version: VERSION,
    issuer: before.issuer,
    client_id: before.client_id,
    ...(before.grant === undefined ? {} : { grant: before.grant }),
    ...(before.subject === undefined ? {} : { subject: before.subject }),
    ...(scope === undefined ? {} : { scope }),
    access_token: tokens.access_token,
    ...(refresh_token === undefined ? {} : { refresh_token }),
    ...(previous === undefined ? {} : { previous_refresh_token: previous }),
    obtained_at: now,
    ...(tokens.expires_in === undefined ? {} : { expires_at: now + Math.round(tokens.expires_in * 1000) }),
    ...(tokens.token_type === 'DPoP' ? { token_type: tokens.token_type } : {}),
    ...(dpop_key === undefined ? {} : { dpop_key }),
    ...(kept === undefined ? {} : { kept }),
  };
}

/** A refresh is about to be sent: from here until its answer is stored, a rotating server may have used up the refresh token. */
export function withIntent(record: GrantRecord, clock: Clock): GrantRecord {
  return { ...record, refreshing_since: nowOf(clock) };
}

/** The present tokens have worked: the refresh token before them has no use any more. */
export function proven(record: GrantRecord): GrantRecord {
  const { previous_refresh_token: _, ...rest } = record;
  return rest;
}

/**
 * The present refresh token was refused: the one before it takes its place, once (some servers keep it alive until its successor has
 * worked, or do not end it at all). Undefined when there is none.
 */
export function fallenBack(record: GrantRecord): GrantRecord | undefined {
  const { previous_refresh_token, ...rest } = record;
  return previous_refresh_token === undefined ? undefined : { ...rest, refresh_token: previous_refresh_token };
}

const nowOf = (clock: Clock): number => Math.max(0, Math.round(clock.wall()));

function boundedKept(members: Readonly<Record<string, string>>): Record<string, string> | undefined {
  const fit = Object.entries(members)
    .filter(([name, text]) => name.length <= LONGEST_KEPT.name && text.length <= LONGEST_KEPT.text)
    .slice(0, LONGEST_KEPT.members);
  return fit.length === 0 ? undefined : Object.fromEntries(fit);
}

/** Places a record's life on the monotonic clock. A wall clock that stands before the record makes it due at once. */
export function inUse(record: GrantRecord, clock: Clock, random: () => number): Grant {
  const now = clock.monotonic();
  const age = clock.wall() - record.obtained_at;
  const interrupted = record.refreshing_since !== undefined;
  if (record.expires_at === undefined) {
    const due = interrupted || age < -CLOCK_SLACK ? now : now + Math.max(0, DEFAULT_LIFE - Math.max(0, age));
    return { record, expires: Number.POSITIVE_INFINITY, due };
  }
  const life = Math.max(0, record.expires_at - record.obtained_at);
  const left = Math.min(life, Math.max(0, life - age));
  const part = REFRESH.from + REFRESH.span * random();
  const due = interrupted || age < -CLOCK_SLACK ? now : now + Math.max(0, left - life * (1 - part));
  return { record, expires: now + left, due };
}

/** What stays of a grant that is lost: the owner, so that nobody else can take the gateway over. */
export function endedRecord(record: GrantRecord, reason: z.infer<typeof Reason>, clock: Clock): GrantRecord {
  const { version, issuer, client_id, grant, subject, scope, obtained_at } = record;
  return {
    version,
    issuer,
    client_id,
    ...(grant === undefined ? {} : { grant }),
    ...(subject === undefined ? {} : { subject }),
    ...(scope === undefined ? {} : { scope }),
    obtained_at,
    ended: { reason, at: nowOf(clock) },
  };
}
