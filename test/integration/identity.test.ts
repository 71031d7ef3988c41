import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { LampInput } from '../../src/bluetooth/air/messages.ts';
import { type AirUnderTest, startAir } from '../support/air.ts';
import { porchlight } from '../support/daemon.ts';
import { approve, type Home, LAMPS, PORCH, senderFor, startHome } from '../support/home.ts';
import { mosquittoMissing } from '../support/mosquitto.ts';
import { Sender } from '../support/sender.ts';

const ON = { state: 'ON' };
const MISMATCH = { outcome: 'failed', code: 'identity_mismatch' };

/** A device at the lamp's address and with its name, but with other services, must not get a byte. */
describe.skipIf(mosquittoMissing() !== undefined)('a twin of a lamp', () => {
  let home: Home | undefined;
  let twin: AirUnderTest | undefined;

  afterEach(async () => {
    await home?.close();
    await twin?.stop();
    home = undefined;
    twin = undefined;
  });

  const started = async (options: Parameters<typeof startHome>[0] = {}): Promise<Home> => {
    home = await startHome(options);
    return home;
  };
  const set = (target: string, change: object): Promise<unknown> =>
    home?.daemon.ask('POST', `/api/lights/${target}/set`, change) ?? Promise.reject(new Error('no home'));
  const verb = (...args: string[]): ReturnType<typeof porchlight> =>
    porchlight([...args, '--config', home?.daemon.configFile ?? '']);
  const up = async ({ daemon }: Home): Promise<void> => {
    daemon.start();
    await daemon.until(({ radio }) => radio.adapter === 'poweredOn', 'the radio');
  };

  /** Another air at the same place, whose lamps are these. */
  const replaceAir = async ({ air, daemon }: Home, lamps: readonly LampInput[]): Promise<AirUnderTest> => {
    await air.stop();
    await daemon.until(({ radio }) => radio.adapter !== 'poweredOn', 'the radio missed');
    twin = await startAir(lamps, { listen: { tcp: Number(new URL(air.address).port) } });
    await daemon.until(({ radio }) => radio.adapter === 'poweredOn', 'the radio back', 40_000);
    return twin;
  };

  it('gets no write, no subscription and no question, over a restart too, until a person has the lamp forgotten', async () => {
    const { daemon, air, ...rest } = await started();
    await approve({ daemon, server: rest.server });
    const phone = await senderFor({ daemon, air, ...rest });
    expect(await set('porch', ON)).toMatchObject({ outcome: 'confirmed' });
    await phone.until(({ topic, body }) => topic === 'porchlight/porch/availability' && body === 'online', 'online');

    // What is at the lamp's address from its next connection on is something else.
    await air.fault({ kind: 'wrong-identity' }, { lamp: PORCH });
    await air.fault({ kind: 'hangs-up' }, { lamp: PORCH });
    await air.waitFor((event) => event.event === 'link' && event.lamp === PORCH && !event.connected);
    const before = (await air.written()).filter(({ lamp }) => lamp === PORCH).length;
    const untouched = async (): Promise<void> => {
      expect((await air.written()).filter(({ lamp }) => lamp === PORCH)).toHaveLength(before);
      expect((await air.lamp(PORCH)).subscribed).toEqual([]);
    };
    expect(await set('porch', { state: 'OFF' })).toMatchObject({
      ...MISMATCH,
      hint: expect.stringContaining('porchlight forget'),
    });
    await untouched();
    // The link was released, and the other lamp is served as ever.
    await expect.poll(async () => (await air.lamp(PORCH)).connected).toBe(false);
    expect(await set('hall', ON)).toMatchObject({ outcome: 'assumed' });
    await phone.until(({ topic, body }) => topic === 'porchlight/porch/availability' && body === 'offline', 'offline');

    expect(await set('porch', ON)).toMatchObject(MISMATCH);
    const { lights } = await daemon.status();
    expect(lights[0]).toMatchObject({ family: 'triones', available: false, problem: { code: 'identity_mismatch' } });
    expect(daemon.stderr.split('\n').filter((line) => line.includes('is not the lamp that it was'))).toHaveLength(1);
    expect((await verb('lights')).stdout).toMatch(/porch.*not the lamp that it was/);
    expect((await verb('status')).stdout).toMatch(/porch forget|forget porch|porchlight forget/);

    // Who is pinned is not forgotten by a restart.
    await daemon.stop();
    await up({ daemon, air, ...rest });
    expect((await daemon.status()).lights[0]).toMatchObject({ family: 'triones', model: 'Triones' });
    expect(await set('porch', ON)).toMatchObject(MISMATCH);
    await untouched();

    // Nor by one command without a daemon, which obeys as well.
    await daemon.stop();
    const pins = await readFile(join(daemon.stateDirectory, 'lamps.json'), 'utf8');
    const direct = await verb('send', '--direct', 'porch', '{"state":"ON"}', '--json');
    expect(JSON.parse(direct.stdout)).toMatchObject(MISMATCH);
    await untouched();
    expect(await readFile(join(daemon.stateDirectory, 'lamps.json'), 'utf8')).toBe(pins);

    // The right lamp is back: a command is enough.
    await air.fault({ kind: 'wrong-identity' }, { lamp: PORCH, on: false });
    await up({ daemon, air, ...rest });
    expect(await set('porch', { state: 'OFF' })).toMatchObject({ outcome: 'confirmed' });
    expect((await daemon.status()).lights[0]).toMatchObject({ available: true });
    expect((await daemon.status()).lights[0].problem).toBeUndefined();
    await phone.close();
  }, 60_000);

  it('of another family or built in another way is refused; forgotten and learned anew it is a lamp like any other', async () => {
    const [porch, hall] = LAMPS;
    if (porch === undefined || hall === undefined) throw new Error('no lamps');
    const side = { ...porch, address: 'be:ff:20:00:11:44' };
    const whole = await started({
      lamps: [porch, side],
      config: {
        lights: [
          { id: 'porch', address: porch.address },
          { id: 'side', address: side.address },
        ],
        groups: [],
        scenes: [],
      },
    });
    const { daemon } = whole;
    await up(whole);
    expect(await verb('forget', 'porch')).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('nothing was known'),
    });
    expect([await set('porch', ON), await set('side', ON)]).toMatchObject([
      { outcome: 'confirmed' },
      { outcome: 'confirmed' },
    ]);
    const replaced = await replaceAir(whole, [
      { ...hall, address: porch.address },
      { ...side, layout: 'ffe5' },
    ]);
    // The adverts of another family do not move it: it is asked whether it is a Triones, and is not.
    await daemon.until(({ lights }) => lights[0].available, 'something heard at its address');
    expect((await daemon.status()).lights[0]).toMatchObject({ family: 'triones' });
    expect([await set('porch', ON), await set('side', ON)]).toMatchObject([MISMATCH, MISMATCH]);
    expect(await replaced.written()).toEqual([]);
    expect(await replaced.lamps()).toMatchObject([{ subscribed: [] }, { subscribed: [] }]);

    expect(await verb('forget', 'porch')).toMatchObject({ status: 0, stdout: expect.stringContaining('forgotten') });
    await daemon.until(({ lights }) => lights[0].family === 'elk-bledom', 'its new family');
    expect(await set('porch', ON)).toMatchObject({ outcome: 'assumed' });
    expect((await replaced.written()).map(({ lamp, result }) => [lamp, result])).toEqual([[PORCH, 'obeyed']]);
    expect((await daemon.status()).lights[0]).toMatchObject({ family: 'elk-bledom', available: true });
    await expect
      .poll(async () => JSON.parse(await readFile(join(daemon.stateDirectory, 'lamps.json'), 'utf8')).lamps[PORCH])
      .toMatchObject({ family: 'elk-bledom', model: 'ELK-BLEDOM' });

    expect(await verb('forget', 'side', '--json')).toMatchObject({
      status: 0,
      stdout: '{"target":"side","forgotten":true}\n',
    });
    for (const nobody of ['prch', '../status']) {
      expect(await verb('forget', nobody), nobody).toMatchObject({ status: 1, stdout: '' });
    }
  }, 60_000);

  it('is a matter of the address: with another one in the configuration nothing is left of the old pin', async () => {
    const whole = await started();
    const { daemon, config } = whole;
    await up(whole);
    await set('porch', ON);
    await set('hall', ON);
    const kept = async (): Promise<string[]> =>
      Object.keys(JSON.parse(await readFile(join(daemon.stateDirectory, 'lamps.json'), 'utf8')).lamps);
    await expect.poll(kept).toHaveLength(2);
    await daemon.configure({
      ...config,
      lights: [{ id: 'porch', address: LAMPS[1]?.address }],
      groups: [],
      scenes: [],
    });
    daemon.kill('SIGHUP');
    await daemon.until(({ lights }) => lights.length === 1, 'the new configuration');
    expect(await set('porch', ON)).toMatchObject({ outcome: 'assumed' });
    await expect.poll(kept).toEqual([LAMPS[1]?.address]);
  }, 60_000);
});

