import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PorchlightError } from '../../../src/errors.ts';
import { freezeTime, pass } from '../script.ts';
import { answered, FakeSession, FakeStore, ISSUER, type Rig, refused, rig, USERINFO } from './rig.ts';

const DAY = 86_400_000;
const ADA = { subject: 'ada' };
const SAYS = {
  sub: 'ada',
  zoneinfo: 'Europe/Berlin',
  address: { street_address: 'Unter den Linden 1', locality: 'Berlin', country: 'DE' },
  latitude: 52.5219,
  longitude: 13.4132,
};
const SHOWN = {
  latitude: 52.52,
  longitude: 13.41,
  time_zone: 'Europe/Berlin',
  locality: 'Berlin',
  country: 'DE',
  source: 'userinfo',
};
const away = { kind: 'fault', problem: new PorchlightError('server_unreachable') } as const;

const running: Rig[] = [];
async function begin(...options: Parameters<typeof rig>): Promise<Rig> {
  const made = await rig(...options);
  running.push(made);
  return made;
}
beforeEach(freezeTime);
afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
  vi.useRealTimers();
});

/** An owner has approved, and the server says all. */
async function approved(...options: Parameters<typeof rig>): Promise<Rig> {
  const made = await begin(...options);
  made.session.turns.push(answered(SAYS));
  made.session.approve(ADA);
  await pass(0);
  return made;
}

