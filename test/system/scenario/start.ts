import { symlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type * as Server from '../../../src/demo/authorization-server.ts';
import { Sender } from '../../support/sender.ts';
import { AUDIENCE, Home, UNIT } from './home.ts';
import { Lamp } from './lamp.ts';
import { type Deadline, journal, must, property, systemctl } from './machine.ts';
import type { Report } from './report.ts';

/** What stands around the gateway on a Pi: bluetoothd and a broker as Debian ships them; and a lamp and an authorization server. */
export async function surroundings(report: Report, build: string): Promise<Home | undefined> {
  const lamp = new Lamp();
  let home: Home | undefined;
  const there = await report.step(
    'a lamp, bluetoothd, a broker and an authorization server are there',
    { real: 10, emulated: 90 },
    async (deadline) => {
      const note = await controllers(deadline);
      const address = await lamp.start(deadline);
      await systemctl('start', 'bluetooth.service', 'mosquitto.service');
      const { startAuthorizationServer }: typeof Server = await import(`${build}/demo/authorization-server.js`);
      const server = await startAuthorizationServer({
        gatewayClientId: 'porchlight',
        audience: AUDIENCE,
        intervalSeconds: 1,
      });
      const sender = await deadline.until('the broker answers', () => Sender.connect('mqtt://127.0.0.1:1883'));
      await deadline.until('bluetoothd has powered hci0 up', async () =>
        (await must('hciconfig', 'hci0')).includes('UP RUNNING') ? true : undefined,
      );
      home = new Home({ lamp, server, sender, address });
      return `the lamp is ${address}${note}`;
    },
  );
  return there ? home : undefined;
}

/**
 * The kernel gives a new controller 2 s to answer its first command, and takes it for broken, for good, if it does not: that can
 * happen where other work holds this machine up. Such a controller has no address.
 */
async function controllers(deadline: Deadline): Promise<string> {
  let starts = 0;
  await deadline.until('two controllers answer', async () => {
    starts += 1;
    await systemctl('restart', 'controllers.service');
    await sleep(1000);
    const list = await must('hciconfig', '-a');
    return list.match(/BD Address: 00:AA:01/g)?.length === 2 ? true : undefined;
  });
  return starts === 1 ? '' : ` (controllers started ${starts} times)`;
}

/** As the README tells an installer, but from a file instead of a registry. */
export async function install(report: Report, home: Home): Promise<boolean> {
  const modules = '/usr/local/lib/node_modules';
  return report.step('the package is installed as the README says', { real: 5, emulated: 90 }, async () => {
    await must('mkdir', '-p', modules);
    await must('tar', '--extract', '--no-same-owner', '--file', '/run/host/package.tar', '--directory', modules);
    symlinkSync(`${modules}/porchlight/dist/main.js`, '/usr/local/bin/porchlight');
    const shipped = `${modules}/porchlight/systemd`;
    await must('cp', `${shipped}/porchlight.sysusers.conf`, '/usr/lib/sysusers.d/porchlight.conf');
    await must('systemd-sysusers');
    await must('cp', `${shipped}/porchlight.service`, '/etc/systemd/system/');
    home.configure();
    await must('porchlight', 'config', 'check');
    await systemctl('daemon-reload');
    return (await must('porchlight', '--version')).trim();
  });
}

/** The unit starts, a person approves it. */
export async function firstStart(report: Report, home: Home): Promise<boolean> {
  const started = await report.step(
    'systemctl enable --now returns with the unit ready',
    { real: 3, emulated: 60 },
    async () => {
      await systemctl('--quiet', 'enable', '--now', UNIT);
      return property(UNIT, 'ActiveState');
    },
  );
  if (!started) return false;
  return report.step('the journal shows a code; a person approves it', { real: 10, emulated: 60 }, async (deadline) => {
    const code = await deadline.until(
      'a code in the journal',
      async () => /\b[A-Z0-9]{4}-[A-Z0-9]{4}\b/.exec(await journal(UNIT))?.[0],
    );
    await home.server.approve(code);
    const { healthy } = await home.well(deadline);
    return `healthy: ${healthy}`;
  });
}
