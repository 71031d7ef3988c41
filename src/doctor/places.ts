import { execFile } from 'node:child_process';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { SERVICE_STATE_DIRECTORY } from '../config/load.ts';

/** Where the machine shows itself; tests have a tree of their own. */
export interface Places {
  /** `/sys` */
  readonly sys: string;
  /** `/proc` */
  readonly proc: string;
  /** `/run` */
  readonly run: string;
  /** Where the service keeps its state. */
  readonly serviceState: string;
  /** Folders in which units are installed. */
  readonly units: readonly string[];
  /** What a program prints, or undefined: not there, failed, or too slow. */
  readonly ask: (program: string, args: readonly string[]) => Promise<string | undefined>;
}

const PROGRAM_MS = 2500;
const MOST_OUTPUT = 64 * 1024;

/** This machine. */
export const machine: Places = {
  sys: '/sys',
  proc: '/proc',
  run: '/run',
  serviceState: SERVICE_STATE_DIRECTORY,
  units: ['/etc/systemd/system', '/usr/local/lib/systemd/system', '/usr/lib/systemd/system', '/lib/systemd/system'],
  ask: (program, args) =>
    new Promise((resolve) => {
      // No shell, and none of our environment but the way to programs: it may hold secrets.
      const options = { timeout: PROGRAM_MS, maxBuffer: MOST_OUTPUT, env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin' } };
      execFile(program, [...args], options, (error, stdout) => resolve(error === null ? stdout : undefined));
    }),
};

/** A small file's text without the space around it; undefined: not there, or not readable. */
export async function textOf(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch {
    // Files of the kernel that are not there and those whose driver answers with an error say the same: nothing.
    return undefined;
  }
}

/** The names in a folder; undefined: there is none, or it may not be seen. */
export async function namesIn(path: string): Promise<readonly string[] | undefined> {
  try {
    return (await readdir(path)).sort();
  } catch {
    return undefined;
  }
}

/** Where a symbolic link leads; undefined: it is none. */
export async function linkOf(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch {
    return undefined;
  }
}
