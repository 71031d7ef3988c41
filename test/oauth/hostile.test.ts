import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { PorchlightError } from '../../src/errors.ts';
import { HOSTILE, type HostileServer, json, startHostileServer, status } from '../support/hostile-server.ts';
import {
  type Bench,
  type BenchOptions,
  bench,
  Drawer,
  deviceAnswer,
  freezeTime,
  storedRecord,
  tokenAnswer,
} from './script.ts';

// A real server over loopback that answers as no honest one does, and a real HTTP client; only time stands still.

let server: HostileServer;
beforeAll(async () => {
  server = await startHostileServer();
});
afterAll(() => server.close());

const realNow = process.hrtime.bigint.bind(process.hrtime);
const running: Bench[] = [];
beforeEach(() => {
  freezeTime();
  behave();
});
afterEach(async () => {
  for (const one of running.splice(0)) {
    const ended = one.stop();
    await vi.advanceTimersByTimeAsync(5_000);
    await ended;
  }
  vi.useRealTimers();
});

/** Everything as an honest server answers it. */
function behave(): void {
  const { issuer } = server;
  server.answer('/.well-known/oauth-authorization-server', json(server.metadata()));
  server.answer('/.well-known/openid-configuration', status(404));
  server.answer(
    '/device',
    json({
      ...deviceAnswer,
      expires_in: 86_400,
      verification_uri: `${issuer}/go`,
      verification_uri_complete: undefined,
    }),
  );
  server.answer('/token', json({ error: 'authorization_pending' }, 400));
  server.answer('/revoke', status(200));
  server.answer('/keys', json({ keys: [] }));
}

/** Real sockets take real time; the frozen clock moves only when told to. */
async function until(condition: () => boolean, what: string, ms = 2_000): Promise<void> {
  const deadline = realNow() + BigInt(ms) * 1_000_000n;
  while (!condition()) {
    if (realNow() > deadline)
      throw new Error(
        `not within ${ms} ms: ${what}: ${JSON.stringify(running.at(-1)?.session.status)} ${running.at(-1)?.lines.join('').slice(-600)} ${server.asked.slice(-4).map((x) => x.path + x.body)}`,
      );
    await new Promise((resolve) => setImmediate(resolve));
    await vi.advanceTimersByTimeAsync(0);
  }
}

async function begin(more: BenchOptions = {}): Promise<Bench> {
  const { options, ...rest } = more;
  const made = bench({
    fetch: (url, init) => fetch(url, init),
    ...rest,
    options: { issuer: server.issuer, ...options },
  });
  running.push(made);
  for (let turns = 0; turns < 5; turns += 1) await Promise.resolve();
  return made;
}
const record = (more: object = {}): Drawer => new Drawer(storedRecord({ issuer: server.issuer, ...more }));

/** How something that may take the deadline of a request, but not longer, ends. */
async function within<T>(work: Promise<T>, slow: boolean, before: number, requests = 1): Promise<T | PorchlightError> {
  let ended: { readonly value: T | PorchlightError } | undefined;
  work.then(
    (value) => {
      ended = { value };
    },
    (thrown: unknown) => {
      ended = {
        value: thrown instanceof PorchlightError ? thrown : new PorchlightError('internal', `leaked: ${thrown}`),
      };
    },
  );
  for (let each = 1; slow && each <= requests; each += 1) {
    await until(() => server.asked.length >= before + each || ended !== undefined, 'the request');
    await new Promise((resolve) => setImmediate(resolve));
    await vi.advanceTimersByTimeAsync(9_999);
    expect(each < requests || ended === undefined, 'it waits as long as it may').toBe(true);
    await vi.advanceTimersByTimeAsync(1);
  }
  await until(() => ended !== undefined, 'an end');
  if (ended === undefined) throw new Error('unreachable');
  return ended.value;
}

const RAW = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/u;

