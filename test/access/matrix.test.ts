import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { Gate } from '../../src/access/gate.ts';
import type { PolicyRow, Unsigned } from '../../src/access/policy.ts';
import { asPorchlightError, PorchlightError } from '../../src/errors.ts';
import type { Action } from '../../src/lights/actions.ts';
import type { LightChange } from '../../src/lights/change.ts';
import type { Credential } from '../../src/lights/command.ts';
import {
  AUDIENCE,
  type Bench,
  bench,
  HOUSE,
  OWNER,
  PHONE,
  policyOf,
  SCENES,
  type Signer,
  signer,
  silent,
  tokenOf,
} from './fixtures.ts';

// The whole of "who may do what, to which lamp, when" against an oracle that is written from the documentation (README, "Who may
// do what") and shares no code with the gate: it walks through minutes, names and members one by one.

interface Detail {
  readonly type: string;
  readonly locations?: readonly string[];
  readonly lights?: readonly string[];
  readonly actions?: readonly string[];
  readonly hours?: readonly string[];
  readonly colour?: string;
}

interface Case {
  readonly rows: readonly PolicyRow[] | undefined;
  readonly unsigned: Unsigned;
  readonly require: 'bearer' | 'bound';
  readonly sender: 'local' | 'broker' | 'token';
  readonly subject: string;
  readonly client: string;
  readonly scopes: readonly string[];
  readonly details: readonly Detail[] | undefined;
  readonly boundToken: boolean;
  readonly proof: boolean;
  readonly target: { readonly kind: 'lights' | 'scene'; readonly id: string };
  readonly change: LightChange;
  /** Of the day, at home: Asia/Kolkata, five and a half hours ahead of UTC all year. */
  readonly minute: number;
}

interface Grant {
  readonly lights?: readonly string[] | undefined;
  readonly actions?: readonly string[] | undefined;
  readonly hours?: readonly string[] | undefined;
}

// The oracle.

function minutesOf(span: string): ReadonlySet<number> {
  const [from = 0, to = 0] = span.split('-').map((time) => Number(time.slice(0, 2)) * 60 + Number(time.slice(3)));
  const minutes = new Set<number>();
  const length = (to - from + 1440) % 1440 || 1440;
  for (let passed = 0; passed < length; passed += 1) minutes.add((from + passed) % 1440);
  return minutes;
}

function askedOfLamps({ target: { kind, id }, change }: Case): readonly [string, LightChange][] {
  if (kind === 'lights') return (HOUSE[id] ?? []).map((lamp) => [lamp, change]);
  const asked: [string, LightChange][] = [];
  for (const [name, part] of Object.entries(SCENES[id] ?? {})) {
    for (const lamp of HOUSE[name] ?? []) asked.push([lamp, part]);
  }
  return asked;
}

/** Is one action at one lamp among what is granted? Grants add up. */
function granted(grants: readonly Grant[], lamp: string, action: string, minute: number): boolean {
  for (const { lights, actions, hours } of grants) {
    const lampFits = lights === undefined || lights.some((name) => (HOUSE[name] ?? []).includes(lamp));
    const actionFits = actions === undefined || actions.includes(action);
    const hourFits = hours === undefined || hours.some((span) => minutesOf(span).has(minute));
    if (lampFits && actionFits && hourFits) return true;
  }
  return false;
}

function allGranted(grants: readonly Grant[], one: Case): boolean {
  const asked = askedOfLamps(one);
  if (asked.length === 0) return false;
  for (const [lamp, change] of asked) {
    const has = (action: string): boolean => granted(grants, lamp, action, one.minute);
    if (change.state === 'ON' && !has('on')) return false;
    if (change.state === 'OFF' && !has('off')) return false;
    if (change.state === 'TOGGLE' && !has('toggle') && !(has('on') && has('off'))) return false;
    for (const member of ['brightness', 'color', 'color_temp', 'white', 'effect', 'flash', 'transition'] as const) {
      if (change[member] !== undefined && !has(member)) return false;
    }
    const black =
      change.color !== undefined && 'r' in change.color && Object.values(change.color).every((c) => c === 0);
    if ((change.brightness === 0 || change.white === 0 || black) && !has('off')) return false;
  }
  return true;
}

