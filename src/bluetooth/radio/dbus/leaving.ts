import type { Bluetoothd } from './bluetoothd.ts';
import { DEVICE } from './bluez.ts';

/** bluetoothd waits 2 s before it ends a link (its src/device.c, DISCONNECT_TIMER); more than twice that is no answer. */
const LEAVE_MS = 5000;

/**
 * The links that were given up and still stand. bluetoothd takes 2 s for it, and until then the link has its place in the
 * adapter: so the next connection waits for these.
 */
export class Leaving {
  readonly #bluetoothd: Bluetoothd;
  readonly #all = new Map<string, Promise<void>>();

  constructor(bluetoothd: Bluetoothd) {
    this.#bluetoothd = bluetoothd;
  }

  /** Ends that device's link, or the attempt to make one. Resolves when it is gone, and when it cannot be known. */
  leave(path: string): Promise<void> {
    const known = this.#all.get(path);
    if (known !== undefined) return known;
    const leaving = new Promise<void>((resolve) => {
      const unwatch = this.#bluetoothd.watch(path, {
        onChanged: (of, changed) => {
          if (of === DEVICE && changed.get('Connected') === false) done();
        },
        onRemoved: () => done(),
      });
      const done = (): void => {
        unwatch();
        this.#all.delete(path);
        resolve();
      };
      // The answer comes when the link is gone; an error says that there was none.
      this.#bluetoothd.call(path, DEVICE, 'Disconnect', { deadlineMs: LEAVE_MS }).then(done, done);
    });
    this.#all.set(path, leaving);
    return leaving;
  }

  /** Resolves when none is left. */
  async settled(): Promise<void> {
    while (this.#all.size > 0) await Promise.all(this.#all.values());
  }
}
