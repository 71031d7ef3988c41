import type { Heard } from './bluetooth/central.ts';
import { recognise } from './families/index.ts';
import type { Identity } from './lights/port.ts';
import { printable } from './log.ts';

/** One device in the air, as `scan` shows it. */
export interface HeardView {
  readonly address: string;
  /** As advertised, made safe for terminals, at most 80 characters; empty: it says none. */
  readonly name: string;
  /** dBm; absent: not known. */
  readonly rssi?: number;
  readonly connectable: boolean;
  /** Which lamp protocol claims it; absent: none. */
  readonly family?: string;
  readonly model?: string;
  /** Can it be driven? Absent where no family claims it. */
  readonly supported?: boolean;
  /** Why it cannot. */
  readonly reason?: string;
  /** The id of the configured lamp with this address. */
  readonly configured?: string;
}

/** The longest name that is shown; what follows is cut off. */
const LONGEST_SHOWN = 80;

/** An advertisement for people. `configured`: the lamp of ours at its address, and who that one is known to be. */
export function describeHeard(
  heard: Heard,
  configured?: { readonly id: string; readonly identity: Identity | undefined },
): HeardView {
  // What an advertisement says never moves a lamp that is known.
  const identity = configured?.identity ?? recognise(heard)[0];
  const { address, rssi, connectable, localName } = heard;
  const reason = identity?.model.unsupported;
  return {
    address,
    name: printable((localName ?? '').replace(/[\s\0]+$/, ''), LONGEST_SHOWN),
    ...(rssi !== 127 && { rssi }),
    connectable,
    ...(identity !== undefined && {
      family: identity.family.id,
      model: identity.model.id,
      supported: reason === undefined,
    }),
    ...(reason !== undefined && { reason }),
    ...(configured !== undefined && { configured: configured.id }),
  };
}
