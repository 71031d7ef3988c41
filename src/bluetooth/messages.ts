import * as z from 'zod';
import { AIR_CODES } from './air-codes.ts';
import { LONGEST_NAME, LONGEST_VALUE, MOST_CHARACTERISTICS, MOST_SERVICE_DATA, MOST_UUIDS } from './limits.ts';

/**
 * What gateway and radio say to each other over a pipe, one JSON document a line (`line-channel.ts`). The radio parses bytes
 * from the air, so the gateway takes every word of it for hostile: what does not fit these shapes ends the radio. The radio
 * trusts the gateway (its parent) and loads this file for its types only: zod would add a third to its memory.
 */

/**
 * Which Bluetooth controller the radio drives. `adapter`: `hci0`. `address`: `tcp://host:port` or `unix:/path`. `dbus`: through
 * bluetoothd; `bus` is where, if not the system's usual place (`unix:path=/run/dbus/system_bus_socket`).
 */
export type RadioBackend =
  | { readonly kind: 'hci'; readonly adapter: string }
  | { readonly kind: 'dbus'; readonly adapter: string; readonly bus?: string }
  | { readonly kind: 'h4'; readonly address: string };

/** Gateway to radio. `at` is an index into the link's characteristics. */
export type RadioRequest =
  | { readonly op: 'start'; readonly backend: RadioBackend }
  | { readonly op: 'ping'; readonly id: number }
  /**
   * `only`: the addresses whose adverts matter; absent: everyone's, within bounds. `silenceMs`: after so long without a report
   * of anybody the scan is begun anew; absent: the radio's own patience.
   */
  | {
      readonly op: 'listen';
      readonly id: number;
      readonly on: boolean;
      readonly only?: readonly string[];
      readonly silenceMs?: number;
    }
  | { readonly op: 'connect'; readonly id: number; readonly address: string; readonly timeoutMs: number }
  | { readonly op: 'cancel'; readonly id: number; readonly connect: number }
  | {
      readonly op: 'write';
      readonly id: number;
      readonly link: number;
      /** At most `MOST_VALUES`, written in order. */
      readonly values: readonly { readonly at: number; readonly hex: string; readonly kind: 'request' | 'command' }[];
    }
  | { readonly op: 'read' | 'subscribe'; readonly id: number; readonly link: number; readonly at: number }
  | { readonly op: 'disconnect'; readonly id: number; readonly link: number }
  | { readonly op: 'stop' };

const id = z.number().int().nonnegative();
const short = z.string().max(200);
const address = z.string().regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/);
const uuid = z.string().regex(/^([0-9a-f]{4}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/);
const hex = z
  .string()
  .max(LONGEST_VALUE * 2)
  .regex(/^(?:[0-9a-f]{2})*$/);

const characteristic = z.strictObject({
  service: uuid,
  uuid,
  properties: z.array(z.string().max(40)).max(8),
});

const heard = z.strictObject({
  is: z.literal('heard'),
  address,
  rssi: z.number().int().min(-128).max(127),
  connectable: z.boolean(),
  localName: z.string().max(LONGEST_NAME).optional(),
  serviceUuids: z.array(uuid).max(MOST_UUIDS),
  manufacturerData: hex.optional(),
  serviceData: z
    .array(z.tuple([uuid, hex]))
    .max(MOST_SERVICE_DATA)
    .optional(),
});

const radioMessage = z.discriminatedUnion('is', [
  z.strictObject({ is: z.literal('done'), id }),
  /** `hint`: where the code's own would mislead. */
  z.strictObject({ is: z.literal('failed'), id, code: z.enum(AIR_CODES), message: short, hint: short.optional() }),
  z.strictObject({
    is: z.literal('linked'),
    id,
    link: id,
    characteristics: z.array(characteristic).max(MOST_CHARACTERISTICS),
  }),
  /** On the way to `linked`: the connection of request `id` stands. */
  z.strictObject({ is: z.literal('connected'), id }),
  z.strictObject({ is: z.literal('read'), id, hex }),
  /** The answer to a ping. */
  z.strictObject({
    is: z.literal('alive'),
    id,
    heardMs: z.number().nonnegative().optional(),
    rescans: z.number().int().nonnegative(),
    rss: z.number().int().nonnegative(),
  }),
  z.strictObject({
    is: z.literal('adapter'),
    state: z.enum(['unknown', 'resetting', 'unsupported', 'unauthorized', 'poweredOff', 'poweredOn']),
  }),
  heard,
  z.strictObject({ is: z.literal('notified'), link: id, at: id, hex }),
  z.strictObject({ is: z.literal('gone'), link: id, reason: short }),
  z.strictObject({ is: z.literal('note'), text: short }),
  /** `code`: where it is the adapter that is to blame, and not the radio. */
  z.strictObject({ is: z.literal('dying'), reason: short, code: z.enum(['adapter_off', 'adapter_stuck']).optional() }),
]);

/** Radio to gateway: answers, which carry the request's `id`, and news. */
export type RadioMessage = z.infer<typeof radioMessage>;

/** One message of the radio, or undefined where it is not exactly one of the shapes. */
export function parseRadioMessage(raw: unknown): RadioMessage | undefined {
  const parsed = radioMessage.safeParse(raw);
  return parsed.success ? parsed.data : undefined;
}
