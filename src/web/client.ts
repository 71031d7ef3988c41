import { request } from 'node:http';
import { PorchlightError } from '../errors.ts';

/** An answer of the daemon's local API. */
export interface DaemonAnswer {
  readonly status: number;
  readonly body: unknown;
}

const MAX_ANSWER = 4 * 1024 * 1024;

/** Asks the running daemon over the first of `sockets` that answers; none does: `daemon_unreachable`, and how to start it. */
export async function askDaemon(
  sockets: readonly string[],
  method: 'GET' | 'POST',
  path: string,
  options: { readonly body?: string; readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
): Promise<DaemonAnswer> {
  const failures: string[] = [];
  for (const socketPath of sockets) {
    try {
      return await ask(socketPath, method, path, options);
    } catch (thrown) {
      if (options.signal?.aborted) throw new PorchlightError('stopping', 'Interrupted.', { cause: thrown });
      failures.push(`${socketPath} (${reason(thrown)})`);
    }
  }
  throw new PorchlightError('daemon_unreachable', `No running gateway answers at ${failures.join(', ')}.`);
}

function reason(thrown: unknown): string {
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'no answer';
  const words: Record<string, string> = {
    ENOENT: 'not there',
    ECONNREFUSED: 'left behind by a gateway that is gone',
    EACCES: 'not allowed: you must be in the group porchlight',
    ENOTDIR: 'not there',
  };
  return words[code] ?? code;
}

function ask(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  { body, timeoutMs = 45_000, signal }: { body?: string; timeoutMs?: number; signal?: AbortSignal },
): Promise<DaemonAnswer> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        socketPath,
        method,
        path,
        headers: { host: 'localhost', ...(body !== undefined && { 'content-type': 'application/json' }) },
        signal: AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])]),
      },
      (answer) => {
        const chunks: Buffer[] = [];
        let size = 0;
        answer.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > MAX_ANSWER) call.destroy(new PorchlightError('daemon_unreachable', 'The answer is too large.'));
          else chunks.push(chunk);
        });
        answer.on('error', reject);
        answer.on('end', () => {
          try {
            resolve({ status: answer.statusCode ?? 0, body: JSON.parse(Buffer.concat(chunks).toString('utf8')) });
          } catch (cause) {
            reject(new PorchlightError('daemon_unreachable', 'What answers is not Porchlight.', { cause }));
          }
        });
      },
    );
    call.on('error', reject);
    call.end(body);
  });
}
