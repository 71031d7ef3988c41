import type { IPublishPacket } from 'mqtt';
import { PorchlightError } from '../errors.ts';
import { type ReadBody, readCommandBody } from '../lights/change.ts';
import type { Command, Credential, Proof } from '../lights/command.ts';
import type { CommandTopic } from './topics.ts';

type UserProperties = NonNullable<NonNullable<IPublishPacket['properties']>['userProperties']>;

/**
 * One message as a command; what is wrong with its payload is the command's `problem`. `now` is monotonic, in milliseconds.
 * Throws `token_invalid`: more than one token, or not a bearer token; `proof_invalid`: more than one proof.
 */
export function readCommand(topic: CommandTopic, payload: Uint8Array, packet: IPublishPacket, now: number): Command {
  const properties = packet.properties ?? {};
  const read = readCommandBody(payload, topic.kind);
  const sentAt = sentAtOf(read, properties.userProperties);
  const proof = topic.tree === 'local' ? undefined : proofOf(packet, payload);
  const body = Number.isNaN(sentAt) ? { ...read, problem: read.problem ?? NO_TIME } : read;
  const expiresAt = expiryOf(body, properties.messageExpiryInterval, now);
  return {
    kind: topic.kind,
    target: topic.target,
    change: body.change,
    credential: credentialOf(topic, body, properties.userProperties, proof),
    receivedAt: now,
    retained: packet.retain,
    ...(body.problem === undefined ? {} : { problem: body.problem }),
    ...(body.id === undefined ? {} : { id: body.id }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    ...(sentAt === undefined ? {} : { sentAt }),
  };
}

/** The one value of a user property; MQTT allows it many times (MQTT 5, section 3.3.2.3.7). */
function single(properties: UserProperties | undefined, name: string): string | undefined | 'many' {
  const value = properties?.[name];
  if (!Array.isArray(value)) return value;
  return value.length === 1 ? value[0] : 'many';
}

const NO_TIME = new PorchlightError('bad_command', 'The user property "sent_at" is not a time.');

const BEARER = /^bearer +(\S.*)$/i;

function credentialOf(
  topic: CommandTopic,
  body: ReadBody,
  properties: UserProperties | undefined,
  proof: Proof | undefined,
): Credential {
  if (topic.tree === 'local') return { kind: 'broker' };
  const property = single(properties, 'authorization');
  if (property === 'many') throw new PorchlightError('token_invalid', 'The command carried more than one token.');
  const fromProperty = property === undefined ? undefined : BEARER.exec(property)?.[1]?.trim();
  if (property !== undefined && fromProperty === undefined) {
    throw new PorchlightError('token_invalid', 'The user property "authorization" is not "Bearer <token>".');
  }
  const member = body.authorization;
  const fromMember = member === undefined ? undefined : (BEARER.exec(member)?.[1] ?? member).trim();
  if (fromProperty !== undefined && fromMember !== undefined && fromProperty !== fromMember) {
    throw new PorchlightError('token_invalid', 'The command carried two different tokens.');
  }
  return { kind: 'bearer', token: fromProperty ?? fromMember, ...(proof === undefined ? {} : { proof }) };
}

/** The proof that came with the message, and what of the message it must fit. A proof has one signer, so two are none. */
function proofOf({ topic, properties = {} }: IPublishPacket, payload: Uint8Array): Proof | undefined {
  const { userProperties, responseTopic } = properties;
  const jwt = single(userProperties, 'proof');
  if (jwt === undefined) return undefined;
  if (jwt === 'many') throw new PorchlightError('proof_invalid', 'The command carried more than one proof.');
  return { jwt, topic, payload, ...(responseTopic === undefined ? {} : { responseTopic }) };
}

/** The sooner of the sender's `expires_in` and the broker's Message Expiry Interval (the seconds that are left of it). */
function expiryOf(body: ReadBody, interval: number | undefined, now: number): number | undefined {
  const seconds = Math.min(body.expires_in ?? Number.POSITIVE_INFINITY, interval ?? Number.POSITIVE_INFINITY);
  return Number.isFinite(seconds) ? now + seconds * 1000 : undefined;
}

/** When the sender says it sent this, NaN where that is no time; of two statements the earlier one counts, which is the stricter one. */
function sentAtOf(body: ReadBody, properties: UserProperties | undefined): number | undefined {
  const property = single(properties, 'sent_at');
  if (property === undefined) return body.sent_at;
  const stated = parseTime(property);
  return Math.min(stated, body.sent_at ?? stated);
}

function parseTime(text: string): number {
  // An instant of ISO 8601 with its zone (without one it would mean something else on each machine), or seconds since 1970.
  const time = /^\d{1,12}(\.\d{1,9})?$/.test(text)
    ? Number(text) * 1000
    : INSTANT.test(text)
      ? Date.parse(text)
      : Number.NaN;
  return time;
}

const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/;
