import fc from 'fast-check';
import { type Answer, HOSTILE, truth, WITNESS } from './controller.ts';

/** One attack: what the radio is doing with the hostile lamp, how that lamp answers, and what else comes over the stream. */
export interface Case {
  readonly during: 'connecting' | 'discovering' | 'idle' | 'reading' | 'writing' | 'subscribing';
  /** To each attribute request the next; afterwards the truth, or, after one without end, that one for ever. */
  readonly answers: readonly Lie[];
  /** Octets on the H4 stream, hex. */
  readonly packets: readonly string[];
  /** Does the radio handle each packet before the next is sent? */
  readonly apart: boolean;
}

/** A PDU in hex, or one that is made to fit the question. */
export type Lie = string | (typeof MADE)[number];
const MADE = [
  'truth',
  'silence',
  'services without end',
  'services that go back',
  'characteristics without end',
  'characteristics that go back',
  'a value without end',
  'a flood of notifications',
  'the question',
  'the answer twice',
] as const;

const hex = (bytes: Iterable<number>): string => Buffer.from([...bytes]).toString('hex');
const u16 = (value: number): readonly number[] => [value & 0xff, (value >> 8) & 0xff];

/** The hostile lamp's answers, one after the other. */
export function liar(lies: readonly Lie[]): Answer | undefined {
  if (lies.length === 0) return undefined;
  let next = 0;
  return (request) => {
    const lie = lies[next] ?? 'truth';
    if (!/without end|go back/.test(lie)) next += 1;
    return made(lie, request);
  };
}

function made(lie: Lie, request: Buffer): Buffer | undefined {
  const start = request.length >= 3 ? request.readUInt16LE(1) : 0;
  const asks = (opcode: number): boolean => request[0] === opcode;
  switch (lie) {
    case 'truth':
      return truth(request);
    case 'silence':
      return undefined;
    case 'services without end':
      return asks(0x10) ? Buffer.from([0x11, 6, ...u16(start), ...u16(start), ...u16(start)]) : truth(request);
    case 'services that go back':
      return asks(0x10) ? Buffer.from([0x11, 6, 1, 0, 1, 0, ...u16(0xfff0)]) : truth(request);
    case 'characteristics without end':
      // A service that has room for them.
      if (asks(0x10)) return Buffer.from([0x11, 6, 1, 0, 0xff, 0xff, ...u16(0xfff0)]);
      return asks(0x08) ? Buffer.from([0x09, 7, ...u16(start), 0x0a, ...u16(start + 1), 1, 2]) : truth(request);
    case 'characteristics that go back':
      if (asks(0x10)) return Buffer.from([0x11, 6, 1, 0, 0xff, 0xff, ...u16(0xfff0)]);
      return asks(0x08) ? Buffer.from([0x09, 7, 1, 0, 0x0a, 2, 0, 1, 2]) : truth(request);
    case 'a value without end':
      // noble takes an answer as long as the MTU for one that goes on.
      return asks(0x0a) || asks(0x0c)
        ? Buffer.from([(request[0] ?? 0) + 1, ...Array.from({ length: 246 }, () => 7)])
        : truth(request);
    case 'a flood of notifications':
      return Buffer.from([0x1b, 5, 0, 1]);
    case 'the question':
      return Buffer.from(request);
    case 'the answer twice':
      return Buffer.concat([truth(request), truth(request)]);
    default:
      return Buffer.from(lie, 'hex');
  }
}

const octet = fc.integer({ min: 0, max: 255 });
const word = fc.oneof(
  fc.constantFrom(0, 1, 2, 3, 5, 6, 22, 23, 255, 256, 0x7fff, 0x8000, 0xfffe, 0xffff),
  fc.integer({ min: 0, max: 0xffff }),
);
const bytes = (maxLength: number) => fc.array(octet, { maxLength });

