import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { loadConfig } from '../config/load.ts';
import { runGateway } from '../gateway.ts';
import type { Io, Program } from '../io.ts';
import type { Clock } from '../lights/port.ts';
import { createLog, forPeople } from '../log.ts';
import type { ShownCode } from '../oauth/device-code.ts';
import { paint, table } from '../prompt/table.ts';
import { renderCode } from '../prompt/terminal.ts';
import { runAll, sleep } from '../task-group.ts';
import { askDaemon } from '../web/client.ts';
import { type AuthorizationServer, startAuthorizationServer } from './authorization-server.ts';
import { startBroker } from './broker.ts';
import { type Phone, startPhone } from './phone.ts';

export interface DemoParts {
  readonly io: Io;
  readonly program: Program;
  readonly clock: Clock;
  /** Approve by itself, as a person would. */
  readonly approve: boolean;
  /** Send a few commands, then end. */
  readonly once: boolean;
  /** The answer of `GET /api/lights` as a table for people. */
  readonly renderLights: (lights: unknown) => string;
}

const Available = z.array(z.object({ available: z.boolean() }));
const AtHome = z.object({ home: z.object({ locality: z.string(), latitude: z.number(), longitude: z.number() }) });

const AUDIENCE = 'https://porchlight.example/demo';

const LIGHTS = [
  { id: 'porch', name: 'Porch', address: 'be:ff:20:00:11:01' },
  { id: 'hall', name: 'Hall', address: 'be:ff:20:00:11:02' },
  { id: 'kitchen', name: 'Kitchen', address: 'be:ff:20:00:11:03' },
  { id: 'shelf', name: 'Shelf', address: 'be:ff:20:00:11:04' },
  { id: 'garden', name: 'Garden', address: 'be:ff:20:00:11:05' },
];

/** Everything embedded: a broker, an authorization server, virtual lamps under the real Bluetooth stack, and the real gateway. */
export async function runDemo(parts: DemoParts): Promise<void> {
  const { io } = parts;
  const { bold, dim } = paint(io.colours);
  const folder = await mkdtemp(join(tmpdir(), 'porchlight-demo-'));
  const broker = await startBroker();
  const server = await startAuthorizationServer({
    gatewayClientId: 'porchlight',
    audience: AUDIENCE,
    intervalSeconds: 1,
  });
  try {
    io.stdout(`\n${bold('Porchlight demo')}: five virtual lamps, a broker, an authorization server\n`);
    io.stdout(dim(`  broker ${broker.url}, authorization server ${server.issuer}\n`));
    const done = new AbortController();
    const signal = AbortSignal.any([io.signal, done.signal]);
    const approved = (code: ShownCode): void => {
      server.approve(code.user_code).catch((thrown: unknown) => done.abort(thrown));
    };
    await runAll(
      [
        async (inner) => gateway(parts, folder, broker.url, server, approved, inner),
        async (inner) => {
          await show(parts, folder, broker.url, server, inner);
          if (parts.once) done.abort();
        },
      ],
      signal,
    );
  } finally {
    await Promise.all([broker.close(), server.close()]);
    await rm(folder, { recursive: true, force: true });
  }
}

async function gateway(
  { io, program, clock, approve }: DemoParts,
  folder: string,
  url: string,
  server: AuthorizationServer,
  approved: (code: ShownCode) => void,
  signal: AbortSignal,
): Promise<void> {
  const path = join(folder, 'porchlight.yaml');
  // The demo's clock is this machine's: there is no time server to wait for.
  const file = {
    gateway: { id: 'demo', state_directory: join(folder, 'state') },
    authorization: {
      issuer: server.issuer,
      client_id: server.gateway.client_id,
      scopes: ['openid', 'offline_access', 'profile', 'address'],
    },
    access: { audience: AUDIENCE, unsigned: 'allow' },
    mqtt: { url },
    bluetooth: { backend: 'virtual' },
    clock: { trust: 'system' },
    lights: LIGHTS,
    groups: [{ id: 'evening', name: 'Evening lights', lights: ['porch', 'garden'] }],
    scenes: [{ id: 'movie', name: 'Movie', set: { hall: { brightness: 40 }, shelf: { state: 'OFF' } } }],
  };
  await writeFile(path, JSON.stringify(file), { mode: 0o600 });
  const { config } = await loadConfig({ path, env: {} });
  const log = createLog('warn', io.logsToTerminal ? forPeople(io.stderr) : { write: io.stderr });
  await runGateway(
    {
      config,
      version: program.version,
      entries: program.entries,
      fetch: program.fetch,
      socket: { path: join(folder, 'porchlight.sock'), mode: 0o600 },
      clock,
      log,
      uid: io.uid,
      retired: [],
      onReady: () => undefined,
      watchdog: () => () => Promise.resolve(),
      interactive: io.isTerminal,
      showCode: (code) => {
        io.stdout(renderCode(code, { qr: io.isTerminal, colours: io.colours }));
        if (approve) approved(code);
      },
      hideCode: () => undefined,
    },
    signal,
  );
}

