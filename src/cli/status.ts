import type { Command } from 'commander';
import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import type { Io } from '../io.ts';
import { printable } from '../log.ts';
import { paint, table } from '../prompt/table.ts';
import { askDaemon } from '../web/client.ts';
import { configOption, socketsOf } from './sockets.ts';

const problem = z.object({ message: z.string(), hint: z.string().optional() }).optional();

/** What `status` reads of the daemon's answer; more may be there. */
export const Status = z.object({
  id: z.string(),
  version: z.string(),
  healthy: z.boolean(),
  uptime_s: z.number(),
  authorization: z.object({
    state: z.string(),
    reason: z.string().optional(),
    subject: z.string().optional(),
    code_expires_at: z.string().optional(),
    problem,
  }),
  clock: z.object({ trusted: z.boolean(), why: z.string() }),
  broker: z.object({ connected: z.boolean(), url: z.string(), protocol: z.string().optional(), problem }),
  radio: z.object({
    state: z.string(),
    adapter: z.string(),
    restarts: z.number(),
    last_reason: z.string().optional(),
    heard_s: z.number().optional(),
    ladder: z.object({ rung: z.string(), stuck_since: z.string().optional() }).optional(),
    problem,
  }),
  links: z.object({ used: z.number(), max: z.number(), free: z.number().optional(), waiting: z.number().optional() }),
  lights: z.array(z.object({ id: z.string(), problem })),
  home: z
    .object({
      latitude: z.number().optional(),
      longitude: z.number().optional(),
      time_zone: z.string(),
      locality: z.string().optional(),
      country: z.string().optional(),
      source: z.string(),
      missing: z.array(z.string()).optional(),
      problem,
    })
    .optional(),
  counts: z.record(z.string(), z.number()),
  audit: z.object({ waiting: z.number(), lost: z.number(), problem }).optional(),
});
export type Status = z.infer<typeof Status>;

export function registerStatus(root: Command, io: Io): void {
  configOption(
    root
      .command('status')
      .description('Tell whether the running gateway is well: authorization, clock, broker, radio, links, lamps.')
      .option('--json', 'one JSON document for programs'),
  ).action(async (options: { json?: true; config?: string }) => {
    const { body } = await askDaemon(await socketsOf(io, options.config), 'GET', '/api/status', { signal: io.signal });
    if (options.json) return io.stdout(`${JSON.stringify(body, undefined, 2)}\n`);
    const parsed = Status.safeParse(body);
    if (!parsed.success)
      throw new PorchlightError('daemon_unreachable', 'The gateway that answers is of another version.');
    io.stdout(renderStatus(parsed.data, io.colours));
  });
}

/** How the gateway is, in plain words. */
export function renderStatus(status: Status, colours: boolean): string {
  const { bold, dim, green, yellow, red } = paint(colours);
  const rows: string[][] = [];
  const hints: string[] = [];
  const row = (
    name: string,
    good: boolean | 'wait',
    text: string,
    trouble?: { message: string; hint?: string | undefined },
  ): void => {
    const mark = good === true ? green('●') : good === 'wait' ? yellow('●') : red('●');
    rows.push([mark, name, trouble === undefined ? text : `${text}: ${trouble.message}`]);
    if (trouble?.hint) hints.push(`${name}: ${trouble.hint}`);
  };
  const { authorization, clock, broker, radio, links } = status;
  const authorizationWords: Record<string, string> = {
    authorized: `approved by ${authorization.subject ?? 'its owner'}`,
    grace: 'approved, but the authorization server cannot be asked',
    pending: 'waits for a person to approve the code',
    unauthorized: 'nobody has approved this gateway yet',
    relink_needed: `the approval is gone (${authorization.reason ?? 'unknown'}); run "porchlight login"`,
  };
  row(
    'authorization',
    authorization.state === 'authorized' ||
      (authorization.state === 'pending' ? 'wait' : authorization.state === 'grace' ? 'wait' : false),
    authorizationWords[authorization.state] ?? authorization.state,
    authorization.problem,
  );
  row('clock', clock.trusted, clock.why);
  row(
    'broker',
    broker.connected,
    broker.connected ? `${broker.url} (MQTT ${broker.protocol ?? '?'})` : broker.url,
    broker.problem,
  );
  row(
    'radio',
    radio.problem === undefined && radio.state === 'running' && radio.adapter === 'poweredOn' && radioClimbs(radio),
    radioWords(radio),
    radio.problem,
  );
  const waiting = links.waiting ?? 0;
  const wait = waiting === 1 ? ', 1 lamp waits for one' : `, ${waiting} lamps wait for one`;
  const free = links.free === undefined ? '' : `, ${links.free} free`;
  row('links', true, `${links.used} of ${links.max} in use${free}${waiting > 0 ? wait : ''}`);
  // A lamp counts as online for a while after it was heard last; of a radio that is off that says nothing.
  const hears = radio.state === 'running' && radio.adapter === 'poweredOn';
  const reach = hears ? 'within reach' : 'were within reach when last heard';
  row('lamps', hears, `${status.counts['online'] ?? 0} of ${status.lights.length} ${reach}`);
  if (status.home !== undefined)
    row('home', status.home.problem === undefined || 'wait', homeWords(status.home), status.home.problem);
  if (status.audit?.problem !== undefined) row('audit trail', false, auditWords(status.audit), status.audit.problem);
  for (const { id, problem } of status.lights) if (problem !== undefined) row(id, false, 'offline', problem);
  const head = `${bold(status.id)} ${dim(`Porchlight ${status.version}, up ${duration(status.uptime_s)}`)}\n`;
  return `${head}${table(rows, '  ')}\n${hints.map((hint) => `\n${hint}`).join('')}${hints.length > 0 ? '\n' : ''}`;
}

