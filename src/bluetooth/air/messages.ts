import * as z from 'zod';
import { address, hexBytes, type LampFault, lampFault, lampSpec, lampState } from './lamp-messages.ts';

export type { LampFault, LampInput, LampSpec, LampState } from './lamp-messages.ts';

/** What the parent and the air process say to each other over the IPC channel. All times are milliseconds. */

const radioFault = z.discriminatedUnion('kind', [
  /** Once: scanning ends without a word. Enabling it again cures it. */
  z.strictObject({ kind: z.literal('scan-stops') }),
  /** Scan enable is answered with success, but nothing scans. */
  z.strictObject({ kind: z.literal('scan-ignored') }),
  /** Scan enable is answered with 0x0C Command Disallowed. */
  z.strictObject({ kind: z.literal('scan-refused') }),
  /** The controller answers nothing and reports nothing. */
  z.strictObject({ kind: z.literal('hangs') }),
  /** Once: the H4 connection is closed. */
  z.strictObject({ kind: z.literal('closes-h4') }),
  /** The H4 connection is closed, and every new one at once. */
  z.strictObject({ kind: z.literal('refuses-h4') }),
  /** These commands are refused with 0x01 Unknown HCI Command or 0x0C Command Disallowed; `status`: by Command Status. */
  z.strictObject({
    kind: z.literal('refuses-commands'),
    opcodes: z.array(z.int().min(1).max(0xffff)).min(1).max(64),
    code: z.union([z.literal(0x01), z.literal(0x0c)]).default(0x01),
    by: z.enum(['complete', 'status']).default('complete'),
  }),
  /** Every answer takes so long; the controller takes one command at a time. */
  z.strictObject({ kind: z.literal('slow-commands'), ms: z.number().min(0).max(60_000).default(300) }),
  /** After each answer no command is taken for so long; then an empty Command Complete says that one is (section 7.7.14). */
  z.strictObject({ kind: z.literal('no-credits'), ms: z.number().min(0).max(60_000).default(300) }),
]);
export type RadioFault = Readonly<z.infer<typeof radioFault>>;

const fault = z.union([lampFault, radioFault]);
export type Fault = LampFault | RadioFault;
/** A fault as the parent writes it down: what has a default may be left out. */
export type FaultInput = Readonly<z.input<typeof fault>>;
const RADIO_FAULTS: ReadonlySet<string> = new Set(radioFault.options.map((option) => option.shape.kind.value));

/** Is it the controller that fails, or a lamp? */
export function isRadioFault(of: Fault): of is RadioFault {
  return RADIO_FAULTS.has(of.kind);
}

const listen = z.union([
  z.strictObject({ unix: z.string().min(1).max(107) }),
  /** On 127.0.0.1; 0 takes any free port. */
  z.strictObject({ tcp: z.int().min(0).max(65_535) }),
]);

const start = z.strictObject({
  op: z.literal('start'),
  id: z.int().optional(),
  listen,
  lamps: z
    .array(lampSpec)
    .max(1000)
    .refine((lamps) => new Set(lamps.map((lamp) => lamp.address)).size === lamps.length, 'each address once'),
  /** The air's own connection interval, brought into the range that the host asks for; 0: packets cross at once. */
  connectionIntervalMs: z.number().min(0).max(4000).default(15),
  advertisingIntervalMs: z.number().min(1).max(10_240).default(100),
  /** Packets that fit into one connection event, in each direction. */
  packetsPerEvent: z.int().min(1).max(100).default(4),
  maxLinks: z.int().min(1).max(200).default(10),
  /** How one link too many is refused: 0x09 Connection Limit Exceeded (Vol 1 Part F 2.9), or 0x0D Limited Resources, as some do. */
  limitError: z.union([z.literal(0x09), z.literal(0x0d)]).default(0x09),
  /** At most so many adverts in one report event; more than one waits for company, 10 ms at most. */
  reportsPerEvent: z.int().min(1).max(25).default(1),
  /** The controller's buffers for packets from the host. */
  buffers: z.strictObject({ length: z.int().min(27).max(4096), count: z.int().min(1).max(255) }).default({
    length: 251,
    count: 8,
  }),
  /** Does the controller offer extended scanning and connecting (Bluetooth 5)? */
  extended: z.boolean().default(false),
  /** No `written` events are sent; `log` still tells everything. For measuring. */
  quiet: z.boolean().default(false),
});
export type StartOptions = Readonly<Omit<z.infer<typeof start>, 'op' | 'id'>>;
export type StartInput = Readonly<Omit<z.input<typeof start>, 'op' | 'id'>>;