/** What happens after the start: wait for the approval, then the commands (`--once`) or a page of things to try. */
async function show(
  parts: DemoParts,
  folder: string,
  url: string,
  server: AuthorizationServer,
  signal: AbortSignal,
): Promise<void> {
  const { io } = parts;
  const { green } = paint(io.colours);
  const ask = async (path: string): Promise<unknown> =>
    (await askDaemon([join(folder, 'porchlight.sock')], 'GET', path, { signal })).body;
  if (!(await until(async () => JSON.stringify(await ask('/api/status')).includes('"state":"authorized"'), signal)))
    return;
  io.stdout(`${green('Approved.')} The gateway may act now; nobody needs to approve it again.\n\n`);
  if (!(await until(async () => Available.parse(await ask('/api/lights')).every(({ available }) => available), signal)))
    return;
  const at = AtHome.safeParse(await ask('/api/status')).data?.home;
  if (at !== undefined)
    io.stdout(`Home, as the owner lets it be read: ${at.locality}, about ${at.latitude}, ${at.longitude}.\n\n`);
  const token = await server.tokenFor();
  if (!parts.once) return tryIt(parts, folder, url, token, signal);
  const phone = await startPhone(url);
  try {
    await sendSome(parts, phone, token);
  } finally {
    await phone.close();
  }
  io.stdout(`${parts.renderLights(await ask('/api/lights'))}\n\n`);
}

/** A few commands that show what the gateway does, the refusal among them. */
async function sendSome({ io }: DemoParts, phone: Phone, token: string): Promise<void> {
  const { bold, dim, green, yellow, red } = paint(io.colours);
  const commands: readonly { target: string; change: object; token: string | undefined; what: string }[] = [
    { target: 'evening', change: { state: 'TOGGLE' }, token, what: 'a group: porch and garden' },
    {
      target: 'porch',
      change: { color: { r: 255, g: 140, b: 20 }, brightness: 200 },
      token,
      what: 'the porch in amber',
    },
    { target: 'kitchen', change: { effect: 'seven-colour fade' }, token, what: 'the kitchen in all colours' },
    { target: 'shelf', change: { color_temp: 2700 }, token, what: 'the shelf in warm white' },
    { target: 'scene/movie', change: {}, token, what: 'a scene: the hall dimmed, the shelf off' },
    { target: 'porch', change: { state: 'OFF' }, token: undefined, what: 'the porch off, but without a token' },
  ];
  io.stdout(`${bold('A second client, the demo phone, sends commands with a token of its own:')}\n`);
  const rows: string[][] = [];
  for (const { target, change, token: by, what } of commands) {
    const { outcome, code, took_ms } = await phone.send(target, change, by);
    const paintOutcome = outcome === 'denied' ? yellow : outcome === 'failed' ? red : green;
    rows.push([paintOutcome(outcome), what, dim(`${target} ${JSON.stringify(change)}`), code ?? `${took_ms} ms`]);
  }
  io.stdout(`${table(rows, '  ')}\n\n`);
}

async function tryIt(
  { io }: DemoParts,
  folder: string,
  url: string,
  token: string,
  signal: AbortSignal,
): Promise<void> {
  const { bold, dim } = paint(io.colours);
  const { port } = new URL(url);
  const tokenFile = join(folder, 'token');
  await writeFile(tokenFile, token, { mode: 0o600 });
  io.stdout(`${bold('Try it')} from another terminal:

  mosquitto_sub -p ${port} -v -t 'porchlight/+/state' -t 'porchlight/+/result'

  ${dim('# as the demo phone, with its token (this broker speaks MQTT 3.1.1, so the token is in the payload)')}
  mosquitto_pub -p ${port} -q 1 -t porchlight/porch/set -m '{"state":"ON","color":{"r":255,"g":140,"b":20},"authorization":"'$(cat ${tokenFile})'"}'

  ${dim('# as Home Assistant would: the local tree, which the demo leaves open')}
  mosquitto_pub -p ${port} -q 1 -t porchlight/local/evening/set -m '{"state":"TOGGLE"}'

Ctrl-C ends the demo.
`);
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

/** Asks again and again until `good`; false when `signal` came first. */
async function until(good: () => Promise<boolean>, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    try {
      if (await good()) return true;
    } catch (thrown) {
      if (signal.aborted) return false;
      // The gateway's socket is there in a moment.
      if (!(thrown instanceof Error)) throw thrown;
    }
    await sleep(50, signal);
  }
  return false;
}
