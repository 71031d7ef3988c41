// As send-bearer.mjs, but signed with the key that the token is bound to: whoever records the message can do nothing with it.
//   TOKEN=... KEY_FILE=key.json node send-bound.mjs mqtt://localhost porch '{"state":"ON"}' porch-pi
// The last word is the gateway's id (gateway.id); get-token.mjs makes the key. Needs: npm install mqtt jose
import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { importJWK, SignJWT } from 'jose';
import { connectAsync } from 'mqtt';

const [url, target, change, gateway] = process.argv.slice(2);
const { TOKEN: token, KEY_FILE: keyFile } = process.env;
const client = await connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0 });
const late = setTimeout(() => process.exit(69), 40_000); // longer than access.max_age: every command is answered until then

const [topic, responseTopic] = [`porchlight/${target}/set`, `porchlight/response/${randomUUID()}`];
await client.subscribeAsync(responseTopic);
const answered = new Promise((resolve) => client.once('message', (_topic, payload) => resolve(JSON.parse(payload))));
const payload = JSON.stringify({ ...JSON.parse(change), id: randomUUID() });

const hash = (data) => createHash('sha256').update(data).digest('base64url');
const privateKey = JSON.parse(await readFile(keyFile, 'utf8'));
const { d: _private, ...jwk } = privateKey; // of an EC or Ed25519 key, all the rest is public
const proof = await new SignJWT({
  gateway,
  topic,
  response_topic: responseTopic,
  ath: hash(token),
  payload: hash(payload),
})
  .setProtectedHeader({ alg: privateKey.alg, typ: 'porchlight-command+jwt', jwk })
  .setIssuedAt()
  .setJti(randomUUID())
  .sign(await importJWK(privateKey));

const userProperties = { authorization: `Bearer ${token}`, proof };
await client.publishAsync(topic, payload, { qos: 1, properties: { responseTopic, userProperties } });
const outcome = await answered;
console.log(JSON.stringify(outcome));
process.exitCode = ['confirmed', 'assumed'].includes(outcome.outcome) ? 0 : 1;
clearTimeout(late);
await client.endAsync();
