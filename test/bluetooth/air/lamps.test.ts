import { describe, expect, it } from 'vitest';
import { VirtualLamp } from '../../../src/bluetooth/air/lamp.ts';
import { type LampInput, type LampState, parseRequest, type Written } from '../../../src/bluetooth/air/messages.ts';

interface Bench {
  readonly lamp: VirtualLamp;
  readonly written: Written[];
  readonly pushed: string[];
  /** Writes by command to the lamp's control characteristic. Returns what the lamp made of it. */
  write(hex: string, afterMs?: number): string | undefined;
  reconnect(): void;
}

/** A connected lamp; `control` and `cccd` are attribute handles. */
function bench(spec: Omit<LampInput, 'address'>): Bench {
  const parsed = parseRequest({ op: 'start', listen: { tcp: 0 }, lamps: [{ ...spec, address: '00:00:00:00:00:01' }] });
  if (!('request' in parsed) || parsed.request.op !== 'start') throw new Error(JSON.stringify(parsed));
  const [lampSpec] = parsed.request.lamps;
  if (lampSpec === undefined) throw new Error('no lamp');
  const written: Written[] = [];
  const pushed: string[] = [];
  let now = 1_000_000;
  const lamp = new VirtualLamp(
    lampSpec,
    { written: (entry) => void written.push(entry), changed: () => undefined, linked: () => undefined },
    () => ({ at: now, mono: now }),
  );
  const link = {
    push: (pdu: Buffer) => void pushed.push(pdu.toString('hex')),
    lose: () => undefined,
    suspend: () => undefined,
    orphan: () => undefined,
    handle: 0,
    timing: { intervalMs: 0, supervisionMs: 420 },
  };
  lamp.connect(link);
  // Behind GAP and GATT (9 handles): the first service of an ELK is fff0 with fff3 at 12; of a Triones the notifying one.
  const [control, cccd] = spec.family === 'elk-bledom' ? [12, 15] : [16, 13];
  lamp.att(Buffer.from([0x12, cccd, 0, 1, 0]));
  return {
    lamp,
    written,
    pushed,
    write: (hex, afterMs = 0) => {
      now += afterMs;
      const count = written.length;
      lamp.att(Buffer.concat([Buffer.from([0x52, control, 0]), Buffer.from(hex.replaceAll(' ', ''), 'hex')]));
      return written.length > count ? written.at(-1)?.result : undefined;
    },
    reconnect: () => {
      lamp.disconnected(link);
      lamp.connect(link);
    },
  };
}

const LIT: Partial<LampState> = { on: true };

