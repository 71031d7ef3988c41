import type { Home, Json } from './home.ts';
import { UNIT } from './home.ts';
import { type Deadline, mainPid, must, type Ran, ran, systemctl } from './machine.ts';
import type { Report } from './report.ts';

const COMMAND = { real: 2, emulated: 20 };
const QUICK = { real: 1, emulated: 20 };

/** Commands by both trees, and the lamp's own word. Frames are those of madhead/saberlight, protocols/Triones/protocol.md. */
export async function commands(report: Report, home: Home): Promise<void> {
  const { lamp, sender } = home;
  const bytesOf = async (change: Json, how: { readonly token?: string }, deadlineMs: number): Promise<string> => {
    const seen = lamp.events.length;
    const outcome = await sender.command('porch', change, { ...(how.token ? how : { local: true }), ms: deadlineMs });
    if (outcome.outcome !== 'confirmed') throw new Error(JSON.stringify(outcome));
    return `${lamp.writesSince(seen).join(' ')}, by ${outcome.by}, ${outcome.took_ms} ms`;
  };
  const expecting = (frame: string, note: string): string => {
    if (!note.split(/[ ,]/).includes(frame)) throw new Error(`no ${frame} at the lamp: ${note}`);
    return note;
  };

  await report.step('violet, without a token on the local tree', COMMAND, async (deadline) => {
    const violet = { state: 'ON', brightness: 157, color: { r: 146, g: 0, b: 255 } };
    return expecting('565a009d00f0aa', await bytesOf(violet, {}, deadline.leftMs));
  });
  // The kernel makes links that end after 420 ms of silence, which small gaps break. Through bluetoothd there is no say in it.
  if (home.config.bluetooth.backend === 'hci') {
    await report.step('the link bears 2 s of silence or more', COMMAND, async (deadline) => {
      const timeout = (): number | undefined =>
        lamp.events.findLast(({ supervisionTimeout }) => supervisionTimeout !== undefined)?.supervisionTimeout;
      await deadline.until(`more than ${timeout()} ms`, () => ((timeout() ?? 0) >= 2000 ? true : undefined));
      return `${timeout()} ms`;
    });
  }
  await report.step('off, with a token of the demo phone', COMMAND, async (deadline) => {
    const token = await home.server.tokenFor();
    return expecting('cc2433', await bytesOf({ state: 'OFF' }, { token }, deadline.leftMs));
  });
  await report.step(
    'without a token beside the local tree: denied, and nothing at the lamp',
    COMMAND,
    async (deadline) => {
      const seen = lamp.events.length;
      const outcome = await sender.command('porch', { state: 'ON' }, { ms: deadline.leftMs });
      if (outcome.outcome !== 'denied' || outcome.code !== 'token_missing') throw new Error(JSON.stringify(outcome));
      if (lamp.writesSince(seen).includes('cc2333')) throw new Error('the lamp was switched on');
      return outcome.code;
    },
  );
  await report.step(
    'a remote control of the lamp is used: its notification becomes the state',
    COMMAND,
    async (deadline) => {
      const heard = sender.heard.length;
      lamp.tell('press 66152341200000ff00000699'); // on, green: the capture of saberlight
      await deadline.until('green on the state topic', () =>
        sender.heard
          .slice(heard)
          .find(
            ({ topic, body }) =>
              topic === 'porchlight/porch/state' &&
              body.state === 'ON' &&
              body.color?.g === 255 &&
              body.confidence === 'confirmed',
          ),
      );
      return undefined;
    },
  );
}

/** CAP_NET_RAW is bit 13 (linux/capability.h). */
const RAW = 1n << 13n;

/** Both processes run as the unit's user, with these capabilities and no way to more. */
async function confined(home: Home, capabilities: bigint): Promise<void> {
  const { radio } = await home.status();
  const uid = (await must('id', '-u', 'porchlight')).trim();
  for (const pid of [await mainPid(UNIT), radio.pid]) {
    const status = await must('cat', `/proc/${pid}/status`);
    const line = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
    const sets = ['CapEff', 'CapPrm', 'CapBnd', 'CapAmb'].map((name) => BigInt(`0x${line(name)}`));
    const found = [line('Uid').split('\t')[0], ...sets, line('NoNewPrivs'), line('Seccomp')];
    // Seccomp 2: filtered.
    const wanted = [uid, ...sets.map(() => capabilities), '1', '2'];
    if (String(found) !== String(wanted)) throw new Error(`process ${pid}: ${found} instead of ${wanted}`);
  }
}

/** Who runs, with which rights; who may speak to it. */
export async function rights(report: Report, home: Home): Promise<void> {
  await report.step('both processes run as porchlight, with CAP_NET_RAW alone', QUICK, async () => {
    await confined(home, RAW);
    // As the unit sees it: newer systemd maps the owner of the folder on the disk.
    const folder = `/proc/${await mainPid(UNIT)}/root/var/lib/porchlight/`;
    const state = (await must('stat', '--format', '%U %a', folder)).trim();
    if (state !== 'porchlight 700') throw new Error(`the state directory is ${state}`);
    return undefined;
  });
  await report.step('the group porchlight may command it, others may not', { real: 5, emulated: 60 }, async () => {
    await must('useradd', '--groups', 'porchlight', 'alice');
    await must('useradd', 'bob');
    const as = (user: string, ...args: readonly string[]) => ran('runuser', ['-u', user, '--', 'porchlight', ...args]);
    const alice = await as('alice', 'send', 'porch', '{"state":"OFF"}');
    if (alice.status !== 0) throw new Error(`alice: ${alice.status}\n${alice.output}`);
    const bob = await as('bob', 'status');
    if (bob.status !== 69) throw new Error(`bob: ${bob.status}\n${bob.output}`);
    return alice.output.trim().split('\n')[0];
  });
}

