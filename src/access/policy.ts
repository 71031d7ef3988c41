import { PorchlightError } from '../errors.ts';
import type { Command } from '../lights/command.ts';
import type { Principal } from '../lights/outcome.ts';

/** `access.unsigned`: may the local tree command without tokens, and which lamps? */
export type Unsigned = 'deny' | 'allow' | { readonly lights: readonly string[] };

export interface PolicyRules {
  readonly unsigned: Unsigned;
  /** The lamps of a target (a lamp is its own one member); undefined: there is no such target. */
  readonly membersOf: (kind: Command['kind'], target: string) => readonly string[] | undefined;
}

/**
 * May this principal do this? Throws `policy` when not. It is asked last, about every command that has a principal, and is the
 * one place for rules by lamp, action and hour. Today a token that controls lights controls all of them.
 */
export function decide(_principal: Principal, command: Command, rules: PolicyRules): void {
  if (command.credential.kind === 'broker') decideUnsigned(command, rules);
}

function decideUnsigned({ kind, target }: Command, { unsigned, membersOf }: PolicyRules): void {
  if (unsigned === 'allow') return;
  if (unsigned === 'deny') {
    throw new PorchlightError('policy', 'Commands without a token are not allowed here.', {
      hint: 'Send it with a token, or allow the local tree with access.unsigned.',
    });
  }
  const members = membersOf(kind, target);
  if (members === undefined) throw new PorchlightError('unknown_target');
  if (members.length === 0 || !members.every((light) => unsigned.lights.includes(light))) {
    throw new PorchlightError('policy', 'Commands without a token are not allowed for every lamp of this target.', {
      hint: 'Send it with a token, or add its lamps to access.unsigned.lights.',
    });
  }
}
