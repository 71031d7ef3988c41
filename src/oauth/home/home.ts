import { asPorchlightError } from '../../errors.ts';
import type { Clock } from '../../lights/port.ts';
import type { Log } from '../../log.ts';
import { type BackOff, backOff } from '../back-off.ts';
import type { GrantInfo } from '../session.ts';
import type { AuthorizationStatus, Problem } from '../status.ts';
import { Wake } from '../wake.ts';
import { type HomeLocation, homeOf } from './location.ts';
import { type Reading, readHome, type SourceParts } from './sources.ts';
import { readStoredHome, type StoredHome, toStore } from './stored.ts';
import { type HomeStatus, homeStatus } from './view.ts';

/** Where the home is kept. */
export interface HomeStore {
  load(): Promise<unknown>;
  save(value: unknown): Promise<void>;
  clear(): Promise<void>;
}

/** The section `home:` of the configuration. */
export interface ConfiguredHome {
  readonly latitude: number;
  readonly longitude: number;
  readonly time_zone?: string | undefined;
}

export interface HomeParts extends SourceParts {
  readonly configured?: ConfiguredHome | undefined;
  readonly store: HomeStore;
  readonly clock: Clock;
  readonly log: Log;
  /** 0 to 1, for jitter. */
  readonly random?: () => number;
  /** The tz database's name of the zone that this machine lives in. */
  readonly machineTimeZone?: () => string;
}

/** People move seldom. */
const AGAIN = 86_400_000;
/** A server that is away is asked again after 5, 10, 20 ... 3,600 s: nothing waits for the home but the next sunset. */
const RETRY: BackOff = { first: 5_000, longest: 3_600_000 };

/** Where the lamps are: as configured, else as the owner lets the gateway read. Belongs to the owner, and goes with them. */
export class Home {
  readonly #parts: HomeParts;
  readonly #wake = new Wake();
  readonly #machineZone: string;
  #stored: StoredHome | undefined;
  #location: HomeLocation;
  #problem: Problem | undefined;
  #before: AuthorizationStatus;
  /** There is a grant to ask with. */
  #ready = false;
  /** When to read next (monotonic ms), once there is one. */
  #due = Number.NEGATIVE_INFINITY;
  /** Somebody has approved since the last whole reading, so what was said before may not be said any more. */
  #approved = false;
  #failures = 0;
  /** Of the reading under way: whoever forgets the home aborts it. */
  #reading = new AbortController();
  #written: Promise<void> = Promise.resolve();

  constructor(parts: HomeParts) {
    this.#parts = parts;
    this.#before = parts.session.status;
    this.#machineZone = (parts.machineTimeZone ?? machineTimeZone)();
    this.#location = this.#derive();
  }

  /** As it is used: the configuration wins. */
  get location(): HomeLocation {
    return this.#location;
  }

  /** The time zone of the home: configured, else read, else this machine's. A name of the tz database. */
  readonly timeZone = (): string => this.#location.time_zone ?? this.#machineZone;

