import * as z from 'zod';
import { asPorchlightError } from '../errors.ts';
import type { DaemonAnswer } from '../web/client.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

const trouble = z.object({ message: z.string(), hint: z.string().optional() }).optional();
const Light = z.object({
  id: z.string(),
  available: z.boolean(),
  family: z.string().optional(),
  model: z.string().optional(),
  rssi: z.number().optional(),
  problem: trouble.catch(undefined),
});

/** What the doctor reads of the daemon's status; more may be there. */
const DaemonStatus = z.object({
  id: z.string(),
  version: z.string(),
  uptime_s: z.number(),
  authorization: z.object({
    state: z.string(),
    reason: z.string().optional(),
    subject: z.string().optional(),
    problem: trouble,
  }),
  clock: z.object({ trusted: z.boolean(), why: z.string() }),
  broker: z.object({ connected: z.boolean(), protocol: z.string().optional(), problem: trouble }),
  radio: z.object({
    state: z.string(),
    adapter: z.string(),
    restarts: z.number(),
    last_reason: z.string().optional(),
    pid: z.number().optional(),
    problem: trouble,
  }),
  lights: z.array(Light),
});
export type DaemonStatus = z.infer<typeof DaemonStatus>;

/** The daemon, and what it says of itself. */
export interface DaemonLook {
  readonly findings: readonly Finding[];
  readonly status?: DaemonStatus;
}

/** Is a daemon running, and is it of this version? `holder`: the living process that holds the state directory. */
export async function lookAtDaemon(
  ask: () => Promise<DaemonAnswer>,
  version: string,
  holder: number | 'gone' | undefined,
): Promise<DaemonLook> {
  let answer: DaemonAnswer;
  try {
    answer = await ask();
  } catch (thrown) {
    return { findings: [absent(asPorchlightError(thrown).message, holder)] };
  }
  const status = DaemonStatus.safeParse(answer.body);
  if (!status.success) {
    return {
      findings: [
        warn('daemon', 'What answers at the socket is of another version.', 'Restart it: systemctl restart porchlight'),
      ],
    };
  }
  const { id, version: running, uptime_s } = status.data;
  const up = `${id} is running, Porchlight ${running}, for ${uptime_s} s`;
  const findings =
    running === version
      ? [ok('daemon', up)]
      : [warn('daemon', `${up}; installed is ${version}.`, 'Restart it: systemctl restart porchlight')];
  return { findings, status: status.data };
}

function absent(message: string, holder: number | 'gone' | undefined): Finding {
  if (/not allowed/.test(message)) {
    return warn(
      'daemon',
      'It is running, but this user may not ask it.',
      'Run this with sudo, or add yourself to the group porchlight (then sign in again).',
    );
  }
  if (typeof holder === 'number') {
    return fail(
      'daemon',
      'daemon_unreachable',
      `Process ${holder} holds the state directory, but answers at no socket.`,
      'See its log (journalctl -u porchlight); if it hangs: systemctl restart porchlight',
    );
  }
  return warn(
    'daemon',
    'It is not running. What it alone knows (lamps, approval) is not looked at.',
    'Start it: porchlight run, or systemctl start porchlight',
  );
}

/** The approval, as far as the daemon says. */
export function lookAtApproval({ authorization }: DaemonStatus): readonly Finding[] {
  const { state, reason, subject, problem } = authorization;
  const said = problem === undefined ? '' : `: ${problem.message}`;
  switch (state) {
    case 'authorized':
      return [ok('approval', `approved by ${subject ?? 'its owner'}`)];
    case 'grace':
      return [warn('approval', `Approved, but the authorization server cannot be asked${said}`, problem?.hint)];
    case 'pending':
      return [warn('approval', 'Nobody has approved this gateway yet; a code waits.', 'Run: porchlight login')];
    case 'relink_needed':
      return [
        fail(
          'approval',
          'not_authorized',
          `The approval is gone (${reason ?? 'unknown'})${said}`,
          'Run: porchlight login',
        ),
      ];
    default:
      return problem === undefined
        ? [warn('approval', 'Nobody has approved this gateway yet.', 'Run: porchlight login')]
        : [fail('approval', 'not_authorized', `Nobody could approve this gateway yet${said}`, problem.hint)];
  }
}

/** The radio, as the daemon sees it. */
export function lookAtRadio({ radio }: DaemonStatus): readonly Finding[] {
  const { state, adapter, restarts, last_reason, problem } = radio;
  const why = last_reason === undefined ? '' : ` (last: ${last_reason})`;
  const times = restarts === 0 ? '' : `, restarted ${restarts} ${restarts === 1 ? 'time' : 'times'}${why}`;
  if (state !== 'running')
    return [
      fail(
        'radio',
        'radio_restarting',
        `It does not stay up${times}.`,
        'See the adapter above, and journalctl -u porchlight',
      ),
    ];
  if (adapter !== 'poweredOn') {
    const code = adapter === 'poweredOff' ? 'adapter_off' : 'adapter_stuck';
    return [fail('radio', code, problem?.message ?? `The adapter is ${adapter}${times}.`, problem?.hint)];
  }
  const text = `running, adapter ${adapter}${times}`;
  return [problem === undefined ? ok('radio', text) : warn('radio', `${text}: ${problem.message}`, problem.hint)];
}

/** The configured lamps, as the daemon sees them. */
export function lookAtLamps({ lights }: DaemonStatus): readonly Finding[] {
  if (lights.length === 0)
    return [
      warn('lamps', 'No lamp is configured.', 'Run: porchlight scan; it prints the lines to paste under "lights:".'),
    ];
  const findings = lights.flatMap(({ id, available, family, problem }): readonly Finding[] => {
    if (problem !== undefined) return [warn('lamps', `${id}: ${problem.message}`, problem.hint)];
    if (!available)
      return [
        warn(
          'lamps',
          `${id} is not within reach.`,
          'Is it switched on at the wall, near enough, and not connected to a phone app? Is its address right (porchlight scan)?',
        ),
      ];
    if (family === undefined)
      return [
        warn('lamps', `${id} is there, but nobody knows what it is.`, 'Pin its model: "model:" under "lights:".'),
      ];
    return [];
  });
  const well = lights.length - findings.length;
  return [...(well > 0 ? [ok('lamps', `${well} of ${lights.length} within reach and known`)] : []), ...findings];
}
