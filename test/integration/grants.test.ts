import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AuthorizationServer, startAuthorizationServer } from '../../src/demo/authorization-server.ts';
import { type AirUnderTest, startAir } from '../support/air.ts';
import { Daemon } from '../support/daemon.ts';
import { AUDIENCE, approve, LAMPS, PORCH } from '../support/home.ts';
import { type Mosquitto, mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';
import { Sender } from '../support/sender.ts';

/** Each way of being authorized, end to end: real server, broker, radio and daemon; at the end a lamp is lit. */

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const PEM = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const PUBLIC: JWK = { ...publicKey.export({ format: 'jwk' }), kty: 'EC', kid: 'porch-pi-1', use: 'sig' };

interface Home {
  readonly server: AuthorizationServer;
  readonly daemon: Daemon;
  close(): Promise<void>;
}

const authorized = (status: { authorization: { state: string }; broker: { connected: boolean } }): boolean =>
  status.authorization.state === 'authorized' && status.broker.connected;

describe.skipIf(mosquittoMissing() !== undefined)('grants, end to end', () => {
  let folder: string;
  let keyFile: string;
  let broker: Mosquitto;
  let air: AirUnderTest;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'porchlight-key-'));
    keyFile = join(folder, 'client-key.pem');
    await writeFile(keyFile, PEM, { mode: 0o600 });
    [broker, air] = await Promise.all([startMosquitto(), startAir(LAMPS, { connectionIntervalMs: 15 })]);
  });

  afterAll(async () => {
    await Promise.all([air?.stop(), broker?.stop(), rm(folder, { recursive: true, force: true })]);
  });

  async function home(
    offers: Partial<Parameters<typeof startAuthorizationServer>[0]>,
    authorization: Record<string, unknown>,
    access: Record<string, unknown> = {},
  ): Promise<Home> {
    const server = await startAuthorizationServer({
      gatewayClientId: 'porchlight',
      audience: AUDIENCE,
      intervalSeconds: 1,
      ...offers,
    });
    const daemon = await Daemon.prepare({
      authorization: {
        issuer: server.issuer,
        client_id: 'porchlight',
        scopes: ['openid', 'offline_access', 'profile'],
        ...authorization,
      },
      access: { audience: AUDIENCE, max_age: '10s', ...access },
      mqtt: { url: broker.url },
      bluetooth: { backend: 'h4', h4: air.address },
      clock: { trust: 'system' },
      lights: [{ id: 'porch', name: 'Porch', address: PORCH }],
      log: { level: 'debug' },
    });
    const close = async (): Promise<void> => {
      await daemon.remove();
      await server.close();
    };
    return { server, daemon, close };
  }

  /** A command with a token of another client lights the lamp; the lamp itself says so. */
  async function light({ server, daemon }: Home, by: string): Promise<void> {
    await air.set(PORCH, { on: false });
    const phone = await Sender.connect(broker.url);
    const token = await server.tokenFor(by === 'demo-phone' ? { grant: 'client_credentials' } : {});
    const outcome = await phone.command('porch', { state: 'ON' }, { token });
    expect(outcome).toMatchObject({ outcome: 'confirmed', by });
    expect((await air.lamp(PORCH)).state).toMatchObject({ on: true });
    await phone.close();
    expect(daemon.stderr).not.toMatch(/eyJ|PRIVATE KEY/);
  }

  async function restart({ daemon }: Home): Promise<void> {
    await daemon.stop();
    daemon.start();
    await daemon.until(authorized, 'authorized after a restart');
  }
  it('jwt_bearer: approved in advance by an installer, nobody sees a code', async () => {
    const made = await home(
      { gatewayGrants: ['jwt_bearer'], gatewayKey: PUBLIC, preApproved: ['owner'] },
      {
        grant: 'jwt_bearer',
        client_authentication: 'private_key_jwt',
        client_key_file: keyFile,
        client_key_id: 'porch-pi-1',
        assertion: { subject: 'owner' },
        scopes: ['openid', 'profile'],
      },
    );
    try {
      made.daemon.start();
      const { authorization } = await made.daemon.until(authorized, 'authorized');
      expect(authorization).toMatchObject({ state: 'authorized', subject: 'owner' });
      expect(await made.daemon.ask('POST', '/api/authorization/code')).toMatchObject({
        code: 'wrong_use',
        message: expect.stringContaining('nothing to approve'),
      });
      await restart(made);
      await light(made, 'owner');
      expect(made.daemon.stdout).toBe('');
    } finally {
      await made.close();
    }
  });

  it('client_credentials: authorized by its own credentials; with no owner, others command by name', async () => {
    const made = await home(
      { gatewayGrants: ['client_credentials'], gatewaySecret: 'machine-secret' },
      {
        grant: 'client_credentials',
        client_authentication: 'client_secret_basic',
        client_secret: 'machine-secret',
        scopes: [],
      },
      { principals: ['demo-phone'] },
    );
    try {
      made.daemon.start();
      const { authorization } = await made.daemon.until(authorized, 'authorized');
      expect(authorization.subject).toBeUndefined();
      await light(made, 'demo-phone');
      expect(made.daemon.stderr).not.toContain('machine-secret');
    } finally {
      await made.close();
    }
  });

  it('device_code with private_key_jwt: approved by a person, the client proves itself with its key', async () => {
    const made = await home(
      { gatewayKey: PUBLIC },
      { client_authentication: 'private_key_jwt', client_key: PEM, client_key_id: 'porch-pi-1' },
    );
    try {
      await approve(made);
      await light(made, 'owner');
    } finally {
      await made.close();
    }
  });

  it('device_code with DPoP and nonces: the key comes along over a restart, and refreshing goes on', async () => {
    const made = await home({ dpop: 'nonce', dpopBound: true, accessTokenTtlSeconds: 6 }, { dpop: 'required' });
    try {
      await approve(made);
      await restart(made);
      const before = (await made.daemon.status()).authorization.expires_at;
      await made.daemon.until(
        (status) => authorized(status) && status.authorization.expires_at > before,
        'refreshed after the restart',
      );
      await light(made, 'owner');
    } finally {
      await made.close();
    }
  });
});
