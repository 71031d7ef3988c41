import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { dbusMissing } from '../../support/bluez-bus.ts';
import { frame } from '../../support/frame.ts';
import { bluetoothd, bus, ELK, endAll, pause, radio, setUp, TRIONES, until } from './rig.ts';

const ON = Uint8Array.from(Buffer.from('7e0004f00001ff00ef', 'hex'));
const here = dbusMissing() === undefined;

afterEach(endAll);

describe.skipIf(!here)('the radio, through bluetoothd', () => {
  it('hears, connects, writes, is told, reads and lets go', async () => {
    const { bluez, elk, triones, heard, connect } = await setUp();
    expect(bluez.filter).toEqual({ Transport: 'le', DuplicateData: true });
    expect(heard.find(({ address }) => address === ELK)).toMatchObject({
      localName: 'ELK-BLEDOM',
      serviceUuids: ['fff0'],
      rssi: -60,
    });
    const manufacturerData = heard.find(({ address }) => address === TRIONES)?.manufacturerData;
    expect(Buffer.from(manufacturerData ?? []).toString('hex')).toBe('5452c0ffee');
    const link = await connect(ELK);
    expect(link.characteristics).toEqual([
      { service: 'fff0', uuid: 'fff3', properties: ['read', 'write', 'writeWithoutResponse'] },
      { service: 'fff0', uuid: 'fff4', properties: ['read', 'notify'] },
      { service: 'fff0', uuid: 'fff5', properties: ['writeWithoutResponse'] },
    ]);
    await link.write(frame('fff3', ON, 'request'), frame('fff3', Uint8Array.of(1), 'command'));
    // It takes only the one kind.
    await link.write(frame('fff5', Uint8Array.of(2), 'request'));
    expect(bluez.written.map(({ uuid, hex, type }) => [uuid, hex, type])).toEqual([
      ['fff3', '7e0004f00001ff00ef', 'request'],
      ['fff3', '01', 'command'],
      ['fff5', '02', 'command'],
    ]);
    const said: string[] = [];
    await link.subscribe('fff4', (bytes) => said.push(Buffer.from(bytes).toString('hex')));
    bluez.notify(elk, 'fff4', 'aa01');
    bluez.notify(elk, 'fff4', 'aa01');
    await until(() => said.length === 2);
    // What was asked for is an answer, not a notification.
    expect(Buffer.from(await link.read('fff4')).toString('hex')).toBe('aa01');
    await pause(50);
    expect(said).toEqual(['aa01', 'aa01']);
    await link.disconnect();
    expect([elk.connected, link.gone.aborted]).toEqual([false, true]);
    await expect(connect(TRIONES)).resolves.toBeDefined();
    expect(triones.connected).toBe(true);
  });

  it('loads nothing native', async () => {
    const { client } = await setUp();
    const pid = client.status().pid;
    expect(readFileSync(`/proc/${pid}/maps`, 'utf8')).not.toContain('.node');
  });

  it('says when the connection stands, before its characteristics are known', async () => {
    const { client, elk } = await setUp({ connectMs: 100 });
    let resolved: boolean | undefined;
    let link: unknown;
    const connecting = client.connect(ELK, {
      timeoutMs: 5000,
      onConnected: () => {
        resolved = link !== undefined;
      },
    });
    await until(() => elk.connected && resolved !== undefined);
    expect(resolved).toBe(false);
    link = await connecting;
  });

  it('makes one connection at a time', async () => {
    const inputs = [1, 2, 3, 4, 5].map((n) => ({ address: `be:ff:20:00:00:0${n}`, name: `ELK-BLEDOM0${n}` }));
    const { bluez, connect, lamps } = await setUp({ connectMs: 30 }, inputs);
    let most = 0;
    const watching = setInterval(() => {
      most = Math.max(most, lamps.filter((lamp) => lamp.connecting.length > 0 && !lamp.connected).length);
    }, 1);
    const links = await Promise.all(inputs.map(({ address }) => connect(address, 10_000)));
    clearInterval(watching);
    expect(most).toBe(1);
    await Promise.all(
      links.flatMap((link) => [1, 2, 3].map((n) => link.write(frame('fff3', Uint8Array.of(n), 'request')))),
    );
    for (const { address } of inputs) {
      expect(bluez.written.filter((one) => one.address === address).map(({ hex }) => hex)).toEqual(['01', '02', '03']);
    }
  });

  it('does not scan while it connects, which would hold the connection up, and scans on while lamps are connected', async () => {
    const { bluez, elk, connect } = await setUp();
    elk.fault = { kind: 'out-of-range' };
    const connecting = connect(ELK, 1500).catch((thrown: unknown) => thrown);
    await until(() => elk.connecting.length === 1 && bluez.discovering.size === 0);
    await connecting;
    await until(() => bluez.discovering.size === 1);
    elk.fault = undefined;
    await connect(ELK);
    await until(() => bluez.discovering.size === 1);
    expect(elk.connected).toBe(true);
  });

  it('waits for a lamp that bluetoothd does not know, though nobody listens', async () => {
    const on = await bus();
    const bluez = await bluetoothd(on);
    const lamp = bluez.addLamp({ address: ELK, name: 'ELK-BLEDOM' });
    const { client, connect } = radio(on.address);
    await until(() => client.adapter === 'poweredOn');
    expect(bluez.discovering.size).toBe(0);
    const connecting = connect(ELK);
    await until(() => bluez.discovering.size === 1);
    bluez.advertise(lamp);
    await connecting;
    await until(() => bluez.discovering.size === 0);
  });

  it('does not take what bluetoothd remembers for heard', async () => {
    const on = await bus();
    const bluez = await bluetoothd(on);
    const lamp = bluez.addLamp({ address: ELK, name: 'ELK-BLEDOM', uuids: ['fff0'] });
    bluez.know(lamp);
    const { client, heard, pulses } = radio(on.address);
    await client.scan(true);
    await until(() => bluez.discovering.size === 1);
    await pause(300);
    expect(heard).toEqual([]);
    expect(pulses.at(-1)).not.toHaveProperty('heardMs');
    // Only news is said of it, and yet it is told whole.
    bluez.advertise(lamp, { rssi: -71 });
    await until(() => heard.length > 0);
    expect(heard[0]).toMatchObject({ localName: 'ELK-BLEDOM', serviceUuids: ['fff0'], rssi: -71 });
    await until(() => pulses.at(-1)?.heardMs !== undefined);
  });

  it('refuses what is longer than the link takes, and writes what fits exactly', async () => {
    const { bluez, connect } = await setUp();
    const link = await connect(ELK);
    await expect(
      link.write(frame('fff3', ON, 'request'), frame('fff3', new Uint8Array(21), 'command')),
    ).rejects.toMatchObject({
      code: 'unsupported',
    });
    expect(bluez.written).toEqual([]);
    await link.write(frame('fff3', new Uint8Array(20), 'command'));
  });

  it('leaves the length to a bluetoothd that does not tell the MTU', async () => {
    const { connect } = await setUp({}, [
      { address: ELK, name: 'ELK-BLEDOM', mtu: undefined },
      { address: TRIONES, name: 'Triones-1' },
    ]);
    await (await connect(ELK)).write(frame('fff3', new Uint8Array(100), 'request'));
  });

  it('narrows what it tells to the addresses that matter, once a second each', async () => {
    const { bluez, client, heard, lamps } = await setUp();
    client.watch([ELK]);
    await pause(100);
    heard.length = 0;
    const flood = setInterval(() => {
      for (const lamp of lamps) bluez.advertise(lamp, { rssi: -50 - Math.floor(Math.random() * 30) });
    }, 10);
    await pause(1300);
    clearInterval(flood);
    expect(new Set(heard.map(({ address }) => address))).toEqual(new Set([ELK]));
    expect(heard.length).toBeLessThanOrEqual(3);
  });
});

