import { describe, expect, it } from 'vitest';
import { lightLines, renderLightLines } from '../../src/cli/light-lines.ts';
import { loadConfig } from '../../src/config/load.ts';

const lamp = (name: string, end = '11:22', family = 'elk-bledom') => ({ name, family, address: `be:ff:20:00:${end}` });

/** Loads a configuration with these lines in it, as `config check` would. */
async function loaded(yaml: string) {
  const text = `authorization: {issuer: "https://auth.example.com", client_id: porchlight}\n${yaml}`;
  const readFile = () => Promise.resolve({ bytes: Buffer.from(text), mode: 0o600 });
  return (await loadConfig({ path: 'porchlight.yaml', env: {}, readFile })).config.lights;
}

const HOSTILE = [
  '',
  ' ',
  '---',
  'local',
  'scene',
  'gateway',
  'response',
  'null',
  'true',
  'on',
  '123',
  '1e3',
  '0x1F',
  '-',
  '_',
  '~',
  "it's: {a} #b",
  '"quoted" \\ back',
  'x'.repeat(248),
  '家のランプ',
  'Küche Süd',
  '\u001b[2J\r\n- {id: evil, address: "x"}',
  '\u202eevil\u2028',
  '\ud800',
  '🏠💡',
  '\u0024{HOME}',
  '!!js/function x',
  '&a *a',
];

describe('the lines for the configuration', () => {
  it('are valid for every name that a lamp may have, alone and all together', async () => {
    for (const name of HOSTILE) {
      const lines = lightLines([lamp(name)], []);
      expect(await loaded(renderLightLines(lines)), JSON.stringify(name)).toMatchObject([
        { id: lines[0]?.id, address: 'be:ff:20:00:11:22' },
      ]);
    }
    const all = lightLines(
      HOSTILE.map((name, at) => lamp(name, `00:${at.toString(16).padStart(2, '0')}`)),
      [],
    );
    expect(await loaded(renderLightLines(all))).toHaveLength(HOSTILE.length);
  });

  it('take ids from names, quote addresses, and give a lamp the same id in every scan', () => {
    expect(lightLines([lamp('Küche Süd')], [])).toEqual([
      { id: 'kuche-sud', name: 'Küche Süd', address: 'be:ff:20:00:11:22' },
    ]);
    const [a, b, c] = [lamp('ELK-BLEDOM', '11:22'), lamp('ELK-BLEDOM', '11:33'), lamp('MELK-OC10', '11:44')];
    const ids = (lamps: readonly ReturnType<typeof lamp>[]) =>
      new Map(lightLines(lamps, []).map(({ id, address }) => [address, id]));
    expect(ids([a, b, c])).toEqual(ids([c, b, a]));
    expect([...ids([a, b, c]).values()]).toEqual(['elk-bledom-1122', 'elk-bledom-1133', 'melk-oc10']);
    expect(renderLightLines(lightLines([a], []))).toBe(
      'lights:\n  - {id: elk-bledom, name: "ELK-BLEDOM", address: "be:ff:20:00:11:22"}\n',
    );
  });

  it('never use an id that is taken, by a lamp, a group or each other', () => {
    const taken = ['elk-bledom', 'elk-bledom-1122', 'elk-bledom-1122-2'];
    expect(lightLines([lamp('ELK-BLEDOM')], taken)[0]?.id).toBe('elk-bledom-1122-3');
    const twins = Array.from({ length: 20 }, () => lamp('x'.repeat(60)));
    const ids = lightLines(twins, []).map(({ id }) => id);
    expect(new Set(ids).size).toBe(20);
    for (const id of ids) expect(id).toMatch(/^[a-z0-9_-]{1,40}$/);
  });
});
