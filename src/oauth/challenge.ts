/**
 * The `error` of an answer's WWW-Authenticate header (RFC 6750 section 3, RFC 9449 section 7.1): resources say there, and often
 * nowhere else, why they take no token. Undefined when it names none.
 */
export function challengedError(headers: Headers): string | undefined {
  const header = headers.get('www-authenticate') ?? '';
  // What is quoted may quote anything, so it is skipped as a whole: name="…" or name=word.
  for (const [, name, quoted, word] of header
    .slice(0, 4096)
    .matchAll(/([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([\w.~+/-]+))/g))
    if (name?.toLowerCase() === 'error') return quoted ?? word;
  return undefined;
}
