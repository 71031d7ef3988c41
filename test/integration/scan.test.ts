import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type AirUnderTest, startAir } from '../support/air.ts';
import { Daemon, porchlight } from '../support/daemon.ts';
import { HALL, PORCH } from '../support/home.ts';

const DEN = 'be:ff:20:00:11:44';
const PHONE = '5a:11:22:33:44:55';

/** Lamps of ours, a lamp of nobody, and no broker or authorization server: neither is needed to look around. */
const LAMPS = [
  { address: PORCH, name: 'Triones:F30200000152C', family: 'triones' },
  { address: HALL, name: 'ELK-BLEDOM', family: 'elk-bledom' },
  { address: DEN, name: 'ELK-BLEDOM', family: 'elk-bledom' },
] as const;

/** An LE Advertising Report event (Core specification, Vol 4, Part E, 7.7.65.2) with the name, H4 type byte first. */
function advert(address: string, name: Buffer, rssi = -70): string {
  const data = Buffer.concat([Buffer.from([2, 1, 6, name.length + 1, 9]), name]);
  const from = Buffer.from(address.split(':').reverse().join(''), 'hex');
  const report = Buffer.concat([
    Buffer.from([0x00, 0x01]),
    from,
    Buffer.from([data.length]),
    data,
    Buffer.from([rssi & 0xff]),
  ]);
  return Buffer.concat([Buffer.from([0x04, 0x3e, report.length + 2, 0x02, 0x01]), report]).toString('hex');
}

