import { ClockTrust } from './clock.ts';
import { ACCESS_TOKEN, type Config } from './config/schema.ts';
import type { Clock } from './lights/port.ts';
import type { Log } from './log.ts';
import type { ShownCode } from './oauth/device-code.ts';
import { DIALECTS } from './oauth/dialects/index.ts';
import { STORED_GRANT } from './oauth/grant.ts';
import { Home } from './oauth/home/home.ts';
import { Session } from './oauth/session.ts';
import type { StateDirectory } from './storage/state-directory.ts';
import { runAll, type Task } from './task-group.ts';

export interface BeingAuthorizedParts {
  readonly config: Config;
  readonly state: StateDirectory;
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  readonly log: Log;
  readonly showCode: (code: ShownCode) => void;
  readonly hideCode: () => void;
  /** A person sits at a terminal, so an expired code may be replaced. */
  readonly interactive: boolean;
}

/** The gateway as an OAuth client, put together: whether the clock may be believed, the grant, and where home is. */
export interface BeingAuthorized {
  readonly trust: ClockTrust;
  readonly session: Session;
  readonly home: Home;
  /** May remote commands pass? While the authorization server is merely away they go on for `offline_grace`. */
  readonly isOpen: () => boolean;
  readonly run: Task;
}

export function beingAuthorized(parts: BeingAuthorizedParts): BeingAuthorized {
  const { config, state, clock, log } = parts;
  const { authorization, mqtt } = config;
  const dialect = DIALECTS[authorization.dialect];
  const trust = new ClockTrust({ trust: config.clock.trust, clock, highWater: state.file('clock.json'), log });
  const session = new Session({
    // A broker takes a password and asks for no proof of a key, so a token that is one is not bound to any.
    options: { ...authorization, ...(mqtt.password === ACCESS_TOKEN && { dpop: 'off' }) },
    clockTrusted: () => trust.trusted,
    dialect,
    store: state.file('authorization.json', STORED_GRANT),
    fetch: (url, init) => datedFetch(trust, parts.fetch, url, init),
    clock,
    show: parts.showCode,
    hide: parts.hideCode,
    log,
    interactive: parts.interactive,
  });
  const home = new Home({
    options: authorization,
    configured: config.home,
    how: dialect.home,
    session,
    store: state.file('home.json'),
    clock,
    log,
  });
  return {
    trust,
    session,
    home,
    isOpen: bridge(session, authorization.offline_grace, clock),
    run: (signal) =>
      runAll(
        [session, home, trust].map((part) => (inner: AbortSignal) => part.run(inner)),
        signal,
      ),
  };
}

/** The grace is counted on the monotonic clock: setting the wall clock neither ends nor prolongs it. */
function bridge(session: Session, graceMs: number, clock: Clock): () => boolean {
  let ends = Number.NEGATIVE_INFINITY;
  let before = session.status.state;
  session.onChange(({ state, since }) => {
    // A token that had expired when this process began has had a part of its grace already.
    const spent = before === 'authorized' ? 0 : Math.max(0, clock.wall() - Date.parse(since));
    if (state === 'grace' && before !== 'grace') ends = clock.monotonic() + graceMs - spent;
    before = state;
  });
  return () => {
    const { state } = session.status;
    return state === 'authorized' || (state === 'grace' && clock.monotonic() <= ends);
  };
}

/** `fetch`, whose answers' `Date` headers tell the time where TLS proved who sent them. */
async function datedFetch(trust: ClockTrust, inner: typeof fetch, url: string, init: RequestInit): Promise<Response> {
  const answer = await inner(url, init);
  trust.observeDateHeader(answer.headers.get('date'), url.startsWith('https:'));
  return answer;
}
