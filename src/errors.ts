/**
 * Every error that Porchlight can name, in one closed list. A code is a promise to users and programs: it is never renamed.
 * `message` says what happened, `hint` what to do about it. The README's table is tested against this file.
 */

/** `denied` and `failed` are outcomes of a command; `program` errors end a verb with their exit status. */
type Kind = 'denied' | 'failed' | 'program';

interface Entry {
  readonly kind: Kind;
  readonly message: string;
  readonly hint: string;
  /** Exit status of a verb that ends with this error (sysexits where one fits). */
  readonly exit: 1 | 64 | 69 | 77 | 78;
}

const denied = (message: string, hint: string): Entry & { kind: 'denied' } => ({
  kind: 'denied',
  message,
  hint,
  exit: 77,
});
const failed = (message: string, hint: string, exit: 1 | 69 = 1): Entry & { kind: 'failed' } => ({
  kind: 'failed',
  message,
  hint,
  exit,
});
const program = (message: string, hint: string, exit: Entry['exit']): Entry & { kind: 'program' } => ({
  kind: 'program',
  message,
  hint,
  exit,
});

export const ERRORS = {
  not_authorized: denied(
    'This gateway has not been approved by its owner.',
    'Run "porchlight login" and approve the code that it shows.',
  ),
  token_missing: denied(
    'The command carried no token.',
    'Send the MQTT 5 user property "authorization: Bearer <token>", or the payload member "authorization".',
  ),
  token_invalid: denied(
    'The token is not one that this gateway accepts.',
    'Get a new access token from the authorization server named under access.issuer.',
  ),
  token_expired: denied('The token has expired.', 'Get a fresh access token and send the command again.'),
  token_audience: denied(
    'The token was issued for something else.',
    "Ask the authorization server for a token whose audience is this gateway's access.audience.",
  ),
  token_scope: denied(
    'The token does not carry the scope that controls lights.',
    'Ask for the scope named under access.scopes.control.',
  ),
  principal_unknown: denied(
    'Whoever sent this may not command this gateway.',
    'Add the subject or client to access.principals, or let the owner send it.',
  ),
  policy: denied('The policy of this gateway does not allow this.', 'See access in the configuration.'),
  proof_missing: denied(
    'The command must be signed with the key of its token, and is not.',
    'Send the user property "proof" with a JWT of type porchlight-command+jwt.',
  ),
  proof_invalid: denied('The proof does not fit the command.', 'Sign exactly the payload and topic that you send.'),
  replayed: denied('This command was already used.', 'Send a new command instead of repeating an old message.'),
  too_old: denied('The command is too old to be obeyed.', 'Send it again; check the clocks of sender and gateway.'),
  retained: denied(
    'Retained commands are never obeyed.',
    'Publish commands without the retain flag, and clear the retained one with an empty retained message.',
  ),
  clock_untrusted: denied(
    'The gateway does not trust its clock yet, so it can judge no token.',
    'Wait for the time to be synchronised, or see "porchlight status".',
  ),

  bad_command: failed('The command is not valid.', 'See the LightChange members in the README.'),
  payload_too_large: failed('The command is too large.', 'A command is at most 16 KiB.'),
  unknown_target: failed('No lamp, group or scene has this name.', 'See "porchlight lights" for the names.'),
  unsupported: failed('The lamp cannot do this.', 'See "porchlight lights" for what each lamp can do.'),
  unreachable: failed(
    'The lamp did not answer.',
    'Is it powered and within reach? Close any phone app that is connected to it.',
  ),
  out_of_slots: failed(
    'The Bluetooth adapter has no free connection.',
    'Lower bluetooth.max_connections, or close other programs that use Bluetooth.',
  ),
  connect_failed: failed(
    'The connection to the lamp could not be made.',
    'Move the gateway closer, or close a phone app that is connected to the lamp.',
  ),
  link_lost: failed('The connection to the lamp broke.', 'Move the gateway closer to the lamp.'),
  refused_by_light: failed('The lamp refused the command.', 'Is this the right model? Pin it with "model:".'),
  timed_out: failed('The lamp did not answer in time.', 'Switch the lamp off and on again if this stays.'),
  identity_mismatch: failed(
    'The device at this address is not the lamp that it was.',
    'If you replaced or updated the lamp, let it be learned anew: "porchlight forget LIGHT".',
  ),
  adapter_off: failed(
    'The Bluetooth adapter is off, or not there.',
    'Plug it in, start the Bluetooth service ("systemctl start bluetooth"), or unblock it ("rfkill unblock bluetooth").',
    69,
  ),
  adapter_stuck: failed(
    'The Bluetooth adapter does not answer.',
    'Unplug the adapter and plug it in again, or restart the machine; the gateway keeps trying.',
    69,
  ),
  radio_restarting: failed('The radio is being restarted.', 'Send the command again in a moment.', 69),
  internal: failed('Something went wrong inside Porchlight.', 'Please report this with the log of the gateway.'),
  busy: failed('Too many commands are under way.', 'Send fewer commands at a time, and wait for their outcomes.'),
  stopping: failed('The gateway is being stopped.', 'Send the command again when it is back.', 69),

  wrong_use: program('The command line is not understood.', 'See "porchlight --help".', 64),
  config_invalid: program(
    'The configuration is wrong.',
    'Correct the line named above; "porchlight config check".',
    78,
  ),
  not_available: program('This is not part of this version.', 'See the CHANGELOG for what is.', 64),
  daemon_unreachable: program(
    'No running gateway answers.',
    'Start it with "porchlight run", or "systemctl start porchlight".',
    69,
  ),
  state_locked: program(
    'Another gateway already uses this state directory.',
    'Stop the other one, or give this one its own gateway.state_directory.',
    69,
  ),
  state_unusable: program(
    'The state directory cannot be used.',
    'Make it writable by this user alone, and see that the disk is not full.',
    69,
  ),
  server_unreachable: program(
    'The authorization server cannot be reached.',
    'Check the network and authorization.issuer; the gateway keeps trying.',
    69,
  ),
  server_answer: program(
    'The authorization server gave an answer that makes no sense.',
    'Check authorization.issuer and the endpoints; ask whoever runs the server.',
    69,
  ),
  server_refused: program(
    'The authorization server refused this gateway.',
    'Check client_id, client_authentication and scopes with whoever runs the server.',
    77,
  ),
  approval_denied: program('The request was denied by the person.', 'Run "porchlight login" to ask again.', 77),
  approval_expired: program('Nobody approved the code in time.', 'Run "porchlight login" for a new code.', 77),
  audit_broken: program(
    'The audit trail is not as it was written.',
    'Keep a copy of the audit files as they are; somebody who may write the state directory changed them, or the disk did.',
    1,
  ),
  broker_unreachable: program('The MQTT broker cannot be reached.', 'Check mqtt.url and the network.', 69),
} as const satisfies Record<string, Entry>;

