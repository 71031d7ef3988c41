import { describe, expect, it } from 'vitest';
import { AttServer } from '../../../src/bluetooth/air/att-server.ts';
import { attributeTable } from '../../../src/bluetooth/air/gatt.ts';

/** Expected bytes are from the Core Specification 5.4, Vol 3 Part F section 3.4 (ATT) and Part G (GATT). */

const LONG = '01234567-89ab-cdef-0123-456789abcdef';
const TABLE = attributeTable('Porch', [
  { uuid: 'ffd0', characteristics: [{ uuid: 'ffd4', properties: ['notify'] }] },
  { uuid: 'ffd5', characteristics: [{ uuid: 'ffd9', properties: ['writeWithoutResponse'] }] },
  { uuid: LONG, characteristics: [{ uuid: '2a19', properties: ['read', 'write'], value: Buffer.alloc(30, 7) }] },
]);
/*
 * 1 GAP: 2-3 name, 4-5 appearance. 6 GATT: 7-8 service changed, 9 its CCCD. 10 ffd0: 11-12 ffd4, 13 its CCCD.
 * 14 ffd5: 15-16 ffd9. 17 the long one: 18-19 2a19.
 */

function server(options: { readonly refuses?: number; readonly mtu?: number } = {}) {
  const seen: string[] = [];
  const att = new AttServer(
    TABLE,
    {
      written: (characteristic, bytes, kind) => {
        seen.push(`${characteristic} ${bytes.toString('hex')} ${kind}`);
        return options.refuses ?? 0;
      },
      subscribed: (characteristic, on) => void seen.push(`${characteristic} ${on ? 'subscribed' : 'unsubscribed'}`),
      mtuRefused: () => 0,
    },
    options.mtu ?? 23,
  );
  const ask = (hex: string): string | undefined =>
    att.handle(Buffer.from(hex.replaceAll(' ', ''), 'hex'))?.toString('hex');
  return { att, ask, seen };
}

const h = (spaced: string): string => spaced.replaceAll(' ', '');

describe('discovery', () => {
  it.each([
    [
      'primary services of 16 bits, and those of 128 bits apart',
      '10 0100 ffff 0028',
      '11 06 0100 0500 0018 0600 0900 0118 0a00 0d00 d0ff',
    ],
    ['the rest of them', '10 0e00 ffff 0028', '11 06 0e00 1000 d5ff'],
    ['a 128-bit service', '10 1100 ffff 0028', '11 14 1100 1300 efcdab8967452301efcdab8967452301'],
    ['no service any more: attribute not found', '10 1400 ffff 0028', '01 10 1400 0a'],
    ['secondary services: none', '10 0100 ffff 0128', '01 10 0100 0a'],
    ['groups of characteristics: unsupported group type', '10 0100 ffff 0328', '01 10 0100 10'],
    [
      'primary services by their 128-bit type',
      '10 0e00 1000 fb349b5f8000008000100000 00280000',
      '11 06 0e00 1000 d5ff',
    ],
    ['characteristics of a service', '08 0a00 0d00 0328', '09 07 0b00 10 0c00 d4ff'],
    ['two characteristics at once', '08 0100 0500 0328', '09 07 0200 02 0300 002a 0400 02 0500 012a'],
    ['the CCCD within a characteristic', '08 0b00 0d00 0229', '09 04 0d00 0000'],
    ['by type, not readable', '08 0a00 0d00 d4ff', '01 08 0c00 02'],
    ['by type, not there', '08 0a00 0d00 3412', '01 08 0a00 0a'],
    ['descriptors', '04 0d00 0d00', '05 01 0d00 0229'],
    [
      'descriptors, as many as fit into 23 bytes',
      '04 0100 ffff',
      '05 01 0100 0028 0200 0328 0300 002a 0400 0328 0500 012a',
    ],
    ['descriptors, none there', '04 1400 ffff', '01 04 1400 0a'],
    ['a service by its value', '06 0100 ffff 0028 d5ff', '07 0e00 1000'],
    ['a service by a value that nobody has', '06 0100 ffff 0028 adde', '01 06 0100 0a'],
    ['handle 0', '10 0000 ffff 0028', '01 10 0000 01'],
    ['an end before its start', '08 0500 0400 0328', '01 08 0500 01'],
  ])('%s', (_, request, answer) => {
    expect(server().ask(request)).toBe(h(answer));
  });
});

describe('reading', () => {
  it.each([
    ['the device name', '0a 0300', '0b 506f726368'],
    ['what is longer than the MTU, cut', '0a 1300', `0b ${'07'.repeat(22)}`],
    ['the rest of it', '0c 1300 1600', `0d ${'07'.repeat(8)}`],
    ['the end of it: nothing', '0c 1300 1e00', '0d'],
    ['past the end: invalid offset', '0c 1300 1f00', '01 0c 1300 07'],
    ['what may not be read', '0a 1000', '01 0a 1000 02'],
    ['a handle that is not there', '0a 6300', '01 0a 6300 01'],
    ['handle 0', '0a 0000', '01 0a 0000 01'],
    ['two values at once', '0e 0300 0500', '0f 506f726368 0000'],
  ])('%s', (_, request, answer) => {
    expect(server().ask(request)).toBe(h(answer));
  });
});

