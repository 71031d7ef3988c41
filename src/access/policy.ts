import { PorchlightError } from '../errors.ts';
import type { Action } from '../lights/actions.ts';
import type { LightChange } from '../lights/change.ts';
import type { Command } from '../lights/command.ts';
import type { Principal } from '../lights/outcome.ts';
import type { Clock } from '../lights/port.ts';
import { type Narrowing, narrowingOf } from './details.ts';
import { parseSpan, WallClock } from './hours.ts';
import { ALL_ACTIONS, judge, type Missing, needOf, type Rule, setOf } from './rules.ts';
import { OURS, type TokenPrincipal } from './token.ts';

/** `access.unsigned`: may the local tree command without tokens, and which lamps? */
export type Unsigned = 'deny' | 'allow' | { readonly lights: readonly string[] };

/** One row of `access.policy`, as the configuration has it. What is absent is not narrowed. */
export interface PolicyRow {
  /** Subjects, client ids, `owner`, `broker`. Absent: whoever commands with a token. */
  readonly principals?: readonly string[];
  /** Scopes that the token must carry besides the control scope, all of them. */
  readonly scopes?: readonly string[];
  /** Lamps and groups. */
  readonly lights?: readonly string[];
  readonly actions?: readonly Action[];
  /** `HH:MM-HH:MM`, by the clock on the wall of the home. */
  readonly hours?: readonly string[];
}

export interface PolicyOptions {
  /** `access.policy`. Undefined: no table, so the control scope may do everything. */
  readonly rows: readonly PolicyRow[] | undefined;
  /** Its groups written out as their lamps. */
  readonly unsigned: Unsigned;
  /** `access.audience`: what the `locations` of a token's details must name. */
  readonly audience: string | undefined;
  /** The subject who approved the gateway; undefined: not known. */
  readonly owner: () => string | undefined;
  /** What a command asks of each lamp: a group's members, a scene's own changes; undefined: there is no such target. */
  readonly changesOf: (
    command: Pick<Command, 'kind' | 'target' | 'change'>,
  ) => readonly { readonly light: string; readonly change: LightChange }[] | undefined;
  /** The lamps that a lamp's or group's name stands for. */
  readonly lampsOf: (name: string) => readonly string[] | undefined;
  /** The home's, as IANA names it; undefined is the machine's own. */
  readonly timeZone: () => string | undefined;
  readonly clock: Clock;
  readonly clockTrusted: () => boolean;
  /** `access.max_age`: nobody asks further ahead than that. */
  readonly maxAgeMs: number;
}

interface Row extends Rule {
  readonly scopes: readonly string[];
}

/**
 * Who may do what, to which lamp, when: scope x lamp x action x hour. The table of `access.policy` and the token's own
 * `authorization_details` must both allow it; with a table, what no row allows is denied. A group or scene needs every lamp of it.
 *
 * `local`, the gateway's own socket, is the administrator (whoever may open it may also change the configuration) and is not
 * narrowed. `broker`, the local tree, must be let in by `access.unsigned`; rows that name it narrow it further, other rows are
 * not for it.
 */
export class Policy {
  readonly #options: PolicyOptions;
  readonly #wall: WallClock;
  readonly #forAll: readonly Row[];
  readonly #byName: ReadonlyMap<string, readonly Row[]>;
  /** By the list of details, which lives as long as its verified token is remembered. */
  readonly #narrowings = new WeakMap<TokenPrincipal['authorizationDetails'], Narrowing | 'none'>();