  /** For people and programs at this machine. */
  status(): HomeStatus {
    return homeStatus(this.#location, this.timeZone(), this.#problem);
  }

  /** The task: reads the home when it is due. That it can not be read neither ends nor delays anything. */
  async run(signal: AbortSignal): Promise<void> {
    const { session, clock, configured } = this.#parts;
    await this.#load();
    // Everything is configured, so nothing is asked for, and nothing kept.
    if (configured?.time_zone !== undefined) return this.forget();
    const unwatch = session.onChange((status) => this.#heard(status));
    try {
      // That nobody is there means nothing yet: what is stored of the authorization may not have been read.
      if (session.status.state === 'authorized') this.#heard(session.status);
      while (!signal.aborted) {
        const wait = this.#ready ? this.#due - clock.monotonic() : Number.POSITIVE_INFINITY;
        if (wait > 0) await this.#wake.wait(wait, signal);
        else await this.#read(signal);
      }
    } finally {
      unwatch();
      await this.#written;
    }
  }

  /** The owner has gone: so does what is known of their home. Resolves when it is removed from the disk, as well as it goes. */
  forget(): Promise<void> {
    this.#reading.abort();
    this.#problem = undefined;
    this.#failures = 0;
    this.#due = Number.NEGATIVE_INFINITY;
    this.#adopt(undefined);
    this.#written = this.#write('removed', () => this.#parts.store.clear());
    return this.#written;
  }

  async #load(): Promise<void> {
    const { store, options, clock, log } = this.#parts;
    try {
      const stored = readStoredHome(await store.load());
      if (stored === undefined) return;
      const { issuer, client_id, home_query } = options;
      if (stored.issuer !== issuer || stored.client_id !== client_id) return await this.forget();
      this.#adopt(stored);
      // A wall clock that is not set yet tells no age.
      const age = Math.max(0, clock.wall() - stored.read_at);
      if (stored.query === home_query) this.#due = clock.monotonic() + Math.max(0, AGAIN - age);
    } catch (thrown) {
      log.warn({ code: asPorchlightError(thrown).code }, 'the stored home location can not be used');
    }
  }

  /** The authorization has changed, in whatever way. */
  #heard(status: AuthorizationStatus): void {
    const before = this.#before;
    this.#before = status;
    const info = status.state === 'authorized' ? this.#parts.session.grantInfo() : undefined;
    this.#ready = info !== undefined;
    if (info === undefined) {
      if (isNobody(before, status)) void this.forget();
      return;
    }
    if (this.#stored !== undefined && this.#stored.owner !== ownerOf(info)) void this.forget();
    if (hasApproved(before, status)) {
      this.#approved = true;
      this.#due = Number.NEGATIVE_INFINITY;
      this.#failures = 0;
    }
    this.#wake.ring();
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { session, clock, random = Math.random } = this.#parts;
    // What changes meanwhile (a token renewed for this very reading) is no reason to read again; an approval is.
    this.#due = clock.monotonic() + AGAIN;
    const info = session.grantInfo();
    if (info === undefined) return;
    const approved = this.#approved;
    this.#reading = new AbortController();
    const forgotten = this.#reading.signal;
    const reading = await this.#ask(info, AbortSignal.any([signal, forgotten]));
    if (reading === undefined || forgotten.aborted) return;
    const { again, problem, said } = reading;
    this.#failures = again === undefined ? 0 : this.#failures + 1;
    const wait = again === undefined ? AGAIN : backOff(RETRY, this.#failures, random, again.retryAfter);
    if (this.#due !== Number.NEGATIVE_INFINITY) {
      this.#due = clock.monotonic() + wait;
      if (again === undefined) this.#approved = false;
    }
    this.#note(problem);
    this.#keep(info, said, approved && again === undefined);
    await this.#written;
  }

  /** Undefined: it was told to stop. */
  async #ask(info: GrantInfo, signal: AbortSignal): Promise<Reading | undefined> {
    try {
      return await readHome(this.#parts, info, signal);
    } catch (thrown) {
      if (asPorchlightError(thrown).code !== 'stopping') throw thrown;
      return undefined;
    }
  }

  #note(problem: Problem | undefined): void {
    const before = this.#problem;
    this.#problem = problem;
    if (problem !== undefined && problem.message !== before?.message)
      this.#parts.log.warn(
        { code: problem.code },
        'the home location could not be read; "porchlight status" tells why',
      );
  }

  /** `anew`: of what was said before, nothing holds. */
  #keep(info: GrantInfo, said: Reading['said'], anew: boolean): void {
    const { options, clock, store, log } = this.#parts;
    const { issuer, client_id, home_query: query } = options;
    const owner = ownerOf(info);
    if (owner === undefined || Object.keys(said).length === 0) return;
    // The id_token of a renewal may be leaner than that of the approval.
    const { id_token, ...others } = said;
    const lean = id_token === undefined || Object.keys(id_token).length === 0;
    const whole = { ...(anew ? {} : this.#stored?.said), ...others, ...(lean ? {} : { id_token }) };
    const read_at = Math.max(0, Math.round(clock.wall()));
    const stored = { issuer, client_id, owner, ...(query === undefined ? {} : { query }), read_at, said: whole };
    this.#adopt(stored);
    // Where it is, is nothing for a log.
    const { source } = homeOf(whole);
    log.info(source === 'none' ? 'the home location is not known there' : `home location read from ${source}`);
    this.#written = this.#write('stored', () => store.save(toStore(stored)));
  }

  async #write(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      this.#parts.log.warn({ code: asPorchlightError(thrown).code }, `the home location could not be ${what}`);
    }
  }

  #adopt(stored: StoredHome | undefined): void {
    this.#stored = stored;
    this.#location = this.#derive();
  }

  #derive(): HomeLocation {
    const { configured } = this.#parts;
    const learned = homeOf(this.#stored?.said ?? {});
    if (configured === undefined) return learned;
    const { latitude, longitude, time_zone = learned.time_zone } = configured;
    return { latitude, longitude, ...(time_zone === undefined ? {} : { time_zone }), source: 'configuration' };
  }
}

/** Whose home it is. */
const ownerOf = ({ subject, kept }: GrantInfo): string | undefined => subject ?? kept?.['id'];

/** A code was being shown, and is no more. */
const hasApproved = (before: AuthorizationStatus, now: AuthorizationStatus): boolean =>
  now.code_expires_at === undefined && (before.code_expires_at !== undefined || before.state === 'pending');

/** Logged out, or never approved: a grant that is lost keeps its owner, and so does one whose file can not be read. */
const isNobody = (before: AuthorizationStatus, { state, subject, problem }: AuthorizationStatus): boolean =>
  subject === undefined &&
  problem?.code !== 'state_unusable' &&
  (state === 'unauthorized' || (state === 'pending' && before.state === 'unauthorized'));

const machineTimeZone = (): string => new Intl.DateTimeFormat().resolvedOptions().timeZone;
