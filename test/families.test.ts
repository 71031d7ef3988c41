import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as z from 'zod';
import { PorchlightError } from '../src/errors.ts';
import { FAMILIES, recognise } from '../src/families/index.ts';
import { claim } from '../src/families/names.ts';
import { refuseLacking } from '../src/lights/capabilities.ts';
import { type LightChange, parseChange } from '../src/lights/change.ts';
import type { Frame, GattLayout, LightFamily, Model } from '../src/lights/family.ts';
import { parseState, UNKNOWN_STATE } from '../src/lights/state.ts';

/*
 * Every lamp protocol is held against frames that others captured or published. The file is data: `change` must give `bytes` among
 * its frames (where `mask` is ff), a status must decode to `state`, an advertisement must be recognised. `change: null` documents a
 * frame that a LightChange cannot ask for; `why` says why.
 */
const Vector = z.object({
  case: z.string(),
  kind: z.enum(['command', 'status', 'advertisement']),
  familyId: z.string(),
  localName: z.string().nullable(),
  bytes: z.string(),
  source: z.string(),
  mask: z.string().optional(),
  change: z.unknown().optional(),
  known: z.unknown().optional(),
  state: z.record(z.string(), z.unknown()).nullable().optional(),
  recognised: z.boolean().optional(),
  advertisement: z.object({ localName: z.string(), serviceUuids: z.array(z.string()) }).optional(),
});

const VECTORS = z
  .array(Vector)
  .parse(JSON.parse(readFileSync(new URL('fixtures/light-vectors.json', import.meta.url), 'utf8')));

const HOW_TO_MEND = 'See "Add a lamp in ten minutes" in CONTRIBUTING.md.';

function familyOf(id: string): LightFamily {
  const family = FAMILIES.find((candidate) => candidate.id === id);
  if (family === undefined) throw new Error(`Vectors name the family "${id}", but FAMILIES has none. ${HOW_TO_MEND}`);
  return family;
}

function modelOf(family: LightFamily, localName: string | null): Model {
  const model = localName === null ? family.models[0] : family.recognise({ localName, serviceUuids: [] });
  if (model === undefined) throw new Error(`${family.id} does not recognise "${localName}". ${HOW_TO_MEND}`);
  return model;
}

