import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AUDIENCE, approve, type Home, senderFor, startHome } from '../support/home.ts';
import { mosquittoMissing } from '../support/mosquitto.ts';
import type { Sender } from '../support/sender.ts';
import { lampsOf, say, share, sleep } from './house.ts';

/** The whole is ten minutes; the suite only shows that nothing is left over after a short one. */
const SECONDS = share(8, 600);
const EVERY_S = share(2, 20);
const LAMPS = lampsOf(8);

interface Sample {
  readonly second: number;
  /** Bytes, after a garbage collection. */
  readonly heap: number;
  readonly external: number;
  /** Kilobytes that no other process shares. */
  readonly gatewayKb: number;
  readonly radioKb: number;
  readonly gatewayFiles: number;
  readonly radioFiles: number;
  /** Timers, sockets, pipes: by kind. */
  readonly resources: Readonly<Record<string, number>>;
}

const privateKb = (pid: number): number =>
  [...readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB$/gm)].reduce(
    (sum, [, kb]) => sum + Number(kb),
    0,
  );
const files = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

function ask(path: string): Promise<Pick<Sample, 'heap' | 'external' | 'resources'>> {
  return new Promise((resolve, reject) => {
    let text = '';
    connect(path)
      .setEncoding('utf8')
      .on('data', (piece: string) => {
        text += piece;
      })
      .on('end', () => resolve(JSON.parse(text)))
      .on('error', reject);
  });
}

/** Slope of a straight line through the samples, in units a minute. */
function perMinute(samples: readonly Sample[], value: (sample: Sample) => number): number {
  const xs = samples.map(({ second }) => second / 60);
  const ys = samples.map(value);
  const meanX = xs.reduce((sum, x) => sum + x, 0) / xs.length;
  const meanY = ys.reduce((sum, y) => sum + y, 0) / ys.length;
  const top = xs.reduce((sum, x, at) => sum + (x - meanX) * ((ys[at] ?? 0) - meanY), 0);
  return top / xs.reduce((sum, x) => sum + (x - meanX) ** 2, 0);
}

