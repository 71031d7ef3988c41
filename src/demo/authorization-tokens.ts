import { PorchlightError } from '../errors.ts';

/** The device flow's grant type (RFC 8628 section 3.4). */
export const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code';
/** An authorization grant that the client signs itself (RFC 7523 section 2.1). */
export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

export interface TokenWish {
  readonly audience?: string;
  /** Space-separated. Default: all scopes of the audience. */
  readonly scope?: string;
  /** Who approves. Default: the owner. */
  readonly account?: string;
  /** Which client asks. Default: the phone. */
  readonly client?: 'phone' | 'gateway';
  /** `client_credentials`: no person; the subject is the client. Default: device_code. */
  readonly grant?: 'device_code' | 'client_credentials';
}

interface TokenContext {
  readonly audience: string;
  readonly scopes: readonly string[];
  readonly approve: (code: string, account?: string) => Promise<string>;
}

/** Gets an access token as a client does: by its own device flow, or by its own credentials. */
export async function fetchToken(
  issuer: string,
  client: { readonly client_id: string; readonly client_secret?: string },
  wish: TokenWish,
  context: TokenContext,
): Promise<string> {
  const resource = wish.audience ?? context.audience;
  const scope = wish.scope ?? context.scopes.join(' ');
  const post = async (path: string, fields: Record<string, string>): Promise<Record<string, unknown>> => {
    const headers: Record<string, string> = { accept: 'application/json' };
    const secret = client.client_secret;
    if (secret !== undefined)
      headers['authorization'] =
        `Basic ${Buffer.from(`${encodeURIComponent(client.client_id)}:${encodeURIComponent(secret)}`).toString('base64')}`;
    const body = new URLSearchParams({ ...fields, client_id: client.client_id });
    const answer: unknown = await (await fetch(`${issuer}${path}`, { method: 'POST', headers, body })).json();
    return typeof answer === 'object' && answer !== null ? { ...answer } : {};
  };
  let answer: Record<string, unknown>;
  if (wish.grant === 'client_credentials')
    answer = await post('/token', { grant_type: 'client_credentials', scope, resource });
  else {
    const started = await post('/device/auth', { scope, resource });
    await context.approve(String(started['verification_uri_complete']), wish.account);
    answer = await post('/token', { grant_type: DEVICE_CODE, device_code: String(started['device_code']), resource });
  }
  const token = answer['access_token'];
  if (typeof token === 'string') return token;
  throw new PorchlightError(
    'server_refused',
    `No token: ${String(answer['error'])}: ${String(answer['error_description'])}`,
  );
}
