// What authorization costs a command: a token seen before, a new one, and the daemon under a thousand bad tokens a second.
// Each figure is a difference or a ratio within one run. Exits with 1 when a promise is not kept.
import { spawn } from 'node:child_process';
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { load } from '../campaign/load-typescript.js';
import { connectClient, dist, end, mono, quantile, sleep, startAir, startBroker } from './parts.js';

const AUDIENCE = 'https://porchlight.example/bench';
const ALGORITHMS = ['ES256', 'RS256', 'EdDSA'];
const LAMP = 'be:ff:20:00:00:01';
/** Good commands a second, beside the bad ones. */
const GOOD = 25;
const PROMISES = { seen: 10, first: 3, flood: 3 };

const median = (values) =>
  quantile(
    [...values].sort((x, y) => x - y),
    0.5,
  );

let broken = 0;
function verdict(name, text, kept) {
  if (!kept) broken += 1;
  process.stdout.write(`  ${name.padEnd(24)} ${text}${kept ? '' : '   NOT KEPT'}\n`);
}

/** `--blocks N` of 1,000 admissions, `--tokens N` first uses, `--seconds N` a phase, `--phases N` of each kind, `--bad N` a second. */
export async function bench(args) {
  const option = (name, otherwise) => (args.includes(name) ? Number(args[args.indexOf(name) + 1]) : otherwise);
  const { seenBefore, firstUse } = await load(new URL('./authorization-gate.ts', import.meta.url));
  process.stdout.write(`a token seen before adds to a command at the gate (promised: at most ${PROMISES.seen} us)\n`);
  for (const algorithm of ALGORITHMS) {
    const added = await seenBefore(algorithm, option('--blocks', 40));
    verdict(algorithm, `${median(added).toFixed(2)} us`, median(added) <= PROMISES.seen);
  }
  process.stdout.write(`first use beside node:crypto.verify (promised: at most ${PROMISES.first} times)\n`);
  for (const algorithm of ALGORITHMS) {
    const { gate, bare } = await firstUse(algorithm, option('--tokens', 900));
    const text = `${gate.toFixed(1)} us, bare ${bare.toFixed(1)} us: ratio ${(gate / bare).toFixed(2)}`;
    verdict(algorithm, text, gate / bare <= PROMISES.first);
  }
  await flood(option('--seconds', 8), option('--phases', 4), option('--bad', 1000));
  process.exitCode = broken === 0 ? 0 : 1;
}

/** A good command's p99, publish to bytes at the lamp, quiet and under bad tokens from another client, phase by phase in turn. */
async function flood(seconds, phases, bad) {
  const { startAuthorizationServer } = await import(dist('demo/authorization-server.js'));
  const folder = await mkdtemp(join(tmpdir(), 'porchlight-bench-'));
  const children = [];
  const [broker, server, air] = await Promise.all([
    startBroker(),
    startAuthorizationServer({
      gatewayClientId: 'porchlight',
      audience: AUDIENCE,
      intervalSeconds: 1,
      accessTokenTtlSeconds: 3600,
    }),
    startAir([{ address: LAMP, name: 'ELK-BLEDOM', family: 'elk-bledom' }]),
  ]);
  const [client, attacker] = await Promise.all([connectClient(broker.url), connectClient(broker.url)]);
  try {
    const token = await server.tokenFor();
    const daemon = await start(folder, broker.url, server.issuer, air.address, children);
    await approved(daemon, server);
    const forgers = forgersOf(server, token);
    for (let at = 0; at < 3; at += 1) await phase(client, token, air, 1);
    process.stdout.write(
      `a good command under ${bad} bad tokens a second (promised: p99 at most ${PROMISES.flood} times)\n`,
    );
    const kinds = [...Object.keys(forgers), 'all in turn'];
    for (const kind of kinds) {
      const quiet = [];
      const loud = [];
      let sent = 0;
      for (let at = 0; at < phases; at += 1) {
        quiet.push(...(await phase(client, token, air, seconds)));
        const stop = new AbortController();
        const make = kind === 'all in turn' ? Object.values(forgers) : [forgers[kind]];
        const storm = attack(attacker, make, bad, stop.signal);
        loud.push(...(await phase(client, token, air, seconds)));
        stop.abort();
        sent += await storm;
        await sleep(500);
      }
      const [q, l] = [quiet, loud].map((list) =>
        quantile(
          list.sort((x, y) => x - y),
          0.99,
        ),
      );
      const rate = Math.round(sent / (phases * (seconds + 0.5)));
      const text = `p99 ${l.toFixed(2)} ms, quiet ${q.toFixed(2)} ms: ratio ${(l / q).toFixed(2)} (${rate}/s; ${loud.length} and ${quiet.length} of ${GOOD * seconds * phases} written)`;
      verdict(kind, text, l / q <= PROMISES.flood && loud.length >= 0.95 * quiet.length);
    }
  } finally {
    await Promise.all([client.endAsync(true), attacker.endAsync(true)]);
    for (const child of children) await end(child);
    await Promise.all([air.stop(), server.close(), broker.stop()]);
    await rm(folder, { recursive: true, force: true });
  }
}

