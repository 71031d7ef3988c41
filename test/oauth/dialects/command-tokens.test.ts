import { beforeAll, describe, expect, it } from 'vitest';
import { DIALECTS, type DialectId } from '../../../src/oauth/dialects/index.ts';
import { NO_JWT, type TokenProfile } from '../../../src/token-profile.ts';
import {
  AUDIENCE,
  bench,
  codeOf,
  ISSUER,
  type Members,
  NOW,
  type Signer,
  signer,
  tokenOf,
} from '../../access/fixtures.ts';

let key: Signer;
beforeAll(async () => {
  key = await signer('ES256', 'key-1');
});

interface Sample {
  readonly header: Members;
  readonly claims: Members;
  /** Who it speaks for. */
  readonly person: string;
  /** The dialects that take it. */
  readonly takenBy: readonly DialectId[];
}

const times = { iat: NOW, exp: NOW + 300 };
/** No member of RFC 9068 that the vendor does not have. */
const nothing = { client_id: undefined, scope: undefined, jti: undefined, sub: undefined };

/** Access tokens as each vendor documents them, for the same API, with the same scope. */
const SAMPLES: Readonly<Record<string, Sample>> = {
  'RFC 9068': {
    header: {},
    claims: { sub: 'ada', client_id: 'phone', jti: 'x', scope: 'lights:control' },
    person: 'ada',
    takenBy: ['standard', 'auth0'],
  },
  // Salesforce Mobile SDK: JwtAccessTokenTest.
  Salesforce: {
    header: { typ: 'JWT', ver: '1.0', tty: 'sfdc-core-token', tnk: 'core/prod/00DSG000009FYVd2AO' },
    claims: {
      ...nothing,
      scp: 'refresh_token web lights:control',
      aud: [AUDIENCE],
      sub: 'uid:005x00000012Q9PAAU',
      nbf: NOW - 15,
      mty: 'oauth',
      sfi: 'some-sfi',
      roles: [],
      hsc: false,
      client_id: 'phone',
    },
    person: '005x00000012Q9PAAU',
    takenBy: ['salesforce'],
  },
  // MicrosoftDocs/entra-docs: access-token-claims-reference.
  'Entra v2.0': {
    header: { typ: 'JWT' },
    claims: {
      ...nothing,
      azp: 'phone',
      azpacr: '0',
      oid: '690222be-ff1a-4d56-abd1-7e4f7d38e474',
      scp: 'lights:control',
      sub: 'pairwise-for-the-api',
      tid: '8eaef023-2b34-4da1-9baa-8bc8c9d6a490',
      uti: 'fqiBqXLPj0eQa82S-IYFAA',
      ver: '2.0',
      nbf: NOW,
    },
    person: '690222be-ff1a-4d56-abd1-7e4f7d38e474',
    takenBy: ['entra'],
  },
  'Entra v1.0': {
    header: { typ: 'JWT', x5t: 'key-1' },
    claims: {
      ...nothing,
      appid: 'phone',
      appidacr: '0',
      amr: ['pwd'],
      oid: '690222be-ff1a-4d56-abd1-7e4f7d38e474',
      scp: 'lights:control',
      sub: 'pairwise-for-the-api',
      ver: '1.0',
    },
    person: '690222be-ff1a-4d56-abd1-7e4f7d38e474',
    takenBy: ['entra'],
  },
  'Entra, an application': {
    header: { typ: 'JWT' },
    claims: {
      ...nothing,
      azp: 'phone',
      oid: 'oid-of-the-app',
      sub: 'oid-of-the-app',
      roles: ['lights:control'],
      ver: '2.0',
    },
    person: 'oid-of-the-app',
    takenBy: ['entra'],
  },
  // auth0.com/docs/secure/tokens/access-tokens/access-token-profiles.
  'Auth0, its own profile': {
    header: { typ: 'JWT' },
    claims: {
      ...nothing,
      sub: 'auth0|123456',
      aud: [AUDIENCE, 'https://my-domain.auth0.com/userinfo'],
      azp: 'phone',
      scope: 'openid profile lights:control',
      gty: 'device_code',
    },
    person: 'auth0|123456',
    takenBy: ['auth0'],
  },
  'Auth0, RFC 9068 profile': {
    header: { typ: 'at+jwt' },
    claims: {
      ...nothing,
      sub: 'auth0|123456',
      aud: [AUDIENCE, 'https://my-domain.auth0.com/userinfo'],
      client_id: 'phone',
      jti: '73WakrfVbNJBaAmhQtEeDv',
      scope: 'openid lights:control',
    },
    person: 'auth0|123456',
    takenBy: ['standard', 'auth0'],
  },
  // support.okta.com: the-typ-field-is-missing-from-the-access-token-header; developer.okta.com: reference/api/oidc.
  'Okta, a custom authorization server': {
    header: { typ: undefined },
    claims: {
      ...nothing,
      ver: 1,
      jti: 'AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE',
      sub: 'ada@example.com',
      cid: 'phone',
      uid: '00ujmkLgagxeRrAg20g3',
      scp: ['openid', 'lights:control'],
    },
    person: '00ujmkLgagxeRrAg20g3',
    takenBy: ['okta'],
  },
  // keycloak: AccessToken.java, TokenUtil.java.
  Keycloak: {
    header: { typ: 'JWT' },
    claims: {
      ...nothing,
      jti: 'onrtac:0b4d',
      sub: 'e3c2',
      typ: 'Bearer',
      azp: 'phone',
      sid: 's',
      acr: '1',
      realm_access: { roles: [] },
      scope: 'openid profile lights:control',
    },
    person: 'e3c2',
    // An Auth0 token looks the same but for "typ": the issuer tells them apart.
    takenBy: ['keycloak', 'auth0'],
  },
  'Keycloak, with at+jwt switched on': {
    header: { typ: 'at+jwt' },
    claims: { ...nothing, jti: 'x', sub: 'e3c2', typ: 'Bearer', azp: 'phone', scope: 'lights:control' },
    person: 'e3c2',
    takenBy: ['keycloak', 'auth0'],
  },
};

