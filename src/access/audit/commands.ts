import type { LightChange } from '../../lights/change.ts';
import type { Command } from '../../lights/command.ts';
import { isTokenLike } from '../../lights/members.ts';
import type { Outcome, Principal } from '../../lights/outcome.ts';
import type { Clock } from '../../lights/port.ts';
import type { TokenPrincipal } from '../token.ts';
import type { Noted } from './chain.ts';
import { Coalescer, type Counted } from './coalesce.ts';
import type { Entry } from './record.ts';
import type { Trail } from './trail.ts';

/** The first of a cause at once, then at most one record a minute: a flood must not wear out a card, nor wash out the trail. */
const REFUSALS = { burst: 1, windowMs: 60_000, longestMs: 60_000, kinds: 256 };
/** A slider: the same sender moves the same attributes of the same target. Ten are told one by one; then there is one record in 1, 2, 4, 8 s. */
const STREAMS = { burst: 10, windowMs: 1_000, longestMs: 8_000, kinds: 1_000 };
/** A sender who asks for more different things than this is told by count too. A scene of fifty lamps is well below. */
const OWN_RECORDS = 100;
const OWN_RECORDS_PER_S = 5;
const CROWD = { burst: 0, windowMs: 1_000, longestMs: 8_000, kinds: 100 };
/** Senders whose allowance is remembered; the policy names far fewer. */
const MAX_SENDERS = 500;
/** How long the outcomes of counted commands are gathered. */
const OUTCOMES_MS = 5_000;

/** An allowed command. */
export interface AllowedCommand {
  /** Resolves when the decision is on record (or the disk does not take it, see `Trail`): only then may a lamp be written. */
  readonly written: Promise<void>;
  /** To be called once, with what became of it. */
  readonly ended: (outcome: Outcome) => void;
}

interface Gathered {
  readonly due: number;
  entry: Entry;
  count: number;
  readonly outcomes: Record<string, number>;
}

/**
 * Puts the decisions about commands on record, and what became of them. An allow covers what the same sender asks of the same target and
 * attributes while a slider is being dragged: those commands are counted, and the count is told with the newest of them.
 */
export class CommandRecords {
  readonly #trail: Pick<Trail, 'note' | 'written'>;
  readonly #clock: Clock;
  readonly #refusals = new Coalescer<Entry>({ ...REFUSALS, merge: common });
  readonly #streams = new Coalescer<Entry>(STREAMS);
  readonly #crowd = new Coalescer<Entry>({ ...CROWD, merge: common });
  readonly #allowances = new Map<string, { left: number; at: number }>();
  readonly #gathered = new Map<string, Gathered>();

  constructor(trail: Pick<Trail, 'note' | 'written'>, clock: Clock) {
    this.#trail = trail;
    this.#clock = clock;
  }