/** Each bad token is another one: nothing about it can be remembered. */
function forgersOf(server, good) {
  const [header, payload] = good
    .split('.')
    .slice(0, 2)
    .map((part) => JSON.parse(Buffer.from(part, 'base64url')));
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString('base64url');
  let count = 0;
  const forged = (head, claims) => {
    count += 1;
    const input = `${encode(head)}.${encode({ ...claims, jti: `bad-${count}` })}`;
    return `${input}.${sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
  };
  return {
    'forged signatures': () => forged(header, payload),
    'unknown keys': () => forged({ ...header, kid: `key-${count}` }, payload),
    junk: () => {
      count += 1;
      return `${count.toString(36)}.${'x'.repeat(900)}`;
    },
    expired: () => {
      count += 1;
      return server.mint({ ...payload, exp: 1_000_000_000, jti: `old-${count}` });
    },
  };
}

/** Publishes bad commands in even steps; tokens are made ahead, so that the attacker's signing is not what is measured. */
async function attack(client, makers, rate, signal) {
  const ahead = Array.from({ length: rate }, (_, at) => makers[at % makers.length]());
  const began = mono();
  let sent = 0;
  while (!signal.aborted) {
    const due = Math.floor(((mono() - began) * rate) / 1000);
    for (; sent < due; sent += 1) {
      // Made anew, byte by byte, where the same token twice would be remembered: the signature's last characters change.
      const token = ahead[sent % ahead.length];
      const fresh = sent < ahead.length ? token : another(token, sent);
      client.publish('porchlight/lamp/set', '{"state":"ON"}', {
        qos: 0,
        properties: { userProperties: { authorization: `Bearer ${fresh}` } },
      });
    }
    await sleep(5);
  }
  return sent;
}

function another(token, number) {
  const at = token.lastIndexOf('.') + 2;
  const mark = number.toString(36).padStart(8, 'a');
  return token.slice(0, at) + mark + token.slice(at + mark.length);
}

/** Sends good commands for `seconds`; gives each one's latency in milliseconds. The colour numbers them. */
async function phase(client, token, air, seconds) {
  await air.written();
  const sent = new Map();
  const properties = { userProperties: { authorization: `Bearer ${token}` } };
  const began = mono();
  for (let at = 0; at < GOOD * seconds; at += 1) {
    const due = began + (at * 1000) / GOOD;
    if (due > mono()) await sleep(due - mono());
    const color = { r: 1 + (at % 255), g: 1 + (Math.floor(at / 255) % 255), b: 7 };
    sent.set(`${color.r},${color.g}`, mono());
    client.publish('porchlight/lamp/set', JSON.stringify({ state: 'ON', color }), { qos: 1, properties });
  }
  await sleep(500);
  const latencies = [];
  for (const { hex, mono: arrived } of await air.written()) {
    const match = /^7e..0503(..)(..)07/.exec(hex);
    const from = match && sent.get(`${Number.parseInt(match[1], 16)},${Number.parseInt(match[2], 16)}`);
    if (from) latencies.push(arrived - from);
  }
  return latencies;
}

async function start(folder, url, issuer, h4, children) {
  const path = join(folder, 'porchlight.yaml');
  const config = {
    gateway: { id: 'bench', state_directory: join(folder, 'state') },
    authorization: { issuer, client_id: 'porchlight', scopes: ['openid', 'offline_access'] },
    access: { audience: AUDIENCE },
    mqtt: { url },
    bluetooth: { backend: 'h4', h4 },
    clock: { trust: 'system' },
    log: { level: 'info' },
    lights: [{ id: 'lamp', address: LAMP }],
  };
  await writeFile(path, JSON.stringify(config));
  // As the shipped unit starts it.
  const env = { PATH: process.env.PATH, NODE_OPTIONS: '--max-semi-space-size=2' };
  const stdio = ['ignore', 'ignore', 'ignore'];
  children.push(spawn(process.execPath, [dist('main.js'), 'run', '--config', path], { env, stdio }));
  return join(folder, 'state', 'porchlight.sock');
}

async function approved(socket, server) {
  const { askDaemon } = await import(dist('web/client.js'));
  const ask = async (method, path) => (await askDaemon([socket], method, path)).body;
  for (let at = 0; at < 400; at += 1) {
    await sleep(50);
    const now = await ask('GET', '/api/status').catch(() => undefined);
    if (now?.authorization.state === 'authorized' && now.broker.connected) return;
    if (now?.authorization.state === 'pending')
      await server.approve((await ask('POST', '/api/authorization/code')).user_code);
  }
  throw new Error('the daemon was not approved');
}