describe.skipIf(!here)('a lamp that misbehaves', () => {
  const REFUSALS: readonly (readonly [string, string, RegExp])[] = [
    ['org.bluez.Error.NotPermitted', 'Write not permitted', /refused/],
    ['org.bluez.Error.NotPermitted', 'Not paired', /paired.*bluetoothctl pair BE:FF/],
    ['org.bluez.Error.NotAuthorized', 'Operation Not Authorized', /paired/],
    ['org.bluez.Error.Failed', 'Operation failed with ATT error: 0x80', /ATT error 0x80/],
    ['org.bluez.Error.InvalidValueLength', 'Invalid Length', /refused/],
    ['org.bluez.Error.NotSupported', 'Operation is not supported', /refused/],
  ];

  it('refuses a write, for any reason: said so, and the link stays usable', async () => {
    const { elk, connect } = await setUp();
    const link = await connect(ELK);
    for (const [error, text, message] of REFUSALS) {
      elk.fault = { kind: 'refuses', error, text };
      const failure = await link.write(frame('fff3', ON, 'request')).catch((thrown: unknown) => thrown);
      expect(failure).toMatchObject({ code: 'refused_by_light', message: expect.stringMatching(message) });
      elk.fault = undefined;
      await link.write(frame('fff3', ON, 'request'));
    }
    expect(link.gone.aborted).toBe(false);
  });

  it('never answers: the operation ends, its link is given up, the other lamp is not held up', async () => {
    const { bluez, elk, connect, client } = await setUp();
    const mute = await connect(ELK);
    const other = await connect(TRIONES);
    elk.fault = { kind: 'mute' };
    const writing = mute.write(frame('fff3', ON, 'request')).catch((thrown: unknown) => thrown);
    await other.write(frame('fff3', ON, 'request'));
    expect(bluez.written).toHaveLength(1);
    expect(await writing).toMatchObject({ code: 'timed_out' });
    expect([mute.gone.aborted, other.gone.aborted]).toEqual([true, false]);
    await until(() => !elk.connected);
    elk.fault = undefined;
    await (await connect(ELK)).write(frame('fff3', ON, 'request'));
    expect(client.status().restarts).toBe(0);
  });

  const FAILURES: readonly (readonly [string, string, string])[] = [
    ['org.bluez.Error.Failed', 'le-connection-abort-by-local', 'connect_failed'],
    ['org.bluez.Error.Failed', 'le-connection-refused', 'connect_failed'],
    ['org.bluez.Error.Failed', 'Software caused connection abort', 'connect_failed'],
    ['org.bluez.Error.Failed', 'le-connection-concurrent-connection-limit', 'out_of_slots'],
    ['org.bluez.Error.Failed', 'Too many links', 'out_of_slots'],
    ['org.bluez.Error.Failed', 'Host is down', 'unreachable'],
    ['org.bluez.Error.InProgress', 'Operation already in progress', 'connect_failed'],
    ['org.bluez.Error.NotReady', 'Resource Not Ready', 'adapter_off'],
  ];

  it('cannot be connected, for any reason: the code says why, and then it can', async () => {
    const { elk, connect } = await setUp();
    for (const [error, text, code] of FAILURES) {
      elk.fault = { kind: 'connect-fails', error, text };
      await expect(connect(ELK, 3000), text).rejects.toMatchObject({ code });
    }
    elk.fault = undefined;
    await expect(connect(ELK, 3000)).resolves.toBeDefined();
  });

  it('is out of range: the attempt is cancelled at its deadline, and the next one is served', async () => {
    const { bluez, elk, connect } = await setUp();
    elk.fault = { kind: 'out-of-range' };
    const began = performance.now();
    const dead = connect(ELK, 500).catch((thrown: unknown) => thrown);
    const alive = connect(TRIONES);
    expect(await dead).toMatchObject({ code: 'unreachable' });
    expect(performance.now() - began).toBeLessThan(2500);
    expect(elk.connecting).toEqual([]);
    expect(bluez.calls).toContain(`Device1.Disconnect ${elk.path}`);
    await (await alive).write(frame('fff3', ON, 'request'));
  });

  it('is given up by who asked: the attempt ends at once', async () => {
    const { elk, client } = await setUp();
    elk.fault = { kind: 'out-of-range' };
    const cancel = new AbortController();
    const connecting = client
      .connect(ELK, { timeoutMs: 20_000, signal: cancel.signal })
      .catch((thrown: unknown) => thrown);
    await until(() => elk.connecting.length === 1);
    const began = performance.now();
    cancel.abort();
    expect(await connecting).toMatchObject({ code: 'unreachable' });
    expect(performance.now() - began).toBeLessThan(1000);
    await until(() => elk.connecting.length === 0);
  });

  it('is lost while its characteristics are discovered', async () => {
    const { elk, connect } = await setUp();
    elk.fault = { kind: 'drops-early' };
    const failure = await connect(ELK, 3000).catch((thrown: { code: string }) => thrown.code);
    expect(['connect_failed', 'link_lost']).toContain(failure);
    elk.fault = undefined;
    await (await connect(ELK)).write(frame('fff3', ON, 'request'));
  });

  it('hangs up: the link says so, and a new one can be made', async () => {
    const { bluez, elk, connect, client } = await setUp();
    const link = await connect(ELK);
    elk.writeMs = 10_000;
    const writing = link.write(frame('fff3', ON, 'request')).catch((thrown: unknown) => thrown);
    await pause(50);
    bluez.drop(elk);
    expect(await writing).toMatchObject({ code: 'link_lost' });
    await until(() => link.gone.aborted);
    expect(link.gone.reason).toMatchObject({ code: 'link_lost' });
    elk.writeMs = 0;
    await (await connect(ELK)).write(frame('fff3', ON, 'request'));
    expect(client.status().restarts).toBe(0);
  });

  it('is never resolved: the attempt ends, and the link is not left behind', async () => {
    const { elk, connect } = await setUp();
    elk.fault = { kind: 'never-resolves' };
    await expect(connect(ELK, 300)).rejects.toMatchObject({ code: 'timed_out' });
    await until(() => !elk.connected);
  }, 15_000);

  it('is forgotten by bluetoothd (somebody removed it): the link is lost, not stuck', async () => {
    const { bluez, elk, connect } = await setUp();
    const link = await connect(ELK);
    bluez.remove(elk.path);
    await until(() => link.gone.aborted);
  });
});
