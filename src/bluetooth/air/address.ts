import { createHash } from 'node:crypto';

/** An address as on the air. */
export interface AirAddress {
  readonly address: string;
  readonly addressType: 'public' | 'random';
}

/**
 * The resolvable private address of one period: two bits of type (01), and the rest as good as random to whoever has no key
 * (Vol 6 Part B section 1.3.2.2).
 */
export function privateAddress(identity: string, period: number): AirAddress {
  const octets = createHash('sha256').update(`${identity} ${period}`).digest().subarray(0, 6);
  octets[0] = ((octets[0] ?? 0) & 0x3f) | 0x40;
  return {
    address: Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join(':'),
    addressType: 'random',
  };
}
