import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Clock } from '../lights/port.ts';
import type { Log } from '../log.ts';
import { type BackOff, backOff } from './back-off.ts';
import type { DeviceCode, ShownCode } from './device-code.ts';
import { awaitApproval, type Poller, verdict } from './device-flow.ts';
import type { TokenAnswer } from './tokens.ts';
import { Wake } from './wake.ts';
import type { Reply } from './wire.ts';

/** A server away at start is asked again after 1, 2, 4 ... 30 s: a broker box and its server often boot together. */
const START: BackOff = { first: 1_000, longest: 30_000 };
/** How often an expired code is replaced without a person, and for how long. */
const REPLACEMENTS = 6;
const REPLACING = 3_600_000;
/** A code with less life than this is not handed to a person who has just asked for one. */
const WORTH_SHOWING = 60_000;
/** At a terminal codes are replaced without end, but never more often than this, whatever life the server gives them. */
const TERMINAL_PACE = 60_000;
/** The second replacement of codes that die at once comes after this long, the next ones after twice as long each. */
const PACE = 5_000;

export interface CodeServer extends Poller {
  start(signal: AbortSignal): Promise<Reply<DeviceCode>>;
}

export interface ApprovalParts {
  readonly server: CodeServer;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** A person sits before the output: expired codes are replaced without end. */
  readonly interactive: boolean;
  /** True while a code may be asked for without a person: no grant yet, and nothing decided against it. */
  readonly wanted: () => boolean;
  /** A code begins or ceases to be shown. */
  readonly onCode: (code: ShownCode | undefined) => void;
  /** Something is wrong (it may pass), or all is well again. */
  readonly onProblem: (problem: PorchlightError | undefined) => void;
  /** The person has decided against it, or the server has: no code is asked for again without a person. */
  readonly onRefused: (problem: PorchlightError) => void;
  /** Approved: verifies and stores the tokens before they are used. Rejects when they are not to be used. */
  readonly accept: (tokens: TokenAnswer, signal: AbortSignal) => Promise<void>;
  /** The tokens of an approval that was withdrawn meanwhile. */
  readonly discard: (tokens: TokenAnswer, signal: AbortSignal) => Promise<void>;
}

interface Asked {
  readonly promise: Promise<ShownCode>;
  readonly resolve: (code: ShownCode) => void;
  readonly reject: (problem: PorchlightError) => void;
}

interface Flow {
  readonly withdraw: AbortController;
  /** Set once it is shown. */
  code?: DeviceCode;
  /** The server has given tokens for it. */
  approved?: true;
}

/** Getting approved: asks for codes, shows them, waits for the person. One flow at a time. */
export class Approvals {
  readonly #parts: ApprovalParts;
  readonly #wake = new Wake();
  #running = false;
  #asked: Asked | undefined;
  #flow: Flow | undefined;
  #ended: Promise<void> = Promise.resolve();
  #faults = 0;
  /** After a failed start: not before this (monotonic ms), unless a person asks. */
  #retryAt = Number.NEGATIVE_INFINITY;
  /** Codes that expired unanswered, and when the first of them was shown (monotonic ms). */
  #expired = 0;
  #firstShown: number | undefined;
  #lastShown = Number.NEGATIVE_INFINITY;

  constructor(parts: ApprovalParts) {
    this.#parts = parts;
  }

  async run(signal: AbortSignal): Promise<void> {
    this.#running = true;
    while (!signal.aborted) {
      const wait = this.#asked === undefined ? this.#pause() : 0;
      if (wait > 0) {
        await this.#wake.wait(wait, signal);
        continue;
      }
      this.#ended = this.#attempt(signal);
      await this.#ended;
    }
    this.#running = false;
    this.#answer((asked) => asked.reject(new PorchlightError('stopping')));
  }

  /** A code has been shown, and what comes of it is not known yet (or is being verified and stored). */
  get pending(): boolean {
    return this.#flow?.code !== undefined;
  }

