import type { Command } from 'commander';
import { canonicalUuid } from '../bluetooth/uuid.ts';
import { PorchlightError } from '../errors.ts';
import { FAMILIES, modelCalled, recognise } from '../families/index.ts';
import type { Io } from '../io.ts';
import { refuseLacking } from '../lights/capabilities.ts';
import { type LightChange, parseChange } from '../lights/change.ts';
import type { Advertisement, GattLayout, LightFamily, Model } from '../lights/family.ts';
import { own, quoted } from '../lights/members.ts';
import type { Identity } from '../lights/port.ts';
import { likely } from '../lights/spelling.ts';
import { type LightState, parseState, UNKNOWN_STATE } from '../lights/state.ts';
import { changeFor, wishOf } from '../lights/wish.ts';

/** No frame and no advertisement field is longer (ATT: 512 bytes). */
const LONGEST_BYTES = 512;

/** One write as a line: `<characteristic> <hex> <request|command>`. */
export type FrameLine = string;

/**
 * The frames that a change would be, without a lamp. `change` and `known` are JSON text or already parsed. Throws `wrong_use` for what
 * cannot be read, `bad_command` for a change that is not one, `unsupported` for a field that the lamp lacks.
 */
export function dryRun(request: {
  readonly family: string;
  readonly name?: string;
  /** Hexadecimal, company id first. */
  readonly manufacturerData?: string;
  readonly known?: unknown;
  readonly change: unknown;
}): readonly FrameLine[] {
  const { family, model } = lampOf(request);
  const known: LightState = request.known === undefined ? UNKNOWN_STATE : readKnown(request.known);
  const change = parseChange(jsonFrom(request.change, 'The change'));
  refuseLacking(change, model);
  const frames = family.encode(absolute(change, known), model, known, layoutOf(family, model));
  return frames.map((frame) => `${frame.characteristic} ${hexOf(frame.bytes)} ${frame.kind}`);
}

/** What `recognise` prints. */
export interface Recognised {
  readonly family: string;
  readonly model: string;
  readonly supported: boolean;
  readonly reason?: string;
}

/** Which family and model claims an advertisement, given as JSON text. Throws `unknown_target` (exit 1) when none does. */
export function recogniseVerb(advertJson: string): Recognised {
  const best = recognise(readAdvert(jsonFrom(advertJson, 'The advertisement')))[0];
  if (best === undefined) {
    throw new PorchlightError('unknown_target', 'No lamp family claims this advertisement.', {
      hint: `Known families: ${familyIds()}. Lamps are told by localName, serviceUuids and manufacturerData.`,
    });
  }
  const { family, model } = best;
  if (model.unsupported === undefined) return { family: family.id, model: model.id, supported: true };
  return { family: family.id, model: model.id, supported: false, reason: model.unsupported };
}

/** What a notification says of the light. Throws `unsupported` (exit 1) where it says nothing, or the family never reports. */
export function decodeVerb(request: {
  readonly family: string;
  readonly name?: string;
  readonly hex: string;
}): LightState {
  const { family, model } = lampOf(request);
  const bytes = bytesFrom(request.hex, 'The notification');
  if (family.decode === undefined) {
    throw new PorchlightError('unsupported', `Lamps of ${family.id} do not report their state.`, {
      hint: 'Their state is assumed from what was written to them.',
    });
  }
  const said = family.decode(bytes, model);
  if (said === undefined) {
    throw new PorchlightError('unsupported', `This says nothing of the light of a ${family.id} lamp.`, {
      hint: 'Give one whole notification, in hexadecimal.',
    });
  }
  return { state: null, ...said, confidence: said.state === null ? 'unknown' : 'confirmed' };
}

/** Registers the verbs that need neither daemon nor radio. */
export function registerOffline(program: Command, io: Io): void {
  const print = (value: unknown): void => io.stdout(`${JSON.stringify(value)}\n`);
  program
    .command('recognise')
    .description('Tell which lamp family and model an advertisement belongs to (offline).')
    .argument(
      '<advert>',
      'JSON: {"localName": ..., "serviceUuids": [...], "manufacturerData": "hex, company id first"}',
    )
    .addHelpText(
      'after',
      `
Prints {family, model, supported, reason?}, or exits 1 when no family claims it.
Example: porchlight recognise '{"localName":"ELK-BLEDOM","serviceUuids":["1812"]}'`,
    )
    .action((advert: string) => print(recogniseVerb(advert)));
  program
    .command('decode')
    .description("Tell what a lamp's notification says of its light (offline).")
    .argument('<hex>', 'the bytes of one notification, in hexadecimal')
    .requiredOption('--family <family>', `one of: ${familyIds()}`)
    .option('--name <name>', 'the name that the lamp advertises (its model may depend on it)')
    .addHelpText(
      'after',
      `
Prints the state as JSON, or exits 1 when the bytes say nothing of it.
Example: porchlight decode --family triones 6615234120000000ff000699`,
    )
    .action((hex: string, options: { family: string; name?: string }) => print(decodeVerb({ ...options, hex })));
}

