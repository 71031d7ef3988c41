import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import * as z from 'zod';
import { systemClock } from '../clock.ts';
import { defaultStateDirectory, loadHouse } from '../config/load.ts';
import type { HouseConfig } from '../config/schema.ts';
import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Io, Program } from '../io.ts';
import { createLog, forPeople, printable } from '../log.ts';
import { LiveLines } from '../prompt/live.ts';
import { sleep } from '../task-group.ts';
import { streamDaemon } from '../web/client.ts';
import { liveLines, newLights, renderScan, type Seen, sorted, summary } from './scan-view.ts';
import { configOption, socketCandidates } from './sockets.ts';

/** Lamps say who they are several times a second, battery-saving ones every few seconds. */
const USUAL_SECONDS = 10;
/** As in the local API. */
const LONGEST_SECONDS = 300;
/** Beyond the scan itself: for a daemon that is busy. */
const PATIENCE_MS = 10_000;
/** A radio of our own needs about a second until it hears; one that has none never does. */
const RADIO_START_MS = 5000;
const REDRAW_MS = 250;

const Sighting = z.object({
  address: z.string().max(40),
  name: z.string().max(300),
  rssi: z.number().optional(),
  connectable: z.boolean(),
  family: z.string().optional(),
  model: z.string().optional(),
  supported: z.boolean().optional(),
  reason: z.string().optional(),
  configured: z.string().optional(),
  linked: z.boolean(),
  heard: z.boolean(),
});
const Update = z.object({
  adapter: z.string(),
  running: z.boolean(),
  trouble: z.string().optional(),
  sightings: z.array(Sighting),
  gone: z.array(z.string()),
});
type Update = z.infer<typeof Update>;

interface ScanOptions {
  readonly config?: string;
  readonly seconds: number;
  readonly json?: true;
}

export function registerScan(root: Command, io: Io, program: Program): void {
  configOption(
    root
      .command('scan')
      .description('Show what is in the air, which of it are lamps, and the lines that add them to the configuration.')
      .option('--seconds <n>', `how long to listen, 1 to ${LONGEST_SECONDS}`, parseSeconds, USUAL_SECONDS)
      .option('--json', 'one JSON document for programs'),
  )
    .addHelpText(
      'after',
      `
Listens through the running gateway; without one it uses the adapter itself (which needs the right to: sudo).
No configuration is needed. Ctrl-C ends early and keeps what was found. In the column LAMP stands the id of a
lamp that is configured; "new" is one that can be; "unsupported" is known, and why it cannot be driven.`,
    )
    .action((options: ScanOptions) => scan(io, program, options));
}

function parseSeconds(text: string): number {
  const seconds = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Number(text) : 0;
  if (seconds >= 1 && seconds <= LONGEST_SECONDS) return seconds;
  throw new PorchlightError('wrong_use', `--seconds: a number from 1 to ${LONGEST_SECONDS} expected.`, { hint: '' });
}

/** What was found so far, and how the radio is. */
class Found {
  readonly #seen = new Map<string, Seen>();
  adapter = 'unknown';
  running = false;
  trouble: string | undefined;

  take(update: Update): void {
    this.adapter = update.adapter;
    this.running = update.running;
    this.trouble = update.trouble ?? this.trouble;
    for (const one of update.sightings) this.#seen.set(one.address, one);
    for (const address of update.gone) this.#seen.delete(address);
  }

