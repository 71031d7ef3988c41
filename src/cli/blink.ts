import type { Outcome } from '../lights/outcome.ts';
import { outcomeOf } from '../lights/outcome.ts';
import { sleep } from '../task-group.ts';

type OnOff = 'ON' | 'OFF';

/** The road to the lamps: through the daemon, or by a radio of our own. */
export interface Blinker {
  /** What is known of each lamp; null: nothing. */
  states(): Promise<ReadonlyMap<string, OnOff | null>>;
  /** One command, as `send` carries it. `signal` gives up waiting for its outcome: it may be carried out all the same. */
  apply(target: string, state: OnOff, signal: AbortSignal): Promise<Outcome>;
}

/** How it ended. */
export interface Blinked {
  /** The outcome of the last change. */
  readonly outcome: Outcome;
  /** The lamps that were blinked and how each is left; null: its state before is not known, so it was left on. */
  readonly left: ReadonlyMap<string, OnOff | null>;
  /** Lamps that somebody else commanded meanwhile. */
  readonly yielded: readonly string[];
  /** Lamps that could not be put back, and why. */
  readonly lost: readonly Outcome[];
  readonly interrupted: boolean;
}

/** Thrice off and on: enough to find the lamp with the eyes, over before it annoys. */
const CHANGES = 6;
/** From one change to the next; a slow link makes it longer. */
const BLINK_MS = 500;
/** Whoever interrupts does not wait long for a change that is under way, but it tells which lamps there are to be put back. */
const GRACE_MS = 5000;
/** For each lamp that is put back. */
const PUT_BACK_MS = 15_000;

const isDone = ({ outcome }: Outcome): boolean => outcome === 'confirmed' || outcome === 'assumed';

/**
 * Blinks a lamp or all of a group, and puts each back as it was, also when `signal` aborts or a change fails in between. Who is known to
 * have been OFF ends OFF, everybody else ON. A lamp that somebody else commands meanwhile is left to them.
 */
export async function blink(road: Blinker, target: string, signal: AbortSignal, blinkMs = BLINK_MS): Promise<Blinked> {
  const before = await road.states();
  const lamps = new Map<string, { shows?: OnOff; theirs?: true }>();
  // A lamp that shines goes off first, and one that is off goes on first: the first change is to be seen.
  let next: OnOff = before.get(target) === 'OFF' ? 'ON' : 'OFF';
  let outcome: Outcome = { target, outcome: 'assumed', took_ms: 0 };
  const impatient = withGrace(signal);
  for (let change = 0; change < CHANGES && !signal.aborted; change += 1) {
    const pause = sleep(blinkMs, signal);
    const result = await unlessAborted(road, target, next, impatient);
    if (result === undefined) {
      for (const lamp of lamps.values()) delete lamp.shows;
      if (lamps.size === 0 && before.has(target)) lamps.set(target, {});
      break;
    }
    outcome = result;
    const members = result.members ?? [result];
    for (const member of members) {
      const lamp = lamps.get(member.target) ?? {};
      if (isDone(member)) lamps.set(member.target, { ...lamp, shows: next });
      else if (member.outcome === 'superseded') lamps.set(member.target, { theirs: true });
      else if (lamps.has(member.target)) lamps.set(member.target, {});
    }
    if (!members.some(isDone)) break;
    next = next === 'ON' ? 'OFF' : 'ON';
    await pause;
  }
  const ours = [...lamps].filter(([, { theirs }]) => theirs !== true);
  const lost = await Promise.all(
    ours.map(async ([lamp, { shows }]) => putBack(road, lamp, before.get(lamp) ?? 'ON', shows)),
  );
  return {
    outcome,
    yielded: [...lamps].filter(([, { theirs }]) => theirs === true).map(([lamp]) => lamp),
    left: new Map(ours.map(([lamp]) => [lamp, before.get(lamp) ?? null])),
    lost: lost.filter((one) => one !== undefined),
    interrupted: signal.aborted,
  };
}

/** Undefined: interrupted, and nobody knows whether it is carried out. */
async function unlessAborted(
  road: Blinker,
  target: string,
  state: OnOff,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  try {
    return await road.apply(target, state, signal);
  } catch (thrown) {
    if (signal.aborted) return undefined;
    throw thrown;
  }
}

/** The outcome where it failed. */
async function putBack(
  road: Blinker,
  lamp: string,
  state: OnOff,
  shows: OnOff | undefined,
): Promise<Outcome | undefined> {
  if (shows === state) return undefined;
  try {
    const outcome = await road.apply(lamp, state, AbortSignal.timeout(PUT_BACK_MS));
    return isDone(outcome) || outcome.outcome === 'superseded' ? undefined : outcome;
  } catch (thrown) {
    return { target: lamp, took_ms: 0, ...outcomeOf(thrown) };
  }
}

/** Aborts some time after `signal` does. */
function withGrace(signal: AbortSignal): AbortSignal {
  const late = new AbortController();
  const begin = (): void => void setTimeout(() => late.abort(), GRACE_MS).unref();
  if (signal.aborted) begin();
  else signal.addEventListener('abort', begin, { once: true });
  return late.signal;
}
