import type { Clock } from '../lights/port.ts';

/** A clock that is set back by less than this (ms) may still be trusted; see `clock.ts`. */
const SET_BACK_MS = 60_000;

/** Whether the wall clock is trusted, and when that changes. */
export interface Trust {
  readonly trusted: boolean;
  onChange(listener: (trusted: boolean) => void): unknown;
}

/**
 * Since when this process has trusted its clock, as wall-clock ms; undefined while it does not. It begins anew when trust was
 * lost and came back. A clock that is set back takes the moment along, so that senders are not locked out until it catches up;
 * a small step back does not move it, so that no proof from before the start ever seems to be from after it.
 */
export function trustedSince(trust: Trust, clock: Clock): () => number | undefined {
  const now = (): { readonly wall: number; readonly monotonic: number } => ({
    wall: clock.wall(),
    monotonic: clock.monotonic(),
  });
  let began = trust.trusted ? now() : undefined;
  trust.onChange((trusted) => {
    began = trusted ? now() : undefined;
  });
  return () => {
    if (!trust.trusted || began === undefined) return undefined;
    const { wall, monotonic } = now();
    const moved = wall - (monotonic - began.monotonic);
    return moved < began.wall - SET_BACK_MS ? moved : Math.max(began.wall, moved);
  };
}
