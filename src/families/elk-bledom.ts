import { effectNamed, kelvinWithin } from '../lights/capabilities.ts';
import type { LightChange } from '../lights/change.ts';
import { rgbOf } from '../lights/color.ts';
import type { Frame, GattLayout, LightFamily, Model } from '../lights/family.ts';
import { bytesOf } from './bytes.ts';
import { modelNamed } from './names.ts';

/**
 * ELK-BLEDOM, also sold as Lotus Lantern, duoCo and MELK: nine bytes from 7E to EF, and never an answer.
 * Sources: arduino12/ble_rgb_led_strip_controller, FergusInLondon/ELK-BLEDOM, dave-code-ruiz/elkbledom (models.json),
 * 8none1/elk-bledob (captures), opengatt/registry (led-elk).
 */
interface ElkModel extends Model {
  readonly names: readonly string[];
  readonly frames: {
    readonly on: string;
    readonly off: string;
    /** R G B: 0-255. */
    readonly color: string;
    /** P: percent. */
    readonly brightness: string;
    /** W C: warm and cold percent, together 100. */
    readonly temperature: string;
    /** E: the number of the effect. */
    readonly effect: string;
  };
}

/** Effects by number. The words before "fade" and "blink" are single colours; several are their initials. */
const EFFECTS: Readonly<Record<string, number>> = {
  'solid red': 0x80,
  'solid green': 0x81,
  'solid blue': 0x82,
  'solid yellow': 0x83,
  'solid cyan': 0x84,
  'solid magenta': 0x85,
  'solid white': 0x86,
  'jump rgb': 0x87,
  'jump 7': 0x88,
  'fade rgb': 0x89,
  'fade 7': 0x8a,
  'red fade': 0x8b,
  'green fade': 0x8c,
  'blue fade': 0x8d,
  'yellow fade': 0x8e,
  'cyan fade': 0x8f,
  'magenta fade': 0x90,
  'white fade': 0x91,
  'fade rg': 0x92,
  'fade rb': 0x93,
  'fade gb': 0x94,
  'blink 7': 0x95,
  'red blink': 0x96,
  'green blink': 0x97,
  'blue blink': 0x98,
  'yellow blink': 0x99,
  'cyan blink': 0x9a,
  'magenta blink': 0x9b,
  'white blink': 0x9c,
};

/** The frames of the plain ELK-BLEDOM. arduino12's own lamp takes the plain on (7E 00 04 01) instead of the F0 form. */
const BLEDOM: ElkModel = {
  id: 'ELK-BLEDOM',
  names: ['ELK-BLE', 'ELK-BLEDOM', 'XSL-', 'LED LIGHT STRIP'],
  brightness: 'native',
  color: true,
  color_temp: { min: 1800, max: 7000 },
  effects: Object.keys(EFFECTS),
  frames: {
    on: '7E 00 04 F0 00 01 FF 00 EF',
    off: '7E 00 04 00 00 00 FF 00 EF',
    color: '7E 00 05 03 R G B 00 EF',
    brightness: '7E 00 01 P 00 00 00 00 EF',
    temperature: '7E 00 05 02 W C 00 00 EF',
    effect: '7E 00 03 E 03 00 00 00 EF',
  },
};

/** Two short writes that wake a MELK after each connect, a second apart; without them it ignores everything. */
const MELK_WAKE = {
  frames: ['7E 07 83', '7E 04 04'].map((bytes) => frame(bytes)),
  gap_ms: 1000,
};

/** MELK effects have numbers but no agreed names, so none is offered. */
const MELK: ElkModel = {
  id: 'MELK',
  names: ['MELK'],
  brightness: 'native',
  color: true,
  color_temp: { min: 1800, max: 7000 },
  wake: MELK_WAKE,
  frames: {
    ...BLEDOM.frames,
    on: '7E 00 04 01 00 00 00 00 EF',
    brightness: '7E 04 01 P FF 00 FF 00 EF',
    temperature: '7E 06 05 02 W C FF 08 EF',
    effect: '7E 05 03 E 06 FF FF 00 EF',
  },
};

const BLEDDM_POWER = { on: '7E 04 04 F0 00 01 FF 00 EF', off: '7E 04 04 00 00 00 FF 00 EF' };

const BULB: ElkModel = {
  ...BLEDOM,
  id: 'ELK-BULB',
  names: ['ELK-BULB'],
  frames: { ...BLEDOM.frames, on: '7E 00 04 01 00 00 00 00 EF', brightness: '7E 04 01 P FF 00 FF 00 EF' },
};

