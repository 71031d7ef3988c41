import type { Home, Json } from './home.ts';
import { UNIT } from './home.ts';
import { type Deadline, journal, mainPid, must, ran, systemctl } from './machine.ts';
import type { Report } from './report.ts';

/** Reload takes a right configuration and refuses a wrong one, without a restart. */
export async function reloads(report: Report, home: Home): Promise<void> {
  await report.step('systemctl reload takes a new lamp in', { real: 5, emulated: 60 }, async (deadline) => {
    const pid = await mainPid(UNIT);
    const hall = { id: 'hall', name: 'Hall', address: '00:aa:01:7f:00:09' };
    home.configure({ lights: [...home.config.lights, hall] });
    await systemctl('reload', UNIT);
    await deadline.until('the status names it', async () =>
      (await home.status()).lights.some(({ id }: Json) => id === 'hall') ? true : undefined,
    );
    await home.well(deadline);
    if ((await mainPid(UNIT)) !== pid) throw new Error('it was restarted');
    return home.obeyed(deadline);
  });
  await report.step(
    'systemctl reload refuses a wrong configuration, and the old one stays',
    { real: 5, emulated: 60 },
    async (deadline) => {
      home.write('lights: [{id: porch, colour: red}]\n');
      await systemctl('reload', UNIT);
      await deadline.until('the journal names what is wrong', async () =>
        (await journal(UNIT)).includes('the new configuration is wrong') ? true : undefined,
      );
      home.configure({ lights: home.config.lights.filter(({ id }: Json) => id === 'porch') });
      return home.obeyed(deadline);
    },
  );
}

/** The promise of a stop within 5 s, where it is hardest to keep. */
export async function stops(report: Report, home: Home): Promise<void> {
  const stop = async (): Promise<string> => {
    const began = performance.now();
    await systemctl('stop', UNIT);
    const seconds = (performance.now() - began) / 1000;
    const { output } = await ran('systemctl', ['show', '--property', 'Result', '--value', UNIT]);
    if (output.trim() !== 'success') throw new Error(`stopped after ${seconds.toFixed(1)} s: ${output}`);
    if (seconds > 5) throw new Error(`stopped only after ${seconds.toFixed(1)} s`);
    return `stopped in ${seconds.toFixed(1)} s`;
  };
  // A command that is sent before the gateway is there is lost, on purpose: nothing is obeyed later.
  const startAgain = async (deadline: Deadline): Promise<void> => {
    await systemctl('start', UNIT);
    await home.well(deadline);
  };
  const limit = { real: 20, emulated: 90 };
  await report.step('systemctl stop, with a link: within 5 s, and offline on the broker', limit, async (deadline) => {
    await home.well(deadline);
    await home.obeyed(deadline);
    const note = await stop();
    await deadline.until('offline', () =>
      home.sender.newest('porchlight/gateway/porch-pi/availability') === 'offline' ? true : undefined,
    );
    await startAgain(deadline);
    await home.obeyed(deadline);
    return note;
  });
  await report.step('systemctl stop, right after the lamp vanished: within 5 s', limit, async (deadline) => {
    await home.well(deadline);
    await home.obeyed(deadline);
    home.lamp.tell('vanish');
    const note = await stop();
    home.lamp.tell('return');
    await startAgain(deadline);
    await home.obeyed(deadline);
    return note;
  });
  await report.step(
    'systemctl stop, on a link whose lamp lost its power unnoticed: within 5 s',
    limit,
    async (deadline) => {
      await home.well(deadline);
      await home.obeyed(deadline);
      await home.lamp.kill();
      void home.sender.client.publish('porchlight/local/porch/set', '{"state":"OFF"}');
      const note = await stop();
      // A real controller ends such a link after its supervision timeout. btvirt never does, and the kernel would take the
      // next link for the same one: a reset makes it forget.
      await must('hciconfig', 'hci0', 'down');
      await must('hciconfig', 'hci0', 'up');
      await home.lamp.start(deadline);
      await startAgain(deadline);
      await home.obeyed(deadline);
      return note;
    },
  );
}

/** What the whole visit left in the journal. */
export async function noSecrets(report: Report, token: string): Promise<void> {
  await report.step('the journal holds no token', { real: 1, emulated: 20 }, async () => {
    const text = await journal(UNIT);
    const found = [token, 'eyJ', 'refresh_token'].filter((word) => text.includes(word));
    if (found.length > 0) throw new Error('a token is in the journal');
    return `${text.split('\n').length} lines read`;
  });
}
