import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Home, PORCH, senderFor, startHome } from '../support/home.ts';
import { mosquittoMissing } from '../support/mosquitto.ts';
import type { Sender } from '../support/sender.ts';

/**
 * The best tour of the program: a real authorization server, a real broker, the real noble over a virtual controller, the real
 * daemon in its own processes. A code is shown and approved in the server's own pages; a second client commands.
 */
describe.skipIf(mosquittoMissing() !== undefined)('first light', () => {
  let home: Home;
  let phone: Sender;
  let token: string;

  beforeAll(async () => {
    home = await startHome();
    phone = await senderFor(home);
    token = await home.server.tokenFor();
  });

  afterAll(async () => {
    await phone?.close();
    await home?.close();
  });

  it('shows a code, is approved, and lights the lamp within three seconds', async () => {
    const { daemon, server, air } = home;
    daemon.start();
    const code = await daemon.code();
    await expect.poll(() => daemon.stdout).toContain(code);
    expect(daemon.stdout).toContain(`${server.issuer}/device`);

    await server.approve(code);
    const approvedAt = performance.now();
    await daemon.until((status) => status.authorization.state === 'authorized', 'authorized');
    const outcome = await phone.command(
      'porch',
      { state: 'ON', color: { r: 255, g: 140, b: 20 }, id: 'first' },
      { token },
    );
    expect(performance.now() - approvedAt).toBeLessThan(3000);

    expect(outcome).toMatchObject({ id: 'first', target: 'porch', outcome: 'confirmed', by: 'owner' });
    expect(
      (await air.written()).map(({ lamp, characteristic, hex, kind }) => `${lamp} ${characteristic} ${hex} ${kind}`),
    ).toEqual(expect.arrayContaining([`${PORCH} ffd9 cc2333 command`, `${PORCH} ffd9 56ff8c1400f0aa command`]));
    expect((await air.lamp(PORCH)).state).toMatchObject({ on: true, color: { r: 255, g: 140, b: 20 } });
  });

  it('publishes the state, retained, as the lamp itself said it', async () => {
    const late = await senderFor(home);
    const state = await late.until(({ topic }) => topic === 'porchlight/porch/state', 'the state');
    expect(state).toMatchObject({
      retain: true,
      body: {
        state: 'ON',
        color_mode: 'rgb',
        color: { r: 255, g: 140, b: 20 },
        brightness: 255,
        confidence: 'confirmed',
        by: 'owner',
      },
    });
    const availability = await late.until(({ topic }) => topic === 'porchlight/porch/availability', 'the availability');
    expect(availability).toMatchObject({ retain: true, body: 'online' });
    await late.until(
      ({ topic, body }) => topic === 'porchlight/gateway/porch-pi/availability' && body === 'online',
      'the gateway',
    );
    await late.close();
  });

  it('answers on the result topic as well, and the status tells all of it without a secret', async () => {
    const result = await phone.until(
      ({ topic, body }) => topic === 'porchlight/porch/result' && body.id === 'first',
      'the result',
    );
    expect(result.retain).toBe(false);
    const status = await home.daemon.status();
    expect(status).toMatchObject({
      healthy: true,
      authorization: { state: 'authorized', subject: 'owner' },
      radio: { adapter: 'poweredOn' },
    });
    const published = await phone.until(
      ({ topic, body }) => topic === 'porchlight/gateway/porch-pi/status' && body.healthy,
      'the status',
    );
    for (const text of [JSON.stringify(status), JSON.stringify(published.body)]) {
      expect(text).not.toMatch(/eyJ|access_token|refresh_token|device_code/);
    }
  });

  it('carries a group, a scene, the local socket and a lamp that cannot say', async () => {
    const { daemon } = home;
    const group = await phone.command('evening', { state: 'ON', brightness: 100 }, { token });
    expect(group).toMatchObject({ target: 'evening', outcome: 'assumed' });
    expect(group.members).toMatchObject([
      { target: 'porch', outcome: 'confirmed' },
      { target: 'hall', outcome: 'assumed' },
    ]);
    expect(await phone.command('scene/movie', {}, { token })).toMatchObject({ target: 'movie', outcome: 'assumed' });
    expect((await home.air.lamp(PORCH)).state.on).toBe(false);
    expect(await daemon.ask('POST', '/api/lights/porch/set', { state: 'TOGGLE' })).toMatchObject({
      outcome: 'confirmed',
      by: 'local',
    });
    expect((await home.air.lamp(PORCH)).state.on).toBe(true);
  });

  it('shows what a phone app changed, and does not fight it', async () => {
    const before = (await home.air.written()).length;
    await home.air.set(PORCH, { color: { r: 0, g: 0, b: 255 }, mode: 'color' });
    // The lamp says so when it is next asked; nothing is written but the question.
    await phone.command('porch', { state: 'ON' }, { token });
    await phone.until(
      ({ topic, body }) => topic === 'porchlight/porch/state' && body.color?.b === 255 && body.color?.r === 0,
      'blue',
    );
    const since = (await home.air.written()).slice(before).map(({ hex }) => hex);
    expect(since.filter((hex) => hex.startsWith('56'))).toEqual([]);
  });

  it('answers from the stored grant after a restart, without a human', async () => {
    const { daemon } = home;
    const shown = daemon.stdout.length;
    await daemon.stop();
    daemon.start();
    await daemon.until(
      (status) => status.authorization.state === 'authorized' && status.broker.connected,
      'authorized again',
    );
    expect(await phone.command('porch', { state: 'OFF' }, { token })).toMatchObject({ outcome: 'confirmed' });
    expect(daemon.stdout.slice(shown)).not.toMatch(/code/i);
  });

  it('stops under load within five seconds, says offline, answers every command, and exits with 0', async () => {
    const { daemon } = home;
    const sent = 200;
    for (let at = 0; at < sent; at += 1) {
      const body = { state: 'ON', color: { r: at, g: 1, b: 2 }, id: `load-${at}`, authorization: token };
      phone.client.publish(`porchlight/${at % 2 === 0 ? 'porch' : 'hall'}/set`, JSON.stringify(body), { qos: 1 });
      if (at === sent / 2) {
        await phone.until(
          ({ topic, body: answer }) => topic.endsWith('/result') && answer.id === 'load-0',
          'the first answer',
        );
        daemon.kill('SIGTERM');
      }
    }
    const began = performance.now();
    expect(await daemon.exit).toEqual({ code: 0, signal: null });
    expect(performance.now() - began).toBeLessThan(5000);
    await phone.until(
      ({ topic, body }) => topic === 'porchlight/gateway/porch-pi/availability' && body === 'offline',
      'offline',
    );
    const late = await senderFor(home);
    const retained = await late.until(
      ({ topic }) => topic === 'porchlight/gateway/porch-pi/availability',
      'the retained value',
    );
    expect(retained).toMatchObject({ body: 'offline', retain: true });
    await late.close();
    // Whatever arrived has one outcome, and only one.
    const answers = phone.heard
      .filter(({ topic, body }) => topic.endsWith('/result') && /^load-/.test(body.id ?? ''))
      .map(({ body }) => body.id);
    expect(answers.length).toBeGreaterThan(0);
    expect(new Set(answers).size).toBe(answers.length);
  });

  it('has written no secret anywhere but into its own file, which only its user can read', async () => {
    const { daemon } = home;
    const file = join(daemon.stateDirectory, 'authorization.json');
    const { access_token, refresh_token } = JSON.parse(await readFile(file, 'utf8'));
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(daemon.stateDirectory)).mode & 0o777).toBe(0o700);
    const said =
      daemon.stdout + daemon.stderr + JSON.stringify(phone.heard.filter(({ topic }) => !topic.endsWith('/set')));
    for (const secret of [access_token, refresh_token, token]) {
      expect(secret).toMatch(/.{20}/);
      expect(said.includes(secret)).toBe(false);
    }
    expect(daemon.stderr.length).toBeGreaterThan(1000);
  });
});