const MODELS: readonly ElkModel[] = [
  BLEDOM,
  {
    // Tunable white only: its colour frame exists, but there is nothing to show it.
    id: 'ELK-BTC',
    names: ['ELK-BTC', 'ELK-BTCW'],
    brightness: 'native',
    color_temp: { min: 2700, max: 6500 },
    effects: Object.keys(EFFECTS),
    frames: { ...BLEDOM.frames, color: '7E 00 05 03 R G B 0A EF', effect: '7E 00 03 E 03 FF FF 00 EF' },
  },
  {
    ...BLEDOM,
    id: 'ELK-BLEDOB',
    names: ['ELK-BLEDOB'],
    frames: {
      on: '7E 07 04 FF 00 01 02 01 EF',
      off: '7E 07 04 00 00 00 02 01 EF',
      color: '7E 07 05 03 R G B 10 EF',
      brightness: '7E 04 01 P 01 FF 02 01 EF',
      temperature: '7E 07 05 02 W C 00 00 EF',
      effect: '7E 07 03 E 03 FF FF 00 EF',
    },
  },
  {
    ...BLEDOM,
    id: 'ELK-BLEDDM',
    names: ['ELK-BLEDDM'],
    frames: { ...BLEDOM.frames, ...BLEDDM_POWER, brightness: '7E 04 01 P FF 00 FF 00 EF' },
  },
  {
    ...BLEDOM,
    id: 'ELK-BLEDW',
    names: ['ELK-BLEDW'],
    frames: {
      on: '7E 04 04 01 FF FF FF 00 EF',
      off: '7E 04 04 00 FF FF FF 00 EF',
      color: '7E 07 05 03 R G B 00 EF',
      brightness: '7E 04 01 P FF FF FF 00 EF',
      temperature: '7E 06 05 02 W C FF 08 EF',
      effect: '7E 05 03 E 03 FF FF 00 EF',
    },
  },
  BULB,
  { ...BULB, id: 'ELK-LAMPL', names: ['ELK-LAMPL'] },
  MELK,
  {
    ...MELK,
    id: 'MELK-OA10',
    names: ['MELK-OA10', 'MELK-OC10', 'MELK-OF10'],
    frames: { ...MELK.frames, ...BLEDDM_POWER, brightness: '7E 04 01 P 01 FF FF 00 EF' },
  },
  {
    ...MELK,
    id: 'MELK-OG10',
    names: ['MELK-OG10'],
    frames: { ...MELK.frames, on: '7E 07 04 FF 00 01 02 01 EF', off: '7E 07 04 00 00 00 02 00 EF' },
  },
];

/** No `notify`: its notifications say nothing dependable, and MELKs must not be subscribed to. */
const GATT: readonly GattLayout[] = [{ service: 'fff0', write: 'fff3' }];

function frame(template: string, values?: Readonly<Record<string, number>>, characteristic = 'fff3'): Frame {
  return { characteristic, bytes: bytesOf(template, values), kind: 'command' };
}

/** Percent of 0-255; the faintest light is 1 percent, never 0. */
function percent(brightness: number): number {
  return brightness === 0 ? 0 : Math.max(1, Math.round((brightness * 100) / 255));
}

/** Linear in kelvin: warm 100 at the low end of the range, cold 100 at the high end. */
function warmAndCold(kelvin: number, model: ElkModel): { readonly W: number; readonly C: number } {
  const { min, max } = model.color_temp ?? { min: 1800, max: 7000 };
  const C = Math.round(((kelvinWithin(kelvin, model) - min) / (max - min)) * 100);
  return { W: 100 - C, C };
}

export const elkBledom: LightFamily<ElkModel> = {
  id: 'elk-bledom',
  gatt: GATT,
  models: MODELS,
  // Often only the (unreal) HID service 1812 is advertised, so the name alone decides.
  recognise: (advert) => modelNamed(MODELS, advert),
  encode(change: LightChange, model, _known, layout) {
    const { on, off, color, brightness, temperature, effect } = model.frames;
    const make = (template: string, values?: Readonly<Record<string, number>>) => frame(template, values, layout.write);
    if (change.state === 'OFF' || change.brightness === 0) return [make(off)];
    const frames = [make(on)];
    if (change.color !== undefined) {
      const { r, g, b } = rgbOf(change.color);
      frames.push(make(color, { R: r, G: g, B: b }));
    }
    if (change.color_temp !== undefined) frames.push(make(temperature, warmAndCold(change.color_temp, model)));
    const named = change.effect === undefined ? undefined : EFFECTS[effectNamed(change.effect, model) ?? ''];
    if (named !== undefined) frames.push(make(effect, { E: named }));
    if (change.brightness !== undefined) frames.push(make(brightness, { P: percent(change.brightness) }));
    return frames;
  },
};
