import type { PorchlightError } from '../errors.ts';
import type { Attribute } from './agree.ts';
import type { LightChange } from './change.ts';
import { defined } from './members.ts';
import type { Outcome } from './outcome.ts';
import type { Look, Wish } from './wish.ts';

/** What became of a command at one lamp. */
export type LightOutcome = Pick<Outcome, 'outcome' | 'code' | 'message' | 'hint' | 'by'>;

/** Who asks, and until when it is worth trying. Monotonic milliseconds. */
export interface Asked {
  readonly by: string;
  /** An unreachable lamp is tried until then; after it the command has `failed`. */
  readonly until: number;
  /** Counts commands up in the order of their arrival, which is not that of their judgement; absent: it is the newest. */
  readonly arrived?: number;
  /** The sender's own limit: after it the command has `expired`. */
  readonly expiresAt?: number;
  /** Asked right before each write: why it must not be carried out any more; undefined: it still may. It must not throw. */
  readonly refusal?: () => PorchlightError | undefined;
}

/** One command on its way. */
export interface Order extends Asked {
  readonly change: LightChange;
  /** Counts up with every command: the newest has the last word about `by`. */
  readonly number: number;
  readonly resolve: (outcome: LightOutcome) => void;
}

/** The moment at which an order gives up, whichever limit comes first. */
export function deadlineOf(order: Order): number {
  return Math.min(order.until, order.expiresAt ?? Number.POSITIVE_INFINITY);
}

interface Wanted<V> {
  readonly value: V;
  readonly order: Order;
}

interface Slots {
  readonly power?: Wanted<'ON' | 'OFF'>;
  readonly brightness?: Wanted<number>;
  readonly look?: Wanted<Look>;
}

/** Everything that a command can be about. */
export const ATTRIBUTES: readonly Attribute[] = ['power', 'brightness', 'look'];

/** What is desired of a lamp and not yet written: per attribute the newest value, and whose it is. */
export class Desired {
  #slots: Slots = {};

  /** Takes these attributes of `wish`; whoever wanted the same before is replaced. */
  take(wish: Wish, order: Order, attributes: readonly Attribute[] = ATTRIBUTES): void {
    const { power, brightness, look } = wish;
    const wanted = <V>(attribute: Attribute, value: V | undefined): Wanted<V> | undefined =>
      value === undefined || !attributes.includes(attribute) ? undefined : { value, order };
    this.#slots = {
      ...this.#slots,
      ...defined('power', wanted('power', power)),
      ...defined('brightness', wanted('brightness', brightness)),
      ...defined('look', wanted('look', look)),
    };
  }

  get empty(): boolean {
    return this.orders().length === 0;
  }

  get power(): 'ON' | 'OFF' | undefined {
    return this.#slots.power?.value;
  }

  /** Those who still own an attribute, oldest first. */
  orders(): readonly Order[] {
    const all = new Set(ATTRIBUTES.flatMap((attribute) => this.#slots[attribute]?.order ?? []));
    return [...all].sort((a, b) => a.number - b.number);
  }

  owns(order: Order): boolean {
    return ATTRIBUTES.some((attribute) => this.#slots[attribute]?.order === order);
  }

  /** Forgets what an order wanted: it is written, or will not be. */
  drop(order: Order): void {
    const { power, brightness, look } = this.#slots;
    this.#slots = {
      ...defined('power', power?.order === order ? undefined : power),
      ...defined('brightness', brightness?.order === order ? undefined : brightness),
      ...defined('look', look?.order === order ? undefined : look),
    };
  }

  /** Everything that is desired now, to be written together. */
  batch(): Batch | undefined {
    const { power, brightness, look } = this.#slots;
    const orders = this.orders();
    if (orders.length === 0) return undefined;
    // Where only a remainder is left (its ON belonged to an order that is gone), an attribute still means ON.
    const wish: Wish = {
      power: power?.value ?? 'ON',
      ...defined('brightness', brightness?.value),
      ...defined('look', look?.value),
    };
    return { wish, orders, slots: this.#slots };
  }
}

/** What is written together, and for whom. */
export interface Batch {
  readonly wish: Wish;
  readonly orders: readonly Order[];
  readonly slots: Slots;
}

/** The attributes of a batch that an order waits for. After OFF the others are not written: nobody sees them. */
export function ownedIn(batch: Batch, order: Order): readonly Attribute[] {
  const written: readonly Attribute[] = batch.wish.power === 'OFF' ? ['power'] : ATTRIBUTES;
  return written.filter((attribute) => batch.slots[attribute]?.order === order);
}
