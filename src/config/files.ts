import { open } from 'node:fs/promises';
import { join, resolve } from 'node:path';

export interface FileContents {
  readonly bytes: Uint8Array;
  /** Permission bits, where they are known. */
  readonly mode?: number;
}

/** Reads at most `limit` + 1 bytes of a file (so more than `limit` can be told). Rejects as node:fs does, with a `code`. */
export type ReadFile = (path: string, limit: number) => Promise<FileContents>;

/** The real one. Also reads pipes, such as bash's `<(…)`; a device that never ends costs no more than `limit`. */
export const readBounded: ReadFile = async (path, limit) => {
  const file = await open(path, 'r');
  try {
    const { mode } = await file.stat();
    const buffer = Buffer.alloc(limit + 1);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return { bytes: buffer.subarray(0, length), mode: mode & 0o777 };
  } finally {
    await file.close();
  }
};

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  ENOTDIR: 'does not exist',
  EACCES: 'may not be read by this user',
  EPERM: 'may not be read by this user',
  EISDIR: 'is a folder',
  ELOOP: 'is a symbolic link without end',
  ENAMETOOLONG: 'has too long a name',
};

export function errorCode(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined;
}

/** Why a file could not be read, in words. */
export function unreadable(thrown: unknown): string {
  const code = errorCode(thrown);
  return (code === undefined ? undefined : REASONS[code]) ?? `cannot be read${code === undefined ? '' : ` (${code})`}`;
}

/** A path as the configuration means it: `~/` is the home folder, and a relative one starts at the configuration's own folder. */
export function pathIn(folder: string, home: string | undefined, path: string): string {
  return path.startsWith('~/') && home ? join(home, path.slice(2)) : resolve(folder, path);
}
