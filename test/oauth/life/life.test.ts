import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DIALECTS } from '../../../src/oauth/dialects/index.ts';
import { Drawer, freezeTime } from '../script.ts';
import { type Life, live } from './bench.ts';
import { SECRET, type Vendor } from './vendor.ts';
import { signingKey } from './vendor-server.ts';
import { auth0 } from './vendors/auth0.ts';
import { entra } from './vendors/entra.ts';
import { githubApp, githubOauthApp } from './vendors/github.ts';
import { google } from './vendors/google.ts';
import { salesforce } from './vendors/salesforce.ts';
import { standards } from './vendors/standards.ts';

const VENDORS: readonly Vendor[] = [salesforce, google, entra, githubApp, githubOauthApp, auth0, ...standards];

const lives: Life[] = [];
beforeEach(async () => {
  await signingKey();
  freezeTime();
});
afterEach(async () => {
  for (const life of lives.splice(0)) await life.stop();
  vi.useRealTimers();
});

async function begin(...how: Parameters<typeof live>): Promise<Life> {
  const life = await live(...how);
  lives.push(life);
  // A throttled start is tried again in its own time.
  for (let second = 0; second < 120 && life.shown.length === 0 && how[0].name.startsWith('Authentik'); second += 1)
    await life.pass(1);
  await life.until(() => life.shown.length > 0 || life.session.status.problem !== undefined);
  if (life.shown.length > 0) life.problems.splice(0);
  return life;
}

/** Polls so far: a token request that is no refresh. */
const polls = ({ server, vendor }: Life): readonly number[] =>
  server.received
    .filter(({ path, form }) => path === vendor.poll.path && form['grant_type'] === vendor.poll.form['grant_type'])
    .map(({ at }) => at);
const gaps = (times: readonly number[]): number[] => times.slice(1).map((time, index) => time - (times[index] ?? 0));
const state = ({ session }: Life): string => session.status.state;

/** Codes and tokens, old and new, are nobody's business. */
function expectNoSecret({ lines, server, store }: Life): void {
  const tokens = store.saved.flatMap(({ access_token, refresh_token }) => [access_token, refresh_token]);
  const log = lines.join('\n');
  for (const secret of [...tokens, ...server.desk.codes.map(({ device_code }) => device_code)])
    if (secret !== undefined) expect(log).not.toContain(secret);
}

async function approved(...how: Parameters<typeof live>): Promise<Life> {
  const life = await begin(...how);
  life.server.desk.decide('approved');
  await life.pass(life.vendor.gaps[0]);
  await life.until(() => state(life) === 'authorized');
  return life;
}

it('has a row for each dialect', () => {
  expect(new Set(VENDORS.map(({ dialect }) => dialect))).toEqual(new Set(Object.keys(DIALECTS)));
});

