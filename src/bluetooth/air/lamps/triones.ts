import type { Property, ServiceSpec } from '../gatt.ts';
import type { LampSpec, LampState } from '../messages.ts';
import { DARK, fits, type LampKind, type Reaction, type Writing } from './kind.ts';

/**
 * Triones, Happy Lighting, LEDBlue, Magic Blue and Zerproc lamps, as described by madhead/saberlight
 * (protocols/Triones/protocol.md), Betree/magicblue, Bluetooth-Devices/led-ble and emlove/pyzerproc.
 */
export const triones: LampKind = {
  // Zerproc lamps are known by three services; of the others only the name is on record (home-assistant/core led_ble).
  advertised: (spec) => (spec.variant === 'zerproc' ? ['ffe0', 'ffe5', 'fff0'] : []),
  services,
  control: (spec) => LAYOUTS[layoutOf(spec)],
  initial: DARK,
  obey,
};

const LAYOUTS = {
  ffd5: { writeService: 'ffd5', write: 'ffd9', notifyService: 'ffd0', notify: 'ffd4' },
  ffe5: { writeService: 'ffe5', write: 'ffe9', notifyService: 'ffe0', notify: 'ffe4' },
  short: { writeService: 'ffd5', write: 'ffd5', notifyService: 'ffd0', notify: 'ffd0' },
} as const;

function layoutOf(spec: LampSpec): keyof typeof LAYOUTS {
  return spec.layout ?? (spec.variant === 'zerproc' ? 'ffe5' : 'ffd5');
}

function services(spec: LampSpec): readonly ServiceSpec[] {
  const layout = LAYOUTS[layoutOf(spec)];
  const writes: readonly Property[] =
    spec.writes === 'both' ? ['writeWithoutResponse', 'write'] : ['writeWithoutResponse'];
  return [
    { uuid: layout.notifyService, characteristics: [{ uuid: layout.notify, properties: ['notify'] }] },
    { uuid: layout.writeService, characteristics: [{ uuid: layout.write, properties: writes }] },
  ];
}

const LOWEST_EFFECT = 0x25;
const HIGHEST_EFFECT = 0x38;

function obey({ bytes, state, spec }: Writing): Reaction | undefined {
  const [, b1 = 0, b2 = 0, b3 = 0, b4 = 0] = bytes;
  if (fits(bytes, 'cc 23 33')) return power(true, spec);
  if (fits(bytes, 'cc 24 33')) return power(false, spec);
  if (fits(bytes, '56 .. .. .. 00 f0 aa'))
    return { state: { mode: 'color', color: { r: b1, g: b2, b: b3 }, white: 0 } };
  if (fits(bytes, '56 .. .. .. .. 0f aa')) {
    return spec.white ? { state: { mode: 'white', white: b4, color: { r: 0, g: 0, b: 0 } } } : undefined;
  }
  if (fits(bytes, 'bb .. .. 44')) {
    if (b1 < LOWEST_EFFECT || b1 > HIGHEST_EFFECT || b2 === 0) return undefined;
    return { state: { mode: 'effect', effect: b1, speed: b2 } };
  }
  if (fits(bytes, '9e 00 .. .. .. 00 e9')) {
    return spec.variant === 'dream' ? { state: { mode: 'effect', effect: b2, speed: b3 } } : undefined;
  }
  // Music: a colour for the moment.
  if (fits(bytes, '78 .. .. .. 00 f0 ee'))
    return { state: { mode: 'color', color: { r: b1, g: b2, b: b3 }, white: 0 } };
  // Sets the clock, which nothing here shows.
  if (fits(bytes, '10 14 .. .. .. .. .. .. .. 00 01')) return {};
  if (fits(bytes, 'ef 01 77')) return { notify: status(state, spec) };
  return undefined;
}

function power(on: boolean, spec: LampSpec): Reaction {
  const reaction = { state: { on } };
  return spec.powerEcho ? { ...reaction, notify: Uint8Array.of(0xcc, on ? 0x23 : 0x24, 0, 0) } : reaction;
}

/** The 12-byte answer to `EF 01 77`. */
function status(state: LampState, spec: LampSpec): Uint8Array {
  const { r, g, b } = state.color;
  const [model, mode, fourth, version] =
    spec.variant === 'zerproc' ? [0xe3, 0x16, 0x24, 0x01] : [spec.variant === 'dream' ? 0x10 : 0x15, 0x41, 0x20, 0x06];
  return Uint8Array.of(
    0x66,
    model,
    state.on ? 0x23 : 0x24,
    state.mode === 'effect' ? state.effect : mode,
    fourth,
    state.mode === 'effect' ? state.speed : 0,
    r,
    g,
    b,
    state.white,
    version,
    0x99,
  );
}