export type ErrorCode = keyof typeof ERRORS;
type CodeOf<K extends Kind> = { [C in ErrorCode]: (typeof ERRORS)[C]['kind'] extends K ? C : never }[ErrorCode];
export type DeniedCode = CodeOf<'denied'>;
export type FailedCode = CodeOf<'failed'>;

/**
 * The one error class. `message` defaults to the code's own sentence; give one where something exact can be said
 * (a member's name, a file and line). Never put a token, a code or a secret into it.
 */
export class PorchlightError extends Error {
  readonly code: ErrorCode;
  readonly hint: string;
  /** Whose doing it was, where that is proven: a denial of theirs is always answered, one of a stranger's only now and then. */
  readonly by: string | undefined;

  constructor(code: ErrorCode, message?: string, options: { hint?: string; cause?: unknown; by?: string } = {}) {
    super(message ?? ERRORS[code].message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = 'PorchlightError';
    this.code = code;
    this.hint = options.hint ?? ERRORS[code].hint;
    this.by = options.by;
  }

  get kind(): Kind {
    return ERRORS[this.code].kind;
  }

  get exitStatus(): number {
    return ERRORS[this.code].exit;
  }
}

/** Whatever was thrown, as a PorchlightError: a stranger becomes `code` with the stranger as its cause. */
export function asPorchlightError(thrown: unknown, code: ErrorCode = 'internal', message?: string): PorchlightError {
  return thrown instanceof PorchlightError ? thrown : new PorchlightError(code, message, { cause: thrown });
}
