import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { PorchlightError } from '../../src/errors.ts';

const EC = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const PEM = EC.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const JWK = JSON.stringify(EC.privateKey.export({ format: 'jwk' }));
const PUBLIC = EC.publicKey.export({ type: 'spki', format: 'pem' }).toString();
const X25519 = generateKeyPairSync('x25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

interface Given {
  readonly authorization?: string;
  readonly rest?: string;
  readonly files?: Readonly<Record<string, string>>;
}

function load({ authorization = '', rest = '', files = {} }: Given) {
  const yaml = `authorization:\n  issuer: https://a.example\n  client_id: c\n${authorization}\naccess: {audience: a}\n${rest}`;
  const disk: Readonly<Record<string, string>> = { '/p.yaml': yaml, ...files };
  return loadConfig({
    path: '/p.yaml',
    env: { HOME: '/home/me', CREDENTIALS_DIRECTORY: '/creds' },
    readFile: async (path) => {
      const content = disk[path];
      if (content === undefined) throw Object.assign(new Error('none'), { code: 'ENOENT' });
      return { bytes: Buffer.from(content) };
    },
  });
}

const refusal = async (given: Given): Promise<string> => {
  const thrown: unknown = await load(given).then(
    () => 'accepted',
    (error) => error,
  );
  return thrown instanceof PorchlightError ? thrown.message : String(thrown);
};

describe('the key that a client signs with', () => {
  const signs = '  client_authentication: private_key_jwt\n';

  it.each<[string, Given, string]>([
    ['a PEM file', { authorization: `${signs}  client_key_file: /k`, files: { '/k': PEM } }, PEM],
    ['a JWK file', { authorization: `${signs}  client_key_file: /k`, files: { '/k': JWK } }, JWK],
    ['a systemd credential', { authorization: signs, files: { '/creds/client_key': PEM } }, PEM],
    [
      'the configuration itself, over several lines',
      { authorization: `${signs}  client_key: |\n${PEM.replaceAll(/^(?=.)/gm, '    ')}` },
      PEM,
    ],
  ])('comes from %s', async (_, given, key) => {
    const { config } = await load(given);
    expect(config.authorization.client_key).toBe(key);
    expect(Object.keys(config.authorization)).not.toContain('client_key_file');
  });

  it.each<[string, Given, RegExp]>([
    ['missing', { authorization: signs }, /client_authentication: private_key_jwt needs client_key_file/],
    [
      'missing for an assertion',
      { authorization: '  grant: jwt_bearer\n  owner: me' },
      /grant: jwt_bearer needs client_key_file/,
    ],
    ['public', { authorization: `${signs}  client_key_file: /k`, files: { '/k': PUBLIC } }, /holds no private key/],
    ['of another use', { authorization: `${signs}  client_key_file: /k`, files: { '/k': X25519 } }, /no private key/],
    ['garbage', { authorization: `${signs}  client_key: hunter2` }, /client_key: holds no private key/],
    ['a broken JWK', { authorization: `${signs}  client_key_file: /k`, files: { '/k': '{"kty":"EC"' } }, /no private/],
    [
      'given twice',
      { authorization: `${signs}  client_key_file: /k\n  client_key: x`, files: { '/k': PEM } },
      /cannot be given together with client_key/,
    ],
  ])('that is %s is refused, and nothing of it repeated', async (_, given, words) => {
    const message = await refusal(given);
    expect(message).toMatch(words);
    expect(message).not.toMatch(/hunter2|BEGIN|"kty"/);
  });

  it('that nothing uses gets a warning', async () => {
    const { warnings } = await load({ authorization: '  client_key_file: /k', files: { '/k': PEM } });
    expect(warnings.join()).toContain('is not used: nothing is signed with it');
  });
});

describe('a grant', () => {
  it.each([
    ['implicit', /implicit grant hands the token .*RFC 9700 section 2\.1\.2.*use device_code/],
    ['password', /makes a person type their password .*RFC 9700 section 2\.4.*use device_code/],
  ])('%s is refused by name, with the reason', async (grant, words) => {
    expect(await refusal({ authorization: `  grant: ${grant}` })).toMatch(words);
  });

  it('client_credentials needs a client that proves who it is', async () => {
    expect(await refusal({ authorization: '  grant: client_credentials' })).toContain('needs client_authentication');
  });

  it('jwt_bearer needs somebody on whose behalf', async () => {
    const given = { authorization: '  grant: jwt_bearer\n  client_key_file: /k', files: { '/k': PEM } };
    expect(await refusal(given)).toContain('jwt_bearer needs assertion.subject');
    const { config } = await load({ ...given, authorization: `${given.authorization}\n  assertion: {subject: me}` });
    expect(config.authorization.assertion).toEqual({ subject: 'me' });
  });
});

describe('access.policy', () => {
  const withRow = (row: string) => {
    const yaml = `authorization: {issuer: "https://a.example", client_id: c}\naccess: {audience: a, policy: [${row}]}\nlights: [{id: porch, address: "be:ff:20:00:11:22"}]\n`;
    return loadConfig({
      path: '/p.yaml',
      env: { HOME: '/home/me' },
      readFile: async () => ({ bytes: Buffer.from(yaml) }),
    });
  };

  it('keeps rows as they are written', async () => {
    const { config } = await withRow(
      '{principals: [owner], lights: [porch], actions: [on, off], hours: [18:00-06:30]}',
    );
    expect(config.access.policy).toEqual([
      { principals: ['owner'], lights: ['porch'], actions: ['on', 'off'], hours: ['18:00-06:30'] },
    ]);
  });

  it.each([
    ['a lamp that is not there', '{lights: [proch]}', 'no light or group has this id; did you mean porch?'],
    ['an action that nobody knows', '{actions: [dim]}', 'expected one of on, off, toggle, brightness'],
    ['an hour that no clock shows', '{hours: ["25:00-26:00"]}', 'expected a span such as "18:00-23:30"'],
    ['a span of nothing', '{hours: ["18:00-18:00"]}', 'expected a span'],
    ['a misspelt key', '{light: [porch]}', 'access.policy[0].light: unknown key'],
    ['an empty list, which would read as "none" and as "all"', '{lights: []}', 'expected at least one light'],
  ])('refuses %s', async (_, row, words) => {
    await expect(withRow(row)).rejects.toThrow(words);
  });
});
