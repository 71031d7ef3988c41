import type { Frame, GattLayout, LightFamily, Model } from './family.ts';

/** Which lamp protocol and model a lamp was found to be. */
export interface Identity {
  readonly family: LightFamily;
  readonly model: Model;
}

/** A lamp with a link to it: everything needed to make frames for it and to send them. */
export interface LampAtHand extends Identity {
  readonly layout: GattLayout;
  /** Writes them in order. Rejects with the codes of the air (`link_lost`, `refused_by_light`, `timed_out`, ...). */
  write(...frames: readonly Frame[]): Promise<void>;
  /** True when the lamp's answers are being heard (its notify characteristic exists and was subscribed). */
  readonly hears: boolean;
}

/** What a light needs of the road below it. Implemented over Bluetooth; tests may implement it in memory. */
export interface LampPort {
  /** Known from the configuration, an advert or an earlier link; undefined until then. */
  readonly identity: Identity | undefined;
  /**
   * Finds or makes a link and runs `turn` with the lamp at hand; one turn at a time per lamp. Failures of the air are
   * retried (calling `turn` again) until `until` (monotonic ms) or `signal`; then rejects with the last failure's code.
   * `refused_by_light`, `unsupported` and `identity_mismatch` are not retried.
   */
  reach<T>(until: number, turn: (lamp: LampAtHand) => Promise<T>, signal: AbortSignal): Promise<T>;
}

/** The two clocks. Durations and deadlines use `monotonic` only: a Pi's wall clock jumps when the network answers. */
export interface Clock {
  /** Milliseconds since an arbitrary start; never jumps. */
  monotonic(): number;
  /** Milliseconds since 1970; may jump. */
  wall(): number;
}
