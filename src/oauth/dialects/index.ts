import { auth0 } from './auth0.ts';
import type { Dialect, Wishes } from './dialect.ts';
import { entra } from './entra.ts';
import { github } from './github.ts';
import { google } from './google.ts';
import { keycloak } from './keycloak.ts';
import { okta } from './okta.ts';
import { salesforce } from './salesforce.ts';
import { standard } from './standard.ts';

export type DialectId = 'standard' | 'salesforce' | 'google' | 'entra' | 'github' | 'auth0' | 'okta' | 'keycloak';

/** One entry for each kind of server; the keys are what `authorization.dialect` may say. */
export const DIALECTS: Readonly<Record<DialectId, Dialect>> = {
  standard,
  salesforce,
  google,
  entra,
  github,
  auth0,
  okta,
  keycloak,
};

/** What a configuration wishes and a kind of server can not do, one sentence each. */
export function limitsOf(dialect: Dialect, wishes: Wishes): readonly string[] {
  return dialect.rests.cannot.filter(({ matters }) => matters?.(wishes) ?? true).map(({ says }) => says);
}