const auditWords = ({ waiting, lost }: NonNullable<Status['audit']>): string =>
  `${waiting} ${waiting === 1 ? 'record waits' : 'records wait'}${lost > 0 ? `, ${lost} lost` : ''}`;

/** A lamp of yellow: it still works at it. */
const radioClimbs = ({ ladder }: Status['radio']): true | 'wait' =>
  ladder === undefined || ladder.rung === 'none' ? true : 'wait';

const ADAPTER_WORDS: Readonly<Record<string, string>> = {
  poweredOn: 'the adapter is on',
  poweredOff: 'the adapter is off or not there',
  unauthorized: 'the adapter may not be used',
  unsupported: 'the adapter cannot be used',
  unknown: 'the adapter is being started',
  resetting: 'the adapter is being started',
};
const RUNG_WORDS: Readonly<Record<string, string>> = {
  scan_restarted: 'nothing is heard, so the scan was begun anew',
  links_dropped: 'nothing is heard, so links were dropped',
  radio_restarted: 'nothing was heard, so the radio was restarted',
  stuck: 'stuck, and tried again and again',
};

function radioWords({ state, adapter, heard_s, restarts, last_reason, ladder }: Status['radio']): string {
  const words = [
    state === 'running' ? (ADAPTER_WORDS[adapter] ?? adapter) : 'being started again',
    ...(heard_s === undefined ? [] : [`heard somebody ${duration(heard_s)} ago`]),
    ...(ladder === undefined || RUNG_WORDS[ladder.rung] === undefined ? [] : [RUNG_WORDS[ladder.rung] ?? '']),
    ...(ladder?.stuck_since === undefined ? [] : [`since ${ladder.stuck_since.slice(0, 16).replace('T', ' ')} UTC`]),
    ...(restarts === 0
      ? []
      : [`${restarts === 1 ? '1 restart' : `${restarts} restarts`}, last: ${last_reason ?? '?'}`]),
  ];
  return words.join(', ');
}

const HOME_SOURCES: Readonly<Record<string, string>> = {
  configuration: 'as configured',
  id_token: "read from the owner's id_token",
  userinfo: "read from the owner's userinfo",
  salesforce_query: 'read by a Salesforce query',
  salesforce_identity: "read from the owner's Salesforce user",
};

/** About where it is: whoever looks over a shoulder at this line need not learn the street. */
function homeWords(home: NonNullable<Status['home']>): string {
  const { latitude, longitude, locality, country, time_zone, source, missing = [] } = home;
  const town = [locality, country].filter((name) => name !== undefined).join(', ');
  const place = latitude === undefined || longitude === undefined ? [] : [`${latitude}, ${longitude}`];
  const where = [...(town === '' ? [] : [town]), ...place].map((text) => printable(text));
  const zone = missing.includes('time_zone') ? `${time_zone} (this machine's)` : time_zone;
  return [
    ...(where.length === 0 ? ['not known'] : [where.join(' at ')]),
    `time zone ${printable(zone)}`,
    ...(HOME_SOURCES[source] === undefined ? [] : [HOME_SOURCES[source] ?? '']),
    ...(where.length > 0 && place.length === 0 ? ['no coordinates known'] : []),
  ].join('; ');
}

function duration(seconds: number): string {
  const units: readonly [number, string][] = [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'min'],
  ];
  for (const [size, name] of units) if (seconds >= size) return `${Math.floor(seconds / size)} ${name}`;
  return `${Math.floor(seconds)} s`;
}