const PROFILES = Object.values(DIALECTS).map(({ id, commandTokens }) => [id, commandTokens ?? NO_JWT] as const);

async function judged(
  profile: TokenProfile,
  { header, claims }: Pick<Sample, 'header' | 'claims'>,
  audience = AUDIENCE,
) {
  const token = await tokenOf(key, { ...times, iss: ISSUER, ...claims }, header);
  const { verifier } = bench([key], { profile, audience, principals: ['phone', 'tv'], ownClientId: 'porchlight' });
  return verifier.verify(token, 'control');
}

describe.each(Object.entries(SAMPLES))('an access token as %s issues it', (_vendor, sample) => {
  it.each(PROFILES)(`under the profile of %s`, async (id, profile) => {
    const work = judged(profile, sample);
    if (sample.takenBy.some((taker) => taker === id)) {
      expect(await work).toMatchObject({ subject: sample.person, clientId: 'phone' });
    } else expect(await codeOf(work)).toMatch(/^token_(invalid|scope)$/);
  });
});

/** id_tokens as the vendors document them, issued to the client "phone". */
const ID_TOKENS: Readonly<Record<string, { readonly header: Members; readonly claims: Members }>> = {
  salesforce: {
    header: { typ: 'JWT' },
    claims: {
      sub: 'https://login.salesforce.com/id/00Dx0000000BV7zEAG/005x00000012Q9PAAU',
      at_hash: 'x',
      nonce: 'y',
      user_id: '005x00000012Q9PAAU',
      organization_id: '00Dx0000000BV7zEAG',
    },
  },
  entra: {
    header: { typ: 'JWT' },
    claims: {
      sub: 'pairwise',
      oid: 'o',
      ver: '2.0',
      uti: 'u',
      rh: 'r',
      preferred_username: 'ada@example.com',
      roles: ['lights:control'],
    },
  },
  auth0: { header: { typ: 'JWT' }, claims: { sub: 'auth0|1', sid: 's', email: 'ada@example.com' } },
  okta: {
    header: { typ: undefined },
    claims: { sub: '00ujmkLgagxeRrAg20g3', ver: 1, jti: 'ID.x', amr: ['pwd'], idp: '00o', at_hash: 'x' },
  },
  keycloak: {
    header: { typ: 'JWT' },
    claims: { sub: 'e3c2', jti: 'x', typ: 'ID', azp: 'phone', at_hash: 'x', sid: 's', acr: '1' },
  },
  google: { header: { typ: 'JWT' }, claims: { sub: '1101', azp: 'phone', at_hash: 'x' } },
};

describe.each(Object.entries(ID_TOKENS))('an id_token of %s', (vendor, { header, claims }) => {
  // The worst configuration: access.audience is the client's own id, so that the audience fits.
  const worst = { ...nothing, aud: 'phone', ...claims };
  it.each(PROFILES)('commands nothing under the profile of %s', async (_id, profile) => {
    const code = await codeOf(judged(profile, { header, claims: worst }, 'phone'));
    expect(['token_invalid', 'token_scope']).toContain(code);
  });

  const own = PROFILES.find(([id]) => id === vendor)?.[1];
  it("is not even taken for an access token by its own server's profile", async () => {
    expect(await codeOf(judged(own ?? NO_JWT, { header, claims: worst }, 'phone'))).toBe('token_invalid');
  });

  it('commands nothing when an administrator has put the scope into it', async () => {
    const scoped = {
      ...worst,
      scope: 'lights:control',
      scp: vendor === 'okta' ? ['lights:control'] : 'lights:control',
    };
    expect(await codeOf(judged(own ?? NO_JWT, { header, claims: scoped }, 'phone'))).toBe('token_invalid');
  });
});

