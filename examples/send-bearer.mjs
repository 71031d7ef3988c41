// Sends one command with a bearer token, prints its outcome, and exits 0 when the lamp obeyed. Needs: npm install mqtt
//   TOKEN=... node send-bearer.mjs mqtt://localhost porch '{"state":"ON"}'
import { randomUUID } from 'node:crypto';
import { connectAsync } from 'mqtt';

const [url, target, change] = process.argv.slice(2);
const client = await connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0 });
const late = setTimeout(() => process.exit(69), 40_000); // longer than access.max_age: every command is answered until then

const responseTopic = `porchlight/response/${randomUUID()}`;
await client.subscribeAsync(responseTopic);
const answered = new Promise((resolve) => client.once('message', (_topic, payload) => resolve(JSON.parse(payload))));
await client.publishAsync(`porchlight/${target}/set`, JSON.stringify({ ...JSON.parse(change), id: randomUUID() }), {
  qos: 1,
  properties: { responseTopic, userProperties: { authorization: `Bearer ${process.env.TOKEN}` } },
});
const outcome = await answered;
console.log(JSON.stringify(outcome));
process.exitCode = ['confirmed', 'assumed'].includes(outcome.outcome) ? 0 : 1;
clearTimeout(late);
await client.endAsync();
