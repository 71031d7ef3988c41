import { connect } from 'node:net';
import { join } from 'node:path';
import type { BluetoothConfig } from '../config/schema.ts';
import type { DaemonStatus } from './daemon.ts';
import { type Finding, fail, ok, warn } from './finding.ts';
import { namesIn, type Places, textOf } from './places.ts';

/** `CAP_NET_RAW` (linux/capability.h): raw Bluetooth sockets need it. */
const CAP_NET_RAW = 13n;
const DIAL_MS = 3000;

/** The way to the air, whichever the configuration names. */
export async function lookAtAdapter(
  bluetooth: BluetoothConfig,
  places: Places,
  daemon: DaemonStatus | undefined,
): Promise<readonly Finding[]> {
  const { backend, adapter, h4 } = bluetooth;
  if (backend === 'virtual') return [ok('adapter', 'none is needed: the lamps are virtual')];
  if (backend === 'h4') return [await lookAtH4(h4 ?? '', daemon)];
  const bluez = await lookAtBluetoothd(places);
  const present = await lookAtDevice(adapter, places);
  if (present.status === 'fail') return [present, ...(await lookAtRfkill(adapter, places)), bluez.finding];
  const powered = daemon?.radio.adapter === 'poweredOn' ? true : await askPowered(adapter, places);
  const rfkill = await lookAtRfkill(adapter, places);
  const blocked = rfkill.some(({ status }) => status === 'fail');
  return [
    present,
    ...rfkill,
    ...(blocked ? [] : power(adapter, powered, bluez.running)),
    backend === 'dbus' && !bluez.running
      ? fail(
          'bluetoothd',
          'adapter_off',
          'It does not run, and the backend dbus reaches lamps through it.',
          'systemctl enable --now bluetooth',
        )
      : bluez.finding,
    ...(backend === 'hci' ? await lookAtRights(places, daemon) : []),
  ];
}

async function lookAtDevice(adapter: string, { sys }: Places): Promise<Finding> {
  const all = ((await namesIn(join(sys, 'class/bluetooth'))) ?? []).filter((name) => /^hci\d+$/.test(name));
  if (all.includes(adapter))
    return ok('adapter', `${adapter} is there${all.length > 1 ? ` (of ${all.join(', ')})` : ''}`);
  if (all.length > 0) {
    return fail(
      'adapter',
      'adapter_off',
      `There is no ${adapter}; there is ${all.join(', ')}.`,
      `Set "bluetooth: {adapter: ${all[0]}}".`,
    );
  }
  return fail(
    'adapter',
    'adapter_off',
    'This machine has no Bluetooth adapter that its kernel knows.',
    'Plug one in. On a Raspberry Pi: is "dtoverlay=disable-bt" in config.txt? Does "dmesg | grep -i bluetooth" complain about firmware?',
  );
}

/** The switches of adapters (rfkill). A machine may have one for all Bluetooth besides each adapter's own. */
async function lookAtRfkill(adapter: string, { sys }: Places): Promise<readonly Finding[]> {
  const folder = join(sys, 'class/rfkill');
  const states = await Promise.all(
    ((await namesIn(folder)) ?? []).map(async (name) => {
      const read = (file: string): Promise<string | undefined> => textOf(join(folder, name, file));
      const [type, called, soft, hard] = await Promise.all([read('type'), read('name'), read('soft'), read('hard')]);
      return { type, called: called ?? name, soft: soft === '1', hard: hard === '1' };
    }),
  );
  const ours = states.filter(
    ({ type, called }) => type === 'bluetooth' && (called === adapter || !/^hci\d+$/.test(called)),
  );
  if (ours.length === 0) return [];
  const hard = ours.find((one) => one.hard);
  if (hard !== undefined) {
    return [
      fail(
        'rfkill',
        'adapter_off',
        `Bluetooth is switched off by a hardware switch (${hard.called}).`,
        'Use the switch or key of this machine, or its firmware setup.',
      ),
    ];
  }
  const soft = ours.find((one) => one.soft);
  if (soft !== undefined)
    return [fail('rfkill', 'adapter_off', `Bluetooth is blocked (${soft.called}).`, 'sudo rfkill unblock bluetooth')];
  return [ok('rfkill', 'not blocked')];
}

async function lookAtBluetoothd({ proc }: Places): Promise<{ readonly running: boolean; readonly finding: Finding }> {
  for (const pid of (await namesIn(proc)) ?? []) {
    if (!/^\d+$/.test(pid)) continue;
    if ((await textOf(join(proc, pid, 'comm'))) === 'bluetoothd')
      return { running: true, finding: ok('bluetoothd', `runs (process ${pid})`) };
  }
  const finding = warn(
    'bluetoothd',
    'It does not run (or may not be seen from here): then nobody switches the adapter on.',
    'sudo apt-get install bluez; systemctl enable --now bluetooth',
  );
  return { running: false, finding };
}

