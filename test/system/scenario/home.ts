import { mkdirSync, writeFileSync } from 'node:fs';
import type { AuthorizationServer } from '../../../src/demo/authorization-server.ts';
import { askDaemon } from '../../../src/web/client.ts';
import type { Sender } from '../../support/sender.ts';
import type { Lamp } from './lamp.ts';
import { type Deadline, journal } from './machine.ts';

// biome-ignore lint/suspicious/noExplicitAny: a test reads whatever the daemon says, and fails where it is something else
export type Json = any;

export const UNIT = 'porchlight.service';
export const AUDIENCE = 'https://porchlight.example/porch-pi';
const CONFIG = '/etc/porchlight/porchlight.yaml';
const SOCKET = '/run/porchlight/porchlight.sock';

/** The gateway tries for `access.max_age`, 30 s, and then says so; a starved machine gets as much again. */
const LONGEST_OUTCOME = 60_000;

/** A home on this machine: what an installer has put together, and the person and the lamp that belong to it. */
export class Home {
  readonly lamp: Lamp;
  readonly server: AuthorizationServer;
  readonly sender: Sender;
  readonly address: string;
  config: Json;
  #colors = 0;

  constructor(parts: {
    readonly lamp: Lamp;
    readonly server: AuthorizationServer;
    readonly sender: Sender;
    readonly address: string;
  }) {
    this.lamp = parts.lamp;
    this.server = parts.server;
    this.sender = parts.sender;
    this.address = parts.address;
    this.config = {
      authorization: { issuer: parts.server.issuer, client_id: 'porchlight', scopes: ['openid', 'offline_access'] },
      access: { audience: AUDIENCE, unsigned: 'allow' },
      mqtt: { url: 'mqtt://localhost:1883' },
      bluetooth: { backend: 'hci', adapter: 'hci0' },
      // There is neither a network nor a time server in here.
      clock: { trust: 'system' },
      lights: [{ id: 'porch', name: 'Porch', address: parts.address }],
      log: { level: 'debug' },
    };
  }

  /** Writes the configuration, as its installer would with an editor. JSON is YAML. */
  configure(change: Json = {}): void {
    this.config = { ...this.config, ...change };
    this.write(JSON.stringify(this.config, null, 2));
  }

  write(text: string): void {
    mkdirSync('/etc/porchlight', { recursive: true });
    writeFileSync(CONFIG, text);
  }

  async status(): Promise<Json> {
    return (await askDaemon([SOCKET], 'GET', '/api/status', { timeoutMs: 5_000 })).body;
  }

  /** A colour that no earlier command had, with the frame that it must become. */
  color(): { readonly change: Json; readonly frame: string } {
    this.#colors += 1;
    const g = this.#colors & 0xff;
    const b = (this.#colors * 7) & 0xff;
    // 56 R G B 00 F0 AA (madhead/saberlight)
    const frame = `56ff${g.toString(16).padStart(2, '0')}${b.toString(16).padStart(2, '0')}00f0aa`;
    return { change: { state: 'ON', brightness: 255, color: { r: 255, g, b } }, frame };
  }

  /**
   * One command after the other, as somebody at a switch, until one is confirmed and its frame is at the lamp. Every command
   * must have an outcome. Resolves with what those before it ended as.
   */
  async obeyed(deadline: Deadline, how: { readonly token?: string } = {}): Promise<string> {
    const before: string[] = [];
    const seen = this.lamp.events.length;
    const began = performance.now();
    await deadline.until('a command is confirmed', async () => {
      const { change, frame } = this.color();
      const options = how.token === undefined ? { local: true } : { token: how.token };
      const outcome = await this.sender.command('porch', change, {
        ...options,
        ms: Math.min(deadline.leftMs, LONGEST_OUTCOME),
      });
      if (outcome.outcome !== 'confirmed') {
        before.push(`${outcome.code ?? outcome.outcome} after ${((performance.now() - began) / 1000).toFixed(1)} s`);
        return undefined;
      }
      if (!this.lamp.writesSince(seen).includes(frame))
        throw new Error(`confirmed, but ${frame} never reached the lamp: ${this.lamp.writesSince(seen).join(' ')}`);
      return true;
    });
    return before.length === 0 ? 'the first command was confirmed' : `first ${before.join(', ')}; then confirmed`;
  }

  /** Until the unit, its radio and its lamp are as they should be. */
  async well(deadline: Deadline): Promise<Json> {
    return deadline.until('authorized, connected, with radio and lamp', async () => {
      const status = await this.status();
      const fine = status.healthy && status.lights.some(({ id, available }: Json) => id === 'porch' && available);
      return fine ? status : undefined;
    });
  }

  /** What befell the lamp, oldest first, with the seconds since the scenario began. */
  diary(): string {
    const line = ({ at, ...event }: Lamp['events'][number]): string =>
      `${(at / 1000).toFixed(3)} ${JSON.stringify(event)}\n`;
    return this.lamp.events.map(line).join('');
  }

  /** For failures: how the daemon is, what it and the lamp said last. */
  async explain(): Promise<string> {
    const status = await this.status().then(
      ({ radio, links, lights, authorization, broker }) =>
        JSON.stringify({ radio, links, lights, authorization, broker }),
      (thrown: unknown) => `no status: ${String(thrown)}`,
    );
    const log = (await journal(UNIT)).trimEnd().split('\n').slice(-30).join('\n');
    const events = this.diary().trimEnd().split('\n').slice(-15);
    return `${status}\n--- journal, its end\n${log}\n--- lamp, at ${(performance.now() / 1000).toFixed(1)}\n${events.join('\n')}`;
  }
}
