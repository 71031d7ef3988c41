import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { frame } from '../../support/frame.ts';
import { attack, type Case } from './cases.ts';
import { HOSTILE, WITNESS } from './controller.ts';
import { LAMPS, ON, obey, quiet, said, setUp, sleep, until } from './harness.ts';

const CASES = 300;
/** Of the machine, not of the radio: other tests run beside this one. */
const BACK_MS = 2000;

describe('the radio in hostile air, end to end', () => {
  it.each([
    ['a legacy controller', { extended: false }],
    ['a controller with extended advertising', { extended: true }],
  ])(
    `endures ${CASES / 2} attacks on %s, and the lamps obey at the end`,
    async (_, options) => {
      const { air, client, away, lines } = await setUp(options);
      let witness = await obey(client, WITNESS.address);
      const cases: readonly Case[] = fc.sample(attack, { numRuns: CASES / 2, seed: 20_261_124 });
      for (const [index, one] of cases.entries()) {
        const answers = one.answers.filter((answer) => /^([0-9a-f]{2})*$/.test(answer));
        await air.fault({ kind: 'hostile', answers }, { lamp: HOSTILE.address });
        const suffering = client.connect(HOSTILE.address, { timeoutMs: 1000 }).then(async (link) => {
          if (one.during === 'writing') await link.write(frame('fff3', ON, 'request'));
        });
        const over = suffering.then(quiet, quiet);
        for (const packet of one.packets) await air.inject(packet);
        await Promise.race([over, sleep(10)]);
        await air.fault({ kind: 'hangs-up' }, { lamp: HOSTILE.address });
        if (index % 25 === 0) {
          // Where the controller lied about its link, its end is not known to both.
          await air.fault({ kind: 'hangs-up' }, { lamp: WITNESS.address });
          witness = await obey(client, WITNESS.address, witness);
        }
      }
      await air.fault({ kind: 'hostile', answers: [] }, { on: false });
      await air.fault({ kind: 'hangs-up' });
      await until('the radio is on', () => client.adapter === 'poweredOn', BACK_MS);
      for (const lamp of LAMPS) {
        const before = (await air.written()).length;
        await obey(client, lamp.address);
        expect((await air.written()).slice(before)).toContainEqual(
          expect.objectContaining({ lamp: lamp.address, result: 'obeyed' }),
        );
      }
      for (const ms of away) expect(ms).toBeLessThan(BACK_MS);
      for (const [cause, times] of said(lines)) expect(times, cause).toBeLessThanOrEqual(1 + away.length);
      expect(client.status().restarts).toBe(0);
    },
    60_000,
  );

  it.each([
    ['a type that is none', '07'],
    ['a length that no controller has', '020120ffff'],
    // What follows is taken for the rest of it.
    ['half a packet', '02'],
  ])('is back when the stream has lost its frames by %s, and the lamp obeys', async (_, garbage) => {
    const { air, client, away, lines } = await setUp();
    const link = await obey(client, WITNESS.address);
    await air.inject(garbage);
    await until('the radio is started again', () => client.status().restarts === 1, 5000);
    await until('the adapter is on', () => client.adapter === 'poweredOn', 5000);
    await obey(client, WITNESS.address, link);
    for (const ms of away) expect(ms).toBeLessThan(BACK_MS);
    for (const [cause, times] of said(lines)) expect(times, cause).toBe(1);
  });

  it('takes no harm from what a lamp sends over its own link, and that lamp obeys as well', async () => {
    const { air, client } = await setUp();
    const link = await client.connect(HOSTILE.address, { timeoutMs: 3000 });
    const from = { lamp: HOSTILE.address };
    // Pairing: a security request, each command without its values, and one of an unknown code (Vol 3, Part H, 3.3).
    for (let code = 0; code <= 0x10; code += 1)
      await air.inject(Buffer.from([code]).toString('hex'), { ...from, channel: 6 });
    await air.inject(`0b01${'00'.repeat(300)}`, { ...from, channel: 6 });
    // Signalling: parameters that no controller takes, a credit based connection, and a length that lies.
    for (const pdu of [
      '12010800000000000000000000',
      '120108000c000600f4010a00',
      '14010a00800040001700170001',
      '1201ffff',
    ]) {
      await air.inject(pdu, { ...from, channel: 5 });
    }
    // Every opcode that nobody waits for; a question of each kind; channels that are none.
    for (let opcode = 0; opcode < 256; opcode += 1) {
      await air.inject(Buffer.from([opcode, 1, 0, 0xff, 0xff, 0, 0x28]).toString('hex'), from);
    }
    for (const channel of [0, 1, 2, 3, 7, 0x40, 0xffff]) await air.inject('00', { ...from, channel });
    // Fragments: a start without end, one that continues nothing, an empty one, a flag that is none, a length beyond all.
    for (const [boundary, hex] of [
      [2, '1000040001'],
      [1, '00'.repeat(200)],
      [2, ''],
      [3, '0100040013'],
      [0, 'ffff040013'],
      [1, ''],
    ] as const) {
      await air.inject(hex, { ...from, boundary });
    }
    await link.write(frame('fff3', ON, 'request'));
    expect(link.gone.aborted).toBe(false);
    expect(client.status().restarts).toBe(0);
  });

  it.each([
    ['services without end', ['03f700', '110601000100f0ff']],
    ['the same service for ever', ['03f700', '11060100fffff0ff', '0907010002020001f3']],
    ['nothing at all', ['']],
    ['pairing needed, for everything', ['0102000005', '0110010005', '0108010005']],
  ])(
    'gives up on a lamp that answers %s, within its time, and serves the other meanwhile',
    async (_, answers) => {
      const { air, client } = await setUp();
      const witness = await obey(client, WITNESS.address);
      await air.fault({ kind: 'hostile', answers, forever: true }, { lamp: HOSTILE.address });
      const began = performance.now();
      let over = false;
      const connected = client.connect(HOSTILE.address, { timeoutMs: 1000 }).then(
        (link) => link.disconnect(),
        () => undefined,
      );
      void connected.finally(() => {
        over = true;
      });
      do await witness.write(frame('fff3', ON, 'request'));
      while (!over);
      await connected;
      expect(performance.now() - began).toBeLessThan(8000);
      expect(client.status().restarts).toBe(0);
      await air.fault({ kind: 'hostile', answers: [] }, { on: false });
      await obey(client, HOSTILE.address);
    },
    30_000,
  );
});