/** One clear error: what happened, what to do, nothing raw, no more than a person reads. */
function expectClear(problem: unknown, codes: readonly string[] = ['server_unreachable', 'server_answer']): void {
  expect(problem).toMatchObject({ code: expect.any(String), message: expect.any(String), hint: expect.any(String) });
  const { code, message, hint } = problem as PorchlightError;
  expect(codes).toContain(code);
  for (const text of [message, hint]) {
    expect(text).not.toMatch(RAW);
    expect(text.length).toBeGreaterThan(10);
    expect(text.length).toBeLessThan(500);
    expect(text).not.toMatch(/undefined|\[object|native code|at .+:\d+:\d+/);
  }
}

/** Nothing raw and no secret in what the session told. */
function expectQuiet({ lines, session }: Bench): void {
  for (const text of [...lines, JSON.stringify(session.status)]) {
    expect(text.trimEnd()).not.toMatch(RAW);
    expect(text).not.toMatch(/refresh-0|access-0|device-code-secret|<html|<script|\\u001b/);
  }
}

describe.each(HOSTILE.map(([name, deed, pace]) => ({ name, deed, slow: pace === 'slow' })))(
  '$name',
  ({ deed, slow }) => {
    let taken = 0;
    let before = 0;
    beforeEach(() => {
      taken = server.sent();
      before = server.asked.length;
    });
    /** Of a body without end no more is taken than the sockets hold. */
    afterEach(() => expect(server.sent() - taken).toBeLessThan(40 * 1024 * 1024));

    it('as metadata: said, and healed when the server is itself again', async () => {
      server.answer('/.well-known/oauth-authorization-server', deed);
      server.answer('/.well-known/openid-configuration', deed);
      const made = await begin({ store: new Drawer() });
      expectClear(await within(made.session.requestCode(), slow, before, 2));
      expectQuiet(made);
      behave();
      await vi.advanceTimersByTimeAsync(30_000);
      await until(() => made.session.status.state === 'pending', 'a code');
      expect(made.session.status.problem).toBeUndefined();
    });

    it('as a device code: said, and healed without a person', async () => {
      server.answer('/device', deed);
      const made = await begin({ store: new Drawer() });
      expectClear(await within(made.session.requestCode(), slow, before + 1));
      await until(() => made.session.status.problem !== undefined, 'the problem in the status');
      expectClear(made.session.status.problem);
      expect(made.shown).toEqual([]);
      expectQuiet(made);
      behave();
      await vi.advanceTimersByTimeAsync(30_000);
      await until(() => made.session.status.state === 'pending', 'a code');
      expect(made.session.status.problem).toBeUndefined();
    });

    it('as the answer of a poll: it costs no approval', async () => {
      server.answer('/token', deed, json({ ...tokenAnswer, scope: 'profile' }));
      const made = await begin({ store: new Drawer() });
      await until(() => made.session.status.state === 'pending', 'a code');
      before = server.asked.length;
      await vi.advanceTimersByTimeAsync(5_000);
      if (slow) {
        await until(() => server.asked.length > before, 'a poll');
        await vi.advanceTimersByTimeAsync(10_000);
      }
      await until(() => made.session.status.problem !== undefined, 'the problem in the status');
      expectClear(made.session.status.problem);
      expectQuiet(made);
      // An object that makes no sense uses the code up (its 200 is RFC 6749's yes), and there is another; all else leaves it good.
      await until(() => made.session.status.state === 'pending', 'a code');
      await vi.advanceTimersByTimeAsync(10_000);
      await until(() => made.session.status.state === 'authorized', 'the approval');
      expect(made.session.status.problem).toBeUndefined();
    });

    it('as the answer of a refresh: the grant is kept', async () => {
      server.answer('/token', deed);
      const made = await begin({ store: record() });
      await until(() => made.session.status.state === 'authorized', 'the stored grant');
      before = server.asked.length;
      // Half of its hour: it is refreshed.
      await vi.advanceTimersByTimeAsync(1_800_000);
      if (slow) {
        await until(() => server.asked.length > before + 1, 'a refresh');
        await vi.advanceTimersByTimeAsync(10_000);
      }
      await until(() => made.session.status.problem !== undefined, 'the problem in the status');
      expectClear(made.session.status.problem);
      expect(made.session.status.state).toBe('authorized');
      expect(await made.session.accessToken()).toBe('access-0');
      expect(made.store.record).toMatchObject({ refresh_token: 'refresh-0' });
      expectQuiet(made);
      server.answer('/token', json(tokenAnswer));
      await vi.advanceTimersByTimeAsync(1_000);
      await until(() => made.session.status.problem === undefined, 'the refresh');
      expect(await made.session.accessToken()).toBe('access-1');
    });

    it('as the answer of a revocation: forgotten here, and said whether there', async () => {
      server.answer('/revoke', deed);
      const made = await begin({ store: record() });
      await until(() => made.session.status.state === 'authorized', 'the stored grant');
      const outcome = await within(made.session.revoke(), slow, server.asked.length + 1);
      expect(made.store.record).toBeUndefined();
      expect(made.session.status.state).toBe('unauthorized');
      // A 200 is a yes, whatever its body (RFC 7009 section 2.2).
      if (!Object(outcome).revokedAtServer) {
        const { message } = outcome as { message: string };
        expect(message).not.toMatch(RAW);
        expect(message.length).toBeGreaterThan(10);
      }
      expectQuiet(made);
    });
  },
);
