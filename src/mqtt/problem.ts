import { ERRORS, PorchlightError } from '../errors.ts';
import { printable } from '../log.ts';

/** Why there is no connection to the broker, in words for a person. Never holds a password, key or token. */
export interface Problem {
  readonly code: 'broker_unreachable' | 'config_invalid';
  readonly message: string;
  readonly hint: string;
}

/**
 * Why a connection could not be made, or ended. `version`: the broker does not speak this version of MQTT. `mute`: it closed
 * without a word. `refused`: the credentials were refused. `taken_over`: another client uses our client id. `no_retain` and `no_qos`: the
 * broker cannot do what our will asks for. `error`: anything else.
 */
export interface Failure {
  readonly kind: 'version' | 'mute' | 'refused' | 'taken_over' | 'no_retain' | 'no_qos' | 'error';
  readonly problem: Problem;
}

/** A problem of the connection to the broker. */
export function problem(message: string, hint: string = ERRORS.broker_unreachable.hint): Problem {
  return { code: 'broker_unreachable', message, hint };
}

const SYSTEM: Readonly<Record<string, readonly [what: string, hint: string]>> = {
  ECONNREFUSED: ['refuses connections', 'Is the broker running, and is the port of mqtt.url right?'],
  ENOTFOUND: ['has a name that nobody knows', 'Check the host of mqtt.url, and the name server of this machine.'],
  EAI_AGAIN: ['has a name that cannot be looked up now', 'Check the network and the name server of this machine.'],
  ETIMEDOUT: ['does not answer', 'Is the machine on, and does a firewall let this port through?'],
  EHOSTUNREACH: ['cannot be reached', 'Is the machine on, and in this network?'],
  ENETUNREACH: ['cannot be reached: there is no network', 'Check the network of this machine.'],
  ECONNRESET: ['broke the connection', 'Is it an MQTT broker, and does mqtt.url say mqtts where it wants TLS?'],
  EPIPE: ['broke the connection', 'Is it an MQTT broker, and does mqtt.url say mqtts where it wants TLS?'],
  CERT_HAS_EXPIRED: ['shows a certificate that has expired', "Renew the broker's certificate; check the clock here."],
  CERT_NOT_YET_VALID: ['shows a certificate that is not valid yet', 'Check the clock of this machine.'],
  ERR_TLS_CERT_ALTNAME_INVALID: [
    'shows a certificate for another host name',
    'Use the name in the certificate in mqtt.url, or give the broker a certificate for this one.',
  ],
  ERR_SSL_WRONG_VERSION_NUMBER: ['does not speak TLS on this port', 'Is it the port for TLS (usually 8883)?'],
  EPROTO: ['does not speak TLS as expected', 'Is it the port for TLS (usually 8883)?'],
};
const UNTRUSTED: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_UNTRUSTED',
  'CERT_SIGNATURE_FAILURE',
  'INVALID_CA',
]);
const CLIENT_CERTIFICATE =
  /ALERT_(CERTIFICATE|UNKNOWN_CA|BAD_CERTIFICATE|HANDSHAKE_FAILURE|ACCESS_DENIED)|BAD_CERTIFICATE/;

function codeOf(thrown: unknown): string {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : '';
}

/** What a broken connection, a failed TLS handshake or an unusable key says. `broker`: host and port. */
export function explainError(broker: string, thrown: unknown): Problem {
  if (thrown instanceof PorchlightError) return problem(thrown.message, thrown.hint);
  const code = codeOf(thrown);
  const known = SYSTEM[code];
  if (known !== undefined) return problem(`The MQTT broker at ${broker} ${known[0]}.`, known[1]);
  if (UNTRUSTED.has(code)) {
    return problem(
      `The MQTT broker at ${broker} shows a certificate that is not trusted here (self-signed, or of a private authority).`,
      'Give the certificate of the authority that issued it as mqtt.ca_file.',
    );
  }
  if (CLIENT_CERTIFICATE.test(code)) {
    return problem(
      `The MQTT broker at ${broker} did not accept the certificate of this gateway, or wants one.`,
      'Check mqtt.cert_file and mqtt.key_file with whoever runs the broker.',
    );
  }
  if (code.startsWith('ERR_OSSL')) {
    return problem(
      'The certificate or key for the MQTT broker cannot be used.',
      'Check that mqtt.ca_file, mqtt.cert_file and mqtt.key_file are PEM files, and that the key belongs to the certificate.',
    );
  }
  const words = thrown instanceof Error && thrown.message !== '' ? `: ${printable(thrown.message, 120)}` : '';
  return problem(`The connection to the MQTT broker at ${broker} failed${words}.`);
}

const CREDENTIALS: ReadonlySet<number> = new Set([0x86, 0x87, 0x8a, 0x8c, 4, 5]);
/** 0x84 and, in 3.1.1, 1; brokers older than MQTT 5 also answer 0x81 or 0x82 to a CONNECT that they cannot read. */
const VERSION: ReadonlySet<number> = new Set([0x84, 0x81, 0x82, 1]);

/** What a CONNACK that refuses says (MQTT 5, section 3.2.2.2; MQTT 3.1.1, section 3.2.2.3). */
export function explainRefusal(broker: string, code: number): Failure {
  const hex = code > 5 ? `0x${code.toString(16)}` : String(code);
  if (CREDENTIALS.has(code)) {
    const message = `The MQTT broker at ${broker} refused the user name or password of this gateway (${hex}).`;
    return { kind: 'refused', problem: problem(message, 'Check mqtt.username and mqtt.password_file.') };
  }
  if (VERSION.has(code)) {
    const message = `The MQTT broker at ${broker} does not speak this version of MQTT (${hex}).`;
    return { kind: 'version', problem: problem(message, 'A broker for MQTT 5 or 3.1.1 is needed.') };
  }
  const kind =
    code === 0x9a ? 'no_retain' : code === 0x9b ? 'no_qos' : code === 2 || code === 0x85 ? 'refused' : 'error';
  const message = `The MQTT broker at ${broker} refused this gateway (${hex}).`;
  return { kind, problem: problem(message, "See the broker's log; the gateway keeps trying.") };
}

/** What a DISCONNECT from the broker says (MQTT 5, section 3.14.2.1). */
export function explainDisconnect(broker: string, code: number): Failure {
  if (code === 0x8e) return { kind: 'taken_over', problem: takenOver(broker) };
  if (code === 0x87) return explainRefusal(broker, code);
  const message = `The MQTT broker at ${broker} ended the connection (0x${code.toString(16)}).`;
  return { kind: 'error', problem: problem(message, "See the broker's log; the gateway keeps trying.") };
}

/** Someone else uses our client id. `who` begins the sentence: `Another`, or `It seems that another`. */
export function takenOver(broker: string, who = 'Another'): Problem {
  return problem(
    `${who} client with the client id of this gateway took over its connection to the MQTT broker at ${broker}.`,
    'Is a second gateway running with the same gateway.id? Give each its own, and each its own broker user.',
  );
}
