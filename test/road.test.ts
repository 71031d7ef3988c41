import { describe, expect, it } from 'vitest';
import { PorchlightError } from '../src/errors.ts';
import type { Command } from '../src/lights/command.ts';
import { createLog } from '../src/log.ts';
import { CommandRoad, type RoadParts } from '../src/road.ts';

const clock = { monotonic: () => performance.now(), wall: () => Date.now() };
const command: Command = {
  kind: 'lights',
  target: 'porch',
  change: { state: 'ON' },
  credential: { kind: 'local' },
  receivedAt: 0,
  retained: false,
};

/** The road with a house that tells when it is asked, and a trail that says when a decision is on record. */
function roadWith(
  written: Promise<void>,
  admit: () => Promise<unknown> = async () => ({ principal: { by: 'local' }, until: 1e9 }),
) {
  const story: string[] = [];
  const parts = {
    gate: { admit },
    answers: {
      once: async (_: unknown, one: Command, act: () => Promise<unknown>) =>
        one.id === 'repeat' ? { target: 'porch', outcome: 'confirmed', took_ms: 1 } : act(),
    },
    audit: {
      allowed: () => {
        story.push('allowed');
        return { written, ended: ({ outcome }: { outcome: string }) => story.push(`ended ${outcome}`) };
      },
      refused: (_: unknown, { outcome, code }: { outcome: string; code?: string }) =>
        story.push(`refused ${outcome} ${code}`),
      repeated: () => story.push('repeated'),
    },
    house: {
      apply: async () => {
        story.push('lamp');
        return { target: 'porch', outcome: 'confirmed' };
      },
    },
    clock,
    log: createLog('silent'),
  };
  return { road: new CommandRoad(parts as unknown as RoadParts), story };
}

describe('the road of a command', () => {
  it('asks no lamp before the decision is on record', async () => {
    let write = (): void => undefined;
    const { road, story } = roadWith(
      new Promise((resolve) => {
        write = resolve;
      }),
    );
    const outcome = road.handle(command);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(story).toEqual(['allowed']);
    write();
    expect(await outcome).toMatchObject({ outcome: 'confirmed' });
    expect(story).toEqual(['allowed', 'lamp', 'ended confirmed']);
  });

  it.each([
    ['a refusal', {}, new PorchlightError('policy'), ['refused denied policy']],
    ['a fault of the gate, which lets nobody in', {}, new TypeError('oops'), ['refused failed internal']],
    [
      'a payload that is no command, of somebody who may',
      { problem: new PorchlightError('bad_command') },
      undefined,
      ['allowed', 'ended failed'],
    ],
    ['a repeat', { id: 'repeat' }, undefined, ['repeated']],
  ] as const)('puts %s on record, once', async (_, more, thrown, expected) => {
    const admit = async (): Promise<unknown> => {
      if (thrown !== undefined) throw thrown;
      return { principal: { by: 'local' }, until: 1e9 };
    };
    const { road, story } = roadWith(Promise.resolve(), admit);
    await road.handle({ ...command, ...more });
    expect(story).toEqual(expected);
  });

  it('puts what comes while it is being closed on record as refused', async () => {
    const { road, story } = roadWith(Promise.resolve());
    await road.close();
    expect(await road.handle(command)).toMatchObject({ code: 'stopping' });
    expect(story).toEqual(['refused failed stopping']);
  });
});
