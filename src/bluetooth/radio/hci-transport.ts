/** What a transport emits: one HCI packet (H4 type octet first), whether the controller is there, and what went wrong. */
export interface TransportEvents {
  data: [packet: Buffer];
  state: [up: boolean];
  error: [thrown: unknown];
}

/** noble's seam for a socket to a controller: what its native driver offers, and all that noble uses of it. */
export interface HciTransport {
  on<E extends keyof TransportEvents>(event: E, listener: (...args: TransportEvents[E]) => void): unknown;
  bindRaw(deviceId?: number, parameters?: unknown): unknown;
  bindUser(deviceId?: number, parameters?: unknown): unknown;
  setFilter(filter: Buffer): void;
  isDevUp(): boolean;
  start(): void;
  stop(): void;
  write(packet: Buffer): void;
}
