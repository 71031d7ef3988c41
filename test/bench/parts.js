// Real parts for benchmarks: a broker, an air with lamps, processes and what they use.
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import mqtt from 'mqtt';

export const dist = (file) =>
  process.env.PORCHLIGHT_DIST
    ? join(process.env.PORCHLIGHT_DIST, file)
    : fileURLToPath(new URL(`../../dist/${file}`, import.meta.url));
/** Milliseconds by CLOCK_MONOTONIC, which all processes of a machine share. */
export const mono = () => Number(process.hrtime.bigint()) / 1e6;
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A real mosquitto on a free port, with `set_tcp_nodelay true`. */
export async function startBroker() {
  const folder = await mkdtemp(join(tmpdir(), 'porchlight-bench-'));
  const port = await freePort();
  const config = join(folder, 'mosquitto.conf');
  await writeFile(
    config,
    `listener ${port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 10000\n`,
  );
  const child = spawn('mosquitto', ['-c', config], {
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` },
    stdio: 'ignore',
  });
  const failed = new Promise((_, reject) => {
    child.once('error', () => reject(new Error('mosquitto is not installed: "apt-get install mosquitto"')));
  });
  await Promise.race([failed, sleep(300)]);
  return { url: `mqtt://127.0.0.1:${port}`, stop: () => end(child).then(() => rm(folder, { recursive: true })) };
}

/** An air process whose link passes packets at once. `written()` gives what reached the lamps since the last call. */
export async function startAir(lamps) {
  const child = fork(dist('bluetooth/air/main.js'), [], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  let count = 0;
  const ask = (event, request) =>
    new Promise((resolve) => {
      const id = ++count;
      const hear = (message) => {
        if (message.event !== event || (message.id !== undefined && message.id !== id)) return;
        child.off('message', hear);
        resolve(message);
      };
      child.on('message', hear);
      child.send({ ...request, id });
    });
  const { address } = await ask('listening', {
    op: 'start',
    listen: { tcp: 0 },
    lamps,
    connectionIntervalMs: 0,
    quiet: true,
  });
  let seen = 0;
  return {
    address,
    async written() {
      const { count: total, entries } = await ask('log', { op: 'log' });
      const fresh = entries.slice(Math.max(0, entries.length - (total - seen)));
      seen = total;
      return fresh;
    },
    stop: () => end(child),
  };
}

export async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), 8000);
  await gone;
  clearTimeout(late);
}

/** An MQTT 5 client that sends at once. */
export async function connectClient(url) {
  const client = await mqtt.connectAsync(url, { protocolVersion: 5 });
  client.stream.setNoDelay(true);
  return client;
}

/** Memory of a process that nobody else shares, MB (`Private_Clean` + `Private_Dirty`). */
export async function privateMegabytes(pid) {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  const sum = [...text.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB$/gm)].reduce(
    (all, [, kb]) => all + Number(kb),
    0,
  );
  return sum / 1024;
}

export function quantile(sorted, part) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
}
