import { type Command, InvalidArgumentError } from 'commander';
import { lastRecords } from '../access/audit/show.ts';
import { verifyTrail } from '../access/audit/verify.ts';
import { defaultStateDirectory, loadConfig, SERVICE_STATE_DIRECTORY } from '../config/load.ts';
import { PorchlightError } from '../errors.ts';
import type { Io } from '../io.ts';
import { printable } from '../log.ts';
import { errorCode, realFileSystem, unusable } from '../storage/file-system.ts';
import { lockHolder } from '../storage/lock.ts';
import { isRow, renderRecords, renderVerdict } from './audit-view.ts';
import { configOption } from './sockets.ts';

interface Options {
  readonly config?: string;
  readonly json?: true;
}

const MOST_LINES = 100_000;

/** `porchlight audit show` and `porchlight audit verify`: they read files, with and without a running gateway. */
export function registerAudit(root: Command, io: Io): void {
  const audit = root.command('audit').description('The audit trail: who commanded what, and whether it is untouched.');
  configOption(
    audit
      .command('show')
      .description('Show the newest records: who asked for what, how that was decided, and what became of it.')
      .option('--lines <n>', 'how many', readLines, 50)
      .option('--json', 'one JSON document for programs'),
  ).action(async ({ lines, json, config }: Options & { lines: number }) => {
    const folder = await trailFolder(io, config);
    const found = await reading(folder, () => lastRecords(folder, lines, realFileSystem, json ? undefined : isRow));
    const { records, unreadable } = found ?? { records: [], unreadable: 0 };
    if (json) return io.stdout(`${JSON.stringify({ records, unreadable }, undefined, 2)}\n`);
    if (records.length === 0) io.stdout(`Nothing is on record in ${folder} yet.\n`);
    else io.stdout(`${renderRecords(records, io.colours, io.size?.().columns)}\n`);
    if (unreadable > 0)
      io.stderr(
        `${unreadable} ${unreadable === 1 ? 'line' : 'lines'} cannot be read: see "porchlight audit verify".\n`,
      );
  });
  configOption(
    audit
      .command('verify')
      .description('Check that no record was changed, removed, inserted or moved; name the first that was.')
      .option('--json', 'one JSON document for programs'),
  )
    .addHelpText(
      'after',
      `
Exit status: 0 the trail is whole, 1 it is not, 69 there is none, or it may not be read.`,
    )
    .action(async ({ json, config }: Options) => {
      const folder = await trailFolder(io, config);
      const verdict = await reading(folder, () => verifyTrail(folder, realFileSystem));
      if (verdict === undefined)
        throw new PorchlightError('state_unusable', `There is no audit trail in ${folder}.`, { hint: NO_TRAIL });
      if (json) io.stdout(`${JSON.stringify({ folder, ...verdict }, undefined, 2)}\n`);
      const [first] = verdict.flaws;
      if (first !== undefined) {
        const more = verdict.count > 1 ? ` ${verdict.count - 1} more follow; --json lists them.` : '';
        const where = `${first.file}:${first.line}`;
        throw new PorchlightError('audit_broken', `Record ${first.seq} (${where}): ${printable(first.why)}.${more}`);
      }
      if (!json) io.stdout(`${renderVerdict(verdict, folder)}\n`);
    });
}

const NO_TRAIL = 'Has the gateway run yet? Name its configuration with --config, or run this as its user (sudo).';

function readLines(value: string): number {
  const lines = /^\d{1,6}$/.test(value) ? Number(value) : 0;
  if (lines < 1 || lines > MOST_LINES) throw new InvalidArgumentError(`A number from 1 to ${MOST_LINES} expected.`);
  return lines;
}

/** The state directory: as configured; where the configuration leaves it open, the service's when it runs or has a trail. */
async function trailFolder(io: Io, config: string | undefined): Promise<string> {
  const usual = defaultStateDirectory(io.env);
  let configured = usual;
  try {
    const loaded = await loadConfig({ env: io.env, only: 'house', ...(config !== undefined && { path: config }) });
    configured = loaded.config.gateway.state_directory;
  } catch (thrown) {
    if (config !== undefined) throw thrown;
  }
  if (configured !== usual || usual === SERVICE_STATE_DIRECTORY) return configured;
  if (typeof (await readingOrNot(lockHolder(SERVICE_STATE_DIRECTORY, realFileSystem))) === 'number')
    return SERVICE_STATE_DIRECTORY;
  if (await hasTrail(usual)) return usual;
  // Also when it may not be looked into: that is then said.
  const there = await realFileSystem.lstat(SERVICE_STATE_DIRECTORY).catch(() => undefined);
  return there === undefined ? usual : SERVICE_STATE_DIRECTORY;
}

async function hasTrail(folder: string): Promise<boolean> {
  return ((await readingOrNot(realFileSystem.readdir(folder))) ?? []).some((name) => /^audit.*\.json/.test(name));
}

async function readingOrNot<T>(work: Promise<T>): Promise<T | undefined> {
  return await work.catch(() => undefined);
}

async function reading<T>(folder: string, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (thrown) {
    const code = errorCode(thrown);
    if (code === 'ENOENT') throw new PorchlightError('state_unusable', `${folder} does not exist.`, { hint: NO_TRAIL });
    if (code !== 'EACCES' && code !== 'EPERM') throw unusable(folder, thrown);
    throw new PorchlightError('state_unusable', `${folder} may not be read by this user.`, {
      hint: 'Run this as the user of the gateway, or with sudo.',
      cause: thrown,
    });
  }
}