  list(): readonly Seen[] {
    return sorted(this.#seen.values());
  }

  /** Why nothing can have been heard; undefined: the adapter listened. */
  problem({ backend, h4 }: HouseConfig['bluetooth']): PorchlightError | undefined {
    if (this.adapter === 'poweredOn') return undefined;
    const why = this.trouble === undefined ? '' : ` (${printable(this.trouble)})`;
    if (backend === 'h4') {
      const message = `The Bluetooth controller at ${h4} cannot be used${why}.`;
      return new PorchlightError('adapter_off', message, { hint: 'Is it running? "porchlight check" looks at it.' });
    }
    if (this.adapter === 'poweredOff') return new PorchlightError('adapter_off');
    if (!this.running)
      return new PorchlightError('adapter_stuck', `The radio cannot be started${why}.`, { hint: LOOK });
    if (this.adapter === 'unauthorized')
      return new PorchlightError('adapter_stuck', `This user may not use the Bluetooth adapter${why}.`, {
        hint: RIGHTS,
      });
    const message =
      this.adapter === 'unsupported'
        ? `The Bluetooth adapter cannot be used: there is none, this user may not, or it knows no Low Energy${why}.`
        : `The Bluetooth adapter did not answer${why}.`;
    return new PorchlightError('adapter_stuck', message, { hint: LOOK });
  }
}

const LOOK = '"porchlight check" looks at the adapter. Without a running gateway, sudo may be needed.';
const RIGHTS = 'Try sudo, or start the gateway: its unit has the right (CAP_NET_RAW).';

async function scan(io: Io, program: Program, options: ScanOptions): Promise<void> {
  const { seconds } = options;
  const house = await loadHouse({ env: io.env, ...(options.config !== undefined && { path: options.config }) });
  const found = new Found();
  const began = systemClock.monotonic();
  const over = new AbortController();
  const showing = showProgress(io, options, found, began, over.signal);
  let via: 'daemon' | 'direct' = 'daemon';
  let failure: PorchlightError | undefined;
  try {
    if (!(await throughDaemon(io, house.config, seconds, found))) {
      via = 'direct';
      await directly(io, program, house.config, seconds, found);
    }
  } catch (thrown) {
    failure = asPorchlightError(thrown);
  } finally {
    over.abort();
    await showing;
  }
  const seen = found.list();
  const heardSome = seen.some(({ heard }) => heard);
  failure ??= heardSome || io.signal.aborted ? undefined : found.problem(house.config.bluetooth);
  if (failure === undefined || heardSome) {
    const { lights, groups, scenes } = house.config;
    const taken = [...lights, ...groups, ...scenes].map(({ id }) => id);
    const lines = newLights(seen, [...taken, ...seen.flatMap(({ configured }) => configured ?? [])]);
    const listened = Math.round((systemClock.monotonic() - began) / 100) / 10;
    if (options.json) {
      const document = { via, seconds: listened, adapter: found.adapter, devices: seen, lights: lines };
      io.stdout(`${JSON.stringify(document, undefined, 2)}\n`);
    } else {
      const columns = io.size?.().columns;
      const fit = columns === undefined ? {} : { columns };
      const already = house.path !== undefined && (await hasLights(house.path));
      const rendered = { seconds: Math.round(listened), colours: io.colours, where: house.path, already, ...fit };
      io.stdout(renderScan(seen, lines, rendered));
    }
  }
  if (failure !== undefined) throw failure;
}

/** Has the configuration the key, with lamps below it or without? It could be read a moment ago. */
async function hasLights(path: string): Promise<boolean> {
  try {
    return /^lights[ \t]*:/m.test(await readFile(path, 'utf8'));
  } catch {
    return false;
  }
}

/** False: no daemon runs. */
async function throughDaemon(io: Io, config: HouseConfig, seconds: number, found: Found): Promise<boolean> {
  const sockets = socketCandidates(io.env, [config.gateway.state_directory, defaultStateDirectory(io.env)]);
  let ended = false;
  const onEvent = (event: string, data: unknown): void => {
    if (event === 'end') ended = true;
    if (event !== 'scan') return;
    const update = Update.safeParse(data);
    if (!update.success)
      throw new PorchlightError('daemon_unreachable', 'The gateway that answers is of another version.');
    found.take(update.data);
  };
  const options = { timeoutMs: seconds * 1000 + PATIENCE_MS, signal: io.signal };
  if (!(await streamDaemon(sockets, `/api/scan?seconds=${seconds}`, onEvent, options))) return false;
  if (!ended && !io.signal.aborted) throw new PorchlightError('daemon_unreachable', 'The gateway went away.');
  return true;
}

async function directly(io: Io, program: Program, config: HouseConfig, seconds: number, found: Found): Promise<void> {
  const log = createLog('error', io.logsToTerminal ? forPeople(io.stderr) : { write: io.stderr });
  const [{ withOwnLamps }, { watchAir }] = await Promise.all([import('../direct.ts'), import('../sightings.ts')]);
  await withOwnLamps(
    { config, entries: program.entries, clock: systemClock, log, uid: io.uid },
    async (lamps, signal) => {
      const stop = watchAir(lamps, (update) => found.take(Update.parse(update)));
      try {
        const late = systemClock.monotonic() + RADIO_START_MS;
        while (lamps.radio.status().adapter !== 'poweredOn' && systemClock.monotonic() < late && !signal.aborted) {
          await sleep(50, signal);
        }
        if (lamps.radio.status().adapter === 'poweredOn') await sleep(seconds * 1000, signal);
      } finally {
        stop();
        const { adapter, running, lastReason } = lamps.radio.status();
        found.take({
          adapter,
          running,
          sightings: [],
          gone: [],
          ...(lastReason !== undefined && { trouble: lastReason }),
        });
      }
    },
    'Wait until a scan has ended; or see "porchlight status" for a gateway that cannot be asked.',
    io.signal,
  );
}

/** On a terminal, the table as it grows, until `signal` aborts; then nothing of it is left. */
async function showProgress(
  io: Io,
  options: ScanOptions,
  found: Found,
  began: number,
  signal: AbortSignal,
): Promise<void> {
  const { size } = io;
  if (size === undefined || !io.isTerminal || options.json) return;
  const live = new LiveLines({ write: io.stdout, size });
  try {
    while (!signal.aborted) {
      const seen = found.list();
      const left = Math.max(0, Math.ceil(options.seconds - (systemClock.monotonic() - began) / 1000));
      const state = found.adapter === 'poweredOn' ? `Listening, ${left} s left` : 'Starting to listen';
      const words = seen.length === 0 ? state : `${state} · ${summary(seen)}`;
      live.draw(liveLines(seen, words, { colours: io.colours, height: size().rows }));
      await sleep(REDRAW_MS, signal);
    }
  } finally {
    live.clear();
  }
}