function expected(one: Case): string {
  if (one.sender === 'local') return 'accepted';
  const rows = one.rows ?? [];
  if (one.sender === 'broker') {
    const { unsigned } = one;
    if (unsigned === 'deny') return 'policy';
    const lamps = askedOfLamps(one).map(([lamp]) => lamp);
    if (unsigned !== 'allow' && (lamps.length === 0 || lamps.some((lamp) => !unsigned.lights.includes(lamp))))
      return 'policy';
    const naming = rows.filter(({ principals }) => principals?.includes('broker'));
    if (naming.length === 0) return 'accepted';
    const fit = naming.filter(({ scopes }) => scopes === undefined || scopes.length === 0);
    return allGranted(fit, one) ? 'accepted' : 'policy';
  }
  const isOwner = one.subject === OWNER && one.client !== OWNER;
  if (!isOwner && one.subject !== 'alice') return 'principal_unknown';
  if (!one.scopes.includes('lights:control')) return 'token_scope';
  if ((one.require === 'bound' || one.boundToken) && !one.proof) return 'proof_missing';
  if (one.rows !== undefined) {
    const fit = rows.filter(({ principals, scopes = [] }) => {
      const isMeant =
        principals === undefined ||
        principals.some((name) => (name === 'owner' ? isOwner : name === one.subject || name === one.client));
      return isMeant && scopes.every((scope) => one.scopes.includes(scope));
    });
    if (!allGranted(fit, one)) return 'policy';
  }
  const ours = (one.details ?? []).filter(({ type }) => type === 'porchlight');
  if (ours.length > 0) {
    const actions: readonly string[] = [
      'on',
      'off',
      'toggle',
      'brightness',
      'color',
      'color_temp',
      'white',
      'effect',
      'flash',
      'transition',
    ];
    const understood = ours.filter(
      (detail) =>
        detail.colour === undefined &&
        (detail.actions ?? []).every((action) => actions.includes(action)) &&
        (detail.locations === undefined || detail.locations.includes(AUDIENCE)),
    );
    if (!allGranted(understood, one)) return 'policy';
  }
  return 'accepted';
}

// The real thing.

/** At home, Asia/Kolkata, this day begins at 18:30 UTC. */
const MIDNIGHT = Date.UTC(2027, 0, 14, 18, 30);

let ed: Signer;
let shared: Bench;
beforeAll(async () => {
  ed = await signer('EdDSA', 'ed-1');
  shared = bench([ed], { principals: ['owner', 'alice'] });
});

/** A token for the whole day. */
const tokens = new Map<string, string>();
async function tokenFor({ subject, client, scopes, details, boundToken }: Case): Promise<string> {
  const key = JSON.stringify([subject, client, scopes, details, boundToken]);
  const token =
    tokens.get(key) ??
    (await tokenOf(ed, {
      sub: subject,
      client_id: client,
      scope: scopes.join(' '),
      iat: MIDNIGHT / 1000,
      exp: MIDNIGHT / 1000 + 90_000,
      authorization_details: details,
      cnf: boundToken ? { jkt: 'thumbprint' } : undefined,
    }));
  tokens.set(key, token);
  return token;
}

