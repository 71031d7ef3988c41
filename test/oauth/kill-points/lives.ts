import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { POINTS, type Point, type Task, TEN, type Word } from './points.ts';
import { GRACE_MS, type Habit, RotatingServer } from './rotating-server.ts';

/** A life: how its server treats refresh tokens, and each kill with how long it takes until the next process starts. */
export interface Plan {
  readonly life: number;
  readonly habit: Habit;
  readonly kills: readonly { readonly point: Point; readonly pauseMs: number }[];
}

/** What became of it. */
export interface Story {
  readonly plan: Plan;
  readonly outcome: 'authorized' | 'relink_needed' | 'neither';
  readonly reason?: string | undefined;
  /** Points at which it was really killed; elsewhere it was at rest. */
  readonly killedAt: readonly Point[];
  /** The kill that left it with a refresh token that its server will not take. */
  readonly doomedBy?: Point | undefined;
  /** All that must never happen. Empty. */
  readonly faults: readonly string[];
}

/** A machine that is busy with other things takes its time. */
const DEADLINE_MS = 60_000;
const OTHERS = Object.keys(POINTS).filter((point): point is Point => point in POINTS);

/** Random numbers that come again with their seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Lives whose first kills go through the ten points and the habits of servers in turn; what follows is by chance. */
export function plans(runs: number, seed: number): Plan[] {
  const random = seeded(seed);
  const pick = <T>(from: readonly T[], otherwise: T): T => from[Math.floor(random() * from.length)] ?? otherwise;
  const habits: readonly Habit[] = ['strict', 'again', 'anew', 'fixed'];
  return Array.from({ length: runs }, (_, life) => {
    const habit = habits[Math.floor(life / TEN.length) % habits.length] ?? 'strict';
    const chance = random();
    const kills = chance < 0.6 ? 1 : chance < 0.9 ? 2 : 3;
    return {
      life,
      habit,
      kills: Array.from({ length: kills }, (_, kill) => ({
        point: kill === 0 ? (TEN[life % TEN.length] ?? TEN[0]) : pick(OTHERS, TEN[0]),
        // Now and then the power is away for longer than the server is patient.
        pauseMs: random() < 0.1 ? 10 * GRACE_MS : 1_000,
      })),
    };
  });
}

