import type { Attribute } from './agree.ts';
import { ATTRIBUTES } from './orders.ts';
import type { Wish } from './wish.ts';

/**
 * Which command came last, attribute by attribute. Judging one may take longer than judging the next (a token that is seen for the
 * first time, a server that is asked), and the newest is the one that arrived last, not the one that was judged last.
 */
export class Arrivals {
  readonly #last = new Map<Attribute, number>();
  #offSince = Number.NEGATIVE_INFINITY;

  /** The attributes of `wish` for which nothing newer has come; none: the command is superseded. `arrived` counts commands up. */
  newest(wish: Wish, arrived: number | undefined): readonly Attribute[] {
    const asked = ATTRIBUTES.filter((attribute) => wish[attribute] !== undefined);
    if (arrived === undefined) return asked;
    // Whatever an older command asks for, it also means ON.
    if (arrived < this.#offSince) return [];
    const kept = asked.filter((attribute) => arrived >= (this.#last.get(attribute) ?? Number.NEGATIVE_INFINITY));
    for (const attribute of kept) this.#last.set(attribute, arrived);
    if (kept.includes('power')) this.#offSince = wish.power === 'OFF' ? arrived : Number.NEGATIVE_INFINITY;
    return kept;
  }
}
