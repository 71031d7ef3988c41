import { effectNamed } from '../lights/capabilities.ts';
import type { LightChange, Rgb } from '../lights/change.ts';
import { dimmed, isBlack, rgbOf, undimmed } from '../lights/color.ts';
import type { Advertisement, Frame, GattLayout, LightFamily, Model } from '../lights/family.ts';
import type { LightState } from '../lights/state.ts';
import { bytesOf } from './bytes.ts';
import { modelNamed } from './names.ts';

/**
 * Triones, also sold as Happy Lighting, LEDBlue and Magic Blue; Zerproc speaks the same words with fewer bits.
 * Sources: madhead/saberlight, Betree/magicblue, Bluetooth-Devices/led-ble, sysofwan/ha-triones, emlove/pyzerproc,
 * carlfriess/triones-hap-bridge, opengatt/registry.
 */
interface TrionesModel extends Model {
  /** Colours are stored in 32 steps (emlove/pyzerproc); 255 stays 255. */
  readonly steps?: 32;
}

const EFFECTS: Readonly<Record<string, number>> = {
  'seven-colour fade': 0x25,
  'red fade': 0x26,
  'green fade': 0x27,
  'blue fade': 0x28,
  'yellow fade': 0x29,
  'cyan fade': 0x2a,
  'purple fade': 0x2b,
  'white fade': 0x2c,
  'rg fade': 0x2d,
  'rb fade': 0x2e,
  'gb fade': 0x2f,
  'seven-colour strobe': 0x30,
  'red strobe': 0x31,
  'green strobe': 0x32,
  'blue strobe': 0x33,
  'yellow strobe': 0x34,
  'cyan strobe': 0x35,
  'purple strobe': 0x36,
  'white strobe': 0x37,
  'seven-colour jump': 0x38,
};
const EFFECT_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(EFFECTS).map(([name, number]) => [number, name]),
);

/** 01 is fast, 1F slow; a LightChange carries no speed. */
const EFFECT_SPEED = 0x10;

const TRIONES: TrionesModel = {
  id: 'Triones',
  names: ['Triones:', 'Triones-', 'Triones*', 'LEDBlue-', 'QHM-', 'BLE-LED', 'AP-'],
  brightness: 'scaled',
  color: true,
  white: true,
  effects: Object.keys(EFFECTS),
};

const ZERPROC: TrionesModel = {
  id: 'Zerproc',
  brightness: 'scaled',
  color: true,
  steps: 32,
  rounding: 9,
  usualWrite: 'ffe9',
};

const MODELS: readonly TrionesModel[] = [
  TRIONES,
  // Three protocols advertise `LEDBLE-`; eight hexadecimal digits after it are this one (`LEDBLE-01-...` is LED Lamp).
  { ...TRIONES, id: 'Magic Blue', names: ['LEDBLE-########'], usualWrite: 'ffe9' },
  // Its effects have numbers only (9E 00 index ...) and it has no white LED.
  { id: 'Dream', names: ['Dream~'], brightness: 'scaled', color: true },
  ZERPROC,
];

/** Some parts show the service's short id on the characteristic itself, so those come beside the usual ones. */
const GATT: readonly GattLayout[] = [
  { service: 'ffd5', write: 'ffd9', notify: 'ffd4' },
  { service: 'ffe5', write: 'ffe9', notify: 'ffe4' },
  { write: 'ffd5', notify: 'ffd0' },
  { write: 'ffe5', notify: 'ffe0' },
];

/** A Zerproc has no name of its own: it is told by these three services together. */
const ZERPROC_SERVICES = ['ffe0', 'ffe5', 'fff0'];
/** No other protocol is known to use this one, so it tells a Triones that goes by a name of its own. */
const ONLY_TRIONES = 'ffd5';

function recognise(advert: Advertisement): TrionesModel | undefined {
  const named = modelNamed(MODELS, advert);
  const zerproc = ZERPROC_SERVICES.every((service) => advert.serviceUuids.includes(service));
  if (zerproc && named?.id !== 'Dream') return ZERPROC;
  return named ?? (advert.serviceUuids.includes(ONLY_TRIONES) ? TRIONES : undefined);
}

function frame(template: string, characteristic: string, values?: Readonly<Record<string, number>>): Frame {
  // Characteristic ffd9 takes writes without response only.
  return { characteristic, bytes: bytesOf(template, values), kind: 'command' };
}

