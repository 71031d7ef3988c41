import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../src/log.ts';
import { stateDirectoryAnswers } from '../../src/service/health.ts';
import { createNotifier, type Spawn, watchdogPeriodMs } from '../../src/service/notify.ts';
import { sleep } from '../../src/task-group.ts';

let folder: string;
let logged: string[];
const log = createLog('info', { write: (line: string) => void logged.push(line) });

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'porchlight-notify-'));
  logged = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A `systemd-notify` of our own at the front of PATH: one line per call, arguments joined by `|`, then what the shell says. */
function standIn(then = ''): { readonly env: Record<string, string>; calls(): string[] } {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  const calls = join(folder, 'calls');
  const script = join(bin, 'systemd-notify');
  writeFileSync(script, `#!/bin/sh\n( IFS='|'; printf '%s\\n' "$*" ) >> '${calls}'\n${then}\n`);
  chmodSync(script, 0o755);
  return {
    env: { PATH: `${bin}:/usr/bin:/bin`, NOTIFY_SOCKET: join(folder, 'notify.sock') },
    calls: () => (existsSync(calls) ? readFileSync(calls, 'utf8').trimEnd().split('\n') : []),
  };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('waited 5 s in vain');
    await sleep(5);
  }
}

describe('what systemd is told', () => {
  it('says READY with a status, then STOPPING, each as a plain assignment and never with --pid', async () => {
    const program = standIn();
    const notifier = createNotifier({ env: program.env, log });
    await notifier.ready('waiting for approval');
    await notifier.reloading();
    await notifier.ready();
    await notifier.stopping();
    expect(program.calls()).toEqual(['READY=1|STATUS=waiting for approval', 'RELOADING=1', 'READY=1', 'STOPPING=1']);
    expect(logged).toEqual([]);
  });

  it('starts nothing without NOTIFY_SOCKET, or with an empty one', async () => {
    const never: Spawn = () => {
      throw new Error('started a child');
    };
    for (const env of [{}, { NOTIFY_SOCKET: '' }]) {
      const notifier = createNotifier({ env: { ...env, WATCHDOG_USEC: '1000' }, log, spawn: never });
      await notifier.ready('x');
      await notifier.status('x');
      await notifier.stopping();
      await notifier.watchdog(() => true)(new AbortController().signal);
    }
    expect(logged).toEqual([]);
  });

  it('keeps a status on one line, so that it can not smuggle in another assignment', async () => {
    const program = standIn();
    await createNotifier({ env: program.env, log }).status('lamp \u001b[31m\nMAINPID=1\rSTOPPING=1');
    expect(program.calls()).toHaveLength(1);
    expect(program.calls()[0]).toMatch(/^STATUS=lamp \ufffd\[31m\ufffdMAINPID=1\ufffdSTOPPING=1$/);
  });

  it('bounds the length of a status', async () => {
    const program = standIn();
    await createNotifier({ env: program.env, log }).status('x'.repeat(100_000));
    expect(program.calls()[0]?.length).toBeLessThan(300);
  });

  it('hands the child nothing but the socket and the path: secrets in the environment stay here', async () => {
    const program = standIn(`env | cut -d= -f1 | sort > '${join(folder, 'env')}'`);
    const env = { ...program.env, CREDENTIALS_DIRECTORY: '/run/credentials/x', PORCHLIGHT_CLIENT_SECRET: 'hush' };
    await createNotifier({ env, log }).ready();
    const names = readFileSync(join(folder, 'env'), 'utf8').trim().split('\n');
    expect(names.filter((name) => !['_', 'PWD', 'SHLVL', 'OLDPWD'].includes(name))).toEqual(['NOTIFY_SOCKET', 'PATH']);
  });
});

describe('the children that speak', () => {
  it('runs one at a time, and the next one carries what was said meanwhile, only the newest of each kind', async () => {
    const running: (() => void)[] = [];
    const carried: string[][] = [];
    const hold: Spawn = (_command, args) => {
      carried.push([...args]);
      const child = spawn('sleep', ['60'], { stdio: 'ignore' });
      running.push(() => void child.kill('SIGTERM'));
      return child;
    };
    const notifier = createNotifier({ env: { NOTIFY_SOCKET: '/x', PATH: '/bin' }, log, spawn: hold });
    const said = [
      notifier.ready('first'),
      notifier.status('second'),
      notifier.reloading(),
      notifier.status('third'),
      notifier.ready(),
    ];
    await sleep(20);
    expect(carried).toEqual([['READY=1', 'STATUS=first']]);
    running[0]?.();
    await until(() => running.length === 2);
    running[1]?.();
    await Promise.all(said);
    // READY comes after RELOADING: systemd obeys the last of them.
    expect(carried).toEqual([
      ['READY=1', 'STATUS=first'],
      ['RELOADING=1', 'STATUS=third', 'READY=1'],
    ]);
  });

  it('is killed at its deadline, said once, and the next call still goes out', async () => {
    const signals: (NodeJS.Signals | number | undefined)[] = [];
    let calls = 0;
    const stuck: Spawn = () => {
      calls++;
      const child: ChildProcess = spawn('sleep', [calls === 1 ? '60' : '0'], { stdio: 'ignore' });
      const kill = child.kill.bind(child);
      child.kill = (signal) => {
        signals.push(signal);
        return kill(signal);
      };
      return child;
    };
    const notifier = createNotifier({
      env: { NOTIFY_SOCKET: '/x', PATH: '/bin' },
      log,
      spawn: stuck,
      childDeadlineMs: 200,
    });
    const start = performance.now();
    await notifier.ready();
    expect(performance.now() - start).toBeGreaterThan(190);
    expect(performance.now() - start).toBeLessThan(3_000);
    await notifier.stopping();
    expect(signals).toEqual(['SIGKILL']);
    expect(calls).toBe(2);
    expect(logged).toHaveLength(1);
  });

  it('logs one line where systemd-notify is missing, however often it is needed', async () => {
    const notifier = createNotifier({ env: { NOTIFY_SOCKET: '/x', PATH: folder }, log });
    await notifier.ready();
    await notifier.status('a');
    await notifier.stopping();
    expect(logged).toHaveLength(1);
    expect(logged[0]).toContain('systemd-notify is missing');
  });

  it('logs one line where systemd-notify fails, and again when it fails after having worked', async () => {
    const program = standIn(`test ! -e '${join(folder, 'broken')}'`);
    const notifier = createNotifier({ env: program.env, log });
    writeFileSync(join(folder, 'broken'), '');
    await notifier.ready();
    await notifier.status('a');
    expect(logged).toHaveLength(1);
    rmSync(join(folder, 'broken'));
    await notifier.status('b');
    writeFileSync(join(folder, 'broken'), '');
    await notifier.status('c');
    expect(logged).toHaveLength(2);
  });
});

describe('the watchdog', () => {
  it.each([
    [{ WATCHDOG_USEC: '30000000' }, 10_000],
    [{ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '41' }, 10_000],
    [{ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '42' }, undefined],
    [{ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '' }, undefined],
    [{ WATCHDOG_USEC: '1' }, 100],
    [{ WATCHDOG_USEC: '0' }, undefined],
    [{ WATCHDOG_USEC: '-5' }, undefined],
    [{ WATCHDOG_USEC: '3e7' }, undefined],
    [{ WATCHDOG_USEC: '' }, undefined],
    [{}, undefined],
  ])('reads its period from %j for process 41: %s ms', (env, period) => {
    expect(watchdogPeriodMs(env, 41)).toBe(period);
  });

  /** Pings as they are sent, without a child. */
  function watched(healthy: () => boolean | Promise<boolean>) {
    const pings: number[] = [];
    const instant: Spawn = (_command, args) => {
      if (args.includes('WATCHDOG=1')) pings.push(performance.now());
      return spawn('true', [], { stdio: 'ignore' });
    };
    const env = { NOTIFY_SOCKET: '/x', PATH: '/bin', WATCHDOG_USEC: '300000' };
    const stop = new AbortController();
    const ended = createNotifier({ env, log, spawn: instant }).watchdog(healthy)(stop.signal);
    return { pings, stop, ended };
  }

  it('is fed about every third of its time while the check says yes, and ends with the signal', async () => {
    const { pings, stop, ended } = watched(() => true);
    await until(() => pings.length >= 4);
    stop.abort();
    await ended;
    // 300 ms: a ping each 100 ms, and never a hurry. (How late one may be is up to the machine.)
    expect((pings[3] ?? 0) - (pings[0] ?? 0)).toBeGreaterThanOrEqual(290);
    const before = pings.length;
    await sleep(150);
    expect(pings.length).toBe(before);
  });

  it('is not fed while the check says no, throws, or rejects; each trouble and its end are one line', async () => {
    let answer: () => boolean | Promise<boolean> = () => false;
    const { pings, stop, ended } = watched(() => answer());
    await sleep(150);
    answer = () => {
      throw new Error('thrown');
    };
    await sleep(150);
    answer = () => Promise.reject(new Error('rejected'));
    await sleep(150);
    expect(pings).toEqual([]);
    expect(logged).toHaveLength(1);
    answer = () => true;
    await until(() => pings.length > 0);
    stop.abort();
    await ended;
    expect(logged).toHaveLength(2);
  });

  it('is not fed while the check hangs, and the hanging check is not started a second time', async () => {
    let started = 0;
    const { pings, stop, ended } = watched(() => {
      started++;
      return new Promise<boolean>(() => undefined);
    });
    await sleep(350);
    expect(pings).toEqual([]);
    expect(started).toBe(1);
    stop.abort();
    await ended; // a hanging check does not hold up the stop either
  });
});

describe('the health of the gateway itself', () => {
  it('is good while the state directory may be written to, and bad once it is gone', async () => {
    const healthy = stateDirectoryAnswers(folder);
    expect(await healthy()).toBe(true);
    rmSync(folder, { recursive: true });
    expect(await healthy()).toBe(false);
  });
});

/** A datagram socket like systemd's. Closing the descriptors that come along is the answer to systemd-notify's barrier. */
const LISTENER = `
import os, socket, sys, array
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("listening", flush=True)
while True:
    data, ancillary, _, _ = s.recvmsg(4096, socket.CMSG_SPACE(64))
    for level, kind, payload in ancillary:
        if kind == socket.SCM_RIGHTS:
            for fd in array.array("i", payload[:len(payload) - len(payload) % 4]): os.close(fd)
    print(repr(data.decode()), flush=True)
`;
const has = (program: string): boolean => spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0;
const real = has('systemd-notify') && has('python3');

describe.skipIf(!real)('with the real systemd-notify (needs it and python3)', () => {
  it('delivers the assignments to a Unix datagram socket, as systemd would receive them', async () => {
    const path = join(folder, 'notify.sock');
    const listener = spawn('python3', ['-c', LISTENER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      let heard = '';
      listener.stdout.on('data', (chunk: Buffer) => {
        heard += chunk.toString();
      });
      await until(() => heard.includes('listening'));
      const env = { PATH: '/usr/bin:/bin', NOTIFY_SOCKET: path, WATCHDOG_USEC: '300000' };
      const notifier = createNotifier({ env, log });
      await notifier.ready('waiting for approval');
      const stop = new AbortController();
      const fed = notifier.watchdog(() => true)(stop.signal);
      await until(() => heard.includes('WATCHDOG=1'));
      stop.abort();
      await fed;
      await notifier.stopping();
      await until(() => heard.includes('STOPPING=1'));
      const lines = heard.split('\n').filter((line) => line !== '' && !line.includes('BARRIER=1'));
      expect(lines.slice(0, 2)).toEqual(['listening', "'READY=1\\nSTATUS=waiting for approval'"]);
      expect(heard).not.toContain('MAINPID');
      expect(logged).toEqual([]);
    } finally {
      listener.kill('SIGKILL');
    }
  });
});