describe('a Triones lamp', () => {
  const triones = { name: 'Triones:F30200000152C', family: 'triones' } as const;

  /** Frames of madhead/saberlight, Betree/magicblue and emlove/pyzerproc. */
  it.each<[string, Partial<LampState>]>([
    ['cc2333', { on: true }],
    ['565a009d00f0aa', { on: false, mode: 'color', color: { r: 90, g: 0, b: 157 } }],
    ['56ffffff00f0aa', { mode: 'color', color: { r: 255, g: 255, b: 255 } }],
    ['56deadff010faa', { mode: 'white', white: 1 }],
    ['bb341044', { mode: 'effect', effect: 0x34, speed: 0x10 }],
  ])('obeys %s', (hex, state) => {
    const { lamp, write } = bench(triones);
    expect(write(hex)).toBe('obeyed');
    expect(lamp.state).toMatchObject(state);
  });

  it.each([
    'cc2533',
    'cc23',
    'cc233300',
    '5600ff0000f0ab',
    'bb241044',
    'bb391044',
    'bb340044',
    '',
    'ff',
    '7e0004f00001ff00ef',
  ])('ignores %s', (hex) => {
    const { lamp, write } = bench(triones);
    const before = lamp.state;
    expect(write(hex)).toBe('ignored');
    expect(lamp.state).toEqual(before);
  });

  it('switches off again, and keeps its colour', () => {
    const { lamp, write } = bench(triones);
    write('cc2333');
    write('5600ff0000f0aa');
    write('cc2433');
    expect(lamp.state).toMatchObject({ on: false, color: { r: 0, g: 255, b: 0 } });
  });

  /** Status frames of Bluetooth-Devices/led-ble and madhead/saberlight. */
  it.each([
    [['cc2333', '560000ff00f0aa'], '6615234120000000ff000699'],
    [['cc2333', '5600ff0000f0aa'], '66152341200000ff00000699'],
    [['cc2333', '56000000300faa'], '661523412000000000300699'],
    [['cc2333', '56ff000000f0aa', 'bb341044'], '661523342010ff0000000699'],
    [['cc2433', '56ff000000f0aa'], '661524412000ff0000000699'],
  ])('after %j its status is %s', (frames, status) => {
    const { write, pushed } = bench(triones);
    for (const frame of frames) write(frame);
    expect(write('ef0177')).toBe('obeyed');
    expect(pushed).toEqual([`1b0c00${status}`]);
  });

  it('says nothing to who has not subscribed', () => {
    const { lamp, write, pushed } = bench(triones);
    lamp.att(Buffer.from([0x12, 13, 0, 0, 0]));
    write('ef0177');
    expect(pushed).toEqual([]);
  });

  it('has the status of a Zerproc where it is one', () => {
    const { write, pushed } = bench({ ...triones, variant: 'zerproc', state: { color: { r: 255, g: 0, b: 0 } } });
    write('ef0177');
    expect(pushed[0]?.slice(6, 10)).toBe('66e3');
    expect(pushed[0]?.slice(-2)).toBe('99');
  });

  it('has no white without a white LED, echoes power where it does, and dreams where it can', () => {
    expect(bench({ ...triones, white: false }).write('56000000ff0faa')).toBe('ignored');
    const echo = bench({ ...triones, powerEcho: true });
    echo.write('cc2333');
    expect(echo.pushed).toEqual(['1b0c00cc230000']);
    expect(bench(triones).write('9e00057fff00e9')).toBe('ignored');
    expect(bench({ ...triones, variant: 'dream' }).write('9e00057fff00e9')).toBe('obeyed');
  });

  it('answers a remote control’s change when it is asked', () => {
    const { lamp, write, pushed } = bench(triones);
    lamp.change({ on: true, color: { r: 1, g: 2, b: 3 } });
    write('ef0177');
    expect(pushed).toEqual(['1b0c00661523412000010203000699']);
  });
});