describe.each(VENDORS.map((vendor) => [vendor.name, vendor] as const))('%s', (_name, vendor) => {
  it('start: asks for a code in its words, and shows what a person needs', async () => {
    const life = await begin(vendor);
    const sent = life.server.received.filter(({ path }) => path === vendor.start.path).at(-1);
    expect(sent).toMatchObject({ method: 'POST', form: vendor.start.form, headers: { accept: 'application/json' } });
    expect(Object.keys(sent?.form ?? {}).sort()).toEqual(Object.keys(vendor.start.form).sort());
    const { life: seconds, ...shown } = vendor.shown;
    expect(life.shown).toEqual([{ ...shown, expires_at: Date.now() + seconds * 1000 }]);
    expect(state(life)).toBe('pending');
  });

  it('pending and slow_down: polls in its words, never sooner than it may, and slower once told so', async () => {
    const life = await begin(vendor);
    const [gap, slower] = vendor.gaps;
    await life.pass(2 * gap);
    expect(life.server.forms(vendor.poll.path).at(-1)).toEqual(vendor.poll.form);
    expect(gaps(polls(life))).toEqual([gap]);
    life.server.desk.impatient = true;
    await life.pass(gap + 2 * slower);
    expect(gaps(polls(life))).toEqual([gap, gap, slower, slower]);
    expect(state(life)).toBe('pending');
    expect(life.shown).toHaveLength(1);
    expect(life.problems.filter((problem) => problem !== undefined)).toEqual([]);
  });

  it('approve: stores the tokens, knows the owner where the server says, and polls no more', async () => {
    const life = await approved(vendor);
    const { scopes, subject, life: seconds, kept } = vendor.granted;
    expect(life.session.status).toMatchObject({ state: 'authorized', scopes });
    expect(life.session.subject).toBe(subject);
    expect(life.session.status.problem).toBeUndefined();
    expect(life.session.status.expires_at).toBe(
      seconds === undefined ? undefined : new Date(Date.now() + seconds * 1000).toISOString(),
    );
    expect(life.store.saved.at(-1)?.kept).toEqual(kept);
    expect(life.server.desk.alive).toContain(await life.session.accessToken());
    expect(life.shown.at(-1)).toBeUndefined();
    const before = polls(life).length;
    await life.pass(60);
    expect(polls(life)).toHaveLength(before);
  });

  it('deny: says that the person said no, and asks for no other code', async () => {
    const life = await begin(vendor);
    life.server.desk.decide('denied');
    await life.pass(vendor.gaps[0]);
    await life.until(() => state(life) === 'relink_needed');
    expect(life.session.status).toMatchObject({
      state: 'relink_needed',
      reason: 'denied',
      problem: { code: 'approval_denied' },
    });
    await life.pass(30);
    expect(life.server.desk.codes).toHaveLength(1);
  });

  it('expire: the code is over when the server says so, and at the end of its life whatever the server says', async () => {
    const life = await begin(vendor);
    life.server.desk.decide('expired');
    const ends = vendor.afterExpiry === 'says pending for ever' ? vendor.shown.life : vendor.gaps[0];
    await life.pass(ends - 1);
    expect(life.shown).toHaveLength(1);
    await life.pass(1);
    await life.until(() => life.shown.length > 1);
    expect(life.shown[1]).toBeUndefined();
    // Salesforce has no word for it: the code is invalid (invalid_grant), and no other is asked for without a person.
    const word = vendor.dialect === 'salesforce' ? /code is not valid any more/ : /Nobody approved/;
    expect(life.problems.find((problem) => problem !== undefined)).toMatch(word);
  });

  if ('absent' in vendor.refresh) {
    it(`refresh: there is none (${vendor.refresh.absent})`, async () => {
      const life = await approved(vendor);
      expect(life.store.saved.at(-1)?.refresh_token).toBeUndefined();
      const before = life.server.received.length;
      vi.setSystemTime(Date.now() + 30 * 86_400_000);
      await life.session.renew();
      await life.pass(60);
      expect(life.server.received).toHaveLength(before);
      expect(state(life)).toBe('authorized');
    });
  } else {
    const { form, rotates, dead } = vendor.refresh;

    it('refresh and rotate: renews in its words, and goes on with the refresh token that it got', async () => {
      const life = await approved(vendor);
      const first = await life.session.accessToken();
      await life.session.renew();
      expect(life.server.forms(vendor.poll.path).at(-1)).toEqual(form);
      const second = await life.session.accessToken();
      expect(second).not.toBe(first);
      expect(life.session.subject).toBe(vendor.granted.subject);
      expect(life.store.saved.at(-1)).toMatchObject({
        access_token: second,
        ...(vendor.granted.kept && { kept: vendor.granted.kept }),
      });
      await life.session.renew();
      const used = life.server
        .forms(vendor.poll.path)
        .filter(({ grant_type }) => grant_type === 'refresh_token')
        .map(({ refresh_token }) => refresh_token);
      expect(used).toHaveLength(2);
      expect(used[1] === used[0]).toBe(!rotates);
      expect(state(life)).toBe('authorized');
    });

    it('a dead refresh token ends the grant, with the reason, and without another code', async () => {
      const life = await approved(vendor);
      life.server.desk.alive.clear();
      await life.session.renew();
      await life.until(() => state(life) === 'relink_needed');
      expect(life.session.status).toMatchObject({ state: 'relink_needed', reason: dead });
      await life.pass(30);
      expect(life.server.desk.codes).toHaveLength(1);
    });
  }

  if ('absent' in vendor.revoke) {
    it(`revoke: there is none (${vendor.revoke.absent}), and the person is told what to do`, async () => {
      const life = await approved(vendor);
      const before = life.server.received.length;
      expect(await life.session.revoke()).toEqual({
        revokedAtServer: false,
        message: expect.stringContaining('remove the gateway in your account there'),
      });
      expect(life.server.received).toHaveLength(before);
      expect(life.store.cleared).toBe(1);
      expectNoSecret(life);
    });
  } else {
    const { path, forms } = vendor.revoke;

    it('revoke: ends the refresh token first, then the access token, and forgets both', async () => {
      const life = await approved(vendor);
      await life.session.renew();
      expect(await life.session.revoke()).toEqual({ revokedAtServer: true });
      expect(life.server.forms(path)).toEqual(forms);
      expect(life.server.desk.alive).not.toContain(forms[0]?.['token']);
      expect(life.store.cleared).toBe(1);
      expect(state(life)).toBe('unauthorized');
      expectNoSecret(life);
    });
  }

  if ('absent' in vendor.introspect) {
    it(`introspect: there is none (${vendor.introspect.absent})`, async () => {
      const life = await approved(vendor, {
        options: {
          client_secret: vendor.options('').client_secret ?? SECRET,
          client_authentication: 'client_secret_post',
        },
      });
      const before = life.server.received.length;
      const token = await life.session.accessToken();
      expect(await life.session.introspect(token, AbortSignal.timeout(5_000))).toBe('not_offered');
      expect(life.server.received).toHaveLength(before);
    });
  } else {
    const { path } = vendor.introspect;

    it('introspect: asks as a client with a secret, and learns which tokens are alive; without a secret it does not ask', async () => {
      const signal = AbortSignal.timeout(5_000);
      const life = await approved(vendor, {
        options: { client_secret: SECRET, client_authentication: 'client_secret_post' },
      });
      const token = await life.session.accessToken();
      const { client_id } = vendor.start.form;
      expect(await life.session.introspect(token, signal)).toMatchObject({ value: { active: true, client_id } });
      expect(await life.session.introspect('token-of-nobody', signal)).toEqual({
        kind: 'answered',
        value: { active: false },
      });
      expect(life.server.forms(path)[0]).toEqual({ client_id, client_secret: SECRET, token });
      const open = await begin(vendor);
      expect(await open.session.introspect(token, signal)).toBe('not_offered');
      expect(open.server.forms(path)).toEqual([]);
    });
  }
});

