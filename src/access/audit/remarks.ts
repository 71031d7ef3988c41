import type { Entry } from './record.ts';

/** What befalls a gateway from outside (a configuration that was refused, say), kept until there is a trail to take it. */
export class Remarks {
  readonly #kept: Entry[] = [];
  #take: ((entry: Entry) => void) | undefined;

  note(entry: Entry): void {
    if (this.#take !== undefined) this.#take(entry);
    else this.#kept.push(entry);
  }

  /** Hands over what was kept and what comes from now on; the returned function ends that. */
  attach(take: (entry: Entry) => void): () => void {
    this.#take = take;
    for (const entry of this.#kept.splice(0)) take(entry);
    return () => {
      if (this.#take === take) this.#take = undefined;
    };
  }
}
