import { vi } from 'vitest';
import { createLog } from '../../../src/log.ts';
import type { ShownCode } from '../../../src/oauth/device-code.ts';
import { DIALECTS } from '../../../src/oauth/dialects/index.ts';
import type { AuthorizationOptions } from '../../../src/oauth/options.ts';
import { Session } from '../../../src/oauth/session.ts';
import { clock, Drawer } from '../script.ts';
import type { Vendor } from './vendor.ts';
import type { VendorServer } from './vendor-server.ts';

/** Before any test freezes it. */
const realTimeout = globalThis.setTimeout;
const breath = (): Promise<void> => new Promise((resolve) => realTimeout(resolve, 1));

/** A session, running against a vendor's server over real HTTP, in frozen time. */
export interface Life {
  readonly vendor: Vendor;
  readonly server: VendorServer;
  readonly session: Session;
  readonly store: Drawer;
  /** Each code shown, and undefined for each time it was hidden. */
  readonly shown: (ShownCode | undefined)[];
  readonly lines: string[];
  readonly problems: (string | undefined)[];
  /** Lets seconds pass; each request on the way has its answer before the next second begins. */
  pass(seconds: number): Promise<void>;
  /** Waits for real work (a signature) while time stands still. */
  until(condition: () => boolean): Promise<void>;
  stop(): Promise<void>;
}

export async function live(
  vendor: Vendor,
  {
    server: given,
    store = new Drawer(),
    options = {},
    dialect = vendor.dialect,
  }: {
    readonly server?: VendorServer;
    readonly store?: Drawer;
    readonly options?: Partial<AuthorizationOptions>;
    readonly dialect?: Vendor['dialect'];
  } = {},
): Promise<Life> {
  const server = given ?? (await vendor.open());
  const shown: (ShownCode | undefined)[] = [];
  const lines: string[] = [];
  const problems: (string | undefined)[] = [];
  let underWay = 0;
  const session = new Session({
    options: { client_id: '', client_authentication: 'none', scopes: [], ...vendor.options(server.origin), ...options },
    dialect: DIALECTS[dialect],
    store,
    fetch: async (url, init) => {
      underWay += 1;
      try {
        const answer = await fetch(url, init);
        const body = await answer.arrayBuffer();
        return new Response(body.byteLength === 0 ? null : body, { status: answer.status, headers: answer.headers });
      } finally {
        underWay -= 1;
      }
    },
    clock,
    show: (code) => shown.push(code),
    hide: () => shown.push(undefined),
    log: createLog('trace', { write: (line: string) => void lines.push(line) }),
    interactive: false,
    random: () => 0,
  });
  session.onChange(({ problem }) => problems.push(problem?.message));
  const controller = new AbortController();
  const ended = session.run(controller.signal);

  const settle = async (): Promise<void> => {
    do {
      for (let turns = 0; turns < 12; turns += 1) await new Promise((resolve) => setImmediate(resolve));
      await vi.advanceTimersByTimeAsync(0);
      if (underWay > 0) await breath();
    } while (underWay > 0);
  };
  const until = async (condition: () => boolean): Promise<void> => {
    for (let tries = 0; tries < 500 && !condition(); tries += 1) {
      await breath();
      await settle();
    }
  };
  const pass = async (seconds: number): Promise<void> => {
    for (let second = 0; second < seconds; second += 1) {
      await vi.advanceTimersByTimeAsync(1000);
      await settle();
    }
  };
  const stop = async (): Promise<void> => {
    controller.abort();
    await settle();
    await ended;
    await server.close();
  };
  await settle();
  return { vendor, server, session, store, shown, lines, problems, pass, until, stop };
}