function layoutOf(family: LightFamily): GattLayout {
  const layout = family.gatt[0];
  if (layout === undefined) throw new Error(`${family.id} has no GATT layout. ${HOW_TO_MEND}`);
  return layout;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Where the mask is 00 a byte is not decided, and the frame may end where only 00 is left. */
function fits(found: string, wanted: string, mask = 'f'.repeat(wanted.length)): boolean {
  if (found.length > wanted.length) return false;
  return [...wanted].every((digit, index) => mask[index] !== 'f' || found[index] === digit);
}

describe('vectors', () => {
  const commands = VECTORS.filter((vector) => vector.kind === 'command' && vector.change != null);
  test.each(commands)('$familyId: $case', (vector) => {
    const family = familyOf(vector.familyId);
    const model = modelOf(family, vector.localName);
    const change = parseChange(vector.change);
    refuseLacking(change, model);
    const known = vector.known === undefined ? UNKNOWN_STATE : parseState(vector.known);
    const frames = family.encode(change, model, known, layoutOf(family)).map(({ bytes }) => hex(bytes));
    const found = frames.some((frame) => fits(frame, vector.bytes, vector.mask));
    expect(found, `${frames.join(', ')} should have ${vector.bytes} (${vector.source})`).toBe(true);
  });

  const statuses = VECTORS.filter((vector) => vector.kind === 'status');
  test.each(statuses)('$familyId: $case', (vector) => {
    const family = familyOf(vector.familyId);
    const said = family.decode?.(Buffer.from(vector.bytes, 'hex'), modelOf(family, vector.localName));
    if (vector.state == null) return expect(said).toBeUndefined();
    return expect(said).toMatchObject(vector.state);
  });

  const adverts = VECTORS.filter((vector) => vector.kind === 'advertisement');
  test.each(adverts)('$familyId: $case', (vector) => {
    const found = recognise(vector.advertisement ?? { serviceUuids: [] })[0];
    expect(found?.family.id === vector.familyId).toBe(vector.recognised);
  });

  test('no command, status or advertisement was left out', () => {
    expect(commands.length).toBeGreaterThanOrEqual(26);
    expect(statuses.length).toBeGreaterThanOrEqual(8);
    expect(adverts.length).toBeGreaterThanOrEqual(4);
  });
});

describe('every family', () => {
  test('has an id and models of its own', () => {
    expect(new Set(FAMILIES.map(({ id }) => id)).size).toBe(FAMILIES.length);
    for (const { id, models } of FAMILIES) {
      expect(id).toMatch(/^[a-z0-9-]{1,40}$/);
      expect(models.length).toBeGreaterThan(0);
      expect(new Set(models.map((model) => model.id)).size, `${id} has two models of one id`).toBe(models.length);
    }
  });

  test('has vectors for commands and adverts, and for statuses where it decodes any; no vectors are without a family', () => {
    for (const family of FAMILIES) {
      const kinds = new Set(VECTORS.filter(({ familyId }) => familyId === family.id).map(({ kind }) => kind));
      for (const kind of ['command', 'advertisement', ...(family.decode === undefined ? [] : ['status'])] as const) {
        expect(
          kinds,
          `${family.id}: add a "${kind}" vector to test/fixtures/light-vectors.json. ${HOW_TO_MEND}`,
        ).toContain(kind);
      }
    }
    for (const { familyId } of VECTORS) familyOf(familyId);
  });

  test('owns its names alone: no other model of any family claims one of them as strongly', () => {
    const rows = FAMILIES.flatMap((family) =>
      family.models.flatMap((model) =>
        (model.names ?? []).map((name) => ({ owner: `${family.id}/${model.id}`, name })),
      ),
    );
    for (const { owner, name } of rows) {
      const example = name.replaceAll('#', 'a');
      const claims = rows
        .map((row) => ({ ...row, length: claim(row.name, example) }))
        .filter(({ length }) => length > 0);
      const strongest = Math.max(...claims.map(({ length }) => length));
      const winners = new Set(claims.filter(({ length }) => length === strongest).map((row) => row.owner));
      expect([...winners], `"${name}" is claimed by several. ${HOW_TO_MEND}`).toEqual([owner]);
      const best = recognise({ localName: example, serviceUuids: [] })[0];
      expect(`${best?.family.id}/${best?.model.id}`).toBe(owner);
    }
  });

  test('has ranges that make sense and effect names that can be told apart', () => {
    for (const { models, gatt, id } of FAMILIES) {
      for (const model of models) {
        if (model.color_temp) {
          expect(model.color_temp.min).toBeGreaterThanOrEqual(1000);
          expect(model.color_temp.max).toBeLessThanOrEqual(20_000);
          expect(model.color_temp.min).toBeLessThan(model.color_temp.max);
        }
        const effects = model.effects ?? [];
        const words = effects.map((effect) => effect.split(/[ -]/).sort().join(' '));
        expect(new Set(words).size).toBe(effects.length);
        for (const effect of effects) expect(effect).toMatch(/^[a-z0-9 -]{1,64}$/);
        if (model.usualWrite !== undefined)
          expect(
            gatt.map(({ write }) => write),
            id,
          ).toContain(model.usualWrite);
      }
      for (const { service, write, notify } of gatt) {
        for (const uuid of [service, write, notify]) expect(uuid ?? 'ffff').toMatch(/^([0-9a-f]{4}|[0-9a-f-]{36})$/);
      }
    }
  });

  const byte = fc.integer({ min: 0, max: 255 });
  const anyColor = fc.oneof(
    fc.record({ r: byte, g: byte, b: byte }),
    fc.record({ h: fc.double({ min: 0, max: 360, noNaN: true }), s: fc.double({ min: 0, max: 100, noNaN: true }) }),
    fc.record({ x: fc.double({ min: 0, max: 1, noNaN: true }), y: fc.double({ min: 0, max: 1, noNaN: true }) }),
  );
  const anyChange = (model: Model) =>
    fc.record(
      {
        state: fc.constantFrom('ON', 'OFF'),
        ...(model.brightness === undefined ? {} : { brightness: byte }),
        ...(model.color === undefined ? {} : { color: anyColor }),
        ...(model.color_temp === undefined ? {} : { color_temp: fc.integer({ min: 1000, max: 20_000 }) }),
        ...(model.white === undefined ? {} : { white: byte }),
        ...(model.effects === undefined || model.effects.length === 0
          ? {}
          : { effect: fc.constantFrom(...model.effects) }),
        transition: fc.integer({ min: 0, max: 3600 }),
      },
      { requiredKeys: [] },
    ) as fc.Arbitrary<LightChange>;
  const anyKnown = fc.record(
    {
      state: fc.constantFrom('ON', 'OFF', null),
      confidence: fc.constant('assumed'),
      brightness: byte,
      color_mode: fc.constantFrom('rgb', 'white', 'color_temp'),
      color: fc.record({ r: byte, g: byte, b: byte }),
    },
    { requiredKeys: ['state', 'confidence'] },
  );

  test.each(FAMILIES)(
    '$id encodes every change that it allows into well-formed frames, on first and off last',
    (family) => {
      for (const model of family.models) {
        for (const layout of family.gatt) {
          const onlyBytes = (state: 'ON' | 'OFF') =>
            hex(family.encode({ state }, model, UNKNOWN_STATE, layout)[0]?.bytes ?? new Uint8Array());
          const property = fc.property(anyChange(model), anyKnown, (change, known) => {
            const frames = family.encode(change, model, parseState(known), layout);
            expect(frames.length).toBeGreaterThan(0);
            for (const frame of frames) wellFormed(frame, layout);
            const written = frames.map(({ bytes }) => hex(bytes));
            const off = written.indexOf(onlyBytes('OFF'));
            if (change.state === 'OFF') expect(off).toBe(written.length - 1);
            if (off < 0) expect(written[0]).toBe(onlyBytes('ON'));
            expect(off < 0 || off === written.length - 1).toBe(true);
          });
          fc.assert(property, { numRuns: 60 });
        }
      }
    },
  );

  function wellFormed({ bytes, characteristic, kind }: Frame, layout: GattLayout): void {
    expect(characteristic).toBe(layout.write);
    expect(['request', 'command']).toContain(kind);
    // One write without a longer MTU: 23 bytes less the three of its header.
    expect(bytes.length).toBeGreaterThan(0);
    expect(bytes.length).toBeLessThanOrEqual(20);
  }

  test.each(FAMILIES)('$id survives any bytes from the air', (family) => {
    const property = fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      for (const model of family.models) {
        const said = family.decode?.(bytes, model);
        if (said !== undefined) parseState({ state: null, ...said });
      }
    });
    fc.assert(property, { numRuns: 500 });
  });

  test.each(FAMILIES)('$id refuses by name every field that a model lacks', (family) => {
    const asked: Record<string, LightChange> = {
      brightness: { brightness: 10 },
      color: { color: { r: 1, g: 2, b: 3 } },
      color_temp: { color_temp: 3000 },
      white: { white: 9 },
      effect: { effect: 'disco inferno' },
      flash: { flash: 2 },
    };
    for (const model of family.models) {
      for (const [field, change] of Object.entries(asked)) {
        const has = field !== 'effect' && field !== 'flash' && Object.hasOwn(model, field);
        let refusal: unknown;
        try {
          refuseLacking(change, model);
        } catch (thrown) {
          refusal = thrown;
        }
        if (has) expect(refusal).toBeUndefined();
        else expect(refusal).toMatchObject({ code: 'unsupported', message: expect.stringContaining(`${field}: `) });
        expect(refusal === undefined || refusal instanceof PorchlightError).toBe(true);
      }
    }
  });
});
