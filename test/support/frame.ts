import type { Frame } from '../../src/lights/family.ts';

export const frame = (characteristic: string, bytes: Uint8Array, kind: Frame['kind']): Frame => ({
  characteristic,
  bytes,
  kind,
});
