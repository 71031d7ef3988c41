// Publish -> bytes at the lamp, by one monotonic clock: the daemon beside the bare bridge, phase by phase in turn, in one run.
// QoS 1, 200 commands a second, a broker without Nagle, a token that was seen before, links that pass packets at once.
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connectClient, dist, end, mono, privateMegabytes, quantile, sleep, startAir, startBroker } from './parts.js';

const RATE = 200;
const AUDIENCE = 'https://porchlight.example/bench';
const BARE = fileURLToPath(new URL('./bare-bridge.js', import.meta.url));
const LAMPS = 5;
const lamps = Array.from({ length: LAMPS }, (_, at) => ({
  address: `be:ff:20:00:00:0${at}`,
  name: 'ELK-BLEDOM',
  family: 'elk-bledom',
}));

/** `--seconds N` a phase, `--phases N` each, `--idle N` seconds before memory is read. */
export async function bench(args) {
  const option = (name, otherwise) => (args.includes(name) ? Number(args[args.indexOf(name) + 1]) : otherwise);
  const seconds = option('--seconds', 4);
  const phases = option('--phases', 5);
  const idle = option('--idle', 60);
  const { startAuthorizationServer } = await import(dist('demo/authorization-server.js'));
  const folder = await mkdtemp(join(tmpdir(), 'porchlight-bench-'));
  const [broker, server, ownAir, bareAir] = await Promise.all([
    startBroker(),
    startAuthorizationServer({
      gatewayClientId: 'porchlight',
      audience: AUDIENCE,
      intervalSeconds: 1,
      accessTokenTtlSeconds: 3600,
    }),
    startAir(lamps),
    startAir(lamps),
  ]);
  const client = await connectClient(broker.url);
  const children = [];
  try {
    const token = await server.tokenFor();
    const startDaemon = () => daemon(folder, broker.url, server.issuer, ownAir.address, children);
    const startBare = () =>
      run(children, [BARE, broker.url, new URL(bareAir.address).port, 'bare', ...lamps.map(({ address }) => address)]);

    // Approved once, so that the start that is measured needs no human; then stopped.
    const first = await startDaemon();
    await approved(first, server);
    await end(first.child);

    process.stdout.write('start to subscribed, ms (the daemon: also a stored grant; the radio starts beside it)\n');
    const starts = { own: [], bare: [] };
    let own;
    let bare;
    for (let at = 0; at < phases; at += 1) {
      if (own) await end(own.child);
      if (bare) await end(bare.child);
      own = await ready(client, 'porchlight/gateway/bench/availability', startDaemon);
      bare = await ready(client, 'bare/ready', startBare);
      starts.own.push(own.ms);
      starts.bare.push(bare.ms);
    }
    line('start', median(starts.own), median(starts.bare), 'ms');

    process.stdout.write(`${idle} s after ready\n`);
    await sleep(2000);
    const radio = await radioPid(own);
    const pids = { own: [own.child.pid, radio], bare: [bare.child.pid] };
    const quiet = { own: await cpu(pids.own), bare: await cpu(pids.bare) };
    await sleep(Math.max(0, idle - 2) * 1000);
    const busy = { own: await cpu(pids.own), bare: await cpu(pids.bare) };
    const memory = async () => {
      const [gateway, air, alone] = await Promise.all([own.child.pid, radio, bare.child.pid].map(privateMegabytes));
      line('private memory', gateway + air, alone, 'MB', `(gateway ${gateway.toFixed(1)} + radio ${air.toFixed(1)})`);
    };
    await memory();
    const share = (side) => (((busy[side] - quiet[side]) / Math.max(1, idle - 2)) * 100).toFixed(2);
    process.stdout.write(`  idle CPU         daemon ${share('own')} %, bare ${share('bare')} % of a core\n`);

    await client.subscribeAsync(['porchlight/+/result', 'bare/+/state']);
    // Links are made and everything is warm before anything counts.
    for (let at = 0; at < 3; at += 1) {
      await phase(client, 'porchlight', token, ownAir, 1);
      await phase(client, 'bare', undefined, bareAir, 1);
    }

    process.stdout.write(
      `publish to bytes at the lamp, ${RATE}/s, QoS 1, ${phases} phases of ${seconds} s each in turn\n`,
    );
    const own50 = [];
    const bare50 = [];
    const all = { own: [], bare: [] };
    const used = { own: 0, bare: 0 };
    for (let at = 0; at < phases; at += 1) {
      const before = { own: await cpu(pids.own), bare: await cpu(pids.bare) };
      const a = await phase(client, 'porchlight', token, ownAir, seconds);
      const b = await phase(client, 'bare', undefined, bareAir, seconds);
      used.own += (await cpu(pids.own)) - before.own;
      used.bare += (await cpu(pids.bare)) - before.bare;
      own50.push(quantile(a, 0.5));
      bare50.push(quantile(b, 0.5));
      all.own.push(...a);
      all.bare.push(...b);
    }
    all.own.sort((x, y) => x - y);
    all.bare.sort((x, y) => x - y);
    line('p50', median(own50), median(bare50), 'ms');
    line('p99', quantile(all.own, 0.99), quantile(all.bare, 0.99), 'ms');
    line('CPU per command', (used.own / all.own.length) * 1e6, (used.bare / all.bare.length) * 1e6, 'us');
    process.stdout.write('after the load\n');
    await memory();
    process.stdout.write(
      `  commands written: daemon ${all.own.length}, bare ${all.bare.length} of ${RATE * seconds * phases}\n`,
    );
  } finally {
    await client.endAsync(true);
    for (const child of children) await end(child);
    await Promise.all([ownAir.stop(), bareAir.stop(), server.close(), broker.stop()]);
    await rm(folder, { recursive: true, force: true });
  }
}

