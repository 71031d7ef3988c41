import { isDeepStrictEqual } from 'node:util';
import type { Remarks } from '../access/audit/remarks.ts';
import type { Loaded } from '../config/load.ts';
import { asPorchlightError } from '../errors.ts';
import { type Log, setLogLevel } from '../log.ts';

export interface ReloadParts {
  /** Reads and checks the configuration; rejects when it is wrong. */
  readonly read: () => Promise<Loaded>;
  /** What is running. */
  readonly first: Loaded;
  readonly log: Log;
  readonly remarks: Remarks;
  /** A gateway with another configuration is going to be started. */
  readonly onReloading: () => void;
}

/**
 * Reads the configuration again at each SIGHUP. A wrong one is refused and the old one stays. What can be changed in a running gateway
 * (the log's level) is changed there; anything else stops it in good order, so that every command gets its outcome, and starts it anew.
 */
export class Reloads {
  readonly #parts: ReloadParts;
  #running: Loaded;
  #next: Loaded | undefined;
  #restart = new AbortController();
  #reading = false;
  /** The file may have changed since it was read: it is read once more. */
  #again = false;

  constructor(parts: ReloadParts) {
    this.#parts = parts;
    this.#running = parts.first;
  }

  /** What is to be running. */
  get running(): Loaded {
    return this.#running;
  }

  /** Aborted, with the reason `reload`, when another configuration waits to be started. */
  get signal(): AbortSignal {
    return this.#restart.signal;
  }

  /** SIGHUP. However often it comes, one file is read at a time, and the last one counts. */
  request(): void {
    this.#again = true;
    if (!this.#reading) void this.#readAll();
  }

  /** Takes up the configuration that waits; undefined: none does. */
  take(): Loaded | undefined {
    const next = this.#next;
    if (next !== undefined) this.#running = next;
    this.#next = undefined;
    this.#restart = new AbortController();
    return next;
  }

  /** The configuration that was taken up can not be run: the one before it is to be run again. */
  fallBack(before: Loaded, thrown: unknown): void {
    this.#running = before;
    this.#refuse(thrown, 'the new configuration can not be run; the old one is started again');
    setLogLevel(this.#parts.log, before.config.log.level);
  }

  async #readAll(): Promise<void> {
    this.#reading = true;
    while (this.#again) {
      this.#again = false;
      try {
        this.#consider(await this.#parts.read());
      } catch (thrown) {
        this.#refuse(thrown, 'the new configuration is wrong; the old one stays');
      }
    }
    this.#reading = false;
  }

  #consider(read: Loaded): void {
    const { log, remarks, onReloading } = this.#parts;
    const before = this.#next ?? this.#running;
    const changed = changedSections(before.config, read.config);
    setLogLevel(log, read.config.log.level);
    remarks.note({ event: 'configuration_reloaded', by: 'local', changed });
    log.info({ config: read.path, changed }, 'the configuration was read again');
    if (this.#next === undefined && changed.every((section) => section === 'log')) {
      this.#running = read;
      for (const warning of read.warnings) log.warn(warning);
      return;
    }
    this.#next = read;
    if (this.#restart.signal.aborted) return;
    onReloading();
    this.#restart.abort('reload');
  }

  /** The reason goes to the log, for whoever wrote the file; the trail is told only that, since it is read by others. */
  #refuse(thrown: unknown, words: string): void {
    const { code, message } = asPorchlightError(thrown);
    this.#parts.log.error({ reason: message }, words);
    this.#parts.remarks.note({ event: 'configuration_refused', by: 'local', code });
  }
}

/** The top-level keys in which two configurations differ. */
function changedSections(before: Loaded['config'], now: Loaded['config']): readonly string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])].sort();
  return names.filter((name) => !isDeepStrictEqual(Reflect.get(before, name), Reflect.get(now, name)));
}
