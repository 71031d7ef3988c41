import type { IPublishPacket } from 'mqtt';
import { expect, test } from 'vitest';
import type { Command } from '../../src/lights/command.ts';
import { readCommand } from '../../src/mqtt/message.ts';

type Properties = NonNullable<IPublishPacket['properties']>;

function read(body: object | string, properties?: Properties, topic = {}, retain = false): Command {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const packet: IPublishPacket = { cmd: 'publish', topic: 't', payload: text, qos: 1, dup: false, retain };
  return readCommand(
    { kind: 'lights', target: 'porch', tree: 'authorized', ...topic },
    Buffer.from(text),
    properties === undefined ? packet : { ...packet, properties },
    1000,
  );
}
const ON = { state: 'ON' };
const user = (userProperties: Record<string, string | string[]>): Properties => ({ userProperties });

test.each([
  ['Bearer a.b.c', 'a.b.c'],
  ['bearer a.b.c', 'a.b.c'],
  ['BEARER   a.b.c', 'a.b.c'],
])('the user property %j carries a token', (authorization, token) => {
  expect(read(ON, user({ authorization })).credential).toEqual({ kind: 'bearer', token });
});

test.each(['Bearer', 'Bearer ', 'Basic a', 'a.b.c', '', 'Bearera.b.c'])(
  'the user property %j is no token',
  (authorization) => {
    expect(() => read(ON, user({ authorization }))).toThrow(expect.objectContaining({ code: 'token_invalid' }));
  },
);

test('the payload member carries a token with or without its scheme, and a command without one says so', () => {
  expect(read({ ...ON, authorization: 'Bearer a.b.c' }).credential).toEqual({ kind: 'bearer', token: 'a.b.c' });
  expect(read({ ...ON, authorization: 'a.b.c' }).credential).toEqual({ kind: 'bearer', token: 'a.b.c' });
  expect(read(ON).credential).toEqual({ kind: 'bearer', token: undefined });
});

test('a property of the name in other letters, or of an ancestor, is not the token', () => {
  expect(read(ON, user({ Authorization: 'Bearer x' })).credential).toEqual({ kind: 'bearer', token: undefined });
});

test('on the local tree the broker vouches, whatever else the message carries', () => {
  const local = { tree: 'local' };
  expect(read(ON, user({ authorization: ['a', 'b'] }), local).credential).toEqual({ kind: 'broker' });
  expect(read({ ...ON, authorization: 'x' }, undefined, local)).toMatchObject({
    credential: { kind: 'broker' },
    change: ON,
  });
});

test('a proof comes with what it must fit: topic, Response Topic as named, and the bytes', () => {
  const body = '{"state":"ON"} ';
  const properties = { ...user({ authorization: 'Bearer a.b.c', proof: 'd.e.f' }), responseTopic: 'elsewhere/of mine' };
  const { credential } = read(body, properties);
  expect(credential).toEqual({
    kind: 'bearer',
    token: 'a.b.c',
    proof: { jwt: 'd.e.f', topic: 't', responseTopic: 'elsewhere/of mine', payload: Buffer.from(body) },
  });
  expect(read(body, user({ proof: '' })).credential).toEqual({
    kind: 'bearer',
    token: undefined,
    proof: { jwt: '', topic: 't', payload: Buffer.from(body) },
  });
  expect(read(' ', user({ proof: ['d'] })).credential).toMatchObject({
    proof: { jwt: 'd', payload: Buffer.from(' ') },
  });
});

test('two proofs are none, the payload holds none, and the local tree asks for none', () => {
  const two = user({ proof: ['a', 'a'] });
  expect(() => read(ON, two)).toThrow(expect.objectContaining({ code: 'proof_invalid' }));
  expect(read(ON, two, { tree: 'local' }).credential).toEqual({ kind: 'broker' });
  expect(read({ ...ON, proof: 'd.e.f' }).credential).not.toHaveProperty('proof');
  expect(read(ON, user({ Proof: 'd.e.f' })).credential).not.toHaveProperty('proof');
});

test('the sooner of expires_in and the Message Expiry Interval counts, from arrival', () => {
  expect(read(ON)).not.toHaveProperty('expiresAt');
  expect(read({ ...ON, expires_in: 5 }).expiresAt).toBe(6000);
  expect(read(ON, { messageExpiryInterval: 2 }).expiresAt).toBe(3000);
  expect(read({ ...ON, expires_in: 5 }, { messageExpiryInterval: 2 }).expiresAt).toBe(3000);
  expect(read({ ...ON, expires_in: 0.5 }, { messageExpiryInterval: 2 }).expiresAt).toBe(1500);
  expect(read(ON, { messageExpiryInterval: 0 }).expiresAt).toBe(1000);
});

test('sent_at is read from the member or the user property; the earlier of two counts', () => {
  const ms = Date.UTC(2026, 0, 31, 20, 15);
  expect(read({ ...ON, sent_at: '2026-01-31T20:15:00Z' }).sentAt).toBe(ms);
  expect(read(ON, user({ sent_at: '2026-01-31T21:15:00+01:00' })).sentAt).toBe(ms);
  expect(read(ON, user({ sent_at: String(ms / 1000) })).sentAt).toBe(ms);
  expect(read({ ...ON, sent_at: ms / 1000 }, user({ sent_at: String(ms / 1000 - 60) })).sentAt).toBe(ms - 60_000);
  for (const sent_at of ['yesterday', '', '2026-01-31', '2026-01-31T20:15:00', '-5', '1e3', '2026-99-99T20:15:00Z']) {
    expect(read(ON, user({ sent_at })).problem?.code).toBe('bad_command');
  }
  expect(read(ON, user({ sent_at: ['1', '2'] })).problem?.code).toBe('bad_command');
});

test('what cannot be read says why, and keeps what its sender can be told by', () => {
  expect(read('lies').problem?.code).toBe('bad_command');
  expect(read(' '.repeat(20_000)).problem?.code).toBe('payload_too_large');
  expect(read('lies', undefined, {}, true)).toMatchObject({ retained: true, problem: { code: 'bad_command' } });
  expect(read(ON, undefined, {}, true).retained).toBe(true);
  expect(read(ON)).not.toHaveProperty('problem');
  expect(read({ brightness: 999, id: '7', authorization: 'a.b.c' })).toMatchObject({
    id: '7',
    change: {},
    credential: { kind: 'bearer', token: 'a.b.c' },
    problem: { code: 'bad_command', message: expect.stringContaining('brightness') },
  });
  expect(read('lies', user({ authorization: 'Bearer a.b.c' })).credential).toEqual({ kind: 'bearer', token: 'a.b.c' });
  expect(read({ brightness: 999, id: 'x'.repeat(65) })).not.toHaveProperty('id');
});

test('a scene takes an empty object, and a lamp does not', () => {
  expect(read({}, undefined, { kind: 'scene' })).toMatchObject({ kind: 'scene', change: {} });
  expect(read({}).problem?.code).toBe('bad_command');
});
