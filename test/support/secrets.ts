import { randomBytes } from 'node:crypto';

/** A piece this long of a secret is found, so one that is split in two is found twice. */
const PIECE = 16;

/** A secret that is known again wherever it comes up: with signs that URLs, JSON and base64 each write in another way. */
export const planted = (name: string): string =>
  `${name}~${randomBytes(18).toString('base64url')}/+%"Ü${randomBytes(6).toString('hex')}`;

/** The same for places where only token characters are allowed (RFC 6750 section 2.1). */
export const plantedToken = (): string => randomBytes(30).toString('base64url');

/** Everything that a text is searched for: each planted secret in each spelling in which it could leave. */
export class SecretSearch {
  readonly #pieces = new Map<string, string>();

  /** A JWT is known by its payload and signature: its header is no secret, and many have the same. */
  add(name: string, secret: string): void {
    const parts = /^eyJ[\w-]+\.(.+)$/.exec(secret)?.[1]?.split('.') ?? [secret];
    for (const part of parts) for (const form of formsOf(part)) this.#addForm(name, form);
  }

  #addForm(name: string, form: string): void {
    if (form.length < PIECE) this.#pieces.set(form, name);
    for (let at = 0; at + PIECE <= form.length; at += 1) this.#pieces.set(form.slice(at, at + PIECE), name);
  }

  /** Which secrets are in this text, and where: the name and the text around it. */
  in(text: string): readonly string[] {
    const found: string[] = [];
    const short = [...this.#pieces].filter(([piece]) => piece.length < PIECE);
    for (const [piece, name] of short) if (text.includes(piece)) found.push(`${name}: ${piece}`);
    for (let at = 0; at + PIECE <= text.length; at += 1) {
      const name = this.#pieces.get(text.slice(at, at + PIECE));
      if (name === undefined) continue;
      found.push(`${name}: …${text.slice(Math.max(0, at - 60), at + PIECE + 20)}…`);
      at += PIECE;
    }
    return found;
  }
}

function formsOf(secret: string): ReadonlySet<string> {
  const bytes = Buffer.from(secret);
  const url = encodeURIComponent(secret);
  const forms = [
    secret,
    JSON.stringify(secret).slice(1, -1),
    url,
    url.toLowerCase(),
    new URLSearchParams({ x: secret }).toString().slice(2),
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
    bytes.toString('latin1'),
  ];
  // In base64 the same bytes look different at each of three places; what is common to all neighbours stays.
  for (const before of ['', 'x', 'xx'])
    for (const encoding of ['base64', 'base64url'] as const) {
      const whole = Buffer.concat([Buffer.from(before), bytes])
        .toString(encoding)
        .replace(/=+$/, '');
      forms.push(whole.slice(before.length === 0 ? 0 : before.length + 1, -1));
    }
  return new Set(forms.flatMap((form) => [form, [...form].reverse().join('')]));
}

/** What looks like a JWT with a payload and a signature, wherever it stands. */
const JWT = /eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}/;

/** The first thing in this text that looks like a JWT. */
export const jwtIn = (text: string): string | undefined => JWT.exec(text)?.[0];
