import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { access, constants, lstat, open, readlink, stat, statfs, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorCode, realFileSystem, unusable } from '../storage/file-system.ts';
import { lockHolder } from '../storage/lock.ts';
import { temporaryName } from '../storage/state-file.ts';
import { type Finding, fail, ok, warn } from './finding.ts';
import type { Places } from './places.ts';

const CHECK = 'state';
/** Bytes: each save writes a whole file beside the old one, and the largest is far below this. */
const LEAST_FREE = 1024 * 1024;
/** Bytes below which somebody should look before it is too late. */
const LITTLE_FREE = 50 * 1024 * 1024;
/** More than a block, so that a full disk cannot hide it in the inode. */
const TRIAL_BYTES = 16 * 1024;

export interface StateLook {
  readonly findings: readonly Finding[];
  /** The living process that holds the lock. */
  readonly holder?: number | 'gone';
}

/** The service's, where that lives: root, who looks, has another default than the unit. */
export async function stateDirectory(
  configured: string,
  { serviceState, proc }: Pick<Places, 'serviceState' | 'proc'>,
): Promise<string> {
  try {
    return typeof (await lockHolder(serviceState, realFileSystem, proc)) === 'number' ? serviceState : configured;
  } catch {
    // Not there, or not for this user's eyes.
    return configured;
  }
}

/** Looks at the state directory as the gateway would use it. What is written as a trial is removed at once. */
export async function lookAtState(path: string, uid: number, proc: string): Promise<StateLook> {
  let folder: Stats;
  try {
    folder = await lstat(path);
    if (folder.isSymbolicLink()) {
      const target = await readlink(path);
      if (folder.uid !== 0 || target !== `private/${basename(path)}`) {
        return only(
          fail(
            CHECK,
            'state_unusable',
            `${path} is a symbolic link.`,
            'Set gateway.state_directory to the folder itself.',
          ),
        );
      }
      folder = await stat(path);
    }
  } catch (thrown) {
    const code = errorCode(thrown);
    if (code === 'ENOENT') return only(await missing(path, uid));
    if (code === 'EACCES' || code === 'EPERM') return only(notAllowed(path));
    return only(fail(CHECK, 'state_unusable', unusable(path, thrown).message));
  }
  if (!folder.isDirectory()) return only(fail(CHECK, 'state_unusable', `${path} is not a folder.`));
  const holder = await lockHolder(path, realFileSystem, proc).catch(() => undefined);
  const findings = [...owner(path, folder, uid, await ownerOf(holder, proc)), ...(await space(path))];
  if ((folder.mode & 0o077) !== 0) {
    findings.push(
      warn(CHECK, `Others may look into ${path} (mode ${(folder.mode & 0o777).toString(8)}).`, `chmod 0700 ${path}`),
    );
  }
  if (folder.uid === uid && !findings.some(({ status }) => status === 'fail')) findings.push(...(await trial(path)));
  if (findings.length === 0) {
    const held =
      typeof holder === 'number' ? `, in use by process ${holder}` : holder === 'gone' ? ', lock left behind' : '';
    findings.push(ok(CHECK, `${path} is private and has room${held}`));
  }
  return { findings, ...(holder !== undefined && { holder }) };
}

const only = (finding: Finding): StateLook => ({ findings: [finding] });

function notAllowed(path: string): Finding {
  return warn(CHECK, `This user may not look into ${path}.`, 'Run this with sudo to have it looked at.');
}

async function missing(path: string, uid: number): Promise<Finding> {
  let above = dirname(path);
  for (let depth = 0; depth < 20 && (await stat(above).catch(() => undefined)) === undefined; depth += 1)
    above = dirname(above);
  const writable = await access(above, constants.W_OK).then(
    () => true,
    () => false,
  );
  if (writable || uid === 0) return warn(CHECK, `${path} is not there yet; the gateway makes it when it starts.`);
  return warn(
    CHECK,
    `${path} is not there, and this user could not make it.`,
    'systemd makes it for the service (StateDirectory=). Otherwise set gateway.state_directory to a folder of your own.',
  );
}

async function ownerOf(holder: number | 'gone' | undefined, proc: string): Promise<number | undefined> {
  if (typeof holder !== 'number') return undefined;
  return (await stat(join(proc, String(holder))).catch(() => undefined))?.uid;
}

function owner(path: string, folder: Stats, uid: number, daemon: number | undefined): Finding[] {
  if (daemon !== undefined && daemon !== folder.uid) {
    return [
      warn(
        CHECK,
        `${path} belongs to uid ${folder.uid}, but the gateway runs as uid ${daemon}.`,
        `chown -R ${daemon} ${path}`,
      ),
    ];
  }
  // root looks at the service's folder, which is not root's.
  if (folder.uid === uid || uid === 0) return [];
  return [
    warn(
      CHECK,
      `${path} belongs to another user (uid ${folder.uid}); a gateway started by this one (uid ${uid}) would refuse it.`,
      'Right if the service runs as that user; sudo lets this look inside.',
    ),
  ];
}

async function space(path: string): Promise<Finding[]> {
  const { bavail, bsize, ffree, files } = await statfs(path);
  const free = bavail * bsize;
  const cure = 'Free some space (journalctl --vacuum-size=50M, apt-get clean); without it no approval can be stored.';
  if (free < LEAST_FREE || (files > 0 && ffree === 0)) {
    const what = free < LEAST_FREE ? `${Math.floor(free / 1024)} KiB are free` : 'no file can be added';
    return [fail(CHECK, 'state_unusable', `The disk of ${path} is full: ${what}.`, cure)];
  }
  if (free < LITTLE_FREE)
    return [warn(CHECK, `Little room is left for ${path}: ${Math.floor(free / 1024 / 1024)} MiB.`, cure)];
  return [];
}

/** Under a name of the gateway's own temporary files, so that it sweeps away what a crash of ours would leave. */
async function trial(path: string): Promise<Finding[]> {
  const file = join(path, temporaryName('check'));
  try {
    const handle = await open(file, 'wx', 0o600);
    try {
      await handle.writeFile(randomBytes(TRIAL_BYTES));
      await handle.sync();
    } finally {
      await handle.close();
      await unlink(file);
    }
    return [];
  } catch (thrown) {
    return [fail(CHECK, 'state_unusable', unusable(path, thrown).message)];
  }
}