describe('writing', () => {
  it('takes a command where commands are permitted, and answers nothing', () => {
    const { ask, seen } = server();
    expect(ask('52 1000 cc2333')).toBeUndefined();
    expect(seen).toEqual(['ffd9 cc2333 command']);
  });

  it.each([
    ['a request where only commands are permitted', '12 1000 cc2333', '01 12 1000 03'],
    ['a request to a handle that is not there', '12 6300 01', '01 12 6300 01'],
    ['a request to a declaration', '12 0f00 01', '01 12 0f00 03'],
    ['a CCCD that is not two bytes long', '12 0d00 01', '01 12 0d00 0d'],
    ['a prepared write where requests are not permitted', '16 1000 0000 01', '01 16 1000 03'],
  ])('refuses %s', (_, request, answer) => {
    const { ask, seen } = server();
    expect(ask(request)).toBe(h(answer));
    expect(seen).toEqual([]);
  });

  it.each([
    ['to where commands are not permitted', '52 1300 01'],
    ['to a handle that is not there', '52 6300 01'],
    ['longer than the link carries', `52 1000 ${'00'.repeat(21)}`],
    ['without a handle', '52 10'],
    ['signed', `d2 1000 01 ${'00'.repeat(12)}`],
  ])('drops a command %s', (_, command) => {
    const { ask, seen } = server();
    expect(ask(command)).toBeUndefined();
    expect(seen).toEqual([]);
  });

  it('answers with the error that the lamp gives', () => {
    expect(server({ refuses: 0x80 }).ask('12 1300 01')).toBe('0112130080');
  });

  it('keeps what was written to a readable value', () => {
    const { ask } = server();
    expect(ask('12 1300 0102')).toBe('13');
    expect(ask('0a 1300')).toBe('0b0102');
  });

  it('puts a long write together, and forgets it when it is cancelled', () => {
    const { ask, seen } = server();
    expect(ask('16 1300 0000 0102')).toBe(h('17 1300 0000 0102'));
    expect(ask('16 1300 0200 03')).toBe(h('17 1300 0200 03'));
    expect(ask('18 01')).toBe('19');
    expect(seen).toEqual(['2a19 010203 request']);
    ask('16 1300 0000 ff');
    expect(ask('18 00')).toBe('19');
    expect(ask('18 01')).toBe('19');
    expect(seen.length).toBe(1);
  });

  it('refuses long writes with gaps, too many pieces, too long values, and odd flags', () => {
    const { ask, seen } = server();
    ask('16 1300 0100 01');
    expect(ask('18 01')).toBe('0118130007');
    for (let n = 0; n < 64; n++) ask(`16 1300 ${u16(n * 18)} ${'aa'.repeat(18)}`);
    expect(ask('16 1300 0000 01')).toBe('0116130009');
    expect(ask('18 01')).toBe('011813000d');
    expect(ask('18 02')).toBe('0118000004');
    expect(seen).toEqual([]);
  });

  it('notifies only who has subscribed, and cut to the MTU', () => {
    const { att, ask, seen } = server();
    const value = Buffer.alloc(30, 1);
    expect(att.notification('ffd4', value)).toBeUndefined();
    expect(ask('12 0d00 0100')).toBe('13');
    expect(att.notification('ffd4', value)?.toString('hex')).toBe(`1b0c00${'01'.repeat(20)}`);
    expect(ask('12 0d00 0000')).toBe('13');
    expect(att.notification('ffd4', value)).toBeUndefined();
    expect(seen).toEqual(['ffd4 subscribed', 'ffd4 unsubscribed']);
  });
});

const u16 = (value: number): string => Buffer.of(value & 0xff, value >> 8).toString('hex');

describe('the MTU', () => {
  it('is the smaller of both, and 23 at least', () => {
    const { ask } = server({ mtu: 50 });
    expect(ask('02 0001')).toBe('033200');
    expect(ask('0a 1300')).toBe(`0b${'07'.repeat(30)}`);
    expect(ask('02 0500')).toBe('033200');
    expect(ask('0a 1300')).toBe(`0b${'07'.repeat(22)}`);
  });
});

describe('what is no request', () => {
  it.each([
    ['nothing at all', '', undefined],
    ['a response', '13', undefined],
    ['a notification', '1b0c00ff', undefined],
    ['a confirmation', '1e', undefined],
    ['an unknown command', '7e00', undefined],
    ['an unknown request', '3e00', '013e000006'],
    ['a read without a handle', '0a', '010a000004'],
    ['an MTU exchange that is too long', '0200010203', '0102000004'],
    ['a read by type with a type of 3 bytes', '080100ffff000328', '0108000004'],
  ])('%s', (_, pdu, answer) => {
    expect(server().ask(pdu)).toBe(answer);
  });

  it('bears any bytes', () => {
    const { att } = server();
    let seed = 7;
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff;
      return seed % below;
    };
    for (let n = 0; n < 5000; n++) {
      const answer = att.handle(
        Buffer.from(Array.from({ length: random(30) }, () => random(256) & (random(2) ? 0x1f : 0xff))),
      );
      expect(answer === undefined || answer.length <= 517).toBe(true);
    }
  });
});