describe('the home of the owner', () => {
  it('is unknown before anybody approves, and the time zone is this machine’s', async () => {
    const { home, session } = await begin();
    expect(home.status()).toEqual({
      time_zone: 'Europe/Paris',
      source: 'none',
      missing: ['latitude', 'longitude', 'time_zone'],
    });
    expect(home.timeZone()).toBe('Europe/Paris');
    expect(session.asked).toEqual([]);
  });

  it('is read from userinfo after the approval, kept whole, shown rounded and not logged', async () => {
    const { home, session, store, lines } = await approved();
    expect(session.asked.map(({ url }) => url)).toEqual([USERINFO]);
    expect(home.status()).toEqual(SHOWN);
    expect(home.timeZone()).toBe('Europe/Berlin');
    expect(home.location).toMatchObject({ latitude: 52.5219, longitude: 13.4132 });
    expect(store.text).toContain('52.5219');
    expect(lines.join('')).toContain('read from userinfo');
    expect(lines.join('')).not.toMatch(/52|13\.4|Berlin|Linden|DE"/);
  });

  it('is read from the id_token where userinfo does not take the token', async () => {
    const { home, session } = await begin({
      options: { issuer: ISSUER, client_id: 'porchlight', resource: 'https://x.example' },
    });
    session.turns.push(refused('invalid_token', 401));
    session.approve({ ...ADA, claims: { address: { locality: 'Berlin' }, zoneinfo: 'Europe/Berlin' } });
    await pass(0);
    expect(home.status()).toEqual({
      time_zone: 'Europe/Berlin',
      locality: 'Berlin',
      source: 'id_token',
      missing: ['latitude', 'longitude'],
    });
  });

  it('stays known over a restart without a server, and is not asked for again within a day', async () => {
    const { store, stop } = await approved();
    await stop();
    const { home, session } = await begin({ store });
    expect(home.status()).toEqual(SHOWN);
    session.become({ state: 'authorized', ...ADA }, ADA);
    await pass(DAY - 60_000);
    expect(session.asked).toEqual([]);
    session.turns.push(away);
    await pass(120_000);
    expect(session.asked.length).toBeGreaterThan(0);
    expect(home.status()).toEqual(SHOWN);
  });

  it('is read once a day, however often the authorization changes', async () => {
    const { session } = await approved();
    for (let hour = 0; hour < 23; hour += 1) {
      await pass(3_600_000);
      session.become({ ...session.status, expires_at: `${hour}` }, ADA);
      if (hour % 5 === 0) {
        session.become({ ...session.status, state: 'grace' });
        session.become({ ...session.status, state: 'authorized' }, ADA);
      }
    }
    expect(session.asked).toHaveLength(1);
    await pass(3_700_000);
    expect(session.asked).toHaveLength(2);
  });

  it('is read anew after a new approval, and what was withdrawn by it is forgotten', async () => {
    const { home, session } = await begin();
    session.turns.push(answered({ sub: 'ada' }));
    session.approve({ ...ADA, claims: { address: { locality: 'Berlin' }, zoneinfo: 'Europe/Berlin' } });
    await pass(0);
    expect(home.status().locality).toBe('Berlin');
    session.approve({ ...ADA, claims: {} });
    await pass(0);
    expect(session.asked).toHaveLength(2);
    expect(home.status()).toMatchObject({ source: 'none', time_zone: 'Europe/Paris' });
  });

  it('survives a renewal whose id_token says less', async () => {
    const { home, session } = await begin();
    session.turns.push(answered({ sub: 'ada' }));
    session.approve({ ...ADA, claims: { zoneinfo: 'Europe/Berlin' } });
    await pass(0);
    session.become({ ...session.status, expires_at: 'later' }, { ...ADA, claims: {} });
    await pass(DAY + 1_000);
    expect(session.asked.length).toBeGreaterThan(1);
    expect(home.timeZone()).toBe('Europe/Berlin');
  });
});

describe('the id_token', () => {
  it('is listened to although there is no token to ask with right now, which is no trouble of the home', async () => {
    const { home, session } = await begin();
    session.turns.push(new PorchlightError('not_authorized'), answered(SAYS));
    session.approve({ ...ADA, claims: { zoneinfo: 'Asia/Tokyo' } });
    await pass(0);
    expect(home.status()).toEqual({
      time_zone: 'Asia/Tokyo',
      source: 'id_token',
      missing: ['latitude', 'longitude'],
    });
    await pass(10_000);
    expect(home.status()).toMatchObject({ latitude: 52.52, time_zone: 'Asia/Tokyo', source: 'userinfo' });
  });
});

describe('whoever goes', () => {
  it('takes their home along at logout, and no reading under way brings it back', async () => {
    const { home, session, store, lines } = await approved();
    let answer: (reply: ReturnType<typeof answered>) => void = () => undefined;
    session.turns.splice(0, 1, () => new Promise((resolve) => (answer = resolve)));
    session.approve(ADA);
    await pass(0);
    session.become({ state: 'unauthorized' });
    answer(answered(SAYS));
    await pass(0);
    expect(home.status().source).toBe('none');
    expect(home.timeZone()).toBe('Europe/Paris');
    expect(store.text).toBeUndefined();
    expect(lines.join('')).not.toContain('Berlin');
  });

  it('gives way to another owner, whose home is read', async () => {
    const { home, session, store } = await approved();
    session.turns.splice(0, 1, away);
    session.approve({ subject: 'eve' });
    await pass(0);
    expect(home.status()).toMatchObject({ source: 'none' });
    expect(store.text ?? '').not.toContain('Berlin');
    session.turns.splice(0, 1, answered({ sub: 'eve', zoneinfo: 'Asia/Tokyo' }));
    await pass(10_000);
    expect(home.timeZone()).toBe('Asia/Tokyo');
    expect(store.text).toContain('eve');
  });

  it('keeps it while the approval is lost or the server away', async () => {
    const { home, session } = await approved();
    session.become({ state: 'grace', ...ADA }, ADA);
    session.become({ state: 'relink_needed', reason: 'revoked', ...ADA });
    session.become({ state: 'pending', ...ADA });
    await pass(DAY);
    expect(home.status()).toEqual(SHOWN);
  });

  it.each([
    ['another issuer', { issuer: 'https://elsewhere.example' }],
    ['another client', { client_id: 'other' }],
  ])('is gone when the configuration names %s', async (_, change) => {
    const { store } = await approved();
    const { home } = await begin({ store, options: { issuer: ISSUER, client_id: 'porchlight', ...change } });
    expect(home.status().source).toBe('none');
    expect(store.text).toBeUndefined();
  });
});

describe('the configuration', () => {
  const configured = { latitude: 48.1374, longitude: 11.5755 };

  it('wins: nothing is asked for, and nothing kept', async () => {
    const { store, stop } = await approved();
    await stop();
    const { home, session } = await begin({ store, configured: { ...configured, time_zone: 'Europe/Vienna' } });
    session.approve(ADA);
    await pass(DAY);
    expect(session.asked).toEqual([]);
    expect(store.text).toBeUndefined();
    expect(home.status()).toEqual({
      latitude: 48.14,
      longitude: 11.58,
      time_zone: 'Europe/Vienna',
      source: 'configuration',
    });
  });

  it('takes the owner’s time zone where it names none, and never mixes the places', async () => {
    const { home } = await approved({ configured });
    expect(home.status()).toEqual({
      latitude: 48.14,
      longitude: 11.58,
      time_zone: 'Europe/Berlin',
      source: 'configuration',
    });
  });
});

describe('a server that does not tell', () => {
  it('and is away is asked again, ever more rarely', async () => {
    const { home, session } = await begin();
    session.turns.push(away, away, { ...away, retryAfter: 60_000 }, new PorchlightError('internal'), answered(SAYS));
    session.approve(ADA);
    await pass(0);
    expect(home.status().problem?.code).toBe('server_unreachable');
    await pass(3_600_000);
    const times = session.asked.map(({ at }) => Math.round(at / 1000));
    expect(times.map((time) => time - (times[0] ?? 0))).toEqual([0, 5, 15, 75, 115]);
    expect(home.status()).toEqual(SHOWN);
  });

  it('and renews the token each time it refuses is asked once a day all the same', async () => {
    const { session } = await begin();
    let renewals = 0;
    session.turns.push(async () => {
      renewals += 1;
      session.become({ ...session.status, expires_at: `${renewals}` }, ADA);
      return refused('insufficient_scope', 403);
    });
    session.approve(ADA);
    await pass(DAY / 2);
    expect(renewals).toBe(1);
  });

  it('and refuses is named once, with what to do, and asked again at the next approval', async () => {
    const { home, session, lines } = await begin();
    session.turns.push(refused('insufficient_scope', 403));
    session.approve(ADA);
    await pass(3 * DAY);
    expect(home.status().problem).toMatchObject({ code: 'server_refused', hint: expect.stringContaining('address') });
    expect(lines.filter((line) => line.includes('server_refused'))).toHaveLength(1);
    const before = session.asked.length;
    session.turns.splice(0, 1, answered(SAYS));
    session.approve(ADA);
    await pass(0);
    expect(session.asked).toHaveLength(before + 1);
    expect(home.status()).toEqual(SHOWN);
  });

  it('names authorization.resource as the reason where that is set', async () => {
    const { home, session } = await begin({
      options: { issuer: ISSUER, client_id: 'porchlight', resource: 'https://broker.example' },
    });
    session.turns.push(refused('invalid_token', 401));
    session.approve(ADA);
    await pass(0);
    expect(home.status().problem?.hint).toContain('authorization.resource');
  });

  it.each([
    ['somebody else', { ...SAYS, sub: 'eve' }],
    ['nobody', { ...SAYS, sub: undefined }],
    ['a list of people', { ...SAYS, sub: ['ada'] }],
    ['nearly the owner', { ...SAYS, sub: 'Ada' }],
  ])('but speaks of %s is not believed (Core section 5.3.2)', async (_, body) => {
    const { home, session, store } = await begin();
    session.turns.push(answered(body));
    session.approve(ADA);
    await pass(0);
    expect(home.status()).toMatchObject({ source: 'none', problem: { code: 'server_answer' } });
    expect(store.text).toBeUndefined();
  });

  it.each([
    ['nobody is known to have approved', {}, ['openid'], 0, 'server_answer'],
    ['the scope openid was not granted', ADA, ['profile', 'offline_access'], 0, undefined],
  ])('is not asked where %s', async (_, info, scopes, times, code) => {
    const { home, session } = await begin();
    session.turns.push(answered(SAYS));
    session.approve(info, scopes);
    await pass(DAY);
    expect(session.asked).toHaveLength(times);
    expect(home.status().problem?.code).toBe(code);
  });

  it('and has no userinfo endpoint is named', async () => {
    const { home, session } = await begin();
    session.userinfo = undefined;
    session.approve(ADA);
    await pass(0);
    expect(home.status().problem?.message).toContain('no userinfo endpoint');
  });

  it.each([
    ['first', [away, refused('insufficient_scope', 403)]],
    ['second', [refused('INVALID_FIELD', 400), away]],
  ])('is named by the trouble that will not pass, be the other one the %s', async (_, turns) => {
    const kept = { instance_url: 'https://acme.example', id: 'https://login.example/id/00D/005x00000012Q9P' };
    const { home, session } = await begin({ how: 'salesforce' });
    session.turns.push(...turns, away);
    session.approve({ kept }, ['id', 'api']);
    await pass(0);
    expect(session.asked).toHaveLength(2);
    expect(home.status().problem?.code).toBe('server_refused');
  });

  it('and whose metadata can not be had is asked again', async () => {
    const { home, session } = await begin();
    session.turns.push(answered(SAYS));
    session.metadataProblem = new PorchlightError('server_unreachable');
    session.approve(ADA);
    await pass(1_000);
    session.metadataProblem = undefined;
    await pass(10_000);
    expect(home.status()).toEqual(SHOWN);
  });

  it('leaves what was known, and a disk that is full does not end anything', async () => {
    const { home, session, store, lines } = await begin();
    store.broken = true;
    session.turns.push(answered(SAYS), refused('insufficient_scope', 403));
    session.approve(ADA);
    await pass(DAY + 1_000);
    expect(session.asked).toHaveLength(2);
    expect(home.status()).toEqual(SHOWN);
    expect(lines.filter((line) => line.includes('could not be stored'))).toHaveLength(1);
  });
});

describe('what is stored', () => {
  const whole = {
    version: 1,
    issuer: ISSUER,
    client_id: 'porchlight',
    owner: 'ada',
    read_at: 1_700_000_000_000,
    said: { userinfo: { latitude: 52.5219, longitude: 13.4132, time_zone: 'Europe/Berlin' } },
  };

  it.each([
    ['of a later version', { ...whole, version: 2 }],
    ['of nobody', { ...whole, owner: '' }],
    ['that is a list', [whole]],
    ['that is a text', 'home'],
    ['with a number for what was said', { ...whole, said: 7 }],
    ['from a time before time', { ...whole, read_at: -1 }],
  ])('%s counts as absent, and is read anew', async (_, value) => {
    const { home, session } = await begin({ store: new FakeStore(value) });
    expect(home.status().source).toBe('none');
    session.turns.push(answered(SAYS));
    session.become({ state: 'authorized', ...ADA }, ADA);
    await pass(0);
    expect(home.status()).toEqual(SHOWN);
  });

  it('is judged as what comes over the network is', async () => {
    const said = {
      userinfo: { latitude: 91, longitude: 13, time_zone: 'Mars/Olympus', address: { locality: 'Ber\u001blin' } },
    };
    const { home } = await begin({ store: new FakeStore({ ...whole, said }) });
    expect(home.status().locality).toMatch(/^Ber.lin$/);
    expect(home.status()).toMatchObject({ time_zone: 'Europe/Paris', missing: ['latitude', 'longitude', 'time_zone'] });
    expect(home.status().locality).not.toContain('\u001b');
  });

  it('of a day in the future (a clock not set yet) is not asked for at once', async () => {
    const session = new FakeSession();
    const { home } = await begin({ session, store: new FakeStore({ ...whole, read_at: 1_900_000_000_000 }) });
    session.become({ state: 'authorized', ...ADA }, ADA);
    await pass(3_600_000);
    expect(session.asked).toEqual([]);
    expect(home.timeZone()).toBe('Europe/Berlin');
    session.turns.push(answered(SAYS));
    await pass(DAY);
    expect(session.asked).toHaveLength(1);
  });

  it('was the answer to a query: another query is asked at once', async () => {
    const session = new FakeSession();
    const options = { issuer: ISSUER, client_id: 'porchlight', home_query: 'SELECT Latitude, Longitude FROM Contact' };
    await begin({ session, options, store: new FakeStore({ ...whole, query: 'SELECT Latitude FROM User' }) });
    session.turns.push(away);
    session.become({ state: 'authorized', ...ADA }, ADA);
    await pass(0);
    expect(session.asked).toHaveLength(1);
  });
});
