import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const SYSTEMD = fileURLToPath(new URL('../systemd/', import.meta.url));
const UNIT = readFileSync(join(SYSTEMD, 'porchlight.service'), 'utf8');
const DROP_INS = readdirSync(join(SYSTEMD, 'porchlight.service.d'));

/** `key: values` of one section, an empty assignment clearing what came before, as systemd reads it. */
function read(text: string, section: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let here = '';
  for (const line of text.split('\n')) {
    const heading = /^\[(\w+)\]$/.exec(line)?.[1];
    if (heading !== undefined) here = heading;
    const [, key, value] = /^([A-Za-z]+)=(.*)$/.exec(line) ?? [];
    if (here !== section || key === undefined || value === undefined) continue;
    found.set(key, value === '' ? [] : [...(found.get(key) ?? []), value]);
  }
  return found;
}
const service = read(UNIT, 'Service');
const one = (key: string): string | undefined => service.get(key)?.at(-1);
const words = (key: string): string[] => (service.get(key) ?? []).flatMap((value) => value.split(' '));

describe('the unit starts Node and raw Bluetooth', () => {
  it.each([
    ['MemoryDenyWriteExecute', 'V8 writes the code it runs: a fatal error at the start'],
    ['PrivateUsers', 'a raw Bluetooth socket belongs to the first user namespace: the radio never powers on'],
    ['PrivateNetwork', 'Bluetooth lives in the network namespace of the host: "adapter does not support BLE"'],
    ['RootDirectory', 'Node, the installed package and systemd-notify live in the root of the host'],
    ['RootImage', 'as RootDirectory'],
    ['NetworkNamespacePath', 'as PrivateNetwork'],
  ])('leaves %s alone (%s)', (key) => {
    expect(one(key) ?? 'no').toMatch(/^(no|false|0|off)$/i);
  });

  it('allows the address families it needs: raw Bluetooth, the broker, the local socket', () => {
    expect(words('RestrictAddressFamilies').sort()).toEqual(['AF_BLUETOOTH', 'AF_INET', 'AF_INET6', 'AF_UNIX']);
  });

  it('allows the memory protection keys of V8, which @system-service lacks, and answers the rest with an error', () => {
    expect(service.get('SystemCallFilter')).toEqual(['@system-service @pkey', '~@privileged @resources']);
    expect(one('SystemCallErrorNumber')).toBe('EPERM');
  });

  it('gives it raw Bluetooth, and no other right', () => {
    expect(words('CapabilityBoundingSet')).toEqual(['CAP_NET_RAW']);
    expect(words('AmbientCapabilities')).toEqual(['CAP_NET_RAW']);
  });

  it('listens to a systemd-notify child, not only to the main process', () => {
    expect(one('Type')).toBe('notify');
    expect(one('NotifyAccess')).toBe('all');
  });
});

describe('the unit keeps the gateway up', () => {
  it('restarts for ever, with a pause, but not over a wrong command line or configuration', () => {
    expect(one('Restart')).toBe('always');
    expect(Number(one('RestartSec'))).toBeGreaterThan(0);
    expect(read(UNIT, 'Unit').get('StartLimitIntervalSec')).toEqual(['0']);
    expect(words('RestartPreventExitStatus')).toEqual(['64', '78']);
  });

  it('waits for bluetoothd, which powers the adapter up, and never for a network', () => {
    const unit = read(UNIT, 'Unit');
    const list = (key: string): string[] => (unit.get(key) ?? []).flatMap((value) => value.split(' '));
    expect(list('After')).toContain('bluetooth.service');
    expect(list('Wants')).toEqual(['bluetooth.service']);
    expect(list('Requires')).toEqual([]);
    expect(UNIT).not.toMatch(/^(After|Wants|Requires)=.*network-online/m);
  });

  it('lets the gateway stop its radio itself, and lets it live when the radio is killed for its memory', () => {
    expect(one('KillMode')).toBe('mixed');
    expect(one('TimeoutStopSec')).toBe('10');
    expect(one('OOMPolicy')).toBe('continue');
  });

  it('has a watchdog with room for three pings', () => {
    expect(Number(one('WatchdogSec'))).toBeGreaterThanOrEqual(15);
  });
});

describe('the unit keeps what is private', () => {
  it('keeps the state to its own user, and lets the group porchlight reach the socket', () => {
    expect([one('StateDirectory'), one('StateDirectoryMode')]).toEqual(['porchlight', '0700']);
    expect([one('RuntimeDirectory'), one('RuntimeDirectoryMode')]).toEqual(['porchlight', '0750']);
    expect([one('User'), one('Group')]).toEqual(['porchlight', 'porchlight']);
    expect(one('UMask')).toBe('0077');
  });

  it('writes no core file, which would hold tokens, and carries no secret itself', () => {
    expect(one('LimitCORE')).toBe('0');
    expect(UNIT).not.toMatch(/^(EnvironmentFile|PassEnvironment|SetCredential)/m);
    // The one word of environment is for V8.
    expect(one('Environment')).toBe('NODE_OPTIONS=--max-semi-space-size=2');
  });
});

