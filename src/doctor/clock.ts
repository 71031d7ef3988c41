import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, ClockTrust } from '../clock.ts';
import { createLog } from '../log.ts';
import type { DaemonStatus } from './daemon.ts';
import { type Finding, fail, ok, seconds, warn } from './finding.ts';
import { namesIn, type Places, textOf } from './places.ts';

/** A server's clock at a moment of ours. */
export interface ServerDate {
  readonly header: string;
  /** Milliseconds by which our clock is ahead of it; the header has whole seconds. */
  readonly ahead: number;
  /** TLS proved who said so. */
  readonly verified: boolean;
}

/** As for the tokens: apart by more than this, they judge wrongly (`clock.ts`). */
const TOLERANCE_MS = 60_000;
const CURE =
  'Let it be synchronised (timedatectl set-ntp true, and a network); with another time service, or in a container, set "clock: {trust: system}".';

/** Is the wall clock to be trusted, by the same judgement as the gateway's? */
export async function lookAtClock(
  trust: 'auto' | 'system',
  {
    clock,
    places,
    stateDirectory,
    server,
    daemon,
    needed,
  }: {
    readonly clock: Clock;
    readonly places: Places;
    readonly stateDirectory: string;
    readonly server: ServerDate | undefined;
    readonly daemon: DaemonStatus | undefined;
    /** Tokens are to be judged. */
    readonly needed: boolean;
  },
): Promise<readonly Finding[]> {
  const skewed = skew(server);
  if (skewed !== undefined) return [skewed];
  if (daemon?.clock.trusted === true) return [ok('clock', `trusted: ${daemon.clock.why}`)];
  const { trusted, why } = await judge(trust, clock, places, stateDirectory, server);
  if (trusted) {
    return trust === 'system'
      ? [ok('clock', `${new Date(clock.wall()).toISOString()}, trusted because clock.trust says so`)]
      : [ok('clock', `trusted: ${why}`)];
  }
  const said = daemon === undefined ? why : daemon.clock.why;
  const because = `${said}${await sources(places)}.`;
  return needed
    ? [fail('clock', 'clock_untrusted', `Not trusted, so no token is accepted: ${because}`, CURE)]
    : [warn('clock', `Not trusted: ${because}`, CURE)];
}

/** Also where the clock is trusted without a server: then a token of this server is judged wrongly all the same. */
function skew(server: ServerDate | undefined): Finding | undefined {
  if (server === undefined || Math.abs(server.ahead) <= TOLERANCE_MS) return undefined;
  const apart = `${seconds(server.ahead)} ${server.ahead > 0 ? 'ahead of' : 'behind'}`;
  const message = `The clock here is ${apart} that of the authorization server: tokens are judged wrongly.`;
  return fail('clock', 'clock_untrusted', message, 'One of the two is wrong. See "timedatectl" here.');
}

/** One look of the gateway's own judge, with the high-water mark as it is stored, if it may be read. */
async function judge(
  trust: 'auto' | 'system',
  clock: Clock,
  { sys, run }: Places,
  stateDirectory: string,
  server: ServerDate | undefined,
): Promise<{ readonly trusted: boolean; readonly why: string }> {
  const once = new AbortController();
  // It knows the places of the machine by their names.
  const at = (path: string): string => path.replace(/^\/sys(?=\/)/, sys).replace(/^\/run(?=\/)/, run);
  const judged = new ClockTrust({
    trust,
    clock,
    highWater: {
      load: async () => {
        const text = await textOf(join(stateDirectory, 'clock.json'));
        return text === undefined ? undefined : parsed(text);
      },
      save: () => Promise.resolve(),
    },
    log: createLog('silent'),
    files: {
      read: (path) => readFile(at(path), 'utf8').catch(() => undefined),
      list: (folder) => readdir(at(folder)).catch(() => []),
    },
    sleep: async () => once.abort(),
  });
  if (server !== undefined) judged.observeDateHeader(server.header, server.verified);
  await judged.run(once.signal);
  return { trusted: judged.trusted, why: judged.why };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Who could have set it, so that a person sees what is missing. */
async function sources({ sys, proc }: Places): Promise<string> {
  const clocks = (await namesIn(join(sys, 'class/rtc'))) ?? [];
  const services: string[] = [];
  for (const pid of (await namesIn(proc)) ?? []) {
    if (!/^\d+$/.test(pid)) continue;
    const name = await textOf(join(proc, pid, 'comm'));
    if (name !== undefined && /^(systemd-timesyn|chronyd|ntpd|openntpd)/.test(name)) services.push(name);
  }
  const service = services.length > 0 ? `${services[0]} runs` : 'no time service runs';
  return ` (${service}; ${clocks.length > 0 ? `${clocks[0]} is there, but does not agree or has no battery` : 'no battery-backed clock'})`;
}

/** The findings of an issuer's `Date`, where the clock is right and it is worth a word. */
export function noteDate(server: ServerDate | undefined): readonly Finding[] {
  if (server === undefined || Math.abs(server.ahead) <= 10_000 || Math.abs(server.ahead) > TOLERANCE_MS) return [];
  return [
    warn(
      'clock',
      `The clock here is ${seconds(server.ahead)} off that of the authorization server.`,
      'See "timedatectl".',
    ),
  ];
}
