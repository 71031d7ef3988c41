import type { HouseConfig } from '../config/schema.ts';
import type { Clock } from '../lights/port.ts';
import type { DaemonAnswer } from '../web/client.ts';
import { lookAtAccess, lookAtHomeAssistant } from './access.ts';
import { lookAtAdapter } from './adapter.ts';
import { lookAtKeys, lookAtServer, type ServerLook } from './authorization.ts';
import { type BrokerLook, lookAtBroker } from './broker.ts';
import { lookAtClock, noteDate } from './clock.ts';
import { lookAtConfiguration } from './configuration.ts';
import { type DaemonLook, lookAtApproval, lookAtDaemon, lookAtLamps, lookAtRadio } from './daemon.ts';
import { bounded, type Finding } from './finding.ts';
import type { Places } from './places.ts';
import { lookAtState, type StateLook, stateDirectory } from './state.ts';

/** What the doctor works with; everything outside is a parameter. */
export interface DoctorParts {
  /** The configuration's file, if one was named. */
  readonly path?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  readonly version: string;
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  readonly places: Places;
  /** Asks the daemon of this state directory for its status. */
  readonly ask: (stateDirectory: string) => Promise<DaemonAnswer>;
  /** Told of findings in their order, as soon as they and all before them are known. */
  readonly onFindings: (findings: readonly Finding[]) => void;
}

/** Looks at everything, side by side where one look does not need another, each for five seconds at most. Never rejects. */
export async function examine(parts: DoctorParts, signal: AbortSignal): Promise<readonly Finding[]> {
  const { env, places, uid, version, clock, onFindings } = parts;
  const all: Finding[] = [];
  const tell = (findings: readonly Finding[]): void => {
    all.push(...findings);
    if (findings.length > 0) onFindings(findings);
  };
  const look = (check: string, what: (inner: AbortSignal) => Promise<readonly Finding[]> | readonly Finding[]) =>
    bounded(check, async (inner) => what(inner), signal);

  const read: { config?: HouseConfig; chosen: boolean; complete: boolean } = { chosen: false, complete: false };
  tell(
    await look('configuration', async () => {
      const { findings, ...rest } = await lookAtConfiguration(parts.path, env, places);
      Object.assign(read, rest);
      return findings;
    }),
  );
  const { config, chosen, complete } = read;
  if (config === undefined) return all;
  const state_directory = await stateDirectory(config.gateway.state_directory, places);

  let state: StateLook = { findings: [] };
  tell(
    await look('state', async () => {
      state = await lookAtState(state_directory, uid, places.proc);
      return state.findings;
    }),
  );
  let daemon: DaemonLook = { findings: [] };
  tell(
    await look('daemon', async () => {
      daemon = await lookAtDaemon(() => parts.ask(state_directory), version, state.holder);
      return daemon.findings;
    }),
  );
  const { status } = daemon;

  // Begun together, told in this order.
  let server: ServerLook = { findings: [] };
  const { authorization } = config;
  const serverLook = look('authorization server', async (inner) => {
    if (authorization !== undefined) server = await lookAtServer(authorization, parts, inner);
    return server.findings;
  });
  const keysLook = look('keys', (inner) => lookAtKeys(config, parts, inner));
  let broker: BrokerLook = { findings: [] };
  const brokerLook = look('broker', async (inner) => {
    if (!chosen) return [];
    broker = await lookAtBroker(config, { complete, daemon: status, clock }, inner);
    return broker.findings;
  });
  const adapterLook = look('adapter', () => lookAtAdapter(config.bluetooth, places, status));
  const clockLook = serverLook.then(() =>
    look('clock', async () => {
      const { date } = server;
      const needed = config.access.audience !== undefined;
      const seen = { clock, places, stateDirectory: state_directory, server: date, daemon: status, needed };
      return [...(await lookAtClock(config.clock.trust, seen)), ...noteDate(date)];
    }),
  );

  tell(await clockLook);
  tell(await serverLook);
  if (status !== undefined) tell(lookAtApproval(status));
  if (chosen) tell(lookAtAccess(config));
  tell(await keysLook);
  tell(await brokerLook);
  tell(lookAtHomeAssistant(config, broker.homeAssistant));
  tell(await adapterLook);
  if (status !== undefined) {
    tell(lookAtRadio(status));
    tell(lookAtLamps(status));
  }
  return all;
}

/**
 * The failure that decides the exit status: one of the configuration, on which all else stands, else the first; a clock, which
 * many machines never set right, only where nothing else fails.
 */
export function decidingFailure(findings: readonly Finding[]): Finding | undefined {
  const failures = findings.filter(({ status }) => status === 'fail');
  return (
    failures.find(({ code }) => code === 'config_invalid') ??
    failures.find(({ code }) => code !== 'clock_untrusted') ??
    failures[0]
  );
}
