interface Kinded {
  readonly kind: string;
}

/** The faults that are on, of a lamp or of the controller; at most one of each kind. */
export class Faults<F extends Kinded> {
  readonly #on = new Map<string, F>();

  set(fault: F, on: boolean): void {
    if (on) this.#on.set(fault.kind, fault);
    else this.#on.delete(fault.kind);
  }

  has(kind: F['kind']): boolean {
    return this.#on.has(kind);
  }

  get<K extends F['kind']>(kind: K): Extract<F, { kind: K }> | undefined {
    const found = this.#on.get(kind);
    return found !== undefined && isKind(found, kind) ? found : undefined;
  }
}

function isKind<F extends Kinded, K extends F['kind']>(fault: F, kind: K): fault is Extract<F, { kind: K }> {
  return fault.kind === kind;
}
