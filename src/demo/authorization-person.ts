import { PorchlightError } from '../errors.ts';

/** What a person does with a code. */
export interface Decision {
  readonly decision: 'allow' | 'deny';
  /** The name to sign in with. */
  readonly account: string;
}

const MOST_PAGES = 12;

/**
 * Goes through an authorization server's HTML forms as a person with a browser would: opens the address, confirms the code, signs in,
 * decides. Resolves with the text of the last page.
 */
export async function walkThrough(address: string, { decision, account }: Decision): Promise<string> {
  const cookies = new Map<string, string>();
  let url = address;
  let form: URLSearchParams | undefined;
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    const response = await fetch(url, {
      method: form === undefined ? 'GET' : 'POST',
      redirect: 'manual',
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; '), accept: 'text/html' },
      ...(form === undefined ? {} : { body: form }),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      cookies.set(name, value);
    }
    const text = await response.text();
    const location = response.headers.get('location');
    const next = location === null ? fillIn(text, decision, account) : { action: location };
    if (next === undefined) return text;
    url = new URL(next.action, url).href;
    form = 'fields' in next ? next.fields : undefined;
  }
  throw new PorchlightError('server_answer', 'The authorization server has more pages than a person would read.');
}

/** The page's form, filled in as the person wants; undefined when there is nothing more to fill in. */
function fillIn(
  html: string,
  decision: 'allow' | 'deny',
  account: string,
): { action: string; fields: URLSearchParams } | undefined {
  const [, attributes = ''] = /<form\s([^>]*)>/.exec(html) ?? [];
  const action = attribute(attributes, 'action');
  // A page that asks for a code again did not like the one it got.
  if (action === undefined || /<input[^>]*name="user_code"[^>]*type="text"|type="text"[^>]*name="user_code"/.test(html))
    return undefined;
  const fields = new URLSearchParams();
  for (const [, input = ''] of html.matchAll(/<input\s([^>]*?)\/?>/g)) {
    const name = attribute(input, 'name');
    if (name !== undefined) fields.set(name, name === 'account' ? account : (attribute(input, 'value') ?? ''));
  }
  if (html.includes('name="decision"')) fields.set('decision', decision);
  else if (decision === 'deny' && html.includes('name="abort"')) fields.set('abort', 'yes');
  return { action, fields };
}

function attribute(tag: string, name: string): string | undefined {
  const [, value] = new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(tag) ?? [];
  return value
    ?.replace(/&quot;/g, '"')
    .replace(/&#39;/g, "'")
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&amp;/g, '&');
}
