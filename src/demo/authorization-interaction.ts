import type { IncomingMessage, ServerResponse } from 'node:http';
import type { default as Provider } from 'oidc-provider';
import { PorchlightError } from '../errors.ts';
import { consentPage, loginPage, wishOf } from './authorization-pages.ts';

/** The sign-in and consent pages. */
export async function interact(
  provider: Provider,
  owner: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { uid, prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  const action = `/interaction/${uid}`;
  const clientId = String(params['client_id']);
  const fields = request.method === 'POST' ? new URLSearchParams(await readForm(request)) : undefined;
  if (prompt.name === 'login') {
    const account = fields?.get('account')?.trim().slice(0, 64);
    if (account === undefined || account === '') return html(response, 200, loginPage(action, owner));
    return provider.interactionFinished(request, response, { login: { accountId: account } });
  }
  const accountId = session?.accountId ?? owner;
  const { missingOIDCScope = [], missingOIDCClaims = [], missingResourceScopes = {} } = prompt.details;
  const resources = Object.entries(isScopes(missingResourceScopes) ? missingResourceScopes : {});
  const oidc = texts(missingOIDCScope);
  if (fields === undefined) {
    const client = await provider.Client.find(clientId);
    const wishes = [...oidc, ...resources.flatMap(([, scopes]) => scopes)].map(wishOf);
    return html(response, 200, consentPage(action, client?.clientName ?? clientId, accountId, wishes));
  }
  if (fields.get('decision') !== 'allow') {
    const refusal = { error: 'access_denied', error_description: 'The person did not allow it.' };
    return provider.interactionFinished(request, response, refusal, { mergeWithLastSubmission: false });
  }
  const known = grantId === undefined ? undefined : await provider.Grant.find(grantId);
  const grant = known ?? new provider.Grant({ accountId, clientId });
  if (oidc.length > 0) grant.addOIDCScope(oidc.join(' '));
  grant.addOIDCClaims(texts(missingOIDCClaims));
  for (const [resource, scopes] of resources) grant.addResourceScope(resource, scopes.join(' '));
  await provider.interactionFinished(
    request,
    response,
    { consent: { grantId: await grant.save() } },
    { mergeWithLastSubmission: true },
  );
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

function isScopes(value: unknown): value is Record<string, string[]> {
  return typeof value === 'object' && value !== null && Object.values(value).every(Array.isArray);
}

async function readForm(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of request) {
    text += String(piece);
    if (text.length > 10_000) throw new PorchlightError('payload_too_large', 'The form is too long.');
  }
  return text;
}

/** Sends a page that may load nothing and be framed by nobody. */
export function html(response: ServerResponse, status: number, body: string): void {
  if (response.headersSent) return;
  response
    .writeHead(status, {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; form-action *; frame-ancestors 'none'",
    })
    .end(body);
}
