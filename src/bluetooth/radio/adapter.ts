import type { Pulse } from '../central.ts';
import type { RadioBackend, RadioMessage } from '../messages.ts';

export type News = Extract<RadioMessage, { is: 'adapter' | 'heard' | 'notified' | 'gone' | 'note' }>;

export interface AdapterEvents {
  readonly tell: (news: News) => void;
  /** Nothing can be saved in this process: it is to end, and the gateway starts a fresh one. */
  readonly fatal: (reason: string, code?: 'adapter_off' | 'adapter_stuck') => void;
}

export interface ConnectRequest {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** The connection stands; another may be begun. */
  readonly onConnected: () => void;
}

/** One Bluetooth adapter as the radio process drives it: by noble, or by bluetoothd. Every call ends. */
export interface Adapter {
  /** Resolves once the adapter is being driven (which may be long before it is on). Rejects where that can never be. */
  start(backend: RadioBackend): Promise<void>;
  /**
   * `only`: the addresses whose adverts are told; undefined: everyone's. `silenceMs`: after so long without a report of
   * anybody the scan is begun anew; undefined: as the adapter thinks fit. May come before `start`.
   */
  listen(on: boolean, only: readonly string[] | undefined, silenceMs: number | undefined): void;
  /** Connects and discovers within `timeoutMs`. Rejects with the codes of the air. */
  connect(address: string, request: ConnectRequest): Promise<Linked>;
  /** The link of that number, or throws `link_lost`. */
  link(number: number): AdapterLink;
  /** Called every few seconds. */
  tend(): void;
  pulse(): Omit<Pulse, 'rss'>;
  /** Lets every lamp go, then the adapter. Within about a second. */
  stop(): Promise<void>;
}

export type Linked = Pick<Extract<RadioMessage, { is: 'linked' }>, 'link' | 'characteristics'>;

/** One value for one characteristic, by its index in what was discovered. */
export interface Value {
  readonly at: number;
  readonly bytes: Buffer;
  readonly kind: 'request' | 'command';
}

/** One connected lamp. Operations run one after the other, each with a deadline. */
export interface AdapterLink {
  /** Resolves when the lamp has acknowledged the last value, or, where it does not, when the value was sent. */
  write(...values: readonly Value[]): Promise<void>;
  read(at: number): Promise<Buffer>;
  subscribe(at: number, onValue: (bytes: Buffer) => void): Promise<void>;
  /** Resolves when the link is gone, or after a second of waiting for it. */
  disconnect(): Promise<void>;
}