describe.skipIf(mosquittoMissing() !== undefined)(`${SECONDS} seconds of mixed load`, () => {
  let home: Home;
  let phone: Sender;
  let token: string;
  let probe: string;
  beforeAll(async () => {
    home = await startHome({
      lamps: LAMPS,
      env: {
        NODE_OPTIONS: `--import ${fileURLToPath(new URL('./probe.mjs', import.meta.url))} --max-semi-space-size=2`,
      },
      config: {
        access: { audience: AUDIENCE, max_age: '5s', unsigned: 'allow' },
        lights: LAMPS.map(({ address }, at) => ({ id: `lamp-${at}`, address })),
        groups: [{ id: 'all', lights: LAMPS.map((_, at) => `lamp-${at}`) }],
        scenes: [{ id: 'movie', set: { all: { state: 'ON', brightness: 60 } } }],
        log: { level: 'info' },
      },
      bluetooth: { max_connections: 5, idle_disconnect: '2s' },
    });
    probe = join(home.daemon.folder, 'probe');
    home.daemon.env['PORCHLIGHT_PROBE'] = probe;
    await approve(home);
    phone = await senderFor(home);
    token = await home.server.tokenFor();
  });
  afterAll(async () => {
    await phone?.close();
    await home?.close();
  });

  it(
    'leaves no growth in memory, handles or timers',
    async () => {
      const stop = new AbortController();
      const { signal } = stop;
      const forever = async (everyMs: number, what: (step: number) => Promise<unknown>): Promise<void> => {
        for (let step = 0; !signal.aborted; step += 1) {
          await what(step);
          await sleep(everyMs * (0.5 + Math.random()));
          // What was heard is of no more use here, and would grow this process.
          phone.heard.splice(0, Math.max(0, phone.heard.length - 500));
        }
      };
      const send = (topic: string, body: unknown, properties = {}) =>
        phone.client.publishAsync(topic, typeof body === 'string' ? body : JSON.stringify(body), {
          qos: 1,
          properties,
        });
      const lamp = (step: number): string => `lamp-${step % LAMPS.length}`;
      const address = (step: number): string => LAMPS[step % LAMPS.length]?.address ?? '';
      const bearer = { userProperties: { authorization: `Bearer ${token}` } };
      const loads = [
        forever(120, (step) => send(`porchlight/local/${lamp(step)}/set`, { state: 'TOGGLE' })),
        forever(30, (step) => send('porchlight/local/lamp-1/set', { color: { r: 1 + (step % 250), g: 3, b: 200 } })),
        forever(200, (step) =>
          send(`porchlight/${lamp(step * 3)}/set`, { state: 'ON', brightness: 1 + (step % 254) }, bearer),
        ),
        forever(900, () => send('porchlight/local/scene/movie/set', {})),
        forever(700, (step) => send('porchlight/local/all/set', { state: step % 2 ? 'ON' : 'OFF' })),
        forever(250, (step) =>
          send(
            `porchlight/${lamp(step)}/set`,
            { state: 'ON' },
            { userProperties: { authorization: `Bearer x.${step}.y` } },
          ),
        ),
        forever(400, (step) => send('porchlight/local/lamp-2/set', `{"state": ${'['.repeat(step % 50)}`)),
        forever(500, (step) => send(`porchlight/local/nobody-${step}/set`, { state: 'ON' })),
        forever(1500, (step) => home.air.fault({ kind: 'link-loss' }, { lamp: address(step) })),
        forever(4000, async (step) => {
          await home.air.fault({ kind: 'out-of-range' }, { lamp: address(step), on: true });
          await sleep(2500);
          await home.air.fault({ kind: 'out-of-range' }, { lamp: address(step), on: false });
        }),
        forever(5000, async (step) => {
          await home.air.fault({ kind: 'att-error' }, { lamp: address(step + 3), on: true });
          await sleep(700);
          await home.air.fault({ kind: 'att-error' }, { lamp: address(step + 3), on: false });
        }),
        forever(1000, (step) => home.air.set(address(step), { on: step % 2 === 0 })),
        forever(1000, () => home.daemon.status()),
      ];

      const samples: Sample[] = [];
      const sample = async (second: number): Promise<void> => {
        const { radio } = await home.daemon.status();
        samples.push({
          second,
          ...(await ask(probe)),
          gatewayKb: privateKb(home.daemon.pid),
          radioKb: privateKb(radio.pid),
          gatewayFiles: files(home.daemon.pid),
          radioFiles: files(radio.pid),
        });
      };
      await sleep(share(2000, 60_000));
      const began = performance.now();
      while (performance.now() - began < SECONDS * 1000) {
        await sample((performance.now() - began) / 1000);
        await sleep(EVERY_S * 1000);
      }
      stop.abort();
      await Promise.all(loads);
      await sleep(share(4000, 6000));
      const quietly = samples.length;
      await sample(SECONDS);

      const [first, last] = [samples[0], samples[quietly - 1]];
      const rest = samples[quietly];
      if (first === undefined || last === undefined || rest === undefined) throw new Error('no samples');
      const loaded = samples.slice(0, quietly);
      const slope = (value: (one: Sample) => number, unit: number): string =>
        (perMinute(loaded, value) / unit).toFixed(2);
      say(
        `soak: ${SECONDS} s: gateway heap ${(first.heap / 2 ** 20).toFixed(1)} -> ${(last.heap / 2 ** 20).toFixed(1)} MB (${slope((one) => one.heap, 2 ** 20)} MB a minute), ` +
          `private ${(first.gatewayKb / 1024).toFixed(1)} -> ${(last.gatewayKb / 1024).toFixed(1)} MB (${slope((one) => one.gatewayKb, 1024)}), ` +
          `radio ${(first.radioKb / 1024).toFixed(1)} -> ${(last.radioKb / 1024).toFixed(1)} MB (${slope((one) => one.radioKb, 1024)}), ` +
          `files ${first.gatewayFiles} -> ${last.gatewayFiles} and ${first.radioFiles} -> ${last.radioFiles}`,
      );
      say(`soak: resources under load ${JSON.stringify(last.resources)}, at rest ${JSON.stringify(rest.resources)}`);

      expect(rest.gatewayFiles).toBeLessThanOrEqual(first.gatewayFiles + 2);
      expect(rest.radioFiles).toBeLessThanOrEqual(first.radioFiles + 1);
      // At rest only the house's own clocks are left: no timer of a command that has its outcome.
      expect(rest.resources['Timeout'] ?? 0).toBeLessThanOrEqual(first.resources['Timeout'] ?? 0);
      const growth = (value: (one: Sample) => number): number => value(rest) - value(first);
      expect(growth((one) => one.heap)).toBeLessThan(share(8, 3) * 2 ** 20);
      if (SECONDS >= 600) {
        // The second half beside the first: what is only warming up has done so by then.
        const half = (from: number, to: number, value: (one: Sample) => number): number =>
          loaded
            .slice(Math.floor(loaded.length * from), Math.ceil(loaded.length * to))
            .reduce((sum, one) => sum + value(one), 0) /
          (Math.ceil(loaded.length * to) - Math.floor(loaded.length * from));
        for (const value of [(one: Sample) => one.heap, (one: Sample) => one.gatewayKb]) {
          expect(half(0.75, 1, value) / half(0.25, 0.5, value)).toBeLessThan(1.1);
        }
        // The radio cannot be asked to collect its garbage, and does so itself only near its bound of 64 MB.
        expect(half(0.75, 1, (one) => one.radioKb)).toBeLessThan(40 * 1024);
      }
    },
    (SECONDS + 150) * 1000,
  );
});
