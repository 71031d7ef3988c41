import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type AirUnderTest, openH4, packetsOf, startAir } from '../../support/air.ts';
import { distPath } from '../../support/dist.ts';
import { connected, openHost, within } from './host.ts';

const PORCH = 'be:ff:20:00:11:22';
const LAMP = { address: PORCH, name: 'ELK-BLEDOM', family: 'elk-bledom' } as const;
const RESET = Buffer.from('01030c00', 'hex');

/** Sends bytes and collects whole packets until one begins with `until`. */
async function exchange(address: string, bytes: Buffer, until: string): Promise<string[]> {
  const socket = await openH4(address);
  const heard: string[] = [];
  try {
    await within(
      new Promise<void>((resolve, reject) => {
        packetsOf(socket, (packet) => {
          heard.push(packet.toString('hex'));
          if (heard.at(-1)?.startsWith(until)) resolve();
        });
        socket.on('close', () => reject(new Error('the air hung up')));
        socket.write(bytes);
      }),
    );
    return heard;
  } finally {
    socket.removeAllListeners();
    socket.destroy();
  }
}

describe('a hostile host', () => {
  let air: AirUnderTest;
  beforeAll(async () => {
    air = await startAir([LAMP], { connectionIntervalMs: 0, advertisingIntervalMs: 10 });
  });
  afterAll(() => air.stop());
  afterEach(async () => {
    // Whatever was sent, the next host is served.
    const host = await openHost(air.address);
    const lamp = await connected(host, PORCH);
    await within(lamp.characteristic('fff3').writeAsync(Buffer.from('7e0004f00001ff00ef', 'hex'), false));
    host.close();
  });

  it('garbage: a hardware error, and a reset heals it', async () => {
    const heard = await exchange(air.address, Buffer.concat([Buffer.alloc(5000, 0xee), RESET]), '040e0401030c00');
    expect(heard).toEqual(['04100100', '040e0401030c00']);
  });

  it('half packets, and then nothing', async () => {
    for (const half of ['01', '0103', '02000005', '0200000500010004']) {
      const socket = await openH4(air.address);
      socket.end(Buffer.from(half, 'hex'));
      await once(socket.resume(), 'close');
    }
  });

  it('oversize packets of every kind', async () => {
    const oversize = Buffer.concat([Buffer.from('020000ffff', 'hex'), Buffer.alloc(0xffff, 0x11), RESET]);
    expect(await exchange(air.address, oversize, '040e0401030c00')).toEqual(['040e0401030c00']);
  });

  it('every command there may be, with no, random and long parameters', async () => {
    const packets: Buffer[] = [];
    for (let ogf = 1; ogf <= 8; ogf++) {
      for (let ocf = 0; ocf < 0x80; ocf++) {
        for (const length of [0, 7, 255])
          packets.push(Buffer.concat([Buffer.of(1, ocf, ogf << 2, length), Buffer.alloc(length, 1)]));
      }
    }
    await exchange(air.address, Buffer.concat([...packets, RESET, Buffer.from('01091000', 'hex')]), '040e0a01091000');
  });

  it('ACL data without a connection, and malformed ACL data on one', async () => {
    const host = await openHost(air.address);
    await connected(host, PORCH);
    let seed = 99;
    const random = (): number => {
      seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff;
      return (seed >> 8) & 0xff;
    };
    for (let n = 0; n < 500; n++) {
      const payload = Buffer.from(Array.from({ length: random() % 40 }, random));
      host.socket.write(Buffer.concat([Buffer.of(2, 0, (random() % 4) << 4, payload.length, 0), payload]));
      host.socket.write(Buffer.concat([Buffer.of(2, 9, 0, payload.length, 0), payload]));
    }
    host.socket.write(RESET);
    await new Promise((resolve) => setTimeout(resolve, 50));
    host.close();
  });

  it('a second host takes the place of the first', async () => {
    const first = await openH4(air.address);
    const closed = once(first, 'close');
    const second = await openH4(air.address);
    await within(closed);
    second.destroy();
  });

  it('a host that does not read', async () => {
    const socket = await openH4(air.address);
    socket.pause();
    for (let n = 0; n < 20; n++) socket.write(Buffer.concat(new Array<Buffer>(1000).fill(RESET)));
    await new Promise((resolve) => setTimeout(resolve, 30));
    socket.destroy();
  });
});