/** Octets changed, cut off, put in twice: what is nearly right goes deepest. */
const mutated = (valid: fc.Arbitrary<readonly number[]>): fc.Arbitrary<readonly number[]> =>
  fc
    .tuple(
      valid,
      fc.array(
        fc.oneof(
          fc.record({ op: fc.constant('set' as const), at: fc.nat(80), to: octet }),
          fc.record({ op: fc.constant('cut' as const), at: fc.nat(80), to: octet }),
          fc.record({ op: fc.constant('twice' as const), at: fc.nat(80), to: octet }),
          fc.record({ op: fc.constant('drop' as const), at: fc.nat(80), to: octet }),
        ),
        { maxLength: 3 },
      ),
    )
    .map(([start, changes]) => {
      let now = [...start];
      for (const { op, at, to } of changes) {
        const place = now.length === 0 ? 0 : at % now.length;
        if (op === 'set') now[place] = to;
        else if (op === 'cut') now = now.slice(0, place);
        else if (op === 'twice') now.splice(place, 0, ...now.slice(place, place + (to % 8)));
        else now.splice(place, 1);
      }
      return now;
    });

const list = (opcode: number, element: fc.Arbitrary<readonly number[]>): fc.Arbitrary<readonly number[]> =>
  fc.array(element, { maxLength: 6 }).map((elements) => [opcode, elements[0]?.length ?? 0, ...elements.flat()]);

const uuid = fc.oneof(word.map(u16), fc.array(octet, { minLength: 16, maxLength: 16 }));
const service = fc.tuple(word, word, uuid).map(([start, end, id]) => [...u16(start), ...u16(end), ...id]);
const characteristic = fc
  .tuple(word, octet, word, uuid)
  .map(([at, properties, value, id]) => [...u16(at), properties, ...u16(value), ...id]);

/** Attribute packets (Core specification, Vol 3, Part F, 3.4): every opcode, as answer, question and command. */
const att: fc.Arbitrary<readonly number[]> = fc.oneof(
  mutated(fc.tuple(octet, word, octet).map(([request, handle, code]) => [0x01, request, ...u16(handle), code])),
  fc.tuple(fc.constantFrom(0x02, 0x03), word).map(([opcode, mtu]) => [opcode, ...u16(mtu)]),
  mutated(list(0x11, service)),
  mutated(list(0x09, characteristic)),
  mutated(fc.tuple(fc.constantFrom(1, 2, 3), fc.array(service)).map(([format, all]) => [0x05, format, ...all.flat()])),
  mutated(fc.tuple(fc.constantFrom(0x1b, 0x1d, 0x23), word, bytes(30)).map(([op, at, v]) => [op, ...u16(at), ...v])),
  fc.tuple(octet, bytes(40)).map(([opcode, rest]) => [opcode, ...rest]),
  fc.constant([]),
  fc
    .tuple(fc.constantFrom(0x0b, 0x0d, 0x1b, 0x13), fc.integer({ min: 200, max: 600 }))
    .map(([opcode, length]) => [opcode, ...Array.from({ length }, () => 0x41)]),
);

/** Security Manager (Part H, 3.3 to 3.6) and signalling (Part A, 4): codes, lengths that fit and that do not. */
const security = mutated(fc.tuple(fc.integer({ min: 0, max: 16 }), bytes(66)).map(([code, rest]) => [code, ...rest]));
const signalling = fc.oneof(
  mutated(
    fc
      .tuple(octet, word, word, word, word)
      .map(([id, ...values]) => [0x12, id, 8, 0, ...values.flatMap((value) => [...u16(value)])]),
  ),
  mutated(fc.tuple(octet, octet, bytes(24)).map(([code, id, rest]) => [code, id, ...u16(rest.length), ...rest])),
);

const handle = fc.oneof(
  { weight: 8, arbitrary: fc.constant<number>(HOSTILE.handle) },
  { weight: 1, arbitrary: fc.constant<number>(WITNESS.handle) },
  { weight: 1, arbitrary: fc.constantFrom(0, 3, 0xeff, 0xfff) },
);

const l2cap = fc
  .oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant(4), att) },
    { weight: 1, arbitrary: fc.tuple(fc.constant(6), security) },
    { weight: 1, arbitrary: fc.tuple(fc.constant(5), signalling) },
    { weight: 1, arbitrary: fc.tuple(fc.constantFrom(0, 1, 2, 3, 7, 0x3a, 0x40, 0x7f, 0xffff), bytes(40)) },
  )
  .chain(([channel, pdu]) =>
    fc
      .oneof({ weight: 9, arbitrary: fc.constant(pdu.length) }, { weight: 1, arbitrary: word })
      .map((length) => [...u16(length), ...u16(channel), ...pdu]),
  );