describe('scan', () => {
  let air: AirUnderTest;
  let folder: string;
  let config: Record<string, unknown>;

  beforeAll(async () => {
    air = await startAir(LAMPS, { connectionIntervalMs: 15 });
    folder = await mkdtemp(join(tmpdir(), 'porchlight-scan-'));
    config = {
      gateway: { state_directory: join(folder, 'state') },
      bluetooth: { backend: 'h4', h4: air.address },
      lights: [{ id: 'porch', address: PORCH }],
    };
  });

  afterAll(async () => {
    await air?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const file = async (name: string, content: unknown): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, stringify(content));
    return path;
  };

  it('uses an adapter of its own where no gateway runs, and its lines make a configuration that is valid', async () => {
    const path = await file('alone.yaml', config);
    const { status, stdout, stderr } = await porchlight(['scan', '--seconds', '1.5', '--config', path]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(`dBm +${PORCH} +porch +triones`));
    expect(stdout).toMatch(new RegExp(`dBm +${HALL} +new +elk-bledom`));
    expect(stdout.indexOf('porch')).toBeLessThan(stdout.indexOf(HALL));
    expect(stdout).not.toContain('\u001b');
    const lines = /^lights:\n((?: {2}- .*\n)+)/m.exec(stdout)?.[1] ?? '';
    expect(lines.trim().split('\n')).toHaveLength(2);

    const authorization = 'authorization: {issuer: "https://auth.example.com", client_id: porchlight}\n';
    const pasted = join(folder, 'pasted.yaml');
    await writeFile(pasted, `${authorization}lights:\n  - {id: porch, address: "${PORCH}"}\n${lines}`);
    expect(await porchlight(['config', 'check', pasted])).toMatchObject({ status: 0, stdout: `${pasted}: ok\n` });
    const again = await porchlight(['scan', '--seconds', '1', '--json', '--config', await file('again.yaml', config)]);
    const ids = JSON.parse(again.stdout).lights.map(({ id }: { id: string }) => id);
    expect(ids.map((id: string) => lines.includes(`id: ${id},`))).toEqual([true, true]);
  });

  it('needs no lamps and no authorization in the configuration, and gives programs one document', async () => {
    const { lights: _, ...bare } = config;
    const path = await file('bare.yaml', bare);
    const { status, stdout } = await porchlight(['scan', '--seconds', '1', '--json', '--config', path]);
    expect(status).toBe(0);
    const document = JSON.parse(stdout);
    expect(document).toMatchObject({ via: 'direct', adapter: 'poweredOn' });
    expect(document.devices).toHaveLength(3);
    expect(document.lights.map(({ id }: { id: string }) => id).sort()).toEqual([
      'elk-bledom-1133',
      'elk-bledom-1144',
      'triones-f30200000152c',
    ]);
  });

  it('says what is wrong with the adapter and exits with 69 where nothing can be heard', async () => {
    const path = await file('nobody.yaml', { ...config, bluetooth: { backend: 'h4', h4: 'tcp://127.0.0.1:1' } });
    const { status, stdout, stderr } = await porchlight(['scan', '--seconds', '1', '--config', path]);
    expect({ status, stdout }).toEqual({ status: 69, stdout: '' });
    expect(stderr).toMatch(/tcp:\/\/127\.0\.0\.1:1 /);
    expect(stderr).toMatch(/porchlight check/);
  });

  it.each(['0', '301', '1e2', ''])('refuses --seconds %j as wrong use', async (text) => {
    const { status, stdout, stderr } = await porchlight(['scan', `--seconds=${text}`]);
    expect({ status, stdout }).toEqual({ status: 64, stdout: '' });
    expect(stderr).toMatch(/1 to 300/);
  });

  describe('beside a running gateway', () => {
    let daemon: Daemon;
    const verb = (...args: string[]): ReturnType<typeof porchlight> =>
      porchlight([...args, '--config', daemon.configFile]);

    beforeAll(async () => {
      daemon = await Daemon.prepare({
        authorization: { issuer: 'http://localhost:1', client_id: 'porchlight' },
        mqtt: { url: 'mqtt://127.0.0.1:1' },
        clock: { trust: 'system' },
        ...config,
      });
      daemon.start();
      await daemon.until(({ radio }) => radio.adapter === 'poweredOn', 'a radio');
    });

    afterAll(() => daemon?.remove());

    it('goes through it, while its lamps are commanded; a linked lamp is shown though it is silent', async () => {
      const scanning = verb('scan', '--seconds', '3', '--json');
      await new Promise((resolve) => setTimeout(resolve, 700));
      expect((await verb('send', 'porch', '{"state":"ON"}')).status).toBe(0);
      const { status, stdout } = await scanning;
      expect(status).toBe(0);
      const { via, devices } = JSON.parse(stdout);
      expect(via).toBe('daemon');
      expect(devices[0]).toMatchObject({ address: PORCH, configured: 'porch', linked: true });
      expect(devices.map(({ address }: { address: string }) => address).sort()).toEqual([PORCH, HALL, DEN].sort());
    });

    it('shows names of strangers without what moves a cursor, hides or reaches over the line', async () => {
      const hostile = [
        '\u001b[2Jgone',
        'a\r\nb\tc',
        '\u202eevil\u2066x',
        '\u5bb6'.repeat(8),
        `e${'\u0301'.repeat(12)}`,
      ];
      const addresses = hostile.map((_, at) => PHONE.replace(/..$/, `0${at}`));
      const inject = setInterval(() => {
        for (const [at, name] of hostile.entries()) {
          air.inject(advert(addresses[at] ?? PHONE, Buffer.from(name))).catch(() => undefined);
        }
      }, 150);
      const { stdout } = await verb('scan', '--seconds', '1.5').finally(() => clearInterval(inject));
      for (const address of addresses) expect(stdout).toContain(address);
      expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
      expect(stdout).not.toMatch(/\p{Mark}{4}/u);
      // Strangers come after lamps, and are no lamps.
      expect(stdout.indexOf(addresses[0] ?? '')).toBeGreaterThan(stdout.indexOf(DEN));
      expect(stdout).not.toMatch(/address: "5a/);
    });

    const get = (path: string): Promise<{ status: number; text: Promise<string>; end: () => void }> =>
      new Promise((resolve, reject) => {
        const call = request({ socketPath: join(daemon.stateDirectory, 'porchlight.sock'), path }, (answer) => {
          const text = new Promise<string>((done) => {
            let all = '';
            answer.setEncoding('utf8').on('data', (chunk: string) => {
              all += chunk;
            });
            answer.on('close', () => done(all));
          });
          resolve({ status: answer.statusCode ?? 0, text, end: () => answer.destroy() });
        });
        call.on('error', reject);
        call.end();
      });

    it('has places for four, gives one free when its listener goes, and refuses seconds that are none', async () => {
      const four = await Promise.all([1, 2, 3, 4].map(() => get('/api/scan?seconds=60')));
      expect(four.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
      const fifth = await get('/api/scan?seconds=60');
      expect(fifth.status).toBe(503);
      expect(JSON.parse(await fifth.text)).toMatchObject({ code: 'busy' });
      const verbSays = await verb('scan', '--seconds', '1');
      expect(verbSays.status).toBe(1);
      expect(verbSays.stderr).toMatch(/4 scans are under way/);
      for (const one of four) one.end();
      await expect
        .poll(async () => {
          const sixth = await get('/api/scan?seconds=1');
          sixth.end();
          return sixth.status;
        })
        .toBe(200);
      for (const seconds of ['0', '301', 'x', '1e9', '-5', '']) {
        expect((await get(`/api/scan?seconds=${seconds}`)).status, seconds).toBe(400);
      }
    });

    it('ends by itself, and its stream says so', async () => {
      const { text } = await get('/api/scan?seconds=1');
      const said = await text;
      expect(said).toMatch(/^event: scan\ndata: \{.*"adapter":"poweredOn"/);
      expect(said.trimEnd()).toMatch(/event: end\ndata: \{\}$/);
    });

    it('ends with what was found so far, and says so, when the gateway goes away', async () => {
      const scanning = verb('scan', '--seconds', '30', '--json');
      // It listens once the fourth of four places is taken.
      const three = await Promise.all([1, 2, 3].map(() => get('/api/scan?seconds=60')));
      let refused = 0;
      // A probe itself has a place for a moment, so one refusal proves nothing.
      await expect
        .poll(
          async () => {
            const probe = await get('/api/scan?seconds=1');
            probe.end();
            refused = probe.status === 503 ? refused + 1 : 0;
            return refused;
          },
          { timeout: 15_000, interval: 300 },
        )
        .toBe(3);
      for (const one of three) one.end();
      await new Promise((resolve) => setTimeout(resolve, 1000));
      await daemon.stop();
      const { status, stdout, stderr } = await scanning;
      expect(status).toBe(69);
      expect(stderr).toMatch(/went away/);
      expect(JSON.parse(stdout).devices).toHaveLength(3);
      expect(await readFile(daemon.configFile, 'utf8')).toContain('porch');
    });
  });
});
