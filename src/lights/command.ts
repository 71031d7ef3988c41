import type { PorchlightError } from '../errors.ts';
import type { LightChange } from './change.ts';
import type { Outcome } from './outcome.ts';

/** By what right a command comes. `broker`: the local MQTT tree; `local`: the gateway's own socket, whose file mode is the authority. */
export type Credential =
  | { readonly kind: 'bearer'; readonly token: string | undefined; readonly proof?: Proof }
  | { readonly kind: 'broker' }
  | { readonly kind: 'local' };

/** The proof that came with a command (a JWT, unread) and the message that it must fit, octet by octet. */
export interface Proof {
  readonly jwt: string;
  readonly topic: string;
  /** As the message named it, also where it is not answered to. */
  readonly responseTopic?: string;
  readonly payload: Uint8Array;
}

/** One command, whichever way it came. */
export interface Command {
  /** `lights`: `target` is a lamp or a group; `scene`: a scene, and `change` is empty. */
  readonly kind: 'lights' | 'scene';
  readonly target: string;
  readonly change: LightChange;
  readonly credential: Credential;
  /** The sender's own, at most 64 characters: a repeat within `access.max_age` gets the first outcome again. */
  readonly id?: string;
  /** Monotonic ms. */
  readonly receivedAt: number;
  /** Monotonic ms: the sender's `expires_in`, counted from arrival. */
  readonly expiresAt?: number;
  /** Wall-clock ms: when the sender says it sent this (`sent_at`); commands older than `access.max_age` are refused. */
  readonly sentAt?: number;
  /** The broker kept this and gave it to us later. */
  readonly retained: boolean;
  /** The payload is no command, and why: the outcome of a sender who may command. `change` is empty then. */
  readonly problem?: PorchlightError;
}

/** Turns a command into its one outcome. Never rejects. */
export type CommandHandler = (command: Command) => Promise<Outcome>;
