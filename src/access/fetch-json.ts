import { PorchlightError } from '../errors.ts';
import { parseObject } from './json.ts';

/** The global `fetch`, or a test's. */
export type Fetch = typeof fetch;

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

const answer = (message: string): PorchlightError => new PorchlightError('server_answer', message);

/**
 * GETs a JSON object of at most `maxBytes` from an https address (http on loopback only). Redirects are not followed: they
 * would let one address speak for another. Rejects `server_answer`, or what `fetch` rejects with.
 */
export async function fetchJson(
  fetchIt: Fetch,
  url: URL,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Readonly<Record<string, unknown>>> {
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && LOOPBACK.test(url.hostname))) {
    throw answer('The key set of the authorization server is not at an https address.');
  }
  const response = await fetchIt(url, { redirect: 'manual', headers: { accept: 'application/json' }, signal });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw answer(`The authorization server answered ${response.status} where its key set should be.`);
  }
  const parsed = parseObject(await boundedBody(response, maxBytes));
  if (parsed === undefined) throw answer('The key set of the authorization server is not a JSON object.');
  return parsed;
}

async function boundedBody(response: Response, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  // Leaving the loop by a throw also cancels the stream, so a body without end costs one chunk too many.
  for await (const chunk of response.body ?? []) {
    length += chunk.byteLength;
    if (length > maxBytes) throw answer(`The key set of the authorization server is larger than ${maxBytes} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
