import { asPorchlightError, PorchlightError } from '../../errors.ts';
import type { Dialect } from '../dialects/dialect.ts';
import { isTrustworthy } from '../discovery.ts';
import { readClaims } from '../identity.ts';
import { parseIssuer } from '../options.ts';
import type { GrantInfo, Session } from '../session.ts';
import { asProblem, type Problem } from '../status.ts';
import { type Reply, SIGNED_ANSWER } from '../wire.ts';
import { saidByClaims } from './claims.ts';
import { type HomeSource, homeOf, type Said } from './location.ts';
import { isUser, saidByIdentity, saidByQuery } from './salesforce.ts';
import { OWNERS_RECORD, queryUrl, userIn } from './soql.ts';

/** What is asked of the gateway's own authorization. */
export type HomeSession = Pick<Session, 'status' | 'grantInfo' | 'metadata' | 'resource' | 'onChange'>;

/** Of the section `authorization:`. */
export interface HomeOptions {
  readonly issuer: string;
  readonly client_id: string;
  /** RFC 8707: the access token was asked for something else than userinfo. */
  readonly resource?: string | undefined;
  /** SOQL; default: the owner's User record. */
  readonly home_query?: string | undefined;
}

export interface SourceParts {
  readonly session: HomeSession;
  /** How this kind of server tells the home. */
  readonly how: Dialect['home'];
  readonly options: HomeOptions;
}

/** What one round through the sources brought. */
export interface Reading {
  /** By source; a source that did not answer is absent, one that had nothing to say is empty. */
  readonly said: { readonly [S in HomeSource]?: Said };
  /** Why something is missing that could be there, if it is. */
  readonly problem?: Problem;
  /** It may pass: worth another try before tomorrow, not before `retryAfter` ms. */
  readonly again?: { readonly retryAfter?: number };
}

type Answer =
  | { readonly said: Said }
  | { readonly problem: PorchlightError; readonly again?: Reading['again'] }
  | undefined;
type Source = readonly [HomeSource, (signal: AbortSignal) => Promise<Answer>];

/** Asks one source after the other until the place and the time zone are known. Rejects only with `stopping`. */
export async function readHome(parts: SourceParts, info: GrantInfo, signal: AbortSignal): Promise<Reading> {
  const said: { [S in HomeSource]?: Said } = {};
  if (info.claims !== undefined) said.id_token = saidByClaims(info.claims);
  let failed: Exclude<Answer, undefined | { said: Said }> | undefined;
  for (const [source, ask] of sourcesOf(parts, info)) {
    if (isWhole(said)) break;
    const answer = await attempt(ask, signal);
    if (answer === undefined) continue;
    if ('said' in answer) said[source] = answer.said;
    // Of two failures, the one that will not pass says more.
    else if (failed === undefined || failed.again !== undefined) failed = answer;
  }
  if (failed === undefined || (parts.how === 'userinfo' ? isTold(said) : isWhole(said))) return { said };
  const { problem, again } = failed;
  // That there is no token right now is the authorization's trouble, and told there.
  const told = problem.code === 'not_authorized' ? {} : { problem: asProblem(problem) };
  return { said, ...told, ...(again === undefined ? {} : { again }) };
}

/** Whatever goes wrong with one source may pass, and costs nothing of what another has said. */
async function attempt(ask: Source[1], signal: AbortSignal): Promise<Answer> {
  try {
    return await ask(signal);
  } catch (thrown) {
    const problem = asPorchlightError(thrown);
    if (signal.aborted || problem.code === 'stopping') throw new PorchlightError('stopping');
    return { problem, again: {} };
  }
}

/** Coordinates and a time zone: there is nothing left to ask for. */
function isWhole(said: Reading['said']): boolean {
  const { latitude, time_zone } = homeOf(said);
  return latitude !== undefined && time_zone !== undefined;
}

/** All that the standard claims can tell is told: that the next source refuses is nobody's trouble. */
function isTold(said: Reading['said']): boolean {
  const { latitude, address, time_zone } = homeOf(said);
  return (latitude !== undefined || address !== undefined) && time_zone !== undefined;
}

function sourcesOf(parts: SourceParts, info: GrantInfo): readonly Source[] {
  switch (parts.how) {
    case 'userinfo':
      return [['userinfo', (signal) => askUserinfo(parts, info, signal)]];
    case 'salesforce':
      return [
        ['salesforce_query', (signal) => askQuery(parts, info, signal)],
        ['salesforce_identity', (signal) => askIdentity(parts, info, signal)],
      ];
    case 'none':
      return [];
  }
}