  /** The gate let it pass. */
  allowed(command: Command, principal: Principal | TokenPrincipal): AllowedCommand {
    const who = whoOf(command, principal);
    const entry: Entry = { event: 'command', decision: 'allow', ...who, ...whatOf(command) };
    const told = this.#tells(entry);
    const noted = told === 'alone' ? this.#trail.note(entry) : undefined;
    const head: Entry = { event: 'outcome', ...who, ...(told !== 'in the crowd' && { target: targetOf(command) }) };
    return {
      written: this.#trail.written(),
      ended: (outcome) => (noted === undefined ? this.#gather(head, outcome) : this.#tellOutcome(head, outcome, noted)),
    };
  }

  /** It was refused: by the gate, or because it can not be judged at all. */
  refused(command: Command, outcome: Outcome): void {
    const { by, code, outcome: what } = outcome;
    const via = viaOf(command);
    const entry: Entry = {
      event: 'command',
      decision: 'deny',
      by: by ?? 'unknown',
      via,
      ...whatOf(command),
      outcome: what,
      ...(code !== undefined && { code }),
    };
    const cause = `${code} ${by === undefined ? `?${via}` : `=${by}`}`;
    if (this.#refusals.tells(cause, entry, this.#clock.monotonic())) this.#trail.note(entry);
  }

  /** Allowed, and a repeat: it got the first outcome again and moved nothing. */
  repeated(command: Command, principal: Principal | TokenPrincipal, { outcome, code }: Outcome): void {
    const who = whoOf(command, principal);
    const entry: Entry = {
      event: 'command',
      decision: 'allow',
      repeat: true,
      ...who,
      ...whatOf(command),
      outcome,
      ...(code !== undefined && { code }),
    };
    if (this.#refusals.tells(`repeat =${who.by}`, entry, this.#clock.monotonic())) this.#trail.note(entry);
  }

  /** When `tick` has something to tell, monotonic ms. */
  get next(): number {
    let next = Math.min(this.#refusals.next, this.#streams.next, this.#crowd.next);
    for (const { due } of this.#gathered.values()) next = Math.min(next, due);
    return next;
  }

  /** Tells what was counted and is due. */
  tick(now = this.#clock.monotonic()): void {
    for (const one of this.#streams.due(now)) this.#tellCount(one);
    for (const one of this.#crowd.due(now)) this.#tellCount(one);
    for (const one of this.#refusals.due(now)) this.#tellCount(one);
    for (const [key, { due, entry, count, outcomes }] of this.#gathered) {
      if (now < due) continue;
      this.#gathered.delete(key);
      this.#trail.note({ ...entry, count, outcomes });
    }
  }

  /** Tells everything that was counted. */
  close(): void {
    this.tick(Number.POSITIVE_INFINITY);
  }

  #tells(entry: Entry): 'alone' | 'in its stream' | 'in the crowd' {
    const now = this.#clock.monotonic();
    if (!this.#streams.tells(keyOf(entry), entry, now)) return 'in its stream';
    const sender = senderOf(entry);
    if (this.#hasAllowance(sender, now)) return 'alone';
    this.#crowd.tells(sender, entry, now);
    return 'in the crowd';
  }

  #hasAllowance(sender: string, now: number): boolean {
    const before = this.#allowances.get(sender) ?? { left: OWN_RECORDS, at: now };
    const left = Math.min(OWN_RECORDS, before.left + ((now - before.at) / 1000) * OWN_RECORDS_PER_S);
    if (this.#allowances.size >= MAX_SENDERS && !this.#allowances.has(sender)) this.#allowances.clear();
    this.#allowances.set(sender, { left: left >= 1 ? left - 1 : left, at: now });
    return left >= 1;
  }

  #tellOutcome(head: Entry, { outcome, code, took_ms }: Outcome, about: Noted): void {
    this.#trail.note({ ...head, outcome, ...(code !== undefined && { code }), took_ms }, about);
  }

  #gather(head: Entry, { outcome, code }: Outcome): void {
    const key = `${senderOf(head)}\u0000${head.target ?? ''}`;
    let gathered = this.#gathered.get(key);
    if (gathered === undefined) {
      gathered = { due: this.#clock.monotonic() + OUTCOMES_MS, entry: head, count: 0, outcomes: {} };
      this.#gathered.set(key, gathered);
    }
    gathered.entry = { ...head, outcome, ...(code !== undefined && { code }) };
    gathered.count += 1;
    gathered.outcomes[outcome] = (gathered.outcomes[outcome] ?? 0) + 1;
  }

  #tellCount({ last, count }: Counted<Entry>): void {
    const { id: _, ...entry } = last;
    this.#trail.note({ ...entry, event: last.event, by: last.by, count });
  }
}

const SCENE = 'scene/';

function targetOf({ kind, target }: Command): string {
  return (kind === 'scene' ? SCENE : '') + target.slice(0, 80);
}

function whatOf(command: Command): { target: string; change?: LightChange; id?: string } {
  const { id } = command;
  // An effect is the one text of a change, so the one place where a token can stand by mistake; the trail is kept for years.
  const hides = command.change.effect !== undefined && isTokenLike(command.change.effect);
  const change = hides ? { ...command.change, effect: '(looks like a token)' } : command.change;
  return {
    target: targetOf(command),
    ...(Object.keys(change).length > 0 && { change }),
    ...(id !== undefined && { id }),
  };
}

function whoOf(command: Command, principal: Principal | TokenPrincipal): { by: string; via: string; client?: string } {
  const client = 'clientId' in principal ? { client: principal.clientId } : {};
  return { by: principal.by, via: viaOf(command), ...client };
}

/** `bound`: a token, and the proof of its key. */
function viaOf({ credential }: Command): string {
  return credential.kind === 'bearer' && credential.proof !== undefined ? 'bound' : credential.kind;
}

function senderOf({ by, client, via }: Entry): string {
  return [by, client, via].join('\u0000');
}

/** Commands with the same key differ in numbers only. */
function keyOf(entry: Entry): string {
  const { target, change = {} } = entry;
  const { state = '', effect = '' } = change;
  return [senderOf(entry), target, Object.keys(change).sort().join(), state, effect].join('\u0000');
}

/** What two have in common: a count of refusals tells no target where there were several. */
function common(before: Entry, { change: _, id: _id, ...now }: Entry): Entry {
  const { target, ...rest } = now;
  return before.target === target ? now : { ...rest, event: now.event, by: now.by };
}
