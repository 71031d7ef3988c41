import { homedir, hostname } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { PorchlightError } from '../errors.ts';
import { crossCheck } from './cross-check.ts';
import { readYaml, type YamlDocument } from './document.ts';
import { errorCode, pathIn, type ReadFile, readBounded, unreadable } from './files.ts';
import { keyTree } from './json-schema.ts';
import { type KeyTree, type Problem, pathName, problemsOf } from './problem.ts';
import { type Config, type HouseConfig, SCHEMA } from './schema.ts';
import { type FileValues, readFileValues } from './secrets.ts';

type Env = Readonly<Record<string, string | undefined>>;

export interface LoadOptions {
  /** The file; default: `$PORCHLIGHT_CONFIG`, then those of `DEFAULT_PATHS`. */
  readonly path?: string;
  readonly env: Env;
  readonly readFile?: ReadFile;
}

export interface Loaded<C = Config> {
  readonly config: C;
  /** The file that was read. */
  readonly path: string;
  /** Lines such as `porchlight.yaml:12:3: mqtt.url: is not encrypted: …`. */
  readonly warnings: readonly string[];
}

export const DEFAULT_PATHS = ['/etc/porchlight/porchlight.yaml', 'config/porchlight.yaml'] as const;

/** The largest file that is read, bytes; the largest sensible one is a tenth of it. */
const FILE_LIMIT = 262_144;
/** The most problems that are listed. */
const MAX_PROBLEMS = 50;

/**
 * Reads, checks and completes the configuration. Rejects with `config_invalid`; its message has one line per problem
 * (`FILE:LINE:COLUMN: key: what is wrong`), and never a secret. `only: 'house'` is for verbs that are not the daemon:
 * `authorization` may be absent, and no secret is read (the verb's user may not be allowed to).
 */
export async function loadConfig(options: LoadOptions & { readonly only: 'house' }): Promise<Loaded<HouseConfig>>;
export async function loadConfig(options: LoadOptions): Promise<Loaded>;
export async function loadConfig(options: LoadOptions & { readonly only?: 'house' }): Promise<Loaded<HouseConfig>> {
  const { env, readFile = readBounded } = options;
  const found = await find(options, readFile);
  if (found === undefined) throw nowhere();
  const { path, bytes } = found;
  const text = decode(path, bytes);
  const document = readYaml(text);
  const lines = (problems: readonly Problem[]): string[] =>
    problems.map(({ path: keys, at, message }) => {
      const name = pathName(keys);
      return `${path}:${document.place(document.offsetOf(keys, at))}: ${name === '' ? '' : `${name}: `}${message}`;
    });

  if (document.problems.length > 0) {
    throw invalid(document.problems.map(({ offset, message }) => `${path}:${document.place(offset)}: ${message}`));
  }
  const tree = keyTree();
  const file = withoutEmpty(document.value, tree);
  if (file === undefined) {
    const empty = document.value === null;
    throw invalid([
      `${path}:1:1: ${empty ? 'the file is empty' : 'expected sections such as "authorization:" and "lights:"'}; config/porchlight.example.yaml shows every key`,
    ]);
  }

  const crossed = crossCheck(file);
  const parsed = SCHEMA.safeParse(file);
  const typed = parsed.success ? [] : problemsOf(parsed.error.issues, file, tree);
  const files =
    options.only === 'house'
      ? { values: {}, problems: [], warnings: [] }
      : await readFileValues({
          file,
          folder: dirname(resolve(path)),
          home: env['HOME'],
          credentials: env['CREDENTIALS_DIRECTORY'],
          readFile,
        });
  const missing: Problem[] =
    options.only !== 'house' && file['authorization'] === undefined
      ? [{ path: ['authorization'], at: 'key', message: 'is missing: at least issuer and client_id are needed' }]
      : [];
  // What is not part of this version is said once, not once more for each of its members.
  const beyond = crossed.problems.filter(({ message }) => message.endsWith('not part of this version yet'));
  const kept = typed.filter(({ path: keys }) => !beyond.some((one) => one.path.every((key, i) => keys[i] === key)));
  const problems = [...kept, ...crossed.problems, ...files.problems, ...missing];
  if (!parsed.success || problems.length > 0) throw invalid(lines(inOrder(problems, document)));
  return {
    config: complete(parsed.data, files.values, env, dirname(resolve(path))),
    path,
    warnings: lines(inOrder([...crossed.warnings, ...files.warnings], document)),
  };
}

/**
 * As `loadConfig` for verbs that are not the daemon; where no file is named and none is there, what holds without one. So somebody
 * can look around before writing a configuration.
 */
export async function loadHouse(
  options: LoadOptions,
): Promise<Omit<Loaded<HouseConfig>, 'path'> & { readonly path?: string }> {
  const { env, readFile = readBounded } = options;
  if ((await find(options, readFile)) !== undefined) return loadConfig({ ...options, only: 'house' });
  return { config: complete(SCHEMA.parse({}), {}, env, resolve('.')), warnings: [] };
}

/** Where the shipped unit keeps its state (`StateDirectory=`), whatever a user's own default is. */
export const SERVICE_STATE_DIRECTORY = '/var/lib/porchlight';

/** Where state is kept when the configuration does not say: `$STATE_DIRECTORY`, else `~/.local/state/porchlight`. */
export function defaultStateDirectory(env: Env): string {
  // systemd lists several folders with ":" when a unit asks for several; the first is ours.
  const given = env['STATE_DIRECTORY']?.split(':')[0];
  if (given && isAbsolute(given)) return given;
  return join(env['HOME'] || homedir(), '.local/state/porchlight');
}