function familyIds(): string {
  return FAMILIES.map((family) => family.id).join(', ');
}

/** The family by its id, and its model by what the lamp advertises; a model's own id is understood as a name too. */
function lampOf(request: {
  readonly family: string;
  readonly name?: string;
  readonly manufacturerData?: string;
}): Identity {
  const id = request.family.trim().toLowerCase();
  const family = FAMILIES.find((candidate) => candidate.id === id);
  if (family === undefined) {
    const meant = likely(
      id,
      FAMILIES.map((candidate) => candidate.id),
    );
    const help = meant === undefined ? '' : `; did you mean ${meant}?`;
    throw wrongUse(`No lamp family is called ${quoted(request.family)}${help}`, `There are: ${familyIds()}.`);
  }
  const model = modelOf(family, request);
  return { family, model };
}

function modelOf(family: LightFamily, request: { readonly name?: string; readonly manufacturerData?: string }): Model {
  const { name, manufacturerData } = request;
  const data = manufacturerData === undefined ? undefined : bytesFrom(manufacturerData, 'The manufacturer data');
  const advert: Advertisement = {
    serviceUuids: [],
    ...(name === undefined ? {} : { localName: name }),
    ...(data === undefined ? {} : { manufacturerData: data }),
  };
  const found = family.recognise(advert) ?? (name === undefined ? family.models[0] : modelCalled(family, name));
  if (found !== undefined) return found;
  throw wrongUse(
    `No lamp of ${family.id} is called ${quoted(name ?? '')}`,
    `It has: ${family.models.map((model) => model.id).join(', ')}. Without --name, ${family.models[0]?.id} is taken.`,
  );
}

function layoutOf(family: LightFamily, model: Model): GattLayout {
  const layout = family.gatt.find(({ write }) => write === model.usualWrite) ?? family.gatt[0];
  if (layout === undefined) throw new PorchlightError('internal', `${family.id} has no GATT layout.`);
  return layout;
}

/** As a lamp gets it: TOGGLE, black and brightness 0 made absolute. */
function absolute(change: LightChange, known: LightState): LightChange {
  return changeFor(wishOf(change, known.state));
}

function readKnown(given: unknown): LightState {
  try {
    return parseState(jsonFrom(given, 'The known state'));
  } catch (thrown) {
    if (thrown instanceof PorchlightError && thrown.code === 'bad_command') throw wrongUse(thrown.message);
    throw thrown;
  }
}

function readAdvert(value: unknown): Advertisement {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrongUse('The advertisement: a JSON object expected');
  }
  const members = value as Readonly<Record<string, unknown>>;
  const localName = own(members, 'localName') ?? undefined;
  const uuids = own(members, 'serviceUuids') ?? [];
  const data = own(members, 'manufacturerData') ?? undefined;
  if (localName !== undefined && typeof localName !== 'string') throw wrongUse('localName: text expected');
  if (!Array.isArray(uuids)) throw wrongUse('serviceUuids: a list of UUIDs expected');
  if (data !== undefined && typeof data !== 'string') throw wrongUse('manufacturerData: hexadecimal text expected');
  return {
    ...(localName === undefined ? {} : { localName }),
    serviceUuids: uuids.map(uuidFrom),
    ...(data === undefined ? {} : { manufacturerData: bytesFrom(data, 'manufacturerData') }),
  };
}

/** 16, 32 or 128 bits, with or without dashes and `0x`. */
const UUID = /^(0x)?([0-9a-f]{1,8}|[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/i;

function uuidFrom(value: unknown): string {
  const text = typeof value === 'string' ? value.trim() : '';
  if (!UUID.test(text)) throw wrongUse('serviceUuids: a list of UUIDs such as "ffe0" expected');
  return canonicalUuid(text);
}

function bytesFrom(text: string, what: string): Uint8Array {
  const hex = text.replace(/^0x/i, '').replace(/[\s:]/g, '');
  if (hex === '' || hex.length % 2 !== 0 || /[^0-9a-f]/i.test(hex) || hex.length > 2 * LONGEST_BYTES) {
    throw wrongUse(`${what}: pairs of hexadecimal digits expected, at most ${LONGEST_BYTES} bytes`);
  }
  return Uint8Array.from({ length: hex.length / 2 }, (_, index) =>
    Number.parseInt(hex.slice(2 * index, 2 * index + 2), 16),
  );
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function jsonFrom(given: unknown, what: string): unknown {
  if (typeof given !== 'string') return given;
  try {
    return JSON.parse(given);
  } catch {
    // The parser's words repeat the input and say no more than this.
    throw wrongUse(`${what} is not JSON`, 'Put it in single quotes: \'{"state":"ON"}\'.');
  }
}

function wrongUse(message: string, hint?: string): PorchlightError {
  return new PorchlightError('wrong_use', message, hint === undefined ? {} : { hint });
}
