import { connectAsync } from 'mqtt';
import * as z from 'zod';
import { PorchlightError } from '../errors.ts';

/** What the phone reads of an outcome. */
const Answer = z.object({
  id: z.string().optional(),
  outcome: z.string(),
  code: z.string().optional(),
  message: z.string().optional(),
  took_ms: z.number(),
});
export type Answer = z.infer<typeof Answer>;

/** A second client: it knows the broker and has a token of its own, and nothing else of the gateway. */
export interface Phone {
  /** Publishes to `porchlight/<target>/set` and resolves with the outcome. `target` may be `scene/movie`. */
  send(target: string, change: object, token: string | undefined): Promise<Answer>;
  close(): Promise<void>;
}

const ANSWER_MS = 40_000;

export async function startPhone(url: string): Promise<Phone> {
  const client = await connectAsync(url, { clientId: 'demo-phone', reconnectPeriod: 0 });
  if ('setNoDelay' in client.stream && typeof client.stream.setNoDelay === 'function') client.stream.setNoDelay(true);
  await client.subscribeAsync(['porchlight/+/result', 'porchlight/scene/+/result']);
  const waiting = new Map<string, (answer: Answer) => void>();
  client.on('message', (_topic, payload) => {
    const answer = Answer.safeParse(JSON.parse(payload.toString('utf8')));
    if (answer.success && answer.data.id !== undefined) waiting.get(answer.data.id)?.(answer.data);
  });
  let count = 0;
  return {
    async send(target, change, token) {
      count += 1;
      const id = `demo-${count}`;
      const body = { ...change, id, ...(token !== undefined && { authorization: token }) };
      const answered = new Promise<Answer>((resolve, reject) => {
        const late = setTimeout(
          () => reject(new PorchlightError('timed_out', `The gateway did not answer the command to ${target}.`)),
          ANSWER_MS,
        );
        waiting.set(id, (answer) => {
          clearTimeout(late);
          resolve(answer);
        });
      });
      await client.publishAsync(`porchlight/${target}/set`, JSON.stringify(body), { qos: 1 });
      return answered.finally(() => waiting.delete(id));
    },
    close: () => client.endAsync(),
  };
}
