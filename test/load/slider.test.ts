import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Outcome } from '../../src/lights/outcome.ts';
import { allHeard, type HouseUnderLoad, lampsOf, mono, quantile, say, share, sleep, startHouse } from './house.ts';

const RATE = 60;
const SECONDS = share(2, 5);

/** A finger on a slider: sixty changes a second for five seconds, at a connection interval of 22.5 ms. */
describe('a slider on the real radio', () => {
  let house: HouseUnderLoad;
  beforeAll(async () => {
    house = await startHouse({ lamps: lampsOf(2) });
    await allHeard(house);
  });
  afterAll(() => house?.close());

  const runs = Array.from({ length: share(2, 10) }, (_, at) => ({ at, kind: at % 2 === 0 ? 'elk-bledom' : 'triones' }));
  it.each(runs)('run $at ($kind) ends in its last position within two write times', async ({ at }) => {
    const id = `lamp-${at % 2}`;
    const { address } = lampsOf(2)[at % 2] ?? { address: '' };
    await house.apply(id, { state: 'ON', color: { r: 9, g: 9, b: 9 } });
    await sleep(300 + Math.random() * 50);
    await house.written();

    const began = mono();
    const updates: Promise<Outcome>[] = [];
    let lastAt = 0;
    const count = RATE * SECONDS;
    for (let step = 0; step < count; step += 1) {
      await sleep(Math.max(0, began + (step * 1000) / RATE - mono()));
      lastAt = mono();
      updates.push(
        house.apply(id, { color: { r: step % 256, g: 255 - (step % 256), b: step === count - 1 ? 77 : 5 } }),
      );
    }
    const outcomes = await Promise.all(updates);
    await sleep(100);
    // What asks the lamp for its state is no write of the slider's.
    const writes = (await house.written()).filter(({ lamp, hex }) => lamp === address && !hex.startsWith('ef0177'));
    const gaps = writes.slice(1).map(({ mono: here }, before) => here - (writes[before]?.mono ?? 0));
    const writeMs = quantile(gaps.slice(0, -1), 0.5);
    const settledMs = (writes.at(-1)?.mono ?? Number.NaN) - lastAt;
    say(
      `slider: ${count} updates, ${writes.length} writes of ${writeMs.toFixed(1)} ms, settled ${settledMs.toFixed(1)} ms after the last (${(settledMs / writeMs).toFixed(2)} write times)`,
    );

    const last = count - 1;
    expect((await house.air.lamp(address)).state.color).toEqual({ r: last % 256, g: 255 - (last % 256), b: 77 });
    expect(outcomes.filter(({ outcome }) => !['superseded', 'assumed', 'confirmed'].includes(outcome))).toEqual([]);
    expect(['assumed', 'confirmed']).toContain(outcomes.at(-1)?.outcome);
    expect(settledMs).toBeLessThanOrEqual(2 * writeMs);
    // As many as fit one after the other between the first and the last.
    expect(writes.length).toBeLessThanOrEqual((SECONDS * 1000 + settledMs) / 22.5 + 1);
  });
});
