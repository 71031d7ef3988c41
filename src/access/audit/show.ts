import type { FileSystem } from '../../storage/file-system.ts';
import { linesOf, openTrail } from './reader.ts';
import type { AuditRecord } from './record.ts';

export interface LastRecords {
  /** Newest last. */
  readonly records: readonly AuditRecord[];
  /** Places among them that hold no record; `audit verify` says which. */
  readonly unreadable: number;
}

/**
 * The last `count` records of a trail that `counts` accepts, with those between them. Their hashes were looked at, the chain was not.
 * Undefined: there is no trail. Rejects as the file system does.
 */
export async function lastRecords(
  folder: string,
  count: number,
  fs: Pick<FileSystem, 'open' | 'readdir'>,
  counts: (record: AuditRecord) => boolean = () => true,
): Promise<LastRecords | undefined> {
  const trail = await openTrail(folder, fs);
  try {
    if (trail.files.length === 0) return undefined;
    let records: AuditRecord[] = [];
    let unreadable = 0;
    // The newest file first: mostly it is enough.
    for (const file of trail.files.toReversed()) {
      const here: AuditRecord[] = [];
      for await (const { content } of linesOf(file, file === trail.files.at(-1))) {
        if (typeof content === 'string') unreadable += 1;
        else here.push(content);
        if (here.length >= 4 * count + MARGIN) here.splice(0, excess(here, count, counts));
      }
      records = [...here, ...records];
      if (excess(records, count, counts) > 0) break;
    }
    records.splice(0, excess(records, count, counts));
    return { records, unreadable };
  } finally {
    await trail.close();
  }
}

const MARGIN = 1000;

/** How many at the beginning are not needed. */
function excess(records: readonly AuditRecord[], count: number, counts: (record: AuditRecord) => boolean): number {
  let left = count;
  for (let at = records.length - 1; at >= 0; at -= 1) {
    const record = records[at];
    if (record === undefined || !counts(record)) continue;
    left -= 1;
    if (left === 0) return at;
  }
  return 0;
}