describe('the servers of this suite', () => {
  const refusals = VENDORS.flatMap((vendor) =>
    vendor.refuses.map((one) => [vendor.name, one.because, vendor, one] as const),
  );
  it.each(refusals)('%s refuses: %s', async (_name, _because, vendor, { path, form, status, error }) => {
    vi.useRealTimers();
    const server = await vendor.open();
    const answer = await fetch(`${server.origin}${path}`, {
      method: 'POST',
      body: new URLSearchParams(form),
      headers: { accept: 'application/json' },
    });
    expect(answer.status).toBe(status);
    expect(await answer.json()).toMatchObject({ error });
    await server.close();
  });

  it.each([salesforce, google, entra, githubApp, auth0].map((vendor) => [vendor.name, vendor] as const))(
    '%s does not put up with a client that knows only the standards',
    async (_name, vendor) => {
      const life = await begin(vendor, { dialect: 'standard' });
      life.server.desk.decide('approved');
      await life.pass(30);
      expect(state(life)).not.toBe('authorized');
      expect(life.store.saved).toEqual([]);
    },
  );

  it('hand out nothing for a code that was used', async () => {
    for (const vendor of [salesforce, google, entra, githubApp, auth0, ...standards.slice(0, 3)]) {
      const life = await approved(vendor);
      await life.pass(10);
      const again = await fetch(`${life.server.origin}${vendor.poll.path}`, {
        method: 'POST',
        body: new URLSearchParams(vendor.poll.form),
        headers: { accept: 'application/json' },
      });
      expect(await again.json(), vendor.name).toHaveProperty('error');
    }
  });
});

describe('a restart', () => {
  it('goes on with what a dialect kept', async () => {
    const store = new Drawer();
    const life = await approved(salesforce, { store });
    const again = await live(salesforce, {
      server: await salesforce.open(),
      store,
      options: { issuer: life.server.origin },
    });
    lives.push(again);
    await again.until(() => state(again) === 'authorized');
    expect(again.session.subject).toBe(salesforce.granted.subject);
    expect(again.shown).toEqual([]);
  });
});
