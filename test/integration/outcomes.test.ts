import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AUDIENCE, approve, type Home, PORCH, senderFor, startHome } from '../support/home.ts';
import { mosquittoMissing } from '../support/mosquitto.ts';
import type { Sender } from '../support/sender.ts';

const ON = { state: 'ON' };

/** Denials of strangers are answered once a second, so whoever wants the next answer waits that long. */
const quiet = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1050));

/** Each command ends in exactly one outcome with its code and a hint, and no byte reaches a lamp. */
describe.skipIf(mosquittoMissing() !== undefined)('a command that must not be obeyed', () => {
  let home: Home;
  let phone: Sender;
  let token: string;

  beforeAll(async () => {
    const far = { address: 'be:ff:20:00:99:99', name: 'Triones:FAR', family: 'triones' } as const;
    home = await startHome({
      lamps: [{ address: PORCH, name: 'Triones:F30200000152C', family: 'triones' }, far],
      config: {
        access: { audience: AUDIENCE, max_age: '2s' },
        lights: [
          { id: 'porch', address: PORCH },
          { id: 'far', address: far.address },
          { id: 'never', address: 'be:ff:20:00:88:88' },
        ],
        groups: [],
        scenes: [],
      },
    });
    await home.air.fault({ kind: 'out-of-range' }, { lamp: far.address });
    await approve(home);
    phone = await senderFor(home);
    token = await home.server.tokenFor();
    // The link stands before the first test, so that silence at the lamp is not for want of a link.
    await phone.command('porch', ON, { token });
  });

  afterAll(async () => {
    await phone?.close();
    await home?.close();
  });

  /** Runs `send`, and asserts one answer on the response topic, one on the result topic, and no byte at any lamp. */
  async function refused(
    send: () => Promise<{ outcome: string; code: string; hint: string; message: string }>,
  ): Promise<{ outcome: string; code: string }> {
    const bytes = (await home.air.written()).length;
    const before = phone.heard.length;
    const outcome = await send();
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect((await home.air.written()).slice(bytes)).toEqual([]);
    const answers = phone.heard.slice(before).filter(({ topic }) => /\/(result|response\/test)$/.test(topic));
    expect(answers.map(({ topic }) => topic.split('/').at(-1)).sort()).toEqual(['result', 'test']);
    expect(outcome.message.length).toBeGreaterThan(10);
    expect(outcome.hint.length).toBeGreaterThan(10);
    return outcome;
  }

  it.each<[string, () => Promise<string | undefined> | string | undefined, string]>([
    ['no token', () => undefined, 'token_missing'],
    ['the wrong scope', () => home.server.tokenFor({ scope: 'lights:read' }), 'token_scope'],
    [
      'the wrong audience',
      () => home.server.tokenFor({ audience: 'https://porchlight.example/elsewhere' }),
      'token_audience',
    ],
    [
      'a bad signature',
      () => `${token.slice(0, token.lastIndexOf('.'))}.${Buffer.alloc(64, 7).toString('base64url')}`,
      'token_invalid',
    ],
    ["the gateway's own client", () => home.server.tokenFor({ client: 'gateway' }), 'token_invalid'],
    ["a stranger's token", () => home.server.tokenFor({ account: 'stranger' }), 'principal_unknown'],
    ['an expired token', () => minted({ exp: seconds() - 1, iat: seconds() - 60 }), 'token_expired'],
    ['a token that is no JWT', () => 'opaque-token', 'token_invalid'],
  ])('with %s is denied', async (_, credential, code) => {
    const given = await credential();
    await quiet();
    expect(await refused(() => phone.command('porch', ON, given === undefined ? {} : { token: given }))).toMatchObject({
      outcome: 'denied',
      code,
    });
  });

  it('that lay retained is denied, whether it lies there at the start or comes with the flag', async () => {
    expect(await refused(() => phone.command('porch', ON, { token, retain: true }))).toMatchObject({
      outcome: 'denied',
      code: 'retained',
    });
    const bytes = (await home.air.written()).length;
    await home.daemon.stop();
    home.daemon.start();
    const from = phone.heard.length;
    await home.daemon.until(({ broker }) => broker.connected, 'the broker again');
    const at = performance.now() + 5000;
    while (!phone.heard.slice(from).some(({ topic, body }) => topic.endsWith('/result') && body.code === 'retained')) {
      if (performance.now() > at) throw new Error('the retained command was not answered');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect((await home.air.written()).slice(bytes)).toEqual([]);
    await phone.client.publishAsync('porchlight/porch/set', '', { retain: true });
    await home.daemon.until(({ authorization }) => authorization.state === 'authorized', 'authorized');
    await phone.command('porch', ON, { token });
  });

  it('that is older than max_age is denied', async () => {
    const sent_at = seconds() - 3;
    expect(await refused(() => phone.command('porch', { ...ON, sent_at }, { token }))).toMatchObject({
      outcome: 'denied',
      code: 'too_old',
    });
    expect(
      await refused(() => phone.command('porch', ON, { token, properties: { sent_at: String(sent_at) } })),
    ).toMatchObject({
      outcome: 'denied',
      code: 'too_old',
    });
  });

  it.each<[string, string | undefined, object, string]>([
    ['no JSON', 'lights out', {}, 'bad_command'],
    ['an array', '[]', {}, 'bad_command'],
    ['nothing to change', '{}', {}, 'bad_command'],
    ['a brightness above 255', undefined, { brightness: 256 }, 'bad_command'],
    ['a brightness in words', undefined, { brightness: '50' }, 'bad_command'],
    ['half a brightness', undefined, { brightness: 50.5 }, 'bad_command'],
    ['an unknown member', undefined, { state: 'ON', brightnes: 5 }, 'bad_command'],
    ['a colour of two kinds', undefined, { color: { r: 1, g: 2, b: 3, h: 4, s: 5 } }, 'bad_command'],
    ['an effect that the lamp lacks', undefined, { effect: 'moonwalk' }, 'unsupported'],
    ['a field that the lamp lacks', undefined, { flash: 2 }, 'unsupported'],
    ['17 KiB', JSON.stringify({ state: 'ON', effect: 'x'.repeat(17_000) }), {}, 'payload_too_large'],
  ])('with %s fails by name', async (_, raw, change, code) => {
    const how = raw === undefined ? { token } : { token, raw };
    expect(await refused(() => phone.command('porch', change, how))).toMatchObject({
      outcome: 'failed',
      code,
      by: 'owner',
    });
  });

  it('for a lamp that nobody has fails', async () => {
    const outcome = await refused(() => phone.command('porhc', ON, { token }));
    expect(outcome).toMatchObject({
      outcome: 'failed',
      code: 'unknown_target',
      message: expect.stringContaining('porch'),
    });
  });

  it.each(['far', 'never'])('for the lamp "%s", out of range, fails when max_age is over', async (target) => {
    const outcome = await refused(() => phone.command(target, ON, { token }));
    expect(outcome).toMatchObject({ outcome: 'failed', code: 'unreachable' });
  });

  it('expires when its own time is over first', async () => {
    expect(await phone.command('far', { ...ON, expires_in: 0.5 }, { token })).toMatchObject({ outcome: 'expired' });
  });

  it('without a token is denied on the local tree too, unless access.unsigned allows it', async () => {
    await quiet();
    expect(await refused(() => phone.command('porch', ON, { local: true }))).toMatchObject({
      outcome: 'denied',
      code: 'policy',
      hint: expect.stringContaining('access.unsigned'),
    });
  });

  it('that was delivered twice is answered twice and obeyed once', async () => {
    const bytes = (await home.air.written()).length;
    const change = { state: 'TOGGLE', id: 'twice' };
    const [first, second] = await Promise.all([
      phone.command('porch', change, { token }),
      phone.command('porch', change, { token }),
    ]);
    expect(second).toEqual(first);
    expect(first).toMatchObject({ outcome: 'confirmed', id: 'twice' });
    const power = (await home.air.written()).slice(bytes).filter(({ hex }) => /^cc2[34]33$/.test(hex));
    expect(power).toHaveLength(1);
  });

  const seconds = (): number => Math.floor(Date.now() / 1000);
  const minted = (claims: object): string =>
    home.server.mint(
      {
        iss: home.server.issuer,
        aud: AUDIENCE,
        sub: 'owner',
        client_id: 'demo-phone',
        scope: 'lights:control',
        jti: `t${Math.random()}`,
        iat: seconds(),
        exp: seconds() + 60,
        ...claims,
      },
      { typ: 'at+jwt' },
    );
});

describe.skipIf(mosquittoMissing() !== undefined)('a gateway that nobody approved', () => {
  it('says so when it was denied, and obeys no token', async () => {
    const home = await startHome();
    const phone = await senderFor(home);
    try {
      home.daemon.start();
      await home.server.deny(await home.daemon.code());
      const status = await home.daemon.until(({ authorization }) => authorization.state === 'relink_needed', 'denied');
      expect(status.authorization).toMatchObject({ reason: 'denied' });
      const bytes = (await home.air.written()).length;
      await home.daemon.until(({ broker }) => broker.connected, 'the broker');
      expect(await phone.command('porch', ON, { token: await home.server.tokenFor() })).toMatchObject({
        outcome: 'denied',
        code: 'not_authorized',
        hint: expect.stringContaining('login'),
      });
      expect((await home.air.written()).slice(bytes)).toEqual([]);
    } finally {
      await phone.close();
      await home.close();
    }
  });

  it('shows a new code when one expires, and obeys no token meanwhile', async () => {
    const home = await startHome({ server: { codeTtlSeconds: 2 } });
    const phone = await senderFor(home);
    try {
      home.daemon.start();
      const first = await home.daemon.code();
      await expect
        .poll(() => home.daemon.stdout.match(/[A-Z]{4}-[A-Z]{4}/g)?.some((code) => code !== first), { timeout: 10_000 })
        .toBe(true);
      expect(await phone.command('porch', ON, { token: await home.server.tokenFor() })).toMatchObject({
        code: 'not_authorized',
      });
      expect(await home.air.written()).toEqual([]);
    } finally {
      await phone.close();
      await home.close();
    }
  });
});