const needed = spawnSync('systemd-analyze', ['--version'], { encoding: 'utf8' });
const missing = needed.error !== undefined || needed.status !== 0;

if (missing && process.env['CI'] === 'true') {
  it('has systemd-analyze to judge the unit with', () => {
    expect.fail('systemd-analyze is missing, and in CI it must be there: apt-get install systemd');
  });
}

describe.skipIf(missing)('systemd judges the unit (needs systemd-analyze: apt-get install systemd)', () => {
  let folder: string;
  let unit: string;

  /**
   * A folder of units of our own, so that no other unit of this machine has a say. The program is not installed where
   * tests run, so ExecStart gets a stand-in of the same name; nothing else of the unit is changed.
   */
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'porchlight-unit-'));
    unit = join(folder, 'porchlight.service');
    for (const name of ['sysinit', 'basic', 'shutdown', 'network', 'multi-user']) {
      writeFileSync(join(folder, `${name}.target`), `[Unit]\nDescription=${name}\n`);
    }
    const program = join(folder, 'porchlight');
    writeFileSync(program, '#!/bin/sh\n');
    chmodSync(program, 0o755);
    const installed = UNIT.replace(/^ExecStart=porchlight run /m, `ExecStart=${program} run `);
    expect(installed).not.toBe(UNIT);
    writeFileSync(unit, installed);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function analyze(...args: readonly string[]) {
    const env = { ...process.env, SYSTEMD_UNIT_PATH: folder, SYSTEMD_LOG_COLOR: '0' };
    const { status, stdout, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8', env, timeout: 20_000 });
    return { status, stdout, stderr };
  }

  function withDropIns(names: readonly string[], judge: () => void): void {
    const dropIns = join(folder, 'porchlight.service.d');
    mkdirSync(dropIns);
    try {
      for (const name of names) {
        const text = readFileSync(join(SYSTEMD, 'porchlight.service.d', name), 'utf8');
        writeFileSync(join(dropIns, name.replace('.example', '')), text);
      }
      judge();
    } finally {
      rmSync(dropIns, { recursive: true });
    }
  }

  it('finds nothing to say about it', () => {
    expect(analyze('verify', '--man=no', unit)).toEqual({ status: 0, stdout: '', stderr: '' });
  });

  it('would say if something were wrong (this test of the test knows an unknown key)', () => {
    const good = readFileSync(unit, 'utf8');
    writeFileSync(unit, good.replace('[Service]', '[Service]\nProtectEverything=yes'));
    expect(analyze('verify', '--man=no', unit).stderr).toContain('ProtectEverything');
    writeFileSync(unit, good);
  });

  it('rates its exposure at 1.7 or less', () => {
    const { status, stdout, stderr } = analyze('security', '--offline=true', '--threshold=17', '--no-pager', unit);
    expect(stderr).toBe('');
    expect(status, stdout.trimEnd().split('\n').at(-1)).toBe(0);
  });

  it.each(DROP_INS)('finds nothing to say about the drop-in %s, which leaves the exposure as it is', (name) => {
    expect(name).toMatch(/^[a-z]+\.conf\.example$/);
    withDropIns([name], () => {
      expect(analyze('verify', '--man=no', unit)).toEqual({ status: 0, stdout: '', stderr: '' });
      expect(analyze('security', '--offline=true', '--threshold=17', '--no-pager', unit).status).toBe(0);
    });
  });

  it('takes every capability and the raw Bluetooth sockets away with the drop-in for bluetoothd', () => {
    const dropIn = read(readFileSync(join(SYSTEMD, 'porchlight.service.d', 'dbus.conf.example'), 'utf8'), 'Service');
    expect(dropIn.get('CapabilityBoundingSet')).toEqual([]);
    expect(dropIn.get('AmbientCapabilities')).toEqual([]);
    expect(dropIn.get('RestrictAddressFamilies')).toEqual(['AF_UNIX AF_INET AF_INET6']);
    withDropIns(['dbus.conf.example'], () => {
      const { status, stdout } = analyze('security', '--offline=true', '--threshold=15', '--no-pager', unit);
      expect(status, stdout.trimEnd().split('\n').at(-1)).toBe(0);
    });
  });

  it('makes the user and the group from the sysusers file', () => {
    const program = spawnSync('systemd-sysusers', ['--version'], { encoding: 'utf8' });
    if (program.error !== undefined) return expect(process.env['CI']).not.toBe('true');
    const etc = join(folder, 'root', 'etc');
    mkdirSync(etc, { recursive: true });
    for (const file of ['passwd', 'group']) writeFileSync(join(etc, file), '');
    const file = join(SYSTEMD, 'porchlight.sysusers.conf');
    const made = spawnSync('systemd-sysusers', [`--root=${join(folder, 'root')}`, file], { encoding: 'utf8' });
    expect(made.status, made.stderr).toBe(0);
    expect(readFileSync(join(etc, 'passwd'), 'utf8')).toMatch(/^porchlight:x:\d+:\d+:Porchlight gateway:.*nologin$/m);
    expect(readFileSync(join(etc, 'group'), 'utf8')).toMatch(/^porchlight:x:\d+:$/m);
  });
});