function line(name, own, bare, unit, more = '') {
  const ratio = (own / bare).toFixed(2);
  process.stdout.write(
    `  ${name.padEnd(16)} daemon ${own.toFixed(3)} ${unit}, bare ${bare.toFixed(3)} ${unit}: ratio ${ratio} ${more}\n`,
  );
}

const median = (values) =>
  quantile(
    [...values].sort((x, y) => x - y),
    0.5,
  );

/** Sends for `seconds` and gives each command's latency in milliseconds, sorted. The colour numbers the commands. */
async function phase(client, base, token, air, seconds) {
  await air.written();
  const sent = new Map();
  const properties = token === undefined ? {} : { userProperties: { authorization: `Bearer ${token}` } };
  const began = mono();
  const total = RATE * seconds;
  for (let at = 0; at < total; at += 1) {
    const due = began + (at * 1000) / RATE;
    if (due > mono()) await sleep(due - mono());
    // Numbers that leave no channel trio black or equal: 1..255 in each.
    const color = { r: 1 + (at % 255), g: 1 + (Math.floor(at / 255) % 255), b: 7 };
    const key = `${color.r},${color.g}`;
    sent.set(key, mono());
    client.publish(`${base}/lamp${at % LAMPS}/set`, JSON.stringify({ state: 'ON', color }), { qos: 1, properties });
  }
  await sleep(500);
  const latencies = [];
  for (const { hex, mono: arrived } of await air.written()) {
    const match = /^7e..0503(..)(..)07/.exec(hex);
    if (match === null) continue;
    const from = sent.get(`${Number.parseInt(match[1], 16)},${Number.parseInt(match[2], 16)}`);
    if (from !== undefined) latencies.push(arrived - from);
  }
  return latencies.sort((x, y) => x - y);
}

/** As the shipped unit starts it. */
const UNIT = { NODE_OPTIONS: '--max-semi-space-size=2' };

function run(children, args, env = {}) {
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { PATH: process.env.PATH, ...env },
  });
  children.push(child);
  return { child };
}

async function daemon(folder, url, issuer, h4, children) {
  const config = {
    gateway: { id: 'bench', state_directory: join(folder, 'state') },
    authorization: { issuer, client_id: 'porchlight', scopes: ['openid', 'offline_access'] },
    access: { audience: AUDIENCE },
    mqtt: { url },
    bluetooth: { backend: 'h4', h4, max_connections: LAMPS },
    clock: { trust: 'system' },
    log: { level: 'warn' },
    lights: lamps.map(({ address }, at) => ({ id: `lamp${at}`, address })),
  };
  const path = join(folder, 'porchlight.yaml');
  await writeFile(path, JSON.stringify(config));
  return {
    ...run(children, [dist('main.js'), 'run', '--config', path], UNIT),
    socket: join(folder, 'state', 'porchlight.sock'),
  };
}

async function ask({ socket }, method, path) {
  const { askDaemon } = await import(dist('web/client.js'));
  return (await askDaemon([socket], method, path)).body;
}

const radioPid = async (own) => (await ask(own, 'GET', '/api/status')).radio.pid;

async function approved(own, server) {
  for (let at = 0; at < 200; at += 1) {
    await sleep(50);
    const state = await ask(own, 'GET', '/api/status').then(
      ({ authorization }) => authorization.state,
      () => 'starting',
    );
    if (state === 'authorized') return;
    if (state !== 'pending') continue;
    await server.approve((await ask(own, 'POST', '/api/authorization/code')).user_code);
  }
  throw new Error('the daemon was not approved');
}

/** Starts a bridge and waits for its own word that it is subscribed. */
async function ready(client, topic, start) {
  await client.publishAsync(topic, '', { qos: 1, retain: true });
  await client.subscribeAsync(topic, { qos: 1 });
  const heard = new Promise((resolve) => {
    const hear = (name, payload) => {
      if (name !== topic || payload.toString() !== 'online') return;
      client.off('message', hear);
      resolve();
    };
    client.on('message', hear);
  });
  const from = mono();
  const started = await start();
  await heard;
  return { ...started, ms: mono() - from };
}

/** CPU seconds, user and system, of these processes so far. */
async function cpu(pids) {
  const { readFile } = await import('node:fs/promises');
  let ticks = 0;
  for (const pid of pids) {
    const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / 100;
}