/** Parent → air. An op with an `id` is answered with that id: by its own event, or else by `done`. */
const request = z.discriminatedUnion('op', [
  start,
  /** Without `lamp`, a lamp's fault befalls all lamps. */
  z.strictObject({ op: z.literal('fault'), id: z.int().optional(), lamp: address.optional(), fault, on: z.boolean() }),
  /** A phone app or a remote control changes the lamp. */
  z.strictObject({ op: z.literal('lamp'), id: z.int().optional(), lamp: address, set: lampState.partial() }),
  z.strictObject({ op: z.literal('log'), id: z.int() }),
  z.strictObject({ op: z.literal('lamps'), id: z.int() }),
  /**
   * Hands the host this packet as it is, H4 type byte first, however malformed. With `lamp`: as from a hostile peer over that
   * lamp's link, a payload on `channel` (default 4: ATT), or, with `boundary` (its flag), one fragment as it is.
   */
  z.strictObject({
    op: z.literal('inject'),
    id: z.int().optional(),
    hex: hexBytes,
    lamp: address.optional(),
    channel: z.int().min(0).max(0xffff).optional(),
    boundary: z.int().min(0).max(3).optional(),
  }),
  /** A crowd: adverts from random addresses, each heard once, as fast as the host reads them. `done` when all were. */
  z.strictObject({
    op: z.literal('flood'),
    id: z.int().optional(),
    total: z.int().min(1).max(100_000_000),
    perSecond: z.int().min(1).max(10_000_000).default(10_000),
    reportsPerEvent: z.int().min(1).max(25).default(4),
    addresses: z.enum(['static', 'resolvable', 'both']).default('both'),
  }),
  z.strictObject({ op: z.literal('stop'), id: z.int().optional() }),
]);
export type AirRequest = Readonly<z.infer<typeof request>>;
/** A request as the parent writes it down. */
export type AirRequestInput = Readonly<z.input<typeof request>>;

const written = z.object({
  lamp: z.string(),
  /** Canonical UUID. */
  characteristic: z.string(),
  hex: z.string(),
  kind: z.enum(['request', 'command']),
  /** `performance.timeOrigin + performance.now()` of the moment when the bytes were at the lamp. */
  at: z.number(),
  /** The same moment by CLOCK_MONOTONIC (`process.hrtime`), which all processes of a machine share. */
  mono: z.number(),
  /** What the lamp made of it: `refused` is an ATT error, `ignored` are bytes that mean nothing to it. */
  result: z.enum(['obeyed', 'ignored', 'refused']),
});
/** One write that reached a lamp. */
export type Written = Readonly<z.infer<typeof written>>;

const lampReport = z.object({
  lamp: z.string(),
  /** The address that it has on the air now. */
  onAir: z.string(),
  name: z.string(),
  family: z.string(),
  connected: z.boolean(),
  /** While it is connected, as the lamp has it. */
  link: z.object({ handle: z.int(), intervalMs: z.number(), supervisionMs: z.number() }).optional(),
  /** The characteristics whose notifications are on (canonical UUIDs). */
  subscribed: z.array(z.string()),
  state: lampState,
});
/** One lamp as it is now. */
export type LampReport = Readonly<z.infer<typeof lampReport>>;

/** Air → parent. The parent may parse with this schema. */
export const airEvent = z.discriminatedUnion('event', [
  /** `tcp://127.0.0.1:PORT` or `unix:/path`. */
  z.object({ event: z.literal('listening'), id: z.int().optional(), address: z.string() }),
  written.extend({ event: z.literal('written') }),
  z.object({ event: z.literal('lamp'), lamp: z.string(), state: lampState }),
  z.object({ event: z.literal('link'), lamp: z.string(), connected: z.boolean() }),
  /** A host has opened or left the H4 connection. */
  z.object({ event: z.literal('host'), connected: z.boolean() }),
  /** `count` is all that was ever written, `entries` the newest of it. */
  z.object({ event: z.literal('log'), id: z.int(), count: z.int(), entries: z.array(written) }),
  z.object({ event: z.literal('lamps'), id: z.int(), lamps: z.array(lampReport) }),
  z.object({ event: z.literal('done'), id: z.int() }),
  z.object({ event: z.literal('error'), id: z.int().optional(), message: z.string() }),
]);
export type AirEvent = Readonly<z.infer<typeof airEvent>>;

/** Parses what came over the channel; undefined with the reason when it is not a request. */
export function parseRequest(
  message: unknown,
): { readonly request: AirRequest } | { readonly refused: string; readonly id?: number } {
  const parsed = request.safeParse(message);
  if (parsed.success) return { request: parsed.data };
  const id = z.object({ id: z.int() }).safeParse(message);
  return { refused: z.prettifyError(parsed.error), ...(id.success ? { id: id.data.id } : {}) };
}