/** As bluetoothd says; undefined: it cannot be asked. The kernel itself would tell only who may open the adapter. */
async function askPowered(adapter: string, { ask }: Places): Promise<boolean | undefined> {
  const path = `/org/bluez/${adapter}`;
  const said = await ask('busctl', ['--system', 'get-property', 'org.bluez', path, 'org.bluez.Adapter1', 'Powered']);
  if (said === undefined) return undefined;
  return /^b true\s*$/.test(said) ? true : /^b false\s*$/.test(said) ? false : undefined;
}

function power(adapter: string, powered: boolean | undefined, bluez: boolean): readonly Finding[] {
  if (powered === true) return [ok('power', `${adapter} is on`)];
  if (powered === false) {
    const cure = 'bluetoothctl power on; to keep it so, AutoEnable=true in /etc/bluetooth/main.conf';
    return [fail('power', 'adapter_off', `${adapter} is switched off.`, cure)];
  }
  return [
    warn(
      'power',
      `Whether ${adapter} is on could not be seen${bluez ? ' (bluetoothd did not say)' : ''}.`,
      'Start the gateway: then "porchlight status" tells. Or: bluetoothctl show',
    ),
  ];
}

/** May the daemon open a raw Bluetooth socket? Looked at where it runs, else in its unit, else in this process. */
async function lookAtRights({ proc, units }: Places, daemon: DaemonStatus | undefined): Promise<readonly Finding[]> {
  const pid = daemon?.radio.pid;
  if (pid !== undefined) {
    const has = await holdsRaw(join(proc, String(pid), 'status'));
    if (has === true) return [ok('rights', 'the radio may use the adapter (CAP_NET_RAW)')];
    if (has === false) {
      return [
        fail(
          'rights',
          'adapter_stuck',
          'The radio of the running gateway may not use the adapter: it lacks CAP_NET_RAW.',
          UNIT,
        ),
      ];
    }
    return [warn('rights', 'What the running gateway may do could not be seen from here.', 'Run this with sudo.')];
  }
  for (const folder of units) {
    const unit = await textOf(join(folder, 'porchlight.service'));
    if (unit === undefined) continue;
    if (/^AmbientCapabilities=.*\bCAP_NET_RAW\b/m.test(unit) || !/^User=(?!root\s*$)/m.test(unit))
      return [ok('rights', `${folder}/porchlight.service gives the right to use the adapter`)];
    return [fail('rights', 'adapter_stuck', `${folder}/porchlight.service does not give CAP_NET_RAW.`, UNIT)];
  }
  if ((await holdsRaw(join(proc, 'self/status'))) === true)
    return [ok('rights', 'this user may use the adapter (CAP_NET_RAW)')];
  return [warn('rights', 'This user may not use the adapter, and no unit is installed that may.', UNIT)];
}

const UNIT =
  'Run it by the unit in systemd/ (docs/service.md), which gives AmbientCapabilities=CAP_NET_RAW; or with sudo.';

/** Undefined: it may not be seen. */
async function holdsRaw(status: string): Promise<boolean | undefined> {
  const [, mask] = /^CapEff:\s*([0-9a-f]{1,32})$/m.exec((await textOf(status)) ?? '') ?? [];
  return mask === undefined ? undefined : ((BigInt(`0x${mask}`) >> CAP_NET_RAW) & 1n) === 1n;
}

/** A controller that speaks H4 has room for one, so a running gateway's is not knocked at. */
async function lookAtH4(address: string, daemon: DaemonStatus | undefined): Promise<Finding> {
  if (daemon?.radio.adapter === 'poweredOn') return ok('adapter', `the controller at ${address} answers`);
  const reason = await dial(address);
  if (reason === undefined) return ok('adapter', `something answers at ${address}`);
  return fail(
    'adapter',
    'adapter_off',
    `The controller at ${address} cannot be reached: ${reason}.`,
    'Is it running, and is bluetooth.h4 right?',
  );
}

function dial(address: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const path = /^unix:(.+)$/.exec(address)?.[1];
    const url = path === undefined && URL.canParse(address) ? new URL(address) : undefined;
    if (path === undefined && url === undefined) return resolve('this is no address');
    const host = url?.hostname.replace(/^\[|\]$/g, '') ?? '';
    const socket = path === undefined ? connect({ host, port: Number(url?.port) }) : connect({ path });
    const end = (reason: string | undefined): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(reason);
    };
    const timer = setTimeout(() => end('no answer'), DIAL_MS);
    socket.once('connect', () => end(undefined));
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'no answer'));
  });
}
