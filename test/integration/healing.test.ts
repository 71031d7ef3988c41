import { afterEach, describe, expect, it } from 'vitest';
import { startAuthorizationServer } from '../../src/demo/authorization-server.ts';
import { AUDIENCE, approve, type Home, PORCH, senderFor, startHome } from '../support/home.ts';
import { freePort, mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';
import type { Sender } from '../support/sender.ts';

const ON = { state: 'ON' };

/** What is away is a state that `status` tells; nothing of it ends the daemon, and each heals without a hand. */
describe.skipIf(mosquittoMissing() !== undefined)('the daemon stays up and heals', () => {
  let home: Home | undefined;
  let phone: Sender | undefined;

  afterEach(async () => {
    await phone?.close();
    await home?.close();
    phone = undefined;
    home = undefined;
  });

  it('when the broker is away at the start, and when it is lost later', async () => {
    home = await startHome();
    const { daemon, broker, server } = home;
    await broker.kill();
    daemon.start();
    await server.approve(await daemon.code());
    const away = await daemon.until(({ broker: state }) => state.problem !== undefined, 'the broker missed');
    expect(away.broker).toMatchObject({ connected: false, problem: { code: 'broker_unreachable' } });
    expect(away.healthy).toBe(false);
    // Local commands do not wait for a broker.
    expect(await daemon.ask('POST', '/api/lights/porch/set', ON)).toMatchObject({ outcome: 'confirmed' });

    await broker.restart();
    await daemon.until(({ healthy }) => healthy, 'healthy');
    phone = await senderFor(home);
    const token = await server.tokenFor();
    expect(await phone.command('porch', { state: 'OFF' }, { token })).toMatchObject({ outcome: 'confirmed' });

    await broker.kill();
    await daemon.until(({ broker: state }) => !state.connected, 'the broker missed again');
    await broker.restart();
    await daemon.until(({ healthy }) => healthy, 'healthy again');
    const again = await senderFor(home);
    expect(await again.until(({ topic }) => topic === 'porchlight/porch/state', 'the state')).toMatchObject({
      body: { state: 'OFF' },
    });
    expect(await again.command('porch', ON, { token })).toMatchObject({ outcome: 'confirmed' });
    await again.close();
  });

  it('when the authorization server is away at the start, and when it is lost later', async () => {
    const port = await freePort();
    home = await startHome({ server: { port, accessTokenTtlSeconds: 6 } });
    const { daemon, broker, air } = home;
    await home.server.close();
    daemon.start();
    const away = await daemon.until(({ authorization }) => authorization.problem !== undefined, 'the server missed');
    expect(away.authorization).toMatchObject({ state: 'unauthorized', problem: { code: 'server_unreachable' } });
    expect(
      away.broker.connected ||
        (await daemon.until(({ broker: state }) => state.connected, 'the broker')).broker.connected,
    ).toBe(true);

    const server = await startAuthorizationServer({
      gatewayClientId: 'porchlight',
      audience: AUDIENCE,
      intervalSeconds: 1,
      port,
      accessTokenTtlSeconds: 6,
    });
    try {
      await server.approve(await daemon.code(70_000));
      await daemon.until(({ authorization }) => authorization.state === 'authorized', 'authorized');
      const token = await server.tokenFor();
      phone = await senderFor({ ...home, broker, air });
      expect(await phone.command('porch', ON, { token })).toMatchObject({ outcome: 'confirmed' });
      const now = Math.floor(Date.now() / 1000);
      const claims = {
        iss: server.issuer,
        aud: AUDIENCE,
        sub: 'owner',
        client_id: 'demo-phone',
        scope: 'lights:control',
      };
      const good = server.mint({ ...claims, jti: 'g', iat: now, exp: now + 120 }, { typ: 'at+jwt' });
      await server.close();
      // Its own token runs out and cannot be renewed: it says so, and goes on carrying commands whose tokens are good.
      const grace = await daemon.until(({ authorization }) => authorization.state === 'grace', 'grace', 20_000);
      expect(grace.authorization).toMatchObject({ state: 'grace', problem: { code: 'server_unreachable' } });
      expect(await phone.command('porch', { state: 'OFF' }, { token: good })).toMatchObject({ outcome: 'confirmed' });
      expect(await daemon.ask('POST', '/api/lights/porch/set', ON)).toMatchObject({ outcome: 'confirmed' });
    } finally {
      await server.close();
    }
  }, 120_000);

  it('when the radio is killed in mid-command: one outcome, and back in under two seconds', async () => {
    home = await startHome();
    const { daemon, air } = home;
    await approve(home);
    phone = await senderFor(home);
    const token = await home.server.tokenFor();
    await phone.command('porch', ON, { token });
    // A run that lived more than five seconds is followed by the next at once.
    await new Promise((resolve) => setTimeout(resolve, 5200));

    const before = await daemon.status();
    const bytes = (await air.written()).length;
    const pending = phone.command('porch', { color: { r: 1, g: 2, b: 3 }, id: 'killed' }, { token });
    process.kill(before.radio.pid, 'SIGKILL');
    const killedAt = performance.now();
    const back = await daemon.until(
      ({ radio }) => radio.adapter === 'poweredOn' && radio.pid !== before.radio.pid,
      'the radio back',
    );
    expect(performance.now() - killedAt).toBeLessThan(2000);
    expect(back.radio.restarts).toBe(before.radio.restarts + 1);

    expect(await pending).toMatchObject({ outcome: 'confirmed', id: 'killed' });
    const answers = phone.heard.filter(({ topic, body }) => topic.endsWith('/result') && body.id === 'killed');
    expect(answers).toHaveLength(1);
    expect((await air.lamp(PORCH)).state.color).toEqual({ r: 1, g: 2, b: 3 });
    expect((await air.written()).length).toBeGreaterThan(bytes);
    expect(daemon.stderr).toMatch(/radio/);
  });

  it('when the adapter goes away and comes back', async () => {
    home = await startHome({ config: { access: { audience: AUDIENCE, max_age: '1s' } } });
    const { daemon, air } = home;
    await approve(home);
    await daemon.ask('POST', '/api/lights/porch/set', ON);
    await air.fault({ kind: 'refuses-h4' });
    await air.fault({ kind: 'closes-h4' });
    await daemon.until(({ radio }) => radio.adapter !== 'poweredOn', 'the adapter missed');
    expect(await daemon.ask('POST', '/api/lights/porch/set', ON)).toMatchObject({
      outcome: 'failed',
      hint: expect.stringMatching(/.{10}/),
    });
    await air.fault({ kind: 'refuses-h4' }, { on: false });
    await daemon.until(({ radio }) => radio.adapter === 'poweredOn', 'the adapter back', 40_000);
    expect(await daemon.ask('POST', '/api/lights/porch/set', { state: 'OFF' })).toMatchObject({ outcome: 'confirmed' });
  }, 90_000);

  it('takes a good new configuration on SIGHUP, and keeps the old one when the new one is wrong', async () => {
    home = await startHome();
    const { daemon, config } = home;
    await approve(home);
    await daemon.configure({ ...config, lights: [{ id: 'porch', address: PORCH, colour: 'red' }] });
    daemon.kill('SIGHUP');
    await expect.poll(() => daemon.stderr).toMatch(/the new configuration is wrong/);
    expect(await daemon.ask('POST', '/api/lights/porch/set', ON)).toMatchObject({ outcome: 'confirmed' });
    await daemon.configure({ ...config, lights: [{ id: 'veranda', address: PORCH }], groups: [], scenes: [] });
    daemon.kill('SIGHUP');
    await daemon.until(({ lights }) => lights[0]?.id === 'veranda', 'the new name');
    expect(await daemon.ask('POST', '/api/lights/veranda/set', { state: 'OFF' })).toMatchObject({
      outcome: 'confirmed',
    });
    // Nobody is to see a lamp online that is no longer there.
    await daemon.until(({ broker }) => broker.connected, 'the broker');
    const late = await senderFor(home);
    await late.until(({ topic }) => topic === 'porchlight/veranda/state', 'the new name at the broker');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(late.heard.filter(({ topic, body }) => /\/(porch|hall|evening)\//.test(topic) && body !== '')).toEqual([]);
    await late.close();
    await daemon.until(({ authorization }) => authorization.state === 'authorized', 'still authorized');
  });

  it('refuses a second daemon on the same state directory, and names the first', async () => {
    home = await startHome();
    const { daemon } = home;
    daemon.start();
    await daemon.until(() => true, 'the first');
    const first = daemon.pid;
    const { porchlight } = await import('../support/daemon.ts');
    const second = await porchlight(['run', '--config', daemon.configFile]);
    expect(second.status).toBe(69);
    expect(second.stderr).toContain(String(first));
    expect(await daemon.status()).toMatchObject({ id: 'porch-pi' });
  });

  it('speaks TLS to a broker with a private authority, and says why when it may not trust it', async () => {
    const { createAuthority } = await import('../support/mosquitto.ts');
    const { writeFile } = await import('node:fs/promises');
    const { join } = await import('node:path');
    const authority = createAuthority('Home CA');
    const tls = await startMosquitto({ tls: { ...authority.issue('broker'), ca: authority.ca } });
    home = await startHome();
    const { daemon, config } = home;
    try {
      const client = authority.issue('gateway');
      const file = async (name: string, text: string): Promise<string> => {
        const path = join(daemon.folder, name);
        await writeFile(path, text, { mode: 0o600 });
        return path;
      };
      const mqtt = {
        url: tls.url,
        ca_file: await file('ca.pem', createAuthority('Another CA').ca),
        cert_file: await file('client.pem', client.cert),
        key_file: await file('client-key.pem', client.key),
      };
      await daemon.configure({ ...config, mqtt });
      daemon.start();
      const wrong = await daemon.until(({ broker }) => broker.problem !== undefined, 'the broker not trusted');
      expect(wrong.broker.problem.message).toMatch(/certificate/i);
      await daemon.configure({ ...config, mqtt: { ...mqtt, ca_file: await file('ca.pem', authority.ca) } });
      daemon.kill('SIGHUP');
      await daemon.until(({ broker }) => broker.connected, 'the broker over TLS');
    } finally {
      await daemon.stop();
      await tls.stop();
    }
  });
});