  constructor(options: PolicyOptions) {
    this.#options = options;
    this.#wall = new WallClock(options.clock, options.timeZone);
    [this.#forAll, this.#byName] = compile(options.rows ?? [], options.lampsOf);
  }

  /**
   * May this principal do this? Returns until when (wall-clock ms; Infinity: for as long as anything else allows it). Throws
   * `policy` when not, or `unknown_target`.
   */
  decide(principal: Principal | TokenPrincipal, command: Command): number {
    if (command.credential.kind === 'local') return Number.POSITIVE_INFINITY;
    const changes = this.#options.changesOf(command);
    if (command.credential.kind === 'broker') {
      decideUnsigned(this.#options.unsigned, changes);
      const rows = this.#byName.get('broker');
      // A row that asks for scopes is for tokens.
      return rows === undefined
        ? Number.POSITIVE_INFINITY
        : this.#judge(
            'rows',
            rows.filter(({ scopes }) => scopes.length === 0),
            command,
            changes,
          );
    }
    if (!('clientId' in principal)) throw new PorchlightError('policy');
    const narrowing = this.#narrowingOf(principal);
    const byRows =
      this.#options.rows === undefined
        ? Number.POSITIVE_INFINITY
        : this.#judge('rows', this.#rowsFor(principal), command, changes);
    const byToken =
      narrowing === undefined
        ? Number.POSITIVE_INFINITY
        : this.#judge('details', narrowing.rules, command, changes, narrowing);
    return Math.min(byRows, byToken);
  }

  #judge(
    by: 'rows' | 'details',
    rules: readonly Rule[],
    { problem }: Command,
    changes: ReturnType<PolicyOptions['changesOf']>,
    narrowing?: Narrowing,
  ): number {
    // The house knows its names better, and says which one was meant.
    if (changes === undefined) return Number.POSITIVE_INFINITY;
    const needs = changes.map(({ light, change }) => needOf(light, change));
    if (problem === undefined && (needs.length === 0 || needs.some(({ actions }) => actions === 0))) {
      throw new PorchlightError('policy', 'The command asks for nothing that could be allowed.');
    }
    const isTimed = rules.some(({ hours }) => hours !== undefined);
    const wall = isTimed && this.#options.clockTrusted() ? this.#wall : undefined;
    const judged = judge(rules, needs, wall, this.#options.maxAgeMs);
    if (typeof judged === 'number') return judged;
    throw this.#refusal(by, judged, narrowing);
  }

  #rowsFor({ subject, clientId, scopes }: TokenPrincipal): readonly Row[] {
    // A client that speaks for itself has its own id as subject (RFC 9068 section 2.2); the owner is a person.
    const isOwner = subject !== clientId && subject === this.#options.owner();
    const names = [subject, clientId].filter((name) => !OURS.has(name));
    if (isOwner) names.push('owner');
    const rows = [...this.#forAll, ...names.flatMap((name) => this.#byName.get(name) ?? [])];
    return rows.filter((row) => row.scopes.every((scope) => scopes.includes(scope)));
  }

  #narrowingOf({ authorizationDetails: details }: TokenPrincipal): Narrowing | undefined {
    if (details.length === 0) return undefined;
    let known = this.#narrowings.get(details);
    if (known === undefined) {
      known = narrowingOf(details, this.#options.audience, this.#options.lampsOf) ?? 'none';
      this.#narrowings.set(details, known);
    }
    return known === 'none' ? undefined : known;
  }

  #refusal(by: 'rows' | 'details', { light, action, hours }: Missing, narrowing?: Narrowing): PorchlightError {
    const who = by === 'rows' ? 'The policy of this gateway does' : 'The authorization_details of the token do';
    const when =
      hours === 'other'
        ? ` at this hour (${this.#wall.text})`
        : hours === 'unknown'
          ? ' while nobody knows the time'
          : '';
    const [why] = narrowing?.ignored ?? [];
    const also = why === undefined ? '' : ` One of them allows nothing: ${why}.`;
    const hint =
      by === 'rows'
        ? 'See access.policy in the configuration.'
        : 'Ask the authorization server for a token whose authorization_details of type "porchlight" allow it.';
    return new PorchlightError('policy', `${who} not allow "${action}" for the lamp ${light}${when}.${also}`, { hint });
  }
}

function compile(
  rows: readonly PolicyRow[],
  lampsOf: PolicyOptions['lampsOf'],
): readonly [readonly Row[], ReadonlyMap<string, readonly Row[]>] {
  const forAll: Row[] = [];
  const byName = new Map<string, Row[]>();
  for (const { principals, scopes = [], lights, actions, hours } of rows) {
    const row: Row = {
      scopes,
      lights: lights === undefined ? undefined : new Set(lights.flatMap((name) => lampsOf(name) ?? [])),
      actions: actions === undefined ? ALL_ACTIONS : setOf(actions),
      // What is no span allows nothing; the configuration refuses it long before.
      hours: hours?.flatMap((text) => parseSpan(text) ?? []),
    };
    if (principals === undefined) forAll.push(row);
    for (const name of new Set(principals)) byName.set(name, [...(byName.get(name) ?? []), row]);
  }
  return [forAll, byName];
}

function decideUnsigned(unsigned: Unsigned, changes: ReturnType<PolicyOptions['changesOf']>): void {
  if (unsigned === 'allow') return;
  if (unsigned === 'deny') {
    throw new PorchlightError('policy', 'Commands without a token are not allowed here.', {
      hint: 'Send it with a token, or allow the local tree with access.unsigned.',
    });
  }
  if (changes === undefined) throw new PorchlightError('unknown_target');
  if (changes.length === 0 || !changes.every(({ light }) => unsigned.lights.includes(light))) {
    throw new PorchlightError('policy', 'Commands without a token are not allowed for every lamp of this target.', {
      hint: 'Send it with a token, or add its lamps to access.unsigned.lights.',
    });
  }
}