describe('an ELK lamp', () => {
  const elk = (name: string): Bench => bench({ name, family: 'elk-bledom', wakeGapMs: 500 });
  const ON = {
    plain: '7e00040100000000ef',
    f0: '7e0004f00001ff00ef',
    ff: '7e0704ff00010201ef',
    bledw: '7e040401ffffff00ef',
  } as const;

  /** dave-code-ruiz/elkbledom models.json, 8none1/elk-bledob, opengatt/registry. */
  it.each<[string, keyof typeof ON, string]>([
    ['ELK-BLEDOM   ', 'f0', '7e0004000000ff00ef'],
    ['ELK-BLE-new', 'f0', '7e00040000000000ef'],
    ['ELK-BLEDOB', 'ff', '7e07040000000201ef'],
    ['ELK-BLEDDM 74', 'f0', '7e0404000000ff00ef'],
    ['ELK-BLEDW', 'bledw', '7e040400ffffff00ef'],
    ['ELK-BULB2', 'plain', '7e0004000000ff00ef'],
    ['ELK-LAMPL', 'plain', '7e0004000000ff00ef'],
    ['ELK-BTCW', 'f0', '7e0004000000ff00ef'],
  ])('%s obeys its own power frames only', (name, own, off) => {
    for (const form of Object.keys(ON) as (keyof typeof ON)[]) {
      const { lamp, write } = elk(name);
      const mine = form === own || (form === 'bledw' && own === 'plain');
      expect([form, write(ON[form])]).toEqual([form, mine ? 'obeyed' : 'ignored']);
      expect(lamp.state.on).toBe(mine);
    }
    const { lamp, write } = elk(name);
    lamp.change(LIT);
    expect(write(off)).toBe('obeyed');
    expect(lamp.state.on).toBe(false);
  });

  it.each<[string, string, Partial<LampState>]>([
    ['ELK-BLEDOM', '7e00050300ff0000ef', { mode: 'color', color: { r: 0, g: 255, b: 0 } }],
    ['ELK-BLEDOB', '7e070503ff000010ef', { mode: 'color', color: { r: 255, g: 0, b: 0 } }],
    ['ELK-BLEDOM', '7e00010a00000000ef', { brightness: 10 }],
    ['ELK-BLEDOB', '7e04013201ff0201ef', { brightness: 50 }],
    ['ELK-BTCW', '7e00050232320000ef', { mode: 'temperature', warm: 50, cold: 50 }],
    ['ELK-BLEDOM', '7e00038703000000ef', { mode: 'effect', effect: 0x87 }],
    ['ELK-BLEDOM', '7e00038002000000ef', { mode: 'preset', effect: 0x80 }],
    ['ELK-BLEDOM', '7e00050132000000ef', { mode: 'grayscale', brightness: 50 }],
    ['ELK-BLEDOM', '7e00026400000000ef', { speed: 100 }],
  ])('%s takes %s', (name, hex, state) => {
    const { lamp, write } = elk(name);
    expect(write(hex)).toBe('obeyed');
    expect(lamp.state).toMatchObject(state);
  });

  it.each([
    ['ELK-BTC', '7e000503ff00000aef', 'a colour, of which it has none'],
    ['ELK-BLEDOM', '7e00016500000000ef', 'a brightness above 100'],
    ['ELK-BLEDOM', '7e0001fa00000000ef', 'a question for its state'],
    ['ELK-BLEDOM', '7e00039d03000000ef', 'an effect past the last'],
    ['ELK-BLEDOM', '7e00030506000000ef', 'an effect in the form of another'],
    ['ELK-BLEDOM', '7e000503ff000000', 'a frame cut short'],
    ['ELK-BLEDOM', '7e000503ff00000000', 'a frame without its end'],
    ['ELK-BLEDOM', 'cc2333', 'another family’s frame'],
  ])('%s ignores %s: %s', (name, hex) => {
    const { lamp, write } = elk(name);
    const before = lamp.state;
    expect(write(hex)).toBe('ignored');
    expect(lamp.state).toEqual(before);
  });

  it('ignores brightness while it jumps, blinks or is gray', () => {
    const { lamp, write } = elk('ELK-BLEDOM');
    write('7e00038703000000ef');
    expect(write('7e00010a00000000ef')).toBe('ignored');
    write('7e00038903000000ef');
    expect(write('7e00010a00000000ef')).toBe('obeyed');
    expect(lamp.state.brightness).toBe(10);
  });

  it('never says anything', () => {
    const { write, pushed } = elk('ELK-BLEDOM');
    for (const frame of [ON.f0, '7e0001fa00000000ef', 'ef0177']) write(frame);
    expect(pushed).toEqual([]);
  });

  it('MELK is deaf until both wake writes have come in order and apart, after every connect', () => {
    const { lamp, write, reconnect } = elk('MELK-OA10   10');
    expect(write(ON.f0)).toBe('ignored');
    expect(write('7e0404')).toBe('ignored');
    expect(write('7e0783')).toBe('obeyed');
    expect(write('7e0404')).toBe('ignored');
    expect(write('7e0404', 500)).toBe('obeyed');
    expect(write(ON.f0)).toBe('obeyed');
    expect(write('7e05030506ffff00ef')).toBe('obeyed');
    expect(lamp.state).toMatchObject({ on: true, mode: 'effect', effect: 5 });
    reconnect();
    expect(write('7e0004000000ff00ef')).toBe('ignored');
    expect(lamp.state.on).toBe(true);
  });
});
