import type { Problem } from './problem.ts';

/** More are not remembered: one is already one too many. */
const MOST = 20;

/** The other gateways that say `online` below our base topic. There must be none: both would obey the same commands. */
export class Neighbours {
  readonly #own: string;
  readonly #online = new Set<string>();

  constructor(own: string) {
    this.#own = own;
  }

  /** A new connection starts with what the broker retains. */
  forget(): void {
    this.#online.clear();
  }

  /** A gateway spoke in its availability topic. True: what we know has changed. */
  heard(gateway: string, payload: string): boolean {
    if (gateway === this.#own) return false;
    if (payload !== 'online') return this.#online.delete(gateway);
    if (this.#online.has(gateway) || this.#online.size >= MOST) return false;
    this.#online.add(gateway);
    return true;
  }

  /** What a person should know of it. */
  problem(base: string): Problem | undefined {
    if (this.#online.size === 0) return undefined;
    const names = [...this.#online].map((id) => `"${id}"`).join(', ');
    return {
      code: 'config_invalid',
      message: `Another gateway (${names}) also uses the base topic "${base}": commands there reach both.`,
      hint: 'Give each gateway its own mqtt.base_topic. If it is gone for good, clear its retained availability topic.',
    };
  }
}
