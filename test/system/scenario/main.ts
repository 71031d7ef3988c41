// What a stock Debian makes of the installed package: real kernel Bluetooth, BlueZ, systemd as PID 1. Runs as root in the guest
// that vm/boot.sh boots; run.sh puts it together. Read from here.
import { writeFileSync } from 'node:fs';
import { commands, exposure, overDbus, rights, verbs } from './commands.ts';
import { adapterHeals, lampHeals, mainHeals, radioHeals } from './healing.ts';
import type { Home } from './home.ts';
import { noSecrets, reloads, stops } from './leaving.ts';
import { must } from './machine.ts';
import { Report } from './report.ts';
import { firstStart, install, surroundings } from './start.ts';

const [build = '/checkout/dist', speed = 'emulated', patience = '1', only = ''] = process.argv.slice(2);
let home: Home | undefined;
const report = new Report({
  emulated: speed === 'emulated',
  patience: Number(patience),
  explain: async () => (await home?.explain()) ?? '',
  say: (line) => process.stdout.write(`${line}\n`),
});
const acts: Readonly<Record<string, (home: Home) => Promise<void>>> = {
  rights: (there) => rights(report, there),
  commands: (there) => commands(report, there),
  verbs: (there) => verbs(report, there),
  exposure: () => exposure(report),
  adapter: (there) => adapterHeals(report, there),
  radio: (there) => radioHeals(report, there),
  main: (there) => mainHeals(report, there),
  lamp: (there) => lampHeals(report, there),
  reload: (there) => reloads(report, there),
  stop: (there) => stops(report, there),
  dbus: async (there) => {
    if (!(await overDbus(report, there))) return;
    await exposure(report);
    await commands(report, there);
    await adapterHeals(report, there);
    await radioHeals(report, there);
    await lampHeals(report, there);
    await stops(report, there);
  },
};

const wanted = only === '' ? Object.keys(acts) : only.split(',');
const unknown = wanted.filter((name) => acts[name] === undefined);
if (unknown.length > 0) {
  process.stdout.write(`No such act: ${unknown.join(', ')}. There are: ${Object.keys(acts).join(', ')}\n`);
  process.exit(64);
}

report.heading('Installing');
home = await surroundings(report, build);
if (home !== undefined && (await install(report, home)) && (await firstStart(report, home))) {
  const token = await home.server.tokenFor();
  for (const [name, act] of Object.entries(acts)) {
    if (!wanted.includes(name)) continue;
    report.heading(`${name[0]?.toUpperCase()}${name.slice(1)}`);
    await act(home);
  }
  await noSecrets(report, token);
  await home.lamp.kill();
}
writeFileSync('/run/host/lamp.log', home?.diary() ?? '');
const fine = report.finish('/run/host/report.json');
await must('bash', '-c', 'journalctl --no-pager --output short-monotonic > /run/host/journal.log');
process.exit(fine ? 0 : 1);
