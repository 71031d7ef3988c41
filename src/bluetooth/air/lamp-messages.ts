import * as z from 'zod';

/** What the parent says of a lamp: how it is, and what ails it. All times are milliseconds. */

export const address = z
  .string()
  .regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i, 'six bytes in hex with colons')
  .transform((text) => text.toLowerCase());
export const byte = z.int().min(0).max(255);
const percent = z.int().min(0).max(100);
export const hexBytes = z
  .string()
  .regex(/^([0-9a-f]{2})*$/i, 'whole bytes in hex')
  .max(2 * 65_540);

/** What a virtual lamp shines with. All families share one shape; what a family lacks stays at its start value. */
export const lampState = z.strictObject({
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

export const lampSpec = z.strictObject({
  address,
  addressType: z.enum(['public', 'random']).default('public'),
  /** On the air it has a resolvable private address instead, another one after each so many ms (Vol 6 Part B section 1.3.2.2). */
  rotatesAddressMs: z.number().min(1).optional(),
  /** As advertised, at most 248 bytes of UTF-8; what does not fit into 29 bytes is shortened in legacy adverts. */
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
  /** Which PDUs it advertises with: `extended` ones (Bluetooth 5) are heard by extended scanners only. */
  advertises: z.enum(['legacy', 'extended']).default('legacy'),
  /** A beacon is heard, and takes no connection. */
  connectable: z.boolean().default(true),
  /** Its own interval; default: the air's. */
  advertisingIntervalMs: z.number().min(1).max(10_240).optional(),
  /** Most lamps fall silent while somebody is connected; this one is still heard, and not to be connected to. */
  advertisesConnected: z.boolean().default(false),
  /** So many connects fail to be established (0x3E) before one succeeds, each time anew. */
  needsConnects: z.int().min(1).max(10).default(1),
  /** MELK: the least time between its two wake writes. The vendor's app waits 1000. */
  wakeGapMs: z.number().min(0).max(10_000).default(500),
  /** Asks for other connection parameters once after each connect, as many lamps do (L2CAP signalling). */
  asksParameters: z.boolean().default(false),
  /** A Bluetooth 5 part, which begins the data length and PHY updates itself after each connect. */
  updatesLink: z.boolean().default(false),
  /** Notifies every so many ms, whether it was asked to or not. */
  babblesMs: z.number().min(1).optional(),
  /** What it shines with at the start. */
  state: lampState.partial().optional(),
});
export type LampSpec = Readonly<z.infer<typeof lampSpec>>;
/** A lamp as the parent writes it down: what has a default may be left out. */
export type LampInput = Readonly<z.input<typeof lampSpec>>;

export const lampFault = z.discriminatedUnion('kind', [
  /** Not heard, never connects; a link that exists dies by its supervision timeout. */
  z.strictObject({ kind: z.literal('out-of-range') }),
  /** Once: its power is cut and comes back. It is heard again at once; a link that existed dies by its supervision timeout. */
  z.strictObject({ kind: z.literal('power-cut') }),
  /** A phone has connected to it: it is silent (or heard, with `advertisesConnected`), and no connect is established. */
  z.strictObject({ kind: z.literal('held') }),
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
  /** Each ATT request is answered by the next of these PDUs (hex; empty: not at all); afterwards truly, or from the first again. */
  z.strictObject({
    kind: z.literal('hostile'),
    answers: z.array(hexBytes).max(1000),
    forever: z.boolean().default(false),
  }),
]);
export type LampFault = Readonly<z.infer<typeof lampFault>>;