async function askUserinfo({ session, options }: SourceParts, info: GrantInfo, signal: AbortSignal): Promise<Answer> {
  // Without this scope there is no such endpoint for us (Core section 5.3), and nobody has asked for the home.
  if (session.status.scopes?.includes('openid') === false) return undefined;
  if (info.subject === undefined) return wrong('Nobody is known to have approved, so nobody can be asked about.');
  let url: string | undefined;
  try {
    url = (await session.metadata(signal)).userinfo_endpoint;
  } catch (thrown) {
    if (signal.aborted) throw new PorchlightError('stopping');
    const problem = asPorchlightError(thrown, 'server_unreachable');
    return problem.code === 'config_invalid' ? { problem } : { problem, again: {} };
  }
  if (url === undefined) return wrong('The authorization server has no userinfo endpoint to read the home from.');
  const reply = await session.resource('userinfo', url, signal);
  if (reply.kind === 'refused' && reply.error === SIGNED_ANSWER)
    return wrong('The userinfo endpoint signs its answers (JWT), which are not read here.', UNSIGNED);
  if (reply.kind === 'refused')
    return refused(
      reply,
      'tell where home is',
      options.resource === undefined
        ? 'Do authorization.scopes ask for openid, profile and address? Then approve anew: "porchlight login".'
        : 'The access token is for authorization.resource alone. Let the server put address and zoneinfo into the id_token, or give home in the configuration.',
    );
  return judged(reply, (body) => {
    // Core section 5.3.2: what is said of somebody else must not be used.
    if (body['sub'] !== info.subject) return wrong('The userinfo endpoint speaks of somebody else than who approved.');
    return { said: saidByClaims(readClaims(body)) };
  });
}

async function askQuery(parts: SourceParts, { kept }: GrantInfo, signal: AbortSignal): Promise<Answer> {
  const { session, options } = parts;
  const { scopes } = session.status;
  if (scopes !== undefined && !scopes.includes('api') && !scopes.includes('full')) return refusedForScope();
  const instance = trusted(kept?.['instance_url'], parts);
  const identity = trusted(kept?.['id'], parts);
  if (instance === undefined || identity === undefined)
    return wrong("Salesforce's token answer did not say where its API is, and who the user.");
  const user = userIn(identity);
  if (user === undefined) return wrong("The identity URL of Salesforce's token answer names no user.");
  const url = queryUrl(instance, options.home_query ?? OWNERS_RECORD, user);
  const reply = await session.resource('home', url, signal);
  if (reply.kind === 'refused') {
    if (reply.status === 403) return refusedForScope(`it refused the query (${reply.error}, HTTP 403)`);
    const hint = 'Check authorization.home_query, and that the owner may see what it asks for.';
    return refused(reply, 'answer the query for the home', hint);
  }
  return judged(reply, (body) => {
    const said = saidByQuery(body);
    return said === undefined ? wrong("Salesforce's answer to the query for the home has no records.") : { said };
  });
}

async function askIdentity(parts: SourceParts, { kept }: GrantInfo, signal: AbortSignal): Promise<Answer> {
  const identity = trusted(kept?.['id'], parts);
  if (identity === undefined) return wrong("Salesforce's token answer did not say who the user is.");
  const reply = await parts.session.resource('home', identity, signal);
  if (reply.kind === 'refused') {
    const hint = 'Ask for the scope id or api under authorization.scopes, and approve anew: "porchlight login".';
    return refused(reply, 'tell who the user is', hint);
  }
  return judged(reply, (body) =>
    isUser(body, identity.slice(identity.lastIndexOf('/') + 1))
      ? { said: saidByIdentity(body) }
      : wrong('The identity URL speaks of somebody else than who approved.'),
  );
}

/** An address that the token may be sent to. */
function trusted(text: string | undefined, { options }: SourceParts): string | undefined {
  return text !== undefined && isTrustworthy(text, parseIssuer(options.issuer)) ? text : undefined;
}

type Refusal = Extract<Reply<unknown>, { kind: 'refused' }>;

function refused({ error, status }: Refusal, what: string, hint: string): Answer {
  const message = `The authorization server refused to ${what} (${error}, HTTP ${status}).`;
  const problem = new PorchlightError('server_refused', message, { hint });
  return status >= 500 || status === 429 ? { problem, again: {} } : { problem };
}

function refusedForScope(said = 'the scope api was not granted'): Answer {
  const hint =
    'Add api to authorization.scopes, let the app and the owner use the API, and approve anew: "porchlight login".';
  return { problem: new PorchlightError('server_refused', `Salesforce tells no coordinates: ${said}.`, { hint }) };
}

const CONFIGURE = 'To go without, give home.latitude, home.longitude and home.time_zone in the configuration.';
const UNSIGNED = `Register the client without userinfo_signed_response_alg. ${CONFIGURE}`;

function wrong(message: string, hint = CONFIGURE): Answer {
  return { problem: new PorchlightError('server_answer', message, { hint }) };
}

function judged(
  reply: Exclude<Reply<Readonly<Record<string, unknown>>>, { kind: 'refused' }>,
  judge: (body: Readonly<Record<string, unknown>>) => Answer,
): Answer {
  if (reply.kind === 'answered') return judge(reply.value);
  const { problem } = reply;
  if (reply.kind === 'nonsense') return { problem };
  return { problem, again: reply.retryAfter === undefined ? {} : { retryAfter: reply.retryAfter } };
}