/** The other road to the adapter: through bluetoothd, with the shipped drop-in that takes the last capability away. */
export async function overDbus(report: Report, home: Home): Promise<boolean> {
  const started = await report.step(
    'a start with backend dbus and its drop-in',
    { real: 10, emulated: 60 },
    async (deadline) => {
      home.configure({ bluetooth: { backend: 'dbus', adapter: 'hci0' } });
      await must('porchlight', 'config', 'check');
      await must('mkdir', '-p', `/etc/systemd/system/${UNIT}.d`);
      const shipped = '/usr/local/lib/node_modules/porchlight/systemd/porchlight.service.d/dbus.conf.example';
      await must('cp', shipped, `/etc/systemd/system/${UNIT}.d/dbus.conf`);
      await systemctl('daemon-reload');
      await systemctl('restart', UNIT);
      await home.well(deadline);
      return undefined;
    },
  );
  if (!started) return false;
  await report.step('both processes run as porchlight, without any capability', QUICK, async () => {
    await confined(home, 0n);
    return undefined;
  });
  return true;
}

/** How the unit is rated while it runs, drop-ins and all. 0 is best, 10 worst. */
export async function exposure(report: Report): Promise<void> {
  await report.step('systemd-analyze security', { real: 3, emulated: 60 }, async () => {
    const { output } = await ran('systemd-analyze', ['security', '--no-pager', UNIT]);
    const [, score] = /Overall exposure level for porchlight\.service: ([0-9.]+)/.exec(output) ?? [];
    if (score === undefined || Number(score) > 2) throw new Error(output);
    return `${score}, the lower the better`;
  });
}

const VERB = { real: 15, emulated: 60 };

/** What a person at the machine types, beside the running daemon. */
export async function verbs(report: Report, home: Home): Promise<void> {
  const verb = async (name: string, args: readonly string[], judge: (ran: Ran) => string | undefined) => {
    await report.step(`porchlight ${[name, ...args].join(' ')}`, VERB, async () => {
      const outcome = await ran('porchlight', [name, ...args]);
      const note = judge(outcome);
      if (note === undefined) throw new Error(`exit status ${outcome.status}\n${outcome.output}`);
      return note;
    });
  };
  await verb('status', [], ({ stdout, status }) => (status === 0 ? stdout.split('\n')[0] : undefined));
  await verb('scan', ['--seconds', '5', '--json'], ({ stdout, status }) => {
    const { via, devices }: Json = status === 0 ? JSON.parse(stdout) : {};
    const found = devices?.find(({ address }: Json) => address === home.address);
    return via === 'daemon' && found !== undefined ? `through the daemon: ${JSON.stringify(found)}` : undefined;
  });
  const seen = home.lamp.events.length;
  await verb('identify', ['porch'], ({ status }) => {
    const frames = home.lamp.writesSince(seen);
    return status === 0 && frames.length > 1 ? `at the lamp: ${frames.join(' ')}` : undefined;
  });
  await report.step('porchlight check --json', { real: 15, emulated: 120 }, async (deadline) => {
    const { findings, status } = await checked(deadline);
    for (const name of CHECKS) {
      const those = findings.filter(({ check }) => check === name);
      const fine = those.length > 0 && those.every((one) => one.status === 'ok');
      if (!fine) throw new Error(`${name} is not fine, exit status ${status}:\n${JSON.stringify(findings, null, 1)}`);
    }
    const others = findings.filter((one) => one.status !== 'ok');
    return [`exit status ${status}`, ...others.map((one) => `${one.status}: ${one.message}`)].join('; ');
  });
}

interface Finding {
  readonly check: string;
  readonly status: string;
  readonly message: string;
}

/** What must be fine; the others speak of servers, which a starved guest may be too slow to hear in time. */
const CHECKS = ['configuration', 'daemon', 'adapter', 'power', 'rfkill', 'bluetoothd', 'rights', 'radio'];

/**
 * What `check` finds. Each of its looks has 5 s, which loading the program for the first time may take on an emulated processor:
 * where it says that it gave a look up for that, it is asked again.
 */
async function checked(
  deadline: Deadline,
): Promise<{ readonly findings: readonly Finding[]; readonly status: number | null }> {
  for (;;) {
    const { stdout, status } = await ran('porchlight', ['check', '--json']);
    const findings: readonly Finding[] = JSON.parse(stdout).checks;
    const givenUp = findings.some(
      ({ check, message }) => CHECKS.includes(check) && message.includes('took longer than'),
    );
    if (!givenUp || deadline.leftMs === 0) return { findings, status };
  }
}
