import type { Advertisement, Frame } from '../lights/family.ts';

/** The port to the air: what the gateway needs of a Bluetooth central, whoever drives it. Addresses are lower case with colons. */
export interface Central {
  /** What the adapter is doing, as last heard. */
  readonly adapter: AdapterState;
  /**
   * Makes a link and knows its characteristics. Rejects with `unreachable` (not heard or no answer before the deadline),
   * `connect_failed`, `out_of_slots`, `adapter_off`, `radio_restarting`, `timed_out`.
   */
  connect(address: string, options: { readonly timeoutMs: number; readonly signal?: AbortSignal }): Promise<Link>;
  /** Turns listening for adverts on or off; it stays so over restarts of the radio. */
  scan(on: boolean): Promise<void>;
}

export type AdapterState = 'unknown' | 'resetting' | 'unsupported' | 'unauthorized' | 'poweredOff' | 'poweredOn';

/** What the air pushes. */
export interface CentralEvents {
  onAdapter(state: AdapterState): void;
  onHeard(heard: Heard): void;
}

/** One advertisement as received. */
export interface Heard extends Advertisement {
  readonly address: string;
  /** dBm; 127 is not known. */
  readonly rssi: number;
  readonly connectable: boolean;
}

export interface LinkCharacteristic {
  /** Canonical UUIDs (`uuid.ts`). */
  readonly service: string;
  readonly uuid: string;
  readonly properties: readonly string[];
}

/** One connection. One operation is on its way at a time; every call ends within its deadline. */
export interface Link {
  readonly address: string;
  readonly characteristics: readonly LinkCharacteristic[];
  /** Aborted, with a PorchlightError as its reason, once the link is gone for whatever cause. */
  readonly gone: AbortSignal;
  /**
   * Writes one value after the other; what follows one that failed is not written. Several at once cost one journey to the
   * radio. Rejects with `refused_by_light`, `link_lost`, `timed_out`, `unsupported` (no such characteristic, or too long for
   * the MTU; then nothing was written).
   */
  write(...frames: readonly Frame[]): Promise<void>;
  read(characteristic: string): Promise<Uint8Array>;
  subscribe(characteristic: string, onValue: (bytes: Uint8Array) => void): Promise<void>;
  disconnect(): Promise<void>;
}