/** Compiles the process that is killed into one file. */
export async function buildChild(): Promise<{ readonly entry: string; remove(): void }> {
  const root = fileURLToPath(new URL('../../..', import.meta.url));
  const folder = mkdtempSync(join(root, 'node_modules', '.porchlight-kill-points-'));
  const bundle = await rolldown({
    input: join(root, 'test/oauth/kill-points/child.ts'),
    platform: 'node',
    external: [/^node:/],
    logLevel: 'silent',
  });
  await bundle.write({ dir: folder, format: 'esm', entryFileNames: 'child.js' });
  await bundle.close();
  return { entry: join(folder, 'child.js'), remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/**
 * Lives through `all`, `together` of them to a process, which is killed when each stands at its point; several processes side by side.
 * `together` 1: one process for each life and kill.
 */
export async function liveThrough(
  entry: string,
  all: readonly Plan[],
  { together, sideBySide = 2 }: { readonly together: number; readonly sideBySide?: number },
): Promise<Story[]> {
  const root = await mkdtemp(join(tmpdir(), 'porchlight-kill-points-'));
  const server = new RotatingServer();
  await server.start();
  // Those with as many kills share their processes.
  const batches = [1, 2, 3].flatMap((kills) => {
    const alike = all.filter((plan) => plan.kills.length === kills);
    return Array.from({ length: Math.ceil(alike.length / together) }, (_, n) =>
      alike.slice(n * together, (n + 1) * together),
    );
  });
  const stories: Story[] = [];
  try {
    await Promise.all(
      Array.from({ length: sideBySide }, async () => {
        for (let batch = batches.shift(); batch !== undefined; batch = batches.shift())
          stories.push(...(await new Batch(entry, root, server, batch).run()));
      }),
    );
  } finally {
    await server.stop();
    await rm(root, { recursive: true, force: true });
  }
  return stories.sort((a, b) => a.plan.life - b.plan.life);
}

interface Life {
  readonly plan: Plan;
  readonly name: string;
  readonly folder: string;
  readonly issuer: string;
  readonly killedAt: Point[];
  readonly faults: string[];
  doomedBy: Point | undefined;
  /** Its last word in the present process. */
  word: Word | undefined;
}

class Batch {
  readonly #entry: string;
  readonly #root: string;
  readonly #server: RotatingServer;
  readonly #plans: readonly Plan[];

  constructor(entry: string, root: string, server: RotatingServer, batch: readonly Plan[]) {
    this.#entry = entry;
    this.#root = root;
    this.#server = server;
    this.#plans = batch;
  }

  async run(): Promise<Story[]> {
    const lives = await Promise.all(this.#plans.map((plan) => this.#begin(plan)));
    for (let kill = 0; kill < (this.#plans[0]?.kills.length ?? 0); kill += 1) await this.#killed(lives, kill);
    await this.#toTheEnd(lives);
    return await Promise.all(lives.map((life) => this.#judge(life)));
  }

  async #begin(plan: Plan): Promise<Life> {
    const name = `life-${plan.life}`;
    const folder = join(this.#root, name);
    const { issuer, tokens } = this.#server.grant(name, plan.habit);
    const { access_token, refresh_token } = tokens;
    const now = Date.now();
    const times = { obtained_at: now, expires_at: now + 3_600_000 };
    const record = { version: 1, issuer, client_id: 'porchlight', access_token, refresh_token, ...times };
    await mkdir(folder, { mode: 0o700 });
    await writeFile(join(folder, 'authorization.json'), JSON.stringify(record), { mode: 0o600 });
    return { plan, name, folder, issuer, killedAt: [], faults: [], doomedBy: undefined, word: undefined };
  }

  /** One process, until each life stands at its point or is at rest; then it is killed. */
  async #killed(lives: readonly Life[], kill: number): Promise<void> {
    const stopAt = (life: Life): Task['stopAt'] => {
      const point = life.plan.kills[kill]?.point;
      return point === undefined ? undefined : POINTS[point].at;
    };
    let rang = (): void => undefined;
    for (const life of lives) {
      life.word = undefined;
      const where = stopAt(life);
      if (where === 'sent' || where === 'headers' || where === 'body')
        this.#server.hold(life.name, where, () => {
          if (where === 'sent') life.word = { life: life.plan.life, kind: 'reached' };
          rang();
        });
    }
    const child = this.#start(lives, stopAt, () => rang());
    await deadline(
      new Promise<void>((resolve) => {
        rang = () => {
          if (lives.every(({ word }) => word !== undefined)) resolve();
        };
        rang();
      }),
      () => lives.find(({ word }) => word === undefined)?.faults.push('it neither came to its point nor to rest'),
    );
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    for (const life of lives) {
      const { point, pauseMs } = life.plan.kills[kill] ?? { point: TEN[0], pauseMs: 0 };
      this.#server.killed(life.name, pauseMs);
      if (life.word?.kind === 'reached') life.killedAt.push(point);
      const stored = await this.#stored(life);
      const { habit } = life.plan;
      const inTime = habit === 'again' || habit === 'anew' ? pauseMs <= GRACE_MS : false;
      if (stored?.['ended'] === undefined && stored?.['refresh_token'] !== this.#server.current(life.name) && !inTime)
        life.doomedBy ??= point;
    }
  }

  async #toTheEnd(lives: readonly Life[]): Promise<void> {
    for (const life of lives) life.word = undefined;
    let rang = (): void => undefined;
    const child = this.#start(
      lives,
      () => undefined,
      () => rang(),
    );
    await deadline(
      new Promise<void>((resolve) => {
        rang = () => {
          if (lives.every(({ word }) => word !== undefined)) resolve();
        };
        rang();
      }),
      () => lives.find(({ word }) => word === undefined)?.faults.push('it did not come to rest'),
    );
    child.send('stop');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    if (child.exitCode !== 0)
      for (const life of lives) life.faults.push(`its last process ended with ${child.signalCode ?? child.exitCode}`);
  }

  #start(lives: readonly Life[], stopAt: (life: Life) => Task['stopAt'], rang: () => void): ChildProcess {
    const child = fork(this.#entry, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    child.on('message', (word: Word) => {
      const life = lives.find(({ plan }) => plan.life === word.life);
      if (life === undefined) return;
      if (word.kind !== 'said') life.word = word;
      else if (/damaged|can not be read|unusable/.test(word.line)) life.faults.push(word.line);
      rang();
    });
    child.send(
      lives.map((life): Task => {
        const where = stopAt(life);
        const { folder, issuer, plan } = life;
        return { life: plan.life, folder, issuer, ...(where === undefined ? {} : { stopAt: where }) };
      }),
    );
    return child;
  }

  /** What is on the disk, as it is. */
  async #stored(life: Life): Promise<Readonly<Record<string, unknown>> | undefined> {
    const text = await readFile(join(life.folder, 'authorization.json'), 'utf8');
    try {
      const stored: unknown = JSON.parse(text);
      return Object(stored);
    } catch {
      life.faults.push(`the file is torn: ${text.length} characters`);
      return undefined;
    }
  }

  async #judge(life: Life): Promise<Story> {
    const { plan, faults, doomedBy, killedAt, word } = life;
    const evidence = this.#server.evidence(life.name);
    const stored = await this.#stored(life);
    const rest = word?.kind === 'at rest' ? word : undefined;
    const authorized = rest?.state === 'authorized' && rest.works;
    const lost = rest?.state === 'relink_needed' && rest.reason !== undefined;
    const must = (holds: boolean, sentence: string): void => {
      if (!holds) faults.push(sentence);
    };
    must(authorized || lost, `it ended as ${JSON.stringify(word)}`);
    must(evidence.twoCopies === 0, 'two copies of the grant were used');
    must(evidence.atOnce === 0, 'two refreshes were under way at once');
    must(!authorized || evidence.refused === 0, 'it was refused and went on');
    must(!authorized || stored?.['refresh_token'] === this.#server.current(life.name), 'what is stored is not current');
    must(!lost || doomedBy !== undefined, 'it was lost without need');
    must(!lost || rest.reason === 'lost_in_crash', `it was lost, and says ${rest?.reason}`);
    must(!lost || !/access-|refresh-/.test(JSON.stringify(stored)), 'a lost grant left tokens behind');
    must(plan.habit !== 'fixed' || !lost, 'it was lost without rotation');
    must(doomedBy === undefined || POINTS[doomedBy].loses, `it was doomed by a kill ${doomedBy}`);
    // Once for each process that began with an open intent, and once for the token before.
    must(evidence.refused <= plan.kills.length + 2, `it was refused ${evidence.refused} times`);
    const left = await readdir(life.folder);
    must(left.length === 1 && left[0] === 'authorization.json', `it left ${left.join(', ')}`);
    const outcome = authorized ? 'authorized' : lost ? 'relink_needed' : 'neither';
    return { plan, outcome, reason: rest?.reason, killedAt, doomedBy, faults };
  }
}

async function deadline(work: Promise<void>, late: () => void): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const end = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      late();
      resolve();
    }, DEADLINE_MS);
  });
  await Promise.race([work, end]);
  clearTimeout(timer);
}
