import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import type { LampInput } from './air/messages.ts';

/** The air process of the gateway's own, for the backend `virtual`: its controller's address, and how to end it. */
export interface VirtualAir {
  /** `tcp://127.0.0.1:port` */
  readonly address: string;
  stop(): Promise<void>;
}

const Answer = z.union([
  z.object({ event: z.literal('listening'), address: z.string() }),
  z.object({ event: z.literal('error'), message: z.string() }),
]);
const START_MS = 10_000;
const STOP_MS = 1000;

/** Starts an air process with these lamps. Rejects with `adapter_stuck` when it does not come up. */
export async function startVirtualAir(
  entry: URL,
  lamps: readonly LampInput[],
  connectionIntervalMs: number,
): Promise<VirtualAir> {
  // It simulates a radio and knows nothing else, so it gets nothing of our environment.
  const child = fork(fileURLToPath(entry), { env: {}, execArgv: [], stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await ended;
    clearTimeout(late);
  };
  try {
    const address = await new Promise<string>((resolve, reject) => {
      const fail = (): void => reject(new PorchlightError('adapter_stuck', 'The virtual lamps could not be started.'));
      const late = setTimeout(fail, START_MS);
      child.once('exit', fail);
      child.on('message', (message) => {
        const answer = Answer.safeParse(message);
        if (!answer.success) return;
        clearTimeout(late);
        if (answer.data.event === 'listening') resolve(answer.data.address);
        else
          reject(
            new PorchlightError('adapter_stuck', `The virtual lamps could not be started: ${answer.data.message}`),
          );
      });
      child.send({ op: 'start', listen: { tcp: 0 }, lamps, connectionIntervalMs, quiet: true });
    });
    return { address, stop };
  } catch (thrown) {
    await stop();
    throw thrown;
  }
}
