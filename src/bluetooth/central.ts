import type { Advertisement, Frame } from '../lights/family.ts';

/** The port to the air: what the gateway needs of a Bluetooth central, whoever drives it. Addresses are lower case with colons. */
export interface Central {
  /** What the adapter is doing, as last heard. */
  readonly adapter: AdapterState;
  /**
   * Makes a link and knows its characteristics. Rejects with `unreachable` (not heard or no answer before the deadline),
   * `connect_failed`, `out_of_slots`, `adapter_off`, `adapter_stuck`, `radio_restarting`, `timed_out`.
   */
  connect(address: string, options: ConnectOptions): Promise<Link>;
  /** Turns listening for adverts on or off; it stays so over restarts of the radio. */
  scan(on: boolean): Promise<void>;
}

export interface ConnectOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /**
   * The connection stands, and its characteristics are being read: the adapter has its one attempt free again, so the next
   * lamp's may begin. Called at most once, and before the promise settles.
   */
  readonly onConnected?: () => void;
}

export type AdapterState = 'unknown' | 'resetting' | 'unsupported' | 'unauthorized' | 'poweredOff' | 'poweredOn';

/** What the air pushes. */
export interface CentralEvents {
  onAdapter(state: AdapterState): void;
  onHeard(heard: Heard): void;
  /** Every few seconds, how well the adapter hears; `ladder.ts` judges it. */
  onPulse?(pulse: Pulse): void;
  onSign?(sign: Sign): void;
  /** One life of the radio is over; another begins. Not called for the end that `stop` asked for. */
  onEnded?(end: RadioEnd): void;
}

/**
 * What shows that the adapter works: a link was made; a lamp answered on one; or an attempt to connect ended by the
 * controller's own word, which a stuck one does not give.
 */
export type Sign = 'linked' | 'answered' | 'let_go';

/** How one life of the radio ended. */
export interface RadioEnd {
  /** For logs and `status`; made printable. */
  readonly reason: string;
  /** What the radio says that it is: the adapter is not there, or does not answer; absent: anything else. */
  readonly code?: 'adapter_off' | 'adapter_stuck';
  /** A connection was being made. */
  readonly connecting: boolean;
}

/** A sign of life of the radio, with what it knows of its adapter's health. */
export interface Pulse {
  /** Milliseconds since the last advert of anybody; absent: none yet in this life of the radio, or it is not listening now. */
  readonly heardMs?: number;
  /** Scans begun anew by the radio itself in this life, because they had gone silent or were refused. */
  readonly rescans: number;
  /** Bytes that the radio's process holds. */
  readonly rss: number;
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