describe('the air process', () => {
  const running: AirUnderTest[] = [];
  afterAll(async () => {
    for (const air of running) await air.stop();
  });

  it('listens on a unix socket, also where a killed process left one behind', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'air-'));
    const path = join(folder, 'h4.sock');
    const start = async (): Promise<AirUnderTest> => {
      const air = await startAir([LAMP], { listen: { unix: path } });
      running.push(air);
      return air;
    };
    const first = await start();
    expect(first.address).toBe(`unix:${path}`);
    expect(await exchange(first.address, RESET, '040e')).toEqual(['040e0401030c00']);
    process.kill(first.pid, 'SIGKILL');
    await first.waitFor(() => false, 5000).catch(() => undefined);
    const second = await start();
    expect(await exchange(second.address, RESET, '040e')).toEqual(['040e0401030c00']);
    await second.stop();
    await rm(folder, { recursive: true });
  });

  it('says why it can not listen, and never removes what is no socket', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'air-'));
    const path = join(folder, 'precious');
    await writeFile(path, 'keep me');
    await expect(startAir([LAMP], { listen: { unix: path } })).rejects.toThrow(/can not listen.*EADDRINUSE/);
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const bound = taken.address();
    const tcp = typeof bound === 'object' && bound !== null ? bound.port : 0;
    await expect(startAir([LAMP], { listen: { tcp } })).rejects.toThrow(/can not listen.*EADDRINUSE/);
    taken.close();
    await rm(folder, { recursive: true });
  });

  it('hands the host malformed packets as they are', async () => {
    const air = await startAir([LAMP]);
    running.push(air);
    const socket = await openH4(air.address);
    await air.waitFor((event) => event.event === 'host' && event.connected);
    const chunk = once(socket, 'data');
    await air.inject('043e02ff');
    expect((await within(chunk))[0].toString('hex')).toBe('043e02ff');
    socket.destroy();
  });

  it('tells of links and changes, and of writes only in the log where it is told to be quiet', async () => {
    const air = await startAir([LAMP], { quiet: true, connectionIntervalMs: 0, advertisingIntervalMs: 10 });
    running.push(air);
    const host = await openHost(air.address);
    const lamp = await connected(host, PORCH);
    await within(lamp.characteristic('fff3').writeAsync(Buffer.from('7e0004f00001ff00ef', 'hex'), false));
    await air.set(PORCH, { brightness: 7 });
    expect((await air.written()).length).toBe(1);
    const told = air.events.filter(({ event }) => event === 'link' || event === 'lamp' || event === 'written');
    expect(told).toMatchObject([
      { event: 'link', lamp: PORCH, connected: true },
      { event: 'lamp', lamp: PORCH, state: { on: true, brightness: 100 } },
      { event: 'lamp', lamp: PORCH, state: { on: true, brightness: 7 } },
    ]);
    host.close();
  });

  it('refuses two lamps with one address', async () => {
    await expect(startAir([LAMP, { ...LAMP, address: PORCH.toUpperCase() }])).rejects.toThrow('each address once');
  });

  it('ends with its parent', async () => {
    const child = fork(distPath('bluetooth/air/main.js'));
    child.send({ op: 'start', listen: { tcp: 0 }, lamps: [] });
    await once(child, 'message');
    const gone = once(child, 'exit');
    child.disconnect();
    expect(await within(gone)).toEqual([0, null]);
  });

  it('answers nonsense with an error that names it, and goes on', async () => {
    const child = fork(distPath('bluetooth/air/main.js'));
    const ask = async (message: object | string | number): Promise<unknown> => {
      const answer = once(child, 'message');
      child.send(message);
      return (await within(answer))[0];
    };
    expect(await ask({ op: 'lamps', id: 1 })).toMatchObject({
      event: 'error',
      id: 1,
      message: expect.stringMatching(/not started/),
    });
    expect(await ask({ op: 'fly', id: 2 })).toMatchObject({ event: 'error', id: 2 });
    expect(await ask('start')).toMatchObject({ event: 'error' });
    expect(await ask({ op: 'start', id: 3, listen: { tcp: 0 }, lamps: [{ ...LAMP, colour: 'red' }] })).toMatchObject({
      event: 'error',
      id: 3,
      message: expect.stringMatching(/colour/),
    });
    expect(await ask({ op: 'start', id: 4, listen: { tcp: 0 }, lamps: [LAMP] })).toMatchObject({
      event: 'listening',
      id: 4,
    });
    expect(
      await ask({ op: 'fault', id: 5, lamp: '00:00:00:00:00:00', fault: { kind: 'mute' }, on: true }),
    ).toMatchObject({
      event: 'error',
      id: 5,
    });
    expect(await ask({ op: 'fault', id: 6, fault: { kind: 'melts' }, on: true })).toMatchObject({
      event: 'error',
      id: 6,
    });
    // The change is told first, the answer after all that it caused.
    expect(await ask({ op: 'lamp', id: 7, lamp: PORCH.toUpperCase(), set: { on: true } })).toMatchObject({
      event: 'lamp',
    });
    expect(await ask({ op: 'inject', id: 8, hex: '04' })).toMatchObject({ event: 'done' });
    const gone = once(child, 'exit');
    child.send({ op: 'stop' });
    await gone;
  });
});
