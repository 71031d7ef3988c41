import { Answers } from './access/answers.ts';
import type { Audit } from './access/audit/audit.ts';
import { Gate } from './access/gate.ts';
import { Introspection } from './access/introspection.ts';
import { JwksSource } from './access/jwks.ts';
import { Policy } from './access/policy.ts';
import { CommandProofs } from './access/proof.ts';
import { TokenVerifier } from './access/token.ts';
import { trustedSince } from './access/trusted-since.ts';
import type { BeingAuthorized } from './being-authorized.ts';
import type { Config } from './config/schema.ts';
import { PorchlightError } from './errors.ts';
import type { Lamps } from './lamps.ts';
import type { Clock } from './lights/port.ts';
import type { Log } from './log.ts';
import { DIALECTS } from './oauth/dialects/index.ts';
import { discover } from './oauth/discovery.ts';
import type { Session } from './oauth/session.ts';
import { CommandRoad } from './road.ts';
import type { StateDirectory } from './storage/state-directory.ts';
import type { Task } from './task-group.ts';
import { NO_JWT } from './token-profile.ts';

export interface AuthorizingOthersParts {
  readonly config: Config;
  readonly state: StateDirectory;
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  readonly log: Log;
  readonly authorized: BeingAuthorized;
  readonly lamps: Lamps;
  readonly audit: Audit;
}

/** The gateway as a resource server, put together: the road that every command takes, and the gate on it. */
export interface AuthorizingOthers {
  readonly road: CommandRoad;
  /** The authorization server can be reached again: worth asking for the keys of tokens, where there are none yet. */
  readonly nudge: () => void;
  readonly run: Task;
  /** After the last command. */
  readonly close: () => Promise<void>;
}

export function authorizingOthers(parts: AuthorizingOthersParts): AuthorizingOthers {
  const { config, state, clock, log, lamps, audit } = parts;
  const { trust, session, home } = parts.authorized;
  const { access, authorization } = config;
  const maxAgeMs = access.max_age;
  const clockTrusted = (): boolean => trust.trusted;
  // A subject is a name within its issuer (RFC 9068 section 5): the same one of another issuer is somebody else.
  const isOurs = access.issuer === authorization.issuer;
  const owner = (): string | undefined => (isOurs ? session.subject : undefined);

  const jwks = new JwksSource({
    locate: (inner) => jwksAddress(parts, inner),
    fetch: parts.fetch,
    store: { issuer: access.issuer, file: state.file('keys.json') },
    clock,
    log,
  });
  const verifier = new TokenVerifier({
    issuer: access.issuer,
    audience: access.audience,
    controlScope: access.scopes.control,
    readScope: access.scopes.read,
    ownClientId: authorization.client_id,
    principals: access.principals,
    owner,
    authorized: parts.authorized.isOpen,
    jwks,
    clock,
    clockTrusted,
    ...opaqueTokens(parts),
  });
  const policy = new Policy({
    rows: access.policy,
    unsigned: lamps.namedLights(access.unsigned),
    audience: access.audience,
    owner,
    changesOf: (command) => lamps.changesOf(command),
    lampsOf: (name) => lamps.membersOf('lights', name),
    timeZone: home.timeZone,
    clock,
    clockTrusted,
    maxAgeMs,
  });
  const proofs = new CommandProofs({
    gatewayId: config.gateway.id,
    maxAgeMs,
    clock,
    trustedSince: trustedSince(trust, clock),
    file: state.file('proofs.json'),
    log,
  });
  const gate = new Gate({ verifier, proofs, require: access.require, policy, maxAgeMs, clock, clockTrusted, log });
  const answers = new Answers({ maxAgeMs, clock, isRepeat: (proof) => proofs.isRepeat(proof) });
  return {
    road: new CommandRoad({ gate, answers, audit: audit.commands, house: lamps.house, clock, log }),
    nudge: () => jwks.nudge(),
    // Without an audience no token is accepted, so no key is needed.
    run: (signal) => (access.audience === undefined ? Promise.resolve() : jwks.run(signal)),
    close: () => proofs.close(),
  };
}

/** How tokens of this issuer look, and whom to ask about those that say nothing to us. */
function opaqueTokens({ config, authorized, clock, log }: AuthorizingOthersParts) {
  const { access, authorization } = config;
  const isOurs = access.issuer === authorization.issuer;
  const dialect = DIALECTS[access.dialect ?? (isOurs ? authorization.dialect : 'standard')];
  const profile = dialect.commandTokens ?? NO_JWT;
  // Only the server that authorized this gateway can be asked by it.
  if (!isOurs || access.introspection === 'off') return { profile };
  const introspect = (token: string, signal: AbortSignal) => introspected(authorized.session, token, signal);
  return { profile, introspection: new Introspection({ introspect, issuer: access.issuer, profile, clock, log }) };
}

/** What the authorization server says of a token (RFC 7662). */
async function introspected(session: Session, token: string, signal: AbortSignal) {
  const reply = await session.introspect(token, signal);
  if (reply === 'not_offered') return reply;
  if (reply.kind === 'answered') return reply.value;
  throw reply.kind === 'refused' ? new PorchlightError('server_refused') : reply.problem;
}

/** Where the keys of those who issue command tokens are: given, or discovered. */
async function jwksAddress(
  { config, fetch }: Pick<AuthorizingOthersParts, 'config' | 'fetch'>,
  signal: AbortSignal,
): Promise<URL> {
  const { access, authorization } = config;
  const known =
    access.issuer === authorization.issuer
      ? { endpoints: authorization.endpoints, dialect: DIALECTS[authorization.dialect] }
      : {};
  const { jwks_uri } = await discover(access.issuer, { fetch, signal, needs: ['jwks_uri'], ...known });
  if (jwks_uri === undefined)
    throw new PorchlightError('server_answer', 'The issuer of command tokens publishes no keys.');
  return new URL(jwks_uri);
}
