import { PorchlightError } from '../../errors.ts';
import { AIR_CODES, type AirCode } from '../air-codes.ts';

export const textOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

/** The code that the gateway is told. */
export function airCode(thrown: unknown): AirCode {
  const code = thrown instanceof PorchlightError ? AIR_CODES.find((one) => one === thrown.code) : undefined;
  return code ?? 'internal';
}
