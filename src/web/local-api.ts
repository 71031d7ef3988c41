import { Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import * as z from 'zod';
import { asPorchlightError, type ERRORS, PorchlightError } from '../errors.ts';
import { MAX_PAYLOAD_BYTES, readCommandBody } from '../lights/change.ts';
import type { CommandHandler } from '../lights/command.ts';
import type { Outcome } from '../lights/outcome.ts';
import type { Clock } from '../lights/port.ts';
import { LOG_LEVELS, type Log, type LogLevel } from '../log.ts';
import { sleep } from '../task-group.ts';

/** A code for a person, as the local socket hands it to `porchlight login`. */
export interface CodeForPerson {
  readonly user_code: string;
  readonly verification_uri: string;
  readonly verification_uri_complete?: string;
  /** Wall-clock ms. */
  readonly expires_at: number;
}

/** What the API shows and does; `gateway.ts` hands it in. */
export interface LocalApiParts {
  readonly status: () => { readonly healthy: boolean };
  readonly lights: () => readonly unknown[];
  readonly handle: CommandHandler;
  /** Forgets who a lamp was; resolves with whether anything was known. Undefined: there is no such lamp. */
  readonly forget: (id: string) => Promise<boolean | undefined>;
  readonly requestCode: () => Promise<CodeForPerson>;
  readonly revoke: () => Promise<unknown>;
  /** How much is logged, until the configuration is read again or the gateway starts anew. */
  readonly logLevel: { readonly now: () => string; readonly set: (level: LogLevel) => void };
  /** Calls back on every change of a lamp; returns how to stop listening. */
  readonly watch: (listener: (event: string, data: unknown) => void) => () => void;
  /** Listens to everyone in the air, and calls back with what is new, a few times a second; returns how to stop. */
  readonly scan: (listener: (update: object) => void) => () => void;
  readonly clock: Clock;
  readonly log: Log;
}

const MAX_LISTENERS = 32;
/** Each makes the radio tell of everyone; more than a few people do not scan at once. */
const MAX_SCANS = 4;
/** Seconds. Nobody watches longer, and a forgotten scan must end. */
const LONGEST_SCAN = 300;
const USUAL_SCAN = 10;
/** A client that reads this many updates late does not read. */
const MAX_UNREAD = 100;

const HTTP_STATUS = { bad_command: 400, payload_too_large: 413, unknown_target: 404, unsupported: 422 } as const;

/** The HTTP status that fits an outcome, so that scripts need not read the body. */
function statusOf(outcome: Outcome): 200 | 400 | 403 | 404 | 413 | 422 | 503 {
  if (outcome.outcome === 'denied') return 403;
  if (outcome.outcome !== 'failed') return 200;
  for (const [code, status] of Object.entries(HTTP_STATUS)) if (code === outcome.code) return status;
  return 503;
}

/**
 * The local API. It has no credentials of its own: whoever may open the socket may use it (the file's mode is the authority),
 * so it must never be bound to a network address as it is.
 */
export function localApi(parts: LocalApiParts): Hono {
  const app = new Hono();
  let listeners = 0;

  app.onError((thrown, context) => {
    const error = asPorchlightError(thrown);
    if (error.code === 'internal') parts.log.error({ err: thrown }, 'the local API failed');
    const body = { code: error.code, message: error.message, hint: error.hint };
    return context.json(body, error.kind === 'denied' ? 403 : 503);
  });
  app.notFound((context) => context.json({ code: 'not_found', message: 'There is nothing at this address.' }, 404));

  app.get('/health', (context) => {
    const { healthy } = parts.status();
    return context.json({ healthy }, healthy ? 200 : 503);
  });
  app.get('/api/status', (context) => context.json(parts.status()));
  app.get('/api/lights', (context) => context.json(parts.lights()));

  const answer = (kind: 'lights' | 'scene', target: string, bytes: Uint8Array): Promise<Outcome> => {
    const receivedAt = parts.clock.monotonic();
    const { change, id, expires_in, sent_at, problem } = readCommandBody(bytes, kind);
    return parts.handle({
      kind,
      target,
      change,
      credential: { kind: 'local' },
      receivedAt,
      retained: false,
      ...(id !== undefined && { id }),
      ...(expires_in !== undefined && { expiresAt: receivedAt + expires_in * 1000 }),
      ...(sent_at !== undefined && { sentAt: sent_at }),
      ...(problem !== undefined && { problem }),
    });
  };
  app.post('/api/lights/:target/set', async (context) => {
    const outcome = await answer('lights', context.req.param('target'), await bounded(context.req.raw));
    return context.json(outcome, statusOf(outcome));
  });
  app.post('/api/scenes/:target/set', async (context) => {
    const outcome = await answer('scene', context.req.param('target'), await bounded(context.req.raw));
    return context.json(outcome, statusOf(outcome));
  });

  app.post('/api/lights/:id/forget', async (context) => {
    const id = context.req.param('id');
    const forgotten = await parts.forget(id);
    if (forgotten === undefined) return context.json(errorBody('unknown_target'), 404);
    return context.json({ target: id, forgotten });
  });

  app.post('/api/authorization/code', async (context) => context.json(await parts.requestCode()));
  app.post('/api/authorization/revoke', async (context) => context.json(await parts.revoke()));

  app.get('/api/log', (context) => context.json({ level: parts.logLevel.now() }));
  app.post('/api/log', async (context) => {
    const wanted = levelOf(await bounded(context.req.raw));
    if (wanted === undefined) {
      const message = `level: one of ${LOG_LEVELS.join(', ')} expected.`;
      return context.json({ ...errorBody('wrong_use'), message }, 400);
    }
    const before = parts.logLevel.now();
    parts.logLevel.set(wanted);
    return context.json({ level: wanted, before });
  });

  app.get('/api/events', (context) => {
    if (listeners >= MAX_LISTENERS) return context.json(errorBody('internal'), 503);
    listeners += 1;
    return streamSSE(context, async (stream) => {
      const stop = parts.watch((event, data) => {
        stream.writeSSE({ event, data: JSON.stringify(data) }).catch((thrown: unknown) => {
          parts.log.debug({ err: thrown }, 'a listener of the local API is gone');
          stream.abort();
        });
      });
      await new Promise<void>((resolve) => stream.onAbort(resolve));
      stop();
      listeners -= 1;
    });
  });

  let scans = 0;
  app.get('/api/scan', (context) => {
    const seconds = scanSeconds(context.req.query('seconds'));
    if (seconds === undefined) {
      const message = `seconds: a number from 1 to ${LONGEST_SCAN} expected.`;
      return context.json({ ...errorBody('wrong_use'), message }, 400);
    }
    if (scans >= MAX_SCANS) {
      const error = new PorchlightError('busy', `${MAX_SCANS} scans are under way already.`, {
        hint: 'Wait until one of them has ended.',
      });
      return context.json(errorBody('busy', error), 503);
    }
    scans += 1;
    return streamSSE(context, async (stream) => {
      const over = new AbortController();
      stream.onAbort(() => over.abort());
      let unread = 0;
      const stop = parts.scan((update) => {
        if (over.signal.aborted) return;
        unread += 1;
        if (unread > MAX_UNREAD) return over.abort();
        stream.writeSSE({ event: 'scan', data: JSON.stringify(update) }).then(
          () => {
            unread -= 1;
          },
          () => over.abort(),
        );
      });
      try {
        await sleep(seconds * 1000, over.signal);
      } finally {
        stop();
        scans -= 1;
      }
      if (!over.signal.aborted) await stream.writeSSE({ event: 'end', data: '{}' });
    });
  });
  return app;
}

const LevelBody = z.object({ level: z.enum(LOG_LEVELS) });

function levelOf(body: Uint8Array): LogLevel | undefined {
  try {
    return LevelBody.safeParse(JSON.parse(Buffer.from(body).toString('utf8'))).data?.level;
  } catch {
    return undefined;
  }
}

/** Undefined for what is no number of seconds that a scan may last. */
function scanSeconds(text: string | undefined): number | undefined {
  if (text === undefined) return USUAL_SCAN;
  const seconds = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Number(text) : 0;
  return seconds >= 1 && seconds <= LONGEST_SCAN ? seconds : undefined;
}

/**
 * The body, or as much of it as shows that it is too large: one byte more than a command may have. By hand, because hono's
 * `bodyLimit` rebuilds the request, which fails unless the server replaces Node's own `Request` for the whole process.
 */
async function bounded(request: Request): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of request.body ?? []) {
    pieces.push(piece);
    size += piece.length;
    if (size > MAX_PAYLOAD_BYTES) break;
  }
  return Buffer.concat(pieces).subarray(0, MAX_PAYLOAD_BYTES + 1);
}

function errorBody<C extends keyof typeof ERRORS>(
  code: C,
  error = new PorchlightError(code),
): { readonly code: C; readonly message: string; readonly hint: string } {
  return { code, message: error.message, hint: error.hint };
}
