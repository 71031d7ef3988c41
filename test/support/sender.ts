import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import type { CommanderKey } from './commander-key.ts';

// biome-ignore lint/suspicious/noExplicitAny: a test reads whatever is published, and fails where it is something else
type Json = any;

/** An MQTT client as a commander would write it: publishes commands, hears outcomes, states and everything else. */
export class Sender {
  readonly client: MqttClient;
  /** Every message, oldest first; retained values too. */
  readonly heard: {
    readonly topic: string;
    readonly body: Json;
    readonly retain: boolean;
    readonly correlation: string | undefined;
  }[] = [];
  #count = 0;

  private constructor(client: MqttClient) {
    this.client = client;
  }

  static async connect(url: string, options: IClientOptions = {}): Promise<Sender> {
    const client = await connectAsync(url, { protocolVersion: 5, reconnectPeriod: 100, ...options });
    const sender = new Sender(client);
    client.on('message', (topic, payload, packet) => {
      const text = payload.toString('utf8');
      const body = parsed(text);
      const correlation = packet.properties?.correlationData?.toString('utf8');
      sender.heard.push({ topic, body, retain: packet.retain, correlation });
    });
    await client.subscribeAsync('porchlight/#', { qos: 1 });
    return sender;
  }

  /** Publishes a command with a token and resolves with what came on its own response topic. */
  async command(
    target: string,
    change: Json,
    how: {
      readonly token?: string;
      /** The key that the token is bound to: signs the command. */
      readonly key?: CommanderKey;
      /** Put over the claims of its proof. */
      readonly claims?: Record<string, unknown>;
      readonly retain?: boolean;
      readonly local?: boolean;
      readonly raw?: string;
      readonly properties?: Record<string, string>;
      readonly ms?: number;
    } = {},
  ): Promise<Json> {
    this.#count += 1;
    const correlation = `c${process.pid}-${this.#count}`;
    const topic = `porchlight/${how.local ? 'local/' : ''}${target}/set`;
    const payload = how.raw ?? JSON.stringify(change);
    const responseTopic = 'porchlight/response/test';
    const { token, key } = how;
    const proof = token && (await key?.proof({ topic, payload, responseTopic, token }, how.claims));
    const user = {
      ...how.properties,
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(proof && { proof }),
    };
    await this.client.publishAsync(topic, payload, {
      qos: 1,
      retain: how.retain ?? false,
      properties: {
        responseTopic,
        correlationData: Buffer.from(correlation),
        ...(Object.keys(user).length > 0 && { userProperties: user }),
      },
    });
    const found = await this.until(
      (one) => one.topic === 'porchlight/response/test' && one.correlation === correlation,
      `an outcome for ${target}`,
      how.ms,
    );
    return found.body;
  }

  /** The first message that fits, heard already or within `ms`. */
  async until(
    good: (one: Sender['heard'][number]) => boolean,
    what: string,
    ms = 20_000,
  ): Promise<Sender['heard'][number]> {
    const deadline = performance.now() + ms;
    for (;;) {
      const found = this.heard.find(good);
      if (found !== undefined) return found;
      if (performance.now() > deadline)
        throw new Error(`not heard within ${ms} ms: ${what}\n${JSON.stringify(this.heard.slice(-8))}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** The newest retained or live message of a topic. */
  newest(topic: string): Json {
    return this.heard.findLast((one) => one.topic === topic)?.body;
  }

  close(): Promise<void> {
    return this.client.endAsync(true);
  }
}

/** Malformed commands are heard too, as the text that they are. */
function parsed(text: string): Json {
  try {
    return /^[{[]/.test(text) ? JSON.parse(text) : text;
  } catch {
    return text;
  }
}
