import * as z from 'zod';

/** What the parent and the air process say to each other over the IPC channel. All times are milliseconds. */

const address = z
  .string()
  .regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i, 'six bytes in hex with colons')
  .transform((text) => text.toLowerCase());
const byte = z.int().min(0).max(255);
const percent = z.int().min(0).max(100);
const hexBytes = z
  .string()
  .regex(/^([0-9a-f]{2})*$/i, 'whole bytes in hex')
  .max(2 * 65_540);

/** What a virtual lamp shines with. All families share one shape; what a family lacks stays at its start value. */
const lampState = z.strictObject({
  on: z.boolean(),
  /** What is shown while on. `grayscale` and `preset` are whites of the ELK kind. */
  mode: z.enum(['color', 'white', 'temperature', 'grayscale', 'preset', 'effect']),
  color: z.strictObject({ r: byte, g: byte, b: byte }),
  /** The white LED, 0-255 (Triones). */
  white: byte,
  /** Percent (ELK). */
  brightness: percent,
  /** Percent of the warm and the cold LED (ELK). */
  warm: percent,
  cold: percent,
  /** The effect's or the preset's number as on the air. */
  effect: byte,
  speed: byte,
});
export type LampState = Readonly<z.infer<typeof lampState>>;

const lampSpec = z.strictObject({
  address,
  addressType: z.enum(['public', 'random']).default('public'),
  /** As advertised, at most 248 bytes of UTF-8; what does not fit into 29 bytes is shortened on the air. */
  name: z.string().refine((text) => Buffer.byteLength(text) <= 248, 'at most 248 bytes'),
  family: z.enum(['triones', 'elk-bledom']),
  /** elk-bledom: the row of frames it obeys (default: by its name). triones: `zerproc`, `dream` or none. */
  variant: z.string().max(40).optional(),
  /** dBm. */
  rssi: z.int().min(-127).max(20).default(-60),
  /** triones: which characteristics it has. `short`: the services' own ids serve as characteristics. */
  layout: z.enum(['ffd5', 'ffe5', 'short']).optional(),
  /** triones: does it have a white LED? Without one the white command is ignored. */
  white: z.boolean().default(true),
  /** triones: does a power command answer with the short notification `CC 23|24 ..`? */
  powerEcho: z.boolean().default(false),
  /** Which writes the control characteristic takes. Default: triones only `command`, elk-bledom `both`. */
  writes: z.enum(['command', 'both']).optional(),
  /** The largest ATT MTU of the lamp. */
  mtu: z.int().min(23).max(517).default(23),
  /** Advertised instead of the family's usual ones. */
  serviceUuids: z
    .array(z.string().regex(/^[0-9a-f]{4}$/i))
    .max(8)
    .optional(),
  /** Hex, company id first (little-endian), at most 29 bytes. */
  manufacturerData: hexBytes.max(2 * 29).optional(),
  /** MELK: the least time between its two wake writes. The vendor's app waits 1000. */
  wakeGapMs: z.number().min(0).max(10_000).default(500),
  /** Asks for other connection parameters once after each connect, as many lamps do (L2CAP signalling). */
  asksParameters: z.boolean().default(false),
  /** What it shines with at the start. */
  state: lampState.partial().optional(),
});
export type LampSpec = Readonly<z.infer<typeof lampSpec>>;
/** A lamp as the parent writes it down: what has a default may be left out. */
export type LampInput = Readonly<z.input<typeof lampSpec>>;

const lampFault = z.discriminatedUnion('kind', [
  /** Not heard, never connects; a link that exists dies by its supervision timeout. */
  z.strictObject({ kind: z.literal('out-of-range') }),
  /** The link is up, ATT never answers. */
  z.strictObject({ kind: z.literal('mute') }),
  /** Every write request is answered by this ATT error (default 0x0E Unlikely Error); commands are dropped. */
  z.strictObject({ kind: z.literal('att-error'), code: byte.default(0x0e) }),
  /** Connecting fails with 0x3E; `late`: a link is reported first, then lost with 0x3E, as legacy controllers do. */
  z.strictObject({ kind: z.literal('connect-fails'), late: z.boolean().default(false) }),
  /** Once: the link is lost now (0x08). */
  z.strictObject({ kind: z.literal('link-loss') }),
  /** Once: the lamp ends the link (0x13). */
  z.strictObject({ kind: z.literal('hangs-up') }),
  /** Every write kills the link before it is looked at (0x08). */
  z.strictObject({ kind: z.literal('link-loss-on-write') }),
  /** The MTU exchange is refused with this ATT error (default 0x06 Request Not Supported). */
  z.strictObject({ kind: z.literal('refuses-mtu'), code: byte.default(0x06) }),
  /** Every ATT answer comes this much later. */
  z.strictObject({ kind: z.literal('slow'), ms: z.number().min(0).max(600_000).default(500) }),
  /** Acknowledges, but obeys nothing. */
  z.strictObject({ kind: z.literal('disobeys') }),
  /** From the next connect on, its GATT is that of something else. */
  z.strictObject({ kind: z.literal('wrong-identity') }),
]);
export type LampFault = Readonly<z.infer<typeof lampFault>>;

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
  /** Hands the host this packet as it is, H4 type byte first, however malformed. */
  z.strictObject({ op: z.literal('inject'), id: z.int().optional(), hex: hexBytes }),
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
  name: z.string(),
  family: z.string(),
  connected: z.boolean(),
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
