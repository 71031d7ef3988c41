/**
 * Every topic that the gateway uses, built and read in one place. Topics come from the configuration and from well-formed
 * ids only; nothing that a payload or a lamp says ever becomes part of one.
 */

const ID = /^[a-z0-9_-]{1,40}$/;
/** Levels of the tree that have a meaning of their own: no lamp, group or scene may be called so. */
const RESERVED: ReadonlySet<string> = new Set(['local', 'scene', 'gateway', 'response']);
/** What no topic name may hold (MQTT 5, section 4.7.1 and 1.5.4): wildcards, control characters, non-characters, halves of a pair. */
const FORBIDDEN = /[+#\u0000-\u001f\u007f-\u009f\ufffe\uffff]|\p{Surrogate}/u;

/** Longest base topic, in UTF-8 bytes. */
export const MAX_BASE_TOPIC = 100;
/** Longest Response Topic that is answered to, in UTF-8 bytes. */
export const MAX_RESPONSE_TOPIC = 200;

/** `authorized`: commands there carry a token. `local`: the broker's ACL is the authority. */
export type Tree = 'authorized' | 'local';

/** Where a command was published. */
export interface CommandTopic {
  readonly kind: 'lights' | 'scene';
  readonly target: string;
  readonly tree: Tree;
}

/** May this be the name of a lamp, group or scene in a topic? */
export function isTarget(text: string): boolean {
  return ID.test(text) && !RESERVED.has(text);
}

/** May this be the id of a gateway in a topic? Such an id comes from the configuration. */
export function isGatewayId(text: string): boolean {
  return ID.test(text);
}

function isPlainTopic(text: string, maxBytes: number): boolean {
  // The length in UTF-16 units is looked at first: it is never more than the length in bytes, and it costs nothing.
  if (text.length === 0 || text.length > maxBytes || Buffer.byteLength(text) > maxBytes) return false;
  return !FORBIDDEN.test(text) && text.split('/').every((level) => level !== '');
}

/** May all topics of a gateway stand below this? No wildcard, no empty level, none of the broker's own (`$SYS`). */
export function isBaseTopic(text: string): boolean {
  return isPlainTopic(text, MAX_BASE_TOPIC) && !text.startsWith('$');
}

/** The filters under which commands arrive; one level each, so that nothing else is ever delivered. */
export function commandFilters(base: string): readonly string[] {
  return [`${base}/+/set`, `${base}/local/+/set`, `${base}/scene/+/set`, `${base}/local/scene/+/set`];
}

/** What a topic asks for, or undefined when no command can be meant (then nobody is answered). */
export function parseCommandTopic(base: string, topic: string): CommandTopic | undefined {
  // `<base>/local/scene/<40>/set` is the longest there is.
  if (topic.length > base.length + 60 || !topic.startsWith(`${base}/`)) return undefined;
  const levels = topic.slice(base.length + 1).split('/');
  if (levels.pop() !== 'set') return undefined;
  const tree = levels.length > 1 && levels[0] === 'local' ? 'local' : 'authorized';
  if (tree === 'local') levels.shift();
  const kind = levels.length > 1 && levels[0] === 'scene' ? 'scene' : 'lights';
  if (kind === 'scene') levels.shift();
  const [target, ...more] = levels;
  return target !== undefined && more.length === 0 && isTarget(target) ? { kind, target, tree } : undefined;
}

/** Where what is known of a lamp or group is published. */
export function stateTopic(base: string, target: string): string {
  return `${base}/${target}/state`;
}

/** Where it is said whether a lamp can be reached. */
export function availabilityTopic(base: string, light: string): string {
  return `${base}/${light}/availability`;
}

/** Where the outcome of a command is published: beside its target, whichever tree it came by. */
export function resultTopic(base: string, command: CommandTopic): string {
  return command.kind === 'scene' ? `${base}/scene/${command.target}/result` : `${base}/${command.target}/result`;
}

/** Where a gateway says whether it is there; its will speaks here when it is not. */
export function gatewayAvailabilityTopic(base: string, gateway: string): string {
  return `${base}/gateway/${gateway}/availability`;
}

/** Where a gateway says how it is. */
export function gatewayStatusTopic(base: string, gateway: string): string {
  return `${base}/gateway/${gateway}/status`;
}

/** Which gateway speaks in this availability topic, if it is one. */
export function parseGatewayAvailability(base: string, topic: string): string | undefined {
  const [before, after] = [`${base}/gateway/`, '/availability'];
  if (topic.length > before.length + 40 + after.length) return undefined;
  if (!topic.startsWith(before) || !topic.endsWith(after)) return undefined;
  const id = topic.slice(before.length, -after.length);
  return isGatewayId(id) ? id : undefined;
}

/** May an answer go here? Only below `<base>/response/`: whoever commands must not make the gateway write elsewhere. */
export function isResponseTopic(base: string, topic: string): boolean {
  return topic.startsWith(`${base}/response/`) && isPlainTopic(topic, MAX_RESPONSE_TOPIC);
}
