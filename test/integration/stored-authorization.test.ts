import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RotatingServer } from '../oauth/kill-points/rotating-server.ts';
import { Daemon } from '../support/daemon.ts';

const server = new RotatingServer();
const daemons: Daemon[] = [];
beforeAll(() => server.start());
afterAll(async () => {
  for (const daemon of daemons) await daemon.stop();
  await Promise.all(daemons.map((daemon) => daemon.remove()));
  await server.stop();
});

/** A daemon that was approved an hour ago, so it must renew at once. Neither broker nor radio: those are states. */
async function approvedBefore(name: string, habit: 'strict' | 'again', stored?: string): Promise<Daemon> {
  const { issuer, tokens } = server.grant(name, habit);
  const daemon = await Daemon.prepare({
    authorization: { issuer, client_id: 'porchlight', scopes: ['profile'] },
    access: { audience: 'https://porchlight.example/porch-pi' },
    mqtt: { url: 'mqtt://127.0.0.1:1' },
    bluetooth: { backend: 'h4', h4: 'tcp://127.0.0.1:1' },
    clock: { trust: 'system' },
    lights: [{ id: 'porch', name: 'Porch', address: 'be:ff:20:00:11:22' }],
  });
  daemons.push(daemon);
  const { access_token, refresh_token } = tokens;
  const times = { obtained_at: Date.now() - 3_500_000, expires_at: Date.now() + 100_000 };
  const record = { version: 1, issuer, client_id: 'porchlight', subject: 'ada', access_token, refresh_token, ...times };
  await mkdir(daemon.stateDirectory, { mode: 0o700 });
  await writeFile(join(daemon.stateDirectory, 'authorization.json'), stored ?? JSON.stringify(record), { mode: 0o600 });
  return daemon;
}

/** Kills it when its refresh has arrived, and starts it again. */
async function killedInRefresh(name: string, daemon: Daemon): Promise<void> {
  const arrived = new Promise<void>((resolve) => server.hold(name, 'sent', resolve));
  daemon.start();
  await arrived;
  daemon.kill('SIGKILL');
  await daemon.exit;
  server.killed(name, 1_000);
  daemon.start();
}

describe('a daemon that is killed between sending a refresh and hearing the answer', () => {
  it('is lost to a server without grace, says so, and leaves the server alone', async () => {
    const daemon = await approvedBefore('strict', 'strict');
    await killedInRefresh('strict', daemon);
    const { authorization } = await daemon.until(
      (status) => status.authorization.state === 'relink_needed',
      'the loss',
    );
    expect(authorization).toMatchObject({ state: 'relink_needed', reason: 'lost_in_crash', subject: 'ada' });
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(server.evidence('strict')).toMatchObject({ shown: [0, 0], refused: 1, twoCopies: 0 });
    expect(await readFile(join(daemon.stateDirectory, 'authorization.json'), 'utf8')).not.toMatch(/refresh-|access-/);
    await daemon.stop();
  });

  it('goes on where the server is patient, without a person', async () => {
    const daemon = await approvedBefore('patient', 'again');
    await killedInRefresh('patient', daemon);
    const file = join(daemon.stateDirectory, 'authorization.json');
    const renewed = async (): Promise<boolean> => (await readFile(file, 'utf8')).includes(server.current('patient'));
    for (let tries = 0; !(await renewed()) && tries < 400; tries += 1)
      await new Promise((resolve) => setTimeout(resolve, 25));
    await daemon.until((status) => status.authorization.state === 'authorized', 'authorized');
    expect(server.evidence('patient')).toMatchObject({ shown: [0, 0], refused: 0, twoCopies: 0, alive: true });
    await daemon.stop();
  });
});

describe('a daemon whose stored authorization is torn', () => {
  it('says so, does not ask for a code by itself, and leaves the file as it is', async () => {
    const torn = '{"version":1,"refresh_token":"refresh-secret';
    const daemon = await approvedBefore('torn', 'strict', torn);
    daemon.start();
    const { authorization } = await daemon.until((status) => status.authorization.problem !== undefined, 'a problem');
    expect(authorization).toMatchObject({ state: 'unauthorized', problem: { code: 'state_unusable' } });
    expect(authorization.problem.message).toContain('authorization.json: it is damaged');
    expect(authorization.problem.hint).toContain('porchlight login');
    expect(await readFile(join(daemon.stateDirectory, 'authorization.json'), 'utf8')).toBe(torn);
    expect(daemon.stdout + daemon.stderr).not.toContain('refresh-secret');
    await daemon.stop();
  });
});