/** What a model makes of a channel: itself, or one of 32 steps rounded up (pyzerproc), with 255 kept as it is. */
function stored(channel: number, model: TrionesModel): number {
  return model.steps === undefined || channel === 255 ? channel : Math.ceil((channel * 31) / 255);
}

function read(channel: number, model: TrionesModel): number {
  return model.steps === undefined ? channel : Math.min(255, Math.round((channel * 255) / 31));
}

/** The colour to scale when only a brightness is given: the one that it shows, else white, which every model can mix. */
const UNKNOWN_COLOR: Rgb = { r: 255, g: 255, b: 255 };

/** White 0-255 of a change, or of the known state where a brightness alone is to scale it. */
function whiteOf(change: LightChange, known: LightState): number | undefined {
  if (change.white !== undefined) {
    const scaled = Math.round((change.white * (change.brightness ?? 255)) / 255);
    return change.white > 0 && change.brightness !== 0 ? Math.max(1, scaled) : 0;
  }
  const keepsWhite = change.color === undefined && change.effect === undefined && known.color_mode === 'white';
  return keepsWhite ? change.brightness : undefined;
}

function encode(change: LightChange, model: TrionesModel, known: LightState, layout: GattLayout): readonly Frame[] {
  const make = (template: string, values?: Readonly<Record<string, number>>) => frame(template, layout.write, values);
  const off = [make('CC 24 33')];
  if (change.state === 'OFF' || change.brightness === 0) return off;

  const frames = [make('CC 23 33')];
  const white = whiteOf(change, known);
  if (white === 0) return off;
  if (white !== undefined) {
    frames.push(make('56 00 00 00 W 0F AA', { W: white }));
  } else if (change.color !== undefined || (change.brightness !== undefined && change.effect === undefined)) {
    const color = change.color === undefined ? (known.color ?? UNKNOWN_COLOR) : rgbOf(change.color);
    if (isBlack(color) && change.color !== undefined) return off;
    const { r, g, b } = dimmed(isBlack(color) ? UNKNOWN_COLOR : color, change.brightness ?? known.brightness ?? 255);
    frames.push(make('56 R G B 00 F0 AA', { R: stored(r, model), G: stored(g, model), B: stored(b, model) }));
  }
  const effect = change.effect === undefined ? undefined : EFFECTS[effectNamed(change.effect, model) ?? ''];
  if (effect !== undefined) frames.push(make('BB E S 44', { E: effect, S: EFFECT_SPEED }));
  return frames;
}

/** Power byte, in both forms of a status. */
function powerOf(byte: number | undefined): 'ON' | 'OFF' | null {
  if (byte === 0x23) return 'ON';
  return byte === 0x24 ? 'OFF' : null;
}

/** The mode byte of a lamp that shows one colour. */
const STATIC = 0x41;

/**
 * A status: 12 bytes from 66 to 99; some models say 81 and leave the last byte out; or 4 bytes `CC power ...`, an echo of the
 * power alone.
 */
function decode(bytes: Uint8Array, model: TrionesModel): Partial<LightState> | undefined {
  const [head, second, third, mode = 0] = bytes;
  if (head === 0xcc && bytes.length === 4) return { state: powerOf(second) };
  const whole = bytes.length === 12 && bytes[11] === 0x99 && (head === 0x66 || head === 0x81);
  const short = bytes.length === 11 && head === 0x81;
  if (!whole && !short) return undefined;

  const state = powerOf(third);
  if (state === null) return { state };
  const effect = EFFECT_NAMES.get(mode);
  if (effect !== undefined) return { state, effect };
  // Zerprocs fill the mode with bytes of their own (16 was seen), and always show the one colour.
  if (mode !== STATIC && model.steps === undefined) return { state };
  return { state, ...lookOf(bytes, model) };
}

function lookOf(bytes: Uint8Array, model: TrionesModel): Partial<LightState> {
  const [r = 0, g = 0, b = 0, white = 0] = bytes.subarray(6, 10);
  const shown = undimmed({ r: read(r, model), g: read(g, model), b: read(b, model) });
  if (shown !== undefined) return { ...shown, color_mode: 'rgb' };
  return white === 0 ? {} : { brightness: white, color_mode: 'white' };
}

export const triones: LightFamily<TrionesModel> = {
  id: 'triones',
  gatt: GATT,
  models: MODELS,
  recognise,
  encode,
  decode,
  query: (_model, layout) => frame('EF 01 77', layout.write),
};
