import type { ServiceSpec } from '../gatt.ts';
import type { LampSpec } from '../messages.ts';
import { DARK, fits, type LampKind, type Reaction, type Writing } from './kind.ts';

/**
 * ELK-BLEDOM, Lotus Lantern, duoCo and MELK lamps: nine bytes `7E .. EF` on one characteristic, and never an answer. As
 * described by arduino12/ble_rgb_led_strip_controller, FergusInLondon/ELK-BLEDOM, 8none1/elk-bledob,
 * dave-code-ruiz/elkbledom (models.json) and the opengatt/registry.
 */
export const elkBledom: LampKind = {
  // HID, which they do not have; `fff0` is not advertised (home-assistant/core#90407).
  advertised: () => ['1812'],
  services,
  control: () => ({ write: 'fff3', notify: 'fff4' }),
  initial: DARK,
  obey,
};

/** Which power frames a lamp obeys (byte 1 and the unused tail vary by app), and what else is its own. */
interface Row {
  readonly prefix: string;
  readonly on: string;
  readonly off: string;
  readonly color: boolean;
  /** Byte 4 of its effect frame, and the effect numbers it has. */
  readonly effect: { readonly mark: number; readonly low: number; readonly high: number };
  /** Deaf until two wake writes have come. */
  readonly wake?: true;
}

const OFF = '7e .. 04 00 .. 00 .. .. ef';
const ON_PLAIN = '7e .. 04 01 .. .. .. .. ef';
const ON_F0 = '7e .. 04 f0 .. 01 .. .. ef';
const ON_FF = '7e .. 04 ff .. 01 02 .. ef';
const OFF_02 = '7e .. 04 00 .. 00 02 .. ef';
const COMMON = { mark: 3, low: 0x80, high: 0x9c };
const MELK = { mark: 6, low: 0, high: 212 };

/** The longest prefix of the name decides. */
const ROWS: readonly Row[] = [
  { prefix: 'ELK-BLE', on: ON_F0, off: OFF, color: true, effect: COMMON },
  { prefix: 'ELK-BTC', on: ON_F0, off: OFF, color: false, effect: COMMON },
  { prefix: 'ELK-BLEDOB', on: ON_FF, off: OFF_02, color: true, effect: COMMON },
  { prefix: 'ELK-BLEDDM', on: ON_F0, off: OFF, color: true, effect: COMMON },
  {
    prefix: 'ELK-BLEDW',
    on: '7e .. 04 01 ff .. .. .. ef',
    off: '7e .. 04 00 ff .. .. .. ef',
    color: true,
    effect: COMMON,
  },
  { prefix: 'ELK-BULB', on: ON_PLAIN, off: OFF, color: true, effect: COMMON },
  { prefix: 'ELK-LAMPL', on: ON_PLAIN, off: OFF, color: true, effect: COMMON },
  { prefix: 'MELK', on: ON_PLAIN, off: OFF, color: true, effect: MELK, wake: true },
  { prefix: 'MELK-OA10', on: ON_F0, off: OFF, color: true, effect: MELK, wake: true },
  { prefix: 'MELK-OC10', on: ON_F0, off: OFF, color: true, effect: MELK, wake: true },
  { prefix: 'MELK-OF10', on: ON_F0, off: OFF, color: true, effect: MELK, wake: true },
  { prefix: 'MELK-OG10', on: ON_FF, off: OFF_02, color: true, effect: MELK, wake: true },
];
const FALLBACK: Row = { prefix: '', on: ON_F0, off: OFF, color: true, effect: COMMON };

function rowOf(spec: LampSpec): Row {
  const name = (spec.variant ?? spec.name).toUpperCase();
  return ROWS.filter((row) => name.startsWith(row.prefix)).reduce(
    (best, row) => (row.prefix.length > best.prefix.length ? row : best),
    FALLBACK,
  );
}

function services(spec: LampSpec): readonly ServiceSpec[] {
  return [
    {
      uuid: 'fff0',
      characteristics: [
        {
          uuid: 'fff3',
          properties:
            spec.writes === 'command' ? ['read', 'writeWithoutResponse'] : ['read', 'writeWithoutResponse', 'write'],
          // 16 bytes can be read; nobody has found out what they mean (FergusInLondon).
          value: new Uint8Array(16),
        },
        { uuid: 'fff4', properties: ['notify'] },
      ],
    },
  ];
}

const WAKE = ['7e 07 83', '7e 04 04'] as const;

function obey(writing: Writing): Reaction | undefined {
  const { bytes, spec, session, now } = writing;
  const row = rowOf(spec);
  if (row.wake && session.woken < WAKE.length) {
    if (!fits(bytes, WAKE[session.woken] ?? '')) return undefined;
    if (session.woken > 0 && now - session.wokenAt < spec.wakeGapMs) return undefined;
    session.woken += 1;
    session.wokenAt = now;
    return {};
  }
  if (row.wake && WAKE.some((pattern) => fits(bytes, pattern))) return {};
  if (!fits(bytes, '7e .. .. .. .. .. .. .. ef')) return undefined;
  return bytes[2] === 0x04 ? power(bytes, row) : setting(writing, row);
}

function power(bytes: Uint8Array, row: Row): Reaction | undefined {
  if (fits(bytes, row.on)) return { state: { on: true } };
  return fits(bytes, row.off) ? { state: { on: false } } : undefined;
}

function setting({ bytes, state }: Writing, row: Row): Reaction | undefined {
  const [, , command = 0, b3 = 0, b4 = 0, b5 = 0, b6 = 0] = bytes;
  switch (command) {
    case 0x01:
      // Modes that set their own light ignore brightness: jumps, blinks and grayscale.
      if (
        b3 > 100 ||
        state.mode === 'grayscale' ||
        (row.effect === COMMON && state.mode === 'effect' && jumps(state.effect))
      )
        return undefined;
      return { state: { brightness: b3 } };
    case 0x02:
      return b3 > 100 ? undefined : { state: { speed: b3 } };
    case 0x03:
      return pattern(b3, b4, row);
    case 0x05:
      return shade(b3, [b4, b5, b6], row);
    // Pin order, timers and the clock: taken, but nothing here shows them.
    case 0x08:
      return b3 >= 1 && b3 <= 6 ? {} : undefined;
    case 0x81:
    case 0x82:
    case 0x83:
      return {};
    default:
      return undefined;
  }
}

/** 87 and 88 jump, 95-9C blink. */
function jumps(effect: number): boolean {
  return effect === 0x87 || effect === 0x88 || (effect >= 0x95 && effect <= 0x9c);
}

function pattern(id: number, mark: number, row: Row): Reaction | undefined {
  if (mark === 0x02 && id >= 0x80 && id <= 0x8a) return { state: { mode: 'preset', effect: id } };
  if (mark !== row.effect.mark || id < row.effect.low || id > row.effect.high) return undefined;
  return { state: { mode: 'effect', effect: id } };
}

function shade(form: number, [x, y, z]: readonly [number, number, number], row: Row): Reaction | undefined {
  if (form === 0x03) return row.color ? { state: { mode: 'color', color: { r: x, g: y, b: z } } } : undefined;
  if (form === 0x02) return x > 100 || y > 100 ? undefined : { state: { mode: 'temperature', warm: x, cold: y } };
  if (form === 0x01) return x > 100 ? undefined : { state: { mode: 'grayscale', brightness: x } };
  return undefined;
}
