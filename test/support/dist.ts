import { fileURLToPath, pathToFileURL } from 'node:url';

/** The compiled program that tests start as real processes. `npm test` builds it first. */
export const DIST = pathToFileURL(
  `${process.env['PORCHLIGHT_DIST'] ?? fileURLToPath(new URL('../../dist', import.meta.url))}/`,
);

export const distPath = (file: string): string => fileURLToPath(new URL(file, DIST));
