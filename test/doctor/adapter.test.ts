import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { SCHEMA } from '../../src/config/schema.ts';
import { lookAtAdapter } from '../../src/doctor/adapter.ts';
import type { DaemonStatus } from '../../src/doctor/daemon.ts';
import type { Places } from '../../src/doctor/places.ts';
import { fakeMachine } from './machine.ts';

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

/** A Pi in order: adapter, switch, bluetoothd, unit. */
const PI = {
  'sys/class/bluetooth/hci0/': '',
  'sys/class/bluetooth/hci0:64/': '',
  'sys/class/rfkill/rfkill0/type': 'wlan\n',
  'sys/class/rfkill/rfkill0/soft': '1\n',
  'sys/class/rfkill/rfkill1/type': 'bluetooth\n',
  'sys/class/rfkill/rfkill1/name': 'hci0\n',
  'sys/class/rfkill/rfkill1/soft': '0\n',
  'sys/class/rfkill/rfkill1/hard': '0\n',
  'proc/712/comm': 'bluetoothd\n',
  'etc/systemd/system/porchlight.service': '[Service]\nUser=porchlight\nAmbientCapabilities=CAP_NET_RAW\n',
};
const ON: Places['ask'] = () => Promise.resolve('b true\n');

async function look(
  changes: Readonly<Record<string, string | undefined>> = {},
  options: { ask?: Places['ask']; bluetooth?: object; daemon?: DaemonStatus } = {},
) {
  const tree = Object.entries({ ...PI, ...changes }).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  const places = await fakeMachine(Object.fromEntries(tree), options.ask ?? ON);
  ends.push(places.remove);
  const config = SCHEMA.shape.bluetooth.parse(options.bluetooth ?? {});
  const { h4, ...rest } = config;
  const findings = await lookAtAdapter({ ...rest, ...(h4 !== undefined && { h4 }) }, places, options.daemon);
  const of = (check: string) => findings.find((one) => one.check === check);
  return { findings, of, fails: findings.filter(({ status }) => status === 'fail').map(({ check }) => check) };
}

const daemon = (radio: Partial<DaemonStatus['radio']>): DaemonStatus => ({
  id: 'porch-pi',
  version: '1.0.0',
  uptime_s: 1,
  authorization: { state: 'authorized' },
  clock: { trusted: true, why: '' },
  broker: { connected: true },
  radio: { state: 'running', adapter: 'poweredOn', restarts: 0, ...radio },
  lights: [],
});

describe('the adapter', () => {
  it('is in order where everything is: each line says what was seen', async () => {
    const { findings } = await look();
    expect(findings.map(({ check, status }) => `${check} ${status}`)).toEqual([
      'adapter ok',
      'rfkill ok',
      'power ok',
      'bluetoothd ok',
      'rights ok',
    ]);
  });

  it('is missed, and another one is proposed where there is one', async () => {
    const none = await look({ 'sys/class/bluetooth/hci0/': undefined, 'sys/class/bluetooth/hci0:64/': undefined });
    expect(none.of('adapter')).toMatchObject({ status: 'fail', code: 'adapter_off' });
    const other = await look({ 'sys/class/bluetooth/hci0/': undefined, 'sys/class/bluetooth/hci1/': '' });
    expect(other.of('adapter')?.cure).toContain('adapter: hci1');
  });

  it.each([
    ['soft', /rfkill unblock bluetooth/],
    ['hard', /switch/],
  ])('is found blocked (%s), with the way to unblock it; a blocked Wi-Fi is no matter', async (kind, cure) => {
    const { of, fails } = await look({ [`sys/class/rfkill/rfkill1/${kind}`]: '1\n' });
    expect(of('rfkill')?.cure).toMatch(cure);
    expect(fails).toEqual(['rfkill']);
  });

  it('is found blocked by a switch for all Bluetooth, but not by that of another adapter', async () => {
    const platform = await look({
      'sys/class/rfkill/rfkill2/type': 'bluetooth',
      'sys/class/rfkill/rfkill2/name': 'tpacpi_bluetooth_sw',
      'sys/class/rfkill/rfkill2/soft': '1',
    });
    expect(platform.fails).toEqual(['rfkill']);
    const second = await look({
      'sys/class/rfkill/rfkill2/type': 'bluetooth',
      'sys/class/rfkill/rfkill2/name': 'hci1',
      'sys/class/rfkill/rfkill2/soft': '1',
    });
    expect(second.fails).toEqual([]);
  });

  it('is found switched off, and unknown where nobody can tell', async () => {
    expect((await look({}, { ask: () => Promise.resolve('b false\n') })).of('power')).toMatchObject({ status: 'fail' });
    expect((await look({}, { ask: () => Promise.resolve(undefined) })).of('power')).toMatchObject({ status: 'warn' });
    const running = await look({}, { ask: () => Promise.resolve(undefined), daemon: daemon({}) });
    expect(running.of('power')).toMatchObject({ status: 'ok' });
  });

  it('needs bluetoothd: a warning for raw sockets, a failure for the backend that goes through it', async () => {
    const without = { 'proc/712/comm': undefined, 'proc/713/comm': 'bluetoothd-like' };
    expect((await look(without)).of('bluetoothd')).toMatchObject({ status: 'warn' });
    expect((await look(without, { bluetooth: { backend: 'dbus' } })).fails).toEqual(['bluetoothd']);
  });

  it.each([
    // CapEff as the kernel writes it: CAP_NET_RAW is bit 13.
    ['CapEff:\t0000000000002000\n', 'ok'],
    ['CapEff:\t000001ffffffffff\n', 'ok'],
    ['CapEff:\t0000000000001000\n', 'fail'],
    ['CapEff:\t0000000000000000\n', 'fail'],
  ])('the rights of the running radio are read from %j: %s', async (text, status) => {
    const { of } = await look({ 'proc/4711/status': `Name:\tnode\n${text}` }, { daemon: daemon({ pid: 4711 }) });
    expect(of('rights')?.status).toBe(status);
  });

  it('says that rights could not be seen, or that neither unit nor user has them', async () => {
    expect((await look({}, { daemon: daemon({ pid: 4711 }) })).of('rights')).toMatchObject({ status: 'warn' });
    const unit = 'etc/systemd/system/porchlight.service';
    const bare = await look({ [unit]: undefined, 'proc/self/status': 'CapEff:\t0000000000000000\n' });
    expect(bare.of('rights')).toMatchObject({ status: 'warn' });
    expect((await look({ [unit]: '[Service]\nUser=porchlight\n' })).of('rights')).toMatchObject({ status: 'fail' });
  });

  it('elsewhere (h4) is knocked at, but not while the gateway has it', async () => {
    let knocks = 0;
    const server = createServer((socket) => {
      knocks += 1;
      socket.end();
    });
    const { root, remove } = await fakeMachine({});
    ends.push(remove);
    const path = join(root, 'h4.sock');
    await new Promise<void>((resolve) => server.listen(path, resolve));
    ends.push(() => new Promise((resolve) => server.close(() => resolve())));
    const bluetooth = { backend: 'h4', h4: `unix:${path}` };
    expect((await look({}, { bluetooth })).findings).toMatchObject([{ check: 'adapter', status: 'ok' }]);
    expect(knocks).toBe(1);
    await look({}, { bluetooth, daemon: daemon({}) });
    expect(knocks).toBe(1);
    const away = await look({}, { bluetooth: { backend: 'h4', h4: `unix:${path}.gone` } });
    expect(away.of('adapter')?.message).toContain('ENOENT');
  });
});