async function decided(one: Case): Promise<string> {
  const { verifier, clock } = shared;
  // A minute's last millisecond is still that minute.
  clock.epoch = MIDNIGHT + one.minute * 60_000 + 59_999;
  const gate = new Gate({
    verifier,
    // Of the proof only its being there counts here: what a good one is, is for other tests.
    proofs: {
      verify: async (proof) => {
        if (proof === undefined) throw new PorchlightError('proof_missing');
      },
    },
    require: one.require,
    policy: policyOf(clock, { rows: one.rows, unsigned: one.unsigned, timeZone: () => 'Asia/Kolkata' }),
    maxAgeMs: 30_000,
    clock,
    clockTrusted: () => true,
    log: silent,
  });
  const credential = async (): Promise<Credential> => {
    if (one.sender !== 'token') return { kind: one.sender };
    const token = await tokenFor(one);
    const proof = { jwt: 'a.b.c', topic: 'porchlight/porch/set', payload: new Uint8Array() };
    return { kind: 'bearer', token, ...(one.proof && { proof }) };
  };
  return await gate
    .admit({
      kind: one.target.kind,
      target: one.target.id,
      change: one.target.kind === 'scene' ? {} : one.change,
      credential: await credential(),
      receivedAt: clock.monotonic(),
      retained: false,
    })
    .then(
      () => 'accepted',
      (thrown: unknown) => asPorchlightError(thrown).code,
    );
}

const CHANGES: readonly LightChange[] = [
  { state: 'ON' },
  { state: 'OFF' },
  { state: 'TOGGLE' },
  { brightness: 40 },
  { brightness: 0 },
  { state: 'ON', brightness: 40 },
  { state: 'ON', brightness: 0 },
  { state: 'OFF', transition: 2 },
  { state: 'TOGGLE', brightness: 9 },
  { color: { r: 1, g: 2, b: 3 } },
  { color: { r: 0, g: 0, b: 0 } },
  { color: { h: 0, s: 0 }, brightness: 3 },
  { color_temp: 2700 },
  { white: 9 },
  { white: 0 },
  { effect: 'fade' },
  { state: 'ON', effect: 'fade', color: { r: 1, g: 0, b: 0 } },
  { flash: 2 },
];
const TARGETS = [
  { kind: 'lights', id: 'porch' },
  { kind: 'lights', id: 'hall' },
  { kind: 'lights', id: 'evening' },
  { kind: 'scene', id: 'movie' },
  { kind: 'scene', id: 'dusk' },
  { kind: 'scene', id: 'dark' },
] as const;
const SPANS = ['18:00-23:30', '22:00-06:00', '00:00-24:00', '06:00-06:01', '23:59-00:00', '12:00-24:00', '00:00-00:01'];
const ACTION_NAMES: readonly Action[] = [
  'on',
  'off',
  'toggle',
  'brightness',
  'color',
  'color_temp',
  'white',
  'effect',
  'flash',
  'transition',
];

test('every cell of scope x lamp x action x hour x sender, over one table', async () => {
  const rows: readonly PolicyRow[] = [
    { principals: ['owner'], lights: ['porch'], hours: ['22:00-06:00'] },
    { principals: ['owner', 'broker'], actions: ['on', 'off'], lights: ['evening'] },
    { principals: ['alice'], scopes: ['lights:night'], actions: ['brightness', 'color'], hours: ['20:00-24:00'] },
    { principals: [PHONE], lights: ['hall'], actions: ['effect'] },
  ];
  const senders: readonly Partial<Case>[] = [
    { sender: 'local' },
    { sender: 'broker' },
    ...[OWNER, 'alice', 'stranger'].flatMap((subject) =>
      [['lights:control'], ['lights:control', 'lights:night'], ['lights:night'], ['lights:read']].flatMap((scopes) =>
        [
          { boundToken: false, proof: false, require: 'bearer' as const },
          { boundToken: true, proof: true, require: 'bound' as const },
          { boundToken: false, proof: false, require: 'bound' as const },
        ].map((bound) => ({ sender: 'token' as const, subject, scopes, ...bound })),
      ),
    ),
  ];
  const base: Case = {
    rows,
    unsigned: 'allow',
    require: 'bearer',
    sender: 'local',
    subject: OWNER,
    client: PHONE,
    scopes: [],
    details: undefined,
    boundToken: false,
    proof: false,
    target: TARGETS[0],
    change: {},
    minute: 0,
  };
  const seen: Record<string, number> = {};
  for (const sender of senders) {
    for (const target of TARGETS) {
      for (const change of target.kind === 'scene' ? [{}] : CHANGES.slice(0, 12)) {
        for (const minute of [5 * 60 + 59, 6 * 60, 20 * 60, 22 * 60]) {
          const one = { ...base, ...sender, target, change, minute };
          const code = expected(one);
          seen[code] = (seen[code] ?? 0) + 1;
          // Cheap refusals of the token are the same in every cell: one lamp is enough.
          if (['principal_unknown', 'token_scope', 'proof_missing'].includes(code) && target.id !== 'porch') continue;
          const got = await decided(one);
          if (got !== code) expect([got, one]).toEqual([code, one]);
        }
      }
    }
  }
  expect(seen).toMatchObject({ accepted: expect.any(Number), policy: expect.any(Number) });
});

