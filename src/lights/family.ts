import type { LightChange } from './change.ts';
import type { LightState } from './state.ts';

/** What a lamp says of itself before anyone connects. Names are untrusted text from the air. */
export interface Advertisement {
  readonly localName?: string;
  /** Canonical UUIDs: 4 lower-case hex digits for Bluetooth SIG ones, else 36 characters with dashes. */
  readonly serviceUuids: readonly string[];
  /** Company id first (little-endian), as on the air. */
  readonly manufacturerData?: Uint8Array;
  readonly serviceData?: Readonly<Record<string, Uint8Array>>;
}

/** One write to one characteristic. */
export interface Frame {
  readonly characteristic: string;
  readonly bytes: Uint8Array;
  /** `request`: the lamp acknowledges (ATT Write Request); `command`: it does not (ATT Write Command). */
  readonly kind: 'request' | 'command';
}

/** What a lamp of one model can do; a field that is absent here is refused by name. Ranges are inclusive. */
export interface Capabilities {
  /** `scaled`: the lamp has no brightness of its own, its colour or white is scaled. */
  readonly brightness?: 'native' | 'scaled';
  readonly color?: true;
  /** Kelvin. */
  readonly color_temp?: { readonly min: number; readonly max: number };
  readonly white?: true;
  /** Readable names, lower case. */
  readonly effects?: readonly string[];
}

/** One row of a family: which names it goes by, what it can do, and its quirks. Families extend it with their own columns. */
export interface Model extends Capabilities {
  /** `ELK-BLEDOB`: unique in its family. */
  readonly id: string;
  /** The names that it advertises: each the beginning of one, or, where it has `#` (a hexadecimal digit), the whole name. */
  readonly names?: readonly string[];
  /** The write characteristic that it usually has, for frames shown without a lamp; else the family's first. */
  readonly usualWrite?: string;
  /** How far (of 255) a value read back may lie from the value written, because the lamp stores fewer bits. Default 2. */
  readonly rounding?: number;
  /** Known, but it cannot be driven over plain GATT: why. */
  readonly unsupported?: string;
  /** Written once after each connect, `gap_ms` apart. */
  readonly wake?: { readonly frames: readonly Frame[]; readonly gap_ms: number };
}

/** One GATT layout that a family is found with; the first that the connected lamp has is used. Canonical UUIDs. */
export interface GattLayout {
  readonly service?: string;
  readonly write: string;
  readonly notify?: string;
}

/**
 * A lamp protocol: data and pure functions. No class, no clock, no socket, no await. A capability exists by being present.
 */
export interface LightFamily<M extends Model = Model> {
  readonly id: string;
  readonly gatt: readonly GattLayout[];
  readonly models: readonly M[];
  /** Which of its models this advertisement is, if any. */
  recognise(advert: Advertisement): M | undefined;
  /**
   * The frames of one change, on first and off last. `known` is what is known of the lamp (for scaling). The change was
   * checked against the model's capabilities (`refuseLacking`), and `TOGGLE` was made absolute.
   */
  encode(change: LightChange, model: M, known: LightState, layout: GattLayout): readonly Frame[];
  /** A notification or read value, as far as it decides anything; undefined: it says nothing of the light, or is not valid. */
  decode?(frame: Uint8Array, model: M): Partial<LightState> | undefined;
  /** Asks the lamp for its state; the answer comes as a notification. */
  query?(model: M, layout: GattLayout): Frame;
}
