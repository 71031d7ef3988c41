// A crowd of strangers in the air, each heard once, beside a quiet phase of the same daemon: what it costs the gateway and the
// radio in memory and time, and how its lamps are served meanwhile. `npm run bench -- flood`, or `node test/campaign/flood.js`.
import { fork, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const DIST = pathToFileURL(`${process.env.PORCHLIGHT_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url))}/`);
const dist = (file) => fileURLToPath(new URL(file, DIST));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const LAMPS = Array.from({ length: 5 }, (_, at) => ({
  address: `be:ff:20:00:00:0${at}`,
  name: `Triones:F3020000015${at}`,
  family: 'triones',
}));

// The young generation as in the shipped unit; and an old one with no room for garbage, so that what is counted is what is kept.
const HEAP = ['--max-semi-space-size=2', '--max-old-space-size=40'];

const OPTIONS = {
  // Adverts in all, and in a second; a real radio hears some two thousand.
  total: { type: 'string', default: '500000' },
  rate: { type: 'string', default: '20000' },
  // Listen to everyone, as a scan does, and not to the lamps alone.
  everyone: { type: 'boolean', default: false },
  extended: { type: 'boolean', default: false },
  // Seconds of the quiet phase.
  quiet: { type: 'string', default: '15' },
  // Double the rate from here until the lamps are not served any more.
  limit: { type: 'boolean', default: false },
};

/** Prints figures; sets the exit status where memory is not bounded or a command is not confirmed. */
export async function bench(args) {
  const { values } = parseArgs({ args, options: OPTIONS });
  const home = await start(values);
  try {
    await commands(home, sleep(3000));
    const quiet = await phase(home, 'quiet', () => sleep(Number(values.quiet) * 1000));
    if (values.limit) {
      for (let rate = Number(values.rate); ; rate *= 2) {
        const flood = { op: 'flood', total: rate * 5, perSecond: rate };
        const loud = await phase(home, `${rate} a second`, () => home.air.ask(flood));
        if (loud.failed > 0 || loud.seconds > 20) break;
      }
      return;
    }
    const flood = { op: 'flood', total: Number(values.total), perSecond: Number(values.rate) };
    const loud = await phase(home, `${flood.total} strangers`, () => home.air.ask(flood));
    const after = await phase(home, 'quiet again', () => sleep(3000));
    const status = await home.status();
    const grown = { gateway: after.gateway - quiet.gateway, radio: loud.radioMost - quiet.radio };
    process.stdout.write(
      `gateway ${signed(grown.gateway)} MB, radio at most ${signed(grown.radio)} MB, p99 ${(loud.p99 / quiet.p99).toFixed(2)} of quiet, ` +
        `radio restarts ${status.radio?.restarts ?? 0}\n`,
    );
    const bounded = grown.gateway < 10 && grown.radio < 20 && (status.radio?.restarts ?? 0) === 0;
    if (!bounded || loud.failed > 0) process.exitCode = 1;
  } finally {
    await home.stop();
  }
}

const signed = (value) => `${value < 0 ? '' : '+'}${value.toFixed(1)}`;

async function start(values) {
  const { askDaemon, streamDaemon } = await import(new URL('web/client.js', DIST).href);
  const air = await startAir(values.extended);
  const folder = await mkdtemp(join(tmpdir(), 'porchlight-flood-'));
  const config = {
    gateway: { id: 'flood', state_directory: join(folder, 'state') },
    // Nobody listens there: this is about the air, and local commands wait for neither.
    authorization: { issuer: 'http://127.0.0.1:9', client_id: 'porchlight' },
    mqtt: { url: 'mqtt://127.0.0.1:9' },
    bluetooth: { backend: 'h4', h4: air.address, max_connections: 5 },
    clock: { trust: 'system' },
    lights: LAMPS.map(({ address }, at) => ({ id: `lamp${at}`, address })),
    log: { level: 'warn' },
  };
  const file = join(folder, 'porchlight.yaml');
  await writeFile(file, JSON.stringify(config));
  const child = spawn(process.execPath, [...HEAP, dist('main.js'), 'run', '--config', file], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (chunk) => {
    log = (log + chunk).slice(-20_000);
  });
  const sockets = [join(folder, 'state', 'porchlight.sock')];
  const ask = async (method, path, body) =>
    (
      await askDaemon(
        sockets,
        method,
        path,
        body === undefined ? {} : { body: JSON.stringify(body), timeoutMs: 60_000 },
      )
    ).body;
  const status = () => ask('GET', '/api/status');
  const end = performance.now() + 30_000;
  for (;;) {
    const now = await status().catch(() => undefined);
    if (now?.radio?.adapter === 'poweredOn') break;
    if (performance.now() > end) throw new Error(`the daemon does not start: ${JSON.stringify(now)}\n${log}`);
    await sleep(100);
  }
  const scan = new AbortController();
  if (values.everyone) {
    streamDaemon(sockets, '/api/scan?seconds=300', () => undefined, { timeoutMs: 310_000, signal: scan.signal }).catch(
      (thrown) => process.stderr.write(`the scan ended: ${thrown}\n`),
    );
    await sleep(500);
  }
  const stop = async () => {
    scan.abort();
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await gone;
    air.stop();
    await rm(folder, { recursive: true, force: true });
    const causes = log.split('\n').filter((line) => line !== '');
    process.stdout.write(`${causes.length} lines of warnings\n`);
    for (const line of causes.slice(0, 5)) process.stdout.write(`  ${line.slice(0, 200)}\n`);
  };
  return { air, ask, status, stop, gatewayPid: child.pid };
}

async function startAir(extended) {
  const child = fork(dist('bluetooth/air/main.js'), [], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  let count = 0;
  const ask = (request) =>
    new Promise((resolve, reject) => {
      const id = ++count;
      child.on('message', function hear(message) {
        if (message.id !== id) return;
        child.off('message', hear);
        if (message.event === 'error') reject(new Error(message.message));
        else resolve(message);
      });
      child.send({ ...request, id });
    });
  const { address } = await ask({ op: 'start', listen: { tcp: 0 }, lamps: LAMPS, extended, quiet: true });
  return { ask, address, pid: child.pid, stop: () => child.kill() };
}

/** Commands to each lamp, one after the other's outcome, until `over`. */
async function commands(home, over) {
  const took = [];
  const others = new Map();
  let done = false;
  const ended = over.then(() => {
    done = true;
  });
  const serve = async (id) => {
    for (let at = 1; !done; at += 1) {
      const began = performance.now();
      const outcome = await home.ask('POST', `/api/lights/${id}/set`, { state: at % 2 === 0 ? 'ON' : 'OFF' });
      if (outcome.outcome === 'confirmed') took.push(performance.now() - began);
      else {
        const what = `${outcome.outcome} ${outcome.code ?? ''}`;
        others.set(what, (others.get(what) ?? 0) + 1);
      }
      await sleep(50);
    }
  };
  await Promise.all([...LAMPS.map((_, at) => serve(`lamp${at}`)), ended]);
  took.sort((a, b) => a - b);
  const quantile = (part) => took[Math.min(took.length - 1, Math.floor(took.length * part))] ?? Number.NaN;
  const failed = [...others.values()].reduce((all, times) => all + times, 0);
  const text = [...others].map(([what, times]) => `${times} ${what.trim()}`).join(', ');
  return { confirmed: took.length, failed, others: text, p50: quantile(0.5), p99: quantile(0.99) };
}

async function phase(home, name, run) {
  const { radio } = await home.status();
  const pids = { gateway: home.gatewayPid, radio: radio.pid };
  const before = { gateway: await cpu(pids.gateway), radio: await cpu(pids.radio) };
  const began = performance.now();
  let most = 0;
  const sampling = setInterval(() => void megabytes(pids.radio).then((mb) => (most = Math.max(most, mb))), 500);
  const served = await commands(home, run());
  clearInterval(sampling);
  const seconds = (performance.now() - began) / 1000;
  const busy = async (side) => (((await cpu(pids[side])) - before[side]) / seconds) * 100;
  const share = { gateway: await busy('gateway'), radio: await busy('radio') };
  const memory = { gateway: await megabytes(pids.gateway), radio: await megabytes(pids.radio) };
  const result = { ...served, ...memory, radioMost: Math.max(most, memory.radio), seconds };
  process.stdout.write(
    `${name.padEnd(20)} ${seconds.toFixed(1)} s: ${served.confirmed} confirmed, ${served.failed} not${served.others === '' ? '' : ` (${served.others})`}, p50 ${served.p50.toFixed(0)} ms, ` +
      `p99 ${served.p99.toFixed(0)} ms; gateway ${memory.gateway.toFixed(1)} MB, ${share.gateway.toFixed(0)} % CPU; ` +
      `radio ${memory.radio.toFixed(1)} MB (at most ${result.radioMost.toFixed(1)}), ${share.radio.toFixed(0)} % CPU\n`,
  );
  return result;
}

/** Memory of a process that nobody else shares, MB. */
async function megabytes(pid) {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  return (
    [...text.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB$/gm)].reduce((all, [, kb]) => all + Number(kb), 0) / 1024
  );
}

/** Seconds of CPU so far (`proc(5)`, utime and stime in hundredths). */
async function cpu(pid) {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100 || 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bench(process.argv.slice(2));
