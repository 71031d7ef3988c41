import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type * as z from 'zod';
import { exampleYaml } from '../../src/config/example.ts';
import { jsonSchema } from '../../src/config/json-schema.ts';
import { loadConfig } from '../../src/config/load.ts';

type Json = z.core.JSONSchema.BaseSchema;

const path = fileURLToPath(new URL('../../config/porchlight.example.yaml', import.meta.url));
const text = readFileSync(path, 'utf8');

/** Every key with its schema, `access.scopes.read`; entries of lists as `lights.id`. */
function keys(schema: Json, prefix = ''): [string, Json][] {
  const parts = [schema, ...(schema.anyOf ?? []), ...[schema.items ?? []].flat()].filter(
    (part) => typeof part === 'object',
  );
  return parts.flatMap((part) =>
    Object.entries(part.properties ?? {}).flatMap(([key, below]): [string, Json][] =>
      typeof below === 'object' ? [[prefix + key, below], ...keys(below, `${prefix}${key}.`)] : [],
    ),
  );
}
const KEYS = keys(jsonSchema());
const json = async (yaml: string, only?: 'house') => {
  const readFile = async () => ({ bytes: Buffer.from(yaml) });
  return (await loadConfig({ path: 'x.yaml', env: { HOME: '/h' }, readFile, ...(only && { only }) } as never)).config;
};

describe('config/porchlight.example.yaml', () => {
  it('is what the schema says (else: npx vitest run test/config -u)', async () => {
    await expect(exampleYaml()).toMatchFileSnapshot(path);
  });

  it('is a right configuration, and says no more than the defaults do', async () => {
    const shown = await json(text);
    expect(shown).toEqual(await json('authorization: {issuer: "https://auth.example.com", client_id: porchlight}'));
  });

  it('is right, too, with the lamps, groups and scenes that it shows', async () => {
    const section = /^# (lights|groups|scenes):$/;
    let inside = false;
    const lines = text.split('\n').map((line) => {
      if (/^(# )?[a-z_]+:/.test(line)) inside = section.test(line);
      return inside ? line.replace(/^# (- | {2}|[a-z]+:$)/, '$1') : line;
    });
    const config = await json(lines.join('\n'));
    expect(config.lights[0]).toMatchObject({ id: 'porch', address: 'be:ff:20:00:11:22' });
    expect(config.groups[0]).toMatchObject({ id: 'evening', lights: ['porch'] });
    expect(config.scenes[0]).toMatchObject({ id: 'movie', set: { porch: { state: 'ON', brightness: 40 } } });
  });

  it.each(KEYS)('shows %s with a sentence', (key, schema) => {
    expect(schema.description).toMatch(/^[A-Z$].{10,}[.)]$/s);
    const [section = '', ...rest] = key.split('.');
    const block = text
      .split(/\n(?=[a-z]|# [a-z_]+:$)/m)
      .find((part) => part.replace(/^# /, '').startsWith(`${section}:`));
    expect(block).toBeDefined();
    // The one map inside a choice is shown in that key's sentence.
    for (const name of key === 'access.unsigned.lights' ? ['unsigned'] : rest) {
      expect(block).toMatch(new RegExp(`^ *(# *)?(- )?${name}:`, 'm'));
    }
  });

  it('has no line that is too long to read', () => {
    expect(text.split('\n').filter((line) => line.length > 140)).toEqual([]);
  });
});

describe('the JSON Schema', () => {
  it('is draft 2020-12, refuses unknown keys, and names what must be given', () => {
    const schema = jsonSchema();
    expect(schema.$schema).toBe('https://json-schema.org/draft/2020-12/schema');
    expect(schema.additionalProperties).toBe(false);
    const authorization = schema.properties?.['authorization'];
    expect(typeof authorization === 'object' ? authorization.required : []).toEqual(['issuer', 'client_id']);
  });

  it('describes the file as it is written, not as it is parsed', () => {
    const byName = Object.fromEntries(KEYS);
    expect(byName['access.max_age']?.default).toBe('30s');
    expect(byName['bluetooth.h4']?.examples).toEqual(['tcp://127.0.0.1:9000']);
    expect(byName['mqtt.password_file']).toBeDefined();
  });

  it('knows every key of the interface', () => {
    const names = new Set(KEYS.map(([name]) => name));
    for (const name of INTERFACE) expect(names, name).toContain(name);
  });
});

/** The promise to users: these names stay. */
const INTERFACE =
  `gateway.id gateway.state_directory authorization.issuer authorization.dialect authorization.grant authorization.client_id
authorization.client_secret authorization.client_secret_file authorization.client_authentication authorization.scopes authorization.resource
authorization.owner authorization.dpop authorization.offline_grace authorization.endpoints.device_authorization authorization.endpoints.token
authorization.endpoints.revocation authorization.endpoints.introspection authorization.endpoints.userinfo authorization.endpoints.jwks
access.issuer access.audience access.principals access.scopes.read access.scopes.control access.require access.unsigned access.unsigned.lights
access.max_age mqtt.url mqtt.allow_insecure mqtt.username mqtt.password mqtt.password_file mqtt.ca_file mqtt.cert_file mqtt.key_file
mqtt.base_topic mqtt.home_assistant.enabled mqtt.home_assistant.discovery_prefix bluetooth.backend bluetooth.adapter bluetooth.h4
bluetooth.max_connections bluetooth.idle_disconnect bluetooth.virtual.lights bluetooth.virtual.connection_interval clock.trust lights.id
lights.name lights.room lights.address lights.model groups.id groups.name groups.lights scenes.id scenes.name scenes.set home.latitude
home.longitude home.time_zone schedules.id schedules.cron schedules.set web.listen log.level`.split(/\s+/);