const some = <T>(values: readonly T[], minLength = 0): fc.Arbitrary<T[]> =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength, maxLength: 4 });
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined, freq: 1 });
/** Without the members that are undefined. */
const lean = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T;

const row = fc
  .record({
    principals: maybe(some(['owner', 'alice', 'broker', 'local', 'nobody', PHONE, OWNER], 1)),
    scopes: maybe(some(['lights:control', 'lights:night'])),
    lights: maybe(some(['porch', 'hall', 'evening'], 1)),
    actions: maybe(some(ACTION_NAMES, 1)),
    hours: maybe(some(SPANS, 1)),
  })
  .map((value) => lean(value) as PolicyRow);
const detail = fc
  .record({
    type: fc.constantFrom('porchlight', 'porchlight', 'payment', 'Porchlight'),
    locations: maybe(some([AUDIENCE, 'https://elsewhere.example'])),
    lights: maybe(some(['porch', 'hall', 'evening', 'attic'])),
    actions: maybe(some([...ACTION_NAMES, ...ACTION_NAMES, 'ON', 'unlock'])),
    hours: maybe(some(SPANS)),
    colour: fc.constantFrom(undefined, undefined, undefined, undefined, 'red'),
  })
  .map((value) => lean(value) as Detail);
const anyCase: fc.Arbitrary<Case> = fc.record({
  rows: fc.option(fc.array(row, { maxLength: 3 }), { nil: undefined, freq: 4 }),
  unsigned: fc.constantFrom<Unsigned>('deny', 'allow', 'allow', { lights: ['porch'] }, { lights: ['hall', 'porch'] }),
  require: fc.constantFrom('bearer', 'bearer', 'bound'),
  sender: fc.constantFrom('local', 'broker', 'token', 'token', 'token', 'token'),
  subject: fc.constantFrom(OWNER, OWNER, OWNER, 'alice', 'alice', 'stranger', 'broker'),
  client: fc.constantFrom(PHONE, PHONE, 'tablet', OWNER),
  scopes: some(['lights:control', 'lights:control', 'lights:night', 'lights:read']).map((scopes) =>
    ['lights:control', ...scopes].slice(scopes.length % 3 === 2 ? 1 : 0),
  ),
  details: maybe(fc.array(detail, { maxLength: 3 })),
  boundToken: fc.boolean(),
  proof: fc.constantFrom(true, true, true, true, true, false),
  target: fc.constantFrom(...TARGETS),
  change: fc.constantFrom(...CHANGES),
  minute: fc.oneof(fc.constantFrom(0, 359, 360, 361, 1079, 1080, 1319, 1320, 1409, 1410, 1439), fc.nat({ max: 1439 })),
});

test('any table, any details, any command: the gate decides as the documentation says', async () => {
  const seen: Record<string, number> = {};
  await fc.assert(
    fc.asyncProperty(anyCase, async (one) => {
      const code = expected(one);
      seen[code] = (seen[code] ?? 0) + 1;
      expect(await decided(one)).toBe(code);
    }),
    { numRuns: 700 },
  );
  // The property would say nothing if nearly everything were refused.
  expect(seen['accepted']).toBeGreaterThan(40);
  expect(seen['policy']).toBeGreaterThan(40);
});
