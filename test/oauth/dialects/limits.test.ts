import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { registerConfig } from '../../../src/cli/config.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'porchlight-limits-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const HOME = 'home: {latitude: 48.2, longitude: 16.4, time_zone: Europe/Vienna}';

/** What `config check` warns of. */
async function warnings(authorization: string, ...sections: readonly string[]): Promise<string> {
  const file = join(folder, 'porchlight.yaml');
  writeFileSync(file, [`authorization: {client_id: porchlight, ${authorization}}`, ...sections, ''].join('\n'));
  let said = '';
  const program = new Command('porchlight').exitOverride();
  registerConfig(program, {
    stdout: () => undefined,
    stderr: (text) => {
      said += text;
    },
    env: {},
    colours: false,
    isTerminal: false,
    logsToTerminal: false,
    pid: 1,
    uid: 0,
    signal: new AbortController().signal,
  });
  await program.parseAsync(['config', 'check', file], { from: 'user' });
  return said;
}

const TAKES = 'access: {audience: "https://porchlight.example/porch-pi"}';
const TAKES_OTHERS =
  'access: {audience: "https://porchlight.example/porch-pi", issuer: "https://sso.example.com", principals: [phone]}';

describe('config check says what the server cannot do', () => {
  it.each([
    [
      'google',
      'https://accounts.google.com',
      /opaque, so they cannot authorize commands: set access\.issuer to a server that issues JWTs/,
    ],
    ['github', 'https://github.com', /opaque, so they cannot authorize commands: set access\.issuer/],
    ['okta', 'https://example.okta.com', /set access\.issuer to a custom authorization server/],
    [
      'salesforce',
      'https://login.salesforce.com',
      /tick "Issue JSON Web Token.*\n.*set access\.issuer to that address, not to login/,
    ],
    ['auth0', 'https://tenant.auth0.com/', /register an API and set access\.audience/],
    ['keycloak', 'https://sso.example.com/realms/home', /mapper of type Audience/],
    ['entra', 'https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0', /"Expose an API"/],
  ])('%s: about tokens that shall command', async (dialect, issuer, words) => {
    const asked = `dialect: ${dialect}, issuer: "${issuer}"`;
    expect(await warnings(asked, TAKES)).toMatch(words);
    expect(await warnings(asked, TAKES_OTHERS)).not.toMatch(words);
    expect(await warnings(asked)).not.toMatch(words);
  });

  it.each([
    ['google', 'https://accounts.google.com', '', /client secret at each poll: set client_authentication/],
    ['entra', 'https://login.microsoftonline.com/common/v2.0', '', /stand for many tenants.*write the tenant id/],
    ['auth0', 'https://tenant.auth0.com', '', /ends with a slash/],
    ['keycloak', 'https://sso.example.com', '', /is a realm/],
    ['github', 'https://github.com', '', /does not say who approved/],
    ['github', 'https://github.com', '', /remove the app in GitHub/],
    ['entra', 'https://login.microsoftonline.com/x/v2.0', '', /offers no revocation/],
    ['salesforce', 'https://example.my.salesforce.com', '', /five approvals for each app and user/],
    ['google', 'https://accounts.google.com', '', /set home\.latitude and home\.longitude/],
    [
      'entra',
      'https://login.microsoftonline.com/x/v2.0',
      ', resource: "https://broker.example.com"',
      /takes no authorization\.resource/,
    ],
  ])('%s (%s)', async (dialect, issuer, more, words) => {
    expect(await warnings(`dialect: ${dialect}, issuer: "${issuer}"${more}`)).toMatch(words);
  });

  it('and is silent where the configuration does not run into it', async () => {
    const none = await warnings('issuer: "https://auth.example.com"', TAKES, HOME);
    expect(none).toBe('');
    const keycloak = await warnings(
      'dialect: keycloak, issuer: "https://sso.example.com/realms/home"',
      TAKES_OTHERS,
      HOME,
    );
    expect(keycloak).toBe('');
    const google = await warnings(
      'dialect: google, issuer: "https://accounts.google.com", client_authentication: client_secret_post, client_secret: GOCSPX-x',
      TAKES_OTHERS,
      HOME,
    );
    expect(google).not.toMatch(/authorization\.dialect/);
  });
});
