import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { registerConfig } from '../../src/cli/config.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'porchlight-cli-config-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function porchlight(args: readonly string[], env: Record<string, string> = {}) {
  const said = { stdout: '', stderr: '' };
  const program = new Command('porchlight').exitOverride();
  registerConfig(program, {
    stdout: (text) => {
      said.stdout += text;
    },
    stderr: (text) => {
      said.stderr += text;
    },
    env,
    colours: false,
    isTerminal: false,
    logsToTerminal: false,
    pid: 1,
    uid: 0,
    signal: new AbortController().signal,
  });
  await program.parseAsync([...args], { from: 'user' });
  return said;
}

describe('porchlight config', () => {
  it('check says ok on standard output and warns on the other', async () => {
    const file = join(folder, 'right.yaml');
    writeFileSync(file, 'authorization: {issuer: "https://a.example", client_id: a}\n');
    const expected = {
      stdout: `${file}: ok\n`,
      stderr: `warning: ${file}:1:1: access.audience: is missing: no command token is accepted\n`,
    };
    expect(await porchlight(['config', 'check', file])).toEqual(expected);
    expect(await porchlight(['config', 'check'], { PORCHLIGHT_CONFIG: file })).toEqual(expected);
  });

  it('check of a wrong file ends with exit status 78 and one line per problem', async () => {
    const file = join(folder, 'wrong.yaml');
    writeFileSync(file, 'authorization: {issuer: "https://a.example", client_id: a}\nmqtt:\n  urll: x\n');
    await expect(porchlight(['config', 'check', file])).rejects.toMatchObject({
      exitStatus: 78,
      message: `${file}:3:3: mqtt.urll: unknown key; did you mean "url"?`,
    });
  });

  it('schema prints one JSON document', async () => {
    const { stdout, stderr } = await porchlight(['config', 'schema']);
    expect(JSON.parse(stdout)).toMatchObject({ title: 'Porchlight', type: 'object', additionalProperties: false });
    expect(stderr).toBe('');
  });
});
