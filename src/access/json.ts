/** Deeper objects than this appear in no token or key set. */
const MAX_DEPTH = 32;
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** In valid JSON these are all that is needed to know where the member names are. */
const LANDMARKS = /"(?:[^"\\]|\\.)*"|[{}[\]:]/g;

function hasDuplicatesOrDepth(validJson: string): boolean {
  const open: Set<string>[] = [];
  let lastString = '';
  for (const [mark] of validJson.matchAll(LANDMARKS)) {
    if (mark === '{' || mark === '[') open.push(new Set());
    else if (mark === '}' || mark === ']') open.pop();
    else if (mark !== ':') lastString = mark;
    else {
      // The name as the parser sees it: "\u0061lg" and "alg" are the same member.
      const name = lastString.includes('\\') ? String(JSON.parse(lastString)) : lastString.slice(1, -1);
      const members = open.at(-1);
      if (members?.has(name)) return true;
      members?.add(name);
    }
    if (open.length > MAX_DEPTH) return true;
  }
  return false;
}

/**
 * A JSON object from strangers' bytes, or undefined. Two readers must never understand it differently, so these are refused:
 * bytes that are not UTF-8, a byte order mark, two members of one name (RFC 7515 section 4, RFC 7519 section 4).
 */
export function parseObject(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  let parsed: unknown;
  try {
    const text = UTF8.decode(bytes);
    parsed = JSON.parse(text);
    if (hasDuplicatesOrDepth(text)) return undefined;
  } catch {
    return undefined;
  }
  return isObject(parsed) ? parsed : undefined;
}

/** A JSON object: neither an array nor null. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
