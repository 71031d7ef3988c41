import type { Config } from './config/schema.ts';
import { DIALECTS, limitsOf } from './oauth/dialects/index.ts';

/** What the configured kind of authorization server can not do for this configuration: one sentence each, with its key. */
export function dialectLimits({
  authorization,
  access,
  home,
}: Pick<Config, 'authorization' | 'access' | 'home'>): string[] {
  const limits = limitsOf(DIALECTS[authorization.dialect], {
    ...authorization,
    commandIssuer: access.audience === undefined ? undefined : access.issuer,
    homeGiven: home?.latitude !== undefined && home.longitude !== undefined,
  });
  return limits.map((says) => `authorization.dialect: ${says}`);
}
