import type { Home, Json } from './home.ts';
import { UNIT } from './home.ts';
import { type Deadline, type Limit, mainPid, must, property, ran, systemctl } from './machine.ts';
import type { Report } from './report.ts';

/**
 * Something goes wrong, and nobody lifts a hand: a command sent at once, and repeated only after it has failed, must be confirmed
 * in time, and the gateway must say that all is well.
 */
async function heals(
  report: Report,
  home: Home,
  name: string,
  limit: Limit,
  fault: (deadline: Deadline) => Promise<string | undefined>,
): Promise<void> {
  await report.step(name, limit, async (deadline) => {
    await home.well(deadline);
    const began = performance.now();
    const note = await fault(deadline);
    const faulted = performance.now();
    const outcomes = await home.obeyed(deadline);
    const healed = performance.now();
    await home.well(deadline);
    const seconds = (from: number): string => ((healed - from) / 1000).toFixed(1);
    const during = faulted - began > 1000 ? ` (${seconds(began)} s since its begin)` : '';
    return [`healed ${seconds(faulted)} s after it${during}`, outcomes, note].filter(Boolean).join('; ');
  });
}

const radioOf = async (home: Home): Promise<number> => {
  const { pid }: Json = (await home.status()).radio;
  if (!(pid > 1)) throw new Error('the status names no radio process');
  return pid;
};

/** What befalls the adapter and bluetoothd. */
export async function adapterHeals(report: Report, home: Home): Promise<void> {
  await heals(report, home, 'systemctl restart bluetooth', { real: 15, emulated: 90 }, async () => {
    await systemctl('restart', 'bluetooth.service');
    return undefined;
  });
  await heals(report, home, 'hciconfig hci0 down, a second, up', { real: 15, emulated: 90 }, async () => {
    await must('hciconfig', 'hci0', 'down');
    await must('sleep', '1');
    await must('hciconfig', 'hci0', 'up');
    return undefined;
  });
  await heals(report, home, 'bluetoothctl power off, a second, on', { real: 15, emulated: 90 }, async () => {
    await must('bluetoothctl', 'power', 'off');
    await must('sleep', '1');
    await must('bluetoothctl', 'power', 'on');
    return undefined;
  });
  await heals(report, home, 'rfkill block bluetooth, a second, unblock', { real: 15, emulated: 90 }, async () => {
    await rfkill('block');
    await must('sleep', '1');
    await rfkill('unblock');
    return undefined;
  });
  await heals(
    report,
    home,
    'bluetoothd stopped until the gateway says so, and started',
    { real: 30, emulated: 120 },
    async (deadline) => {
      await systemctl('stop', 'bluetooth.service');
      const problem = await deadline.until('the status says that the adapter is off', async () => {
        const { healthy, radio } = await home.status();
        return healthy ? undefined : (radio.problem?.code ?? radio.state);
      });
      await systemctl('start', 'bluetooth.service');
      return `status said ${problem}`;
    },
  );
}

/** The lamp's controller belongs to the lamp alone and has no say in this. */
async function rfkill(word: 'block' | 'unblock'): Promise<void> {
  const list = await must('rfkill', '--noheadings', '--output', 'ID,DEVICE');
  const id = /^\s*(\d+)\s+hci0$/m.exec(list)?.[1];
  if (id === undefined) throw new Error(`no hci0 in rfkill's list:\n${list}`);
  await must('rfkill', word, id);
}

/** What befalls the radio process. */
export async function radioHeals(report: Report, home: Home): Promise<void> {
  await heals(report, home, 'the radio process is killed (SIGKILL)', { real: 5, emulated: 60 }, async () => {
    process.kill(await radioOf(home), 'SIGKILL');
    return undefined;
  });
  await heals(report, home, 'the radio process hangs (SIGSTOP)', { real: 30, emulated: 90 }, async (deadline) => {
    const pid = await radioOf(home);
    process.kill(pid, 'SIGSTOP');
    await deadline.until('the gateway ends it', async () =>
      (await home.status()).radio.pid === pid ? undefined : true,
    );
    return undefined;
  });
}

/** What befalls the main process. */
export async function mainHeals(report: Report, home: Home): Promise<void> {
  await heals(report, home, 'the main process is killed (SIGKILL)', { real: 10, emulated: 90 }, async (deadline) => {
    const before = await mainPid(UNIT);
    process.kill(before, 'SIGKILL');
    return restarted(home, before, deadline);
  });
  // WatchdogSec=30, then SIGABRT, then RestartSec=2.
  await heals(
    report,
    home,
    "the main process hangs (SIGSTOP): systemd's watchdog",
    { real: 50, emulated: 150 },
    async (deadline) => {
      const before = await mainPid(UNIT);
      process.kill(before, 'SIGSTOP');
      return restarted(home, before, deadline);
    },
  );
  await report.step('no radio process of an earlier life is left', { real: 1, emulated: 20 }, async () => {
    const processes = await must('systemctl', 'show', '--property', 'ControlGroup', '--value', UNIT);
    const pids = (await must('cat', `/sys/fs/cgroup${processes.trim()}/cgroup.procs`)).trim().split('\n');
    const commands = await ran('ps', ['-o', 'args=', '-p', pids.join(',')]);
    const radios = commands.output.split('\n').filter((line) => line.includes('bluetooth/radio'));
    if (radios.length !== 1) throw new Error(commands.output);
    return undefined;
  });
}

async function restarted(home: Home, before: number, deadline: Deadline): Promise<string> {
  await deadline.until('another main process is ready', async () => {
    const ready =
      (await property(UNIT, 'ActiveState')) === 'active' && (await property(UNIT, 'SubState')) === 'running';
    return ready && (await mainPid(UNIT)) !== before ? true : undefined;
  });
  const { authorization } = await deadline.until('it answers, and remembers its approval', async () => {
    const status = await home.status();
    return status.authorization.state === 'authorized' && status.broker.connected ? status : undefined;
  });
  return `still ${authorization.state}, restarts: ${await property(UNIT, 'NRestarts')}`;
}

/** What befalls the lamp. */
export async function lampHeals(report: Report, home: Home): Promise<void> {
  const { lamp, sender } = home;
  await heals(report, home, 'the lamp vanishes and comes back', { real: 20, emulated: 90 }, async (deadline) => {
    lamp.tell('vanish');
    const outcome = await sender.command(
      'porch',
      { state: 'OFF', expires_in: 5 },
      { local: true, ms: deadline.leftMs },
    );
    if (!['failed', 'expired'].includes(outcome.outcome)) throw new Error(`without a lamp: ${JSON.stringify(outcome)}`);
    lamp.tell('return');
    return `meanwhile ${outcome.code ?? outcome.outcome}`;
  });
  await heals(
    report,
    home,
    'the lamp is mute for a while (connected, and says nothing)',
    { real: 60, emulated: 120 },
    async (deadline) => {
      lamp.freeze();
      const outcome = await sender.command(
        'porch',
        { state: 'OFF', expires_in: 5 },
        { local: true, ms: deadline.leftMs },
      );
      lamp.thaw();
      if (outcome.outcome === 'confirmed') throw new Error(`by a lamp that said nothing: ${JSON.stringify(outcome)}`);
      return `meanwhile ${outcome.code ?? outcome.outcome}`;
    },
  );
}