it.each([
  ['salesforce', 'at_hash'],
  ['salesforce', 'nonce'],
  ['entra', 'at_hash'],
  ['entra', 'nonce'],
  ['auth0', 'c_hash'],
  ['auth0', 'nonce'],
  ['okta', 'at_hash'],
  ['okta', 'nonce'],
] as const)('a token of %s with all that an access token has, and %s, is an id_token', async (id, claim) => {
  const [sample] = Object.values(SAMPLES).filter(({ takenBy }) => takenBy[0] === id);
  const { header, claims } = sample ?? { header: {}, claims: {} };
  const profile = DIALECTS[id].commandTokens ?? NO_JWT;
  expect(await codeOf(judged(profile, { header, claims }))).toBe('accepted');
  for (const value of ['x', '', null]) {
    expect(await codeOf(judged(profile, { header, claims: { ...claims, [claim]: value } }))).toBe('token_invalid');
  }
});

describe('Keycloak signs more kinds of tokens with the same keys', () => {
  const profile = DIALECTS.keycloak.commandTokens ?? NO_JWT;
  const { header, claims } = SAMPLES['Keycloak'] ?? { header: {}, claims: {} };
  it.each(['ID', 'Refresh', 'Offline', 'Logout', 'bearer', '', ['Bearer'], null, undefined])(
    'typ %j is refused',
    async (typ) => {
      expect(await codeOf(judged(profile, { header, claims: { ...claims, typ } }))).toBe('token_invalid');
    },
  );

  it('and DPoP is taken', async () => {
    expect(await judged(profile, { header, claims: { ...claims, typ: 'DPoP' } })).toMatchObject({ clientId: 'phone' });
  });
});

describe('the owner', () => {
  /** Who approved, by the id_token; who commands, by the access token. */
  it.each([
    ['salesforce', 'Salesforce', '005x00000012Q9PAAU'],
    ['salesforce', 'Salesforce', '005x00000012Q9PAAU', { sub: 'uid:005x00000012Q9P' }],
    ['entra', 'Entra v2.0', '690222be-ff1a-4d56-abd1-7e4f7d38e474'],
    ['okta', 'Okta, a custom authorization server', '00ujmkLgagxeRrAg20g3'],
    ['auth0', 'Auth0, its own profile', 'auth0|123456'],
  ] as const)('commands with a token of %s (%s)', async (id, sample, owner, changed: Members = {}) => {
    const { header, claims } = SAMPLES[sample] ?? { header: {}, claims: {} };
    const token = await tokenOf(key, { ...times, iss: ISSUER, ...claims, ...changed }, header);
    const profile = DIALECTS[id].commandTokens ?? NO_JWT;
    const { verifier } = bench([key], { profile, principals: ['owner'], owner: () => owner });
    expect(await verifier.verify(token, 'control')).toMatchObject({ by: 'owner' });
  });

  it("is nobody who chose the owner's id as a login (Okta)", async () => {
    const { header, claims } = SAMPLES['Okta, a custom authorization server'] ?? { header: {}, claims: {} };
    const profile = DIALECTS.okta.commandTokens ?? NO_JWT;
    const token = await tokenOf(key, { ...times, iss: ISSUER, ...claims, uid: '00uMALLORY', sub: '00uOWNER' }, header);
    const { verifier } = bench([key], { profile, principals: ['owner'], owner: () => '00uOWNER' });
    expect(await codeOf(verifier.verify(token, 'control'))).toBe('principal_unknown');
  });

  it.each([
    ['uid:005x00000012Q9P', '005x00000012Q9PAAU'],
    ['https://login.salesforce.com/id/00Dx0000000BV7z/005x00000012Q9P', '005x00000012Q9PAAU'],
    ['uid:005ABCDEFGHIJKL', '005ABCDEFGHIJKLY55'],
    ['uid:005abcdefghijkl', '005abcdefghijklAAA'],
    ['uid:001x00000012Q9PAAU', undefined],
    ['uid:005x00000012Q9', undefined],
    ['https://evil.example/?x=/id/00D/005x00000012Q9P', undefined],
    ['005x00000012Q9P', undefined],
  ])('of Salesforce is named by the user id: %s', (sub, id) => {
    expect(DIALECTS.salesforce.commandTokens?.person?.({ sub })).toBe(id);
  });
});

it('an issuer with opaque tokens has no JWT that commands, and says what to do', async () => {
  await expect(judged(NO_JWT, SAMPLES['RFC 9068'] ?? { header: {}, claims: {} })).rejects.toMatchObject({
    code: 'token_invalid',
    hint: expect.stringContaining('access.issuer'),
  });
});
