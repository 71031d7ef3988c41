import { chmod, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import type { Hono } from 'hono';
import { PorchlightError } from '../errors.ts';

/** The kernel's limit for the path of a Unix socket (sun_path), without its closing zero. */
const LONGEST_PATH = 107;

/**
 * Serves `app` on a Unix socket until `signal` aborts; resolves once it listens, with a promise of its end. A socket file left
 * behind by a killed daemon is replaced: the lock on the state directory already says that nobody else is running.
 */
export async function serveOnSocket(
  app: Hono,
  path: string,
  mode: number,
  signal: AbortSignal,
): Promise<{ readonly closed: Promise<void> }> {
  if (Buffer.byteLength(path) > LONGEST_PATH) {
    throw new PorchlightError('state_unusable', `The socket's path is longer than ${LONGEST_PATH} bytes: ${path}`, {
      hint: 'Give gateway.state_directory a shorter path.',
    });
  }
  await rm(path, { force: true });
  const server = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as Server;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new PorchlightError('state_unusable', `The socket ${path} cannot be opened.`, { cause })),
    );
    server.listen(path, resolve);
  });
  await chmod(path, mode);
  const closed = new Promise<void>((resolve) => {
    const stop = (): void => {
      server.close(() => resolve());
      server.closeAllConnections();
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  return { closed: closed.then(() => rm(path, { force: true })) };
}
