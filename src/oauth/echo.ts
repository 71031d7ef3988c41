/** Shorter common parts are chance; longer ones are a piece of a secret, and a piece may be enough to guess the rest. */
const PIECE = 12;
/** Only so much of a server's words is ever shown. */
const SHOWN = 512;
/** The device code, tokens and assertions of the last few requests; older ones are dead. */
const MOST = 32;
const LONGEST = 16_384;
/** What looks like a token though it is none that we know: a JWT, or a long run of letters and digits. */
const TOKEN_LIKE = /eyJ[\w-]{8,}(\.[\w-]*)*|(?=[\w+=~%!-]*\d)(?=[\w+=~%!-]*[a-z])[\w+=~%!-]{24,}/gi;

/** Members of requests and answers that nobody may read, whoever writes them into an error text. */
const SECRET_MEMBERS = [
  'access_token',
  'refresh_token',
  'id_token',
  'token',
  'device_code',
  'client_secret',
  'client_assertion',
  'assertion',
  'subject_token',
  'actor_token',
  'code',
  'password',
];

/**
 * What was sent to a server or came from it and must not come back in the words that it has for people: some servers, and
 * every hostile one, repeat in `error_description` what they were sent.
 */
export class Echo {
  readonly #secrets = new Set<string>();

  /** Remembers a request's credentials. */
  sent(headers: Readonly<Record<string, string>>, body: URLSearchParams | undefined): void {
    for (const name of SECRET_MEMBERS) for (const value of body?.getAll(name) ?? []) this.#add(value);
    for (const [name, value] of Object.entries(headers)) {
      if (/^dpop$/i.test(name)) this.#add(value);
      if (!/^authorization$/i.test(name)) continue;
      const [scheme = '', credential = ''] = value.split(' ');
      this.#add(credential);
      if (/^basic$/i.test(scheme)) this.#addBasic(credential);
    }
  }

  /** Remembers an answer's tokens. */
  received(body: Readonly<Record<string, unknown>> | undefined): void {
    for (const name of SECRET_MEMBERS) {
      const value = body?.[name];
      if (typeof value === 'string') this.#add(value);
    }
  }

  /**
   * A server's words without secrets. Undefined when they contain one, or a piece of one: as it is, or URL-encoded, in base64
   * or hexadecimal. What only looks like one (it may be a token of an earlier life, or the number of a trace) is left out of them.
   */
  without(text: string): string | undefined {
    const words = text.slice(0, SHOWN);
    const lower = words.toLowerCase();
    const pieces = new Set<string>();
    for (let at = 0; at + PIECE <= lower.length; at += 1) pieces.add(lower.slice(at, at + PIECE));
    for (const secret of this.#secrets)
      if (formsOf(secret).some((form) => shares(form, lower, pieces))) return undefined;
    return words.replace(TOKEN_LIKE, '[…]');
  }

  #add(value: string): void {
    if (value === '') return;
    const secret = value.slice(0, LONGEST);
    this.#secrets.delete(secret);
    this.#secrets.add(secret);
    for (const oldest of this.#secrets) {
      if (this.#secrets.size <= MOST) break;
      this.#secrets.delete(oldest);
    }
  }

  /** RFC 6749 section 2.3.1: both halves are form-encoded. */
  #addBasic(credential: string): void {
    const pair = Buffer.from(credential, 'base64').toString('utf8');
    const encoded = pair.slice(pair.indexOf(':') + 1);
    this.#add(encoded);
    this.#add(new URLSearchParams(`secret=${encoded}`).get('secret') ?? '');
  }
}

function formsOf(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  const forms = [
    secret,
    encodeURIComponent(bytes.toString('utf8')),
    bytes.toString('base64'),
    bytes.toString('base64url'),
    bytes.toString('hex'),
  ];
  return forms.map((form) => form.toLowerCase());
}

/** Have they PIECE characters in common (or all of a secret that is shorter than that)? */
function shares(form: string, words: string, pieces: ReadonlySet<string>): boolean {
  if (form.length <= PIECE) return words.includes(form);
  for (let at = 0; at + PIECE <= form.length; at += 1) if (pieces.has(form.slice(at, at + PIECE))) return true;
  return false;
}