  /** A code for a person who is there: the one being shown while it has a minute left, otherwise a new one. */
  request(): Promise<ShownCode> {
    if (!this.#running) return Promise.reject(new PorchlightError('stopping'));
    const code = this.#flow?.code;
    if (code !== undefined && code.expires - this.#parts.clock.monotonic() > WORTH_SHOWING)
      return Promise.resolve(code.shown);
    this.#asked ??= deferred();
    if (code !== undefined) this.#flow?.withdraw.abort();
    this.#wake.ring();
    return this.#asked.promise;
  }

  /** Withdraws what is under way and waits for its end; tokens that still come are given back. */
  async withdraw(): Promise<void> {
    this.#answer((asked) => asked.reject(new PorchlightError('approval_expired', 'The request was withdrawn.')));
    this.#flow?.withdraw.abort('discard');
    await this.#ended;
  }

  /** What is due is judged anew, for something outside has changed. */
  reconsider(): void {
    this.#wake.ring();
  }

  #answer(how: (asked: Asked) => void): void {
    if (this.#asked !== undefined) how(this.#asked);
    this.#asked = undefined;
  }

  /** Milliseconds until a code may be asked for without a person. */
  #pause(): number {
    const { clock, interactive, wanted } = this.#parts;
    if (!wanted()) return Number.POSITIVE_INFINITY;
    const now = clock.monotonic();
    const retry = Math.max(0, this.#retryAt - now);
    if (this.#firstShown === undefined) return retry;
    const spent = this.#expired > REPLACEMENTS || now - this.#firstShown >= REPLACING;
    if (spent && !interactive) return Number.POSITIVE_INFINITY;
    // A server whose codes die at once gets fewer and fewer of them to give; those that live for a minute wait for nothing here.
    const pace = spent
      ? TERMINAL_PACE
      : this.#expired < 2
        ? 0
        : Math.min(TERMINAL_PACE, PACE * 2 ** (this.#expired - 2));
    return Math.max(retry, this.#lastShown + pace - now);
  }

  async #attempt(signal: AbortSignal): Promise<void> {
    const { server, clock, log, onCode, onProblem, accept, discard } = this.#parts;
    const flow: Flow = { withdraw: new AbortController() };
    this.#flow = flow;
    try {
      const code = await this.#start(signal);
      if (code === undefined || flow.withdraw.signal.aborted) return;
      flow.code = code;
      this.#firstShown ??= clock.monotonic();
      this.#lastShown = clock.monotonic();
      onProblem(undefined);
      onCode(code.shown);
      this.#answer((asked) => asked.resolve(code.shown));
      log.info({ expires_at: new Date(code.shown.expires_at).toISOString() }, 'waiting for a person to approve');
      const tokens = await awaitApproval(server, code, {
        clock,
        signal,
        withdrawn: flow.withdraw.signal,
        onFault: onProblem,
      });
      flow.approved = true;
      onCode(undefined);
      if (flow.withdraw.signal.reason === 'discard') await discard(tokens, signal);
      else await accept(tokens, signal);
    } catch (thrown) {
      const problem = asPorchlightError(thrown);
      if (flow.code === undefined) this.#answer((asked) => asked.reject(problem));
      this.#failed(problem, flow, signal);
    } finally {
      this.#flow = undefined;
      if (flow.code !== undefined) onCode(undefined);
    }
  }

  /** The device authorization request. Undefined when it failed; who asked is told, and the next try is set. */
  async #start(signal: AbortSignal): Promise<DeviceCode | undefined> {
    const { server, clock, random, log, onProblem, onRefused } = this.#parts;
    const reply = await server.start(signal);
    if (reply.kind === 'answered') {
      this.#faults = 0;
      return reply.value;
    }
    // Authentik throttles this endpoint with slow_down and 429 (goauthentik: device_backchannel.py); it passes.
    // An answer that makes no sense decides nothing either: a server in mid-update heals, a wrong configuration does not.
    const passes = reply.kind === 'refused' ? reply.error === 'slow_down' : reply.problem.code !== 'config_invalid';
    const problem =
      reply.kind === 'refused'
        ? passes
          ? new PorchlightError('server_unreachable', 'The authorization server asks us to come back later.')
          : verdict(reply.error, reply.description)
        : reply.problem;
    if (passes) {
      this.#faults += 1;
      const wait = backOff(START, this.#faults, random, reply.kind === 'fault' ? reply.retryAfter : START.longest);
      this.#retryAt = clock.monotonic() + wait;
      if (this.#faults === 1) log.warn({ code: problem.code, problem: problem.message }, 'no code yet; trying again');
      onProblem(problem);
    } else onRefused(problem);
    this.#answer((asked) => asked.reject(problem));
    return undefined;
  }

  #failed(problem: PorchlightError, { withdraw, approved }: Flow, signal: AbortSignal): void {
    const { log, onProblem, onRefused } = this.#parts;
    if (signal.aborted || withdraw.signal.aborted) return;
    log.warn({ code: problem.code, problem: problem.message }, 'not approved');
    // Nobody decided anything: the code is used up, and is replaced like one that expired, as often and no more.
    if (problem.code === 'approval_expired' || (problem.code === 'server_answer' && approved === undefined)) {
      this.#expired += 1;
      onProblem(problem);
    } else onRefused(problem);
  }
}

function deferred(): Asked {
  let resolve: Asked['resolve'] | undefined;
  let reject: Asked['reject'] | undefined;
  const promise = new Promise<ShownCode>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  if (resolve === undefined || reject === undefined) throw new PorchlightError('internal');
  return { promise, resolve, reject };
}