const aclOf = (at: number, flags: number, payload: readonly number[]): readonly number[] => [
  2,
  ...u16((at & 0x0fff) | (flags << 12)),
  ...u16(payload.length),
  ...payload,
];

/** Whole, cut into fragments that say so, or with whatever boundary flags. */
const acl = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(handle, l2cap).map(([at, payload]) => aclOf(at, 2, payload)) },
  {
    weight: 2,
    arbitrary: fc.tuple(handle, l2cap, fc.integer({ min: 1, max: 30 })).map(([at, payload, size]) => {
      const pieces: number[] = [];
      for (let from = 0; from < payload.length; from += size) {
        pieces.push(...aclOf(at, from === 0 ? 2 : 1, payload.slice(from, from + size)));
      }
      return pieces;
    }),
  },
  {
    weight: 2,
    arbitrary: fc
      .array(fc.tuple(handle, fc.integer({ min: 0, max: 15 }), fc.oneof(l2cap, bytes(12))), {
        minLength: 1,
        maxLength: 6,
      })
      .map((all) => all.flatMap(([at, flags, payload]) => [...aclOf(at, flags, payload)])),
  },
);

const event = (code: number, parameters: readonly number[]): readonly number[] => {
  const fitting = parameters.slice(0, 255);
  return [4, code, fitting.length, ...fitting];
};

const addressOf = (address: string): readonly number[] =>
  [...Buffer.from(address.replaceAll(':', ''), 'hex')].reverse();
const address = fc.oneof(
  fc.array(octet, { minLength: 6, maxLength: 6 }),
  fc.constantFrom(addressOf(WITNESS.address), addressOf(HOSTILE.address), [0, 0, 0, 0, 0, 0]),
);

/** AD structures (Supplement, Part A), with lengths that fit and that do not. */
const structures = mutated(
  fc
    .array(
      fc.oneof(
        fc.tuple(octet, bytes(20)),
        fc.tuple(fc.constantFrom(0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x16, 0x20, 0x21, 0xff), bytes(34)),
      ),
      { maxLength: 5 },
    )
    .map((all) => all.flatMap(([type, value]) => [value.length + 1, type, ...value])),
);

const legacyReport = fc
  .tuple(
    fc.oneof(fc.integer({ min: 0, max: 4 }), octet),
    fc.oneof(fc.constantFrom(0, 1, 2, 3, 0xff), octet),
    address,
    structures,
    octet,
  )
  .map(([type, kind, from, data, rssi]) => [type, kind, ...from, data.length & 0xff, ...data, rssi]);
const extendedReport = fc
  .tuple(
    fc.oneof(fc.constantFrom(0x13, 0x20, 0x40, 0x60, 0x01), word),
    fc.constantFrom(0, 1, 2, 3, 0xff),
    address,
    structures,
    octet,
  )
  .map(([type, kind, from, data, rssi]) => [
    ...u16(type),
    kind,
    ...from,
    ...[1, 0, 0xff, 0x7f, rssi, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    data.length & 0xff,
    ...data,
  ]);
const reports = fc
  .oneof(
    fc.tuple(fc.constant(0x02), fc.array(legacyReport, { maxLength: 8 })),
    fc.tuple(fc.constant(0x0d), fc.array(extendedReport, { maxLength: 5 })),
  )
  .chain(([subevent, all]) =>
    fc
      .oneof({ weight: 5, arbitrary: fc.constant(all.length) }, { weight: 1, arbitrary: octet })
      .map((count) => event(0x3e, [subevent, count, ...all.flat()])),
  );

/** Handles with reserved bits in them too: what one side masks and the other does not tears their books apart. */
const anyHandle = fc.oneof(
  handle,
  handle.map((at) => at | 0x1000),
  handle.map((at) => at | 0xf000),
  word,
);
const connection = fc
  .tuple(
    fc.constantFrom(0x01, 0x0a, 0x29),
    fc.oneof(fc.constantFrom(0, 0x02, 0x3e), octet),
    anyHandle,
    fc.constantFrom(0, 1),
    address,
  )
  .map(([subevent, status, at, role, from]) =>
    event(0x3e, [
      subevent,
      status,
      ...u16(at),
      role,
      0,
      ...from,
      ...Array.from({ length: subevent === 1 ? 7 : 19 }, () => 0),
    ]),
  );
const OPCODES = [
  0x0000, 0x0406, 0x0c03, 0x0c01, 0x0c6c, 0x0c6d, 0x1001, 0x1002, 0x1005, 0x1009, 0x1405, 0x2001, 0x2002, 0x2003,
  0x200b, 0x200c, 0x200d, 0x200e, 0x2013, 0x2019, 0x2022, 0x202f, 0x2041, 0x2042, 0x2043,
];
const opcode = fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...OPCODES) }, { weight: 1, arbitrary: word });

