import type { Color, Rgb } from './change.ts';

/** A colour as red, green and blue at full value (its brightness is told separately). Plain HSV and sRGB formulas. */
export function rgbOf(color: Color): Rgb {
  if ('r' in color) return color;
  return 'h' in color ? rgbFromHs(color.h, color.s) : rgbFromXy(color.x, color.y);
}

/** Hue 0-360 degrees and saturation 0-100 percent, at value 1. */
export function rgbFromHs(h: number, s: number): Rgb {
  const channel = (offset: number): number => {
    const k = (offset + h / 60) % 6;
    return Math.round(255 * (1 - (s / 100) * Math.max(0, Math.min(k, 4 - k, 1))));
  };
  return { r: channel(5), g: channel(3), b: channel(1) };
}

/** CIE 1931 x and y, as bright as sRGB can show it (IEC 61966-2-1); what lies outside of sRGB is moved to its edge. */
export function rgbFromXy(x: number, y: number): Rgb {
  // Y = 1. A y of 0 has no light at all; the smallest step above it keeps the division finite.
  const safe = Math.max(y, 1e-6);
  const X = x / safe;
  const Z = (1 - x - safe) / safe;
  const linear = [
    3.2404542 * X - 1.5371385 - 0.4985314 * Z,
    -0.969266 * X + 1.8760108 + 0.041556 * Z,
    0.0556434 * X - 0.2040259 + 1.0572252 * Z,
  ].map((value) => Math.max(0, value));
  const strongest = Math.max(...linear, 1e-9);
  const [r = 0, g = 0, b = 0] = linear.map((value) => Math.round(255 * gamma(value / strongest)));
  return { r, g, b };
}

function gamma(linear: number): number {
  return linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055;
}

/** True for a colour without light: it means OFF. */
export function isBlack({ r, g, b }: Rgb): boolean {
  return r === 0 && g === 0 && b === 0;
}

/**
 * A colour dimmed to `brightness` (0-255), for lamps without a brightness of their own. A brightness above 0 never becomes
 * dark by rounding: the strongest channel keeps at least 1.
 */
export function dimmed(color: Rgb, brightness: number): Rgb {
  const scaled = (value: number): number => Math.round((value * brightness) / 255);
  const result = { r: scaled(color.r), g: scaled(color.g), b: scaled(color.b) };
  if (!isBlack(result) || isBlack(color) || brightness <= 0) return result;
  const strongest = Math.max(color.r, color.g, color.b);
  const kept = (value: number): number => (value === strongest ? 1 : 0);
  return { r: kept(color.r), g: kept(color.g), b: kept(color.b) };
}

/** The reverse of `dimmed`: brightness is the strongest channel, the colour is normalised to it. Undefined for black. */
export function undimmed(color: Rgb): { readonly color: Rgb; readonly brightness: number } | undefined {
  if (isBlack(color)) return undefined;
  const brightness = Math.max(color.r, color.g, color.b);
  const full = (value: number): number => Math.round((value * 255) / brightness);
  return { color: { r: full(color.r), g: full(color.g), b: full(color.b) }, brightness };
}
