import * as z from 'zod';
import type { StateFile } from '../../storage/state-file.ts';

/** The file beside the trail that remembers how far it had come. */
export const HEAD = 'audit-head.json';

const Hash = z.string().regex(/^[0-9a-f]{64}$/);

/**
 * What was durable of the trail when this was saved: its last record, and the oldest that had not been deleted. A trail that ends before
 * it was cut off; one that begins after it lost its beginning.
 */
export const Head = z.object({
  seq: z.int().positive(),
  hash: Hash,
  first: z.int().positive(),
});
export type Head = z.infer<typeof Head>;

export type HeadFile = Pick<StateFile, 'load' | 'save'>;
