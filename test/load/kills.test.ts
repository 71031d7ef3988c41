import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LampInput, Written } from '../../src/bluetooth/air/messages.ts';
import { AUDIENCE, approve, type Home, senderFor, startHome } from '../support/home.ts';
import { mosquittoMissing } from '../support/mosquitto.ts';
import type { Sender } from '../support/sender.ts';
import { lampsOf, mono, quantile, say, share, sleep } from './house.ts';

const KILLS = share(1, 100);
/** In the radio's own time: a run that lived longer than 5 s is followed by the next at once. */
const LIVES_MS = 5000;
const BACK_MS = 2000;
const LAMPS: readonly LampInput[] = lampsOf(6);
const ids = LAMPS.map((_, at) => `lamp-${at}`);

interface Asked {
  readonly id: string;
  readonly lamp: string;
  readonly sentAt: number;
  readonly toggle: boolean;
}

/** What every lamp's power was told, in order: the frames of both families that switch on and off. */
const POWER: Readonly<Record<string, 'ON' | 'OFF'>> = {
  cc2333: 'ON',
  cc2433: 'OFF',
  '7e0404f00001ff00ef': 'ON',
  '7e0404000000ff00ef': 'OFF',
  '7e0004f00001ff00ef': 'ON',
  '7e0004000000ff00ef': 'OFF',
};

describe.skipIf(mosquittoMissing() !== undefined)(`a radio that is killed ${KILLS} times under load`, () => {
  let home: Home;
  let phone: Sender;
  beforeAll(async () => {
    home = await startHome({
      lamps: LAMPS,
      config: {
        access: { audience: AUDIENCE, max_age: '10s', unsigned: 'allow' },
        lights: LAMPS.map(({ address }, at) => ({ id: `lamp-${at}`, address })),
        groups: [],
        scenes: [],
      },
      bluetooth: { max_connections: 4 },
    });
    await approve(home);
    phone = await senderFor(home);
  });
  /** Every write that reached a lamp after `since`: the air's own log forgets the oldest. */
  const written = (since = 0): readonly Written[] => {
    const found: Written[] = [];
    for (let at = home.air.events.length - 1; at >= 0; at -= 1) {
      const event = home.air.events[at];
      if (event?.event !== 'written') continue;
      if (event.mono <= since) break;
      found.push(event);
    }
    return found.reverse();
  };
  afterAll(async () => {
    await phone?.close();
    await home?.close();
  });

  it(
    'gives every command one outcome, toggles nothing twice, and is back within two seconds',
    async () => {
      const stop = new AbortController();
      const asked: Asked[] = [];
      let toggles = 0;
      // Two lamps are toggled one command after the other, the others get colours whether the last was answered or not.
      const loads = ids.map(async (lamp, at) => {
        for (let step = 0; !stop.signal.aborted; step += 1) {
          const toggle = at < 2;
          const id = `${lamp}-${step}`;
          asked.push({ id, lamp, sentAt: mono(), toggle });
          if (toggle) {
            toggles += 1;
            await phone.command(lamp, { id, state: 'TOGGLE' }, { local: true, ms: 15_000 });
            await sleep(Math.random() * 150);
          } else {
            const change = { id, state: 'ON', color: { r: 1 + (step % 250), g: at, b: 7 } };
            await phone.client.publishAsync(`porchlight/local/${lamp}/set`, JSON.stringify(change), { qos: 1 });
            await sleep(60 + Math.random() * 200);
          }
        }
      });

      const back: number[] = [];
      for (let kill = 0; kill < KILLS; kill += 1) {
        await sleep(LIVES_MS + 100 + Math.random() * 1500);
        const { radio } = await home.daemon.status();
        const killedAt = mono();
        process.kill(radio.pid, 'SIGKILL');
        const end = performance.now() + 10_000;
        // A write may still have been on its way to the lamp when the process ended.
        while (written(killedAt + 50).length === 0 && performance.now() < end) await sleep(10);
        back.push((written(killedAt + 50)[0]?.mono ?? Number.POSITIVE_INFINITY) - killedAt);
      }
      stop.abort();
      await Promise.all(loads);
      const outcomes = (): Map<string, readonly { readonly outcome: string }[]> => {
        const found = new Map<string, { readonly outcome: string }[]>();
        for (const { topic, body } of phone.heard) {
          if (/\/result$/.test(topic)) found.set(body.id, [...(found.get(body.id) ?? []), body]);
        }
        return found;
      };
      const end = performance.now() + 15_000;
      while (outcomes().size < asked.length && performance.now() < end) await sleep(100);
      const results = outcomes();

      say(
        `kills: ${KILLS}, ${asked.length} commands (${toggles} toggles); back p50 ${quantile(back, 0.5).toFixed(0)} ms, longest ${Math.max(...back).toFixed(0)} ms`,
      );
      expect(
        asked
          .filter(({ id }) => results.get(id)?.length !== 1)
          .map(({ id }) => `${id}: ${results.get(id)?.length ?? 0}`),
      ).toEqual([]);

      // Evidence of the air: power changes at a toggled lamp are never more than its toggles, and a success is just one change.
      const all = written();
      for (const [at, lamp] of ids.slice(0, 2).entries()) {
        const powers = all
          .filter((one) => one.lamp === LAMPS[at]?.address)
          .flatMap((one) => (POWER[one.hex] === undefined ? [] : [{ power: POWER[one.hex], at: one.mono }]));
        const changes = powers.filter((one, before) => one.power !== powers[before - 1]?.power);
        const mine = asked.filter((one) => one.lamp === lamp);
        for (const [index, { id, sentAt }] of mine.entries()) {
          const until = mine[index + 1]?.sentAt ?? Number.POSITIVE_INFINITY;
          const during = changes.filter((one) => one.at >= sentAt && one.at < until).length;
          const outcome = results.get(id)?.[0]?.outcome;
          const succeeded = outcome === 'confirmed' || outcome === 'assumed';
          expect(during, `${id} (${outcome}) changed the power`).toBeLessThanOrEqual(1);
          if (succeeded && index > 0) expect(during, `${id} was ${outcome}`).toBe(1);
        }
      }
      expect(back.filter((ms) => ms > BACK_MS)).toEqual([]);
      expect((await home.daemon.status()).radio.restarts).toBe(KILLS);
    },
    KILLS * 12_000 + 60_000,
  );
});
