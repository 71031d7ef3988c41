import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AirUnderTest, startAir } from '../support/air.ts';
import { Daemon, porchlight } from '../support/daemon.ts';
import { HALL, LAMPS, PORCH } from '../support/home.ts';

describe('identify', () => {
  let air: AirUnderTest;
  let daemon: Daemon;
  const verb = (...args: string[]): ReturnType<typeof porchlight> =>
    porchlight([...args, '--config', daemon.configFile]);

  beforeAll(async () => {
    air = await startAir(LAMPS, { connectionIntervalMs: 15 });
    daemon = await Daemon.prepare({
      authorization: { issuer: 'http://localhost:1', client_id: 'porchlight' },
      mqtt: { url: 'mqtt://127.0.0.1:1' },
      clock: { trust: 'system' },
      bluetooth: { backend: 'h4', h4: air.address },
      lights: [
        { id: 'porch', address: PORCH },
        { id: 'hall', address: HALL },
      ],
      groups: [{ id: 'evening', lights: ['porch', 'hall'] }],
    });
    daemon.start();
    await daemon.until(({ radio }) => radio.adapter === 'poweredOn', 'a radio');
  });

  afterAll(async () => {
    await daemon?.remove();
    await air?.stop();
  });

  /** What the lamp showed, change by change, since `from` writes. */
  const shown = async (address: string, from: number): Promise<readonly string[]> => {
    const written = (await air.written()).slice(from).filter(({ lamp }) => lamp === address);
    const onOff = (hex: string): string[] =>
      /^cc23|^7e..04f0|^7e..0401/.test(hex) ? ['ON'] : /^cc24|^7e..0400/.test(hex) ? ['OFF'] : [];
    return written.flatMap(({ hex }) => onOff(hex));
  };

  it.each(['ON', 'OFF'])('blinks a lamp that was %s three times, and leaves it so', async (state) => {
    await verb('send', 'porch', `{"state":"${state}"}`);
    const from = (await air.written()).length;
    const began = performance.now();
    const { status, stdout } = await verb('identify', 'porch');
    expect(status).toBe(0);
    expect(performance.now() - began).toBeGreaterThan(2500);
    expect(stdout).toBe(`porch blinked. porch is ${state} again.\n`);
    const changes = await shown(PORCH, from);
    expect(changes).toHaveLength(6);
    expect(changes.at(-1)).toBe(state);
    expect(changes[0]).not.toBe(state);
    expect((await air.lamp(PORCH)).state.on).toBe(state === 'ON');
  });

  it('puts each lamp of a group back as that one was', async () => {
    await verb('send', 'porch', '{"state":"OFF"}');
    await verb('send', 'hall', '{"state":"ON"}');
    const { status, stdout } = await verb('identify', 'evening');
    expect(status).toBe(0);
    expect(stdout).toContain('porch is OFF again.');
    expect(stdout).toContain('hall is ON again.');
    expect((await air.lamp(PORCH)).state.on).toBe(false);
    expect((await air.lamp(HALL)).state.on).toBe(true);
  });

  it('tells what went wrong as send does, and moves nothing', async () => {
    const unknown = await verb('identify', 'prch');
    expect(unknown.status).toBe(1);
    expect(unknown.stdout).toBe('');
    expect(unknown.stderr).toMatch(/did you mean porch/);
  });
});
