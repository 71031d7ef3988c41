import { createPrivateKey, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { Path } from './document.ts';
import { errorCode, pathIn, type ReadFile, unreadable } from './files.ts';
import { type Problem, valueAt } from './problem.ts';
import { ACCESS_TOKEN } from './schema.ts';

/** Longer than any secret or certificate bundle that makes sense. */
const SECRET_LIMIT = 16_384;
const PEM_LIMIT = 1_048_576;

/** What the files named in the configuration, and systemd's credentials, hold. */
export interface FileValues {
  readonly clientSecret?: string;
  readonly clientKey?: string;
  readonly mqttPassword?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

interface Where {
  readonly file: unknown;
  /** The folder of the configuration, and the home folder for `~/`. */
  readonly folder: string;
  readonly home: string | undefined;
  /** systemd's `$CREDENTIALS_DIRECTORY`. */
  readonly credentials: string | undefined;
  readonly readFile: ReadFile;
}

/** Reads every file that the configuration names. What is wrong with one is said without a byte of what it holds. */
export async function readFileValues(where: Where): Promise<{
  readonly values: FileValues;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}> {
  const reader = new FileValueReader(where);
  const clientSecret = await reader.secret(['authorization', 'client_secret'], ['client_secret']);
  const clientKey = await reader.signingKey();
  const mqttPassword = await reader.secret(['mqtt', 'password'], ['mqtt_password', 'password']);
  const ca = await reader.pem(['mqtt', 'ca_file'], 'certificate');
  const cert = await reader.pem(['mqtt', 'cert_file'], 'certificate');
  const key = await reader.pem(['mqtt', 'key_file'], 'key');
  if (cert !== undefined && key !== undefined && !new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
    reader.complain(['mqtt', 'key_file'], 'is not the key of the certificate in mqtt.cert_file');
  }
  const method = valueAt(where.file, ['authorization', 'client_authentication']);
  const given = valueAt(where.file, ['authorization', 'client_secret']) != null || clientSecret !== undefined;
  const failed = reader.problems.some(({ path }) => path[0] === 'authorization');
  if ((method === 'client_secret_basic' || method === 'client_secret_post') && !given && !failed) {
    reader.complain(
      ['authorization', 'client_authentication'],
      `${method} needs client_secret_file (or a systemd credential named client_secret)`,
    );
  }
  const signs = method === 'private_key_jwt' || valueAt(where.file, ['authorization', 'grant']) === 'jwt_bearer';
  const signed = valueAt(where.file, ['authorization', 'client_key']) != null || clientKey !== undefined;
  if (signs && !signed && !failed) {
    const key = method === 'private_key_jwt' ? 'client_authentication' : 'grant';
    reader.complain(
      ['authorization', key],
      `${key === 'grant' ? 'jwt_bearer' : method} needs client_key_file (or a systemd credential named client_key)`,
    );
  }
  return {
    values: {
      ...(clientSecret !== undefined && { clientSecret }),
      ...(clientKey !== undefined && { clientKey }),
      ...(mqttPassword !== undefined && { mqttPassword }),
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
    },
    problems: reader.problems,
    warnings: reader.warnings,
  };
}

class FileValueReader {
  readonly problems: Problem[] = [];
  readonly warnings: Problem[] = [];
  readonly #where: Where;

  constructor(where: Where) {
    this.#where = where;
  }

  complain(path: Path, message: string): void {
    this.problems.push({ path, at: 'value', message });
  }

  /** The secret of `KEY_file`, else of the first credential that exists. What stands in the configuration itself goes before both. */
  async secret(path: readonly [string, string], credentials: readonly string[]): Promise<string | undefined> {
    const [section, key] = path;
    if (valueAt(this.#where.file, path) != null) return undefined;
    const filePath = [section, `${key}_file`];
    const file = valueAt(this.#where.file, filePath);
    if (file != null) {
      if (typeof file !== 'string') return undefined;
      const bytes = await this.#read(
        filePath,
        pathIn(this.#where.folder, this.#where.home, file),
        SECRET_LIMIT,
        'warn',
      );
      return bytes === undefined ? undefined : this.#secretIn(bytes, filePath, '');
    }
    if (!this.#where.credentials?.startsWith('/')) return undefined;
    for (const name of credentials) {
      const says = `the systemd credential ${name} `;
      try {
        const { bytes } = await this.#where.readFile(join(this.#where.credentials, name), SECRET_LIMIT);
        return this.#secretIn(bytes, path, says);
      } catch (thrown) {
        if (errorCode(thrown) === 'ENOENT' || errorCode(thrown) === 'ENOTDIR') continue;
        this.complain(path, says + unreadable(thrown));
        return undefined;
      }
    }
    return undefined;
  }

  /** The client's signing key, wherever it stands; judged here, so that a wrong file is named with its line. */
  async signingKey(): Promise<string | undefined> {
    const path = ['authorization', 'client_key'] as const;
    const inline = valueAt(this.#where.file, path);
    if (inline != null) {
      if (typeof inline === 'string' && !isSigningKey(inline)) this.complain(path, NO_SIGNING_KEY);
      return undefined;
    }
    const filePath = ['authorization', 'client_key_file'];
    const file = valueAt(this.#where.file, filePath);
    if (typeof file === 'string') {
      const name = pathIn(this.#where.folder, this.#where.home, file);
      const bytes = await this.#read(filePath, name, SECRET_LIMIT, 'warn');
      return bytes === undefined ? undefined : this.#signingKeyIn(bytes, filePath, '');
    }
    if (file != null || !this.#where.credentials?.startsWith('/')) return undefined;
    const says = 'the systemd credential client_key ';
    try {
      const { bytes } = await this.#where.readFile(join(this.#where.credentials, 'client_key'), SECRET_LIMIT);
      return this.#signingKeyIn(bytes, path, says);
    } catch (thrown) {
      if (errorCode(thrown) !== 'ENOENT' && errorCode(thrown) !== 'ENOTDIR')
        this.complain(path, says + unreadable(thrown));
      return undefined;
    }
  }

  #signingKeyIn(bytes: Uint8Array, path: Path, says: string): string | undefined {
    const text = decode(bytes);
    if (text !== undefined && isSigningKey(text)) return text;
    this.complain(path, `${says}${NO_SIGNING_KEY}`);
    return undefined;
  }

  /** PEM text, judged by the library that will use it. */
  async pem(path: Path, kind: 'certificate' | 'key'): Promise<string | undefined> {
    const file = valueAt(this.#where.file, path);
    if (typeof file !== 'string') return undefined;
    const name = pathIn(this.#where.folder, this.#where.home, file);
    const bytes = await this.#read(path, name, PEM_LIMIT, kind === 'key' ? 'warn' : 'quiet');
    if (bytes === undefined) return undefined;
    const text = Buffer.from(bytes).toString('utf8');
    try {
      if (kind === 'key') createPrivateKey(text);
      else new X509Certificate(text);
      return text;
    } catch {
      // The library's words are about its own parser, and about bytes that may be secret.
      this.complain(
        path,
        kind === 'key' ? 'holds no private key in PEM (without passphrase)' : 'holds no certificate in PEM',
      );
      return undefined;
    }
  }

  async #read(
    path: Path,
    name: string,
    limit: number,
    ifWorldReadable: 'warn' | 'quiet',
  ): Promise<Uint8Array | undefined> {
    try {
      const { bytes, mode } = await this.#where.readFile(name, limit);
      if (bytes.length > limit) return void this.complain(path, `${name} is larger than ${limit} bytes`);
      if (ifWorldReadable === 'warn' && mode !== undefined && (mode & 0o004) !== 0) {
        this.warnings.push({ path, at: 'value', message: `every user of this machine may read ${name}: chmod 600` });
      }
      return bytes;
    } catch (thrown) {
      return void this.complain(path, `${name} ${unreadable(thrown)}`);
    }
  }

  #secretIn(bytes: Uint8Array, path: Path, says: string): string | undefined {
    const text = decode(bytes)?.replace(/\r?\n$/, '');
    if (bytes.length > SECRET_LIMIT) this.complain(path, `${says}holds more than ${SECRET_LIMIT} bytes`);
    else if (text === undefined) this.complain(path, `${says}holds no text in UTF-8`);
    else if (text === '') this.complain(path, `${says}is empty`);
    else if (/[\r\n]/.test(text)) this.complain(path, `${says}holds more than one line`);
    else if (/[\u0000-\u001f\u007f]/.test(text)) this.complain(path, `${says}holds a control character`);
    else if (text === ACCESS_TOKEN) this.complain(path, `${says}holds the word ${ACCESS_TOKEN}, which is no password`);
    else return text;
    return undefined;
  }
}

const NO_SIGNING_KEY = 'holds no private key: PEM (without passphrase), or a private JWK';

/** A private key that can sign: PEM, or one JWK (RFC 7517). */
function isSigningKey(text: string): boolean {
  try {
    const key = text.trimStart().startsWith('{')
      ? createPrivateKey({ key: JSON.parse(text), format: 'jwk' })
      : createPrivateKey(text);
    return ['rsa', 'ec', 'ed25519'].includes(key.asymmetricKeyType ?? '');
  } catch {
    return false;
  }
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
