import * as fs from 'node:fs/promises';
import { PorchlightError } from '../errors.ts';

/** The calls that storage makes; tests make the n-th of them fail. */
export type FileSystem = Pick<
  typeof fs,
  'mkdir' | 'lstat' | 'chmod' | 'open' | 'rename' | 'unlink' | 'readdir' | 'link' | 'readlink'
>;

export const realFileSystem: FileSystem = fs;

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the disk is read-only',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EIO: 'the disk reports errors; is the card worn out?',
  EMFILE: 'too many files are open',
  ENFILE: 'too many files are open on this machine',
  ENOENT: 'it does not exist; was it removed while the gateway ran?',
  ENOTDIR: 'a part of this path is not a folder',
  ELOOP: 'it is a symbolic link',
  ENAMETOOLONG: 'the name is too long',
};

export function errorCode(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined;
}

/** `state_unusable`, with the path and the reason in words. */
export function unusable(path: string, thrown: unknown): PorchlightError {
  if (thrown instanceof PorchlightError) return thrown;
  const code = errorCode(thrown);
  const reason = (code === undefined ? undefined : REASONS[code]) ?? 'it cannot be used';
  return new PorchlightError('state_unusable', `${path}: ${reason}${code === undefined ? '' : ` (${code})`}.`, {
    cause: thrown,
  });
}

/** For what another user could change, or has put there. */
export function notOurs(path: string, owner: number, uid: number): PorchlightError {
  return new PorchlightError('state_unusable', `${path}: it belongs to another user (uid ${owner}, not ${uid}).`, {
    hint: 'Run the gateway as the owner of its state directory, or give it one of its own.',
  });
}

/** Makes the names in a folder durable. Some file systems cannot do that to a folder, and say so with EINVAL. */
export async function syncFolder(folder: fs.FileHandle): Promise<void> {
  try {
    await folder.sync();
  } catch (thrown) {
    if (errorCode(thrown) !== 'EINVAL' && errorCode(thrown) !== 'ENOTSUP') throw thrown;
  }
}