/** Names are the one text that strangers may choose: 248 bytes of it reach a lamp's Device Name. */
describe.skipIf(mosquittoMissing() !== undefined)('names from the air', () => {
  let home: Home | undefined;
  afterEach(() => home?.close());

  const NAMES = {
    'control characters': 'Triones:\u001b[2J\u001b]0;x\u0007\r\n\u0000\u009b31m',
    'marks that nobody sees, or that turn the writing round': 'Triones:\u202e\u2066\u200f\u061c\ufeff\u00ad\u{e0041}',
    '248 bytes': `Triones:${'☠'.repeat(80)}`,
    'mark-up and quotes': 'Triones:"><img src=x onerror=alert(1)>\\\'`$(id)',
  };

  it('reach no log, terminal or topic as they are', async () => {
    const lamps = Object.values(NAMES).map(
      (name, at): LampInput => ({ address: `be:ff:20:00:11:0${at}`, name, family: 'triones' }),
    );
    const lights = lamps.map(({ address }, at) => ({ id: `lamp${at}`, address }));
    home = await startHome({ lamps, config: { lights, groups: [], scenes: [], log: { level: 'trace' } } });
    const { daemon, broker } = home;
    daemon.start();
    await daemon.until(
      (status) => status.broker.connected && status.counts.online === lamps.length,
      'all of them heard',
    );
    const phone = await Sender.connect(broker.url);
    for (const { id } of lights) {
      expect(await daemon.ask('POST', `/api/lights/${id}/set`, ON)).toMatchObject({ outcome: 'confirmed' });
    }
    const verb = async (...args: string[]): Promise<string> => {
      const { stdout, stderr } = await porchlight([...args, '--config', daemon.configFile]);
      return stdout + stderr;
    };
    const seen = [
      daemon.stdout,
      daemon.stderr,
      await verb('lights'),
      await verb('status'),
      JSON.stringify(await daemon.status()),
      JSON.stringify(phone.heard),
    ].join('\n');
    expect(seen.replaceAll('\n', '')).not.toMatch(
      /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffe\uffff]|[\u{e0000}-\u{e007f}]/u,
    );
    expect(seen).not.toMatch(/\\u00(1b|07|9b|00)|☠{40}|<img/);
    await phone.close();
  }, 60_000);
});