async function find(
  options: LoadOptions,
  readFile: ReadFile,
): Promise<{ readonly path: string; readonly bytes: Uint8Array } | undefined> {
  const named = options.path ?? (options.env['PORCHLIGHT_CONFIG'] || undefined);
  for (const path of named === undefined ? DEFAULT_PATHS : [named]) {
    try {
      const { bytes } = await readFile(path, FILE_LIMIT);
      return { path, bytes };
    } catch (thrown) {
      if (named === undefined && errorCode(thrown) === 'ENOENT') continue;
      const source = options.path === undefined && named !== undefined ? ' (from $PORCHLIGHT_CONFIG)' : '';
      throw new PorchlightError('config_invalid', `${path}: ${unreadable(thrown)}${source}`, {
        hint: 'Name the file with --config FILE; config/porchlight.example.yaml is a start.',
      });
    }
  }
  return undefined;
}

function nowhere(): PorchlightError {
  const message = `There is no configuration; looked for ${DEFAULT_PATHS.join(' and ')}.`;
  return new PorchlightError('config_invalid', message, {
    hint: 'Copy config/porchlight.example.yaml to one of these, or name a file with --config or $PORCHLIGHT_CONFIG.',
  });
}

function decode(path: string, bytes: Uint8Array): string {
  if (bytes.length > FILE_LIMIT) throw invalid([`${path}:1:1: the file is larger than ${FILE_LIMIT / 1024} KiB`]);
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    throw invalid([`${path}:1:1: the file is in UTF-16; save it as UTF-8`]);
  }
  try {
    // TextDecoder drops the byte order mark, so that columns are counted from the first letter.
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw invalid([`${path}:${lineOfBadByte(bytes)}:1: the file is not UTF-8 text`]);
  }
}

function lineOfBadByte(bytes: Uint8Array): number {
  const text = new TextDecoder('utf-8').decode(bytes);
  return text.slice(0, Math.max(0, text.indexOf('\ufffd'))).split('\n').length;
}

/**
 * The file without sections that hold nothing: `lights:` with every line below it commented out is the same as no `lights:`.
 * A single value that holds nothing (`username:`) stays, and is refused.
 */
function withoutEmpty(value: unknown, tree: KeyTree): Readonly<Record<string, unknown>> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const members = Object.entries(value).filter(([key, member]) => member !== null || (tree.get(key)?.size ?? 0) === 0);
  return Object.fromEntries(
    members.map(([key, member]) => [key, withoutEmpty(member, tree.get(key) ?? new Map()) ?? member]),
  );
}

function inOrder(problems: readonly Problem[], document: YamlDocument): Problem[] {
  return [...problems].sort((a, b) => document.offsetOf(a.path, a.at) - document.offsetOf(b.path, b.at));
}

function invalid(lines: readonly string[]): PorchlightError {
  const unique = [...new Set(lines)];
  const rest = unique.length > MAX_PROBLEMS ? [`… and ${unique.length - MAX_PROBLEMS} more`] : [];
  return new PorchlightError('config_invalid', [...unique.slice(0, MAX_PROBLEMS), ...rest].join('\n'));
}

/** Fills in what depends on the machine or on other keys, and puts what files hold in the place of their names. */
function complete(parsed: typeof SCHEMA._zod.output, values: FileValues, env: Env, folder: string): HouseConfig {
  const { authorization, access, mqtt, bluetooth, gateway, home, web, ...rest } = parsed;
  const { password_file: _, ca_file: _ca, cert_file: _cert, key_file: _key, ...broker } = mqtt;
  const { policy, ...withoutPolicy } = access;
  const issuer = access.issuer ?? authorization?.issuer;
  return {
    ...rest,
    gateway: {
      id: gateway.id ?? cleanHostName(hostname()),
      state_directory:
        gateway.state_directory === undefined
          ? defaultStateDirectory(env)
          : pathIn(folder, env['HOME'], gateway.state_directory),
    },
    ...(authorization !== undefined && { authorization: withSecrets(authorization, values) }),
    access: {
      ...present(withoutPolicy),
      ...(policy !== undefined && { policy: policy.map(present) }),
      ...(issuer !== undefined && { issuer }),
    },
    mqtt: {
      ...present(broker),
      ...(values.mqttPassword !== undefined && { password: values.mqttPassword }),
      ...(values.ca !== undefined && { ca: values.ca }),
      ...(values.cert !== undefined && { cert: values.cert }),
      ...(values.key !== undefined && { key: values.key }),
    },
    bluetooth: present(bluetooth),
    web: present(web),
    ...(home !== undefined && { home: present(home) }),
    lights: parsed.lights.map(named),
    groups: parsed.groups.map(named),
    scenes: parsed.scenes.map(named),
  };
}

function withSecrets(authorization: NonNullable<typeof SCHEMA._zod.output.authorization>, values: FileValues) {
  const { client_secret_file: _, client_key_file: _key, ...rest } = authorization;
  const { clientSecret: client_secret, clientKey: client_key } = values;
  return {
    ...present(rest),
    endpoints: present(rest.endpoints),
    assertion: present(rest.assertion),
    ...(client_secret !== undefined && { client_secret }),
    ...(client_key !== undefined && { client_key }),
  };
}

function named<T extends { readonly id: string; readonly name?: string | undefined }>(one: T) {
  return { ...present(one), name: one.name ?? one.id };
}

/** zod types optional members as perhaps undefined; it never writes one, and no reader should have to think of it. */
function present<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(members) as { [K in keyof T]: Exclude<T[K], undefined> };
}

/** A host name as an id: lower case, its first label, other characters as dashes. */
export function cleanHostName(name: string): string {
  const clean = (name.split('.')[0] ?? '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .slice(0, 40)
    .replaceAll(/^-+|-+$/g, '');
  return clean === '' ? 'porchlight' : clean;
}
