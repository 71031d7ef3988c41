// Gets an access token for commands by the device flow (RFC 8628): a person opens the address and approves. Prints the token.
//   ISSUER=https://auth.example.com CLIENT_ID=my-phone AUDIENCE=https://porchlight.example/porch-pi node get-token.mjs
// With KEY_FILE=key.json the token is bound to that key by DPoP (RFC 9449); the key is made if it is not there. Needs: npm install jose
import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { exportJWK, generateKeyPair, importJWK, SignJWT } from 'jose';

const { ISSUER: issuer, CLIENT_ID: client_id, AUDIENCE: resource, KEY_FILE: keyFile } = process.env;
const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code';
let nonce; // of the server, once it asked for one (RFC 9449 section 8)
const key = keyFile && (await readFile(keyFile, 'utf8').then(JSON.parse, makeKey));
const server = await (await fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)).json();

const asked = await post(server.device_authorization_endpoint, { client_id, resource, scope: 'lights:control' });
if (asked.error) throw new Error(`${asked.error}: ${asked.error_description}`);
console.error(`Open ${asked.verification_uri} and enter ${asked.user_code}`);

let interval = asked.interval ?? 5;
for (;;) {
  await new Promise((resolve) => setTimeout(resolve, interval * 1000));
  const body = { grant_type: DEVICE_CODE, device_code: asked.device_code, client_id, resource };
  let answer = await post(server.token_endpoint, body);
  if (answer.error === 'use_dpop_nonce') answer = await post(server.token_endpoint, body);
  if (answer.error === 'slow_down') interval += 5;
  else if (answer.error && answer.error !== 'authorization_pending') throw new Error(answer.error);
  if (!answer.access_token) continue;
  if (key && answer.token_type.toLowerCase() !== 'dpop') throw new Error('The server does not bind tokens (DPoP).');
  console.log(answer.access_token);
  break;
}

async function post(url, fields) {
  const body = new URLSearchParams(fields);
  const headers = key && url === server.token_endpoint ? { dpop: await proofFor(url) } : {};
  const response = await fetch(url, { method: 'POST', body, headers });
  nonce = response.headers.get('dpop-nonce') ?? nonce;
  return await response.json();
}

async function proofFor(htu) {
  const { d: _private, ...jwk } = key;
  return await new SignJWT({ htm: 'POST', htu, nonce })
    .setProtectedHeader({ alg: key.alg, typ: 'dpop+jwt', jwk })
    .setIssuedAt()
    .setJti(randomUUID())
    .sign(await importJWK(key));
}

async function makeKey() {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const made = { ...(await exportJWK(privateKey)), alg: 'ES256' };
  await writeFile(keyFile, JSON.stringify(made), { mode: 0o600, flag: 'wx' });
  return made;
}
