import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

/** Of the Salesforce documentation: an org, a user, their ids. */
export const USER = '005x00000012Q9PAAU';
const ORG = '00Dx0000000BV7zEAO';

export interface SalesforceOptions {
  /** The User record that queries are answered with. */
  readonly record?: Readonly<Record<string, unknown>>;
  /** What the identity URL says of the user beyond their ids. */
  readonly identity?: Readonly<Record<string, unknown>>;
  /** The next queries are refused so: `[{message, errorCode}]` with this status. */
  readonly refusals?: { readonly status: number; readonly errorCode: string; readonly message: string }[];
  /** The next identity requests are refused so, in plain text. */
  readonly plain?: { readonly status: number; readonly text: string }[];
}

export interface Salesforce {
  /** Where one logs in; the identity URL is there too. */
  readonly login: string;
  /** Where the API is. */
  readonly instance: string;
  readonly identityUrl: string;
  /** Each SOQL that came to the instance, as it was meant, and with which token. */
  readonly queries: { readonly soql: string; readonly token: string; readonly path: string }[];
  readonly identities: string[];
  refreshes: number;
  /** The session that is alive. */
  token: string;
  close(): Promise<void>;
}

/**
 * Salesforce as its documentation has it, as far as the home goes: the refresh answers without expires_in (Help: OAuth 2.0 Refresh
 * Token Flow), the REST API refuses with lists (REST API Developer Guide: Status Codes and Error Responses), the identity service in
 * plain text (Help: Identity URLs). The API answers at the instance only.
 */
export async function startSalesforce(options: SalesforceOptions = {}): Promise<Salesforce> {
  const refusals = [...(options.refusals ?? [])];
  const plain = [...(options.plain ?? [])];
  const json = (response: ServerResponse, status: number, body: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json;charset=UTF-8' }).end(JSON.stringify(body));
  };
  const tokenOf = (request: IncomingMessage): string => request.headers.authorization?.replace(/^Bearer /, '') ?? '';

  const login = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://login');
    if (request.method === 'POST' && pathname === '/services/oauth2/token') {
      made.refreshes += 1;
      made.token = `00D!renewed-${made.refreshes}`;
      return json(response, 200, {
        access_token: made.token,
        signature: 'c2lnbmF0dXJl',
        scope: 'refresh_token id api',
        instance_url: made.instance,
        id: made.identityUrl,
        token_type: 'Bearer',
        issued_at: '1700000000000',
      });
    }
    if (pathname !== `/id/${ORG}/${USER}`)
      return void response.writeHead(404, { 'content-type': 'text/html' }).end('<html>');
    made.identities.push(tokenOf(request));
    const refusal = plain.shift();
    if (refusal !== undefined)
      return void response.writeHead(refusal.status, { 'content-type': 'text/html;charset=UTF-8' }).end(refusal.text);
    json(response, 200, {
      id: made.identityUrl,
      asserted_user: true,
      user_id: USER,
      organization_id: ORG,
      ...options.identity,
    });
  });
  const instance = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://instance');
    if (!/^\/services\/data\/v\d\d\.0\/query\/?$/.test(pathname))
      return json(response, 404, [{ errorCode: 'NOT_FOUND', message: 'The requested resource does not exist' }]);
    const token = tokenOf(request);
    made.queries.push({ soql: searchParams.get('q') ?? '', token, path: request.url ?? '' });
    const refusal = refusals.shift();
    if (refusal !== undefined) {
      const { status, ...body } = refusal;
      return json(response, status, [body]);
    }
    if (token !== made.token)
      return json(response, 401, [{ message: 'Session expired or invalid', errorCode: 'INVALID_SESSION_ID' }]);
    const attributes = { type: 'User', url: `/services/data/v60.0/sobjects/User/${USER}` };
    const records = options.record === undefined ? [] : [{ attributes, ...options.record }];
    json(response, 200, { totalSize: records.length, done: true, records });
  });
  const made: Salesforce = {
    login: await listen(login),
    instance: await listen(instance),
    get identityUrl() {
      return `${made.login}/id/${ORG}/${USER}`;
    },
    queries: [],
    identities: [],
    refreshes: 0,
    token: '00D!first',
    close: async () => {
      for (const server of [login, instance]) {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        server.closeAllConnections();
        await closed;
      }
    },
  };
  return made;
}

function listen(server: Server): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(`http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`);
    });
  });
}