/** Events (Vol 4, Part E, 7.7) that were asked for, that were not, and that never were any. */
const controllerEvent: fc.Arbitrary<readonly number[]> = fc.oneof(
  reports,
  reports,
  connection,
  fc.tuple(octet, anyHandle, octet).map(([status, at, reason]) => event(0x05, [status % 3, ...u16(at), reason])),
  fc.tuple(octet, opcode, bytes(20)).map(([credits, of, rest]) => event(0x0e, [credits, ...u16(of), ...rest])),
  fc.tuple(octet, octet, opcode).map(([status, credits, of]) => event(0x0f, [status, credits, ...u16(of)])),
  fc
    .tuple(octet, fc.array(fc.tuple(anyHandle, word), { maxLength: 5 }))
    .map(([lie, all]) =>
      event(0x13, [lie < 200 ? all.length : lie, ...all.flatMap(([at, count]) => [...u16(at), ...u16(count)])]),
    ),
  fc.tuple(octet, anyHandle, octet).map(([status, at, on]) => event(0x08, [status % 2, ...u16(at), on])),
  fc.tuple(octet, bytes(40)).map(([subevent, rest]) => event(0x3e, [subevent, ...rest])),
  fc.tuple(octet, bytes(40)).map(([code, rest]) => event(code, rest)),
);

const packet = fc.oneof(
  { weight: 10, arbitrary: acl },
  { weight: 8, arbitrary: controllerEvent },
  {
    weight: 2,
    arbitrary: mutated(controllerEvent).map((one) => [4, one[1] ?? 0, Math.max(0, one.length - 3), ...one.slice(3)]),
  },
  // Other types of the transport: commands (a raw socket shows others'), synchronous and isochronous data.
  { weight: 1, arbitrary: fc.tuple(opcode, bytes(12)).map(([of, rest]) => [1, ...u16(of), rest.length, ...rest]) },
  { weight: 1, arbitrary: bytes(12).map((rest) => [3, 2, 0, rest.length, ...rest]) },
  { weight: 1, arbitrary: bytes(12).map((rest) => [5, 2, 0, rest.length, 0, ...rest]) },
);

const lie: fc.Arbitrary<Lie> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...MADE) },
  { weight: 3, arbitrary: fc.constant<Lie>('truth') },
  { weight: 4, arbitrary: att.map(hex) },
);

/** Attacks of every layer above the stream's framing. */
export const attack: fc.Arbitrary<Case> = fc.record({
  during: fc.oneof(
    { weight: 1, arbitrary: fc.constant('connecting' as const) },
    { weight: 40, arbitrary: fc.constantFrom('discovering', 'idle', 'reading', 'writing', 'subscribing') },
  ),
  answers: fc.array(lie, { maxLength: 6 }),
  packets: fc.array(packet.map(hex), { maxLength: 12 }),
  apart: fc.boolean(),
});

/** Attacks on the framing: the stream is lost, and the process may end for it. */
export const garbage: fc.Arbitrary<Case> = fc.record({
  during: fc.constantFrom('discovering', 'idle'),
  answers: fc.constant([]),
  packets: fc.array(fc.oneof(bytes(300).map(hex), packet.map(hex)), { minLength: 1, maxLength: 6 }),
  apart: fc.boolean(),
});
