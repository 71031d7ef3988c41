import { request } from 'node:http';
import * as z from 'zod';
import { asPorchlightError, ERRORS, type ErrorCode, PorchlightError } from '../errors.ts';

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

/**
 * Reads a stream of the daemon (server-sent events) to its end, or until `signal` aborts; `onEvent` gets each event's name and what
 * its data says, and may throw. Resolves with false where no daemon runs. Rejects with `daemon_unreachable` where one runs that we
 * may not ask, or that goes away; with the daemon's own error where it refuses.
 */
export async function streamDaemon(
  sockets: readonly string[],
  path: string,
  onEvent: (event: string, data: unknown) => void,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<boolean> {
  for (const socketPath of sockets) {
    let begun = false;
    const notice = (event: string, data: unknown): void => {
      begun = true;
      onEvent(event, data);
    };
    try {
      await stream(socketPath, path, notice, options);
      return true;
    } catch (thrown) {
      if (options.signal.aborted) return true;
      if (thrown instanceof PorchlightError) throw thrown;
      if (begun) throw new PorchlightError('daemon_unreachable', 'The gateway went away.', { cause: thrown });
      if (!isAbsent(thrown)) {
        throw new PorchlightError('daemon_unreachable', `The gateway at ${socketPath}: ${reason(thrown)}.`, {
          hint: 'See "porchlight status"; perhaps sudo is needed.',
          cause: thrown,
        });
      }
    }
  }
  return false;
}

/** Nobody is at this socket. */
function isAbsent(thrown: unknown): boolean {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
  return code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR';
}

function stream(
  socketPath: string,
  path: string,
  onEvent: (event: string, data: unknown) => void,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        socketPath,
        path,
        headers: { host: 'localhost', accept: 'text/event-stream' },
        signal: AbortSignal.any([AbortSignal.timeout(timeoutMs), signal]),
      },
      (answer) => {
        const isStream = answer.headers['content-type']?.startsWith('text/event-stream') === true;
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
          if (isStream) {
            const blocks = text.split('\n\n');
            text = blocks.pop() ?? '';
            try {
              for (const block of blocks) tell(block, onEvent);
            } catch (thrown) {
              return void call.destroy(asPorchlightError(thrown));
            }
          }
          if (text.length > MAX_ANSWER)
            call.destroy(new PorchlightError('daemon_unreachable', 'The answer is too large.'));
        });
        answer.on('error', reject);
        answer.on('end', () => {
          if (isStream) resolve();
          else reject(refusal(answer.statusCode ?? 0, text));
        });
      },
    );
    call.on('error', reject);
    call.end();
  });
}

/** One server-sent event. Throws where its data is not JSON, or what `onEvent` throws. */
function tell(block: string, onEvent: (event: string, data: unknown) => void): void {
  const lines = block.split('\n');
  const of = (field: string): string | undefined =>
    lines.find((line) => line.startsWith(`${field}: `))?.slice(field.length + 2);
  const data = of('data');
  if (data === undefined) return;
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch (cause) {
    throw notOurs(cause);
  }
  onEvent(of('event') ?? 'message', value);
}

const notOurs = (cause?: unknown): PorchlightError =>
  new PorchlightError('daemon_unreachable', 'What answers is not Porchlight.', { cause });

const Refusal = z.object({ code: z.string(), message: z.string(), hint: z.string().optional() });

/** An answer that is no stream: the daemon's error, or that of a version that has no such stream. */
function refusal(status: number, text: string): PorchlightError {
  if (status === 404) {
    return new PorchlightError(
      'daemon_unreachable',
      'The gateway that runs is of an older version and cannot do this.',
      {
        hint: 'Restart it with the installed version.',
      },
    );
  }
  try {
    const said = Refusal.safeParse(JSON.parse(text));
    if (!said.success) return notOurs();
    const { code, message, hint } = said.data;
    const hinted = hint === undefined ? {} : { hint };
    return new PorchlightError(Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : 'internal', message, hinted);
  } catch (cause) {
    return notOurs(cause);
  }
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
