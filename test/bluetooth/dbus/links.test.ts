import { afterEach, describe, expect, it } from 'vitest';
import { dbusMissing } from '../../support/bluez-bus.ts';
import { frame } from '../../support/frame.ts';
import { ELK, endAll, pause, setUp, TRIONES, until } from './rig.ts';

const ON = Uint8Array.from(Buffer.from('7e0004f00001ff00ef', 'hex'));
const here = dbusMissing() === undefined;

afterEach(endAll);

describe.skipIf(!here)('links and their places', () => {
  it('begins no connection while one that was given back still stands', async () => {
    // As long as BlueZ takes, and longer than a disconnect is waited for.
    const { bluez, elk, connect } = await setUp({ disconnectMs: 2000 });
    const link = await connect(ELK);
    const began = performance.now();
    await link.disconnect();
    expect(performance.now() - began).toBeLessThan(1500);
    expect(elk.connected).toBe(true);
    await connect(TRIONES);
    expect(elk.connected).toBe(false);
    expect(bluez.mostLinks).toBe(1);
  });

  it('does not wait for ever for one that clings', async () => {
    const { elk, connect } = await setUp();
    const link = await connect(ELK);
    elk.fault = { kind: 'clings' };
    await link.disconnect();
    await expect(connect(TRIONES, 9000)).resolves.toBeDefined();
  }, 15_000);

  it('uses a link that another program made, and leaves it as it was', async () => {
    const { bluez, elk, connect } = await setUp();
    bluez.connectFromElsewhere(elk);
    const link = await connect(ELK);
    await link.write(frame('fff3', ON, 'request'));
    await link.disconnect();
    await pause(200);
    expect(elk.connected).toBe(true);
    await (await connect(ELK)).write(frame('fff3', ON, 'request'));
  });

  it('takes up what a killed radio left connected, and lets it go when it is not wanted', async () => {
    const { elk, triones, client, connect } = await setUp();
    await Promise.all([connect(ELK), connect(TRIONES)]);
    const pid = client.status().pid;
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
    await until(() => client.status().restarts === 1 && client.adapter === 'poweredOn');
    expect([elk.connected, triones.connected]).toEqual([true, true]);
    const link = await connect(ELK);
    await until(() => !triones.connected, 9000);
    await link.write(frame('fff3', ON, 'request'));
    await link.disconnect();
    await until(() => !elk.connected);
  }, 20_000);

  it('lets every lamp go when it is stopped', async () => {
    const { elk, triones, connect, end } = await setUp({ disconnectMs: 1500 });
    await Promise.all([connect(ELK), connect(TRIONES)]);
    const began = performance.now();
    await end();
    expect(performance.now() - began).toBeLessThan(2000);
    await until(() => !elk.connected && !triones.connected);
  });
});
